import HTTPMessage
import HTTPServer
import IntercomCore
import StrictJSON
import Synchronization

/// A Matrix homeserver in memory, with the calls that Intercom makes: as a transport, or behind a server. It keeps devices as Synapse does (a
/// login with a known device id gives that device new tokens), rotates refresh tokens, and fails on command.
package final class HomeserverDouble: HTTPTransport {
  /// What is done instead of answering rightly.
  package enum Fault: Sendable {
    case answer(Status, String, fields: Fields = ["Content-Type": "application/json"])
    case transport(TransportError)
    /// Nothing comes until the deadline is over, or the caller gives up.
    case silence
  }
  package enum Call: String, Sendable, CaseIterable { case login, refresh, openid, logout, whoami }

  private struct Device {
    var access: String
    var refresh: String?
    var expiry: MonotonicInstant?
  }
  private struct State {
    var accounts: Set<String>
    var refused: Set<String> = []
    var devices: [String: [String: Device]] = [:]
    var openIDs: [String: String] = [:]
    var issued = 0
    var calls: [Call: Int] = [:]
    var faults: [Call: Fault] = [:]
    var nextFaults: [Call: [Fault]] = [:]
    var gate: Gate?
    var life: Duration?
    var openIDLife = Duration.seconds(3_600)
    var seen: [OutboundRequest] = []
  }
  package let serverName: String
  package let asToken: String
  private let time: any TimeSource
  private let state: Mutex<State>

  /// - Parameter life: of access tokens, which then have a refresh token; nil: they have no end.
  package init(
    serverName: String = "matrix.test", asToken: String = "as-token-canary-0123456789", accounts: Set<String> = ["alice", "bob"],
    life: Duration? = nil, time: any TimeSource
  ) {
    self.serverName = serverName
    self.asToken = asToken
    self.time = time
    state = Mutex(State(accounts: accounts, life: life))
  }

  package func count(_ call: Call) -> Int { state.withLock { $0.calls[call] ?? 0 } }
  package var requests: [OutboundRequest] { state.withLock { $0.seen } }
  /// Every such call fails so from now on; nil: not any more.
  package func fail(_ call: Call, _ fault: Fault?) { state.withLock { $0.faults[call] = fault } }
  /// The next such calls fail so, one after the other.
  package func failNext(_ call: Call, _ faults: [Fault]) { state.withLock { $0.nextFaults[call] = faults } }
  /// Calls wait here before they are looked at; nil: they do not wait.
  package func hold(at gate: Gate?) { state.withLock { $0.gate = gate } }
  package func setLife(_ life: Duration?) { state.withLock { $0.life = life } }
  package func add(account: String) { state.withLock { _ = $0.accounts.insert(account) } }
  /// The application service may not use it.
  package func refuse(account: String) { state.withLock { _ = $0.refused.insert(account) } }
  /// The ids of a user's devices.
  package func devices(of user: String) -> [String] { state.withLock { ($0.devices[user] ?? [:]).keys.sorted() } }
  /// As an administrator does: the devices are gone, and their tokens.
  package func removeDevices() { state.withLock { $0.devices = [:] } }
  /// Whose this access token is, while it is good.
  package func owner(of token: String) -> String? { state.withLock { Self.owner(of: token, $0, time.monotonicNow())?.user } }
  /// For whom this OpenID token was made.
  package func openIDOwner(of token: String) -> String? { state.withLock { $0.openIDs[token] } }

  // MARK: As a transport and as an endpoint

  package func send(_ request: OutboundRequest, deadline: MonotonicInstant) async throws(TransportError) -> OutboundResponse {
    let gate = state.withLock { state in
      state.seen.append(request)
      return state.gate
    }
    await gate?.pass()
    guard let url = HTTPURL(request.url) else { throw .badURL }
    switch answer(request.method, String(decoding: url.path, as: UTF8.self), request.fields, request.body) {
    case .answer(let status, let text, let fields): return OutboundResponse(status: status, fields: fields, body: Array(text.utf8))
    case .transport(let error): throw error
    case .silence:
      let left = time.monotonicNow().duration(to: deadline)
      do { try await time.sleep(for: left) } catch { throw .cancelled }
      throw .timedOut
    }
  }

  /// The same behind a server.
  package var endpoint: Endpoint {
    { [self] request, body in
      let bytes = try await body.collect(upTo: 65_536)
      let path = String(decoding: request.rawPath, as: UTF8.self)
      guard case .answer(let status, let text, let fields) = answer(request.method, path, request.fields, bytes) else {
        return Response(503, ["Content-Type": "text/plain"])
      }
      return Response(status, fields, Array(text.utf8))
    }
  }

  private func answer(_ method: Method, _ path: String, _ fields: Fields, _ body: [UInt8]) -> Fault {
    let prefix = "/_matrix/client/v3/"
    guard path.hasPrefix(prefix) else { return Self.refusal(404, "M_UNRECOGNIZED") }
    let name = path.dropFirst(prefix.count)
    let bearer = fields.single("authorization").map { String($0.dropFirst("Bearer ".count)) }
    let object = (try? StrictJSON.object(body)) ?? JSONObject()
    let now = time.monotonicNow()
    return state.withLock { state in
      let call: Call =
        switch name {
        case "login": .login
        case "refresh": .refresh
        case "logout": .logout
        case "account/whoami": .whoami
        default: .openid
        }
      state.calls[call, default: 0] += 1
      if let next = state.nextFaults[call], let fault = next.first {
        state.nextFaults[call] = Array(next.dropFirst())
        return fault
      }
      if let fault = state.faults[call] { return fault }
      switch call {
      case .login: return login(object, bearer, &state, now)
      case .refresh: return refresh(object, &state, now)
      case .logout: return logout(bearer, &state, now)
      case .openid: return openID(String(name), bearer, &state, now)
      case .whoami:
        guard let owner = Self.owner(of: bearer, state, now) else { return Self.refusal(401, "M_UNKNOWN_TOKEN") }
        return Self.object(["user_id": .string(owner.user), "device_id": .string(owner.device)])
      }
    }
  }

  // MARK: The calls

  private func login(_ body: JSONObject, _ bearer: String?, _ state: inout State, _ now: MonotonicInstant) -> Fault {
    guard bearer == asToken else { return Self.refusal(401, "M_UNKNOWN_TOKEN") }
    guard body["type"]?.string == "m.login.application_service", case .object(let identifier)? = body["identifier"],
      identifier["type"]?.string == "m.id.user", let local = identifier["user"]?.string
    else { return Self.refusal(400, "M_UNKNOWN") }
    guard !state.refused.contains(local) else { return Self.refusal(403, "M_FORBIDDEN") }
    guard state.accounts.contains(local) else { return Self.refusal(404, "M_UNKNOWN") }
    let user = "@\(local):\(serverName)"
    let id = body["device_id"]?.string ?? "DEVICE"
    return tokens(of: user, id, &state, now, isLogin: true)
  }

  private func tokens(of user: String, _ id: String, _ state: inout State, _ now: MonotonicInstant, isLogin: Bool) -> Fault {
    state.issued += 1
    let device = Device(
      access: "mx-access-canary-\(state.issued)-of-\(user.dropFirst().prefix { $0 != ":" })",
      refresh: state.life.map { _ in "mx-refresh-canary-\(state.issued)" }, expiry: state.life.map { now.advanced(by: $0) })
    state.devices[user, default: [:]][id] = device
    var answer: JSONObject = ["access_token": .string(device.access)]
    if isLogin { (answer["user_id"], answer["device_id"]) = (.string(user), .string(id)) }
    if let refresh = device.refresh, let life = state.life {
      answer["refresh_token"] = .string(refresh)
      answer["expires_in_ms"] = .int64(life.components.seconds * 1_000)
    }
    return Self.object(answer)
  }

  private func refresh(_ body: JSONObject, _ state: inout State, _ now: MonotonicInstant) -> Fault {
    let token = body["refresh_token"]?.string
    for (user, devices) in state.devices {
      for (id, device) in devices where device.refresh != nil && device.refresh == token {
        return tokens(of: user, id, &state, now, isLogin: false)
      }
    }
    return Self.refusal(401, "M_UNKNOWN_TOKEN")
  }

  private func logout(_ bearer: String?, _ state: inout State, _ now: MonotonicInstant) -> Fault {
    guard let owner = Self.owner(of: bearer, state, now) else {
      // Of a device that is still there the client may get a new token.
      let isSoft = state.devices.values.contains { $0.values.contains { $0.access == bearer } }
      return .answer(401, #"{"errcode":"M_UNKNOWN_TOKEN","soft_logout":\#(isSoft)}"#)
    }
    state.devices[owner.user]?[owner.device] = nil
    return Self.object(JSONObject())
  }

  private func openID(_ path: String, _ bearer: String?, _ state: inout State, _ now: MonotonicInstant) -> Fault {
    guard let owner = Self.owner(of: bearer, state, now) else { return Self.refusal(401, "M_UNKNOWN_TOKEN") }
    guard path == "user/\(PercentCoding.encode(owner.user))/openid/request_token" else { return Self.refusal(403, "M_FORBIDDEN") }
    state.issued += 1
    let token = "mx-openid-canary-\(state.issued)"
    state.openIDs[token] = owner.user
    return Self.object([
      "access_token": .string(token), "token_type": "Bearer", "matrix_server_name": .string(serverName),
      "expires_in": .int64(state.openIDLife.components.seconds),
    ])
  }

  private static func owner(of token: String?, _ state: State, _ now: MonotonicInstant) -> (user: String, device: String)? {
    for (user, devices) in state.devices {
      for (id, device) in devices where device.access == token && (device.expiry.map { now < $0 } ?? true) { return (user, id) }
    }
    return nil
  }

  private static func object(_ object: JSONObject) -> Fault { .answer(200, String(decoding: object.serialized, as: UTF8.self)) }
  private static func refusal(_ status: Status, _ code: String) -> Fault {
    .answer(status, #"{"errcode":"\#(code)","error":"the double says so"}"#)
  }
}
