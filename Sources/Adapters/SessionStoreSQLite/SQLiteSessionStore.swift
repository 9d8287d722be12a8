import IntercomCore
import SQLite
import Sessions
import Telemetry

/// Keeps records in one file that survives restarts and `kill -9`: the default of a single instance.
///
/// One thread writes, with group commit; a few read. Every call has a deadline and the queues are bounded: what cannot be done in time is
/// `unavailable`, as is every failure of disk or file, and never "no record". What was answered is on the disk
/// (docs/decisions/0005-sessions-in-sqlite.md). One process at a time uses the file.
package final class SQLiteSessionStore: SessionStore {
  /// Bounds of a store.
  package struct Options: Sendable {
    /// How many records of each kind may exist at once.
    package var capacity = StoreCapacity(sessions: 1_000_000, pendingLogins: 20_000, seenTokenIDs: 1_000_000, leases: 10_000)
    /// From call to answer.
    package var deadline = Duration.seconds(2)
    /// Threads that read.
    package var readers = 2
    /// Calls that wait for the writer, and for the readers.
    package var queueLimit = 8_192
    /// Values that wait for the writer, in bytes.
    package var queueBytes = 64 << 20
    /// The file's limit in pages of 4 KiB; nil: its disk.
    package var maximumPages: Int?
    var schema = Schema.current

    package init() {}

    /// Waiting for a lock leaves half of the deadline for the work.
    var busyMilliseconds: Int { max(1, runMilliseconds / 2) }
    var runMilliseconds: Int { Int(clamping: max(1, deadline.wholeNanoseconds / 1_000_000)) }
  }

  /// What the store did and holds.
  package struct Statistics: Sendable {
    /// Transactions that wrote for callers.
    package var groups = 0
    /// Writes and deletions asked for.
    package var writes = 0
    var counts = RecordCounts()

    /// Records of this kind; expired ones count until they are swept.
    package func records(of kind: RecordKind) -> Int { counts.live(of: kind) }
    package func tombstones(of kind: RecordKind) -> Int { counts.tombstones(of: kind) }
  }

  private let engine: StoreEngine

  private init(_ engine: StoreEngine) { self.engine = engine }

  // A store that nobody closed: its threads end after what waits.
  deinit { engine.abandon() }

  /// Opens or creates the file, readable by its owner alone, locks it for this process (`path.lock`) and brings its schema up to date.
  ///
  /// - Parameter registry: gets the store's series; make it before the loops' metrics are made.
  package static func open(
    path: String, time: any TimeSource, log: StructuredLog, registry: MetricRegistry? = nil, options: Options = Options()
  ) async throws(SQLiteStoreOpenError) -> SQLiteSessionStore {
    let file = try StoreFile.claim(path: path)
    let metrics = StoreMetrics(registry)
    let engine = StoreEngine(
      file, options, time: time, writing: StoreHealth(.write, path: path, log: log, time: time, metrics: metrics),
      reading: StoreHealth(.read, path: path, log: log, time: time, metrics: metrics))
    try await engine.start()
    registry?.value("session_store_sessions", help: "Sessions in the database; those that are over count until they are removed.") {
      [weak engine] in engine?.statistics.records(of: .session) ?? 0
    }
    return SQLiteSessionStore(engine)
  }

  /// What `open` would meet, as far as it can be told without opening, locking or making anything.
  package static func obstacle(path: String) -> SQLiteStoreOpenError? { StoreFile.obstacle(path: path) }

  /// Does what waits, then closes the file and gives up its lock. Later calls are `unavailable`.
  package func close() async { await engine.stop() }

  package var statistics: Statistics { engine.statistics }

  /// What the store can do at the moment.
  package enum Condition: Sendable, Equatable {
    case works
    /// Sessions are read, but nobody signs in or out; with the reason.
    case takesNoWrites(String)
    /// Sessions cannot be read; with the reason.
    case fails(String)
  }

  /// Reads from the file, and says how the last write went; after a failed one the store tries by itself, once a second.
  package func condition() async -> Condition {
    do throws(SessionStoreError) { _ = try await read(RecordKey(kind: .lease, naming: ["readiness"])) } catch {
      guard case .unavailable(let reason) = error else { return .fails("\(error)") }
      return .fails(reason)
    }
    return engine.writing.failure.map { .takesNoWrites("the session database: \($0)") } ?? .works
  }

  package func read(_ key: RecordKey) async throws(SessionStoreError) -> StoredRecord? {
    let clock = engine.clock
    return try await reading { (table) throws(SQLiteError) in try table.read(key, now: clock.now()) }
  }

  package func find(_ index: IndexKey, limit: Int) async throws(SessionStoreError) -> [RecordKey] {
    let clock = engine.clock
    return try await reading { (table) throws(SQLiteError) in try table.find(index, limit: limit, now: clock.now()) }
  }

  package func write(
    _ key: RecordKey, _ value: [UInt8], indexes: [IndexKey], expiry: WallInstant, expecting expected: UInt64?
  ) async throws(SessionStoreError) -> WriteOutcome {
    guard value.count <= maximumRecordBytes else { throw .tooLarge }
    let write = RecordWrite(key: key, value: value, indexes: indexes, expiry: expiry, expected: expected)
    let clock = engine.clock
    return try await writing(bytes: value.count) { (table, state) throws(SQLiteError) in
      try table.write(write, now: clock.now(), &state)
    }
  }

  package func delete(_ key: RecordKey, expecting expected: UInt64?, tombstone: Duration) async throws(SessionStoreError) -> Bool {
    let clock = engine.clock
    return try await writing(bytes: 0) { (table, state) throws(SQLiteError) in
      let now = clock.now()
      let done = try table.delete(key, expecting: expected, until: now.advanced(by: tombstone), now: now, &state)
      return .success(done)
    }
  }

  private func reading<Value: Sendable>(
    _ work: @escaping @Sendable (RecordTable) throws(SQLiteError) -> Value
  ) async throws(SessionStoreError) -> Value {
    try await engine.call(engine.reads, engine.reading, bytes: 0) { (answer: Answer<Value>) -> ReadWork in
      let job: ReadWork = { (table: RecordTable) throws(SQLiteError) -> @Sendable () -> Void in
        let value = try work(table)
        return { _ = answer.give(.success(value)) }
      }
      return job
    }
  }

  private func writing<Value: Sendable>(
    bytes: Int, _ work: @escaping @Sendable (RecordTable, inout WriterState) throws(SQLiteError) -> Result<Value, SessionStoreError>
  ) async throws(SessionStoreError) -> Value {
    try await engine.call(engine.writes, engine.writing, bytes: bytes) { (answer: Answer<Value>) -> WriteWork in
      let job: WriteWork = { (table: RecordTable, state: inout WriterState) throws(SQLiteError) -> @Sendable () -> Void in
        let result = try work(table, &state)
        return { _ = answer.give(result) }
      }
      return job
    }
  }
}
