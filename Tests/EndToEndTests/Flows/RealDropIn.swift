import HTTPServer
import IntercomCore
import IntercomTesting
import Linux

/// Intercom by variables alone in the place of the Intercom Service, as one program or several on one Redis, between real servers: Keycloak with
/// its client as it is, Apache with WebDAV, Synapse, and stand-ins for wiki and portal that verify what they get.
struct RealDropIn: Sendable {
  static let portalKey = "portal-key-canary"

  let services: Services
  let form: ExchangeForm
  let intercoms: [IntercomProcess]
  let wiki: TokenWitness
  let portal: RecordingServer
  let environment: [String: String]
  /// Origins that ORIGIN_REGEX takes and does not take; a mail page is served at both.
  let mail: String
  let stranger: String

  var base: String { services.intercomURL }

  /// Where a replica is reached; the first one at the base URL.
  func url(_ replica: Int, _ path: String) -> String { "http://intercom.localhost:\(intercoms[replica].port)\(path)" }

  func devices(of name: String) async throws -> Set<String> {
    try await MatrixDevice.all(of: name, services, environment["MATRIX_AS_SECRET"] ?? "")
  }

  /// Starts everything, tells the story and ends every program in order: exit code 0, no secret and no token in its log. Those that the story
  /// killed are left out.
  ///
  /// - Parameter replicas: the first is at the base URL, where Keycloak's back-channel logout arrives.
  static func run(
    _ form: ExchangeForm = .standard, replicas: Int = 1, _ story: @escaping @Sendable (RealDropIn) async throws -> Void
  ) async throws {
    let services = try Services.require(.keycloak, .files, .synapse)
    let (redis, portal) = (try await RedisServer(), try RecordingServer())
    let wiki = try await TokenWitness("xwikioidc", services, alsoFor: form.alsoFor)
    try await portal.start()
    var table = EndpointTable()
    MailPage.add(to: &table, services.intercomURL)
    let result: Result<Void, any Error>
    do {
      try await TestServer.run(table) { server in
        let environment = try variables(form, services, redis: redis, wiki: wiki, portal: portal)
        var intercoms: [IntercomProcess] = []
        for replica in 0..<replicas {
          intercoms.append(
            try await IntercomProcess.serve(environment: environment, port: replica == 0 ? services.intercomPort : FreePort.next()))
        }
        let place = RealDropIn(
          services: services, form: form, intercoms: intercoms, wiki: wiki, portal: portal, environment: environment,
          mail: "http://mail.intercom.localhost:\(server.port)", stranger: "http://stranger.other.localhost:\(server.port)")
        let told: Result<Void, any Error>
        do { told = .success(try await story(place)) } catch { told = .failure(error) }
        try await place.end(told)
      }
      result = .success(())
    } catch { result = .failure(error) }
    for server in [wiki.server, portal] { await server.stop() }
    try result.get()
  }

  private func end(_ told: Result<Void, any Error>) async throws {
    let secrets = [Self.portalKey, "syt_", "syr_", "MX-Identity", environment["MATRIX_AS_SECRET"] ?? "-", environment["SECRET"] ?? "-"]
    var failures: [String] = []
    if case .failure(let error) = told { failures.append("\(error)") }
    for intercom in intercoms where intercom.child.exit == nil {
      let exit = await intercom.child.terminate(grace: .seconds(15))
      let leaks = secrets.count { intercom.child.output.contains($0) } + intercom.tokensInLog.count
      if exit != .code(0) || leaks > 0 { failures.append("ended with \(exit), secrets in its log: \(leaks)") }
    }
    guard failures.isEmpty else {
      let tails = intercoms.map(\.child.outputTail).joined(separator: "\n--\n")
      throw WaitFailure(failures.joined(separator: "; "), within: .zero, seen: tails)
    }
  }

  private static func variables(
    _ form: ExchangeForm, _ services: Services, redis: RedisServer, wiki: TokenWitness, portal: RecordingServer
  ) throws -> [String: String] {
    let files = try LoopbackURL(services.filesURL)
    let secret = try readNamedFile(services.matrixSecretFile, limit: 1_024).bytes
    return [
      "INTERCOM_URL": services.intercomURL, "ISSUER_BASE_URL": services.issuer, "CLIENT_ID": "\(form.client)",
      "CLIENT_SECRET": "\(form.client)-secret-of-the-test-realm-only", "SECRET": "a-secret-that-is-long-enough-for-32-bytes",
      "TOKEN_EXCHANGE_V2": form == .standard ? "true" : "false", "ORIGIN_REGEX": #"^http://[a-z]+\.intercom\.localhost(:\d+)?$"#,
      "NC_URL": "http://127.0.0.1:\(files.port)\(files.target)", "NC_AUDIENCE": "files",
      "XWIKI_URL": "http://127.0.0.1:\(wiki.server.port)", "PORTAL_URL": "http://127.0.0.1:\(portal.port)",
      "PORTAL_API_KEY": portalKey, "USERNAME_CLAIM": "preferred_username", "USER_UNIQUE_MAPPER": "preferred_username",
      "MATRIX_URL": services.matrixURL, "MATRIX_SERVER_NAME": services.matrixServerName,
      "MATRIX_AS_SECRET": String(decoding: secret, as: UTF8.self),
      "NORDECK_URL": services.matrixURL + "/_matrix/client/v3/account", "NORDECK_MODE": "test",
      "REDIS_HOST": "127.0.0.1", "REDIS_PORT": "\(redis.port)", "LOG_LEVEL": "debug",
    ]
  }
}
