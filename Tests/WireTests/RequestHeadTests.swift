import HTTP1
import HTTPMessage
import Testing

@Suite("Request heads")
struct RequestHeadTests {
  @Test("a browser's request is read field by field")
  func whole() {
    let bytes = request(
      "Accept: text/html, */*", "Cookie: a=1; b=2", "Origin:https://app.example", "Sec-Fetch-Mode: cors", "Sec-Fetch-Site:  same-site ",
      "Sec-Fetch-Dest: empty", "X-CSRF-Token: t", "Content-Length: 12", "Referer: https://app.example/x", "x-other: \u{e9}\t!",
      line: "PROPFIND /fs/a%20b/?q=%&x HTTP/1.1", host: "Ics.Example:8443")
    let parsed = ParsedRequest(bytes)
    #expect(parsed.result == .complete)
    let request = parsed.head.request
    #expect(request.method == .propfind)
    #expect(text(request.path, bytes) == "/fs/a%20b/")
    #expect(text(request.query, bytes) == "q=%&x")
    #expect(request.hasQuery && request.pathHasEscapes && !request.pathHasEncodedSlash)
    #expect(text(request.authority, bytes) == "Ics.Example:8443")
    #expect(text(request.host, bytes) == "Ics.Example")
    #expect(text(request.origin, bytes) == "https://app.example")
    #expect(text(request.secFetchSite, bytes) == "same-site")
    #expect(text(request.cookies[0], bytes) == "a=1; b=2")
    #expect(request.cookieCount == 1)
    #expect(text(request.csrfToken, bytes) == "t")
    #expect(request.framing == .length(12))
    #expect(request.keepAlive && !request.isHTTP10)
    #expect(request.headLength == bytes.count)
    #expect(parsed.head.fields.count == 11)
    #expect(parsed.head.fields[10].value.bytes(in: bytes.span) == latin1("\u{e9}\t!"))
    #expect(text(parsed.head.fields[0].line, bytes) == "Host: Ics.Example:8443\r\n")
  }

  @Test("every method is known by its exact name", arguments: Method.allCases.filter { $0 != .other })
  func methods(method: HTTPMessage.Method) {
    let target = method == .connect ? "h:443" : "/"
    #expect(ParsedRequest(request(line: "\(method.name) \(target) HTTP/1.1")).head.request.method == method)
    #expect(ParsedRequest(request(line: "\(method.name.lowercased()) / HTTP/1.1")).head.request.method == .other)
    #expect(ParsedRequest(request(line: "\(method.name)X / HTTP/1.1")).head.request.method == .other)
  }

  @Test(
    "persistence follows the version and Connection",
    arguments: [
      ("GET / HTTP/1.1", [], true), ("GET / HTTP/1.1", ["Connection: Close"], false),
      ("GET / HTTP/1.1", ["Connection: x, close ,y"], false),
      ("GET / HTTP/1.0", [], false), ("GET / HTTP/1.0", ["Connection: keep-alive"], true),
      ("GET / HTTP/1.0", ["Connection: Keep-Alive", "Connection: close"], false),
      ("GET / HTTP/1.1", ["Connection: keep-alive, close"], false),
    ] as [(String, [String], Bool)])
  func keepAlive(line: String, lines: [String], expected: Bool) {
    let parsed = ParsedRequest(latin1(line + "\r\nHost: h\r\n" + lines.map { $0 + "\r\n" }.joined() + "\r\n"))
    #expect(parsed.result == .complete)
    #expect(parsed.head.request.keepAlive == expected)
  }

  @Test(
    "the path and authority of each form of target",
    arguments: [
      ("GET / HTTP/1.1", "h", "/", nil, "h"), ("GET /a?b HTTP/1.1", "h", "/a", "b", "h"), ("GET /? HTTP/1.1", "h", "/", "", "h"),
      ("GET http://h/a?b HTTP/1.1", "h", "/a", "b", "h"), ("GET HTTPS://H:9/a HTTP/1.1", "h:9", "/a", nil, "H"),
      ("GET http://h HTTP/1.1", "h", "/", nil, "h"), ("GET http://h?x/y HTTP/1.1", "h", "/", "x/y", "h"),
      ("OPTIONS * HTTP/1.1", "h", "*", nil, "h"), ("CONNECT h:443 HTTP/1.1", "h", "", nil, "h"),
      ("GET /a;b=1/c HTTP/1.1", "[::1]:80", "/a;b=1/c", nil, "[::1]"), ("GET //a///b HTTP/1.1", "h.", "//a///b", nil, "h."),
      ("GET /..a/.b/c../...;/%2e.%2ex HTTP/1.1", "h", "/..a/.b/c../...;/%2e.%2ex", nil, "h"),
      ("GET /a[0]^b|c HTTP/1.1", "h", "/a[0]^b|c", nil, "h"), ("GET /a?{}|\\\"<>`^ HTTP/1.1", "h", "/a", "{}|\\\"<>`^", "h"),
    ] as [(String, String, String, String?, String)])
  func targets(line: String, host: String, path: String, query: String?, expectedHost: String) {
    let bytes = request(line: line, host: host)
    let parsed = ParsedRequest(bytes)
    #expect(parsed.result == .complete)
    #expect(text(parsed.head.request.path, bytes) == path)
    #expect(parsed.head.request.hasQuery == (query != nil))
    #expect(text(parsed.head.request.query, bytes) == query ?? "")
    #expect(text(parsed.head.request.host, bytes) == expectedHost)
  }

  @Test("an encoded slash is recorded, for the route to decide")
  func encodedSlash() {
    let parsed = ParsedRequest(request(line: "GET /a%2Fb%2fc HTTP/1.1"))
    #expect(parsed.result == .complete)
    #expect(parsed.head.request.pathHasEncodedSlash)
  }

  @Test("one empty line before a request is forgiven, a second is not")
  func leadingEmptyLine() {
    let bytes = latin1("\r\n") + request()
    let parsed = ParsedRequest(bytes)
    #expect(parsed.result == .complete)
    #expect(parsed.head.request.headLength == bytes.count)
    #expect(ParsedRequest(latin1("\r\n") + bytes).refusal == .badRequestLine)
  }

  @Test("what follows the head is left alone")
  func pipelined() {
    let first = request("Content-Length: 3", line: "POST /1 HTTP/1.1")
    let parsed = ParsedRequest(first + latin1("abcGET /2 HTTP/1.1\r\n"))
    #expect(parsed.result == .complete)
    #expect(parsed.head.request.headLength == first.count)
  }

  @Test("fields named by Connection are marked, whatever the case")
  func namedByConnection() {
    let parsed = ParsedRequest(request("X-User: a", "Connection: close, x-uSER ,, Host", "x-user: b", "X-Users: c"))
    #expect(parsed.result == .complete)
    let marked = (0..<parsed.head.fields.count).filter { parsed.head.fields[$0].isNamedByConnection }
    #expect(marked == [0, 1, 3])
  }

  @Test("Expect: 100-continue is noted, and means nothing in HTTP/1.0")
  func expect() {
    #expect(ParsedRequest(request("Expect: 100-Continue", "Content-Length: 1")).head.request.expectsContinue)
    let old = ParsedRequest(request("Expect: 100-continue", "Content-Length: 1", line: "POST / HTTP/1.0"))
    #expect(old.result == .complete && !old.head.request.expectsContinue)
  }

  @Test("chunked is read in any case; a stated length of zero is a length")
  func framing() {
    #expect(ParsedRequest(request("Transfer-Encoding: Chunked")).head.request.framing == .chunked)
    #expect(ParsedRequest(request("Content-Length: 0")).head.request.framing == .length(0))
    #expect(ParsedRequest(request()).head.request.framing == .none)
    #expect(ParsedRequest(request("Upgrade: websocket", "Connection: upgrade")).head.request.hasUpgrade)
    // RFC 9110 §7.8
    #expect(!ParsedRequest(request("Upgrade: websocket", "Connection: upgrade", line: "GET / HTTP/1.0")).head.request.hasUpgrade)
  }

  @Test("a head is used again without traces of the one before")
  func reuse() {
    var parser = RequestHeadParser()
    var head = RequestHead()
    let first = request("Origin: o", "Cookie: a=1", "Connection: x", "X: 1", "Content-Length: 4")
    let second = request(line: "GET /z HTTP/1.1")
    #expect(parser.parse(first.span, into: &head) == .complete)
    #expect(parser.parse(second.span, into: &head) == .complete)
    #expect(!head.request.hasOrigin && head.request.cookieCount == 0 && head.request.framing == .none)
    #expect(head.fields.count == 1 && !head.fields.hasNamedByConnection)
  }
}
