import HTTP1
import HTTPMessage
import Testing

private func response(_ status: String, _ lines: [String] = []) -> [UInt8] {
  latin1(status + "\r\n" + lines.map { $0 + "\r\n" }.joined() + "\r\n")
}

@Suite("Heads of upstreams' answers")
struct ResponseHeadTests {
  @Test(
    "where the body ends and whether the connection lives on",
    arguments: [
      ("HTTP/1.1 200 OK", ["Content-Length: 5"], .get, .length(5), true), ("HTTP/1.1 200 OK", ["Content-Length: 0"], .get, .none, true),
      ("HTTP/1.1 200 OK", ["Transfer-Encoding: chunked"], .get, .chunked, true), ("HTTP/1.1 200 OK", [], .get, .untilClose, false),
      ("HTTP/1.1 200 OK", ["Content-Length: 5"], .head, .none, true),
      ("HTTP/1.1 200 OK", ["Transfer-Encoding: chunked"], .head, .none, true),
      ("HTTP/1.1 204 No Content", [], .get, .none, true), ("HTTP/1.1 204 No Content", ["Content-Length: 0"], .get, .none, true),
      ("HTTP/1.1 204 No Content", ["Content-Length: 5"], .get, .none, false),
      ("HTTP/1.1 304 Not Modified", ["Content-Length: 5"], .get, .none, true),
      ("HTTP/1.1 304 Not Modified", ["Transfer-Encoding: chunked"], .get, .none, true),
      ("HTTP/1.1 204 No Content", ["Transfer-Encoding: chunked"], .get, .none, false),
      ("HTTP/1.1 205 Reset Content", ["Content-Length: 0"], .get, .none, true),
      ("HTTP/1.1 205 Reset Content", ["Transfer-Encoding: chunked"], .get, .chunked, true),
      ("HTTP/1.1 205 Reset Content", [], .get, .untilClose, false),
      ("HTTP/1.1 200", ["Content-Length: 5"], .get, .length(5), true), ("HTTP/1.1 207 ", ["Content-Length: 5"], .get, .length(5), true),
      ("HTTP/1.0 200 OK", ["Content-Length: 5"], .get, .length(5), false),
      ("HTTP/1.0 200 OK", ["Content-Length: 5", "Connection: Keep-Alive"], .get, .length(5), true),
      ("HTTP/1.1 200 OK", ["Content-Length: 5", "Connection: close"], .get, .length(5), false),
      ("HTTP/1.1 200 OK", ["Connection: keep-alive"], .get, .untilClose, false),
    ] as [(String, [String], HTTPMessage.Method, ResponseFraming, Bool)])
  func framing(status: String, lines: [String], method: HTTPMessage.Method, framing: ResponseFraming, keepAlive: Bool) {
    let bytes = response(status, lines)
    let parsed = ParsedResponse(bytes, method: method)
    #expect(parsed.result == .complete)
    #expect(parsed.head.framing == framing)
    #expect(parsed.head.keepAlive == keepAlive)
    #expect(parsed.head.headLength == bytes.count)
    #expect(ParsedResponse(bytewise: bytes, method: method).result == .complete)
  }

  @Test(
    "a broken upstream is refused, not guessed at (S23)",
    arguments: [
      ("HTTP/1.1 200 OK", ["Content-Length: 5", "Content-Length: 5"], .duplicateContentLength),
      ("HTTP/1.1 200 OK", ["Content-Length: 5", "Content-Length: 6"], .duplicateContentLength),
      ("HTTP/1.1 200 OK", ["Content-Length: 05"], .badContentLength),
      ("HTTP/1.1 200 OK", ["Content-Length: +5"], .badContentLength), ("HTTP/1.1 200 OK", ["Content-Length: -5"], .badContentLength),
      ("HTTP/1.1 200 OK", ["Content-Length: 0x5"], .badContentLength), ("HTTP/1.1 200 OK", ["Content-Length:"], .badContentLength),
      ("HTTP/1.1 200 OK", ["Content-Length: 18446744073709551621"], .badContentLength),
      ("HTTP/1.1 200 OK", ["Content-Length: 5, 5"], .badContentLength), ("HTTP/1.1 200 OK", ["Content-Length: x"], .badContentLength),
      ("HTTP/1.1 200 OK", ["Content-Length: 5", "Transfer-Encoding: chunked"], .lengthWithTransferEncoding),
      ("HTTP/1.1 200 OK", ["Transfer-Encoding: chunked", "Content-Length: 5"], .lengthWithTransferEncoding),
      ("HTTP/1.1 200 OK", ["Transfer-Encoding: gzip, chunked"], .unknownTransferCoding),
      ("HTTP/1.1 200 OK", ["Transfer-Encoding: chunked, gzip"], .unknownTransferCoding),
      ("HTTP/1.1 200 OK", ["Transfer-Encoding: identity"], .unknownTransferCoding),
      ("HTTP/1.1 200 OK", ["Transfer-Encoding: chunked", "Transfer-Encoding: chunked"], .duplicateTransferEncoding),
      ("HTTP/1.0 200 OK", ["Transfer-Encoding: chunked"], .transferEncodingInHTTP10),
      ("HTTP/1.1 200 OK", ["X: a", " b"], .obsFold), ("HTTP/1.1 200 OK", ["X : a"], .spaceBeforeColon),
      ("HTTP/1.1 200 OK", ["X: a\nSet-Cookie: b"], .badLineEnding), ("HTTP/1.1 200 OK", ["X: a\u{0}"], .badFieldValue),
      ("HTTP/1.1 2000 OK", [], .badStatusLine), ("HTTP/1.1 20 OK", [], .badStatusLine), ("HTTP/1.1 099 X", [], .badStatusLine),
      ("HTTP/1.1 600 X", [], .badStatusLine), ("HTTP/1.1  200 OK", [], .badStatusLine), ("HTTP/1.1 200\tOK", [], .badStatusLine),
      ("HTTP/2.0 200 OK", [], .badVersion), ("http/1.1 200 OK", [], .badStatusLine), ("HTTP/1.1 200 O\u{1}K", [], .badStatusLine),
      ("HTTP/1.1 200 OK\r", [], .badStatusLine), ("SSH-2.0-x", [], .badStatusLine), ("HTTP/1.1", [], .badStatusLine),
    ] as [(String, [String], HeadRefusal)])
  func broken(status: String, lines: [String], reason: HeadRefusal) {
    #expect(ParsedResponse(response(status, lines)).result == .refused(reason))
    #expect(ParsedResponse(bytewise: response(status, lines)).result == .refused(reason))
  }

  @Test("interim answers are heads of their own; a 101 that nobody asked for is told apart (fault 44)")
  func interim() {
    for status in [100, 102, 103] {
      let parsed = ParsedResponse(response("HTTP/1.1 \(status) X"))
      #expect(parsed.result == .complete && parsed.head.isInterim && parsed.head.framing == .none && parsed.head.keepAlive)
    }
    let unasked = ParsedResponse(response("HTTP/1.1 101 Switching Protocols", ["Upgrade: x"]))
    #expect(unasked.head.isUnaskedSwitch && !unasked.head.isInterim)
    #expect(!ParsedResponse(response("HTTP/1.1 101 X"), upgradeAsked: true).head.isUnaskedSwitch)
  }

  @Test("an answer's head may have 64 KiB and not more")
  func limits() {
    let field = "X: " + String(repeating: "a", count: 60_000)
    #expect(ParsedResponse(response("HTTP/1.1 200 OK", [field])).result == .complete)
    #expect(ParsedResponse(response("HTTP/1.1 200 OK", [field, field])).result == .refused(.headTooLarge))
  }

  @Test("parsers are used again for the next answer")
  func reuse() {
    var parser = ResponseHeadParser()
    var head = ResponseHead()
    #expect(parser.parse(response("HTTP/1.0 404 X", ["Content-Length: 3"]).span, method: .get, into: &head) == .complete)
    #expect(parser.parse(response("HTTP/1.1 200 OK").span, method: .get, into: &head) == .complete)
    #expect(head.status == 200 && !head.isHTTP10 && head.statedLength == nil && head.fields.count == 0)
  }
}
