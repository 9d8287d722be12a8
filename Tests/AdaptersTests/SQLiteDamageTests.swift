import FoundationEssentials
import IntercomCore
import IntercomTesting
import SQLite
import SessionStoreSQLite
import Sessions
import Telemetry
import Testing

@Suite("Session store in SQLite: damaged and foreign files")
struct SQLiteDamageTests {
  /// What was in the way of the opening, and words that the message must have.
  struct Refusal: Sendable, CustomStringConvertible {
    let description: String
    let says: String
    let prepare: @Sendable (String) throws -> Void
  }

  static let refusals = [
    Refusal(description: "text", says: "move it away with its -wal") { path in
      try Data(
        "This is not a database at all, and longer than a header of SQLite: one hundred bytes.\n".utf8
          + [UInt8](repeating: 65, count: 5_000)
      )
      .write(to: URL(filePath: path))
    },
    Refusal(description: "the database of another program", says: "it is not a session database of Intercom") { path in
      try TestFolder.makeFile(path)
      try SQLiteConnection(path: path).execute("CREATE TABLE notes (text TEXT)")
    },
    Refusal(description: "a newer schema", says: "a newer Intercom has written it (schema 99") { path in
      try SQLiteConnection(path: path).execute("PRAGMA user_version=99")
    },
    Refusal(description: "a trigger that somebody added", says: "or it was altered") { path in
      try SQLiteConnection(path: path).execute(
        "CREATE TRIGGER t AFTER INSERT ON records BEGIN UPDATE records SET expiry = 9223372036854775807; END")
    },
    Refusal(description: "a missing index", says: "or it was altered") { path in
      try SQLiteConnection(path: path).execute("DROP INDEX records_by_expiry")
    },
    Refusal(description: "a counter of openings that was emptied", says: "move it away with its -wal") { path in
      try SQLiteConnection(path: path).execute("DELETE FROM openings")
    },
    Refusal(description: "a symbolic link", says: "it is a link, a folder or a device") { path in
      try FileManager.default.moveItem(atPath: path, toPath: path + ".target")
      try FileManager.default.createSymbolicLink(atPath: path, withDestinationPath: path + ".target")
    },
    Refusal(description: "a second name", says: "it has a second name") { path in
      try FileManager.default.linkItem(atPath: path, toPath: path + ".second")
    },
    Refusal(description: "a folder in its place", says: "it is a link, a folder or a device") { path in
      try FileManager.default.removeItem(atPath: path)
      try FileManager.default.createDirectory(atPath: path, withIntermediateDirectories: false)
    },
    Refusal(description: "a folder that everybody may write", says: "everybody may replace files in its folder") { path in
      let folder = "/" + path.split(separator: "/").dropLast().joined(separator: "/")
      try FileManager.default.setAttributes([.posixPermissions: 0o777], ofItemAtPath: folder)
    },
  ]

  @Test("is refused with words that say what to do", arguments: refusals)
  func refused(_ refusal: Refusal) async throws {
    let fixture = try SQLiteFixture()
    await (try fixture.open()).close()
    if refusal.description == "text" { try FileManager.default.removeItem(atPath: fixture.path) }
    if refusal.description == "the database of another program" { try FileManager.default.removeItem(atPath: fixture.path) }
    try refusal.prepare(fixture.path)
    let before = try? Data(contentsOf: URL(filePath: fixture.path))
    let error = await fixture.openingError()
    #expect(error?.description.contains(refusal.says) == true, "\(String(describing: error?.description))")
    #expect(try before == nil || Data(contentsOf: URL(filePath: fixture.path)) == before, "the refused file was changed")
  }

  @Test("a missing folder is named")
  func missingFolder() async throws {
    let fixture = try SQLiteFixture()
    do {
      await (try SQLiteSessionStore.open(path: fixture.folder.file("none/sessions.db"), time: fixture.time, log: .none)).close()
      Issue.record("it was opened")
    } catch {
      #expect(error.cause == .file(.noFolder))
      #expect(error.description.contains("its folder does not exist; create it for the user that runs Intercom"))
    }
  }

  @Test("names that SQLite knows as special are ordinary ones", arguments: [":memory:", "file:x?mode=memory", " "])
  func specialNames(_ name: String) async throws {
    let fixture = try SQLiteFixture()
    let path = fixture.folder.file(name)
    let store = try await SQLiteSessionStore.open(path: path, time: fixture.time, log: .none)
    _ = try await store.create(SQLiteFixture.key(1), [1], expiry: fixture.expiry())
    await store.close()
    #expect(FileManager.default.fileExists(atPath: path))
  }

  @Test("a session database that is damaged while it is used is an error, never an absent session, and one line says so")
  func damagedInUse() async throws {
    let fixture = try SQLiteFixture()
    let first = try await fixture.open()
    for number in 0..<500 {
      _ = try await first.create(SQLiteFixture.key(number), SQLiteFixture.value(number), expiry: fixture.expiry())
    }
    await first.close()
    let store = try await fixture.open()
    // Every page but the first is overwritten, by another process: closing the file in this one would drop SQLite's locks.
    let size = try #require(try FileManager.default.attributesOfItem(atPath: fixture.path)[.size] as? Int)
    try await TestDisk.run(
      "dd", ["if=/dev/urandom", "of=\(fixture.path)", "bs=4096", "seek=1", "count=\(size / 4_096 - 1)", "conv=notrunc"])
    for number in 0..<50 {
      await #expect(throws: SessionStoreError.self) { try await store.read(SQLiteFixture.key(number)) }
      await #expect(throws: SessionStoreError.self) {
        try await store.write(SQLiteFixture.key(number), [1], indexes: [], expiry: fixture.expiry(), expecting: nil)
      }
    }
    let lines = fixture.lines("session_store_unavailable")
    #expect(lines.count <= 2 && lines.contains { $0.contains("What to do: stop Intercom, then restore the file") }, "\(lines)")
    await store.close()
  }

  @Test(
    "flipped, cut or overwritten bytes anywhere in the files never end the process or invent a session",
    .timeLimit(.minutes(Rounds.isFull ? 60 : 5)))
  func flippedBits() async throws {
    let source = try SQLiteFixture()
    let first = try await source.open()
    for number in 0..<120 {
      _ = try await first.create(
        SQLiteFixture.key(number), SQLiteFixture.value(number), [SQLiteFixture.index(number)], expiry: source.expiry())
    }
    await first.close()
    let second = try await source.open()
    for number in 120..<200 {
      _ = try await second.create(
        SQLiteFixture.key(number), SQLiteFixture.value(number), [SQLiteFixture.index(number)], expiry: source.expiry())
    }
    // Copied while open: with a log that was not moved into the file.
    let file = [UInt8](try Data(contentsOf: URL(filePath: source.path)))
    let log = [UInt8](try Data(contentsOf: URL(filePath: source.path + "-wal")))
    await second.close()
    #expect(file.count > 100_000 && log.count > 100_000)
    let rounds = Rounds.count(40, full: 2_000)
    var random = SplitMix64(state: 99)
    var tally = (refused: 0, unavailable: 0, absent: 0, whole: 0, changed: 0)
    for round in 0..<rounds {
      let fixture = try SQLiteFixture(time: source.time)
      var damaged = (file, log)
      Self.damage(&damaged.0, round, &random)
      if round % 3 == 0 { Self.damage(&damaged.1, round / 3, &random) }
      try Data(damaged.0).write(to: URL(filePath: fixture.path))
      try Data(damaged.1).write(to: URL(filePath: fixture.path + "-wal"))
      guard let store = try? await fixture.open() else {
        tally.refused += 1
        continue
      }
      for number in stride(from: round % 7, to: 200, by: 7) {
        do {
          let read = try await store.read(SQLiteFixture.key(number))
          if read == nil {
            tally.absent += 1
          } else if read?.value == SQLiteFixture.value(number) {
            tally.whole += 1
          } else {
            tally.changed += 1
          }
          _ = try await store.find(SQLiteFixture.index(number), limit: 10)
          _ = try await store.write(
            SQLiteFixture.key(number), SQLiteFixture.value(number), indexes: [SQLiteFixture.index(number + 1)], expiry: source.expiry(),
            expecting: read?.version)
          _ = try await store.delete(SQLiteFixture.key(number + 3), expecting: nil, tombstone: .seconds(60))
        } catch {
          #expect(isUnavailable(error), "round \(round): \(error)")
          tally.unavailable += 1
        }
      }
      fixture.time.advance(by: .seconds(2))
      await store.close()
    }
    #expect(tally.whole > 0 && tally.refused > 0 && tally.unavailable > 0, "\(tally)")
    try Rounds.keep(
      "\(rounds) damaged copies: \(tally.refused) not opened, \(tally.whole) records read whole, \(tally.absent) absent, no crash")
  }

  private static func damage(_ bytes: inout [UInt8], _ round: Int, _ random: inout SplitMix64) {
    switch round % 5 {
    case 0, 1:
      // The headers of pages are where the structure is.
      for _ in 0..<(1 << Int.random(in: 0...6, using: &random)) {
        let page = Int.random(in: 0..<max(1, bytes.count / 4_096), using: &random) * 4_096
        let index = page + Int.random(in: 0..<(round % 5 == 0 ? 64 : 4_096), using: &random)
        if bytes.indices.contains(index) { bytes[index] ^= 1 << UInt8.random(in: 0..<8, using: &random) }
      }
    case 2: bytes.removeLast(Int.random(in: 1..<bytes.count, using: &random))
    case 3:
      let start = Int.random(in: 0..<bytes.count, using: &random)
      for index in start..<min(bytes.count, start + 6_000) { bytes[index] = UInt8(truncatingIfNeeded: random.next()) }
    default:
      // A page in the place of another.
      let pages = bytes.count / 4_096
      let from = Int.random(in: 0..<pages, using: &random) * 4_096
      let to = Int.random(in: 1..<pages, using: &random) * 4_096
      for index in 0..<4_096 where bytes.indices.contains(to + index) { bytes[to + index] = bytes[from + index] }
    }
  }
}
