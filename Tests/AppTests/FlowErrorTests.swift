import HTTPMessage
import HTTPServer
import IntercomCore
import IntercomTesting
import Sessions
import StrictJSON
import Testing

/// What people and programs read when something goes wrong, and what the operator finds then.
@Suite("Flow: errors", .serialized)
struct FlowErrorTests {
  /// Words of the inside: types, files, system calls.
  private static let inside = [
    ".swift", "Error(", "Optional(", "errno", "Sources/", "0x", "Swift.", "nil", "SQLITE", "curl", "127.0.0.1:", "/tmp", "Exception",
  ]

  private func check(_ answer: HTTPAnswer, _ what: String) throws {
    #expect(answer.status >= 400, "\(what): \(answer.status)")
    #expect(answer.field("cache-control") == "no-store", "\(what): may be stored")
    #expect(answer.field("server") == nil && answer.field("x-powered-by") == nil, "\(what)")
    let text = answer.text
    for word in Self.inside { #expect(!text.contains(word), "\(what) shows \(word): \(text.prefix(400))") }
    switch answer.field("content-type") {
    case "application/problem+json"?:
      let problem = try StrictJSON.object(answer.body)
      #expect(problem["status"]?.int64 == Int64(answer.status), "\(what)")
      #expect(problem["code"]?.string?.isEmpty == false, "\(what)")
      let detail = try #require(problem["detail"]?.string)
      #expect(detail.hasSuffix(".") && detail.utf8.count > 20, "\(what): \(text)")
    case "application/json"?:
      #expect(try StrictJSON.object(answer.body)["error"]?.string?.isEmpty == false, "\(what)")
    default:
      #expect(answer.field("content-type") == "text/html; charset=utf-8", "\(what)")
      // A line in the log has the reference of a page that shows one.
      #expect(text.contains("Reason: ") && text.contains("<h1>"), "\(what): \(text)")
      #expect(text.contains("<a href=") == text.contains("Reference: "), "\(what): \(text)")
      #expect(answer.field("content-security-policy")?.contains("default-src 'none'") == true, "\(what)")
      #expect(!text.contains("<script"), "\(what)")
    }
  }

  @Test("every error of every endpoint is not stored, shows nothing of the inside and says what to do next (S28)")
  func errors() async throws {
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      for (target, fields) in [
        ("/nowhere", []), ("/fs/%2e%2e/x", []), ("/f%73/x", []), ("/fs/x", [("Origin", "http://evil.example")]), ("/nob/x", []),
        ("/denied/x", []), ("/down/x", []), ("/plain/x", [("Upgrade", "websocket"), ("Connection", "Upgrade")]), ("/own/a%2Fb", []),
        ("/backchannel-logout", []), ("/logout", []),
      ] as [(String, [(String, String)])] {
        try check(try await flow.send(visitor, "GET", target, [("Sec-Fetch-Mode", "cors")] + fields), "GET \(target)")
      }
      for (method, target) in [("PUT", "/plain/x"), ("BREW", "/fs/x"), ("TRACE", "/fs/x"), ("POST", "/logout"), ("POST", "/callback")] {
        try check(try await flow.send(visitor, method, target, [("Sec-Fetch-Site", "cross-site")]), "\(method) \(target)")
      }
      try check(try await flow.send(Visitor(), "GET", "/fs/x", [("Sec-Fetch-Mode", "cors")]), "no session")
      for (type, body) in [
        ("text/plain", "x"), ("application/x-www-form-urlencoded", ""), ("application/x-www-form-urlencoded", "logout_token=a.b.c"),
      ] {
        let answer = try await flow.client.send(
          "POST", flow.url("/backchannel-logout"), fields: [("Content-Type", type)], body: Array(body.utf8))
        try check(answer, "back channel \(body)")
      }
      for head in ["GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "nonsense\r\n\r\n"] {
        let answer = String(
          decoding: try await flow.client.exchange(port: flow.port, bytes: Array(head.utf8), finishSending: true), as: UTF8.self)
        #expect(answer.contains("\r\nCache-Control: no-store\r\n") && answer.contains("application/problem+json"), "\(answer)")
      }
      flow.store.fail(Set(FaultySessionStore.Operation.allCases))
      for target in ["/fs/x", "/logout", "/login"] {
        try check(
          try await flow.send(
            Visitor(), "GET", target, FlowFixture.navigation + [("Cookie", "intercom=\(String(repeating: "A", count: 43))")]),
          "no store \(target)")
      }
      flow.store.fail([])
    }
  }

  @Test(
    "a sign-in that fails is one line in the log with its reason, found by the reference that its page shows",
    arguments: ClientVersion.allCases)
  func reasonIsFound(_ version: ClientVersion) async throws {
    try await FlowFixture.run(over: version) { flow in
      let cases: [(ProviderLie, String)] = [
        (.nonce, "nonce"), (.signature, "signature"), (.audience, "aud"), (.expired, "expired"),
        (.idTokenMissing, "id_token is missing"),
        (.answerIsHTML, "not application/json"),
      ]
      for (lie, reason) in cases {
        let visitor = Visitor()
        let callback = try await flow.authorize(visitor, flow.begin(visitor))
        flow.liar.tell(lie)
        let page = try await visitor.send("GET", callback, FlowFixture.navigation)
        flow.liar.tell(nil)
        try check(page, "\(lie)")
        let reference = String(page.text.split(separator: "Reference: ").last?.prefix(8) ?? "")
        #expect(reference.utf8.count == 8 && reference.utf8.allSatisfy { "0123456789abcdef".utf8.contains($0) }, "\(page.text)")
        let lines = flow.sink.lines.filter { $0.contains("\"reference\":\"\(reference)\"") }
        #expect(lines.count == 1 && lines[0].contains("login_failed") && lines[0].contains("\"level\":\"warning\""), "\(lies(lines))")
        #expect(lines.first?.contains(reason) == true, "\(lie): \(lies(lines))")
      }
    }
  }

  private func lies(_ lines: [String]) -> String { lines.joined(separator: "\n") }

  @Test(
    "a failed request is one line with its number, route, status and reason; a dead backend warns, and does not fill the log",
    arguments: ClientVersion.allCases)
  func requestsAreFound(_ version: ClientVersion) async throws {
    try await FlowFixture.run(over: version) { flow in
      let visitor = try await flow.signedIn()
      for _ in 0..<20 { _ = try await flow.fetch(visitor, "GET", "/down/x?code=never-shown") }
      _ = try await flow.fetch(visitor, "GET", "/denied/x")
      _ = try await flow.fetch(visitor, "GET", "/nob/x")
      _ = try await flow.fetch(visitor, "GET", "/nowhere")
      _ = try await flow.fetch(visitor, "GET", "/plain/y")
      // The line follows the answer.
      try await waitUntilTrue("the last request's line") { flow.sink.lines.contains { $0.contains("/plain/y") } }
      let lines = flow.sink.lines
      func having(_ parts: String...) -> [String] { lines.filter { line in parts.allSatisfy { line.contains($0) } } }
      #expect(having("\"event\":\"upstream_failed\"", "\"level\":\"warning\"", "\"route\":\"down\"", "upstream_unreachable").count == 5)
      #expect(having("\"event\":\"request_refused\"", "\"level\":\"debug\"", "\"path\":\"/down/x\"", "\"status\":502").count == 20)
      #expect(having("\"event\":\"request_refused\"", "credential_refused", "\"path\":\"/denied/x\"", "\"route\":\"denied\"").count == 1)
      #expect(having("\"event\":\"request_refused\"", "csrf_proof_missing", "\"path\":\"/nob/x\"", "\"route\":\"nob\"").count == 1)
      #expect(having("\"event\":\"request_refused\"", "no_route", "\"path\":\"/nowhere\"", "\"route\":\"\"").count == 1)
      #expect(having("\"event\":\"upstream_failed\"").allSatisfy { $0.contains("\"route\":\"down\"") })
      let failed = having("\"event\":\"credential_failed\"", "\"route\":\"denied\"")
      #expect(failed.count == 1)
      // The same number in both lines of one request.
      let number = failed.first?.split(separator: "\"request\":\"").last?.prefix { $0 != "\"" } ?? ""
      #expect(having("\"event\":\"request_refused\"", "\"request\":\"\(number)\"", "/denied/x").count == 1)
      #expect(having("\"event\":\"request\"", "\"level\":\"trace\"", "\"path\":\"/plain/y\"", "\"status\":200").count == 1)
      #expect(having("\"event\":\"provider_call\"", "\"purpose\":\"code\"", "\"result\":\"200\"").count == 1)
      #expect(having("never-shown") == [])
    }
  }
}
