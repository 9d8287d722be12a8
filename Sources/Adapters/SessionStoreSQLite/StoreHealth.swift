import IntercomCore
import SQLite
import Sessions
import Synchronization
import Telemetry

/// Says once a minute and cause what is wrong with the database, and once that it works again.
final class StoreHealth: Sendable {
  private struct State {
    /// What failed last; nil while the database works.
    var problem: String?
    var lastFailure = MonotonicInstant(nanoseconds: 0)
    /// Of this outage: the first line of the next one is always written, so that the last line of the log is true.
    var limiter = StoreHealth.newLimiter()
  }

  private let log: StructuredLog
  private let time: any TimeSource
  private let path: String
  private let work: StoreMetrics.Work
  private let metrics: StoreMetrics
  private let state = Mutex(State())

  /// A full disk takes a small write now and then: it works again when nothing has failed for this time.
  private static let calm = Duration.seconds(3)
  private static func newLimiter() -> RepeatLimiter { RepeatLimiter(interval: .seconds(60), burst: 1) }

  init(_ work: StoreMetrics.Work, path: String, log: StructuredLog, time: any TimeSource, metrics: StoreMetrics) {
    self.work = work
    self.metrics = metrics
    self.path = path
    self.log = log
    self.time = time
  }

  /// What failed last, until it works again; nil while it works.
  var failure: String? { state.withLock { $0.problem } }

  /// Logs the failure and gives what the caller gets.
  func failed(_ error: SQLiteError) -> SessionStoreError {
    let (now, limiter) = note("\(error)")
    metrics.failed(work, error.cause)
    log.limited(
      by: limiter, now: now, key: "\(error.cause)", .error, "session_store_unavailable",
      "The session database fails: \(error). Nobody is signed out; requests that need it get 503. What to do: \(Self.advice(error.cause)).\(Self.outlook(error.cause))",
      ["work": .string(work.rawValue), "path": .string(path), "cause": .string(StoreMetrics.name(of: error.cause))])
    return .unavailable("the session database: \(error)")
  }

  /// The database did not answer in time, or too much waits for it.
  func overdue(_ what: String) -> SessionStoreError {
    let (now, limiter) = note(what)
    metrics.failed(work, nil)
    log.limited(
      by: limiter, now: now, key: what, .warning, "session_store_slow", "The session database is too slow: \(what).",
      ["work": .string(work.rawValue), "path": .string(path)])
    return .unavailable("the session database: \(what)")
  }

  private func note(_ problem: String) -> (MonotonicInstant, RepeatLimiter) {
    let now = time.monotonicNow()
    return state.withLock { state in
      if state.problem == nil { state.limiter = Self.newLimiter() }
      state.problem = problem
      state.lastFailure = now
      return (now, state.limiter)
    }
  }

  func worked() {
    guard failure != nil else { return }
    let now = time.monotonicNow()
    let isOver = state.withLock { state in
      guard state.problem != nil, state.lastFailure.duration(to: now) >= Self.calm else { return false }
      state.problem = nil
      return true
    }
    guard isOver else { return }
    metrics.worked(work)
    log.info(
      "session_store_recovered", "The session database works again.", ["work": .string(work.rawValue), "path": .string(path)])
  }

  private static func outlook(_ cause: SQLiteError.Cause) -> String {
    switch cause {
    case .damaged, .moved: ""
    case .full, .readOnly, .busy, .interrupted, .cannotOpen, .inputOutput, .other:
      " It is tried again every second: do not restart Intercom."
    }
  }

  /// What an operator does about it.
  static func advice(_ cause: SQLiteError.Cause) -> String {
    switch cause {
    case .full: "free space on its disk, or raise its limit"
    case .readOnly: "make its disk, folder and file writable for the user that runs Intercom"
    case .damaged:
      "stop Intercom, then restore the file from a backup, or move it away with its -wal: all users then sign in again"
    case .busy: "another program holds a lock on it: end that program"
    case .interrupted:
      "it took too long: look at the load of the disk, and whether the file is damaged (sqlite3 FILE 'PRAGMA quick_check')"
    case .cannotOpen: "the user that runs Intercom must be able to write the file and its folder"
    case .moved: "the open file is no longer at this path: put it back, or restart Intercom"
    case .inputOutput: "look at the disk and the kernel's messages"
    case .other: "look at the memory of the machine; else this is a fault of Intercom"
    }
  }
}
