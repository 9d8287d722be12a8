import IntercomCore
import SQLite
import Sessions
import Synchronization
import Telemetry

/// Says once a minute and cause what is wrong with the database, and once that it works again.
final class StoreHealth: Sendable {
  private let log: StructuredLog
  private let time: any TimeSource
  private let path: String
  private let work: StoreMetrics.Work
  private let metrics: StoreMetrics
  private let limiter = RepeatLimiter(interval: .seconds(60), burst: 1)
  private let problem = Mutex<String?>(nil)

  init(_ work: StoreMetrics.Work, path: String, log: StructuredLog, time: any TimeSource, metrics: StoreMetrics) {
    self.work = work
    self.metrics = metrics
    self.path = path
    self.log = log
    self.time = time
  }

  /// What failed last, until something works again; nil when it works.
  var failure: String? { problem.withLock { $0 } }

  /// Logs the failure and gives what the caller gets.
  func failed(_ error: SQLiteError) -> SessionStoreError {
    problem.withLock { $0 = "\(error)" }
    metrics.failed(work, error.cause)
    log.limited(
      by: limiter, now: time.monotonicNow(), key: "\(error.cause)", .error, "session_store_unavailable",
      "The session database fails: \(error). Nobody is signed out; requests that need it get 503. What to do: \(Self.advice(error.cause)).",
      ["work": .string(work.rawValue), "path": .string(path), "cause": .string("\(error.cause)")])
    return .unavailable("the session database: \(error)")
  }

  /// The database did not answer in time, or too much waits for it.
  func overdue(_ what: String) -> SessionStoreError {
    problem.withLock { $0 = what }
    metrics.failed(work, nil)
    log.limited(
      by: limiter, now: time.monotonicNow(), key: what, .warning, "session_store_slow", "The session database is too slow: \(what).",
      ["work": .string(work.rawValue), "path": .string(path)])
    return .unavailable("the session database: \(what)")
  }

  func worked() {
    let failed = problem.withLock { problem in
      defer { problem = nil }
      return problem != nil
    }
    guard failed else { return }
    metrics.worked(work)
    log.limited(
      by: limiter, now: time.monotonicNow(), .info, "session_store_recovered", "The session database works again.",
      ["work": .string(work.rawValue), "path": .string(path)])
  }

  /// What an operator does about it.
  static func advice(_ cause: SQLiteError.Cause) -> String {
    switch cause {
    case .full: "free space on its disk, or raise its limit; no restart is needed"
    case .readOnly: "make its disk, folder and file writable for the user that runs Intercom; no restart is needed"
    case .damaged:
      "stop Intercom, then restore the file from a backup, or move it away with its -wal and -shm: all users then sign in again"
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
