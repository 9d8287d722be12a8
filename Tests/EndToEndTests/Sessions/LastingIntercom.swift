import Cryptography
import CurlTransport
import DemoWorkplace
import HTTPMessage
import IntercomCore
import IntercomTesting
import JOSE
import SQLite
import SessionStoreSQLite
import StrictJSON
import Telemetry

@testable import Sessions

/// `intercom serve` with a session database that outlives it: the program is ended and started again, while the provider (the embedded one), the
/// backend and the people with their cookies stay in the test's process.
///
/// Routes: `plain` (a session, no credential), `own` (the session's token), `fs` (token exchanged for `files`), `nob` (the CSRF token demanded).
final class LastingIntercom: Sendable {
  static let clientSecret = "client-secret-canary-of-the-store-tests"
  static let password = "password-canary"

  let port: Int
  /// With Redis: replicas share it, `port` is that of a balancer in front of them, and these are their own.
  let redis: RedisServer?
  let replicas: [Int]
  private let balancer: TCPRelay?
  /// `http://intercom.localhost:…`
  let base: String
  let issuer: String
  let database: String
  /// What the operator keeps beside the database, as written in the configuration; the first seals.
  let key = LastingIntercom.newKey()
  let liar: MisbehavingProvider
  let provider: RecordingServer
  let upstream: RecordingServer
  private let carrier: CurlTransport
  private let folder: TestFolder?

  /// An origin that Intercom allows.
  let app = "http://app.localhost"

  private init(database: String?, _ redis: RedisServer?, _ lifetimes: ProviderLifetimes) throws {
    folder = database == nil ? try TestFolder() : nil
    self.database = database ?? folder?.file("sessions.db") ?? ""
    self.redis = redis
    replicas = redis == nil ? [] : [try FreePort.next(), try FreePort.next()]
    balancer = redis == nil ? nil : try TCPRelay(balancing: replicas)
    port = try balancer?.port ?? FreePort.next()
    base = "http://intercom.localhost:\(port)"
    (provider, upstream, carrier) = (try RecordingServer(), try RecordingServer(), try CurlTransport())
    issuer = "http://id.localhost:\(provider.port)"
    var registration = FlowProvider.configuration(issuer: issuer, base: base, secret: Self.clientSecret, password: Self.password)
    registration.lifetimes = lifetimes
    liar = try MisbehavingProvider(registration, time: SystemTime(), transport: carrier)
    provider.serve(liar.endpoint)
  }

  /// Starts provider and backend, tells the story, and ends them; Intercom is the story's to start.
  ///
  /// - Parameters:
  ///   - database: on a disk of the test's own; nil: a folder that is removed at the end.
  ///   - redis: what replicas share, instead of a database.
  static func run(
    database: String? = nil, redis: RedisServer? = nil, _ lifetimes: ProviderLifetimes = ProviderLifetimes(),
    _ story: (LastingIntercom) async throws -> Void
  ) async throws {
    let lasting = try LastingIntercom(database: database, redis, lifetimes)
    try await lasting.provider.start()
    try await lasting.upstream.start()
    let result: Result<Void, any Error>
    do { result = .success(try await story(lasting)) } catch { result = .failure(error) }
    await lasting.provider.stop()
    await lasting.upstream.stop()
    lasting.carrier.stop()
    try result.get()
  }

  // MARK: the program

  /// The whole configuration but for the listeners.
  func configuration(keys: [String]? = nil, more: String = "") -> String {
    let place = redis.map { "store: redis\n  redis: {host: 127.0.0.1, port: \($0.port)}" } ?? "path: \(database)"
    return """
      baseURL: \(base)
      provider: {issuer: "\(issuer)", clientID: intercom, clientSecret: \(Self.clientSecret)}
      origins: ["\(app)"]
      sessions:
        \(place)
        keys: [\((keys ?? [key]).map { "\"\($0)\"" }.joined(separator: ", "))]
      routes:
        plain: {path: /plain, upstream: "http://127.0.0.1:\(upstream.port)", credential: none}
        own: {path: /own, upstream: "http://127.0.0.1:\(upstream.port)", credential: accessToken}
        fs: {path: /fs, upstream: "http://127.0.0.1:\(upstream.port)", credential: {exchange: {audience: files}}}
        who: {path: /who, upstream: "http://127.0.0.1:\(upstream.port)", credential: {headers: {X-Remote-User: sub}}}
        nob: {path: /nob, upstream: "http://127.0.0.1:\(upstream.port)", credential: none, csrf: token}
      timeouts: {drain: 2s}
      \(more)
      """
  }

  /// Starts the program at the same port with the same database and waits until it is ready.
  func serve(keys: [String]? = nil, untilReady: Bool = true) async throws -> IntercomProcess {
    try await IntercomProcess.serve(configuration(keys: keys), port: port, untilReady: untilReady)
  }

  /// Starts one of the replicas.
  func serve(replica: Int) async throws -> IntercomProcess { try await IntercomProcess.serve(configuration(), port: replicas[replica]) }

  /// The same with other text, and listeners besides.
  func serve(_ configuration: String, listeners: String) async throws -> IntercomProcess {
    try await IntercomProcess.serve(configuration, port: port, listeners: listeners)
  }

  /// A key as `openssl rand -base64 32 | tr '+/' '-_'` makes it.
  static func newKey() -> String { Base64URL.encode(SystemRandom().bytes(32)) }

  // MARK: people

  /// A person who has signed in: the session's cookie is in the jar.
  func signedIn(_ user: String = "alice") async throws -> Visitor {
    let visitor = Visitor(timeout: .seconds(20))
    let last = try await signIn(visitor, user)
    guard await visitor.jar["intercom"] != nil else {
      throw WaitFailure("no session after signing in", within: .zero, seen: last.wholeText)
    }
    return visitor
  }

  /// The last answer of a sign-in from `/login` to the page that it ends at.
  @discardableResult
  func signIn(_ visitor: Visitor, _ user: String = "alice") async throws -> HTTPAnswer {
    let page = try await visitor.open(base + "/login")
    guard HTMLForm(in: page.text) != nil else { return page }
    return try await visitor.submit(["username": user, "password": Self.password])
  }

  /// A script of the application asks with the visitor's cookies.
  func fetch(_ visitor: Visitor, _ target: String, _ fields: KeyValuePairs<String, String> = [:]) async throws -> HTTPAnswer {
    try await visitor.fetch("GET", base + target, origin: app, fields)
  }

  /// What a replica answers to a script with this session cookie.
  func ask(replica: Int, _ target: String, cookie: String) async throws -> HTTPAnswer {
    try await RawHTTPClient(timeout: .seconds(20)).get(
      "http://intercom.localhost:\(replicas[replica])\(target)", ["Cookie": "intercom=\(cookie)", "Origin": app])
  }

  /// What a script gets with this session cookie.
  func status(_ cookie: String, _ target: String = "/plain/x") async throws -> Int {
    try await RawHTTPClient(timeout: .seconds(20)).get(base + target, ["Cookie": "intercom=\(cookie)", "Origin": app]).status
  }

  func cookie(of visitor: Visitor) async throws -> String {
    guard let cookie = await visitor.jar["intercom"]?.value else { throw WaitFailure("no session cookie", within: .zero) }
    return cookie
  }

  /// The CSRF token that `/silent` gives.
  func csrfToken(_ visitor: Visitor) async throws -> String {
    let page = try await visitor.open(base + "/silent", dest: "iframe", referer: app + "/").text
    let mark = #"<script type="application/json" id="intercom-message">"#
    let json = page.split(separator: mark, maxSplits: 1).dropFirst().first?.split(separator: "</script>", maxSplits: 1).first ?? ""
    return try StrictJSON.object(Array(json.utf8))["csrftoken"]?.string ?? ""
  }

  /// A logout token of the provider for this person.
  func logoutToken(subject: String = "alice-id") throws -> String {
    let now = SystemTime().wallNow()
    let claims: JSONObject = [
      "iss": .string(issuer), "aud": "intercom", "sub": .string(subject), "iat": .int64(now.seconds),
      "exp": .int64(now.advanced(by: .seconds(100)).seconds), "jti": .string(Base64URL.encode(SystemRandom().bytes(16))),
      "events": .object(["http://schemas.openid.net/event/backchannel-logout": .object([:])]),
    ]
    return try liar.key.sign(claims, type: "logout+jwt")
  }

  func backChannelLogout(_ token: String) async throws -> HTTPAnswer {
    try await RawHTTPClient(timeout: .seconds(20)).post(base + "/backchannel-logout", form: ["logout_token": token])
  }

  // MARK: the database, while the program is down

  /// Opens the store as the program does, calls `body` and closes it.
  func withStore<Value>(_ body: (SQLiteSessionStore, SealedRecords) async throws -> Value) async throws -> Value {
    let store = try await SQLiteSessionStore.open(path: database, time: SystemTime(), log: .none)
    let records = SealedRecords(store: store, keys: try keyRing(), events: .none)
    do {
      let value = try await body(store, records)
      await store.close()
      return value
    } catch {
      await store.close()
      throw error
    }
  }

  func keyRing(_ keys: [String]? = nil) throws -> KeyRing {
    try KeyRing((keys ?? [key]).map { Secret(Base64URL.decode(Array($0.utf8)) ?? []) })
  }

  static func record(ofCookie cookie: String) throws -> RecordKey {
    guard let id = SessionID(cookieValue: Array(cookie.utf8)) else { throw WaitFailure("no session id: \(cookie)", within: .zero) }
    return SessionKey(id).record
  }

  static func record(ofState state: String) throws -> RecordKey {
    guard let bytes = Base64URL.decode(Array(state.utf8)) else { throw WaitFailure("no state: \(state)", within: .zero) }
    return RecordKey(kind: .pendingLogin, naming: [Identifier(bytes: bytes)])
  }

  /// Asks the file itself, as `sqlite3` does, while the program is down: running, it lets nobody in.
  func query(_ sql: String) throws -> Int64 { try SQLiteConnection(path: database).integer(sql) ?? -1 }
}

extension HTTPAnswer {
  /// Everything of it as one text.
  var wholeText: String {
    "\(status) " + fields.all.map { "\($0.name): \(String(decoding: $0.value, as: UTF8.self))\n" }.joined() + text
  }

  /// 503 as a program must understand it: problem details and when to try again; nobody is told to forget a cookie.
  var isHonestlyUnavailable: Bool {
    status == 503 && field("content-type") == Problem.contentType && field("retry-after") != nil && all("set-cookie").isEmpty
  }
}

extension IntercomProcess {
  /// The value of a series, such as `intercom_sessions_created_total{…}`; nil when it is not there.
  func metric(_ series: String) async throws -> Int? {
    try await metrics().split(separator: "\n").first { $0.hasPrefix(series + " ") }.flatMap { Int($0.dropFirst(series.utf8.count + 1)) }
  }

  /// Status and text of `/readyz`.
  func readiness() async throws -> (status: Int, text: String) {
    let answer = try await RawHTTPClient().get("http://127.0.0.1:\(adminPort)/readyz")
    return (answer.status, answer.text)
  }

  /// Lines of the log with this event.
  func logLines(_ event: String) -> [String] { child.lines.filter { $0.contains("\"event\":\"\(event)\"") } }

  /// Ends it as the kernel or an impatient operator does.
  func kill() async throws {
    child.send(9)
    _ = try await child.waitForExit()
  }
}
