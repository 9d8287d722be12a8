import IntercomCore
import Linux

/// A client's connection before it is known what it speaks: who is behind a proxy, which keys and which protocol are agreed upon. Then another
/// source takes its place (`TCPConnection.start(inPlaceOf:)`).
package final class OpeningConnection: EventSource {
  /// How far it is.
  package enum Progress {
    /// Goes on with the next event.
    case waits
    /// Another source has taken its place.
    case handedOver
    case failed
    /// The client has gone away.
    case ended
  }

  private let advance: (OpeningConnection) -> Progress
  private let gaveUp: (_ isLate: Bool) -> Void
  private var isOver = false
  private var isLingering = false

  /// How long a client that was refused may go on sending.
  private static let lingerTime = Duration.seconds(1)

  /// - Parameters:
  ///   - advance: called whenever the socket has something or takes something.
  ///   - gaveUp: called when the client has gone away before it was over, or the time was up.
  package init(
    descriptor: Int32, loop: EventLoop, advance: @escaping (OpeningConnection) -> Progress, gaveUp: @escaping (_ isLate: Bool) -> Void
  ) {
    self.advance = advance
    self.gaveUp = gaveUp
    super.init(descriptor: descriptor, loop: loop)
  }

  /// Begins; the whole opening must be done within `limit`. Closes the descriptor when that fails.
  package func start(within limit: Duration) throws(EventLoopError) {
    do { try loop.register(self, [.readable, .writable, .peerEnded, .edgeTriggered]) } catch {
      isOver = true
      Socket.close(descriptor)
      throw error
    }
    loop.connections += 1
    setDeadline(after: limit)
  }

  override func onEvent(_ events: PollEvents) {
    guard !isOver else { return }
    if isLingering { return swallow() }
    if !events.isDisjoint(with: .broken) { return giveUp(isLate: false) }
    switch advance(self) {
    case .waits: break
    case .handedOver:
      isOver = true
      loop.connections -= 1
    case .failed: linger()
    case .ended: giveUp(isLate: false)
    }
  }

  override func onDeadline() { isLingering ? close() : giveUp(isLate: true) }
  override func onLoopEnd() { close() }

  /// Ends our direction and waits for the client to end its own: closed at once, while it still sends, the connection would be reset, and with it
  /// goes what it was told (an alert of TLS).
  private func linger() {
    isLingering = true
    Socket.shutdownWriting(descriptor)
    setDeadline(after: Self.lingerTime)
    swallow()
  }

  private func swallow() {
    for _ in 0..<4 {
      let count = loop.received.receive(descriptor)
      if count == Socket.wouldBlock { return }
      guard count > 0 else { return close() }
    }
    // Whoever sends so much does not listen.
    close()
  }

  private func giveUp(isLate: Bool) {
    guard !isOver else { return }
    close()
    gaveUp(isLate)
  }

  private func close() {
    guard !isOver else { return }
    isOver = true
    loop.connections -= 1
    loop.unregister(self)
    Socket.close(descriptor)
  }
}
