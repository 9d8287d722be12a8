import IntercomTesting

/// What a hostile client of HTTP/2 does until it is thrown out.
struct HTTP2Flood: Sendable, CustomStringConvertible {
  let description: String
  /// Codes of the GOAWAY; empty when the connection just ends, since nghttp2 makes no more frames then.
  let codes: Set<UInt32>
  /// Must send without end; it is called again until the connection is over.
  let attack: @Sendable (HTTP2Client) throws -> Void

  init(_ description: String, _ codes: Set<UInt32>, _ attack: @escaping @Sendable (HTTP2Client) throws -> Void) {
    self.description = description
    self.codes = codes
    self.attack = attack
  }

  static let protocolError: UInt32 = 1
  static let internalError: UInt32 = 2
  static let flowControlError: UInt32 = 3
  static let streamClosed: UInt32 = 5
  static let frameSizeError: UInt32 = 6
  static let refusedStream: UInt32 = 7
  static let cancel: UInt32 = 8
  static let compressionError: UInt32 = 9
  static let enhanceYourCalm: UInt32 = 0xb

  /// So many frames leave together.
  private static let batch = 200

  private static func frames(_ make: () -> HTTP2Frame) -> [UInt8] { (0..<batch).flatMap { _ in make().bytes } }

  static let head = [(":method", "POST"), (":scheme", "https"), (":authority", "localhost"), (":path", "/echo")]

  /// An upload that has begun.
  private static func upload(_ client: HTTP2Client) throws -> Int32 {
    if client.nextStream == 1 { return try client.open(head, endsStream: false) }
    return 1
  }

  /// Streams that the server must reset for what the client does on them (CVE-2025-8671).
  private static func made(_ name: String, _ fault: @escaping @Sendable (Int32) -> [HTTP2Frame]) -> HTTP2Flood {
    HTTP2Flood("resets that the server is made to send by \(name)", [enhanceYourCalm]) { client in
      let opened = (0..<50).map { _ in client.takeStream() }
      try client.send(opened.flatMap { stream in fault(stream).flatMap(\.bytes) })
    }
  }

  static let all: [HTTP2Flood] = [
    HTTP2Flood("rapid reset (CVE-2023-44487)", [internalError, enhanceYourCalm]) { client in
      for _ in 0..<batch {
        let stream = try client.request("/slow")
        try client.send(.reset(stream))
      }
    },
    HTTP2Flood("CONTINUATION without end (CVE-2024-27316)", []) { client in
      if client.nextStream == 1 { try client.send(HTTP2Frame(.headers, stream: client.takeStream(), HPACKText.encode(head))) }
      try client.send(frames { HTTP2Frame(.continuation, stream: 1, HPACKText.encode([("x", "y")])) })
    },
    HTTP2Flood("empty CONTINUATION", []) { client in
      if client.nextStream == 1 { try client.send(HTTP2Frame(.headers, stream: client.takeStream(), HPACKText.encode(head))) }
      try client.send(frames { HTTP2Frame(.continuation, stream: 1) })
    },
    HTTP2Flood("SETTINGS whose answers are read", [enhanceYourCalm]) { client in
      let before = client.acknowledgements
      try client.send(frames { .settings([(.initialWindowSize, 65_535)]) })
      try client.receive { $0.acknowledgements >= before + batch || !$0.goAways.isEmpty }
    },
    HTTP2Flood("SETTINGS whose answers nobody reads", [enhanceYourCalm]) { client in try client.send(frames { .settings([]) }) },
    HTTP2Flood("SETTINGS with many values", []) { client in
      try client.send(frames { .settings((0..<100).map { _ in (.initialWindowSize, 65_535) }) })
    },
    HTTP2Flood("PING whose answers are read", [enhanceYourCalm]) { client in
      let before = client.acknowledgements
      try client.send(frames { .ping() })
      try client.receive { $0.acknowledgements >= before + batch || !$0.goAways.isEmpty }
    },
    HTTP2Flood("PING whose answers nobody reads", [enhanceYourCalm]) { client in try client.send(frames { .ping() }) },
    HTTP2Flood("WINDOW_UPDATE of the connection", [enhanceYourCalm]) { client in try client.send(frames { .windowUpdate(0, 1) }) },
    HTTP2Flood("WINDOW_UPDATE of a stream", [enhanceYourCalm]) { client in
      let stream = try upload(client)
      try client.send(frames { .windowUpdate(stream, 1) })
    },
    HTTP2Flood("PRIORITY", [enhanceYourCalm]) { client in try client.send(frames { .priority(1) }) },
    HTTP2Flood("empty DATA", [enhanceYourCalm]) { client in
      let stream = try upload(client)
      try client.send(frames { .data(stream, []) })
    },
    HTTP2Flood("DATA of nothing but padding", [enhanceYourCalm]) { client in
      let stream = try upload(client)
      try client.send(frames { HTTP2Frame(.data, flags: 8, stream: stream, [3, 0, 0, 0]) })
    },
    HTTP2Flood("RST_STREAM of a stream that is over", [enhanceYourCalm, internalError]) { client in
      if client.nextStream == 1 { _ = try client.answer(on: client.request("/hello")) }
      try client.send(frames { .reset(1) })
    },
    HTTP2Flood("streams above the limit", [protocolError, enhanceYourCalm]) { client in
      try client.send((0..<batch).flatMap { _ in HTTP2Frame.headers(client.takeStream(), head, endsStream: false).bytes })
    },
    HTTP2Flood("an HPACK bomb: fields that refer to one long entry of the table", [enhanceYourCalm]) { client in
      var block: [UInt8] = [0x83, 0x87, 0x84] + HPACKText.encode([(":authority", "localhost")])
      block += [0x40, 1, UInt8(ascii: "x")] + HPACKText.integer(4000, prefix: 7, first: 0) + [UInt8](repeating: 0x61, count: 4000)
      block += [UInt8](repeating: 0xbe, count: 12_000)
      try client.send(HTTP2Frame(.headers, flags: HTTP2Frame.endHeaders | HTTP2Frame.endStream, stream: client.takeStream(), block))
    },
    made("a window above all") {
      [.headers($0, head, endsStream: false), .windowUpdate($0, 0x7fff_ffff), .windowUpdate($0, 0x7fff_ffff)]
    },
    made("more than the stated length") { [.headers($0, head + [("content-length", "1")], endsStream: false), .data($0, [1, 2, 3])] },
    made("fields that must not be there") { [.headers($0, head + [("connection", "close")])] },
    made("trailers that do not end the stream") {
      [.headers($0, head, endsStream: false), .headers($0, [("x", "y")], endsStream: false)]
    },
  ]

  /// What ends the connection at once.
  static let violations: [HTTP2Flood] = [
    HTTP2Flood("a window size above the greatest", [flowControlError, protocolError]) { client in
      try client.send(.settings([(.initialWindowSize, 0x8000_0000)]))
    },
    HTTP2Flood("DATA behind the end of a stream", [streamClosed]) { client in
      let stream = try client.open(head.dropLast() + [(":path", "/never")])
      try client.send(.data(stream, [1]))
    },
    HTTP2Flood("a window above the greatest for the connection", [flowControlError]) { client in
      try client.send(.windowUpdate(0, 0x7fff_ffff), .windowUpdate(0, 0x7fff_ffff))
    },
    HTTP2Flood("a window of nothing for a stream", [protocolError]) { client in
      try client.send(.windowUpdate(client.open(head, endsStream: false), 0))
    },
    HTTP2Flood("a window of nothing for the connection", [protocolError]) { client in try client.send(.windowUpdate(0, 0)) },
    HTTP2Flood("a frame above the size that we take", [frameSizeError]) { client in
      try client.send(.data(client.open(head, endsStream: false), [UInt8](repeating: 0, count: 20_000)))
    },
    HTTP2Flood("DATA without a stream", [protocolError]) { client in try client.send(.data(0, [1])) },
    HTTP2Flood("DATA of a stream that was never opened", [protocolError, streamClosed]) { client in try client.send(.data(99, [1])) },
    HTTP2Flood("RST_STREAM of a stream that was never opened", [protocolError]) { client in try client.send(.reset(99)) },
    HTTP2Flood("a stream with an even number", [protocolError]) { client in try client.send(.headers(2, head)) },
    HTTP2Flood("a promise", [protocolError]) { client in try client.send(HTTP2Frame(.pushPromise, flags: 4, stream: 1, [0, 0, 0, 2])) },
    HTTP2Flood("another frame within a head", [protocolError]) { client in
      try client.send(HTTP2Frame(.headers, stream: client.takeStream(), HPACKText.encode(head)), .ping())
    },
    HTTP2Flood("a CONTINUATION of nothing", [protocolError]) { client in try client.send(HTTP2Frame(.continuation, flags: 4, stream: 1, []))
    },
    HTTP2Flood("a broken field block", [compressionError]) { client in
      try client.send(HTTP2Frame(.headers, flags: 5, stream: client.takeStream(), [0xff, 0xff, 0xff, 0xff, 0xff, 0xff]))
    },
    HTTP2Flood("a PING of another size", [frameSizeError]) { client in try client.send(HTTP2Frame(.ping, [1])) },
    HTTP2Flood("SETTINGS of another size", [frameSizeError]) { client in try client.send(HTTP2Frame(.settings, [1])) },
  ]
}
