import IntercomCore
import SQLite
import Sessions

/// The statements on the records of one connection. It stays on the connection's thread.
final class RecordTable {
  private struct Row {
    var id: Int64
    var version: UInt64
    var isBuried: Bool
    var expiry: WallInstant
  }

  private let connection: SQLiteConnection
  private let readRecord: SQLiteStatement
  private let findNames: SQLiteStatement
  private let findRow: SQLiteStatement
  private let insertRow: SQLiteStatement
  private let updateRow: SQLiteStatement
  private let deleteRow: SQLiteStatement
  private let readNames: SQLiteStatement
  private let insertName: SQLiteStatement
  private let deleteNames: SQLiteStatement
  private let findDue: SQLiteStatement
  private let findSoonest: SQLiteStatement

  init(_ connection: SQLiteConnection) throws(SQLiteError) {
    self.connection = connection
    readRecord = try connection.prepare("SELECT version, expiry, value FROM records WHERE key = ?1 AND buried = 0 AND expiry > ?2")
    findNames = try connection.prepare(
      """
      SELECT records.key FROM names JOIN records ON records.id = names.record \
      WHERE names.kind = ?1 AND names.word = ?2 AND records.buried = 0 AND records.expiry > ?3 LIMIT ?4
      """)
    findRow = try connection.prepare("SELECT id, version, buried, expiry FROM records WHERE key = ?1")
    insertRow = try connection.prepare("INSERT INTO records (key, version, kind, buried, expiry, value) VALUES (?1, ?2, ?3, ?4, ?5, ?6)")
    updateRow = try connection.prepare("UPDATE records SET version = ?2, buried = ?3, expiry = ?4, value = ?5 WHERE id = ?1")
    deleteRow = try connection.prepare("DELETE FROM records WHERE id = ?1")
    readNames = try connection.prepare("SELECT kind, word FROM names WHERE record = ?1")
    insertName = try connection.prepare("INSERT OR IGNORE INTO names VALUES (?1, ?2, ?3)")
    deleteNames = try connection.prepare("DELETE FROM names WHERE record = ?1")
    findDue = try connection.prepare(
      "SELECT id, buried FROM records WHERE kind = ?1 AND buried = ?2 AND expiry <= ?3 ORDER BY expiry LIMIT ?4")
    findSoonest = try connection.prepare("SELECT id FROM records WHERE kind = ?1 AND buried = 0 ORDER BY expiry LIMIT 1")
  }

  // MARK: Reading

  func read(_ key: RecordKey, now: WallInstant) throws(SQLiteError) -> StoredRecord? {
    var found: StoredRecord?
    var isDamaged = false
    try readRecord.run([Self.bytes(key), .integer(now.seconds)]) { row in
      guard let version = row.integer(0), let expiry = row.integer(1), let value = row.blob(2) else {
        isDamaged = true
        return
      }
      found = StoredRecord(value: value, version: UInt64(bitPattern: version), expiry: WallInstant(seconds: expiry))
    }
    if isDamaged { throw .damaged }
    return found
  }

  func find(_ index: IndexKey, limit: Int, now: WallInstant) throws(SQLiteError) -> [RecordKey] {
    var found: [RecordKey] = []
    var isDamaged = false
    // A negative limit would mean none.
    let values: [SQLiteValue] = [
      .integer(Int64(index.kind.rawValue)), .blob(index.bytes), .integer(now.seconds), .integer(Int64(max(0, limit))),
    ]
    try findNames.run(values) { row in
      if let key = row.blob(0).flatMap(Self.key) { found.append(key) } else { isDamaged = true }
    }
    if isDamaged { throw .damaged }
    return found
  }

  /// Live records and tombstones of each kind, counted in an index without the rows.
  func count() throws(SQLiteError) -> RecordCounts {
    var counts = RecordCounts()
    try connection.prepare("SELECT kind, buried, count(*) FROM records GROUP BY kind, buried").run { row in
      guard let kind = row.integer(0), let isBuried = row.integer(1), let number = row.integer(2),
        let kind = UInt8(exactly: kind).flatMap(RecordKind.init(rawValue:))
      else { return }
      counts.add(kind, isBuried: isBuried != 0, Int(clamping: number))
    }
    return counts
  }

  // MARK: Writing: inside a transaction

  /// Compare and swap. `fresh` gives the version, asked for only when the write takes place.
  func write(_ write: RecordWrite, now: WallInstant, _ state: inout WriterState) throws(SQLiteError) -> Result<
    WriteOutcome, SessionStoreError
  > {
    let row = try row(write.key)
    let isLive = row.map { $0.expiry > now } ?? false
    if let row, isLive, row.isBuried { return .success(.deleted) }
    let current = isLive ? row : nil
    guard current?.version == write.expected else { return .success(.conflict) }
    if current == nil {
      // What is there is over; it may be the one that makes room.
      if let row { try drop(row.id, write.key.kind, isBuried: row.isBuried, &state) }
      guard try makeRoom(for: write.key.kind, now: now, &state) else { return .failure(.full(write.key.kind)) }
    }
    let version = state.nextVersion()
    let stored: [SQLiteValue] = [.integer(Int64(bitPattern: version)), .integer(0), .integer(write.expiry.seconds), .blob(write.value)]
    if let current {
      try updateRow.run([.integer(current.id)] + stored)
      try name(current.id, write.indexes)
    } else {
      let id = try insert(write.key, stored)
      state.counts.add(write.key.kind, isBuried: false, 1)
      try name(id, write.indexes)
    }
    return .success(.written(version: version))
  }

  func delete(_ key: RecordKey, expecting expected: UInt64?, until end: WallInstant, now: WallInstant, _ state: inout WriterState)
    throws(SQLiteError) -> Bool
  {
    let row = try row(key)
    let isLive = row.map { $0.expiry > now } ?? false
    let isTombstone = isLive && row?.isBuried == true
    let current = isLive && !isTombstone ? row : nil
    if let expected, current?.version != expected { return false }
    if let row, isTombstone, row.expiry >= end { return false }
    let isFull = state.counts.tombstones(of: key.kind) >= state.capacity.limit(of: key.kind)
    if end > now, isTombstone || !isFull {
      let stored: [SQLiteValue] = [.integer(Int64(bitPattern: row?.version ?? 0)), .integer(1), .integer(end.seconds), .blob([])]
      if let row {
        try updateRow.run([.integer(row.id)] + stored)
        try deleteNames.run([.integer(row.id)])
        state.counts.add(key.kind, isBuried: row.isBuried, -1)
      } else {
        _ = try insert(key, stored)
      }
      state.counts.add(key.kind, isBuried: true, 1)
    } else if let row, !isTombstone {
      try drop(row.id, key.kind, isBuried: row.isBuried, &state)
    }
    return current != nil
  }

  /// Removes at most `limit` rows that are over and says how many it did.
  func sweep(_ kinds: [RecordKind] = RecordKind.allCases, limit: Int, now: WallInstant, _ state: inout WriterState) throws(SQLiteError)
    -> Int
  {
    var removed = 0
    for kind in kinds {
      for isBuried in [false, true] where removed < limit {
        var due: [Int64] = []
        let values: [SQLiteValue] = [
          .integer(Int64(kind.rawValue)), .integer(isBuried ? 1 : 0), .integer(now.seconds), .integer(Int64(limit - removed)),
        ]
        try findDue.run(values) { row in if let id = row.integer(0) { due.append(id) } }
        for id in due { try drop(id, kind, isBuried: isBuried, &state) }
        removed += due.count
      }
    }
    return removed
  }

  /// Writes a page and leaves everything as it is: a name that no record has comes and goes.
  func probe() throws(SQLiteError) {
    try connection.execute("INSERT OR IGNORE INTO names VALUES (255, x'', 0)")
    try connection.execute("DELETE FROM names WHERE kind = 255 AND record = 0")
  }

  /// Refuses beyond the capacity, except that a flood of logins that nobody finishes pushes out the oldest of them: else it would lock
  /// everybody out for ten minutes.
  private func makeRoom(for kind: RecordKind, now: WallInstant, _ state: inout WriterState) throws(SQLiteError) -> Bool {
    let limit = state.capacity.limit(of: kind)
    guard state.counts.live(of: kind) >= limit else { return true }
    _ = try sweep([kind], limit: maximumSweep, now: now, &state)
    guard state.counts.live(of: kind) >= limit else { return true }
    guard kind == .pendingLogin else { return false }
    var soonest: Int64?
    try findSoonest.run([.integer(Int64(kind.rawValue))]) { row in soonest = row.integer(0) }
    guard let soonest else { return false }
    try drop(soonest, kind, isBuried: false, &state)
    return true
  }

  private func row(_ key: RecordKey) throws(SQLiteError) -> Row? {
    var found: Row?
    var isDamaged = false
    try findRow.run([Self.bytes(key)]) { row in
      guard let id = row.integer(0), let version = row.integer(1), let isBuried = row.integer(2), let expiry = row.integer(3) else {
        isDamaged = true
        return
      }
      found = Row(id: id, version: UInt64(bitPattern: version), isBuried: isBuried != 0, expiry: WallInstant(seconds: expiry))
    }
    if isDamaged { throw .damaged }
    return found
  }

  private func insert(_ key: RecordKey, _ stored: [SQLiteValue]) throws(SQLiteError) -> Int64 {
    guard stored.count == 4 else { throw .misuse }
    try insertRow.run([Self.bytes(key), stored[0], .integer(Int64(key.kind.rawValue)), stored[1], stored[2], stored[3]])
    return connection.lastInsertedRow
  }

  private func drop(_ id: Int64, _ kind: RecordKind, isBuried: Bool, _ state: inout WriterState) throws(SQLiteError) {
    try deleteNames.run([.integer(id)])
    try deleteRow.run([.integer(id)])
    state.counts.add(kind, isBuried: isBuried, -1)
  }

  /// Gives the record exactly these names. Most writes of a session change none, and then none is written.
  private func name(_ id: Int64, _ indexes: [IndexKey]) throws(SQLiteError) {
    let wanted = Set(indexes.map { [$0.kind.rawValue] + $0.bytes })
    var held: Set<[UInt8]> = []
    try readNames.run([.integer(id)]) { row in held.insert([UInt8(clamping: row.integer(0) ?? 255)] + (row.blob(1) ?? [])) }
    guard held != wanted else { return }
    if !held.isEmpty { try deleteNames.run([.integer(id)]) }
    for name in wanted {
      try insertName.run([.integer(Int64(name.first ?? 255)), .blob(Array(name.dropFirst())), .integer(id)])
    }
  }

  private static func bytes(_ key: RecordKey) -> SQLiteValue { .blob([key.kind.rawValue] + key.bytes) }

  private static func key(_ bytes: [UInt8]) -> RecordKey? {
    guard let kind = bytes.first.flatMap(RecordKind.init(rawValue:)) else { return nil }
    return RecordKey(kind: kind, bytes: bytes.dropFirst())
  }
}

/// How many rows one step of sweeping removes: about 2 ms of the writer's time.
let maximumSweep = 200

/// What is to be written.
struct RecordWrite: Sendable {
  let key: RecordKey
  let value: [UInt8]
  let indexes: [IndexKey]
  let expiry: WallInstant
  let expected: UInt64?
}

/// How many records and tombstones there are; those that are over count until they are swept.
struct RecordCounts: Sendable, Equatable {
  private var lives: [RecordKind: Int] = [:]
  private var buried: [RecordKind: Int] = [:]

  func live(of kind: RecordKind) -> Int { lives[kind] ?? 0 }
  func tombstones(of kind: RecordKind) -> Int { buried[kind] ?? 0 }

  mutating func add(_ kind: RecordKind, isBuried: Bool, _ number: Int) {
    if isBuried { buried[kind, default: 0] &+= number } else { lives[kind, default: 0] &+= number }
  }
}

/// What the writer knows beside the file; restored when a write is rolled back, except for versions, which are never given twice.
struct WriterState: Sendable {
  let capacity: StoreCapacity
  var counts = RecordCounts()
  private let opening: UInt64
  private var used: UInt64 = 0

  /// - Parameter opening: the number of this opening of the file, counted durably before the first write.
  init(capacity: StoreCapacity, opening: UInt64) {
    self.capacity = capacity
    self.opening = opening
  }

  /// Greater than all before, those of earlier processes included: the number of the opening above a counter. Of SQLite's 63 bits the counter
  /// has 40 (three years of 10,000 writes a second without a restart), which leaves eight million openings.
  mutating func nextVersion() -> UInt64 {
    used &+= 1
    return opening << 40 &+ used
  }
}
