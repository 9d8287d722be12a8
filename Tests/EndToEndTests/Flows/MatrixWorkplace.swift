import Cryptography
import HTTPMessage
import IntercomCore
import IntercomTesting
import Linux
import StrictJSON

/// `intercom serve` between Keycloak and Synapse, as a meetings bot is reached: `/nob` ends at the homeserver itself, which says whose token it
/// is; `/identity` at a server that notes what it gets.
struct MatrixWorkplace: Sendable {
  let services: Services
  let intercom: IntercomProcess
  let bot: RecordingServer
  /// The application service's secret.
  let secret: String

  var base: String { services.intercomURL }
  private var api: String { services.matrixURL + "/_matrix/client/v3" }

  /// Starts everything, tells the story, and ends Intercom in order: exit code 0, no token and no secret in its log.
  static func run(_ story: @escaping @Sendable (MatrixWorkplace) async throws -> Void) async throws {
    let services = try Services.require(.keycloak, .synapse)
    let secret = String(decoding: try readNamedFile(services.matrixSecretFile, limit: 1_024).bytes, as: UTF8.self)
    let bot = try RecordingServer()
    try await bot.start()
    let result: Result<Void, any Error>
    do {
      let intercom = try await IntercomProcess.serve(try configuration(services, bot: bot.port), port: services.intercomPort)
      let place = MatrixWorkplace(services: services, intercom: intercom, bot: bot, secret: secret)
      try await intercom.tell { try await story(place) }
      result = await end(place)
    } catch { result = .failure(error) }
    await bot.stop()
    try result.get()
  }

  private static func end(_ place: MatrixWorkplace) async -> Result<Void, any Error> {
    let exit = await place.intercom.child.terminate(grace: .seconds(15))
    let log = place.intercom.child.output
    // Synapse's tokens begin so.
    let leaks = [place.secret, "syt_", "syr_", "MX-Identity"].filter { log.contains($0) } + place.intercom.tokensInLog
    guard exit == .code(0), leaks.isEmpty else {
      return .failure(
        WaitFailure("intercom ended with \(exit), secrets in its log: \(leaks.count)", within: .zero, seen: place.intercom.child.outputTail)
      )
    }
    return .success(())
  }

  private static func configuration(_ services: Services, bot: Int) throws -> String {
    func credential(_ mode: String) -> String {
      "credential: {matrix: {homeserver: \"\(services.matrixURL)\", serverName: \(services.matrixServerName), "
        + "asToken: {fromFile: \(services.matrixSecretFile)}, userClaim: preferred_username, mode: \(mode)}}, csrf: token"
    }
    return """
      baseURL: \(services.intercomURL)
      provider:
        issuer: \(services.issuer)
        internalURL: http://127.0.0.1:\(services.keycloakPort)\(try LoopbackURL(services.issuer).target)
        clientID: intercom
        clientSecret: intercom-secret-of-the-test-realm-only
      sessions: {store: memory}
      log: {level: trace}
      routes:
        nob: {path: /nob, upstream: "\(services.matrixURL)/_matrix/client/v3/account", stripPrefix: true, \(credential("accessToken"))}
        identity: {path: /identity, upstream: "http://127.0.0.1:\(bot)", \(credential("openID"))}
        plain: {path: /plain, upstream: "http://127.0.0.1:\(bot)", credential: none}
        meet: {path: /meet, upstream: "http://127.0.0.1:\(bot)", \(credential("accessToken"))}

      """
  }

  func signIn(_ name: String) async throws -> Visitor {
    let visitor = Visitor(timeout: .seconds(20))
    try await visitor.open(base + "/login")
    let answer = try await visitor.submit(["username": name, "password": name])
    guard answer.status == 200, await visitor.location == base + "/" else {
      throw WaitFailure("no sign-in: \(answer.status) at \(await visitor.location)", within: .zero)
    }
    return visitor
  }

  /// A request of an app with the CSRF token that `/silent` gave it.
  func get(_ visitor: Visitor, _ path: String) async throws -> HTTPAnswer {
    let page = try await visitor.open(base + "/silent", dest: "iframe")
    let token = page.text.split(separator: "\"csrftoken\":\"").last.map { String($0.prefix { $0 != "\"" }) } ?? ""
    return try await visitor.fetch("GET", base + path, origin: base, ["X-CSRF-Token": token])
  }

  /// Whose token `/nob` brought to the homeserver, and of which device.
  func whoami(_ visitor: Visitor) async throws -> MatrixDevice { try MatrixDevice(try await get(visitor, "/nob/whoami")) }

  /// The token that a bot gets.
  func accessToken(_ visitor: Visitor) async throws -> String {
    guard try await get(visitor, "/meet/x").status == 200, let field = bot.requests.last?.field("authorization"),
      field.hasPrefix("Bearer ")
    else { throw WaitFailure("no token", within: .zero) }
    return String(field.dropFirst("Bearer ".count))
  }

  func devices(of name: String) async throws -> Set<String> { try await MatrixDevice.all(of: name, services, secret) }

  /// For whom an OpenID token was made, as any backend may ask the homeserver.
  func owner(ofOpenID token: String) async throws -> String? {
    let answer = try await RawHTTPClient(timeout: .seconds(20)).get(
      "\(services.matrixURL)/_matrix/federation/v1/openid/userinfo?access_token=\(token)")
    return try StrictJSON.object(answer.body)["sub"]?.string
  }

  /// What the homeserver says to a token of the application service's user or of a person.
  func status(of token: String) async throws -> Int {
    try await RawHTTPClient(timeout: .seconds(20)).get("\(api)/account/whoami", ["Authorization": "Bearer \(token)"]).status
  }
}

/// A device of an account at the homeserver.
struct MatrixDevice: Sendable, Equatable {
  let user: String
  let device: String

  /// What the homeserver answers to `whoami`.
  init(_ answer: HTTPAnswer) throws {
    let object = try StrictJSON.object(answer.body)
    guard answer.status == 200, let user = object["user_id"]?.string, let device = object["device_id"]?.string else {
      throw WaitFailure("no whoami: \(answer.status) \(answer.text)", within: .zero)
    }
    (self.user, self.device) = (user, device)
  }

  /// The devices of an account, as the homeserver tells the application service.
  static func all(of name: String, _ services: Services, _ secret: String) async throws -> Set<String> {
    let user = PercentCoding.encode("@\(name):\(services.matrixServerName)")
    let answer = try await RawHTTPClient(timeout: .seconds(20)).get(
      "\(services.matrixURL)/_matrix/client/v3/devices?user_id=\(user)", ["Authorization": "Bearer \(secret)"])
    guard case .array(let devices)? = try StrictJSON.object(answer.body)["devices"] else {
      throw WaitFailure("no devices: \(answer.status) \(answer.text)", within: .zero)
    }
    return Set(devices.compactMap { $0.object?["device_id"]?.string })
  }
}
