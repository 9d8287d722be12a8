import Linux
import Synchronization

/// A TCP server on loopback that answers each request with the bytes a script gives: for peers that misbehave on the wire.
package final class ScriptedServer: Sendable {
  /// A request as it came, head and body.
  package struct Received: Sendable {
    /// Up to and with the empty line.
    package var head: String
    package var body: [UInt8]
    /// 1 for the first connection.
    package var connection: Int
  }

  /// What to do after a request.
  package enum Step: Sendable {
    case answer(String)
    /// The bytes, then close.
    case answerAndClose([UInt8])
    /// Never answers; the connection stays open.
    case silence
    /// Sends this piece over and over until the peer is gone.
    case forever(prefix: String, piece: [UInt8])
  }

  private struct State {
    var connections: [AcceptedSocket] = []
    var received: [Received] = []
    var stopped = false
  }

  private let listener: LoopbackListener
  private let state = Mutex(State())
  package var port: UInt16 { listener.port }
  package var origin: String { "http://127.0.0.1:\(port)" }
  package var received: [Received] { state.withLock { $0.received } }
  package var connections: Int { state.withLock { $0.connections.count } }

  /// nil when the system gives no socket. `greeting` is sent as soon as a connection opens.
  package init?(greeting: String = "", _ script: @escaping @Sendable (Received) -> Step) {
    guard let listener = LoopbackListener() else { return nil }
    self.listener = listener
    listener.start { [weak self] socket in
      guard let number = self?.opened(socket) else { return socket.end() }
      if !greeting.isEmpty { socket.send(Array(greeting.utf8)) }
      Self.serve(socket, number, script) { [weak self] received in self?.note(received) }
      socket.end()
    }
  }

  deinit { stop() }

  /// Stops listening and ends the connections that are open.
  package func stop() {
    listener.stop()
    let open = state.withLock { state in
      state.stopped = true
      return state.connections
    }
    for socket in open { socket.end() }
  }

  private func opened(_ socket: AcceptedSocket) -> Int? {
    state.withLock { state in
      guard !state.stopped else { return nil }
      state.connections.append(socket)
      return state.connections.count
    }
  }

  private func note(_ received: Received) { state.withLock { $0.received.append(received) } }

  private static func serve(
    _ socket: AcceptedSocket, _ number: Int, _ script: @Sendable (Received) -> Step, _ note: @Sendable (Received) -> Void
  ) {
    var buffer: [UInt8] = []
    while let request = next(socket, &buffer, number) {
      note(request)
      switch script(request) {
      case .answer(let text): guard socket.send(Array(text.utf8)) else { return }
      case .answerAndClose(let bytes):
        socket.send(bytes)
        return
      case .silence: while !socket.receive().isEmpty {}
      case .forever(let prefix, let piece):
        socket.send(Array(prefix.utf8))
        while socket.send(piece) {}
        return
      }
    }
  }

  private static func next(_ socket: AcceptedSocket, _ buffer: inout [UInt8], _ number: Int) -> Received? {
    var end = headEnd(buffer)
    while end == nil {
      let more = socket.receive()
      if more.isEmpty { return nil }
      buffer += more
      end = headEnd(buffer)
    }
    guard let end else { return nil }
    let head = String(decoding: buffer[..<end], as: UTF8.self)
    let length =
      head.lowercased().split(separator: "\r\n").first { $0.hasPrefix("content-length:") }
      .flatMap { Int($0.dropFirst(15).drop { $0 == " " }) } ?? 0
    while buffer.count < end + length {
      let more = socket.receive()
      if more.isEmpty { return nil }
      buffer += more
    }
    let body = Array(buffer[end..<end + length])
    buffer.removeFirst(end + length)
    return Received(head: head, body: body, connection: number)
  }

  private static func headEnd(_ bytes: [UInt8]) -> Int? {
    guard bytes.count >= 4 else { return nil }
    return (4...bytes.count).first { bytes[($0 - 4)..<$0].elementsEqual([13, 10, 13, 10]) }
  }
}
