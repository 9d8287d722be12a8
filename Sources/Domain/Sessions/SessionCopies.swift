import IntercomCore
import Synchronization

/// Until when copies of sessions that are held outside the store may be used. A store that one process has for itself needs no limit: every end
/// reaches its loops. One that others write to must be heard of again and again: what they ended may be unknown here.
///
/// Read by every request, so it costs one load, and one look at the clock where there is a limit.
package final class CopyLease: Sendable {
  /// Nanoseconds of the monotonic clock.
  private let until: Atomic<Int64>

  /// The longest time for which a store's word is good. Whoever ends a session waits that long for copies that could not be reached.
  package static let length = Duration.seconds(1)
  /// What is waited beyond it, for whoever looked a moment before it was over.
  package static let margin = Duration.milliseconds(250)

  /// Copies are good until the process ends.
  package static let unlimited = CopyLease(until: .max)
  /// They are good for nothing until `extend`.
  package convenience init() { self.init(until: .min) }
  private init(until: Int64) { self.until = Atomic(until) }

  /// Whether a copy may be used at this moment, instead of asking the store.
  package func isValid(_ now: MonotonicInstant) -> Bool { now.nanoseconds < until.load(ordering: .relaxed) }

  /// The same by the clock itself: a loop's time is as old as its turn, which may have been held up for long. The clock is not asked where copies
  /// are good for ever.
  package func isValid(by time: any TimeSource) -> Bool {
    let end = until.load(ordering: .relaxed)
    return end == .max || time.monotonicNow().nanoseconds < end
  }

  /// Good until then.
  package func extend(_ end: MonotonicInstant) { until.store(end.nanoseconds, ordering: .releasing) }
  /// Good for nothing from now on.
  package func end() { until.store(.min, ordering: .releasing) }
}

/// Whoever holds copies of sessions of a store that others write to.
package protocol SessionCopyHolder: Sendable {
  /// Others changed or removed these records. Returns when no copy of before is used any more.
  func sessionsChanged(_ keys: [SessionKey]) async
  /// Any record may have changed: the store was not heard of for a while, or was emptied.
  func allSessionsChanged() async
}
