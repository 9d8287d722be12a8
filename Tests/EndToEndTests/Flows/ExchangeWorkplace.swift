import HTTPMessage
import IntercomCore
import IntercomTesting
import JOSE
import StrictJSON

/// How Intercom asks Keycloak for other tokens in a test: the form, and the client that may use it.
enum ExchangeForm: String, Sendable, CaseIterable {
  case standard, legacy
  /// The standard's form as a client for which it is not switched on: Keycloak answers by its legacy form.
  case standardNotSwitchedOn
  /// The legacy form as a client that has no permission.
  case legacyNotPermitted

  var setting: String { self == .standard || self == .standardNotSwitchedOn ? "rfc8693" : "legacy" }
  var client: Identifier { self == .standard || self == .legacyNotPermitted ? "intercom" : "intercom-legacy" }
  /// Keycloak's legacy form cannot leave its account console out.
  var alsoFor: Set<Identifier> { self == .legacy ? ["account"] : [] }
}

/// `intercom serve` between Keycloak and backends that verify what they get.
struct ExchangeWorkplace: Sendable {
  let form: ExchangeForm
  let services: Services
  let intercom: IntercomProcess
  let ncoidc: TokenWitness
  let xwikioidc: TokenWitness
  let calendar: TokenWitness
  /// Behind every route for which there can be no token: it must see nothing.
  let nobody: RecordingServer

  var base: String { services.intercomURL }
  var witnesses: [TokenWitness] { [ncoidc, xwikioidc, calendar] }

  /// Starts everything, tells the story, and ends Intercom in order: exit code 0, no token in its log, nothing forwarded without a token.
  static func run(_ form: ExchangeForm, _ story: @escaping @Sendable (ExchangeWorkplace) async throws -> Void) async throws {
    let services = try Services.require(.keycloak, .files)
    let nobody = try RecordingServer()
    try await nobody.start()
    var witnesses: [TokenWitness] = []
    for audience in ["ncoidc", "xwikioidc", "calendar"] as [Identifier] {
      witnesses.append(try await TokenWitness(audience, services, alsoFor: form.alsoFor))
    }
    let ports = witnesses.map(\.server.port)
    let result: Result<Void, any Error>
    do {
      let intercom = try await IntercomProcess.serve(
        try configuration(form, services, ports, nobody: nobody.port), port: services.intercomPort)
      let place = ExchangeWorkplace(
        form: form, services: services, intercom: intercom, ncoidc: witnesses[0], xwikioidc: witnesses[1], calendar: witnesses[2],
        nobody: nobody)
      try await intercom.tell { try await story(place) }
      result = await end(place)
    } catch { result = .failure(error) }
    for server in witnesses.map(\.server) + [nobody] { await server.stop() }
    try result.get()
  }

  private static func end(_ place: ExchangeWorkplace) async -> Result<Void, any Error> {
    let exit = await place.intercom.child.terminate(grace: .seconds(15))
    let leaked = place.intercom.tokensInLog
    guard exit == .code(0), leaked.isEmpty, place.nobody.requests.isEmpty else {
      return .failure(
        WaitFailure(
          "intercom ended with \(exit), tokens in its log: \(leaked.count), requests to nobody: \(place.nobody.requests.count)",
          within: .zero,
          seen: place.intercom.child.outputTail))
    }
    return .success(())
  }

  private static func configuration(_ form: ExchangeForm, _ services: Services, _ ports: [Int], nobody: Int) throws -> String {
    let store = try LoopbackURL(services.filesURL)
    func route(_ name: String, _ port: Int, _ exchange: String) -> String {
      "  \(name): {path: /\(name), upstream: \"http://127.0.0.1:\(port)\", credential: {exchange: {\(exchange)}}, methods: webdav}\n"
    }
    return """
      baseURL: \(services.intercomURL)
      provider:
        issuer: \(services.issuer)
        internalURL: http://127.0.0.1:\(services.keycloakPort)\(try LoopbackURL(services.issuer).target)
        clientID: \(form.client)
        clientSecret: \(form.client)-secret-of-the-test-realm-only
        tokenExchange: \(form.setting)
      sessions: {store: memory}
      routes:
        fs: {path: /fs, upstream: "http://127.0.0.1:\(store.port)\(store.target.dropLast())", credential: {exchange: {audience: files}}, methods: webdav, stripPrefix: true}

      """ + route("nc", ports[0], "audience: ncoidc") + route("nc-more", ports[0], "audience: ncoidc, scope: calendar-audience")
        + route("wiki", ports[1], "audience: xwikioidc") + route("calendar", ports[2], "audience: calendar, scope: calendar-audience")
        + route("vault", nobody, "audience: calendar") + route("unknown", nobody, "audience: nobody-knows")
        + route("scope", form == .standard ? nobody : ports[0], "audience: ncoidc, scope: no-such-scope")
        + route("narrow", form == .standard ? ports[0] : nobody, "audience: ncoidc, alsoFor: []")
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

  /// A request of a script of Intercom's own origin.
  func get(_ visitor: Visitor, _ path: String) async throws -> HTTPAnswer { try await visitor.fetch("GET", base + path, origin: base) }

  /// Who this is at Keycloak, asked for without Intercom.
  func subject(_ name: String) async throws -> Identifier? {
    let answer = try await RawHTTPClient(timeout: .seconds(20)).post(
      services.issuer + "/protocol/openid-connect/token",
      form: ["grant_type": "password", "client_id": "walk", "client_secret": "walk-secret", "username": name, "password": name])
    guard let token = try StrictJSON.object(answer.body)["access_token"]?.string else { return nil }
    return try UnverifiedJWS.parse(token).unverifiedClaims()["sub"]?.identifier
  }

  /// The warnings about credentials in the program's log, oldest first.
  var refusals: [JSONObject] {
    intercom.child.output.split(separator: "\n").filter { $0.contains("credential_failed") }
      .compactMap { try? StrictJSON.object(Array($0.utf8)) }
  }

  /// How many exchanges ended so.
  func exchanges(_ result: String) async throws -> Int {
    let lines = try await intercom.metrics().split(separator: "\n")
    let line = lines.first { $0.contains("token_calls_total{") && $0.contains("call=\"exchange\"") && $0.contains("result=\"\(result)\"") }
    return line?.split(separator: " ").last.flatMap { Int($0) } ?? 0
  }
}
