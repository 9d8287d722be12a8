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
  }

  private let advance: (OpeningConnection) -> Progress
  private var isOver = false

  /// - Parameter advance: called whenever the socket has something or takes something.
  package init(descriptor: Int32, loop: EventLoop, advance: @escaping (OpeningConnection) -> Progress) {
    self.advance = advance
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
    if !events.isDisjoint(with: .broken) { return close() }
    switch advance(self) {
    case .waits: break
    case .handedOver:
      isOver = true
      loop.connections -= 1
    case .failed: close()
    }
  }

  override func onDeadline() { close() }
  override func onLoopEnd() { close() }

  /// Gives up.
  package func close() {
    guard !isOver else { return }
    isOver = true
    loop.connections -= 1
    loop.unregister(self)
    Socket.close(descriptor)
  }
}
