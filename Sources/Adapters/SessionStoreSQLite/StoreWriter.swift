import IntercomCore
import SQLite
import Sessions

/// What a write does inside its group's transaction; it gives what answers the caller, to be called after the commit.
typealias WriteWork = @Sendable (RecordTable, inout WriterState) throws(SQLiteError) -> @Sendable () -> Void

/// The one connection that writes. Not Sendable: it lives on the writer's thread.
///
/// Writes that wait together share a transaction and its fsync(2) (group commit), each behind a savepoint of its own. Nobody hears of a write
/// before it is on the disk.
final class StoreWriter {
  private struct Open {
    let connection: SQLiteConnection
    let table: RecordTable
    let begin: SQLiteStatement
    let commit: SQLiteStatement
    let rollback: SQLiteStatement
    let savepoint: SQLiteStatement
    let release: SQLiteStatement
    let rollbackToSavepoint: SQLiteStatement
  }

  private let file: StoreFile
  private let options: SQLiteSessionStore.Options
  private let health: StoreHealth
  private let clock: SteadyClock
  private var open: Open?
  private var state: WriterState
  private(set) var groups = 0

  /// Opens the file, brings its schema up to date and counts the opening.
  init(_ file: StoreFile, _ options: SQLiteSessionStore.Options, _ health: StoreHealth, _ clock: SteadyClock)
    throws(SQLiteStoreOpenError)
  {
    self.file = file
    self.options = options
    self.health = health
    self.clock = clock
    state = WriterState(capacity: options.capacity, opening: 0)
    do throws(Schema.Fault) {
      let open = try connect()
      do throws(SQLiteError) {
        try open.connection.execute("UPDATE openings SET number = number + 1")
        // Empty only when somebody emptied it: then fencing tokens would begin anew.
        guard let opening = try open.connection.integer("SELECT number FROM openings"), opening > 0 else { throw .damaged }
        state = WriterState(capacity: options.capacity, opening: UInt64(opening))
        state.counts = try open.table.count()
      } catch { throw .database(error) }
      self.open = open
    } catch {
      throw SQLiteStoreOpenError(
        path: file.path,
        cause: {
          switch error {
          case .database(let error): .database(error)
          case .newer(let found, let known): .newerSchema(found: found, known: known)
          case .foreign: .foreign
          }
        }())
    }
  }

  private func connect() throws(Schema.Fault) -> Open {
    let connection: SQLiteConnection
    do throws(SQLiteError) {
      var limits = SQLiteConnection.Options()
      limits.cacheKiB = 8_192
      limits.runMilliseconds = options.runMilliseconds
      limits.busyMilliseconds = options.busyMilliseconds
      connection = try file.connect(limits)
    } catch { throw .database(error) }
    _ = try options.schema.version(connection)
    do throws(SQLiteError) {
      guard try connection.text("PRAGMA journal_mode=WAL") == "wal" else { throw .misuse }
      // docs/decisions/0005-sessions-in-sqlite.md
      try connection.execute("PRAGMA synchronous=FULL")
      // Tokens of ended sessions are sealed, and gone all the same.
      try connection.execute("PRAGMA secure_delete=ON")
      // After a burst the log shrinks to this again, in bytes.
      try connection.execute("PRAGMA journal_size_limit=16777216")
      if let pages = options.maximumPages { try connection.execute("PRAGMA max_page_count=\(pages)") }
    } catch { throw .database(error) }
    try options.schema.migrate(connection)
    do throws(SQLiteError) {
      return Open(
        connection: connection, table: try RecordTable(connection), begin: try connection.prepare("BEGIN IMMEDIATE"),
        commit: try connection.prepare("COMMIT"), rollback: try connection.prepare("ROLLBACK"),
        savepoint: try connection.prepare("SAVEPOINT job"), release: try connection.prepare("RELEASE job"),
        rollbackToSavepoint: try connection.prepare("ROLLBACK TO job"))
    } catch { throw .database(error) }
  }

  /// Does the jobs in one transaction and answers each, after `noted`, so that who is answered finds the figures that follow from it.
  func run(_ jobs: [Job<WriteWork>], noted: () -> Void) {
    guard jobs.contains(where: { !$0.answer.isGiven }) else { return }
    var answers: [@Sendable () -> Void] = []
    var failure: SQLiteError?
    do throws(SQLiteError) {
      let wrote = try inTransaction { (open, state) throws(SQLiteError) in
        // Whoever was told that it failed while it waited, for the lock too, shall not find that it was done.
        for job in jobs where !job.answer.isGiven {
          do throws(SQLiteError) {
            answers.append(try work(job, open, &state))
          } catch {
            // Some errors end the whole transaction; then all jobs have failed.
            guard open.connection.isInTransaction else { throw error }
            failure = error
            let refusal = health.failed(error)
            answers.append { _ = job.answer.refuse(refusal) }
          }
        }
      }
      if wrote, failure == nil { health.worked() }
      groups += 1
    } catch {
      let refusal = health.failed(error)
      noted()
      for job in jobs { _ = job.answer.refuse(refusal) }
      return
    }
    noted()
    for answer in answers { answer() }
  }

  /// Removes some rows that are over; true: there are more. After a failure it also finds out whether the file takes writes again, so that
  /// nobody has to try first.
  func sweep() -> Bool {
    let isProbe = health.failure != nil
    do throws(SQLiteError) {
      var removed = 0
      let now = clock.now()
      _ = try inTransaction { (open, state) throws(SQLiteError) in
        removed = try open.table.sweep(limit: maximumSweep, now: now, &state)
        if isProbe { try open.table.probe() }
      }
      if isProbe { health.worked() }
      return removed >= maximumSweep
    } catch {
      _ = health.failed(error)
      return false
    }
  }

  var counts: RecordCounts { state.counts }

  /// Moves the write-ahead log into the file and closes.
  func close() { open = nil }

  private func work(_ job: Job<WriteWork>, _ open: Open, _ state: inout WriterState) throws(SQLiteError) -> @Sendable () -> Void {
    let counts = state.counts
    try open.savepoint.run()
    do throws(SQLiteError) {
      let answer = try job.work(open.table, &state)
      try open.release.run()
      return answer
    } catch {
      state.counts = counts
      if open.connection.isInTransaction {
        try open.rollbackToSavepoint.run()
        try open.release.run()
      }
      throw error
    }
  }

  /// Commits what `body` did and says whether it changed anything; after an error nothing of it is kept.
  private func inTransaction(_ body: (Open, inout WriterState) throws(SQLiteError) -> Void) throws(SQLiteError) -> Bool {
    let counts = state.counts
    do throws(SQLiteError) {
      let open = try reopened()
      // What is written into a file that nobody finds at the next start would be acknowledged and lost.
      if open.connection.hasMoved { throw .moved }
      open.connection.startRun()
      let changes = open.connection.changes
      try open.begin.run()
      try body(open, &state)
      try open.commit.run()
      return open.connection.changes != changes
    } catch {
      state.counts = counts
      if let open, open.connection.isInTransaction {
        open.connection.startRun()
        do { try open.rollback.run() } catch { self.open = nil }
      }
      if error.cause.asksForNewConnection { open = nil }
      throw error
    }
  }

  private func reopened() throws(SQLiteError) -> Open {
    if let open { return open }
    do throws(Schema.Fault) {
      let opened = try connect()
      open = opened
      return opened
    } catch {
      if case .database(let error) = error { throw error }
      throw .damaged
    }
  }
}
