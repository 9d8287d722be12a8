import HTTP1
import HTTPMessage
import ReverseProxy
import Testing

/// What RFC 9110 §5 and §7.6 ask of whoever passes a message on.
@Suite("Rules for intermediaries")
struct IntermediaryTests {
  @Test(
    "Max-Forwards of OPTIONS is counted down, and never made (RFC 9110 §7.6.2)",
    arguments: [
      ("OPTIONS", "7", "6"), ("OPTIONS", "1", "0"), ("OPTIONS", "0010", "9"), ("OPTIONS", "99999999999999999999999999", "998"),
      // It means nothing to other methods.
      ("GET", "7", "7"), ("GET", "0", "0"), ("GET", "x", "x"), ("PROPFIND", "0", "0"),
    ])
  func hops(method: String, sent: String, expected: String) throws {
    #expect(try Forwarding().lines(request("Max-Forwards: \(sent)", line: "\(method) /fs/a HTTP/1.1")) == ["Max-Forwards: \(expected)"])
    #expect(try Forwarding().lines(request(line: "\(method) /fs/a HTTP/1.1")) == [])
  }

  @Test(
    "a Max-Forwards of OPTIONS that is no number is refused, and none left is not forwarded",
    arguments: [["x"], [""], ["-1"], ["1, 1"], ["1", "1"], ["0"], ["1.0"], ["+1"], ["\u{e9}"]])
  func badHops(values: [String]) throws {
    let head = "OPTIONS /fs/a HTTP/1.1\r\nHost: h\r\n" + values.map { "Max-Forwards: \($0)\r\n" }.joined() + "\r\n"
    #expect(try Forwarding().send(latin1(head)) == .failure(.badMaxForwards))
    #expect(ForwardRefusal.badMaxForwards.problem.status == 400)
  }

  @Test(
    "Via is added behind that of others, so that a request that comes round again and again ends at the limit of fields (RFC 9110 §7.6)")
  func loop() throws {
    var head = request("Via: 1.0 first", line: "GET / HTTP/1.1")
    let forwarding = Forwarding(path: "/", upstream: "http://u", added: [])
    var rounds = 0
    while ParsedRequest(head).result == .complete {
      rounds += 1
      try #require(rounds < 200)
      head = Array(try forwarding.send(head).get().utf8)
    }
    #expect(ParsedRequest(head).refusal == .tooManyFields)
    let lines = Forwarding.split(String(decoding: head, as: UTF8.self)).filter { $0.hasPrefix("Via: ") }
    #expect(lines.count == rounds + 1 && lines.first == "Via: 1.0 first" && lines.last == "Via: 1.1 intercom")
  }

  @Test(
    "that the client takes trailers is told to the upstream, nothing else of TE (RFC 9110 §10.1.4)",
    arguments: [
      (["TE: trailers", "Connection: TE"], true), (["te: gzip;q=0.5 ,\tTrailers ", "Connection: close, te"], true),
      (["TE: gzip", "TE: trailers", "Connection: te"], true), (["TE: trailers"], false), (["TE: trailers", "Connection: close"], false),
      (["TE: gzip", "Connection: TE"], false), (["TE: xtrailers", "Connection: TE"], false),
      (["TE: trailers;q=0", "Connection: TE"], false),
      (["TE:", "Connection: TE"], false), (["Connection: TE"], false),
    ])
  func trailersWanted(lines: [String], expected: Bool) throws {
    for version in ["1.1", "1.0"] {
      let head = "GET /fs/a HTTP/\(version)\r\nHost: h\r\n" + lines.map { "\($0)\r\n" }.joined() + "\r\n"
      let sent = try Forwarding().lines(latin1(head))
      #expect(sent == (expected && version == "1.1" ? ["TE: trailers", "Connection: TE"] : []), "\(version) \(lines)")
    }
  }

  @Test("lines of one name keep their order, both ways (RFC 9110 §5.3)")
  func order() throws {
    let sent = (1...20).flatMap { ["X-A: \($0)", "Accept: \($0)"] }
    let head = "GET /fs/a HTTP/1.1\r\nHost: h\r\n" + sent.map { "\($0)\r\n" }.joined() + "\r\n"
    #expect(try Forwarding().lines(latin1(head)) == sent)
    let back = (1...20).map { "Link: <\($0)>" } + (1...3).map { "Warning: \($0)" }
    let answer = "HTTP/1.1 200 OK\r\n" + back.map { "\($0)\r\n" }.joined() + "Content-Length: 0\r\n\r\n"
    #expect(try Forwarding().answer(latin1(answer)).lines.dropFirst().prefix(23) == back[...])
  }

  @Test("conditions and ranges are the upstream's to judge: they pass as they are (RFC 9110 §13.2.1, §14.2)")
  func conditions() throws {
    let lines = [
      "If-Match: \"a\", W/\"b\"", "If-None-Match: *", "If-Modified-Since: Sat, 29 Oct 1994 19:43:31 GMT", "If-Unmodified-Since: x",
      "If-Range: \"a\"", "Range: bytes=0-1,-5", "Cache-Control: no-transform", "From: a@b", "Accept: ,,a,, b",
    ]
    let head = "GET /fs/a HTTP/1.1\r\nHost: h\r\n" + lines.map { "\($0)\r\n" }.joined() + "\r\n"
    #expect(try Forwarding().lines(latin1(head)) == lines)
  }

  @Test("an answer without a Date gets one, one that has it keeps it (RFC 9110 §6.6.1)")
  func date() throws {
    let ours = "Date: Sat, 21 Nov 2026 20:00:00 GMT"
    func dates(_ lines: String) throws -> [String] {
      let answer = latin1("HTTP/1.1 200 OK\r\n\(lines)Content-Length: 0\r\n\r\n")
      return try Forwarding().answer(answer, date: ours + "\r\n").lines.filter { $0.lowercased().hasPrefix("date:") }
    }
    #expect(try dates("") == [ours])
    #expect(try dates("date: Sat, 29 Oct 1994 19:43:31 GMT\r\n") == ["date: Sat, 29 Oct 1994 19:43:31 GMT"])
  }

  @Test("what Allow, Server, a challenge and the version's reason say is passed on; the version is ours (RFC 9110 §2.5, §10.2.1, §11.6.1)")
  func answers() throws {
    let answer = latin1(
      "HTTP/1.0 405 Nope\r\nAllow: GET, X-Y\r\nServer: a/1 (b)\r\nWWW-Authenticate: Basic realm=\"a\"\r\nContent-Length: 0\r\n\r\n")
    #expect(
      try Forwarding().answer(answer).lines == [
        "HTTP/1.1 405 Nope", "Allow: GET, X-Y", "Server: a/1 (b)", "WWW-Authenticate: Basic realm=\"a\"", "Content-Length: 0",
      ])
  }
}
