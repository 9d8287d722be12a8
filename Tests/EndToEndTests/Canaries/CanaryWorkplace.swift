import Cryptography
import CurlTransport
import DemoWorkplace
import FoundationEssentials
import HTTPMessage
import HTTPServer
import IntercomCore
import IntercomTesting

/// `intercom serve` at trace level with SQLite, between a provider and a backend that the test plays: every secret of every flow is marked and
/// known to the test.
struct CanaryWorkplace: Sendable {
  /// With everything that an encoding changes.
  static let clientSecret = "client&secret=\"<canary>\"/+%-S3cr3tOfTheClient-é"
  static let basicSecret = "basic-canary:\"&<\\\\>-of-the-backend"
  static let password = "password-canary-of-everybody-+%&"
  static let strangerToken = "stranger-bearer-canary-0123456789"

  let intercom: IntercomProcess
  let provider: RecordingServer
  let liar: MisbehavingProvider
  let upstream: RecordingServer
  let ledger: SecretLedger
  let watch: AnswerWatch
  let folder: TestFolder
  let issuer: String

  var base: String { "http://intercom.localhost:\(intercom.port)" }
  var app: String { "http://app.localhost:\(upstream.port)" }
  var database: String { folder.file("sessions.db") }

  /// Starts everything, tells the story and stops everything. Intercom's end is the story's business; what still runs is terminated.
  static func run(
    environment: [String: String?] = [:], lifetimes: ProviderLifetimes = ProviderLifetimes(),
    _ story: (CanaryWorkplace) async throws -> Void
  ) async throws {
    let (port, ledger, folder) = (try FreePort.next(), SecretLedger(), try TestFolder())
    let (provider, upstream, carrier) = (try RecordingServer(), try RecordingServer(), try CurlTransport())
    let issuer = "http://id.localhost:\(provider.port)"
    let base = "http://intercom.localhost:\(port)"
    var registration = FlowProvider.configuration(issuer: issuer, base: base, secret: clientSecret, password: password)
    registration.lifetimes = lifetimes
    let liar = try MisbehavingProvider(registration, time: SystemTime(), transport: ListeningTransport(carrier, ledger))
    provider.serve(ledger.listening(to: liar.endpoint))
    try await provider.start()
    try await upstream.start()
    let key = SystemRandom().bytes(32)
    ledger.note("session key", key)
    ledger.note("session key text", Base64URL.encode(key))
    ledger.note("client secret", clientSecret)
    ledger.note("basic secret", basicSecret)
    ledger.note("password", password)
    ledger.note("stranger's token", strangerToken)
    let watch = AnswerWatch(port: port, ownCookies: ["intercom", "intercom-login"]) { name, value in
      // id_token_hint goes through the browser, to the provider alone.
      FieldName(name) == "location" && value.hasPrefix(issuer + "/")
        ? value.split(separator: "&", omittingEmptySubsequences: false).filter { !$0.contains("id_token_hint=") }.joined(separator: "&")
        : value
    }
    let environment = environment.merging(["INTERCOM_CFG_PROVIDER__CLIENT_SECRET": clientSecret]) { given, _ in given }
    let intercom = try await IntercomProcess.serve(
      configuration(base, issuer, upstream.port, key: Base64URL.encode(key), database: folder.file("sessions.db")), port: port,
      environment: environment)
    let workplace = CanaryWorkplace(
      intercom: intercom, provider: provider, liar: liar, upstream: upstream, ledger: ledger, watch: watch, folder: folder, issuer: issuer)
    let result: Result<Void, any Error>
    do { result = .success(try await AnswerWatch.$current.withValue(watch) { try await story(workplace) }) } catch {
      result = .failure(WaitFailure("\(error)", within: .zero, seen: intercom.child.outputTail))
    }
    await intercom.child.terminate()
    await provider.stop()
    await upstream.stop()
    carrier.stop()
    try result.get()
  }

  static func configuration(_ base: String, _ issuer: String, _ upstream: Int, key: String, database: String) -> String {
    func route(_ name: String, _ credential: String, _ port: Int) -> String {
      "  \(name): {path: /\(name), upstream: \"http://127.0.0.1:\(port)\", credential: \(credential), methods: webdav}\n"
    }
    return """
      baseURL: \(base)
      log: {level: trace}
      provider:
        issuer: \(issuer)
        clientID: intercom
        clientSecret: overlaid-by-the-environment
        scopes: [openid, profile, email]
      origins: ["http://app.localhost:\(upstream)"]
      timeouts: {drain: 2s, providerCall: 2s}
      sessions:
        path: \(database)
        keys: ["\(key)"]
      routes:

      """ + route("fs", "{exchange: {audience: files}}", upstream) + route("denied", "{exchange: {audience: denied}}", upstream)
        + route("own", "accessToken", upstream) + route("plain", "none", upstream) + route("down", "none", 1)
        + route("basic", "{basic: {usernameClaim: preferred_username, secret: \"\(yaml(basicSecret))\"}}", upstream)
  }

  private static func yaml(_ text: String) -> String { text.replacing("\\", with: "\\\\").replacing("\"", with: "\\\"") }

  // MARK: what a browser does

  static let navigation: [(String, String)] = [
    ("Accept", "text/html,*/*;q=0.8"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document"),
  ]

  func url(_ target: String) throws -> LoopbackURL { try LoopbackURL(base + target) }

  /// A navigation of a visitor, redirects not followed.
  @discardableResult
  func open(_ visitor: Visitor, _ target: String, _ fields: [(String, String)] = []) async throws -> HTTPAnswer {
    let answer = try await visitor.send("GET", url(target), Self.navigation + fields)
    for name in ["intercom", "intercom-login"] { if let cookie = await visitor.jar[name] { ledger.note("cookie", cookie.value) } }
    return answer
  }

  /// A script of the application asks.
  @discardableResult
  func fetch(_ visitor: Visitor, _ method: String, _ target: String, _ fields: [(String, String)] = [], body: [UInt8]? = nil) async throws
    -> HTTPAnswer
  {
    try await visitor.send(
      method, url(target), [("Origin", app), ("Sec-Fetch-Mode", "cors"), ("Sec-Fetch-Dest", "empty")] + fields, body: body)
  }

  /// From `/login` to where the provider sends the browser back, its page filled in where it shows one.
  func callback(_ visitor: Visitor, _ target: String = "/login") async throws -> LoopbackURL {
    let begun = try await open(visitor, target)
    let page = try LoopbackURL(begun.field("location") ?? "")
    var answer = try await visitor.send("GET", page, Self.navigation)
    if answer.status == 200, let form = HTMLForm(in: answer.text) {
      let wrong = FormText.encode(form.hidden + [("username", "alice"), ("password", "wrong-" + Self.password)])
      let right = FormText.encode(form.hidden + [("username", "alice"), ("password", Self.password)])
      let type = Self.navigation + [("Content-Type", "application/x-www-form-urlencoded")]
      _ = try await visitor.send("POST", page.resolve(form.action), type, body: Array(wrong.utf8))
      answer = try await visitor.send("POST", page.resolve(form.action), type, body: Array(right.utf8))
    }
    guard let next = answer.field("location") else {
      throw WaitFailure("the provider sent nobody back: \(answer.status)", within: .zero, seen: answer.text)
    }
    return try page.resolve(next)
  }

  func signedIn() async throws -> Visitor {
    let visitor = Visitor(timeout: .seconds(20))
    let callback = try await callback(visitor)
    let answer = try await open(visitor, callback.target)
    guard answer.status == 302 else { throw WaitFailure("callback: \(answer.status) \(answer.text)", within: .zero) }
    return visitor
  }

  // MARK: sinks

  /// Everything that Intercom left behind, by name.
  func sinks() async throws -> [(String, [UInt8])] {
    var sinks = [("standard error", intercom.child.allOutput)]
    for suffix in ["", "-wal", "-shm", ".lock"] {
      if let data = FileManager.default.contents(atPath: database + suffix) { sinks.append(("sessions.db" + suffix, Array(data))) }
    }
    guard intercom.child.exit == nil else { return sinks }
    for path in ["metrics", "readyz", "livez"] {
      sinks.append((path, try await RawHTTPClient().get("http://127.0.0.1:\(intercom.adminPort)/\(path)").wholeBytes))
    }
    for file in ["cmdline", "comm", "status", "limits"] {
      sinks.append(
        ("/proc/PID/" + file, Array(FileManager.default.contents(atPath: "/proc/\(intercom.child.identifier)/\(file)") ?? Data())))
    }
    return sinks
  }

  /// What was found in them: must be none.
  func finds() async throws -> [String] {
    for request in provider.requests { ledger.hear(request) }
    let search = try ledger.search()
    return try await sinks().flatMap { search.search($0.0, $0.1) }.map(\.description)
  }

  /// What was found in the answers: must be none. State and nonce go to the provider through the browser, the CSRF token is the browser's.
  func findsInAnswers() throws -> [String] {
    let search = try ledger.search(leavingOut: ["state", "nonce", "csrf", "cookie", "logout state"]).allowing(
      ledger.values(["logout state"]))
    return watch.answers.flatMap { search.search("an answer", $0).map(\.description) } + watch.findings([:]).map(\.description)
  }
}

extension HTTPAnswer {
  /// Head and body.
  var wholeBytes: [UInt8] {
    Array("\(status)\n".utf8) + fields.all.flatMap { Array("\($0.name): ".utf8) + $0.value + [10] } + body
  }
}
