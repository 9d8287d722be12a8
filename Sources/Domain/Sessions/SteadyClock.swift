import IntercomCore

/// The wall clock that never goes back while the process lives: setting the machine's clock back must not extend a session (fault 20).
package struct SteadyClock: Sendable {
  private let time: any TimeSource
  private let startWall: WallInstant
  private let start: MonotonicInstant

  package init(_ time: any TimeSource) {
    self.time = time
    startWall = time.wallNow()
    start = time.monotonicNow()
  }

  package func now() -> WallInstant { max(time.wallNow(), startWall.advanced(by: start.duration(to: time.monotonicNow()))) }
}

extension WallInstant {
  /// Whole seconds from here to `other`, saturated.
  package func seconds(to other: WallInstant) -> Int64 {
    let (difference, overflow) = other.seconds.subtractingReportingOverflow(seconds)
    return overflow ? (other < self ? .min : .max) : difference
  }
}
