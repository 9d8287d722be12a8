import Cryptography
import CurlTransport
import DemoWorkplace
import Gateway
import HTTPMessage
import HTTPServer
import IntercomApp
import IntercomCore
import IntercomTesting
import Linux
import OIDC
import OpenSSL
import ReverseProxy
import Sessions
import StrictJSON
import Telemetry

/// The tests of Intercom as a whole: everything real and over sockets of the loopback interface, the provider and the backends included.
///
/// Routes: `fs` (token exchanged for `files`), `own` (the session's token), `basic`, `headers`, `plain` (a session, no credential), `nob` (the
/// CSRF token demanded), `public`, `denied` (an audience that the provider refuses), `down` (nobody listens), `slow` (0.4 s for a head).
struct FlowFixture: Sendable {
  static let clientSecret = "client-secret-canary"
  static let basicSecret = "basic-secret-canary"
  static let password = "password-canary"

  /// `http://intercom.localhost:…`, https where the test asks for it.
  let base: String
  let port: Int
  /// An allowed origin: an application, which the upstream's server serves.
  let app: String
  let issuer: String
  let provider: RecordingServer
  let liar: MisbehavingProvider
  let upstream: RecordingServer
  let store: FaultySessionStore
  let time: ShiftedTime
  /// The provider's own clock: the same unless a test puts it off.
  let providerTime: ShiftedTime
  let sink: MemorySink
  let running: RunningIntercom
  /// What seals this instance's sessions.
  let sealingKey: [UInt8]
  /// Every route of this instance, Intercom's own included.
  let routes: [Route]
  let client = RawHTTPClient(timeout: .seconds(20))

  struct Options: Sendable {
    var startsProvider = true
    /// What the provider says wrong from the very beginning: then nobody waits until it is ready.
    var lie: ProviderLie?
    var lifetimes = ProviderLifetimes()
    /// Browsers come by https to a listener with this TLS.
    var tls: TLSContext?
    var provider: @Sendable (inout ProviderConfiguration) -> Void = { _ in }
    var deployment: @Sendable (inout Deployment) throws -> Void = { _ in }
  }

  /// Starts everything, calls `body` and stops everything.
  /// - Parameter version: how the clients of `body` speak to Intercom.
  static func run(
    _ options: Options = Options(), over version: ClientVersion = .http1, _ body: (FlowFixture) async throws -> Void
  ) async throws {
    let reservation = try PortReservation()
    let base = "\(options.tls == nil ? "http" : "https")://intercom.localhost:\(reservation.port)"
    let (time, sink, upstream, provider) = (ShiftedTime(), MemorySink(), try RecordingServer(), try RecordingServer())
    let issuer = "http://id.localhost:\(provider.port)"
    let carrier = try CurlTransport()
    var registration = FlowProvider.configuration(issuer: issuer, base: base, secret: clientSecret, password: password)
    registration.lifetimes = options.lifetimes
    options.provider(&registration)
    let providerTime = ShiftedTime(time)
    let liar = try MisbehavingProvider(registration, time: providerTime, transport: carrier)
    liar.tell(options.lie)
    provider.serve(liar.endpoint)
    try await upstream.start()
    if options.startsProvider { try await provider.start() }
    let store = FaultySessionStore(MemorySessionStore(time: time))
    let sealingKey = SystemRandom().bytes(32)
    var deployment = try deployment(
      reservation, base, issuer, upstream: upstream.port, sealingKey, StructuredLog(to: sink, minimum: .trace))
    (deployment.store, deployment.time) = (.given(store), time)
    deployment.transport = ShiftedTransport(carrier, time)
    if let tls = options.tls {
      deployment.listen = [ListenerSetup(reservation.address, tls: tls)]
      deployment.cookies = OwnCookies(isSecure: true)
    }
    let detour = version == .http2 ? try await addHTTP2(&deployment, reservation.port) : nil
    try options.deployment(&deployment)
    let running = try await Composition.start(deployment)
    let fixture = FlowFixture(
      base: base, port: reservation.port, app: "http://app.localhost:\(upstream.port)", issuer: issuer, provider: provider, liar: liar,
      upstream: upstream, store: store, time: time, providerTime: providerTime, sink: sink, running: running, sealingKey: sealingKey,
      routes: deployment.routes + OwnRoutes.all(CORSPolicy(origins: [deployment.base.origin] + deployment.origins)))
    let result: Result<Void, any Error>
    do {
      if options.startsProvider, options.lie == nil { try await waitUntilTrue("a ready provider") { running.isProviderReady } }
      result = .success(try await HTTP2Detour.$current.withValue(detour?.way) { try await watched(fixture, body) })
    } catch { result = .failure(error) }
    _ = await running.stop()
    await provider.stop()
    await upstream.stop()
    carrier.stop()
    try result.get()
  }

  /// A second listener, with TLS, and the way over it; the reservation lasts as long as it is kept.
  private static func addHTTP2(
    _ deployment: inout Deployment, _ port: Int
  ) async throws -> (way: HTTP2Detour, reservation: PortReservation) {
    let (reservation, authority) = (try PortReservation(), try await TestAuthority())
    let tls = try TLSContext(
      server: [try await authority.identity("server", names: "DNS:localhost")], protocols: [.http2, .http11])
    deployment.listen.append(ListenerSetup(reservation.address, tls: tls))
    let context = try TLSContext(client: try authority.certificates(), protocols: [.http2])
    return (HTTP2Detour(from: port, to: UInt16(clamping: reservation.port), context: context), reservation)
  }

  private static func deployment(
    _ reservation: PortReservation, _ base: String, _ issuer: String, upstream: Int, _ sealingKey: [UInt8], _ log: StructuredLog
  ) throws -> Deployment {
    guard let url = HTTPURL(base + "/"), let app = Origin(serialized: "http://app.localhost:\(upstream)") else { throw FixtureFault.badURL }
    var client = try ClientConfiguration(
      issuer: issuer, clientID: "intercom", clientSecret: Secret(clientSecret), redirectURI: base + "/callback")
    client.scopes = ["openid", "profile", "email"]
    var deployment = Deployment(
      listen: [ListenerSetup(reservation.address)], admin: SocketAddress(.loopbackV4, port: 0), base: url, origins: [app], client: client,
      keys: try KeyRing([Secret(sealingKey)]), cookies: OwnCookies(isSecure: false),
      routes: try routes(CORSPolicy(origins: [url.origin, app]), "http://127.0.0.1:\(upstream)", nobody: "http://127.0.0.1:1"), log: log)
    deployment.passwords = [Secret(basicSecret)]
    deployment.loops = 2
    deployment.workers = 2
    deployment.drain = .seconds(2)
    deployment.server.log = log
    return deployment
  }

  static func routes(_ cors: CORSPolicy, _ upstream: String, nobody: String) throws -> [Route] {
    func route(_ name: String, _ credential: CredentialRule = .none, to target: String? = nil, _ change: (inout Route) -> Void = { _ in })
      throws -> Route
    {
      guard let path = RoutePath("/" + name), let url = HTTPURL((target ?? upstream) + "/\(name)-root"),
        let endpoint = UpstreamEndpoint(url)
      else { throw FixtureFault.badURL }
      var route = Route(name: name, path: path, kind: .proxy(endpoint), methods: .webdav, cors: cors)
      route.credential = credential
      route.stripPrefix = true
      route.timeouts = UpstreamTimeouts(connect: .seconds(2), head: .seconds(10), idle: .seconds(10))
      change(&route)
      return route
    }
    return [
      try route("fs", .exchange(ExchangeTarget(audience: "files"))) { $0.passesEncodedSlashes = true },
      try route("fs2", .exchange(ExchangeTarget(audience: "other-files"))), try route("own", .accessToken),
      try route("basic", .basic(usernameClaim: "preferred_username", passwordIndex: 0)),
      try route(
        "headers",
        .headers([ClaimHeader(field: "X-Remote-User", claim: "preferred_username"), ClaimHeader(field: "X-Groups", claim: "groups")])),
      try route("plain"), try route("nob") { $0.csrf = .token }, try route("public") { $0.isPublic = true },
      try route("denied", .exchange(ExchangeTarget(audience: "denied"))), try route("down", to: nobody),
      try route("slow") { $0.timeouts.head = .milliseconds(400) },
    ]
  }
}

enum FixtureFault: Error {
  case badURL
  case unexpected(String)
}

extension FlowFixture {
  static let navigation: [(String, String)] = [
    ("Accept", "text/html,*/*;q=0.8"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document"),
  ]
  static let frame: [(String, String)] = [("Accept", "text/html"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "iframe")]

  func url(_ target: String) throws -> LoopbackURL { try LoopbackURL(base + target) }

  /// One request of a visitor, redirects not followed.
  @discardableResult
  func send(
    _ visitor: Visitor, _ method: String, _ target: String, _ fields: [(String, String)] = [], body: [UInt8]? = nil
  ) async throws -> HTTPAnswer {
    try await visitor.send(method, url(target), fields, body: body)
  }

  /// A script of the application asks with the visitor's cookies.
  @discardableResult
  func fetch(
    _ visitor: Visitor, _ method: String, _ target: String, _ fields: [(String, String)] = [], body: [UInt8]? = nil
  ) async throws -> HTTPAnswer {
    try await send(
      visitor, method, target, [("Origin", app), ("Sec-Fetch-Mode", "cors"), ("Sec-Fetch-Dest", "empty")] + fields, body: body)
  }

  /// Begins a login: where the provider is asked.
  func begin(_ visitor: Visitor, _ target: String = "/login", _ fields: [(String, String)] = navigation) async throws -> String {
    let answer = try await send(visitor, "GET", target, fields)
    guard answer.status == 302, let location = answer.field("location") else {
      throw FixtureFault.unexpected("\(target): \(answer.status) \(answer.text.prefix(300))")
    }
    return location
  }

  /// Opens the provider's page and signs in where it asks: the URL of the callback to which the browser is sent.
  func authorize(_ visitor: Visitor, _ location: String, as user: String = "alice") async throws -> LoopbackURL {
    let page = try LoopbackURL(location)
    var answer = try await visitor.send("GET", page, Self.navigation)
    if answer.status == 200 {
      guard let form = HTMLForm(in: answer.text) else { throw FixtureFault.unexpected(answer.text) }
      let body = FormText.encode(form.hidden + [("username", user), ("password", Self.password)])
      answer = try await visitor.send(
        "POST", page.resolve(form.action), Self.navigation + [("Content-Type", "application/x-www-form-urlencoded")],
        body: Array(body.utf8))
    }
    guard let next = answer.field("location") else { throw FixtureFault.unexpected("\(answer.status) \(answer.text.prefix(300))") }
    return try page.resolve(next)
  }

  /// A visitor with a session.
  func signedIn(_ user: String = "alice") async throws -> Visitor {
    let visitor = Visitor(timeout: .seconds(20))
    try await signIn(visitor, user)
    return visitor
  }

  func signIn(_ visitor: Visitor, _ user: String = "alice") async throws {
    let callback = try await authorize(visitor, begin(visitor), as: user)
    let answer = try await visitor.send("GET", callback, Self.navigation)
    guard answer.status == 302 else { throw FixtureFault.unexpected("callback: \(answer.status) \(answer.text)") }
  }

  /// Whether this visitor's session is alive, as a backend's answer shows.
  func isAlive(_ visitor: Visitor) async throws -> Bool { try await fetch(visitor, "GET", "/plain/alive").status == 200 }

  /// The message of a silent page.
  func message(_ page: HTTPAnswer) throws -> JSONObject {
    let text = page.text
    let mark = #"<script type="application/json" id="intercom-message">"#
    let rest = text.split(separator: mark, maxSplits: 1, omittingEmptySubsequences: false).dropFirst().first ?? ""
    let json = rest.split(separator: "</script>", maxSplits: 1, omittingEmptySubsequences: false).first ?? ""
    return try StrictJSON.object(Array(json.utf8))
  }

  /// The CSRF token of a visitor's session, as `/silent` gives it.
  func csrfToken(_ visitor: Visitor) async throws -> String {
    let page = try await send(visitor, "GET", "/silent", Self.frame + [("Referer", app + "/")])
    return try message(page)["csrftoken"]?.string ?? ""
  }

  /// Calls of the token endpoint with this grant.
  func tokenCalls(_ grant: String) -> [SeenRequest] {
    provider.requests.filter { request in
      guard let fields = try? FormFields(parsing: request.body), let value = fields.single("grant_type") else { return false }
      return request.method == .post && Identifier(value) == Identifier(grant)
    }
  }
  var codeCalls: Int { tokenCalls("authorization_code").count }
  var exchanges: Int { tokenCalls("urn:ietf:params:oauth:grant-type:token-exchange").count }
  var refreshes: Int { tokenCalls("refresh_token").count }
}

extension HTTPAnswer {
  /// Everything of it as one text.
  var wholeText: String {
    "\(status) " + fields.all.map { "\($0.name): \(String(decoding: $0.value, as: UTF8.self))\n" }.joined() + text
  }
  /// The Vary line that answers on behalf of CORS must have.
  var variesByOrigin: Bool { all("vary").contains { $0 == "Origin" } }
}

extension Deployment {
  /// Adds a route `live`, like `plain`, whose requests may become WebSockets, to this port of 127.0.0.1; and gives it.
  mutating func addTunnels(to port: UInt16) throws -> Route {
    guard let path = RoutePath("/live"), let url = HTTPURL("http://127.0.0.1:\(port)"), let endpoint = UpstreamEndpoint(url),
      let plain = routes.first(where: { $0.name == "plain" })
    else { throw FixtureFault.badURL }
    var route = Route(name: "live", path: path, kind: .proxy(endpoint), methods: .plain, cors: plain.cors)
    route.upgrades = [Array("websocket".utf8)]
    routes.append(route)
    return route
  }
}
