import Cryptography
import HTTPMessage
import HTTPServer
import IntercomCore
import IntercomTesting

/// Intercom in its own process between Keycloak, the Apache file store and a mail page: the workplace of the flow tests.
struct Workplace: Sendable {
  let services: Services
  let intercom: IntercomProcess
  /// The mail page's origin, which Intercom allows.
  let mail: String
  /// The same page on an origin that Intercom does not know.
  let stranger: String
  /// Between Intercom and Keycloak, and between Intercom and the file store: for outages.
  let toProvider: TCPRelay
  let toFiles: TCPRelay

  /// Intercom's base URL as browsers see it.
  var base: String { services.intercomURL }
  var files: String { base + "/fs/" }

  /// Starts everything, tells the story, and ends Intercom in order: exit code 0, no token in its log.
  ///
  /// - Parameters:
  ///   - client: the client of the realm that Intercom is. Only `intercom` may exchange tokens for the files.
  ///   - routes: more routes, as YAML below `routes:`.
  static func run(
    client: String = "intercom", scopes: String = "openid", routes: String = "",
    _ story: @escaping @Sendable (Workplace) async throws -> Void
  ) async throws {
    let services = try Services.require(.keycloak, .files)
    let toProvider = try TCPRelay(to: services.keycloakPort)
    let toFiles = try TCPRelay(to: try LoopbackURL(services.filesURL).port)
    let folder = try TestFolder()
    var table = EndpointTable()
    MailPage.add(to: &table, services.intercomURL)
    try await TestServer.run(table) { server in
      let mail = "http://mail.intercom.localhost:\(server.port)"
      let intercom = try await IntercomProcess.serve(
        try configuration(
          services, client, scopes, origin: mail, provider: toProvider, files: toFiles, database: folder.file("sessions.db")) + routes,
        port: services.intercomPort)
      let workplace = Workplace(
        services: services, intercom: intercom, mail: mail, stranger: "http://stranger.intercom.localhost:\(server.port)",
        toProvider: toProvider, toFiles: toFiles)
      try await intercom.tell { try await story(workplace) }
      let exit = await intercom.child.terminate(grace: .seconds(15))
      let leaked = intercom.tokensInLog
      guard exit == .code(0), leaked.isEmpty else {
        throw WaitFailure("intercom ended with \(exit), tokens in its log: \(leaked.count)", within: .zero, seen: intercom.child.outputTail)
      }
    }
  }

  private static func configuration(
    _ services: Services, _ client: String, _ scopes: String, origin: String, provider: TCPRelay, files: TCPRelay, database: String
  ) throws -> String {
    let realm = try LoopbackURL(services.issuer).target
    let store = try LoopbackURL(services.filesURL).target.dropLast()
    return """
      baseURL: \(services.intercomURL)
      provider:
        issuer: \(services.issuer)
        internalURL: http://127.0.0.1:\(provider.port)\(realm)
        clientID: \(client)
        clientSecret: intercom-secret-of-the-test-realm-only
        scopes: [\(scopes)]
      origins: ["\(origin)"]
      sessions:
        path: \(database)
        keys: [\(Base64URL.encode(SystemRandom().bytes(32)))]
      routes:
        fs:
          path: /fs
          upstream: http://127.0.0.1:\(files.port)\(store)
          credential:
            exchange: {audience: files}
          methods: webdav
          stripPrefix: true

      """
  }
}
