import IntercomCore
import Linux
import Synchronization

/// A TCP relay on loopback whose far end can go away: outages of real servers without stopping them.
package final class TCPRelay: Sendable {
  /// What happens to connections.
  package enum Mode: Sendable {
    case passes
    /// New connections are closed at once; open ones were cut when the mode began.
    case refuses
    /// New connections are accepted and nothing is ever answered; open ones were cut when the mode began.
    case silent
    /// What comes back arrives in pieces of so many bytes.
    case slices(Int)
    /// A connection ends when so many bytes have come back on it.
    case cuts(after: Int)
    /// What comes back arrives so much later.
    case late(Duration)
    /// The far end is not asked: whatever is sent, this is the answer.
    case says(String)
    /// Connections stay, open ones and new ones, and nothing goes over them either way: no end of them is told that the other is out of reach.
    /// What was sent meanwhile arrives when the mode becomes `passes`.
    case stalls
  }

  private struct State {
    var mode = Mode.passes
    var open: [Int: [@Sendable () -> Void]] = [:]
    var opened = 0
  }
  private let listener: LoopbackListener
  private let state = Mutex(State())
  package var port: Int { Int(listener.port) }
  private let greeting: [UInt8]

  /// Relays to a port of 127.0.0.1.
  ///
  /// - Parameter greeting: what it says itself at the beginning of each connection, such as a PROXY header.
  package convenience init(to target: Int, greeting: [UInt8] = []) throws { try self.init(balancing: [target], greeting: greeting) }

  /// Relays to these ports in turn, past those that take no connection: what stands in front of replicas.
  package init(balancing targets: [Int], greeting: [UInt8] = []) throws {
    self.greeting = greeting
    let ports = targets.compactMap { UInt16(exactly: $0) }
    guard let listener = LoopbackListener(), ports.count == targets.count else {
      throw WaitFailure("no socket for a relay", within: .zero)
    }
    self.listener = listener
    listener.start { [weak self] client in self?.serve(client, ports) }
  }

  deinit { listener.stop() }

  /// Connections accepted so far.
  package var connections: Int { state.withLock { $0.opened } }

  /// Changes what happens; other modes than `passes` and `stalls` cut the open connections.
  package func become(_ mode: Mode) {
    let ends = state.withLock { state in
      state.mode = mode
      switch mode {
      case .passes, .stalls: return [] as [@Sendable () -> Void]
      default: break
      }
      defer { state.open = [:] }
      return state.open.values.flatMap { $0 }
    }
    for end in ends { end() }
  }

  private func serve(_ client: AcceptedSocket, _ targets: [UInt16]) {
    let (mode, number) = state.withLock { state in
      state.opened += 1
      state.open[state.opened] = [{ client.end() }]
      return (state.mode, state.opened)
    }
    defer { _ = state.withLock { $0.open.removeValue(forKey: number) } }
    switch mode {
    case .refuses: return
    case .silent: while !client.receive().isEmpty {}
    case .passes, .stalls: pump(client, targets, number, piece: .max, most: .max)
    case .slices(let piece): pump(client, targets, number, piece: max(1, piece), most: .max)
    case .cuts(let most): pump(client, targets, number, piece: .max, most: most)
    case .late(let time): pump(client, targets, number, piece: .max, most: .max, late: time)
    case .says(let text): while !client.receive().isEmpty, client.send(Array(text.utf8)) {}
    }
  }

  /// Waits out `stalls`. False: the connection was cut meanwhile.
  private func mayPass(_ number: Int) -> Bool {
    while true {
      let (isStalled, isOpen) = state.withLock { state in
        if case .stalls = state.mode { return (true, state.open[number] != nil) }
        return (false, true)
      }
      guard isStalled, isOpen else { return isOpen }
      pauseThread(milliseconds: 2)
    }
  }

  private func pump(_ client: AcceptedSocket, _ targets: [UInt16], _ number: Int, piece: Int, most: Int, late: Duration = .zero) {
    let forever = Int64.max
    var reached: RelayEnd?
    for step in targets.indices where reached == nil { reached = try? RelayEnd(targets[(number + step) % targets.count]) }
    guard let far = reached else { return }
    if !greeting.isEmpty { try? far.socket.send(greeting, deadline: forever) }
    state.withLock { $0.open[number]?.append { far.socket.shutdownBoth() } }
    let line = DelayLine()
    if late > .zero {
      try? Threads.spawn(name: "relay-late") {
        while let bytes = try? far.socket.receive(deadline: forever), !bytes.isEmpty {
          line.add(bytes, due: monotonicNanoseconds() &+ late.wholeNanoseconds)
        }
        line.add([], due: 0)
      }
    }
    @Sendable func next() -> [UInt8]? {
      if late > .zero { return line.take() }
      return try? far.socket.receive(deadline: forever)
    }
    // Whoever ends first ends the other, so neither thread stays behind.
    try? Threads.spawn(name: "relay") {
      var left = most
      while left > 0, let bytes = next(), !bytes.isEmpty, self.mayPass(number) {
        var rest = bytes[...]
        while !rest.isEmpty, left > 0 {
          let part = Array(rest.prefix(min(piece, left)))
          guard client.send(part) else { return client.end() }
          rest = rest.dropFirst(part.count)
          left -= part.count
        }
      }
      client.end()
    }
    while true {
      let bytes = client.receive()
      guard !bytes.isEmpty, mayPass(number), (try? far.socket.send(bytes, deadline: forever)) != nil else { break }
    }
    far.socket.shutdownBoth()
  }
}

/// Bytes on their way, each with the time of its arrival.
private final class DelayLine: Sendable {
  private let waiting = Mutex([(bytes: [UInt8], due: Int64)]())

  func add(_ bytes: [UInt8], due: Int64) { waiting.withLock { $0.append((bytes, due)) } }

  /// The next ones, when they are due.
  func take() -> [UInt8] {
    while true {
      let next: [UInt8]? = waiting.withLock { waiting in
        guard let first = waiting.first, first.due <= monotonicNanoseconds() else { return nil }
        return waiting.removeFirst().bytes
      }
      if let next { return next }
      pauseThread(milliseconds: 1)
    }
  }
}

private final class RelayEnd: Sendable {
  let socket: BlockingSocket
  init(_ port: UInt16) throws { socket = try BlockingSocket(loopbackPort: port, deadline: monotonicNanoseconds() &+ 2_000_000_000) }
}
