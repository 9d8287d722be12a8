import FoundationEssentials
import IntercomCore
import IntercomTesting
import SQLite
import Sessions
import Telemetry
import Testing

@testable import SessionStoreSQLite

@Suite("Session store in SQLite")
struct SQLiteSessionStoreTests {
  @Test("obeys every rule of a session store", arguments: SessionStoreConformance.checks)
  func conformance(_ check: SessionStoreConformance.Check) async throws {
    let fixture = try SQLiteFixture()
    let store = try await fixture.open()
    let time = fixture.time
    try await check.run(SessionStoreConformance.Subject(store: store, time: time, advance: { time.advance(by: $0) }))
    await store.close()
    #expect(fixture.lines("session_store_unavailable") == [])
  }

  @Test("after closing and opening again every record, index and tombstone is there")
  func reopening() async throws {
    let fixture = try SQLiteFixture()
    let first = try await fixture.open()
    var versions: [Int: UInt64] = [:]
    for number in 0..<100 {
      versions[number] = try await first.create(
        SQLiteFixture.key(number), SQLiteFixture.value(number), [SQLiteFixture.index(number)], expiry: fixture.expiry())
    }
    #expect(try await first.delete(SQLiteFixture.key(0), expecting: nil, tombstone: .seconds(60)))
    await first.close()
    await #expect(throws: SessionStoreError.self) { try await first.read(SQLiteFixture.key(1)) }

    let second = try await fixture.open()
    #expect(second.statistics.records(of: .session) == 99)
    #expect(second.statistics.tombstones(of: .session) == 1)
    for number in 1..<100 {
      let read = try await second.read(SQLiteFixture.key(number))
      #expect(read?.value == SQLiteFixture.value(number) && read?.version == versions[number] && read?.expiry == fixture.expiry())
      #expect(try await second.find(SQLiteFixture.index(number), limit: 2) == [SQLiteFixture.key(number)])
    }
    let late = try await second.write(SQLiteFixture.key(0), [1], indexes: [], expiry: fixture.expiry(), expecting: nil)
    #expect(late == .deleted, "a restart forgot a tombstone: a late writer brings an ended session back")
    await second.close()
  }

  @Test("a version is never given twice, restarts and deletions in between or not")
  func versionsAcrossRestarts() async throws {
    let fixture = try SQLiteFixture()
    var last: UInt64 = 0
    for _ in 0..<4 {
      let store = try await fixture.open()
      for _ in 0..<3 {
        let version = try await store.create(SQLiteFixture.key(1, .lease), [], expiry: fixture.expiry())
        #expect(version > last)
        last = version
        _ = try await store.delete(SQLiteFixture.key(1, .lease), expecting: nil, tombstone: .zero)
      }
      await store.close()
    }
  }

  @Test("the file and its log are readable by their owner alone, whatever mode they had")
  func modes() async throws {
    let fixture = try SQLiteFixture()
    try TestFolder.makeFile(fixture.path, mode: 0o666)
    let store = try await fixture.open()
    _ = try await store.create(SQLiteFixture.key(1), [1], expiry: fixture.expiry())
    for name in ["", "-wal", ".lock"] {
      let mode = try FileManager.default.attributesOfItem(atPath: fixture.path + name)[.posixPermissions] as? Int
      #expect(mode == 0o600, "\(name)")
    }
    await store.close()
  }

  @Test("writes that wait together share a transaction, and one that is refused spoils no other")
  func groupCommit() async throws {
    let fixture = try SQLiteFixture()
    let store = try await fixture.open { $0.capacity.leases = 1 }
    let refused = try await withThrowingTaskGroup(of: Bool.self) { group in
      for number in 0..<400 {
        let key = SQLiteFixture.key(number, number % 4 == 0 ? .lease : .session)
        group.addTask {
          do {
            _ = try await store.create(key, [UInt8(number & 255)], expiry: fixture.expiry())
            return false
          } catch SessionStoreError.full(.lease) { return true }
        }
      }
      return try await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
    }
    let facts = store.statistics
    #expect(facts.writes == 400 && facts.groups < 300, "\(facts.groups) transactions for \(facts.writes) writes")
    #expect(refused == 99)
    #expect(facts.records(of: .session) == 300 && facts.records(of: .lease) == 1)
    for number in 0..<400 where number % 4 != 0 {
      #expect(try await store.read(SQLiteFixture.key(number))?.value == [UInt8(number & 255)])
    }
    await store.close()
  }

  @Test("what is over is removed in the background, in steps beside the writes")
  func sweeping() async throws {
    let fixture = try SQLiteFixture()
    let store = try await fixture.open()
    try await withThrowingTaskGroup(of: Void.self) { group in
      for number in 0..<1_500 {
        group.addTask {
          _ = try await store.create(
            SQLiteFixture.key(number), [1], [SQLiteFixture.index(number)], expiry: fixture.expiry(number < 1_400 ? 60 : 3_600))
        }
      }
      try await group.waitForAll()
    }
    _ = try await store.delete(SQLiteFixture.key(5_000), expecting: nil, tombstone: .seconds(60))
    try await waitUntilTrue("all expired rows gone") {
      fixture.time.advance(by: .seconds(61))
      _ = try await store.read(SQLiteFixture.key(1_450))
      return store.statistics.records(of: .session) == 100 && store.statistics.tombstones(of: .session) == 0
    }
    await store.close()
    let connection = try SQLiteConnection(path: fixture.path)
    #expect(try connection.integer("SELECT count(*) FROM records") == 100)
    #expect(try connection.integer("SELECT count(*) FROM names") == 100, "an expired record leaves its indexes")
  }

  @Test("more sessions than it may hold are refused with a clear error, and old ones stay, also after a restart")
  func fullOfSessions() async throws {
    let fixture = try SQLiteFixture()
    for round in 0..<2 {
      let store = try await fixture.open { $0.capacity.sessions = 3 }
      if round == 0 {
        for number in 0..<3 { _ = try await store.create(SQLiteFixture.key(number), [1], expiry: fixture.expiry(100)) }
      }
      await #expect(throws: SessionStoreError.full(.session)) {
        try await store.create(SQLiteFixture.key(4), [1], expiry: fixture.expiry())
      }
      #expect(try await store.read(SQLiteFixture.key(0)) != nil)
      await store.close()
    }
    let store = try await fixture.open { $0.capacity.sessions = 3 }
    fixture.time.advance(by: .seconds(101))
    _ = try await store.create(SQLiteFixture.key(4), [1], expiry: fixture.expiry())
    await store.close()
  }

  @Test("login flood: logins that nobody finishes push out the oldest of them and lock nobody out (fault 24)")
  func loginFlood() async throws {
    let fixture = try SQLiteFixture()
    let store = try await fixture.open { $0.capacity.pendingLogins = 10 }
    for number in 0..<50 {
      _ = try await store.create(SQLiteFixture.key(number, .pendingLogin), [1], expiry: fixture.expiry(600 + Int64(number)))
    }
    #expect(store.statistics.records(of: .pendingLogin) == 10)
    #expect(try await store.read(SQLiteFixture.key(49, .pendingLogin)) != nil)
    #expect(try await store.read(SQLiteFixture.key(39, .pendingLogin)) == nil)
    await store.close()
  }

  @Test("a clock that is set back does not extend a session (fault 20)")
  func clockSetBack() async throws {
    let fixture = try SQLiteFixture()
    let store = try await fixture.open()
    _ = try await store.create(SQLiteFixture.key(1), [1], expiry: fixture.expiry(60))
    fixture.time.stepWall(by: -3_600)
    fixture.time.advance(by: .seconds(61))
    #expect(try await store.read(SQLiteFixture.key(1)) == nil)
    await store.close()
  }

  @Test("an ended session's value is in none of the files once the store is closed")
  func endedSessionsAreErased() async throws {
    let fixture = try SQLiteFixture()
    let store = try await fixture.open()
    let marker = "a value that must not be found again, whoever looks"
    let value = (0..<100).flatMap { _ in marker.utf8 }
    for number in 0..<20 { _ = try await store.create(SQLiteFixture.key(number), value, expiry: fixture.expiry()) }
    for number in 0..<20 { _ = try await store.delete(SQLiteFixture.key(number), expecting: nil, tombstone: .seconds(60)) }
    await store.close()
    for name in try FileManager.default.contentsOfDirectory(atPath: fixture.folder.path) {
      let bytes = [UInt8](try Data(contentsOf: URL(filePath: fixture.folder.file(name))))
      #expect(!bytes.contains(marker), "\(name)")
    }
  }

  @Test("an older schema is migrated, keeps its records, and is then refused by the older program with a clear message")
  func migration() async throws {
    let fixture = try SQLiteFixture()
    let old = try await fixture.open()
    let version = try await old.create(SQLiteFixture.key(1), [7], expiry: fixture.expiry())
    await old.close()
    let next = Schema(steps: Schema.current.steps + [["ALTER TABLE openings ADD COLUMN note TEXT"]])
    let new = try await fixture.open { $0.schema = next }
    #expect(try await new.read(SQLiteFixture.key(1))?.version == version)
    await new.close()
    let error = await fixture.openingError()
    #expect(error?.cause == .newerSchema(found: 2, known: 1))
    #expect(error?.description.contains("a newer Intercom has written it (schema 2, this one knows up to 1)") == true)
    let again = try await fixture.open { $0.schema = next }
    #expect(try await again.read(SQLiteFixture.key(1))?.value == [7])
    await again.close()
  }
}
