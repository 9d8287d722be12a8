import HTTP1
import HTTPMessage
import Testing

/// Parsers compare the lines of a head with those of the one before, on whatever connection. That may be seen in nothing but time.
@Suite("Heads in succession")
struct SuccessionTests {
  static let lines = [
    "Host: h", "Host: hh", "Host: h:80", "Connection: keep-alive", "Connection: close", "Connection: x-a", "X-A: b", "x-a: b", "X_A: b",
    "User-Agent: a browser with a name that is longer than thirty-two bytes", "Accept: */*", "Accept: */*\t", "Accept:*/*",
    "Content-Length: 3", "Content-Length: 4", "Transfer-Encoding: chunked", "Cookie: a=b; c=d", "Cookie: a=b; c=e", "Cookie: a=b",
    "Authorization: x", "Origin: http://h",
    "Sec-Fetch-Mode: cors", "Sec-Fetch-Mode: navigate", "X-Forwarded-For: 1.2.3.4", "X: ", "X: y\u{0}", "X: y\u{ff}", "X : y", " folded",
    "",
  ]
  static let firsts = [
    "GET /a HTTP/1.1", "GET /abcdefgh HTTP/1.1", "POST /a?q HTTP/1.1", "GET / HTTP/1.0", "HTTP/1.1 200 OK", "HTTP/1.1 304 ",
  ]

  /// The head before, a little changed.
  static func next(_ head: inout [String], _ generator: inout SeededGenerator) -> [UInt8] {
    for _ in 0..<Int.random(in: 0...2, using: &generator) {
      let line = lines[Int.random(in: 0..<lines.count, using: &generator)]
      let index = Int.random(in: 0...head.count, using: &generator)
      switch Int.random(in: 0..<6, using: &generator) {
      case 0 where index < head.count: head.remove(at: index)
      case 1 where index < head.count: head[index] = line
      case 2 where index < head.count: head[index] += "x"
      case 3 where index < head.count: head[index] = head[index].uppercased()
      case 4: head = ["Host: h", "Accept: */*", line]
      default: head.insert(line, at: index)
      }
    }
    if head.count > 9 { head = ["Host: h"] }
    return latin1(firsts[Int.random(in: 0..<firsts.count, using: &generator)] + "\r\n" + head.map { $0 + "\r\n" }.joined() + "\r\n")
  }

  @Test("20,000 requests read by one parser, whole, in pieces and given up, are read as by a new one", arguments: [UInt64(3), 20_261_121])
  func requests(seed: UInt64) {
    var generator = SeededGenerator(seed: seed)
    var lines = ["Host: h"]
    var parser = RequestHeadParser()
    var head = RequestHead()
    var complete = 0
    for _ in 0..<10_000 {
      let bytes = Self.next(&lines, &generator)
      let fresh = ParsedRequest(bytes)
      let piece = Int.random(in: 0...bytes.count, using: &generator)
      switch Int.random(in: 0..<4, using: &generator) {
      case 0: _ = parser.parse(bytes.span.extracting(first: piece), into: &head)
      case 1:
        _ = parser.parse(bytes.span.extracting(first: piece), into: &head)
        parser.reset()
      default: break
      }
      let result = parser.parse(bytes.span, into: &head)
      // A refusal that the piece had already earned begins the next head, which is the same.
      #expect(result == fresh.result, "\(lines)")
      guard result == .complete else { continue }
      complete += 1
      #expect(WholeIsBytewiseTests.summary(head) == WholeIsBytewiseTests.summary(fresh.head), "\(lines)")
    }
    #expect(complete > 1_000)
  }

  @Test("10,000 answers likewise")
  func responses() {
    var generator = SeededGenerator(seed: 5)
    var lines = ["Server: s"]
    var parser = ResponseHeadParser()
    var head = ResponseHead()
    var complete = 0
    for _ in 0..<10_000 {
      let bytes = Self.next(&lines, &generator)
      let fresh = ParsedResponse(bytes)
      if Int.random(in: 0..<3, using: &generator) == 0 {
        _ = parser.parse(bytes.span.extracting(first: Int.random(in: 0...bytes.count, using: &generator)), method: .get, into: &head)
      }
      let result = parser.parse(bytes.span, method: .get, into: &head)
      #expect(result == fresh.result, "\(lines)")
      guard result == .complete else { continue }
      complete += 1
      #expect(head.framing == fresh.head.framing && head.keepAlive == fresh.head.keepAlive && head.headLength == fresh.head.headLength)
      #expect((0..<head.fields.count).map { head.fields[$0] } == (0..<fresh.head.fields.count).map { fresh.head.fields[$0] }, "\(lines)")
      #expect(head.fields.present == fresh.head.fields.present)
    }
    #expect(complete > 500)
  }
}
