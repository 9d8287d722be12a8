import Cryptography
import IntercomCore
import IntercomTesting
import Testing

/// The drop-in on real servers: Keycloak with its client as it is, Apache with WebDAV, Redis, and stand-ins that verify what they get.
@Suite(
  "In the place of the Intercom Service: Keycloak, Apache, Redis", .serialized, .enabled(if: RedisServer.isAvailable),
  .timeLimit(.minutes(3)))
struct EnvironmentKeycloakTests {
  private static let app = "http://mail.apps.localhost:8080"
  private static let portalKey = "portal-key-canary"

  @Test(
    "by variables alone: sign-in, silent frame, files, wiki, navigation, uuid, logout at Keycloak, with both forms of token exchange",
    .needs(.keycloak, .files), arguments: [ExchangeForm.standard, .legacy])
  func story(form: ExchangeForm) async throws {
    let services = try Services.require(.keycloak, .files)
    let (redis, portal) = (try await RedisServer(), try RecordingServer())
    let wiki = try await TokenWitness("xwikioidc", services, alsoFor: form.alsoFor)
    try await portal.start()
    let files = try LoopbackURL(services.filesURL)
    let environment = [
      "INTERCOM_URL": services.intercomURL, "ISSUER_BASE_URL": services.issuer, "CLIENT_ID": "\(form.client)",
      "CLIENT_SECRET": "\(form.client)-secret-of-the-test-realm-only", "SECRET": "a-secret-that-is-long-enough-for-32-bytes",
      "TOKEN_EXCHANGE_V2": form == .standard ? "true" : "false", "ORIGIN_REGEX": #"^http://[a-z]+\.apps\.localhost(:\d+)?$"#,
      "NC_URL": "http://127.0.0.1:\(files.port)\(files.target)", "NC_AUDIENCE": "files",
      "XWIKI_URL": "http://127.0.0.1:\(wiki.server.port)", "PORTAL_URL": "http://127.0.0.1:\(portal.port)",
      "PORTAL_API_KEY": Self.portalKey, "USERNAME_CLAIM": "preferred_username", "USER_UNIQUE_MAPPER": "preferred_username",
      "REDIS_HOST": "127.0.0.1", "REDIS_PORT": "\(redis.port)", "LOG_LEVEL": "debug",
    ]
    let intercom = try await IntercomProcess.serve(environment: environment, port: services.intercomPort)
    let result: Result<Void, any Error>
    do {
      try await tell(form, services, wiki, portal)
      result = .success(())
    } catch { result = .failure(WaitFailure("\(error)", within: .zero, seen: intercom.child.outputTail)) }
    #expect(await intercom.child.terminate(grace: .seconds(15)) == .code(0), "\(intercom.child.outputTail)")
    #expect(intercom.tokensInLog.isEmpty && !intercom.child.output.contains(Self.portalKey))
    for server in [wiki.server, portal] { await server.stop() }
    try result.get()
  }

  private func tell(
    _ form: ExchangeForm, _ services: Services, _ wiki: TokenWitness, _ portal: RecordingServer
  ) async throws {
    let (base, alice) = (services.intercomURL, Visitor(timeout: .seconds(20)))
    #expect(try await alice.fetch("PROPFIND", base + "/fs/", origin: Self.app, ["Depth": "1"]).status == 401)
    try await alice.open(base + "/login")
    #expect(try await alice.submit(["username": "alice", "password": "alice"]).status == 200)
    let silent = try await alice.open(base + "/silent", dest: "iframe", referer: Self.app + "/")
    #expect(silent.text.contains(#"{"loggedIn":true,"csrftoken":""#))

    let listing = try await alice.fetch("PROPFIND", base + "/fs/", origin: Self.app, ["Depth": "1"])
    #expect(listing.status == 207 && listing.text.contains("agenda.txt"))
    #expect(listing.field("access-control-allow-origin") == Self.app)
    #expect(try await alice.fetch("GET", base + "/wiki/news", origin: Self.app).status == 200)
    #expect(wiki.server.requests.last?.path == "/news")
    #expect(try await alice.fetch("GET", base + "/navigation.json?lang=de_DE", origin: Self.app).status == 200)
    let seen = try #require(portal.requests.last)
    #expect(seen.path == "/univention/portal/navigation.json" && seen.query == "lang=de_DE")
    #expect(seen.field("authorization") == "Basic " + Base64.encode(Array("alice:\(Self.portalKey)".utf8)))
    #expect(try await alice.fetch("GET", base + "/uuid", origin: Self.app).text == "alice")

    try await alice.open(services.issuer + "/protocol/openid-connect/logout?client_id=\(form.client)")
    #expect(try await alice.submit(["confirmLogout": "Logout"]).status == 200)
    try await waitUntilTrue("401 after the logout at Keycloak") {
      try await alice.fetch("PROPFIND", base + "/fs/", origin: Self.app, ["Depth": "0"]).status == 401
    }
  }
}
