import FoundationEssentials
import IntercomCore
import IntercomTesting
import SQLite
import SessionStoreSQLite
import Sessions
import Telemetry
import Testing

@Suite("Session store in SQLite: faults")
struct SQLiteFaultTests {
  @Test("kill -9 during writes loses no acknowledged session (fault 10)", .timeLimit(.minutes(Rounds.isFull ? 60 : 5)))
  func killed() async throws {
    let folder = try TestFolder()
    let path = folder.file("sessions.db")
    let rounds = Rounds.count(30, full: 500)
    // Many share a transaction: a store that answers before its commit is caught with most of a group unwritten.
    let tasks = 48
    var random = SplitMix64(state: 4_711)
    var expected: [RecordKey: [UInt8]?] = [:]
    var greatest: UInt64 = 0
    var acknowledged = 0
    for round in 0..<rounds {
      let child = try ChildProcess(StoreWriterProgram.binary, [path, "\(round)", "\(tasks)"], log: "store-writer")
      _ = try await child.line("its first step") { WriterScript.Line($0) != nil }
      try await SystemTime().sleep(for: .milliseconds(Int64.random(in: 5...150, using: &random)))
      child.send(9)
      #expect(try await child.waitForExit() == .signal(9))
      let lines = child.lines.compactMap { WriterScript.Line($0) }
      acknowledged += lines.count
      let before = greatest
      for line in lines where line.version != 0 {
        #expect(line.version > before, "round \(round): version \(line.version) was given before")
        greatest = max(greatest, line.version)
      }
      let store = try await SQLiteSessionStore.open(path: path, time: SystemTime(), log: .none)
      for (key, value) in expected {
        #expect(try await store.read(key)?.value == value, "round \(round): a record of an earlier round changed")
      }
      for task in 0..<tasks {
        let last = lines.filter { $0.task == task }.map(\.step).max() ?? 0
        let read = try await store.read(WriterScript.key(round, task))
        let possible = [last, last + 1].map { WriterScript.value(round, task, step: $0) }
        #expect(possible.contains(read?.value), "round \(round), task \(task): neither step \(last) nor the next is there")
        let found = try await store.find(WriterScript.index(round, task), limit: 2)
        #expect(found == (read == nil ? [] : [WriterScript.key(round, task)]))
        greatest = max(greatest, read?.version ?? 0)
        expected[WriterScript.key(round, task)] = .some(read?.value)
      }
      await store.close()
    }
    #expect(try SQLiteConnection(path: path).text("PRAGMA integrity_check") == "ok")
    #expect(acknowledged > rounds * tasks, "only \(acknowledged) steps were taken")
    try Rounds.keep("\(rounds) times kill -9 during writes: \(acknowledged) acknowledged steps, none lost, every record whole or absent")
  }

  @Test("a second process is refused and told which one has the file; the first is not disturbed")
  func twoProcesses() async throws {
    let fixture = try SQLiteFixture()
    let child = try ChildProcess(StoreWriterProgram.binary, [fixture.path, "0", "1"], log: "store-writer")
    _ = try await child.line("its first step") { WriterScript.Line($0) != nil }
    let error = await fixture.openingError()
    #expect(error?.cause == .held(by: child.identifier))
    #expect(error?.description.contains("another process uses it (process id \(child.identifier))") == true)
    let steps = child.lines.count
    try await waitUntilTrue("more steps of the first process") { child.lines.count > steps }
    child.send(9)
    _ = try await child.waitForExit()
    let store = try await fixture.open()
    let second = await fixture.openingError()
    if case .held = second?.cause {} else { Issue.record("the same process opened it twice: \(String(describing: second))") }
    _ = try await store.create(SQLiteFixture.key(1), [1], expiry: fixture.expiry())
    await store.close()
  }

  @Test(
    "a full disk signs nobody out, says so once, and needs no restart", .enabled(if: TestDisk.isPossible, "needs root for a small disk"))
  func fullDisk() async throws {
    let disk = try await TestDisk(size: "2m")
    let sink = MemorySink()
    let store = try await SQLiteSessionStore.open(path: disk.path + "/sessions.db", time: SystemTime(), log: StructuredLog(to: sink))
    let expiry = SystemTime().wallNow().advanced(by: .seconds(3_600))
    for number in 0..<50 { _ = try await store.create(SQLiteFixture.key(number), SQLiteFixture.value(number), expiry: expiry) }
    let ballast = try await disk.fill()
    var kept = 50
    var refused = 0
    for number in 50..<600 {
      do {
        _ = try await store.create(SQLiteFixture.key(number), SQLiteFixture.value(number), expiry: expiry)
        #expect(refused == 0, "a record was taken after the disk was full: \(number)")
        kept = number + 1
      } catch {
        #expect(isUnavailable(error), "\(error)")
        refused += 1
      }
      if refused == 20 { break }
    }
    #expect(refused == 20)
    for number in 0..<kept { #expect(try await store.read(SQLiteFixture.key(number))?.value == SQLiteFixture.value(number)) }
    let lines = sink.lines.filter { $0.contains("session_store_unavailable") }
    #expect(lines.count == 1 && lines.first?.contains("free space on its disk") == true, "\(lines)")
    try FileManager.default.removeItem(atPath: ballast)
    _ = try await store.create(SQLiteFixture.key(1_000), SQLiteFixture.value(1_000), expiry: expiry)
    // Nobody writes any more: the store finds out by itself.
    try await waitUntilTrue("a recovery", within: .seconds(10)) { sink.lines.contains { $0.contains("session_store_recovered") } }
    #expect(await store.condition() == .works)
    await store.close()
  }

  @Test("a disk that takes a write now and then is not called well, and every new outage is told at once")
  func flapping() async throws {
    let fixture = try SQLiteFixture()
    let store = try await fixture.open { $0.deadline = .milliseconds(300) }
    let other = try SQLiteConnection(path: fixture.path)
    var number = 0
    func write() async throws {
      number += 1
      _ = try await store.create(SQLiteFixture.key(number), [1], expiry: fixture.expiry())
    }
    for outage in 1...2 {
      for _ in 0..<3 {
        try other.execute("BEGIN IMMEDIATE")
        await #expect(throws: SessionStoreError.self) { try await write() }
        try other.execute("ROLLBACK")
        try await write()
        guard case .takesNoWrites = await store.condition() else { throw WaitFailure("it was called well", within: .zero) }
        fixture.time.advance(by: .milliseconds(500))
      }
      #expect(fixture.lines("session_store_unavailable").count == outage)
      fixture.time.advance(by: .seconds(3))
      try await write()
      #expect(await store.condition() == .works)
      #expect(fixture.lines("session_store_recovered").count == outage)
    }
    await store.close()
  }

  @Test("at its page limit the store refuses new sessions and keeps, serves and ends the others")
  func pageLimit() async throws {
    let fixture = try SQLiteFixture()
    let store = try await fixture.open { $0.maximumPages = 100 }
    var kept = 0
    await #expect(throws: SessionStoreError.self) {
      while true {
        _ = try await store.create(SQLiteFixture.key(kept), SQLiteFixture.value(kept), expiry: fixture.expiry())
        kept += 1
      }
    }
    #expect(kept > 20)
    for number in 0..<kept { #expect(try await store.read(SQLiteFixture.key(number))?.value == SQLiteFixture.value(number)) }
    #expect(try await store.delete(SQLiteFixture.key(0), expecting: nil, tombstone: .zero))
    _ = try await store.create(SQLiteFixture.key(kept), SQLiteFixture.value(kept), expiry: fixture.expiry())
    #expect(store.statistics.records(of: .session) == kept)
    await store.close()
  }

  @Test("a read-only disk is refused at the start with what to do", .enabled(if: TestDisk.isPossible, "needs root for a disk"))
  func readOnlyDisk() async throws {
    let disk = try await TestDisk(size: "2m")
    let path = disk.path + "/sessions.db"
    let store = try await SQLiteSessionStore.open(path: path, time: SystemTime(), log: .none)
    await store.close()
    try await disk.makeReadOnly()
    do {
      await (try SQLiteSessionStore.open(path: path, time: SystemTime(), log: .none)).close()
      Issue.record("it was opened")
    } catch {
      #expect("\(error)".contains("Read-only file system; the user that runs Intercom must be able to write the file and its folder"))
    }
  }

  @Test(
    "files that take no writes any more refuse new sessions and serve the old ones", .enabled(if: FrozenFile.isPossible, "needs chattr"))
  func frozen() async throws {
    let fixture = try SQLiteFixture(inMemory: false)
    let store = try await fixture.open()
    _ = try await store.create(SQLiteFixture.key(1), [1], expiry: fixture.expiry())
    let frozen = try await FrozenFile(fixture.path, fixture.path + "-wal")
    for number in 2..<10 {
      do {
        _ = try await store.create(SQLiteFixture.key(number), [1], expiry: fixture.expiry())
        Issue.record("it was written")
      } catch { #expect(isUnavailable(error), "\(error)") }
    }
    #expect(try await store.read(SQLiteFixture.key(1))?.value == [1])
    try await frozen.thaw()
    _ = try await store.create(SQLiteFixture.key(2), [2], expiry: fixture.expiry())
    #expect(fixture.lines("session_store_unavailable").count <= 2 && fixture.lines("session_store_recovered") == [])
    // Works again only when it is sure: nothing has failed for a while.
    fixture.time.advance(by: .seconds(3))
    _ = try await store.create(SQLiteFixture.key(3), [3], expiry: fixture.expiry())
    #expect(fixture.lines("session_store_recovered").count == 1)
    await store.close()
  }

  @Test("a lock that another program holds ends in an error before the deadline, and reading goes on")
  func lockedByAnother() async throws {
    let fixture = try SQLiteFixture()
    let store = try await fixture.open { $0.deadline = .milliseconds(300) }
    _ = try await store.create(SQLiteFixture.key(1), [1], expiry: fixture.expiry())
    let other = try SQLiteConnection(path: fixture.path)
    try other.execute("BEGIN IMMEDIATE")
    await #expect(throws: SessionStoreError.self) { try await store.create(SQLiteFixture.key(2), [2], expiry: fixture.expiry()) }
    #expect(try await store.read(SQLiteFixture.key(1))?.value == [1])
    try other.execute("ROLLBACK")
    #expect(try await store.read(SQLiteFixture.key(2)) == nil)
    _ = try await store.create(SQLiteFixture.key(2), [2], expiry: fixture.expiry())
    await store.close()
  }

  @Test("every call is answered by its deadline, and what was refused before it began is not done later")
  func deadline() async throws {
    let fixture = try SQLiteFixture()
    let store = try await fixture.open { $0.deadline = .seconds(20) }
    let other = try SQLiteConnection(path: fixture.path)
    try other.execute("BEGIN IMMEDIATE")
    // The first keeps the writer waiting for the lock, the second stands behind it.
    let calls = (1...2).map { number in
      Task { try await store.create(SQLiteFixture.key(number), [1], expiry: fixture.expiry()) }
    }
    let moving = Task {
      while !Task.isCancelled {
        fixture.time.advance(by: .seconds(1))
        try await SystemTime().sleep(for: .milliseconds(5))
      }
    }
    for call in calls { await #expect(throws: SessionStoreError.self) { try await call.value } }
    moving.cancel()
    #expect(fixture.lines("session_store_slow").count == 1)
    try other.execute("ROLLBACK")
    _ = try await store.create(SQLiteFixture.key(3), [3], expiry: fixture.expiry())
    for number in 1...2 { #expect(try await store.read(SQLiteFixture.key(number)) == nil, "a refused write was done") }
    await store.close()
  }

  @Test("more waiting calls than the queue holds are refused at once")
  func overload() async throws {
    let fixture = try SQLiteFixture()
    let store = try await fixture.open {
      $0.queueLimit = 5
      $0.deadline = .seconds(1)
    }
    let other = try SQLiteConnection(path: fixture.path)
    try other.execute("BEGIN IMMEDIATE")
    let refusals = await withTaskGroup(of: String.self) { group in
      for number in 0..<30 {
        group.addTask {
          do { return "\(try await store.create(SQLiteFixture.key(number), [1], expiry: fixture.expiry()))" } catch { return "\(error)" }
        }
      }
      return await group.reduce(into: [String]()) { $0.append($1) }
    }
    try other.execute("ROLLBACK")
    #expect(refusals.allSatisfy { $0.contains("unavailable") })
    #expect(refusals.count { $0.contains("too many calls wait for it") } >= 15)
    _ = try await store.create(SQLiteFixture.key(99), [1], expiry: fixture.expiry())
    await store.close()
  }

  @Test("a file that is deleted or replaced under the store takes no writes that would be lost")
  func replaced() async throws {
    let fixture = try SQLiteFixture()
    let store = try await fixture.open()
    _ = try await store.create(SQLiteFixture.key(1), [1], expiry: fixture.expiry())
    try FileManager.default.moveItem(atPath: fixture.path, toPath: fixture.path + ".away")
    for isReplaced in [false, true] {
      if isReplaced { try TestFolder.makeFile(fixture.path) }
      await #expect(throws: SessionStoreError.self) { try await store.create(SQLiteFixture.key(2), [2], expiry: fixture.expiry()) }
      #expect(try await store.read(SQLiteFixture.key(1))?.value == [1])
    }
    try FileManager.default.removeItem(atPath: fixture.path)
    try FileManager.default.moveItem(atPath: fixture.path + ".away", toPath: fixture.path)
    _ = try await store.create(SQLiteFixture.key(2), [2], expiry: fixture.expiry())
    await store.close()
  }
}
