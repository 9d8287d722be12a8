import HTTPMessage
import HTTPServer
import IntercomCore
import IntercomTesting
import Testing

/// What single streams do to each other and to their connection.
@Suite("HTTP/2: streams", .serialized, .timeLimit(.minutes(5)))
struct HTTP2StreamTests {
  /// What a stream gets.
  enum Outcome: Sendable, Equatable {
    case status(Int)
    case reset(UInt32)
  }
  private static let get = [(":method", "GET"), (":scheme", "https"), (":authority", "localhost"), (":path", "/hello")]

  struct Row: Sendable, CustomStringConvertible {
    let description: String
    let outcome: Outcome
    let frames: @Sendable (Int32) -> [HTTP2Frame]
    init(_ description: String, _ outcome: Outcome, _ frames: @escaping @Sendable (Int32) -> [HTTP2Frame]) {
      self.description = description
      self.outcome = outcome
      self.frames = frames
    }

    /// GET with these fields in place of its own, and others behind.
    static func head(_ description: String, _ outcome: Outcome, _ fields: [(String, String)], without: [String] = []) -> Row {
      let own = get.filter { field in !without.contains(field.0) && !fields.contains { $0.0 == field.0 } }
      let all = own.filter { $0.0 != ":path" } + fields.filter { $0.0.hasPrefix(":") } + own.filter { $0.0 == ":path" }
      return exact(description, outcome, all + fields.filter { !$0.0.hasPrefix(":") })
    }
    static func exact(_ description: String, _ outcome: Outcome, _ fields: [(String, String)]) -> Row {
      Row(description, outcome) { HTTP2Frame.head($0, fields) }
    }
  }

  private static let malformed = Outcome.reset(HTTP2Flood.protocolError)
  private static let long = String(repeating: "a", count: 20_000)
  static let rows: [Row] = heads + longHeads + bodies
  private static let heads: [Row] = [
    .head("nothing wrong", .status(200), []), .head("an upper-case name", malformed, [("X-Upper", "1")]),
    .head("connection", malformed, [("connection", "close")]), .head("keep-alive", malformed, [("keep-alive", "1")]),
    .head("proxy-connection", malformed, [("proxy-connection", "close")]), .head("upgrade", malformed, [("upgrade", "h2c")]),
    .head("transfer-encoding", malformed, [("transfer-encoding", "chunked")]), .head("te: gzip", malformed, [("te", "gzip")]),
    .head("te: trailers", .status(200), [("te", "trailers")]), .head("a space in a name", malformed, [("x y", "1")]),
    .head("a line end in a value", malformed, [("x", "1\r\ny: 2")]), .head("NUL in a value", malformed, [("x", "\u{0}")]),
    .head("an unknown pseudo-field", malformed, [(":x", "1")]), .head(":status", malformed, [(":status", "200")]),
    .head("no :path", malformed, [], without: [":path"]), .head("no :scheme", malformed, [], without: [":scheme"]),
    .head("no :method", malformed, [], without: [":method"]), .head("no host at all", malformed, [], without: [":authority"]),
    .head("host in place of :authority", .status(200), [("host", "localhost")], without: [":authority"]),
    .head("host like :authority", .status(200), [("host", "localhost")]),
    .head("host unlike :authority", malformed, [("host", "other")]), .head("two hosts", malformed, [("host", "a"), ("host", "a")]),
    .head("an empty :authority", malformed, [(":authority", "")]),
    .head("user in :authority", .status(400), [(":authority", "u@localhost")]),
    .exact("a pseudo-field behind a field", malformed, get.dropLast() + [("x", "1"), (":path", "/hello")]),
    .exact("two :path", malformed, get + [(":path", "/other")]), .exact("two :method", malformed, get + [(":method", "POST")]),
    .head("a space in :method", malformed, [(":method", "GET /x HTTP/1.1\r\nA:")]),
    .head("a space in :path", malformed, [(":path", "/hello HTTP/1.1\r\nX: y")]), .head("an empty :path", malformed, [(":path", "")]),
    .head("a URL as :path", malformed, [(":path", "http://other/hello")]), .head("another scheme", malformed, [(":scheme", "ftp")]),
    .head("* without OPTIONS", malformed, [(":path", "*")]), .head("dot segments", .status(400), [(":path", "/../hello")]),
    .head("encoded dot segments", .status(400), [(":path", "/%2e%2e/hello")]),
    .head("HEAD of dot segments", .status(400), [(":method", "HEAD"), (":path", "/../hello")]),
    .head("a fragment", .status(400), [(":path", "/hello#x")]),
    .head("a backslash", .status(400), [(":path", "/\\hello")]), .head("NUL in the path", .status(400), [(":path", "/%00")]),
    .head("another method", .status(405), [(":method", "BREW")]),
    .exact("CONNECT", .status(404), [(":method", "CONNECT"), (":authority", "localhost:1")]),
    .head("CONNECT with a path", malformed, [(":method", "CONNECT")]),
    .head(":protocol without CONNECT", malformed, [(":protocol", "websocket")]),
    .head("content-length without a body", malformed, [("content-length", "1")]),
    .head("two content-lengths", malformed, [("content-length", "0"), ("content-length", "0")]),
    .head("no number as content-length", malformed, [("content-length", "+0")]), .head("expect", .status(417), [("expect", "x")]),
  ]

  private static func fields(_ count: Int, _ value: String) -> [(String, String)] { (0..<count).map { ("x-\($0)", value) } }
  private static let longHeads: [Row] = [
    .head("a field above the limit", .status(431), [("x", long)]), .head("a path above the limit", .status(414), [(":path", "/" + long)]),
    .head("a head above the limit", .status(431), fields(5, String(long.prefix(8_000)))),
    .head("too many fields", .status(431), fields(140, "1")), .head("a long list of empty fields", .status(431), fields(1_000, "")),
    .head("a list that is not worth an answer", .reset(HTTP2Flood.enhanceYourCalm), fields(5_000, "")),
  ]
  private static let bodies: [Row] = [
    Row("a body", .status(200)) { [.headers($0, post("/echo"), endsStream: false), .data($0, [1], endsStream: true)] },
    Row("a body of the stated length", .status(200)) {
      [.headers($0, post("/echo") + [("content-length", "2")], endsStream: false), .data($0, [1]), .data($0, [2], endsStream: true)]
    },
    Row("less than the stated length", malformed) {
      [.headers($0, post("/echo") + [("content-length", "2")], endsStream: false), .data($0, [1], endsStream: true)]
    },
    Row("more than the stated length", malformed) {
      [.headers($0, post("/echo") + [("content-length", "1")], endsStream: false), .data($0, [1, 2], endsStream: true)]
    },
    Row("trailers", .status(200)) {
      [.headers($0, post("/echo"), endsStream: false), .data($0, [1]), .headers($0, [("x", "1")])]
    },
    Row("a pseudo-field in trailers", malformed) {
      [.headers($0, post("/echo"), endsStream: false), .headers($0, [(":path", "/x")])]
    },
    Row("an upper-case name in trailers", malformed) { [.headers($0, post("/echo"), endsStream: false), .headers($0, [("X", "1")])] },
    Row("a framing field in trailers", malformed) {
      [.headers($0, post("/echo"), endsStream: false), .headers($0, [("content-length", "1")])]
    },
    Row("trailers without an end", malformed) {
      [.headers($0, post("/echo"), endsStream: false), .headers($0, [("x", "1")], endsStream: false)]
    },
    Row("a window that a setting takes over the greatest", .reset(HTTP2Flood.flowControlError)) {
      [
        .headers($0, post("/echo"), endsStream: false), .windowUpdate($0, 0x7fff_ffff - 65_535),
        .settings([(.initialWindowSize, 0x7fff_ffff)]), .settings([(.initialWindowSize, 65_535)]),
      ]
    },
  ]

  private static func post(_ path: String) -> [(String, String)] {
    [(":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", path)]
  }

  @Test("Each kind of head and body is answered, or its stream alone is reset (S23)")
  func outcomes() async throws {
    var settings = ServerSettings()
    settings.http2.resetBurst = 1_000
    try await HTTP2Server.run(settings: settings) { http2 in
      try await http2.client { client in
        for row in Self.rows {
          let stream = client.takeStream()
          try client.send(row.frames(stream).flatMap(\.bytes))
          let answer: HTTP2Answer
          do { answer = try client.answer(on: stream) } catch {
            Issue.record("\(row): \(error)")
            throw error
          }
          let outcome = answer.status == 0 ? answer.resetCode.map { Outcome.reset($0) } : .status(answer.status)
          #expect(outcome == row.outcome, "\(row)")
          // Its neighbours on the connection live on.
          #expect(try client.answer(on: client.request("/hello")).text == "hello", "behind \(row)")
        }
      }
    }
  }

  @Test("An answer has lower-case names and nothing of a connection's; HEAD, 204 and 304 end with their heads")
  func answers() async throws {
    try await HTTP2Server.run { http2 in
      try await http2.client { client in
        for (path, method, status, body) in [
          ("/hello", "GET", 200, "hello"), ("/hello", "HEAD", 200, ""), ("/empty", "GET", 204, ""), ("/unchanged", "GET", 304, ""),
          ("/chunks", "GET", 200, "onetwo"), ("/none", "HEAD", 404, ""),
        ] {
          let answer = try client.answer(on: client.request(path, method: method))
          #expect(answer.status == status && answer.text == body && answer.isWhole, "\(method) \(path): \(answer)")
          #expect(answer.fields.allSatisfy { $0.0 == $0.0.lowercased() }, "\(answer.fields)")
          for name in ["connection", "transfer-encoding", "keep-alive", "upgrade"] { #expect(answer.all(name).isEmpty) }
          #expect(answer.all("date").count == 1)
        }
        // What is broken off must not look whole (§8.1).
        let short = try client.answer(on: client.request("/short"))
        #expect(!short.isWhole && short.resetCode != nil, "\(short)")
      }
    }
  }

  @Test("Expect: 100-continue is answered before the body; an answer that does not wait for it resets the rest without an error")
  func early() async throws {
    try await HTTP2Server.run { http2 in
      try await http2.client { client in
        let polite = try client.request("/echo", [("expect", "100-continue")], method: "POST", endsStream: false)
        try client.receive { $0.answers[polite]?.interim.isEmpty == false }
        try client.send(Array("body".utf8), on: polite)
        let answer = try client.answer(on: polite)
        #expect(answer.interim.map(\.status) == [100] && answer.text == "body")
        let unread = try client.request("/unread", method: "POST", endsStream: false)
        try client.receive { $0.answers[unread]?.resetCode != nil }
        #expect(client.answers[unread]?.text == "unread" && client.answers[unread]?.isWhole == true)
        #expect(client.answers[unread]?.resetCode == 0)
        #expect(try client.answer(on: client.request("/hello")).text == "hello")
      }
    }
  }

  @Test("A hundred streams are answered at once; the one above is refused, and the client may send it again")
  func many() async throws {
    try await HTTP2Server.run { http2 in
      try await http2.client { client in
        for _ in 0..<3 {
          let streams = try (0..<100).map { _ in try client.request("/slow") }
          for stream in streams { #expect(try client.answer(on: stream).text == "slow") }
        }
      }
      // Before the client has said that it knows the limit.
      try await http2.client { client in
        client.acknowledges = false
        let streams = try (0..<101).map { _ in try client.request("/echo", method: "POST", endsStream: false) }
        #expect(try client.answer(on: streams[100]).resetCode == HTTP2Flood.refusedStream)
        for stream in streams.dropLast() { try client.send(Array("x".utf8), on: stream) }
        for stream in streams.dropLast() { #expect(try client.answer(on: stream).text == "x") }
      }
    }
  }

  @Test("Bodies that nobody takes hold up neither their neighbours' bodies nor their answers")
  func starvation() async throws {
    let gate = Gate()
    var table = endpoints()
    table.add(.post, "/gate") { _, body in
      await gate.pass()
      return Response(200, Fields(), Array(String(try await body.collect(upTo: 8 << 20).count).utf8))
    }
    try await HTTP2Server.run(table) { http2 in
      try await http2.client { client in
        // As much as their windows take.
        var stuck: [Int32: Int] = [:]
        let window = Int(client.serverSettings[HTTP2Setting.initialWindowSize.rawValue] ?? 65_535)
        for _ in 0..<20 {
          let stream = try client.request("/gate", method: "POST", endsStream: false)
          try client.send([UInt8](repeating: 1, count: window), on: stream, endsStream: false)
          stuck[stream] = window
        }
        for count in [0, 1, 500_000] {
          let sent = [UInt8](repeating: 2, count: count)
          let stream = try client.request("/echo", method: "POST", endsStream: false)
          try client.send(sent, on: stream)
          #expect(try client.answer(on: stream).body == sent)
        }
        // More than the window allows.
        let greedy = try client.request("/gate", method: "POST", endsStream: false)
        for _ in 0..<40 { try client.send(.data(greedy, [UInt8](repeating: 0, count: 16_384))) }
        #expect(try client.answer(on: greedy).resetCode == HTTP2Flood.flowControlError)
        gate.open()
        for (stream, sent) in stuck {
          try client.send([UInt8](repeating: 3, count: 1000), on: stream)
          #expect(try client.answer(on: stream).text == String(sent + 1000))
        }
      }
    }
  }
}
