import HTTP1
import HTTP2
import HTTPMessage
import IntercomCore
import Testing

/// Requests and answers of HTTP/2 written as those of HTTP/1.1.
@Suite("Streams as HTTP/1.1")
struct StreamTests {
  private func head(_ fields: [(String, String)], endsStream: Bool = true) -> String? {
    var head = StreamRequestHead(limit: 32 << 10)
    for (name, value) in fields { head.add(Array(name.utf8).span, Array(value.utf8).span) }
    return head.request(endsStream: endsStream, webSocketKey: { Array("a2V5".utf8) }).map { String(decoding: $0.http1, as: UTF8.self) }
  }

  private let get = [(":method", "GET"), (":scheme", "https"), (":path", "/a?b"), (":authority", "x.example")]

  @Test("A request keeps its target, host and fields; crumbs of cookies become one field")
  func plain() {
    #expect(
      head(get + [("accept", "*/*"), ("cookie", "a=1"), ("te", "trailers"), ("cookie", "b=2")])
        == "GET /a?b HTTP/1.1\r\nHost: x.example\r\naccept: */*\r\nte: trailers\r\ncookie: a=1; b=2\r\n\r\n")
    #expect(head(get.dropLast() + [("host", "y.example")]) == "GET /a?b HTTP/1.1\r\nHost: y.example\r\n\r\n")
    #expect(head(get + [("host", "x.example")]) == "GET /a?b HTTP/1.1\r\nHost: x.example\r\n\r\n")
  }

  @Test("A body has the length that was stated, else it is chunked")
  func framing() {
    #expect(head(get + [("content-length", "3")], endsStream: false)?.contains("Transfer-Encoding") == false)
    #expect(head(get, endsStream: false)?.hasSuffix("Transfer-Encoding: chunked\r\n\r\n") == true)
  }

  @Test("Extended CONNECT is an upgrade (RFC 8441), CONNECT alone stays what it is")
  func tunnels() {
    let websocket = [
      (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":path", "/ws"), (":authority", "x.example"),
    ]
    #expect(
      head(websocket, endsStream: false)
        == "GET /ws HTTP/1.1\r\nHost: x.example\r\nConnection: Upgrade, close\r\nUpgrade: websocket\r\nSec-WebSocket-Key: a2V5\r\n\r\n")
    #expect(head([(":method", "CONNECT"), (":authority", "x.example:1")]) == "CONNECT x.example:1 HTTP/1.1\r\nHost: x.example:1\r\n\r\n")
    #expect(head([(":method", "CONNECT"), (":authority", "x.example:1"), (":path", "/")]) == nil)
    #expect(head(get + [], endsStream: true) != nil)
    #expect(head([(":protocol", "websocket")] + get) == nil)
  }

  @Test("A head that is too long to keep never reads as a whole one")
  func excess() {
    var head = StreamRequestHead(limit: 1000)
    for (name, value) in get { head.add(Array(name.utf8).span, Array(value.utf8).span) }
    let nothing: [UInt8] = []
    // Small fields, whose text alone would not be over the limit.
    var verdict = StreamRequestHead.Verdict.excessive
    for _ in 0..<400 { verdict = head.add(Array("x".utf8).span, nothing.span) }
    #expect(verdict == .taken)
    #expect((head.request(endsStream: true, webSocketKey: { [] })?.http1.count ?? 0) > 1000)
    for _ in 0..<400 { verdict = head.add(Array("x".utf8).span, nothing.span) }
    #expect(verdict == .excessive)
  }

  static let malformed: [(String, [(String, String)])] = [
    ("a space in the method", [(":method", "GET /admin HTTP/1.1\r\nX: ")]), ("a space in the path", [(":path", "/a HTTP/1.1")]),
    ("a line end in a value", [("x", "1\r\ny: 2")]), ("NUL in a value", [("x", "a\u{0}b")]), ("a colon in a name", [("x: y", "1")]),
    ("an upper-case name", [("X-A", "1")]), ("an empty name", [("", "1")]), ("connection", [("connection", "close")]),
    ("transfer-encoding", [("transfer-encoding", "chunked")]), ("upgrade", [("upgrade", "h2c")]), ("te: gzip", [("te", "gzip")]),
    ("an unknown pseudo-field", [(":x", "1")]), ("a host beside another authority", [("host", "evil.example")]),
    ("a pseudo-field behind a field", [("x", "1"), (":path", "/b")]), ("two paths", [(":path", "/b")]), ("an empty path", [(":path", "")]),
    ("a URL as path", [(":path", "http://evil.example/")]), ("an asterisk without OPTIONS", [(":path", "*")]),
    ("a path without a slash", [(":path", "a")]), ("another scheme", [(":scheme", "ftp")]),
  ]

  @Test("Request smuggling: what would mean something else as text is malformed (S23)", arguments: malformed)
  func refused(_ name: String, _ fields: [(String, String)]) {
    #expect(head(get.filter { field in !fields.contains { $0.0 == field.0 && $0.0 == ":method" } } + fields) == nil)
    #expect(head(fields + get.filter { field in !fields.contains { $0.0 == field.0 } }) == nil || name.contains("two"))
  }

  /// What a stream would be told.
  private final class Told: StreamAnswerSink {
    var events: [String] = []
    func answerHead(status: Int, _ head: borrowing ResponseHead, _ bytes: borrowing Span<UInt8>, isInterim: Bool, endsStream: Bool) {
      events.append("\(status)\(isInterim ? " interim" : "")\(endsStream ? " end" : "")")
    }
    func answerBody(_ bytes: borrowing Span<UInt8>) {
      var text = ""
      for index in bytes.indices { text.unicodeScalars.append(Unicode.Scalar(bytes[index])) }
      if events.last?.hasPrefix("body ") == true { events[events.count - 1] += text } else { events.append("body " + text) }
    }
    func answerEnded(trailers: [UInt8]) { events.append("end " + String(decoding: trailers, as: UTF8.self).filter { $0 != "\r\n" }) }
  }

  private func told(_ text: String, method: Method = .get, tunnel: Bool = false, piece: Int = .max) -> [String]? {
    var answer = StreamAnswer(method: method, asksForTunnel: tunnel)
    let reader = StreamAnswerReader()
    let told = Told()
    var rest = Array(text.utf8)[...]
    while !rest.isEmpty {
      let now = Array(rest.prefix(piece))
      rest = rest.dropFirst(now.count)
      guard answer.take(now.span, reader, told) else { return nil }
    }
    return told.events
  }

  @Test("Answers of all framings are taken apart, whole or byte by byte", arguments: [Int.max, 1])
  func answers(_ piece: Int) {
    #expect(told("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc", piece: piece) == ["200", "body abc", "end "])
    #expect(
      told("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", piece: piece) == ["100 interim", "200 end", "end "])
    #expect(told("HTTP/1.1 204 No Content\r\n\r\n", piece: piece) == ["204 end", "end "])
    #expect(told("HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n", method: .head, piece: piece) == ["200 end", "end "])
    #expect(told("HTTP/1.1 400 Bad Request\r\nContent-Length: 3\r\n\r\nabc", method: .head, piece: piece) == ["400 end", "end "])
    #expect(
      told("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\na\r\n2\r\nbc\r\n0\r\nX: 1\r\n\r\n", piece: piece)
        == ["200", "body abc", "end X: 1"])
    #expect(told("HTTP/1.1 200 OK\r\n\r\nabc", piece: piece) == ["200", "body abc"])
    #expect(
      told("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\nabc", tunnel: true, piece: piece) == [
        "200", "body abc",
      ])
    #expect(told("HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", piece: piece) == nil)
    #expect(told("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\nab", piece: piece) == nil)
    #expect(told("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\n", piece: piece) == nil)
  }

  @Test("A 2xx that is no switch is 502 where a tunnel is asked for: it would look like one (RFC 8441)")
  func mistaken() {
    #expect(told("HTTP/1.1 200 OK\r\nContent-Length: 1\r\n\r\na", tunnel: true) == ["502", "body a", "end "])
    #expect(told("HTTP/1.1 204 No Content\r\n\r\n", tunnel: true) == ["502 end", "end "])
    #expect(told("HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n", tunnel: true) == ["403 end", "end "])
  }
}
