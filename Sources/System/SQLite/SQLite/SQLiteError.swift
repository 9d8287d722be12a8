import CSQLite
import Glibc

/// A call of SQLite that failed.
package struct SQLiteError: Error, Sendable, Equatable, CustomStringConvertible {
  /// What is wrong, as far as a caller acts on it.
  package enum Cause: Sendable, Equatable, CaseIterable {
    /// No space on the disk, over the quota, or at the page limit of the database.
    case full
    /// The file, its folder or its disk takes no writes.
    case readOnly
    /// The file is no database or its structure is broken.
    case damaged
    /// Another connection holds a lock for longer than the busy time.
    case busy
    /// It took longer than the time for one run.
    case interrupted
    /// The file cannot be opened.
    case cannotOpen
    /// The path names another file by now, or none.
    case moved
    case inputOutput
    /// A mistake of the program, or no memory.
    case other
  }

  /// Extended result code ([SQLite: Result and Error Codes](https://sqlite.org/rescode.html)); 0 where SQLite was not asked.
  package let code: Int32
  /// errno of the system call behind it; 0: none.
  package let systemCode: Int32
  package let cause: Cause

  package init(code: Int32, systemCode: Int32 = 0) {
    self.code = code
    self.systemCode = systemCode
    cause = Self.cause(code & 0xff, systemCode)
  }

  private init(cause: Cause) {
    code = 0
    systemCode = 0
    self.cause = cause
  }

  package static let moved = SQLiteError(cause: .moved)
  /// A value is not of the type that its column must have.
  package static let damaged = SQLiteError(code: SQLITE_CORRUPT)
  package static let misuse = SQLiteError(code: SQLITE_MISUSE)

  /// Fixed sentences of SQLite and the C library: never SQL, a value or a path.
  package var description: String {
    if cause == .moved { return "the database file was moved, replaced or deleted" }
    let text = "\(String(cString: sqlite3_errstr(code))) (SQLite \(code))"
    return systemCode == 0 ? text : "\(text): \(String(cString: strerror(systemCode)))"
  }

  private static func cause(_ primary: Int32, _ systemCode: Int32) -> Cause {
    // A full disk may show itself as an input/output error, for example while the wal-index grows.
    if systemCode == ENOSPC || systemCode == EDQUOT { return .full }
    if systemCode == EROFS { return .readOnly }
    switch primary {
    case SQLITE_FULL: return .full
    case SQLITE_READONLY, SQLITE_PERM: return .readOnly
    case SQLITE_CORRUPT, SQLITE_NOTADB, SQLITE_FORMAT: return .damaged
    case SQLITE_BUSY, SQLITE_LOCKED, SQLITE_PROTOCOL: return .busy
    case SQLITE_INTERRUPT: return .interrupted
    case SQLITE_CANTOPEN, SQLITE_AUTH: return .cannotOpen
    case SQLITE_IOERR: return .inputOutput
    default: return .other
    }
  }
}
