/// A coarse wheel of ids. Entries are lazy: the owner keeps its true deadline and is put in again when an entry comes too early, so that
/// moving a deadline further away costs nothing.
struct TimerWheel {
  private static let slots: Int64 = 512
  private var buckets = [[UInt64]](repeating: [], count: Int(slots))
  private var current: Int64 = 0
  /// No bucket before this tick has entries.
  private var nextDue: Int64 = .max
  private let length: Int64
  private let start: Int64

  /// - Parameter tick: the length of a tick in nanoseconds.
  init(tick: Int64, start: Int64) {
    length = max(1, tick)
    // Ticks count from 1, so that 0 can mean "not armed".
    self.start = start &- length
  }

  /// The tick that is surely behind `deadline`, or the furthest one that the wheel reaches.
  func tick(for deadline: Int64) -> Int64 {
    let (distance, overflow) = deadline.subtractingReportingOverflow(start)
    let wanted = overflow ? Int64.max : distance / length &+ 1
    return max(current &+ 1, min(wanted, current &+ Self.slots &- 1))
  }

  mutating func insert(_ id: UInt64, at tick: Int64) {
    buckets[Int(tick % Self.slots)].append(id)
    nextDue = min(nextDue, tick)
  }

  /// The first tick with entries that has come, or nil. Time moves on to it.
  mutating func nextDueTick(now: Int64) -> Int64? {
    let tickNow = max(current, (now &- start) / length)
    guard nextDue <= tickNow else {
      // Entries lie at most 511 ticks ahead of `current`, and none before `nextDue`: so time may move on.
      current = tickNow
      return nil
    }
    current = nextDue
    return nextDue
  }

  /// Takes the entries of a tick that has come.
  mutating func take(_ tick: Int64) -> [UInt64] {
    let slot = Int(tick % Self.slots)
    let due = buckets[slot]
    buckets[slot] = []
    nextDue = .max
    for ahead in 1..<Self.slots where !buckets[Int((tick &+ ahead) % Self.slots)].isEmpty {
      nextDue = tick &+ ahead
      break
    }
    return due
  }

  /// When a tick comes, on the clock of `start`.
  func time(of tick: Int64) -> Int64 { start &+ tick &* length }

  /// When the first entry comes, on the clock of `start`; nil when there is none.
  var nextDueTime: Int64? { nextDue == .max ? nil : time(of: nextDue) }
}
