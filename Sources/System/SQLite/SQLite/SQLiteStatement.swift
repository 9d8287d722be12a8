import CSQLite

/// A value for a parameter of a statement.
package enum SQLiteValue: Sendable, Equatable {
  case null
  case integer(Int64)
  case blob([UInt8])
}

/// A compiled statement; it belongs to the thread of its connection.
package final class SQLiteStatement {
  private let statement: OpaquePointer
  private let connection: SQLiteConnection

  init(_ statement: OpaquePointer, of connection: SQLiteConnection) {
    self.statement = statement
    self.connection = connection
  }

  deinit { sqlite3_finalize(statement) }

  /// Binds the values to ?1, ?2, … and runs to the end; `row` sees each row.
  package func run(_ values: [SQLiteValue] = [], row: (borrowing SQLiteRow) -> Void = { _ in }) throws(SQLiteError) {
    defer {
      sqlite3_reset(statement)
      sqlite3_clear_bindings(statement)
    }
    guard Int(sqlite3_bind_parameter_count(statement)) == values.count else { throw .misuse }
    for (index, value) in values.enumerated() {
      let code = bind(value, at: Int32(clamping: index + 1))
      guard code == SQLITE_OK else { throw connection.failure(code) }
    }
    while true {
      let code = sqlite3_step(statement)
      switch code {
      case SQLITE_ROW: row(SQLiteRow(statement))
      case SQLITE_DONE: return
      default: throw connection.failure(code)
      }
    }
  }

  private func bind(_ value: SQLiteValue, at index: Int32) -> Int32 {
    switch value {
    case .null: return sqlite3_bind_null(statement, index)
    case .integer(let number): return sqlite3_bind_int64(statement, index, number)
    case .blob(let bytes):
      // A blob without an address would be NULL.
      guard !bytes.isEmpty else { return sqlite3_bind_zeroblob(statement, index, 0) }
      return bytes.withUnsafeBytes { shim_bind_blob(statement, index, $0.baseAddress, UInt64($0.count)) }
    }
  }
}

/// The current row, lent while `run` shows it. A column of another type than asked for is nil, never converted: SQLite would make 0 of a blob.
package struct SQLiteRow: ~Copyable {
  private let statement: OpaquePointer

  fileprivate init(_ statement: OpaquePointer) { self.statement = statement }

  package func integer(_ column: Int32) -> Int64? {
    guard sqlite3_column_type(statement, column) == SQLITE_INTEGER else { return nil }
    return sqlite3_column_int64(statement, column)
  }

  package func blob(_ column: Int32) -> [UInt8]? {
    guard sqlite3_column_type(statement, column) == SQLITE_BLOB else { return nil }
    // First the address, then the length: the contract of SQLite.
    guard let bytes = sqlite3_column_blob(statement, column) else { return [] }
    return Array(UnsafeRawBufferPointer(start: bytes, count: Int(sqlite3_column_bytes(statement, column))))
  }

  package func text(_ column: Int32) -> String? {
    guard sqlite3_column_type(statement, column) == SQLITE_TEXT, let bytes = sqlite3_column_text(statement, column) else { return nil }
    return String(decoding: UnsafeBufferPointer(start: bytes, count: Int(sqlite3_column_bytes(statement, column))), as: UTF8.self)
  }
}
