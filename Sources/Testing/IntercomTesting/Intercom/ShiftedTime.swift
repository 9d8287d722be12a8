import IntercomCore
import Synchronization

/// The machine's clocks, put ahead by what a test says: hours pass at once, while sleeps take their real time.
package final class ShiftedTime: TimeSource {
  private let system = SystemTime()
  private let shift = Mutex(Duration.zero)

  package init() {}

  /// Puts both clocks ahead.
  package func advance(by duration: Duration) { shift.withLock { $0 += duration } }

  package func monotonicNow() -> MonotonicInstant { system.monotonicNow().advanced(by: shift.withLock { $0 }) }
  package func wallNow() -> WallInstant { system.wallNow().advanced(by: shift.withLock { $0 }) }
  package func sleep(for duration: Duration) async throws { try await system.sleep(for: duration) }
}
