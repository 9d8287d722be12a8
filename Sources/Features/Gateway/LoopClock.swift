import IntercomCore

/// The wall clock of sessions as one loop read it last: it counts whole seconds, so it is asked a few times in each and not for every request.
struct LoopClock {
  let wall: WallInstant
  /// When it was read, in the loop's time.
  private let read: Int64

  private static let interval: Int64 = 50_000_000

  init(_ wall: WallInstant, at turn: MonotonicInstant) {
    self.wall = wall
    read = turn.nanoseconds
  }

  /// - Parameter turn: the loop's time now.
  func isDue(_ turn: MonotonicInstant) -> Bool { turn.nanoseconds &- read >= Self.interval }
}
