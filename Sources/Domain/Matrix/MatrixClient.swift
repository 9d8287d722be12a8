import HTTPMessage
import IntercomCore
import StrictJSON
import Telemetry

/// A homeserver at which Intercom is registered as an application service.
package struct MatrixHomeserver: Sendable {
  /// What comes before `/_matrix`, without a slash at its end.
  package let address: String
  /// What stands behind the colon of its user ids.
  package let serverName: Identifier
  package let asToken: Secret<String>
  /// The `type` of the login.
  package let loginType: Identifier

  package init(address: String, serverName: Identifier, asToken: Secret<String>, loginType: Identifier) {
    self.address = String(decoding: address.utf8.reversed().drop { $0 == UInt8(ascii: "/") }.reversed(), as: UTF8.self)
    self.serverName = serverName
    self.asToken = asToken
    self.loginType = loginType
  }
}

/// What a login or a refresh gave.
package struct MatrixTokens: Sendable {
  package let accessToken: Secret<String>
  /// Nil: the homeserver names no end.
  package let expiresIn: Duration?
  package let refreshToken: Secret<String>?
  /// The device that the homeserver names at a login.
  package let device: Identifier?
}

/// Tells a backend who the user is, and nothing else ([Client-Server API,
/// OpenID](https://spec.matrix.org/v1.11/client-server-api/#openid)).
package struct MatrixOpenIDToken: Sendable {
  /// The four members of the token's JSON, compact.
  package let json: Secret<[UInt8]>
  package let expiresIn: Duration
}

/// The calls that Intercom makes to a homeserver
/// ([Client-Server API, Client authentication](https://spec.matrix.org/v1.11/client-server-api/#client-authentication)). Each is one request in
/// bounded time; what comes back is checked.
package struct MatrixClient: Sendable {
  package let homeserver: MatrixHomeserver
  private let transport: any HTTPTransport
  private let time: any TimeSource
  private let callLimit: Duration
  private let executor: (any TaskExecutor)?
  private let log: StructuredLog
  /// No call goes on for longer.
  private var end: MonotonicInstant?
  private let result: LastResult

  /// - Parameters:
  ///   - executor: where answers are read; nil for wherever the caller runs.
  ///   - result: where it is noted how calls end.
  package init(
    _ homeserver: MatrixHomeserver, transport: any HTTPTransport, time: any TimeSource, callLimit: Duration = .seconds(5),
    executor: (any TaskExecutor)? = nil, log: StructuredLog = .none, result: LastResult = LastResult()
  ) {
    self.homeserver = homeserver
    self.transport = transport
    self.time = time
    self.callLimit = callLimit
    self.executor = executor
    self.log = log
    self.result = result
  }

  /// The same client, whose calls are all over then; nil: each has its own time alone.
  func until(_ end: MonotonicInstant?) -> MatrixClient {
    var client = self
    client.end = end
    return client
  }

  // MARK: Calls

  /// Logs the user in as this device, without the user
  /// ([Application Service API, Server admin style permissions](https://spec.matrix.org/v1.11/application-service-api/#server-admin-style-permissions)).
  /// A device that exists keeps its id and gets new tokens.
  package func login(_ user: MatrixUserID, device: Identifier) async throws(MatrixError) -> MatrixTokens {
    let body: JSONObject = [
      "type": .string(homeserver.loginType.description),
      "identifier": .object(["type": "m.id.user", "user": .string(user.localpart.description)]),
      "device_id": .string(device.description), "initial_device_display_name": "Intercom", "refresh_token": .bool(true),
    ]
    switch try await call("login", "/login", homeserver.asToken, body) {
    case .refused(let refusal):
      let error = Self.loginRefusal(refusal)
      // Nobody gets in, whoever it is.
      if error.code == .loginRefused { result.failed(error.code.rawValue, now: time.monotonicNow()) }
      throw error
    case .object(let object):
      guard let token = try MatrixAnswer.token("access_token", object, "login") else {
        throw MatrixError(.answerInvalid, "login: access_token is missing")
      }
      guard object["user_id"]?.identifier == user.text else {
        handBack(token)
        throw MatrixError(.answerInvalid, "login: the homeserver logged another user in than it was asked for; is serverName right?")
      }
      return MatrixTokens(
        accessToken: token, expiresIn: try MatrixAnswer.life("expires_in_ms", perSecond: 1_000, object, "login"),
        refreshToken: try MatrixAnswer.token("refresh_token", object, "login"), device: try Self.device(object) ?? device)
    }
  }

  /// Somebody else's, which nobody may use. Nobody waits for it, and it has its own time.
  private func handBack(_ token: Secret<String>) {
    Task { [client = until(nil)] in try? await client.logout(token) }
  }

  /// New tokens for old ([Client-Server API, Refreshing access
  /// tokens](https://spec.matrix.org/v1.11/client-server-api/#refreshing-access-tokens)). Throws `tokenUnknown` when the device is gone.
  package func refresh(_ refreshToken: Secret<String>) async throws(MatrixError) -> MatrixTokens {
    let body: JSONObject = ["refresh_token": .string(refreshToken.reveal())]
    switch try await call("refresh", "/refresh", nil, body) {
    case .refused(let refusal): throw MatrixError(.tokenUnknown, "refresh: the homeserver answered \(refusal.description)")
    case .object(let object):
      guard let token = try MatrixAnswer.token("access_token", object, "refresh") else {
        throw MatrixError(.answerInvalid, "refresh: access_token is missing")
      }
      return MatrixTokens(
        accessToken: token, expiresIn: try MatrixAnswer.life("expires_in_ms", perSecond: 1_000, object, "refresh"),
        refreshToken: try MatrixAnswer.token("refresh_token", object, "refresh") ?? refreshToken, device: nil)
    }
  }

  /// An OpenID token of the user whose access token this is.
  package func openIDToken(of user: MatrixUserID, _ accessToken: Secret<String>) async throws(MatrixError) -> MatrixOpenIDToken {
    let path = "/user/\(PercentCoding.encode(user.text.description))/openid/request_token"
    switch try await call("openid", path, accessToken, JSONObject()) {
    case .refused(let refusal):
      guard refusal.status != 401 else { throw MatrixError(.tokenUnknown, "openid: the homeserver answered \(refusal.description)") }
      throw MatrixError(.accountRefused, "openid: the homeserver answered \(refusal.description)")
    case .object(let object):
      guard let token = try MatrixAnswer.token("access_token", object, "openid"), let type = object["token_type"]?.string,
        FieldName(type) == "bearer", object["matrix_server_name"]?.identifier == homeserver.serverName,
        let life = try MatrixAnswer.life("expires_in", perSecond: 1, object, "openid")
      else { throw MatrixError(.answerInvalid, "openid: the answer is no OpenID token of \(homeserver.serverName)") }
      let json: JSONObject = [
        "access_token": .string(token.reveal()), "token_type": .string(type), "matrix_server_name": .string("\(homeserver.serverName)"),
        "expires_in": .int64(life.components.seconds),
      ]
      return MatrixOpenIDToken(json: Secret(json.serialized), expiresIn: life)
    }
  }

  /// Ends the device that this token is of. Throws `tokenUnknown` when the token is of none, or has expired.
  package func logout(_ accessToken: Secret<String>) async throws(MatrixError) {
    guard case .refused(let refusal) = try await call("logout", "/logout", accessToken, JSONObject()) else { return }
    let code: MatrixError.Code = refusal.status == 401 ? .tokenUnknown : .answerInvalid
    throw MatrixError(code, "logout: the homeserver answered \(refusal.description)")
  }

  // MARK: What they have in common

  private func call(_ what: String, _ path: String, _ bearer: Secret<String>?, _ body: JSONObject) async throws(MatrixError) -> MatrixAnswer
  {
    var fields: Fields = ["Accept": "application/json", "Content-Type": "application/json"]
    if let bearer { fields.append("Authorization", "Bearer " + bearer.reveal()) }
    let request = OutboundRequest(
      .post, homeserver.address + "/_matrix/client/v3" + path, fields: fields, body: body.serialized,
      maximumResponseBytes: MatrixAnswer.maximumBytes)
    let began = time.monotonicNow()
    var deadline = began.advanced(by: callLimit)
    if let end { deadline = min(deadline, end) }
    do throws(MatrixError) {
      guard began < deadline else { throw MatrixError(.unavailable, "\(what): no time was left") }
      let answer = try await withTaskExecutorPreference(executor) { () async throws(MatrixError) in
        try MatrixAnswer(try await send(request, what, deadline), what)
      }
      if !result.works { result.worked() }
      trace(what, answer.result, since: began)
      return answer
    } catch {
      if !Task.isCancelled { result.failed(error.code.rawValue, now: time.monotonicNow()) }
      trace(what, error.code.rawValue, since: began)
      throw error
    }
  }

  private func send(_ request: OutboundRequest, _ what: String, _ deadline: MonotonicInstant) async throws(MatrixError) -> OutboundResponse
  {
    do throws(TransportError) { return try await transport.send(request, deadline: deadline) } catch {
      switch error {
      case .unreachable(let text), .tls(let text), .broken(let text): throw MatrixError(.unavailable, "\(what): \(text)")
      case .timedOut: throw MatrixError(.unavailable, "\(what): the homeserver did not answer in time")
      case .cancelled: throw MatrixError(.unavailable, "\(what): given up")
      case .tooLarge: throw MatrixError(.answerInvalid, "\(what): the answer is too large")
      case .badURL, .badField: throw MatrixError(.answerInvalid, "\(what): the homeserver's address or the token cannot be sent")
      }
    }
  }

  /// One line for a call: neither token nor user.
  private func trace(_ what: String, _ result: String, since: MonotonicInstant) {
    guard log.writes(.trace) else { return }
    log.log(
      .trace, "matrix_call", "A Matrix homeserver was called.",
      [
        "call": .string(what), "server": .string(homeserver.serverName.description), "result": .string(result),
        "duration": LogValue(since.duration(to: time.monotonicNow())),
      ])
  }

  private static func device(_ object: JSONObject) throws(MatrixError) -> Identifier? {
    guard let value = object["device_id"], !value.isNull else { return nil }
    guard let device = value.identifier, (1...512).contains(device.bytes.count) else {
      throw MatrixError(.answerInvalid, "login: device_id is not one")
    }
    return device
  }

  private static let refusedAccounts: Set<Identifier> = [
    "M_FORBIDDEN", "M_EXCLUSIVE", "M_USER_DEACTIVATED", "M_USER_LOCKED", "M_USER_SUSPENDED", "M_INVALID_USERNAME",
  ]

  private static func loginRefusal(_ refusal: MatrixRefusal) -> MatrixError {
    let answer = "login: the homeserver answered \(refusal.description)"
    if refusedAccounts.contains(refusal.code) {
      return MatrixError(.accountRefused, "\(answer): the account is closed, or not in the namespace of the application service")
    }
    // Synapse calls an account that it does not find unknown; 404 for an address that is not there has a code of its own.
    if refusal.status == 404, refusal.code == "M_NOT_FOUND" || refusal.code == "M_UNKNOWN" {
      return MatrixError(.accountMissing, "\(answer): create the account; Intercom makes none")
    }
    if refusal.status == 401 {
      return MatrixError(.loginRefused, "\(answer): does asToken stand in a registration that the homeserver has loaded?")
    }
    return MatrixError(.loginRefused, "\(answer): check homeserver and loginType, and whether application services may log in")
  }
}

extension MatrixAnswer {
  fileprivate var result: String {
    switch self {
    case .object: "200"
    case .refused(let refusal): refusal.description
    }
  }
}
