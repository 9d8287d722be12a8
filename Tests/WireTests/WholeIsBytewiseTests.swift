import HTTP1
import HTTPMessage
import Testing

@Suite("Arrival does not matter")
struct WholeIsBytewiseTests {
  static let pieces = [
    "GET", "POST", "OPTIONS", "CONNECT", " ", "  ", "/", "/a", "/../", "%2e", "%2f", "%", "*", "http://h", "h:80", "?q", "#", " HTTP/1.1",
    " HTTP/1.0",
    " HTTP/2.0", "\r\n", "\r\n", "\r\n", "\r\n", "\n", "\r", "Host: h", "Host: h", "Content-Length: 3", "Transfer-Encoding: chunked",
    "Connection: ",
    "close", "x-a", "X_A: b", ":", ";", ",", "\t", "\u{0}", "\u{ff}", "Cookie: a=b", "Origin: o", "Expect: 100-continue",
    "abcdefghijklmnopqrstuvwxyz", "",
  ]
  static let starts = ["GET / HTTP/1.1\r\nHost: h\r\n", "POST /a HTTP/1.1\r\n", "", "\r\n", "GET http://h/ HTTP/1.1\r\nHost: h\r\n"]
  static let responses = ["HTTP/1.1 200 OK\r\n", "HTTP/1.0 404 x\r\nContent-Length: 3\r\n", "HTTP/1.1 204\r\n", "", "HTTP/1.1"]

  @Test("20,000 generated heads: whole and byte by byte have one result, one request, one refusal", arguments: [UInt64(1), 20_261_121])
  func requests(seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    let limits = HeadLimits(target: 40, field: 50, head: 160, fieldCount: 6)
    var complete = 0
    for _ in 0..<10_000 {
      var text = Self.starts[Int.random(in: 0..<Self.starts.count, using: &generator)]
      for _ in 0..<Int.random(in: 0...14, using: &generator) {
        text += Self.pieces[Int.random(in: 0..<Self.pieces.count, using: &generator)]
      }
      if Bool.random(using: &generator) { text += "\r\n\r\n" }
      let bytes = latin1(text)
      let whole = ParsedRequest(bytes, limits: limits)
      let bytewise = ParsedRequest(bytewise: bytes, limits: limits)
      #expect(whole.result == bytewise.result, "\(text.debugDescription)")
      guard whole.result == .complete else { continue }
      complete += 1
      #expect(Self.summary(whole.head) == Self.summary(bytewise.head), "\(text.debugDescription)")
    }
    #expect(complete > 300)
  }

  @Test("10,000 generated answers likewise")
  func responses() {
    var generator = SeededGenerator(seed: 4)
    let limits = HeadLimits(field: 50, head: 160, fieldCount: 6)
    for _ in 0..<10_000 {
      var text = Self.responses[Int.random(in: 0..<Self.responses.count, using: &generator)]
      for _ in 0..<Int.random(in: 0...8, using: &generator) {
        text += Self.pieces[Int.random(in: 0..<Self.pieces.count, using: &generator)]
      }
      if Bool.random(using: &generator) { text += "\r\n\r\n" }
      let bytes = latin1(text)
      let whole = ParsedResponse(bytes, limits: limits)
      let bytewise = ParsedResponse(bytewise: bytes, limits: limits)
      #expect(whole.result == bytewise.result, "\(text.debugDescription)")
      if whole.result == .complete {
        #expect(whole.head.framing == bytewise.head.framing && whole.head.keepAlive == bytewise.head.keepAlive)
      }
    }
  }

  @Test("random bytes never trap a parser (S24)")
  func noise() {
    var generator = SeededGenerator(seed: 9)
    for _ in 0..<5_000 {
      let bytes = (0..<Int.random(in: 0...60, using: &generator)).map { _ in UInt8.random(in: 0...255, using: &generator) }
      _ = ParsedRequest(bytes)
      _ = ParsedResponse(bytes)
      _ = ParsedResponse(latin1("HTTP/1.1 ") + bytes)
      _ = ParsedRequest(latin1("GET ") + bytes + latin1(" HTTP/1.1\r\nHost: ") + bytes + latin1("\r\n\r\n"))
      var scanner = ChunkedScanner()
      _ = scanner.scan(bytes.span)
      var cookies = CookieScanner(ByteRange(0, bytes.count))
      while cookies.next(in: bytes.span) != nil {}
    }
  }

  static func summary(_ head: RequestHead) -> [Int] {
    let request = head.request
    var framing = -1
    if case .length(let length) = request.framing { framing = length }
    if case .chunked = request.framing { framing = -2 }
    var out = [
      Int(request.method.rawValue), request.path.lower, request.path.upper, request.query.lower, request.query.upper, request.host.lower,
      request.host.upper, request.headLength, framing, request.keepAlive ? 1 : 0, request.cookieCount, request.hasOrigin ? 1 : 0,
    ]
    for index in 0..<head.fields.count {
      let field = head.fields[index]
      out += [Int(field.start), Int(field.nameEnd), Int(field.valueStart), Int(field.valueEnd), Int(field.end), Int(field.id.rawValue)]
      out += [field.isUnusual ? 1 : 0, field.isNamedByConnection ? 1 : 0]
    }
    return out
  }
}
