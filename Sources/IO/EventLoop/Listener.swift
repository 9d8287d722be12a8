import IntercomCore
import Linux

/// A listening socket of one loop. Level-triggered: what one turn leaves over comes again.
package final class Listener: EventSource {
  package let address: SocketAddress
  /// Clients of this listener beyond this many wait in the kernel's queue.
  package var maximumConnections: Int
  private let onAccept: (Int32, SocketAddress) -> Void
  private var reserve: Int32?
  private var isClosed = false
  private var isPaused = false

  /// At most this many are accepted in a turn, so that those who are connected go on being served.
  private static let acceptsPerTurn = 64

  /// - Parameters:
  ///   - descriptor: a listening socket; the listener closes it.
  ///   - onAccept: receives each client's descriptor and address and owns the descriptor from then on.
  package init(
    descriptor: Int32, loop: EventLoop, maximumConnections: Int = .max, onAccept: @escaping (Int32, SocketAddress) -> Void
  ) throws(EventLoopError) {
    do { address = try Socket.localAddress(descriptor) } catch { throw .system(error) }
    self.maximumConnections = maximumConnections
    self.onAccept = onAccept
    super.init(descriptor: descriptor, loop: loop)
    try loop.register(self, .readable)
    reserve = openReserveDescriptor()
  }

  /// Accepts those who are in the kernel's queue already, who would see their connection reset, and no more.
  package func closeBehindQueue() {
    guard !isClosed else { return }
    while !isPaused, loop.connections < maximumConnections {
      guard case .connection(let client, let peer) = Socket.accept(descriptor) else { break }
      try? Socket.setNoDelay(client)
      onAccept(client, peer)
    }
    close()
  }

  /// Accepts no more; the port is free when all listeners on it are closed.
  package func close() {
    guard !isClosed else { return }
    isClosed = true
    loop.unregister(self)
    Socket.close(descriptor)
    if let reserve { Socket.close(reserve) }
    reserve = nil
  }

  override func onLoopEnd() { close() }

  override func onEvent(_ events: PollEvents) {
    for _ in 0..<Self.acceptsPerTurn {
      guard !isClosed else { return }
      guard loop.connections < maximumConnections else {
        loop.report(.connectionLimit)
        return pause()
      }
      switch Socket.accept(descriptor) {
      case .connection(let client, let peer):
        // Without it an answer waits for the client's acknowledgement; a client that lost its connection meanwhile is noticed on reading.
        try? Socket.setNoDelay(client)
        onAccept(client, peer)
      case .empty: return
      case .lost: continue
      case .noDescriptor:
        loop.report(.descriptorsExhausted)
        refuseOne()
        return pause()
      case .failed(let error):
        loop.report(.acceptFailed(error))
        return pause()
      }
    }
  }

  override func onDeadline() {
    guard isPaused, !isClosed else { return }
    isPaused = false
    if reserve == nil { reserve = openReserveDescriptor() }
    loop.changeInterest(self, .readable)
  }

  /// Gives the reserve up to take one client and close it at once: it learns that it is refused instead of waiting.
  private func refuseOne() {
    guard let held = reserve else { return }
    Socket.close(held)
    reserve = nil
    if case .connection(let client, _) = Socket.accept(descriptor) { Socket.close(client) }
    reserve = openReserveDescriptor()
  }

  /// Stops listening for a tick, else a level-triggered listener that cannot accept would spin.
  private func pause() {
    isPaused = true
    loop.changeInterest(self, [])
    setDeadline(after: loop.configuration.tick)
  }

  /// Sockets that listen together on `address`, one for each of `count` loops (SO_REUSEPORT). All get the same port, also when 0 is asked for.
  ///
  /// A forgotten old process of the same user could share the port and take a part of the clients, so a socket that shares nothing is bound
  /// first: it fails when anybody listens there.
  package static func sockets(on address: SocketAddress, count: Int) throws(EventLoopError) -> [Int32] {
    var opened: [Int32] = []
    do throws(SystemCallError) {
      var actual = address
      if address.port != 0 {
        Socket.close(try Socket.bound(to: address, sharing: false))
      } else {
        // A free port that the kernel chooses is shared with nobody, and nobody can slip in as between a probe and its successor.
        let first = try Socket.listening(on: address, sharing: true)
        opened.append(first)
        actual = try Socket.localAddress(first)
      }
      while opened.count < max(1, count) { opened.append(try Socket.listening(on: actual, sharing: true)) }
      return opened
    } catch {
      for descriptor in opened { Socket.close(descriptor) }
      throw error.isAddressInUse ? .addressInUse(address) : .system(error)
    }
  }
}
