import IntercomCore
import Linux
import OpenSSL

/// Why a test client of HTTP/2 got nothing.
package enum HTTP2ClientError: Error, Sendable, Equatable {
  case timedOut
  /// The TLS connection could not be made.
  case handshake(String)
  /// The connection is over.
  case ended
  /// The server broke the protocol.
  case malformed(String)
}

/// What came on one stream.
package struct HTTP2Answer: Sendable {
  /// 0 as long as there is no head.
  package var status = 0
  package var fields: [(String, String)] = []
  package var body: [UInt8] = []
  package var trailers: [(String, String)] = []
  /// Interim answers (1xx) that came before, with their fields.
  package var interim: [(status: Int, fields: [(String, String)])] = []
  /// The code of RST_STREAM.
  package var resetCode: UInt32?
  /// END_STREAM came.
  package var isWhole = false

  package var isOver: Bool { isWhole || resetCode != nil }
  package var text: String { String(decoding: body, as: UTF8.self) }
  /// The values of a field, in lower case.
  package func all(_ name: String) -> [String] { fields.filter { $0.0 == name }.map { $0.1 } }
  package func field(_ name: String) -> String? { all(name).count == 1 ? all(name)[0] : nil }
}

/// A blocking HTTP/2 client over TLS, for tests that need every frame in their own hands. Confined to one thread: make it where it is used.
///
/// It says nothing that it was not told to, but for answers to SETTINGS and PING and for windows, which tests that hold them back switch off.
package final class HTTP2Client {
  /// Whether SETTINGS and PING are answered, and whether what came opens the server's windows again.
  package var acknowledges = true
  package var opensWindows = true
  /// GOAWAYs that came: last stream and code.
  package private(set) var goAways: [(last: Int32, code: UInt32)] = []
  package private(set) var serverSettings: [UInt16: UInt32] = [:]
  /// Acknowledgements of SETTINGS and of PING that came.
  package private(set) var acknowledgements = 0
  package private(set) var answers: [Int32: HTTP2Answer] = [:]
  package private(set) var nextStream: Int32 = 1

  private let descriptor: Int32
  private let channel: TLSChannel
  private let buffer = ReceiveBuffer(bytes: 16_384)
  private var unread: [UInt8] = []
  private var block: (stream: Int32, flags: UInt8, bytes: [UInt8])?
  /// What may be sent: by the whole connection, by a new stream, by one that there is.
  private var window = 65_535
  private var initialWindow = 65_535
  private var windows: [Int32: Int] = [:]

  /// Connects to 127.0.0.1 as to `localhost` and says the preface.
  ///
  /// - Parameters:
  ///   - context: whom to believe; it must offer HTTP/2.
  ///   - settings: beside a table of no bytes, without which answers could not be read here.
  ///   - buffers: the kernel keeps little, for tests of back-pressure.
  package init(
    port: UInt16, context: TLSContext, settings: [(HTTP2Setting, UInt32)] = [], timeOut: Duration = .seconds(20), buffers: Int32? = nil
  ) throws {
    descriptor = try Socket.connecting(to: SocketAddress(.loopbackV4, port: port))
    do {
      if let buffers { try Socket.setBuffers(descriptor, bytes: buffers) }
      try Socket.setBlocking(descriptor, timeOutMilliseconds: Int(timeOut.wholeNanoseconds / 1_000_000))
      channel = try TLSChannel(client: context, descriptor: descriptor, host: Array("localhost".utf8), isAddress: false)
      guard case .done = channel.handshake(), channel.agreedProtocol == .http2 else { throw HTTP2ClientError.handshake("no HTTP/2") }
    } catch {
      Socket.close(descriptor)
      throw error
    }
    try send(Array("PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".utf8))
    try send(.settings([(.headerTableSize, 0)] + settings))
  }

  deinit { Socket.close(descriptor) }

  // MARK: out

  package func send(_ bytes: [UInt8]) throws {
    var sent = 0
    while sent < bytes.count {
      let count = channel.send(bytes.span.extracting(sent...))
      if count == TLSChannel.wouldBlock { throw HTTP2ClientError.timedOut }
      guard count > 0 else { throw HTTP2ClientError.ended }
      sent += count
    }
  }

  package func send(_ frames: HTTP2Frame...) throws { try send(frames.flatMap(\.bytes)) }

  /// A request on the next stream, whose number is given back. Without `:method`, `:scheme`, `:authority` they are those of GET from
  /// `localhost`.
  package func request(
    _ path: String, _ fields: [(String, String)] = [], method: String = "GET", authority: String = "localhost", endsStream: Bool = true
  ) throws -> Int32 {
    try open([(":method", method), (":scheme", "https"), (":authority", authority), (":path", path)] + fields, endsStream: endsStream)
  }

  /// Asks for a WebSocket by extended CONNECT ([RFC 8441](https://www.rfc-editor.org/rfc/rfc8441)): the stream and the answer's status.
  package func webSocket(_ path: String, _ fields: [(String, String)] = [], authority: String = "localhost") throws -> (Int32, status: Int)
  {
    let stream = try open(
      [
        (":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":authority", authority), (":path", path),
        ("sec-websocket-version", "13"),
      ] + fields, endsStream: false)
    try receive { $0.answers[stream].map { $0.status > 0 || $0.isOver } ?? false }
    return (stream, answers[stream]?.status ?? 0)
  }

  /// Exactly so many bytes of a stream's body.
  package func body(_ stream: Int32, exactly count: Int) throws -> [UInt8] {
    var all: [UInt8] = []
    while all.count < count {
      try receive { $0.answers[stream].map { !$0.body.isEmpty || $0.isOver } ?? false }
      let piece = takeBody(stream)
      if piece.isEmpty { throw HTTP2ClientError.ended }
      all += piece
    }
    return all
  }

  /// A stream whose head has exactly these fields.
  package func open(_ fields: [(String, String)], endsStream: Bool = true) throws -> Int32 {
    let stream = takeStream()
    try send(HTTP2Frame.head(stream, fields, endsStream: endsStream).flatMap(\.bytes))
    return stream
  }

  /// The number of a stream that a test opens by itself.
  package func takeStream() -> Int32 {
    defer { nextStream += 2 }
    return nextStream
  }

  /// A piece of a body, as fast as the server's windows allow.
  package func send(_ body: [UInt8], on stream: Int32, endsStream: Bool = true) throws {
    var rest = body[...]
    repeat {
      let room = min(window, windows[stream] ?? initialWindow, 16_384)
      guard room > 0 || rest.isEmpty else {
        _ = try receive()
        continue
      }
      let piece = Array(rest.prefix(max(0, room)))
      rest = rest.dropFirst(piece.count)
      window -= piece.count
      windows[stream] = (windows[stream] ?? initialWindow) - piece.count
      try send(.data(stream, piece, endsStream: endsStream && rest.isEmpty))
    } while !rest.isEmpty && answers[stream]?.isOver != true
  }

  /// Our direction of the TCP connection is over.
  package func shutdownWriting() { Socket.shutdownWriting(descriptor) }

  // MARK: in

  /// The next frame; what it means is kept.
  @discardableResult
  package func receive() throws -> HTTP2Frame {
    while true {
      if let frame = takeFrame() {
        try take(frame)
        return frame
      }
      let count = buffer.fill { channel.receive(into: $0) }
      if count == TLSChannel.wouldBlock { throw HTTP2ClientError.timedOut }
      guard count > 0 else { throw HTTP2ClientError.ended }
      buffer.withBytes(count) { bytes in
        for index in bytes.indices { unread.append(bytes[index]) }
      }
    }
  }

  private func takeFrame() -> HTTP2Frame? {
    guard unread.count >= 9 else { return nil }
    let count = Int(unread[0]) << 16 | Int(unread[1]) << 8 | Int(unread[2])
    guard unread.count >= 9 + count else { return nil }
    let stream = unread[5..<9].reduce(UInt32(0)) { $0 << 8 | UInt32($1) } & 0x7fff_ffff
    let frame = HTTP2Frame(type: unread[3], flags: unread[4], stream: Int32(stream), payload: Array(unread[9..<9 + count]))
    unread.removeFirst(9 + count)
    return frame
  }

  /// What came on a stream when it is over.
  package func answer(on stream: Int32) throws -> HTTP2Answer {
    try receive(until: { $0.answers[stream]?.isOver == true })
    return answers[stream] ?? HTTP2Answer()
  }

  /// Reads until `condition` holds.
  package func receive(until condition: (HTTP2Client) -> Bool) throws { while !condition(self) { try receive() } }

  /// Reads until the server ends the connection, however it does.
  package func receiveToEnd() throws {
    do { while true { try receive() } } catch HTTP2ClientError.ended {}
  }

  /// Forgets what a stream brought: for bodies that are only counted.
  package func takeBody(_ stream: Int32) -> [UInt8] {
    defer { answers[stream]?.body = [] }
    return answers[stream]?.body ?? []
  }

  private func take(_ frame: HTTP2Frame) throws {
    switch frame.kind {
    case .settings where frame.flags & HTTP2Frame.ack == 0: try takeSettings(frame)
    case .settings: acknowledgements += 1
    case .ping where frame.flags & HTTP2Frame.ack == 0:
      if acknowledges { try send(HTTP2Frame(.ping, flags: HTTP2Frame.ack, frame.payload)) }
    case .ping: acknowledgements += 1
    case .windowUpdate where frame.stream == 0: window += Int(frame.number(at: 0))
    case .windowUpdate: windows[frame.stream] = (windows[frame.stream] ?? initialWindow) + Int(frame.number(at: 0))
    case .goAway: goAways.append((Int32(bitPattern: frame.number(at: 0)), frame.number(at: 4)))
    case .reset: answers[frame.stream, default: HTTP2Answer()].resetCode = frame.number(at: 0)
    case .headers: try takeBlock(frame.stream, frame.flags, frame.payload)
    case .continuation:
      guard let begun = block, begun.stream == frame.stream else { throw HTTP2ClientError.malformed("a CONTINUATION of nothing") }
      try takeBlock(frame.stream, begun.flags & ~HTTP2Frame.endHeaders | frame.flags, begun.bytes + frame.payload)
    case .data:
      answers[frame.stream, default: HTTP2Answer()].body += frame.payload
      if frame.flags & HTTP2Frame.endStream != 0 { answers[frame.stream]?.isWhole = true }
      if opensWindows, !frame.payload.isEmpty {
        let count = UInt32(frame.payload.count)
        try send(.windowUpdate(0, count))
        if answers[frame.stream]?.isOver != true { try send(.windowUpdate(frame.stream, count)) }
      }
    case .priority, .pushPromise, nil: break
    }
  }

  private func takeSettings(_ frame: HTTP2Frame) throws {
    for at in stride(from: 0, to: frame.payload.count - 5, by: 6) {
      let name = UInt16(frame.payload[at]) << 8 | UInt16(frame.payload[at + 1])
      let value = frame.number(at: at + 2)
      serverSettings[name] = value
      if name == HTTP2Setting.initialWindowSize.rawValue {
        for stream in windows.keys { windows[stream]? += Int(value) - initialWindow }
        initialWindow = Int(value)
      }
    }
    if acknowledges { try send(HTTP2Frame(.settings, flags: HTTP2Frame.ack)) }
  }

  private func takeBlock(_ stream: Int32, _ flags: UInt8, _ bytes: [UInt8]) throws {
    guard flags & HTTP2Frame.endHeaders != 0 else {
      block = (stream, flags, bytes)
      return
    }
    block = nil
    guard let fields = HPACKText.decode(bytes) else { throw HTTP2ClientError.malformed("a field block") }
    var answer = answers[stream] ?? HTTP2Answer()
    let status = fields.first { $0.0 == ":status" }.flatMap { Int($0.1) }
    let rest = fields.filter { $0.0 != ":status" }
    if let status, status < 200 {
      answer.interim.append((status, rest))
    } else if let status, answer.status == 0 {
      answer.status = status
      answer.fields = rest
    } else {
      answer.trailers = rest
    }
    if flags & HTTP2Frame.endStream != 0 { answer.isWhole = true }
    answers[stream] = answer
  }
}
