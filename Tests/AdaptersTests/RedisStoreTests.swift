import EventLoop
import IntercomCore
import IntercomTesting
import SessionStoreRedis
import Sessions
import Synchronization
import Telemetry
import Testing
import Workers

/// A store on a Redis of a test's own.
struct RedisFixture {
  let server: RedisServer
  let loops: EventLoopGroup
  let workers: Workers
  let time = ShiftedTime()
  let sink = MemorySink()

  init(_ settings: [String] = []) async throws {
    server = try await RedisServer(settings)
    loops = try EventLoopGroup(count: 1)
    workers = try Workers(threads: 1)
  }

  func store(port: Int? = nil, _ change: (inout RedisSettings) -> Void = { _ in }) async -> RedisSessionStore {
    var settings = RedisSettings(host: "127.0.0.1", port: port ?? server.port)
    change(&settings)
    return await RedisSessionStore(
      settings, on: loops.loops[0], resolver: NameResolver(workers: workers), time: time, random: SystemRandom(),
      log: StructuredLog(to: sink))
  }

  func stop(_ stores: RedisSessionStore...) async {
    for store in stores { await store.close() }
    await loops.stop()
    workers.stop()
  }

  func expiry(_ seconds: Int64 = 600) -> WallInstant { time.wallNow().advanced(by: .seconds(seconds)) }

  static func key(_ number: Int, _ kind: RecordKind = .session) -> RecordKey { RecordKey(kind: kind, naming: [Identifier("\(number)")]) }
}

/// Hears what changed.
final class ChangeRecorder: SessionCopyHolder {
  struct Heard {
    var keys: [SessionKey] = []
    var all = 0
  }
  let heard = Mutex(Heard())
  func sessionsChanged(_ keys: [SessionKey]) async { heard.withLock { $0.keys += keys } }
  func allSessionsChanged() async { heard.withLock { $0.all += 1 } }
}

@Suite("Session store in Redis", .enabled(if: RedisServer.isAvailable), .timeLimit(.minutes(2)))
struct RedisStoreTests {
  @Test("A call takes no longer than those who hold leases count on")
  func deadline() { #expect(RedisSettings(host: "127.0.0.1").deadline <= SessionManager.storeDeadline) }

  @Test("Closing it is no loss: the log is silent; later calls are unavailable, and no copy is good")
  func closed() async throws {
    let fixture = try await RedisFixture()
    let store = await fixture.store()
    _ = try await store.create(RedisFixture.key(1), [7], expiry: fixture.expiry())
    try await waitUntilTrue("copies that are good") { store.watch.lease.isValid(fixture.time.monotonicNow()) }
    await store.close()
    #expect(store.watch.failure != nil && !store.watch.lease.isValid(fixture.time.monotonicNow()))
    await #expect(throws: SessionStoreError.self) { _ = try await store.read(RedisFixture.key(1)) }
    #expect(fixture.sink.lines == [])
    await fixture.stop()
  }

  @Test("A database by its number is another place, and others' keys are left alone")
  func databases() async throws {
    let fixture = try await RedisFixture()
    let (here, there) = (await fixture.store(), await fixture.store { $0.database = 3 })
    try await fixture.server.command("SET", "sess:of-somebody-else", "x")
    _ = try await here.create(RedisFixture.key(1), [1], expiry: fixture.expiry())
    #expect(try await there.read(RedisFixture.key(1)) == nil)
    _ = try await there.create(RedisFixture.key(1), [2], expiry: fixture.expiry())
    #expect(try await here.read(RedisFixture.key(1))?.value == [1])
    #expect(try await fixture.server.command("GET", "sess:of-somebody-else") == ["x"])
    await fixture.stop(here, there)
  }

  @Test("Index entries whose records were evicted are removed by whoever meets them, young ones are not")
  func staleEntries() async throws {
    let fixture = try await RedisFixture()
    let store = await fixture.store()
    let index = IndexKey(subject: "alice", issuer: "https://id.example")
    for number in 0..<4 {
      _ = try await store.write(RedisFixture.key(number), [1], indexes: [index], expiry: fixture.expiry(3_600), expecting: nil)
      if number == 1 { fixture.time.advance(by: .seconds(700)) }
    }
    let names = try await fixture.server.command("KEYS", "intercom:session:*")
    for name in names { try await fixture.server.command("DEL", name) }
    #expect(names.count == 4)
    _ = try await store.write(RedisFixture.key(9), [1], indexes: [index], expiry: fixture.expiry(3_600), expecting: nil)
    #expect(try await store.find(index, limit: 10) == [RedisFixture.key(9)])
    let name = try #require(try await fixture.server.command("KEYS", "intercom:subject:*").first)
    #expect(try await fixture.server.command("ZCARD", name) == ["3"])
    await fixture.stop(store)
  }

  @Test("obeys every rule of a session store", arguments: SessionStoreConformance.checks)
  func conformance(_ check: SessionStoreConformance.Check) async throws {
    let fixture = try await RedisFixture()
    let store = await fixture.store()
    let time = fixture.time
    let failure: (any Error)?
    do {
      try await check.run(SessionStoreConformance.Subject(store: store, time: time, walks: 0.1, advance: { time.advance(by: $0) }))
      failure = nil
    } catch { failure = error }
    await fixture.stop(store)
    if let failure { throw failure }
  }
}
