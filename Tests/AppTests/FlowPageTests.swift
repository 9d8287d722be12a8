import HTTPMessage
import HTTPServer
import IntercomApp
import IntercomCore
import IntercomTesting
import Linux
import Testing

/// What a person sees who opens an address that Intercom refuses, and that scripts see no difference.
@Suite("Flow: pages of refusals", .serialized)
struct FlowPageTests {
  private static let frame = [
    ("Accept", "text/html"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "iframe"), ("Sec-Fetch-Site", "same-origin"),
  ]
  /// Browsers without Fetch Metadata.
  private static let old = [("Accept", "text/html,application/xhtml+xml,*/*;q=0.8")]

  private struct Row {
    let method: String
    let target: String
    let fields: [(String, String)]
    let status: Int
    let code: String
    init(_ target: String, _ status: Int, _ code: String, method: String = "GET", _ fields: [(String, String)] = []) {
      (self.method, self.target, self.fields, self.status, self.code) = (method, target, fields, status, code)
    }
  }

  private static let rows = [
    Row("/nosuch", 404, "no_route"), Row("/nosuch?<script>alert(1)</script>=\"canary\"".replacing("\"", with: "%22"), 404, "no_route"),
    Row("/down/x", 502, "upstream_unreachable"), Row("/slow/x", 504, "upstream_timeout"), Row("/nob/x", 403, "csrf_proof_missing"),
    Row("/denied/x", 403, "credential_refused"), Row("/f%73/x", 400, "escaped_route"), Row("/plain/a%2Fb", 400, "encoded_slash"),
    Row("/callback", 405, "method_refused", method: "POST"),
    Row("/logout", 403, "origin_refused", method: "POST", [("Origin", "http://evil.example"), ("Sec-Fetch-Site", "cross-site")]),
    Row("/logout", 403, "logout_refused", method: "POST", [("Sec-Fetch-Site", "cross-site")]),
  ]

  private func checkPage(_ answer: HTTPAnswer, _ row: Row, _ what: String) {
    let note = "\(what) \(row.method) \(row.target): \(answer.wholeText)"
    #expect(answer.status == row.status, "\(note)")
    #expect(answer.all("content-type") == ["text/html; charset=utf-8"], "\(note)")
    #expect(answer.all("cache-control") == ["no-store"] && answer.variesByOrigin, "\(note)")
    #expect(answer.field("content-security-policy")?.hasPrefix("default-src 'none'; style-src 'sha256-") == true, "\(note)")
    #expect(answer.field("x-content-type-options") == "nosniff", "\(note)")
    #expect(answer.text.contains("<h1>") && answer.text.contains("Reason: \(row.code)<"), "\(note)")
    #expect(!answer.text.contains("<script") && !answer.text.contains("canary") && !answer.text.contains("evil"), "\(note)")
  }

  @Test("a refused navigation is a page with the status, the fields and the word of the refusal", arguments: ClientVersion.allCases)
  func navigations(_ version: ClientVersion) async throws {
    try await FlowFixture.run(over: version) { flow in
      flow.upstream.answer { request in
        if request.path.hasPrefix("/slow-root") { try await SystemTime().sleep(for: .seconds(2)) }
        return nil
      }
      let visitor = try await flow.signedIn()
      for row in Self.rows {
        checkPage(try await flow.send(visitor, row.method, row.target, FlowFixture.navigation + row.fields), row, "page")
        if row.method == "GET" {
          checkPage(try await flow.send(visitor, "GET", row.target, Self.old + row.fields), row, "old")
          // In a frame a page of ours would not be shown at all: nobody frames them.
          let framed = try await flow.send(visitor, "GET", row.target, Self.frame + row.fields)
          #expect(framed.status == row.status && framed.field("content-type") == Problem.contentType, "\(row.target): \(framed.wholeText)")
        }
      }
      // The same refusals as scripts and programs get them: JSON, and beside it the same fields.
      for row in Self.rows where row.code != "origin_refused" && row.code != "logout_refused" {
        for fields in [[("Origin", flow.app), ("Sec-Fetch-Mode", "cors")], [("Accept", "*/*"), ("Sec-Fetch-Mode", "no-cors")], []] {
          let answer = try await flow.send(visitor, row.method, row.target, fields)
          guard answer.status == row.status else { continue }
          #expect(answer.all("content-type") == [Problem.contentType], "\(row.target) \(fields): \(answer.wholeText)")
          #expect(answer.field("content-security-policy") == nil && answer.text.hasPrefix("{"), "\(row.target): \(answer.wholeText)")
        }
      }
      #expect(try await flow.send(visitor, "HEAD", "/nosuch", FlowFixture.navigation).body.isEmpty)
    }
  }

  @Test("a page of a store that does not answer says when to try again, and nobody frames it")
  func store() async throws {
    try await FlowFixture.run { flow in
      flow.store.fail(Set(FaultySessionStore.Operation.allCases))
      let cookie = [("Cookie", "intercom=\(String(repeating: "A", count: 43))")]
      let row = Row("/plain/x", 503, "session_store_unavailable")
      let page = try await flow.send(Visitor(), "GET", "/plain/x", FlowFixture.navigation + cookie)
      checkPage(page, row, "store")
      #expect(page.field("retry-after") == "2" && page.all("set-cookie").isEmpty)
      #expect(page.field("content-security-policy")?.hasSuffix("frame-ancestors 'none'") == true, "\(page.wholeText)")
      let script = try await flow.fetch(Visitor(), "GET", "/plain/x", cookie)
      #expect(script.status == 503 && script.field("retry-after") == "2" && script.field("content-type") == Problem.contentType)
      #expect(script.field("access-control-allow-origin") == flow.app)
      flow.store.fail([])
    }
  }

  @Test("a sign-in that the provider refuses says so, and not that it was begun elsewhere")
  func refusedSignIn() async throws {
    try await FlowFixture.run { flow in
      let visitor = Visitor()
      let location = try await flow.begin(visitor)
      let query = location.split(separator: "?").last.map(String.init) ?? ""
      let state = query.split(separator: "&").first { $0.hasPrefix("state=") }.map(String.init) ?? ""
      let answer = try await flow.send(
        visitor, "GET", "/callback?error=access_denied&\(state)&iss=\(FormText.escape(flow.issuer))", FlowFixture.navigation)
      #expect(answer.status == 400 && answer.text.contains("Reason: access_denied"), "\(answer.wholeText)")
      #expect(answer.text.contains("did not let you in") && !answer.text.contains("elsewhere"), "\(answer.text)")
      let other = Visitor()
      let callback = try await flow.authorize(other, flow.begin(other))
      flow.liar.tell(.refuses(.login, status: 400, error: "invalid_grant"))
      let late = try await other.send("GET", callback, FlowFixture.navigation)
      flow.liar.tell(nil)
      #expect(late.status == 400 && late.text.contains("Reason: code_refused"), "\(late.wholeText)")
      #expect(late.text.contains("took too long") && !late.text.contains("elsewhere"), "\(late.text)")
    }
  }

  @Test(
    "a head that is refused for what it says is told to an allowed Origin, where it is there as a whole; TRACE and CONNECT are 405 always",
    arguments: [
      ("GET /fs/../x HTTP/1.1", "", 400, true), ("GET /fs/%2e%2e/x HTTP/1.1", "", 400, true), ("GET /fs/\\x HTTP/1.1", "", 400, true),
      ("GET /fs/x HTTP/1.1", "Sec-Fetch-Site: none\r\nSec-Fetch-Site: none\r\n", 400, true),
      ("GET /fs/x HTTP/1.1", "Expect: x\r\n", 417, true),
      ("GET /fs/x HTTP/1.1", "Content-Length: 1, 1\r\n", 400, true), ("GET /fs/x HTTP/1.1", "Connection: a b\r\n", 400, true),
      ("GET /fs/x HTTP/1.1", "Origin: http://evil.example\r\n", 400, false), ("GET /fs/x HTTP/1.1", "X : y\r\n", 400, false),
      ("GET /fs/x?\(String(repeating: "a", count: 9000)) HTTP/1.1", "", 414, false),
      ("GET /fs/x HTTP/1.1", "X: \(String(repeating: "a", count: 17_000))\r\n", 431, false),
      ("CONNECT /fs/ HTTP/1.1", "", 405, true), ("CONNECT http://h/ HTTP/1.1", "", 405, true), ("TRACE /fs/../x HTTP/1.1", "", 405, true),
      ("TRACE * HTTP/1.1", "", 405, true), ("CONNECT h:443 HTTP/1.1", "", 405, true),
    ])
  func refusedHeads(_ line: String, _ fields: String, _ status: Int, _ isReadable: Bool) async throws {
    try await FlowFixture.run { flow in
      let (port, app) = (UInt16(clamping: flow.port), flow.app)
      try await onThread {
        for origin in fields.hasPrefix("Origin") ? [app] : [app, "http://evil.example", nil] {
          let client = try RawSocket(port: port)
          let own = origin.map { "Origin: \($0)\r\n" } ?? ""
          try client.send("\(line)\r\nHost: intercom.localhost:\(port)\r\n\(own)\(fields)\r\n")
          let answer = try client.readResponse()
          let note = "\(line.prefix(40)) \(fields.prefix(40)) \(origin ?? "-"): \(answer.status)"
          // A request that can be read and comes from a foreign page is refused for that.
          let isForeign = line == "CONNECT h:443 HTTP/1.1" && origin == "http://evil.example"
          #expect(answer.status == (isForeign ? 403 : status), "\(note)")
          #expect(answer.field("Vary") == "Origin", "\(note)")
          let expected = isReadable && origin == app ? app : nil
          #expect(answer.field("Access-Control-Allow-Origin") == expected, "\(note)")
          #expect((answer.field("Access-Control-Allow-Credentials") == "true") == (expected != nil), "\(note)")
          if answer.status == 405 { #expect(answer.field("Allow") != nil, "\(note)") }
          if answer.status != 403, line != "CONNECT h:443 HTTP/1.1" {
            #expect(answer.field("Connection") == "close", "\(note)")
            try client.expectEnd()
          }
        }
      }
      #expect(flow.upstream.requests.isEmpty)
    }
  }

  @Test("the same over HTTP/2: an allowed Origin reads why its head is refused")
  func refusedHeadsOverHTTP2() async throws {
    try await FlowFixture.run(over: .http2) { flow in
      for (target, fields) in [("/fs/../x", []), ("/fs/%2e%2e/x", []), ("/fs/x", [("Referer", "a"), ("Referer", "b")])]
        as [(String, [(String, String)])]
      {
        let answer = try await flow.client.send("GET", flow.url(target), fields: [("Origin", flow.app)] + fields)
        #expect(answer.status == 400 && answer.variesByOrigin, "\(target): \(answer.wholeText)")
        #expect(answer.field("access-control-allow-origin") == flow.app, "\(target): \(answer.wholeText)")
      }
      let trace = try await flow.client.send("TRACE", flow.url("/fs/../x"), fields: [("Origin", flow.app)])
      #expect(trace.status == 405 && trace.field("access-control-allow-origin") == flow.app, "\(trace.wholeText)")
    }
  }
}
