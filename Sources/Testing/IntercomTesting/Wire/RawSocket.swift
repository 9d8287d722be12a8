import EventLoop
import IntercomCore
import Linux
import Synchronization

/// Why a raw exchange failed.
package enum RawSocketError: Error, Sendable, Equatable {
  case timedOut
  /// The connection was reset or could not be made.
  case broken
  /// The peer ended before what was waited for came.
  case ended(String)
}

/// Runs blocking code on a thread of its own, so that tests never hold the two threads of the concurrency runtime.
package func onThread<Value: Sendable>(_ body: @escaping @Sendable () throws -> Value) async throws -> Value {
  try await withCheckedThrowingContinuation { continuation in
    do { try Threads.spawn(name: "test") { continuation.resume(with: Result { try body() }) } } catch {
      continuation.resume(throwing: error)
    }
  }
}

/// A blocking TCP connection for tests that need every byte in their own hands.
package final class RawSocket: Sendable {
  private let descriptor: Int32
  private let state: Mutex<State>
  private struct State {
    var unread: [UInt8] = []
    var isClosed = false
  }

  package init(adopting descriptor: Int32, timeOut: Duration = .seconds(10)) throws {
    self.descriptor = descriptor
    state = Mutex(State())
    try Socket.setBlocking(descriptor, timeOutMilliseconds: Int(timeOut.wholeNanoseconds / 1_000_000))
  }

  /// Connects to a port of this machine. With `buffers`, the kernel keeps little (for tests of back-pressure).
  package convenience init(
    port: UInt16, ip: IPAddress = .loopbackV4, timeOut: Duration = .seconds(10), buffers: Int32? = nil
  ) throws {
    let descriptor = try Socket.connecting(to: SocketAddress(ip, port: port))
    if let buffers { try Socket.setBuffers(descriptor, bytes: buffers) }
    try self.init(adopting: descriptor, timeOut: timeOut)
  }

  deinit { close() }

  package func send(_ text: String) throws { try send(bytes: Array(text.utf8)) }

  package func send(bytes: [UInt8]) throws {
    var sent = 0
    while sent < bytes.count {
      let count = Socket.send(descriptor, bytes.span.extracting(sent...))
      if count == Socket.wouldBlock { throw RawSocketError.timedOut }
      guard count > 0 else { throw RawSocketError.broken }
      sent += count
    }
  }

  /// What has come, at most `max` bytes; empty at the peer's end.
  package func receive(max: Int = 65_536) throws -> [UInt8] {
    let early = state.withLock { state in
      let early = Array(state.unread.prefix(max))
      state.unread.removeFirst(early.count)
      return early
    }
    guard early.isEmpty else { return early }
    let buffer = ReceiveBuffer(bytes: max)
    let count = buffer.receive(descriptor)
    if count == Socket.wouldBlock { throw RawSocketError.timedOut }
    guard count >= 0 else { throw RawSocketError.broken }
    var out: [UInt8] = []
    buffer.withBytes(count) { out = [UInt8](copying: $0) }
    return out
  }

  /// What has come already, empty for nothing; waits for nothing.
  package func receiveNow() throws -> [UInt8] {
    try Socket.setBlocking(descriptor, timeOutMilliseconds: 1)
    defer { try? Socket.setBlocking(descriptor, timeOutMilliseconds: 10_000) }
    do { return try receive() } catch RawSocketError.timedOut { return [] }
  }

  /// Everything up to the peer's end.
  package func receiveAll() throws -> [UInt8] {
    var all: [UInt8] = []
    while true {
      let piece = try receive()
      if piece.isEmpty { return all }
      all += piece
    }
  }

  package func receiveAllText() throws -> String { String(decoding: try receiveAll(), as: UTF8.self) }

  /// Exactly `count` bytes.
  package func receive(exactly count: Int) throws -> [UInt8] {
    var all: [UInt8] = []
    while all.count < count {
      let piece = try receive(max: min(65_536, count - all.count))
      if piece.isEmpty { throw RawSocketError.ended(String(decoding: all.prefix(500), as: UTF8.self)) }
      all += piece
    }
    return all
  }

  /// Everything up to and including `marker`; what follows stays for the next call.
  package func receive(until marker: String) throws -> String {
    let mark = Array(marker.utf8)
    var all: [UInt8] = []
    while true {
      let piece = try receive()
      if piece.isEmpty { throw RawSocketError.ended(String(decoding: all.prefix(500), as: UTF8.self)) }
      let searchFrom = max(0, all.count - mark.count)
      all += piece
      if let end = Self.end(of: mark, in: all, from: searchFrom) {
        let rest = Array(all[end...])
        state.withLock { $0.unread = rest + $0.unread }
        return String(decoding: all[..<end], as: UTF8.self)
      }
    }
  }

  private static func end(of mark: [UInt8], in all: [UInt8], from: Int) -> Int? {
    guard all.count >= mark.count else { return nil }
    var index = from
    while index + mark.count <= all.count {
      if all[index] == mark[0], all[index..<index + mark.count].elementsEqual(mark) { return index + mark.count }
      index += 1
    }
    return nil
  }

  /// Whether the peer has ended or reset the connection within the time-out; throws `timedOut` when it stays open, and `ended` when it sends.
  package func expectEnd() throws {
    do {
      let piece = try receive()
      if !piece.isEmpty { throw RawSocketError.ended("unexpected: \(String(decoding: piece.prefix(500), as: UTF8.self))") }
    } catch RawSocketError.broken {}
  }

  package func shutdownWriting() { Socket.shutdownWriting(descriptor) }

  /// Closes the descriptor once; later calls do nothing.
  package func close() {
    let first = state.withLock { state in
      defer { state.isClosed = true }
      return !state.isClosed
    }
    if first { Socket.close(descriptor) }
  }

  /// Closes with RST.
  package func reset() {
    Socket.setResetOnClose(descriptor)
    close()
  }
}

/// An answer read from a raw connection.
package struct RawResponse: Sendable {
  package var status: Int
  /// The head with its lines, without the last empty one.
  package var head: String
  package var body: [UInt8]
  package var text: String { String(decoding: body, as: UTF8.self) }

  /// The value of the first field of that name.
  package func field(_ name: String) -> String? {
    for line in head.split(separator: "\r\n").dropFirst() {
      guard let colon = line.firstIndex(of: ":"), line[..<colon].lowercased() == name.lowercased() else { continue }
      return String(line[line.index(after: colon)...].drop { $0 == " " })
    }
    return nil
  }
}

extension RawSocket {
  /// Reads one answer: a head, and a body by Content-Length, chunked, or up to the end. `toHead`: the answer to a HEAD request.
  package func readResponse(toHead: Bool = false) throws -> RawResponse {
    let head = try receive(until: "\r\n\r\n")
    let status = Int(head.split(separator: " ").dropFirst().first ?? "") ?? 0
    var response = RawResponse(status: status, head: String(head.dropLast(1)), body: [])
    if toHead || status < 200 || status == 204 || status == 304 { return response }
    if response.field("Transfer-Encoding")?.lowercased() == "chunked" {
      while true {
        let size = try receive(until: "\r\n")
        guard let count = Int(size.prefix { $0 != ";" && $0 != "\r\n" }, radix: 16) else {
          throw RawSocketError.ended("bad chunk size \(size)")
        }
        if count == 0 { break }
        response.body += try receive(exactly: count)
        guard try receive(exactly: 2) == [13, 10] else { throw RawSocketError.ended("no CRLF behind a chunk") }
      }
      while try receive(until: "\r\n") != "\r\n" {}
    } else if let length = response.field("Content-Length").flatMap({ Int($0) }) {
      response.body = try receive(exactly: length)
    } else {
      response.body = try receiveAll()
    }
    return response
  }
}

/// A server for tests that answers each connection with a script of raw bytes, on a thread per connection.
package final class RawServer: Sendable {
  private let descriptor: Int32
  package let port: UInt16
  private let accepted = Atomic<Int>(0)
  private let stopping = Atomic<Bool>(false)

  /// - Parameter serve: called with each connection and its number (from 0), on a thread of its own; errors end the connection.
  package init(ip: IPAddress = .loopbackV4, port: UInt16 = 0, serve: @escaping @Sendable (RawSocket, Int) throws -> Void) throws {
    descriptor = try Socket.listening(on: SocketAddress(ip, port: port), sharing: false)
    self.port = try Socket.localAddress(descriptor).port
    try Socket.setBlocking(descriptor, timeOutMilliseconds: 50)
    let descriptor = descriptor
    try Threads.spawn(name: "raw-server") { [weak self] in
      while let server = self, !server.stopping.load(ordering: .acquiring) {
        guard case .connection(let client, _) = Socket.accept(descriptor) else { continue }
        let number = server.accepted.add(1, ordering: .acquiringAndReleasing).oldValue
        try? Threads.spawn(name: "raw-conn") {
          guard let socket = try? RawSocket(adopting: client) else { return }
          try? serve(socket, number)
          socket.close()
        }
      }
      Socket.close(descriptor)
    }
  }

  /// How many connections have come.
  package var connections: Int { accepted.load(ordering: .acquiring) }
  package func stop() { stopping.store(true, ordering: .releasing) }
  deinit { stop() }
}

/// Waits until `condition` holds; false when it does not within `limit`.
package func eventually(within limit: Duration = .seconds(10), _ condition: @escaping @Sendable () async -> Bool) async -> Bool {
  let time = SystemTime()
  let end = time.monotonicNow().advanced(by: limit)
  while time.monotonicNow() < end {
    if await condition() { return true }
    try? await time.sleep(for: .milliseconds(5))
  }
  return await condition()
}

/// Blocks the calling thread: for raw clients whose slowness is the subject of a test.
package func pauseThread(milliseconds: Int) { Threads.pause(milliseconds: milliseconds) }
