import CSQLite
import Linux

/// A connection to a database file. Not Sendable: it stays on the thread that opened it (SQLite is told so and takes no locks of its own).
package final class SQLiteConnection {
  /// What a connection may do and take.
  package struct Options: Sendable {
    /// Refuses every write.
    package var isReader = false
    /// How long a call waits for a lock of another connection, in milliseconds.
    package var busyMilliseconds = 1_000
    /// How long one run of statements may compute; reset by `startRun`.
    package var runMilliseconds = 2_000
    /// Memory for pages, in KiB.
    package var cacheKiB = 4_096
    /// The longest value or row, in bytes: a damaged length must not become an allocation.
    package var maximumValueBytes = 4 << 20
    /// No other process gets at the file, and the index of the log lies in the memory of this process instead of in a mapped file (`-shm`): a
    /// write to such a mapping is SIGBUS when the disk is full. All connections of the process must ask for it.
    package var isExclusive = false

    package init() {}
  }

  private let database: OpaquePointer
  private let clock: RunClock

  /// Opens an existing file (an empty one is a new database). A path without a slash at its beginning is taken from the working folder: the
  /// names that SQLite knows as special (`:memory:`, `file:…`) are ordinary ones here.
  package convenience init(path: String, _ options: Options = Options()) throws(SQLiteError) {
    guard !path.isEmpty, !path.utf8.contains(0) else { throw SQLiteError(code: SQLITE_CANTOPEN) }
    try self.init(name: path.utf8.first == UInt8(ascii: "/") ? path : "./" + path, options)
    do {
      // A file that cannot be opened for writing is silently opened for reading.
      guard sqlite3_db_readonly(database, "main") == 0 else { throw SQLiteError(code: SQLITE_READONLY) }
      try execute("PRAGMA cell_size_check=ON")
      try execute("PRAGMA mmap_size=0")  // a file that shrinks under a mapping is SIGBUS
      try execute("PRAGMA temp_store=MEMORY")
      try execute("PRAGMA cache_size=-\(max(64, options.cacheKiB))")
      if options.isReader { try execute("PRAGMA query_only=ON") }
    }
  }

  /// An empty database in memory.
  package static func inMemory() throws(SQLiteError) -> SQLiteConnection { try SQLiteConnection(name: ":memory:", Options()) }

  private init(name: String, _ options: Options) throws(SQLiteError) {
    var opened: OpaquePointer?
    let flags = SQLITE_OPEN_READWRITE | SQLITE_OPEN_NOMUTEX | SQLITE_OPEN_EXRESCODE
    // [SQLite: The OS Interface](https://sqlite.org/vfs.html#standard_unix_vfses)
    let code = sqlite3_open_v2(name, &opened, flags, options.isExclusive ? "unix-excl" : nil)
    guard code == SQLITE_OK, let opened else {
      // A failed open may leave a handle that tells more, and that must be closed.
      let error = SQLiteError(code: code, systemCode: opened.map { sqlite3_system_errno($0) } ?? 0)
      sqlite3_close_v2(opened)
      throw error
    }
    database = opened
    clock = RunClock(milliseconds: max(1, options.runMilliseconds))
    sqlite3_busy_timeout(database, Int32(clamping: options.busyMilliseconds))
    sqlite3_limit(database, SQLITE_LIMIT_LENGTH, Int32(clamping: options.maximumValueBytes))
    // Every 50,000 steps of the virtual machine, about a millisecond.
    sqlite3_progress_handler(database, 50_000, { runIsOver($0) }, Unmanaged.passUnretained(clock).toOpaque())
    // Nothing in the file may change what our statements do.
    let configured = shim_set_defensive(database)
    guard configured == SQLITE_OK else { throw SQLiteError(code: configured) }
  }

  // Statements that still exist keep the handle alive as a zombie until they go.
  deinit { sqlite3_close_v2(database) }

  /// Gives the statements that follow their time anew.
  package func startRun() { clock.start() }

  /// Compiles one statement; more than one is misuse.
  package func prepare(_ sql: String) throws(SQLiteError) -> SQLiteStatement {
    var statement: OpaquePointer?
    var text = sql
    let (code, rest) = text.withUTF8 { bytes -> (Int32, Int) in
      bytes.withMemoryRebound(to: CChar.self) { characters -> (Int32, Int) in
        var tail: UnsafePointer<CChar>?
        let code = sqlite3_prepare_v3(
          database, characters.baseAddress, Int32(clamping: characters.count), UInt32(SQLITE_PREPARE_PERSISTENT), &statement, &tail)
        guard let base = characters.baseAddress, let tail else { return (code, 0) }
        return (code, characters.count - base.distance(to: tail))
      }
    }
    guard code == SQLITE_OK else { throw failure(code) }
    guard let statement, rest == 0 else {
      sqlite3_finalize(statement)
      throw .misuse
    }
    return SQLiteStatement(statement, of: self)
  }

  /// Compiles and runs one statement.
  package func execute(_ sql: String) throws(SQLiteError) { try prepare(sql).run() }

  /// The integer in the first column of the first row; nil without a row.
  package func integer(_ sql: String) throws(SQLiteError) -> Int64? {
    var value: Int64?
    try prepare(sql).run { row in value = value ?? row.integer(0) }
    return value
  }

  /// The text in the first column of the first row; nil without a row.
  package func text(_ sql: String) throws(SQLiteError) -> String? {
    var value: String?
    try prepare(sql).run { row in value = value ?? row.text(0) }
    return value
  }

  package var lastInsertedRow: Int64 { sqlite3_last_insert_rowid(database) }
  /// Rows written since the connection was opened.
  package var changes: Int64 { sqlite3_total_changes64(database) }

  /// A transaction is open. Some errors end it by themselves.
  package var isInTransaction: Bool { sqlite3_get_autocommit(database) == 0 }

  /// The path names another file than the open one, or none: what is written now is lost at the next start.
  package var hasMoved: Bool { shim_has_moved(database) != 0 }

  func failure(_ code: Int32) -> SQLiteError {
    // Only these come from system calls; else the number is left over from an earlier one.
    let hasSystemCode = [SQLITE_IOERR, SQLITE_CANTOPEN, SQLITE_FULL, SQLITE_READONLY].contains(code & 0xff)
    return SQLiteError(code: code, systemCode: hasSystemCode ? sqlite3_system_errno(database) : 0)
  }
}

/// When the current run must end.
private final class RunClock {
  private let nanoseconds: Int64
  private var end: Int64

  init(milliseconds: Int) {
    nanoseconds = Int64(clamping: milliseconds).multipliedReportingOverflow(by: 1_000_000).partialValue
    end = monotonicNanoseconds() &+ nanoseconds
  }

  func start() { end = monotonicNanoseconds() &+ nanoseconds }
  var isOver: Bool { monotonicNanoseconds() > end }
}

/// Not zero interrupts the statement.
private func runIsOver(_ clock: UnsafeMutableRawPointer?) -> Int32 {
  guard let clock else { return 0 }
  return Unmanaged<RunClock>.fromOpaque(clock).takeUnretainedValue().isOver ? 1 : 0
}
