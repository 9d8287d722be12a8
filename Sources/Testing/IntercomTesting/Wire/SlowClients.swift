import Linux

/// Many raw connections, driven by one thread, each of which sends or reads so much at every beat: attackers that want to keep a server busy,
/// or clients behind a thin line.
package final class SlowClients: Sendable {
  /// What each connection does at a beat.
  package enum Beat: Sendable {
    case send(String)
    /// Reads at most so many bytes.
    case receive(Int)
  }

  private struct State {
    var open: Int
    /// First lines of what was answered, with how many got them.
    var answers: [String: Int] = [:]
    var isStopping = false
    var hasEnded = false
  }
  private let state: Monitor<State>

  private struct Client {
    let descriptor: Int32
    /// What is still to be sent before the first beat.
    var opening: ArraySlice<UInt8>
    var hasAnswer = false
  }

  /// Connects to 127.0.0.1.
  ///
  /// - Parameters:
  ///   - opening: sent at once by each connection, before the first beat.
  ///   - beat: what follows, again and again.
  ///   - every: milliseconds between two beats.
  package init(_ count: Int, port: Int, opening: String, beat: Beat, every: Int) throws {
    let address = SocketAddress(.loopbackV4, port: UInt16(clamping: port))
    var clients: [Client] = []
    for _ in 0..<count {
      let descriptor = try Socket.connecting(to: address)
      // A reader's kernel must not read for it.
      if case .receive = beat { try Socket.setBuffers(descriptor, bytes: 4096) }
      clients.append(Client(descriptor: descriptor, opening: Array(opening.utf8)[...]))
    }
    state = Monitor(State(open: count))
    let (state, all) = (state, clients)
    try Threads.spawn(name: "slow-clients") {
      var clients = all
      while !state.withLock({ $0.isStopping }) {
        clients = clients.compactMap { Self.step($0, beat, state) }
        let open = clients.count
        state.withLock { $0.open = open }
        Threads.pause(milliseconds: every)
      }
      for client in clients { Socket.close(client.descriptor) }
      state.withLock { $0.hasEnded = true }
      state.broadcast()
    }
  }

  deinit { state.withLock { $0.isStopping = true } }

  /// Connections that the server has not ended.
  package var open: Int { state.withLock { $0.open } }
  /// The first line of each answer, with how many connections got it.
  package var answers: [String: Int] { state.withLock { $0.answers } }

  /// Closes what is open and returns when it is closed.
  package func stop() async throws {
    let state = state
    state.withLock { $0.isStopping = true }
    try await onThread { state.wait { $0.hasEnded ? () : nil } }
  }

  /// One beat of one connection; nil when the server has ended it.
  private static func step(_ client: Client, _ beat: Beat, _ state: Monitor<State>) -> Client? {
    var client = client
    var most = 65_536
    if !client.opening.isEmpty {
      let sent = Socket.send(client.descriptor, Array(client.opening).span)
      if sent > 0 { client.opening = client.opening.dropFirst(sent) }
    } else {
      switch beat {
      case .send(let text): _ = Socket.send(client.descriptor, Array(text.utf8).span)
      case .receive(let count): most = count
      }
    }
    // A connection that was reset still gives what had come before; its error says more.
    let isBroken = client.opening.isEmpty && Socket.pendingError(client.descriptor) != nil
    let buffer = ReceiveBuffer(bytes: most)
    let count = buffer.receive(client.descriptor)
    if count > 0, !client.hasAnswer {
      client.hasAnswer = true
      var line: [UInt8] = []
      buffer.withBytes(count) { bytes in for index in 0..<bytes.count where line.last != 13 { line.append(bytes[index]) } }
      let text = String(decoding: line.dropLast(), as: UTF8.self)
      state.withLock { $0.answers[text, default: 0] += 1 }
    }
    guard isBroken || count == 0 || count == Socket.broken else { return client }
    Socket.close(client.descriptor)
    return nil
  }
}
