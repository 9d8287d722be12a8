import Cryptography
import EventLoop
import IntercomCore
import Linux
import Synchronization

/// An upstream that speaks WebSocket and returns every frame as it comes; any other request gets 200. One thread serves thousands.
package final class WebSocketEcho: Sendable {
  package let port: UInt16
  private let group: EventLoopGroup
  private let counters: Counters

  final class Counters: Sendable {
    let open = Atomic<Int>(0)
    let heads = Mutex([String]())
  }

  /// Connections that have switched and are open.
  package var open: Int { counters.open.load(ordering: .acquiring) }
  /// What it was asked, the latest at the end, a thousand at most.
  package var heads: [String] { counters.heads.withLock { $0 } }

  /// Listens on a free port of 127.0.0.1.
  package static func start() async throws -> WebSocketEcho {
    let group = try EventLoopGroup(count: 1)
    let counters = Counters()
    let port = try await group.loops[0].withLoop { loop in
      let socket = try Socket.listening(on: SocketAddress(.loopbackV4, port: 0), sharing: false)
      let listener = try Listener(descriptor: socket, loop: loop) { client, _ in
        try? WebSocketEchoConnection(client, loop, counters).start()
      }
      return listener.address.port
    }
    return WebSocketEcho(group, port, counters)
  }

  private init(_ group: EventLoopGroup, _ port: UInt16, _ counters: Counters) {
    self.group = group
    self.port = port
    self.counters = counters
  }

  package func stop() async { await group.stop() }
}

/// `package`, because Swift 6.3.1 makes an endlessly recursive stub of the inherited initialiser for an internal class here.
package final class WebSocketEchoConnection: TCPConnection {
  private let counters: WebSocketEcho.Counters
  private var head: [UInt8] = []
  private var frames: WebSocketFrames?
  private var out: [UInt8] = []
  private var hasEnded = false

  init(_ descriptor: Int32, _ loop: EventLoop, _ counters: WebSocketEcho.Counters) {
    self.counters = counters
    super.init(descriptor: descriptor, loop: loop)
  }

  package override func onData(_ bytes: borrowing Span<UInt8>) {
    if frames != nil { return echo(bytes) }
    head.append(copying: bytes)
    guard let end = head.firstRange(of: Array("\r\n\r\n".utf8)) else { return }
    let text = String(decoding: head[..<end.upperBound], as: UTF8.self)
    let rest = Array(head[end.upperBound...])
    head = []
    answer(text)
    if frames != nil, !rest.isEmpty { echo(rest.span) }
  }

  private func answer(_ text: String) {
    counters.heads.withLock { heads in
      if heads.count == 1000 { heads.removeFirst() }
      heads.append(text)
    }
    let key = text.split(separator: "\r\n").first { $0.lowercased().hasPrefix("sec-websocket-key: ") }?.dropFirst(19)
    guard let key, text.lowercased().contains("\r\nupgrade: websocket\r\n") else {
      let plain = Array("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello".utf8)
      return send(plain.span)
    }
    let proof = String(decoding: webSocketAccept(key: Array(key.utf8)), as: UTF8.self)
    let lines = "HTTP/1.1 101 Switching Protocols\r\nUpgrade: WebSocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: \(proof)\r\n"
    let switched = Array((lines + "Set-Cookie: ws=1; Path=/\r\nX-Upstream: echo\r\n\r\n").utf8)
    frames = WebSocketFrames()
    counters.open.add(1, ordering: .acquiringAndReleasing)
    send(switched.span)
  }

  private func echo(_ bytes: borrowing Span<UInt8>) {
    guard var reader = frames.take() else { return }
    out.removeAll(keepingCapacity: true)
    reader.take(bytes) { part in
      switch part {
      case .header(let first, let length):
        // A ping (9) is answered by a pong (10), a close (8) by a close.
        out += WebSocketFrames.header(first: first & 0x0f == 9 ? 0x8a : first, length: length)
        if first & 0x0f == 8 { hasEnded = true }
      case .payload(let payload): out += payload
      case .end: break
      }
    }
    frames = reader
    let bytes = out
    send(bytes.span)
    if hasEnded { return closeWhenSent(lingering: true) }
    if pendingBytes > 262_144 { pauseReading() }
  }

  package override func onDrained() { resumeReading() }

  package override func onClosed() {
    if frames != nil { counters.open.subtract(1, ordering: .acquiringAndReleasing) }
  }
}
