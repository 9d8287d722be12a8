import IntercomCore
import IntercomTesting
import SessionStoreRedis
import Sessions
import Testing

/// The connection to Redis: how often it is made, whom it takes for the right server, and what it believes.
@Suite("Connection to Redis", .enabled(if: RedisServer.isAvailable), .timeLimit(.minutes(2)))
struct RedisLinkTests {
  /// Why the store is unavailable; nil when it is not.
  private func refusal(_ store: RedisSessionStore) async -> String? {
    do throws(SessionStoreError) { _ = try await store.read(RedisFixture.key(1)) } catch {
      if case .unavailable(let reason) = error { return reason }
    }
    return nil
  }

  @Test(
    "However often it is tried in an outage, holders of copies hear of it once; nobody is asked ten times a second (fault 3)",
    arguments: ["refused", "-LOADING Redis is loading the dataset in memory", "-MASTERDOWN Link with MASTER is down"])
  func outage(_ how: String) async throws {
    let fixture = try await RedisFixture()
    let relay = try TCPRelay(to: fixture.server.port)
    let (store, recorder) = (await fixture.store(port: relay.port) { $0.deadline = .milliseconds(300) }, ChangeRecorder())
    store.watch.attach(recorder)
    try await waitUntilTrue("that copies are good") { store.watch.lease.isValid(fixture.time.monotonicNow()) }
    let told = recorder.heard.withLock { $0.all }
    relay.become(how == "refused" ? .refuses : .says(String(repeating: "\(how)\r\n", count: 3)))
    try await waitUntilTrue("the loss") { store.watch.failure != nil }
    let (before, began) = (relay.connections, SystemTime().monotonicNow())
    // Somebody asks all the time.
    for _ in 0..<8 {
      #expect(await refusal(store) != nil)
      try await SystemTime().sleep(for: .milliseconds(250))
    }
    let attempts = relay.connections - before
    let most = Int(began.duration(to: SystemTime().monotonicNow()) / .milliseconds(100)) + 1
    #expect(attempts >= 2 && attempts <= most, "\(attempts) attempts where \(most) are allowed")
    #expect(recorder.heard.withLock { $0.all } == told + 1)
    relay.become(.refuses)
    relay.become(.passes)
    try await waitUntilTrue("the connection") { store.watch.failure == nil }
    try await waitUntilTrue("that copies are good again") { store.watch.lease.isValid(fixture.time.monotonicNow()) }
    #expect(recorder.heard.withLock { $0.all } == told + 2)
    #expect(fixture.sink.lines.count { $0.contains("session_store_lost") } == 1)
    await fixture.stop(store)
  }

  @Test("A replica of the master is refused by name: it may not know yet that a session has ended (fault 7, fault 26)")
  func replica() async throws {
    let fixture = try await RedisFixture()
    try await fixture.server.command("REPLICAOF", "127.0.0.1", "1")
    let store = await fixture.store { $0.deadline = .milliseconds(500) }
    _ = await refusal(store)
    let reason = try #require(await refusal(store))
    #expect(reason.contains("replica") || reason.contains("slave"), "\(reason)")
    try await fixture.server.command("REPLICAOF", "NO", "ONE")
    try await waitUntilTrue("that it is used") { await refusal(store) == nil }
    await fixture.stop(store)
  }

  @Test("An answer that nobody asked for ends the connection: the next one would be another's (fault 1)")
  func unasked() async throws {
    let fixture = try await RedisFixture()
    let relay = try TCPRelay(to: fixture.server.port)
    relay.become(.says("+OK\r\n+PONG\r\n+OK\r\n+OK\r\n"))
    let store = await fixture.store(port: relay.port) { $0.deadline = .milliseconds(300) }
    _ = await refusal(store)
    try await waitUntilTrue("that it was given up") { store.watch.failure?.contains("not asked") == true }
    relay.become(.refuses)
    relay.become(.passes)
    try await waitUntilTrue("a right answer") { await refusal(store) == nil }
    await fixture.stop(store)
  }

  @Test("An answer of another form ends the connection too (fault 1)")
  func strangeForm() async throws {
    let fixture = try await RedisFixture()
    let relay = try TCPRelay(to: fixture.server.port)
    // The greeting's three answers, to which a read's is the same.
    relay.become(.says("+OK\r\n+PONG\r\n+OK\r\n"))
    let store = await fixture.store(port: relay.port) { $0.deadline = .milliseconds(300) }
    let before = relay.connections
    for _ in 0..<2 { #expect(await refusal(store) != nil) }
    try await waitUntilTrue("another connection") {
      _ = await refusal(store)
      return relay.connections > before + 1
    }
    await fixture.stop(store)
  }

  @Test("While a script keeps the server busy, which then tells no changes, no copy is good (fault 26)")
  func busy() async throws {
    let fixture = try await RedisFixture(["busy-reply-threshold 10"])
    let store = await fixture.store()
    try await waitUntilTrue("that copies are good") { store.watch.lease.isValid(fixture.time.monotonicNow()) }
    async let script = try? fixture.server.command("EVAL", "while true do end", "0")
    try await waitUntilTrue("that no copy is good") { !store.watch.lease.isValid(fixture.time.monotonicNow()) }
    #expect(store.watch.failure == nil)
    try await waitUntilTrue("the script's end") { (try? await fixture.server.command("SCRIPT", "KILL")) == ["OK"] }
    _ = await script
    try await waitUntilTrue("that copies are good again") { store.watch.lease.isValid(fixture.time.monotonicNow()) }
    await fixture.stop(store)
  }

  @Test(
    "What is no record of ours under a session's name is no session, is removed, and can be written over (fault 9)",
    arguments: [["SET", "?", "text"], ["RPUSH", "?", "1"], ["HSET", "?", "v", "one", "x", "never", "d", "x", "t", "no"]])
  func foreign(_ command: [String]) async throws {
    let fixture = try await RedisFixture()
    let store = await fixture.store()
    let (key, index) = (RedisFixture.key(1), IndexKey(subject: "u", issuer: "i"))
    let version = try await store.write(key, [1], indexes: [index], expiry: fixture.expiry(), expecting: nil)
    let name = try #require(try await fixture.server.command("KEYS", "intercom:session:*").first)
    func plant() async throws {
      try await fixture.server.command("DEL", name)
      try await fixture.server.command(command[0], name, and: Array(command[2...]))
    }
    try await plant()
    // A value that does not open is counted, and removed by the version that was read.
    if let read = try await store.read(key) {
      #expect(read.value.isEmpty)
      _ = try await store.delete(key, expecting: read.version, tombstone: .zero)
      #expect(try await store.read(key) == nil)
    }
    try await plant()
    #expect(try await store.find(index, limit: 10).isEmpty)
    #expect(await store.take([key], tombstone: .zero).failure == nil)
    try await plant()
    let again = try await store.write(key, [2], indexes: [index], expiry: fixture.expiry(), expecting: nil)
    guard case .written = version, case .written = again else { throw WaitFailure("\(version), \(again)", within: .zero) }
    #expect(try await store.read(key)?.value == [2])
    await fixture.stop(store)
  }

  @Test("A session whose index was evicted is found by it again after its next use (fault 8)")
  func evictedIndex() async throws {
    let fixture = try await RedisFixture()
    let store = await fixture.store()
    let indexes = [IndexKey(subject: "u", issuer: "i"), IndexKey(sid: "s", issuer: "i")]
    var versions: [UInt64] = []
    for number in 0..<2 {
      guard
        case .written(let version) = try await store.write(
          RedisFixture.key(number), [1], indexes: indexes, expiry: fixture.expiry(), expecting: nil)
      else { throw WaitFailure("no record", within: .zero) }
      versions.append(version)
    }
    for name in try await fixture.server.command("KEYS", "intercom:s[iu]*") where !name.hasPrefix("intercom:session") {
      try await fixture.server.command("DEL", name)
    }
    #expect(try await store.find(indexes[0], limit: 10).isEmpty)
    // The second one meets indexes that are there again.
    for number in 0..<2 {
      _ = try await store.write(
        RedisFixture.key(number), [2], indexes: indexes, expiry: fixture.expiry(), expecting: versions[number])
    }
    for index in indexes {
      #expect(Set(try await store.find(index, limit: 10)) == [RedisFixture.key(0), RedisFixture.key(1)])
    }
    await fixture.stop(store)
  }

  @Test("localhost is asked at 127.0.0.1 first, and what the server says there is not hidden by the other address, which refuses")
  func bothAddresses() async throws {
    let fixture = try await RedisFixture(["requirepass secret"])
    let store = await fixture.store {
      $0.host = "localhost"
      $0.password = Secret("wrong")
      $0.deadline = .milliseconds(300)
    }
    try await waitUntilTrue("the reason") { store.watch.failure?.contains("WRONGPASS") == true }
    // Attempts go to both addresses in turn.
    for _ in 0..<40 {
      #expect(store.watch.failure?.contains("WRONGPASS") == true, "\(store.watch.failure ?? "works")")
      try await SystemTime().sleep(for: .milliseconds(50))
    }
    #expect(await refusal(store)?.contains("WRONGPASS") == true)
    await fixture.stop(store)
  }
}
