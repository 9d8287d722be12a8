import Cryptography
import CurlTransport
import DemoWorkplace
import FoundationEssentials
import HTTPMessage
import IntercomCore
import IntercomTesting
import JOSE
import StrictJSON

/// A deployment of the Intercom Service with our program in the place of its image: nothing but variables, Redis, a provider, and what
/// stands behind `/fs`, `/wiki` and `/navigation.json`.
struct EnvironmentWorkplace: Sendable {
  static let password = "password-canary-of-everybody"
  static let clientSecret = "client-secret-canary-0123456789"
  static let secret = "secret-canary-that-is-long-enough-for-all"
  static let portalKey = "portal-key-canary"
  static let redisPassword = "redis-password-canary"
  /// An origin that ORIGIN_REGEX takes.
  static let app = "http://mail.apps.localhost:8080"

  let intercom: IntercomProcess
  let base: String
  let issuer: String
  let liar: MisbehavingProvider
  let redis: RedisServer
  let files: RecordingServer
  let wiki: RecordingServer
  let portal: RecordingServer
  let bot: RecordingServer
  let homeserver: HomeserverDouble
  let environment: [String: String]

  /// Starts everything, tells the story, and ends Intercom in order: exit code 0, no secret and no token in its log.
  ///
  /// - Parameters:
  ///   - redisSettings: instead of a password.
  ///   - changes: of the variables; nil takes one away.
  static func run(
    redisSettings: [String]? = nil, changes: [String: String?] = [:],
    _ story: @escaping @Sendable (EnvironmentWorkplace) async throws -> Void
  ) async throws {
    let redis = try await RedisServer(redisSettings ?? ["requirepass \(redisPassword)"])
    let homeserver = HomeserverDouble(accounts: ["uuid-of-alice", "uuid-of-bob"], time: SystemTime())
    let servers = try (0..<5).map { _ in try RecordingServer() } + [try RecordingServer(homeserver.endpoint)]
    let (provider, files, wiki, portal, bot) = (servers[0], servers[1], servers[2], servers[3], servers[4])
    let issuer = "http://id.localhost:\(provider.port)"
    let port = try FreePort.next()
    let base = "http://intercom.localhost:\(port)"
    let transport = try CurlTransport()
    let liar = try MisbehavingProvider(
      registration(issuer, base), time: SystemTime(), transport: transport)
    provider.serve(liar.endpoint)
    for server in servers { try await server.start() }
    var environment = variables(
      base: base, issuer: issuer, redis: redis.port, files: files.port, wiki: wiki.port, portal: portal.port)
    environment["NORDECK_URL"] = "http://127.0.0.1:\(bot.port)"
    environment["MATRIX_URL"] = "http://127.0.0.1:\(servers[5].port)/"
    environment["MATRIX_SERVER_NAME"] = homeserver.serverName
    environment["MATRIX_AS_SECRET"] = homeserver.asToken
    for (name, value) in changes { environment[name] = value }
    let result: Result<Void, any Error>
    do {
      let intercom = try await IntercomProcess.serve(environment: environment, port: port)
      let place = EnvironmentWorkplace(
        intercom: intercom, base: base, issuer: issuer, liar: liar, redis: redis, files: files, wiki: wiki, portal: portal, bot: bot,
        homeserver: homeserver, environment: environment)
      try await intercom.tell { try await story(place) }
      result = await end(place)
    } catch { result = .failure(error) }
    for server in servers { await server.stop() }
    transport.stop()
    try result.get()
  }

  private static func end(_ place: EnvironmentWorkplace) async -> Result<Void, any Error> {
    let exit = await place.intercom.child.terminate(grace: .seconds(15))
    let output = place.intercom.child.output
    let leaked = [password, clientSecret, secret, portalKey, redisPassword, place.homeserver.asToken].filter(output.contains)
    guard exit == .code(0), leaked.isEmpty, place.intercom.tokensInLog.isEmpty else {
      return .failure(WaitFailure("intercom ended with \(exit); secrets in its log: \(leaked.count)", within: .zero, seen: output))
    }
    return .success(())
  }

  private static func registration(_ issuer: String, _ base: String) -> ProviderConfiguration {
    var registration = FlowProvider.configuration(issuer: issuer, base: base, secret: clientSecret, password: password)
    registration.clients[0].allowedAudiences = ["ncoidc", "xwikioidc"]
    registration.users = registration.users.map { user in
      var user = user
      user.claims["entryuuid"] = .string("UUID-of-\(user.username)")
      user.claims["phoenixusername"] = .string("Phoenix \(user.username)")
      return user
    }
    return registration
  }

  private static func variables(
    base: String, issuer: String, redis: Int, files: Int, wiki: Int, portal: Int
  ) -> [String: String] {
    [
      "INTERCOM_URL": base, "BASE_URL": base + "/", "ISSUER_BASE_URL": issuer, "CLIENT_ID": "intercom", "CLIENT_SECRET": clientSecret,
      "SECRET": secret, "ORIGIN_REGEX": #"^https?:\/\/[a-z]+\.apps\.localhost(:\d+)?$"#, "TOKEN_EXCHANGE_V2": "True",
      "ENABLE_SESSION_COOKIE": "false", "PROXY": "false", "NC_ENABLED": "true", "NC_URL": "http://127.0.0.1:\(files)/remote.php/",
      "NC_AUDIENCE": "ncoidc", "XWIKI_ENABLED": "TRUE", "XWIKI_URL": "http://127.0.0.1:\(wiki)", "XWIKI_AUDIENCE": "xwikioidc",
      "MATRIX_ENABLED": "true", "NORDECK_MODE": "live", "PORTAL_URL": "http://127.0.0.1:\(portal)", "PORTAL_API_KEY": portalKey,
      "REDIS_HOST": "127.0.0.1",
      "REDIS_PORT": "\(redis)", "REDIS_PASSWORD": redisPassword, "LOG_LEVEL": "silly", "SESSION_COOKIE_NAME": "appSession",
      // Keycloak's mappers give claims without asking; this provider gives those of the profile.
      "INTERCOM_CFG_PROVIDER__SCOPES": "openid,profile",
    ]
  }

  // MARK: Steps

  func signIn(_ name: String = "alice") async throws -> Visitor {
    let visitor = Visitor(timeout: .seconds(20))
    try await visitor.open(base + "/login")
    let answer = try await visitor.submit(["username": name, "password": Self.password])
    guard answer.status == 200, await visitor.location == base + "/" else {
      throw WaitFailure("no sign-in: \(answer.status) at \(await visitor.location)", within: .zero)
    }
    return visitor
  }

  /// A script of the app asks.
  func fetch(_ visitor: Visitor, _ method: String = "GET", _ path: String) async throws -> HTTPAnswer {
    try await visitor.fetch(method, base + path, origin: Self.app)
  }

  /// The message of a silent page.
  func message(_ page: HTTPAnswer) throws -> JSONObject {
    let mark = #"<script type="application/json" id="intercom-message">"#
    let rest = page.text.split(separator: mark, maxSplits: 1, omittingEmptySubsequences: false).dropFirst().first ?? ""
    return try StrictJSON.object(Array((rest.split(separator: "</script>", maxSplits: 1).first ?? "").utf8))
  }

  /// The audiences of a bearer token.
  func audiences(_ request: SeenRequest?) throws -> [Identifier] {
    guard let field = request?.field("authorization"), field.hasPrefix("Bearer ") else { return [] }
    let claims = try UnverifiedJWS.parse(String(field.dropFirst("Bearer ".count))).unverifiedClaims()
    if let one = claims["aud"]?.identifier { return [one] }
    return claims["aud"]?.array?.compactMap(\.identifier) ?? []
  }

  /// A logout token of the provider for this user.
  func logoutToken(_ subject: String) throws -> String {
    let now = SystemTime().wallNow().seconds
    return try liar.key.sign(
      [
        "iss": .string(issuer), "aud": "intercom", "iat": .int64(now), "exp": .int64(now + 120), "sub": .string(subject),
        "jti": .string(Base64URL.encode(SystemRandom().bytes(12))),
        "events": ["http://schemas.openid.net/event/backchannel-logout": .object([:])],
      ], type: "logout+jwt")
  }
}
