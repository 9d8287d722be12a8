import DemoWorkplace
import FoundationEssentials
import HTTPMessage
import HTTPServer
import IntercomCore
import IntercomTesting
import Linux
import StrictJSON
import Testing

/// Every flow at trace level with marked secrets; then every sink is searched (fault 57, S28, S29).
@Suite("Canaries", .serialized)
struct CanaryTests {
  @Test(
    "Log leaks: every flow, good and hostile, leaves no secret in log, answers, metrics, database or /proc (fault 57, S28, S29)",
    .timeLimit(.minutes(3)))
  func everyFlow() async throws {
    var lifetimes = ProviderLifetimes()
    lifetimes.accessToken = 2
    try await CanaryWorkplace.run(lifetimes: lifetimes) { place in
      try await Self.signIns(place)
      let visitor = try await place.signedIn()
      try await Self.silent(place, visitor)
      try await Self.requests(place, visitor)
      try await Self.echoes(place, visitor)
      try await Self.refreshes(place, visitor)
      try await Self.signOuts(place)
      try await Self.wire(place, visitor)
      try await Self.storeFails(place, visitor)
      Self.expectNone(try await place.finds())
      place.intercom.child.send(Signal.hangUp)
      _ = try await place.intercom.child.line("reloaded") { $0.contains("\"event\":\"reloaded\"") }
      #expect(await place.intercom.child.terminate(grace: .seconds(15)) == .code(0), "\(place.intercom.child.outputTail)")
      Self.expectNone(try await place.finds())
      Self.expectNone(try place.findsInAnswers())
      try Self.expectEverythingHappened(place)
    }
  }

  private static func expectNone(_ finds: [String], _ location: SourceLocation = #_sourceLocation) {
    #expect(finds.isEmpty, "\(finds.count): \(finds.prefix(12).joined(separator: "\n"))", sourceLocation: location)
  }

  /// A search over flows that did not happen would find nothing either.
  private static func expectEverythingHappened(_ place: CanaryWorkplace) throws {
    let events = [
      "listening", "provider_call", "login_begun", "signed_in", "login_failed", "silent_login_ended", "session_found", "request",
      "request_refused", "upstream_failed", "credential_failed", "session_ended", "backchannel_logout", "logout_token_refused",
      "session_store_unavailable", "reloaded", "draining", "stopped",
    ]
    let lines = String(decoding: place.intercom.child.allOutput, as: UTF8.self)
    for event in events { #expect(lines.contains("\"event\":\"\(event)\""), "\(event) is not in the log") }
    let kinds: Set<String> = [
      "session key", "client secret", "basic secret", "password", "cookie", "code", "code_verifier", "state", "nonce", "access_token",
      "refresh_token", "id_token", "exchanged_token", "logout_token", "csrf", "stranger's token",
    ]
    #expect(kinds.subtracting(place.ledger.kinds) == [], "secrets that no flow showed")
    #expect(place.watch.count > 80)
    // The provider and the backend did get what nobody else may see.
    let search = try place.ledger.search()
    #expect(search.search("the backend", place.upstream.requests.map(\.text).joined()).count > 2)
  }

  @Test(
    "Log leaks: neither serve nor config check shows a secret of a faulty configuration, file or environment (fault 57, S29)",
    .timeLimit(.minutes(1)),
    arguments: [
      ("clientSecret: SECRET", "clientSecret: [SECRET]"), ("clientSecret: SECRET", "clientsecret: SECRET"),
      ("keys: [KEY]", "keys: [KEY, KEY]"), ("keys: [KEY]", "keys: KEY: x"),
      ("issuer: http://127.0.0.1:1", "issuer: http://u:SECRET@127.0.0.1:1"),
      ("path: /p", "path: p, secret: SECRET"), ("baseURL: http://intercom.localhost", "baseURL: http://intercom.localhost"),
    ])
  func faultyConfiguration(part: String, faulty: String) async throws {
    let (secret, key) = ("Secr3tCanary-81726354-Qxzvwkjy", String(repeating: "KeyCanary-0123_", count: 3).prefix(43))
    var search = CanarySearch()
    try search.add("client secret", secret)
    try search.add("session key", String(key))
    let folder = try TestFolder()
    let text = """
      baseURL: http://intercom.localhost
      provider: {issuer: http://127.0.0.1:1, clientID: intercom, clientSecret: SECRET}
      sessions: {store: memory, keys: [KEY]}
      routes: {p: {path: /p, upstream: "http://127.0.0.1:1", credential: none}}

      """
    let file = folder.file("intercom.yaml")
    let bytes = text.replacing(part, with: faulty).replacing("SECRET", with: secret).replacing("KEY", with: String(key))
    try Data(bytes.utf8).write(to: URL(filePath: file))
    // The last row's fault is in the environment, and is all of it a secret.
    let environment: [String: String?] =
      part == faulty ? ["INTERCOM_CFG_PROVIDER__CLIENT_SECRET_FILE": secret, "INTERCOM_CFG_SESSIONS__KEYS": "\(key)!"] : [:]
    for (words, code) in [
      (["serve", "--config", file], 78), (["config", "check", file], 1), (["config", "check", file, "--format", "json"], 1),
    ] {
      let child = try ChildProcess(IntercomProcess.binary, words, environment: environment, log: "intercom-faulty")
      #expect(try await child.waitForExit() == .code(Int32(code)), "\(words): \(child.outputTail)")
      #expect(child.allOutput.count > 40)
      #expect(search.search(words.joined(separator: " "), child.allOutput).map(\.description) == [])
    }
  }

  // MARK: flows

  private static func signIns(_ place: CanaryWorkplace) async throws {
    for lie in [ProviderLie.nonce, .signature, .audience, .answerIsTruncated, .answerIsHTML, .idTokenMissing, .tokensSwapped] {
      let visitor = Visitor()
      let callback = try await place.callback(visitor)
      place.liar.tell(lie)
      _ = try await place.open(visitor, callback.target)
      place.liar.tell(nil)
    }
    for echo in HostileEcho.allCases {
      let visitor = Visitor()
      let callback = try await place.callback(visitor)
      place.provider.answer { request in Self.isToken(request) ? echo.answer(request) : nil }
      let answer = try await place.open(visitor, callback.target)
      #expect([400, 502, 503].contains(answer.status), "\(echo): \(answer.status)")
      place.provider.answer(nil)
    }
    // Replayed, of another browser, changed, with the provider's or anybody's errors.
    let visitor = Visitor()
    let callback = try await place.callback(visitor)
    _ = try await place.open(Visitor(), callback.target)
    _ = try await place.open(visitor, callback.target.replacing("code=", with: "code=x&code="))
    _ = try await place.open(
      visitor, callback.target.replacing("state=", with: "error=\(FormText.escape(CanaryWorkplace.clientSecret))&x="))
    let state = callback.target.split(separator: "state=").last.map(String.init) ?? ""
    for word in ["access_denied", "login_required", FormText.escape(CanaryWorkplace.strangerToken)] {
      let again = Visitor()
      let begun = try await place.open(again, "/login")
      let own = (begun.field("location") ?? "").split(separator: "state=").last?.prefix { $0 != "&" } ?? ""
      _ = try await place.open(again, "/callback?error=\(word)&error_description=\(CanaryWorkplace.strangerToken)&state=\(own)")
    }
    _ = try await place.open(visitor, callback.target)
    _ = try await place.open(visitor, callback.target)
    _ = try await place.open(visitor, "/callback?code=\(CanaryWorkplace.strangerToken)&state=\(state)")
  }

  private static func isToken(_ request: SeenRequest, _ grant: String? = nil) -> Bool {
    guard request.method == .post, let fields = try? FormFields(parsing: request.body), let found = fields.single("grant_type") else {
      return false
    }
    return grant.map { found.hasSuffix($0) } ?? true
  }

  private static func silent(_ place: CanaryWorkplace, _ visitor: Visitor) async throws {
    let frame: [(String, String)] = [("Sec-Fetch-Dest", "iframe"), ("Sec-Fetch-Mode", "navigate"), ("Referer", place.app + "/")]
    let page = try await visitor.send("GET", place.url("/silent"), frame)
    let csrf = page.text.split(separator: "\"csrftoken\":\"").last?.prefix { $0 != "\"" } ?? ""
    #expect(csrf.count == 43)
    place.ledger.note("csrf", String(csrf))
    // Nobody is signed in, here and at the provider.
    let stranger = Visitor()
    let begun = try await stranger.send("GET", place.url("/silent"), frame)
    let back = try await stranger.send("GET", LoopbackURL(begun.field("location") ?? ""), frame)
    _ = try await stranger.send("GET", LoopbackURL(back.field("location") ?? ""), frame)
    for token in [String(csrf), "wrong-\(csrf)", ""] {
      _ = try await visitor.send("PUT", place.url("/own/x"), [("X-CSRF-Token", token)], body: Array("x".utf8))
    }
  }

  private static func requests(_ place: CanaryWorkplace, _ visitor: Visitor) async throws {
    for target in [
      "/own/a?code=\(CanaryWorkplace.strangerToken)", "/fs/a", "/basic/a", "/plain/a", "/denied/a", "/down/a", "/nowhere/a", "/fs/%00", "/",
      "/login",
    ] {
      _ = try await place.fetch(visitor, "GET", target)
      _ = try await place.fetch(
        visitor, "GET", target, [("Authorization", "Bearer \(CanaryWorkplace.strangerToken)"), ("Origin", "http://evil.example")])
      _ = try await place.fetch(
        Visitor(), "GET", target,
        [("Authorization", "Bearer \(CanaryWorkplace.strangerToken)"), ("Cookie", "intercom=\(CanaryWorkplace.strangerToken)")])
      _ = try await place.open(Visitor(), target)
    }
    // A backend that answers with what it got shows it to who asked: the one way a credential comes back, and not into any other sink.
    place.upstream.answer { request in
      Response(500, ["X-Echo": request.field("authorization") ?? "none"], Array((request.field("authorization") ?? "").utf8))
    }
    try await AnswerWatch.$current.withValue(nil) {
      for target in ["/own/a", "/fs/a", "/basic/a"] {
        let echoed = try await place.fetch(visitor, "GET", target)
        #expect(echoed.status == 500 && !(echoed.field("x-echo") ?? "none").hasPrefix("none"), "\(target)")
      }
    }
    place.upstream.answer { _ in Response(401) }
    _ = try await place.fetch(visitor, "GET", "/fs/a")
    place.upstream.answer(nil)
    for request in place.upstream.requests {
      if let value = request.field("authorization") { place.ledger.note("backend credential", value) }
    }
  }

  /// Refreshes and exchanges into which the provider's echo comes back.
  private static func echoes(_ place: CanaryWorkplace, _ visitor: Visitor) async throws {
    for lie in [ProviderLie.exchangedAudience, .exchangedSubject, .answerIsHTML, .answerHasDuplicateKeys] {
      _ = try await place.fetch(visitor, "GET", "/own/fresh")
      place.upstream.answer { _ in Response(401) }
      _ = try await place.fetch(visitor, "GET", "/fs/a")
      place.upstream.answer(nil)
      place.liar.tell(lie)
      _ = try await place.fetch(visitor, "GET", "/fs/a")
      place.liar.tell(nil)
    }
    for echo in HostileEcho.allCases {
      place.provider.answer { request in Self.isToken(request, "token-exchange") ? echo.answer(request) : nil }
      let answer = try await place.fetch(visitor, "GET", "/denied/a")
      #expect([401, 403, 502, 503].contains(answer.status), "\(echo): \(answer.status)")
    }
    place.provider.answer(nil)
  }

  private static func refreshes(_ place: CanaryWorkplace, _ visitor: Visitor) async throws {
    for echo in HostileEcho.allCases {
      // Until the access token is over the answer is 200.
      place.provider.answer { request in Self.isToken(request, "refresh_token") ? echo.answer(request) : nil }
      try await waitUntilTrue("a refresh that fails", within: .seconds(10)) {
        try await place.fetch(visitor, "GET", "/own/a").status != 200
      }
    }
    place.provider.answer(nil)
    #expect(try await place.fetch(visitor, "GET", "/own/a").status == 200, "the session outlives echoes")
    // The provider ends it, repeating the token.
    place.provider.answer { request in
      guard Self.isToken(request, "refresh_token") else { return nil }
      var answer = HostileEcho.sentence.answer(request)
      if case .bytes(let bytes) = answer.body {
        answer.body = .bytes(Array(String(decoding: bytes, as: UTF8.self).replacing("invalid_request", with: "invalid_grant").utf8))
      }
      return answer
    }
    try await waitUntilTrue("the end of the session", within: .seconds(10)) {
      try await place.fetch(visitor, "GET", "/own/a").status == 401
    }
    place.provider.answer(nil)
  }

  private static func signOuts(_ place: CanaryWorkplace) async throws {
    let token = try await backChannel(place)
    let forged = String(token.dropLast(4)) + "AAAA"
    for fields in [
      [("logout_token", token)], [("logout_token", forged)], [("logout_token", token), ("logout_token", forged)], [("token", token)],
    ] {
      let answer = try await RawHTTPClient().send(
        "POST", place.url("/backchannel-logout"), fields: [("Content-Type", "application/x-www-form-urlencoded")],
        body: Array(FormText.encode(fields).utf8))
      #expect(answer.status == 400)
    }
    _ = try await RawHTTPClient().get(place.base + "/backchannel-logout?logout_token=\(token)")
    _ = try await RawHTTPClient().send(
      "POST", place.url("/backchannel-logout"), fields: [("Content-Type", "application/json")],
      body: Array("{\"logout_token\":\"\(token)\"}".utf8))
    let visitor = try await place.signedIn()
    _ = try await place.fetch(visitor, "GET", "/fs/a")
    #expect(try await place.fetch(visitor, "GET", "/logout").status == 403)
    let gone = try await place.open(visitor, "/logout?returnTo=\(FormText.escape(place.app + "/bye"))")
    // Its state says where to go on, readable: URLs look alike in tokens too.
    let state = (gone.field("location") ?? "").split(separator: "state=").last ?? ""
    place.ledger.note("logout state", String(state.prefix { $0 != "&" }))
    #expect(gone.field("location")?.contains("id_token_hint=") == true)
  }

  /// Alice signs out at the provider: the token that it sent.
  private static func backChannel(_ place: CanaryWorkplace) async throws -> String {
    let visitor = try await place.signedIn()
    let end = try LoopbackURL(place.liar.provider.urls.url(.endSession))
    var answer = try await visitor.send("GET", end, CanaryWorkplace.navigation)
    if answer.status == 200, let form = HTMLForm(in: answer.text) {
      answer = try await visitor.send(
        "POST", end.resolve(form.action), CanaryWorkplace.navigation + [("Content-Type", "application/x-www-form-urlencoded")],
        body: Array(FormText.encode(form.hidden).utf8))
    }
    try await waitUntilTrue("a logout token", within: .seconds(10)) { place.ledger.kinds.contains("logout_token") }
    #expect(try await place.fetch(visitor, "GET", "/own/a").status == 401)
    return try #require(place.ledger.values(["logout_token"]).first)
  }

  /// Heads that the parser refuses, with secrets in them.
  private static func wire(_ place: CanaryWorkplace, _ visitor: Visitor) async throws {
    let secret = CanaryWorkplace.strangerToken
    let cookie = await visitor.jar["intercom"]?.value ?? ""
    for head in [
      "GET /callback?code=\(secret)\u{0} HTTP/1.1\r\nHost: a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nHost: \(secret)\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\nAuthorization : Bearer \(secret)\r\n\r\n", "\(secret) / HTTP/1.1\r\nHost: a\r\n\r\n",
      "GET /\(String(repeating: secret, count: 400)) HTTP/1.1\r\nHost: a\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\nCookie: intercom=\(cookie)\(String(repeating: "x", count: 40_000))\r\n\r\n",
      "GET / HTTP/1.1\r\nHost: a\r\nX-\(secret)\r\n\r\n",
      "TRACE / HTTP/1.1\r\nHost: a\r\nCookie: intercom=\(cookie)\r\nX: \(secret)\r\n\r\n",
    ] {
      let answer = try await RawHTTPClient(timeout: .seconds(15)).exchange(
        port: place.intercom.port, bytes: Array(head.utf8), finishSending: true)
      Self.expectNone(try place.ledger.search().search("a refusal", answer).map(\.description))
    }
  }

  /// The database is moved away while it is in use: nothing can be written.
  private static func storeFails(_ place: CanaryWorkplace, _ old: Visitor) async throws {
    let visitor = try await place.signedIn()
    let callback = try await place.callback(Visitor())
    try FileManager.default.moveItem(atPath: place.database, toPath: place.database + ".moved")
    _ = try await place.open(Visitor(), "/login")
    _ = try await place.open(visitor, callback.target)
    _ = try await place.open(visitor, "/logout")
    _ = try await RawHTTPClient().post(
      place.base + "/backchannel-logout", form: ["logout_token": place.ledger.values(["logout_token"]).first ?? ""])
    try FileManager.default.moveItem(atPath: place.database + ".moved", toPath: place.database)
  }
}
