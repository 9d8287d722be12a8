import HTTPMessage
import IntercomCore
import Synchronization

/// Clocks, put ahead by what a test says: hours pass at once, while sleeps take their real time.
package final class ShiftedTime: TimeSource {
  private let system: any TimeSource
  private let shift = Mutex(Duration.zero)
  private let wallShift = Mutex(Duration.zero)

  /// The machine's, or another's: a peer whose clock is off.
  package init(_ base: any TimeSource = SystemTime()) { system = base }

  /// Somebody sets the wall clock, forwards or back, to this distance from the right one; no time passes.
  package func setWall(off distance: Duration) { wallShift.withLock { $0 = distance } }

  /// Puts both clocks ahead.
  package func advance(by duration: Duration) { shift.withLock { $0 += duration } }

  package func monotonicNow() -> MonotonicInstant { system.monotonicNow().advanced(by: shift.withLock { $0 }) }
  package func wallNow() -> WallInstant { system.wallNow().advanced(by: shift.withLock { $0 } + wallShift.withLock { $0 }) }
  package func sleep(for duration: Duration) async throws { try await system.sleep(for: duration) }
}

/// Carries calls whose deadlines are told in shifted time by a transport that knows the machine's clock only.
package struct ShiftedTransport: HTTPTransport {
  private let inner: any HTTPTransport
  private let time: ShiftedTime

  package init(_ inner: any HTTPTransport, _ time: ShiftedTime) {
    self.inner = inner
    self.time = time
  }

  package func send(_ request: OutboundRequest, deadline: MonotonicInstant) async throws(TransportError) -> OutboundResponse {
    let left = time.monotonicNow().duration(to: deadline)
    return try await inner.send(request, deadline: SystemTime().monotonicNow().advanced(by: left))
  }
}
