import SQLite

/// The tables of the session database and how an older file becomes a newer one.
struct Schema: Sendable {
  /// What leads from version n (`PRAGMA user_version`; 0 is an empty file) to n + 1. Released steps never change: a new one is appended.
  var steps: [[String]]

  /// "ICS1": marks the file as ours (`PRAGMA application_id`).
  static let applicationID: Int64 = 0x4943_5331
  /// The newest schema that this program knows.
  static let current = Schema(steps: [
    [
      // `key` is the kind's byte and the 32 bytes of the record's key. A tombstone is a row that is buried; its value is empty. `value` stands
      // last: what lies before it is read without the pages that hold it.
      """
      CREATE TABLE records (id INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, version INTEGER NOT NULL, kind INTEGER NOT NULL, \
      buried INTEGER NOT NULL, expiry INTEGER NOT NULL, value BLOB NOT NULL) STRICT
      """,
      "CREATE INDEX records_by_expiry ON records (kind, buried, expiry)",
      "CREATE TABLE names (kind INTEGER NOT NULL, word BLOB NOT NULL, record INTEGER NOT NULL, PRIMARY KEY (kind, word, record)) STRICT, WITHOUT ROWID",
      "CREATE INDEX names_by_record ON names (record)",
      // One row: how often the file was opened, the upper half of every version.
      "CREATE TABLE openings (id INTEGER PRIMARY KEY CHECK (id = 1), number INTEGER NOT NULL) STRICT",
      "INSERT INTO openings VALUES (1, 0)",
    ]
  ])

  /// What is wrong with a file before anything is read from it.
  enum Fault: Error, Equatable {
    case database(SQLiteError)
    case newer(found: Int64, known: Int)
    /// It has tables, but they are not ours.
    case foreign
  }

  /// Reads the version, 0 for an empty file, and changes nothing: what is not ours stays as it is.
  func version(_ connection: SQLiteConnection) throws(Fault) -> Int {
    let facts: (version: Int64, application: Int64, isEmpty: Bool)
    do throws(SQLiteError) {
      facts.version = try connection.integer("PRAGMA user_version") ?? 0
      facts.application = try connection.integer("PRAGMA application_id") ?? 0
      facts.isEmpty = try connection.integer("SELECT count(*) FROM sqlite_schema") == 0
    } catch { throw .database(error) }
    let isNew = facts.isEmpty && facts.version == 0 && facts.application == 0
    guard isNew || facts.application == Self.applicationID, let version = Int(exactly: facts.version), version >= 0 else { throw .foreign }
    guard version <= steps.count else { throw .newer(found: facts.version, known: steps.count) }
    return version
  }

  /// Brings the file to the newest version in one transaction and checks that it has exactly the tables that it must have: a trigger or a view
  /// that somebody put there would run with our statements.
  func migrate(_ connection: SQLiteConnection) throws(Fault) {
    let version = try version(connection)
    let isOurs: Bool
    do throws(SQLiteError) {
      if version < steps.count { try apply(from: version, to: connection) }
      isOurs = try Self.objects(of: connection) == expectedObjects()
    } catch { throw .database(error) }
    guard isOurs else { throw .foreign }
  }

  private func apply(from version: Int, to connection: SQLiteConnection) throws(SQLiteError) {
    try connection.execute("BEGIN IMMEDIATE")
    for step in steps[version...] {
      for statement in step { try connection.execute(statement) }
    }
    try connection.execute("PRAGMA application_id=\(Self.applicationID)")
    try connection.execute("PRAGMA user_version=\(steps.count)")
    try connection.execute("COMMIT")
  }

  private func expectedObjects() throws(SQLiteError) -> [String] {
    let fresh = try SQLiteConnection.inMemory()
    try apply(from: 0, to: fresh)
    return try Self.objects(of: fresh)
  }

  private static func objects(of connection: SQLiteConnection) throws(SQLiteError) -> [String] {
    var found: [String] = []
    try connection.prepare("SELECT type || ' ' || name || ' ' || tbl_name || ' ' || coalesce(sql, '') FROM sqlite_schema ORDER BY 1").run {
      row in found.append(row.text(0) ?? "")
    }
    return found
  }
}
