import IntercomCore
import Sessions

/// The wall clock of sessions as one loop reads it: it counts whole seconds, so it is asked a few times in each and not for every request.
struct LoopClock {
  private let manager: SessionManager
  private var wall: WallInstant
  /// When it was read last, in the loop's nanoseconds.
  private var read: Int64 = .min / 2

  private static let interval: Int64 = 50_000_000

  init(_ manager: SessionManager) {
    self.manager = manager
    wall = manager.now()
  }

  /// - Parameter turn: the loop's own time.
  @inline(__always) mutating func now(_ turn: MonotonicInstant) -> WallInstant {
    if turn.nanoseconds &- read >= Self.interval { ask(turn) }
    return wall
  }

  @inline(never) private mutating func ask(_ turn: MonotonicInstant) {
    wall = manager.now()
    read = turn.nanoseconds
  }
}
