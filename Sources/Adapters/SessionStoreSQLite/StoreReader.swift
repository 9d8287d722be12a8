import SQLite
import Sessions

/// What a read does; it gives what answers the caller.
typealias ReadWork = @Sendable (RecordTable) throws(SQLiteError) -> @Sendable () -> Void

/// A connection that reads. Not Sendable: it lives on a reader's thread. It sees what is committed and waits for no writer.
final class StoreReader {
  private let file: StoreFile
  private let options: SQLiteSessionStore.Options
  private let health: StoreHealth
  private var open: (connection: SQLiteConnection, table: RecordTable)?

  init(_ file: StoreFile, _ options: SQLiteSessionStore.Options, _ health: StoreHealth) throws(SQLiteError) {
    self.file = file
    self.options = options
    self.health = health
    _ = try reopened()
  }

  /// Does the job and answers it.
  func run(_ job: Job<ReadWork>) {
    guard !job.answer.isGiven else { return }
    do throws(SQLiteError) {
      let (connection, table) = try reopened()
      connection.startRun()
      let answer = try job.work(table)
      health.worked()
      answer()
    } catch {
      if error.cause.asksForNewConnection { open = nil }
      _ = job.answer.refuse(health.failed(error))
    }
  }

  func close() { open = nil }

  private func reopened() throws(SQLiteError) -> (SQLiteConnection, RecordTable) {
    if let open { return open }
    var limits = SQLiteConnection.Options()
    limits.isReader = true
    limits.runMilliseconds = options.runMilliseconds
    limits.busyMilliseconds = options.busyMilliseconds
    let connection = try file.connect(limits)
    let opened = (connection: connection, table: try RecordTable(connection))
    open = opened
    return opened
  }
}
