import EventLoop
import FoundationEssentials
import IntercomCore
import IntercomTesting
import OpenSSL
import SessionStoreRedis
import Sessions
import Testing

@Suite("Redis store in trouble", .enabled(if: RedisServer.isAvailable), .timeLimit(.minutes(2)))
struct RedisFaultTests {
  /// The error is `unavailable`; its text.
  private func unavailable(_ body: () async throws(SessionStoreError) -> Void) async -> String? {
    do throws(SessionStoreError) { try await body() } catch {
      if case .unavailable(let reason) = error { return reason }
    }
    return nil
  }

  @Test("A server that is not there is unavailable in bounded time, never an empty store (fault 2)")
  func notThere() async throws {
    let fixture = try await RedisFixture()
    let store = await fixture.store(port: try FreePort.next()) { $0.deadline = .milliseconds(400) }
    let reason = await unavailable { () throws(SessionStoreError) in _ = try await store.read(RedisFixture.key(1)) }
    #expect(reason != nil)
    #expect(store.watch.failure != nil)
    await fixture.stop(store)
  }

  @Test("A server that comes back is used again, and records of before it went are there as far as it kept them (fault 3)")
  func comesBack() async throws {
    let fixture = try await RedisFixture()
    let relay = try TCPRelay(to: fixture.server.port)
    let store = await fixture.store(port: relay.port) { $0.deadline = .milliseconds(500) }
    _ = try await store.create(RedisFixture.key(1), [7], expiry: fixture.expiry())
    relay.become(.refuses)
    try await waitUntilTrue("the loss of the connection") { store.watch.failure != nil }
    let reason = await unavailable { () throws(SessionStoreError) in _ = try await store.read(RedisFixture.key(1)) }
    #expect(reason != nil)
    relay.become(.passes)
    try await waitUntilTrue("a new connection") { store.watch.failure == nil }
    let read = try await store.read(RedisFixture.key(1))
    #expect(read?.value == [7])
    let lines = fixture.sink.lines
    #expect(lines.count { $0.contains("session_store_lost") } == 1 && lines.count { $0.contains("session_store_back") } == 1)
    await fixture.stop(store)
  }

  @Test("A server that hangs is given up: calls end in their time, and go on when it wakes (fault 4)")
  func hangs() async throws {
    let fixture = try await RedisFixture()
    let store = await fixture.store { $0.deadline = .milliseconds(300) }
    _ = try await store.create(RedisFixture.key(1), [7], expiry: fixture.expiry())
    fixture.server.freeze()
    let reason = await unavailable { () throws(SessionStoreError) in _ = try await store.read(RedisFixture.key(1)) }
    #expect(reason != nil)
    try await waitUntilTrue("that copies are good for nothing") { !store.watch.lease.isValid(fixture.time.monotonicNow()) }
    fixture.server.thaw()
    try await waitUntilTrue("an answer") { (try? await store.read(RedisFixture.key(1)))?.value == [7] }
    await fixture.stop(store)
  }

  @Test("A write whose answer is lost is not sent again; a read is (fault 6)")
  func noReplay() async throws {
    let fixture = try await RedisFixture()
    let relay = try TCPRelay(to: fixture.server.port)
    let store = await fixture.store(port: relay.port) { $0.deadline = .seconds(10) }
    _ = try await store.create(RedisFixture.key(1), [1], expiry: fixture.expiry())
    fixture.server.freeze()
    // The server has these in its buffer and will carry them out when it wakes; the connection that they came on is gone then.
    async let written = unavailable { () throws(SessionStoreError) in
      _ = try await store.write(RedisFixture.key(2), [2], indexes: [], expiry: fixture.expiry(), expecting: nil)
    }
    async let read = store.read(RedisFixture.key(1))
    try await Task.sleep(for: .milliseconds(100))
    relay.become(.refuses)
    relay.become(.passes)
    fixture.server.thaw()
    let (reason, found) = try await (written, read)
    #expect(reason == "Redis did not answer in time")
    #expect(found?.value == [1])
    // Had it been sent again, this would be a conflict with itself that nobody could explain.
    let calls = try await fixture.server.command("INFO", "commandstats")
    #expect(calls.filter { $0.hasPrefix("cmdstat_eval:calls=2,") }.count == 1, "\(calls.filter { $0.contains("eval") })")
    await fixture.stop(store)
  }

  @Test("Answers that come byte by byte are right, and a connection that ends within one is 503 and never a wrong answer (fault 6)")
  func cutAnswers() async throws {
    let fixture = try await RedisFixture()
    let relay = try TCPRelay(to: fixture.server.port)
    let store = await fixture.store(port: relay.port) {
      $0.deadline = .seconds(1)
      $0.pause = .milliseconds(1)
    }
    let value = [UInt8](repeating: 9, count: 40)
    var version = try await store.create(RedisFixture.key(1), value, expiry: fixture.expiry())
    relay.become(.refuses)
    relay.become(.slices(1))
    let read = try await store.read(RedisFixture.key(1))
    #expect(read?.value == value)
    // The greeting alone is some hundred bytes: connections end within it, within the answer of a read, and within that of a write.
    for length in stride(from: 1, through: 900, by: Rounds.count(110, full: 3)) {
      relay.become(.refuses)
      relay.become(.cuts(after: length))
      if let found = try? await store.read(RedisFixture.key(1)) { #expect(found.value == value) }
      let next = value.map { $0 &+ UInt8(truncatingIfNeeded: length) }
      _ = try? await store.write(RedisFixture.key(1), next, indexes: [], expiry: fixture.expiry(), expecting: version)
      relay.become(.refuses)
      relay.become(.passes)
      let after = try await waitUntil("an answer") { try? await store.read(RedisFixture.key(1)) }
      // Written once or not at all, whatever was answered.
      #expect(after.value == value && after.version == version || after.value == next && after.version > version)
      version = try await store.replace(RedisFixture.key(1), value, after.version, expiry: fixture.expiry())
    }
    await fixture.stop(store)
  }

  @Test("A full server refuses new records with a word of its own, and reads on (fault 8)")
  func full() async throws {
    let fixture = try await RedisFixture(["maxmemory 3mb", "maxmemory-policy noeviction"])
    let store = await fixture.store()
    _ = try await store.create(RedisFixture.key(0), [0], expiry: fixture.expiry())
    var refusal: SessionStoreError?
    for number in 1..<200 where refusal == nil {
      do throws(SessionStoreError) {
        _ = try await store.write(
          RedisFixture.key(number), [UInt8](repeating: 1, count: 100_000), indexes: [], expiry: fixture.expiry(), expecting: nil)
      } catch { refusal = error }
    }
    #expect(refusal == .full(.session))
    let read = try await store.read(RedisFixture.key(0))
    #expect(read?.value == [0])
    await fixture.stop(store)
  }

  /// What docs/operations.md says that the user must be allowed.
  private static let allowed = [
    "~intercom:*", "resetchannels", "-@all", "+hmget", "+hset", "+hdel", "+pexpire", "+pttl", "+time", "+zadd", "+zrange", "+zrem", "+eval",
    "+ping", "+client|tracking",
  ]

  @Test("Who may not sign in is told why, without the password; what the operator's guide allows is enough", arguments: [true, false])
  func access(_ isRight: Bool) async throws {
    let guide = [UInt8](FileManager.default.contents(atPath: PackageRoot.path + "/docs/operations.md") ?? Data())
    for word in Self.allowed { #expect(!guide.positions(of: Array(word.utf8)).isEmpty, "\(word)") }
    let fixture = try await RedisFixture([
      "user default off", "user gate on >s3cret-word \(Self.allowed.joined(separator: " "))",
    ])
    let store = await fixture.store {
      $0.user = "gate"
      $0.password = Secret(isRight ? "s3cret-word" : "wr0ng-word")
      $0.deadline = .milliseconds(500)
    }
    let reason = await unavailable { () throws(SessionStoreError) in
      // Everything that a store does.
      let (key, index) = (RedisFixture.key(1), IndexKey(sid: "sid", issuer: "issuer"))
      _ = try await store.read(key)
      guard
        case .written(let version) = try await store.write(key, [1], indexes: [index], expiry: fixture.expiry(), expecting: nil),
        case .written = try await store.write(key, [2], indexes: [], expiry: fixture.expiry(), expecting: version)
      else { throw .contended }
      #expect(try await store.find(index, limit: 1).isEmpty)
      #expect(try await store.delete(key, expecting: nil, tombstone: .seconds(60)))
    }
    #expect(isRight ? reason == nil : reason?.contains("WRONGPASS") == true, "\(reason ?? "")")
    if isRight { try await waitUntilTrue("that copies are good") { store.watch.lease.isValid(fixture.time.monotonicNow()) } }
    #expect(!fixture.sink.lines.contains { $0.contains("-word") })
    await fixture.stop(store)
  }

  @Test("Without client tracking the store works and no copy is ever good; the log says so once")
  func withoutTracking() async throws {
    let fixture = try await RedisFixture(["user default on nopass ~* &* +@all -client|tracking"])
    let relay = try TCPRelay(to: fixture.server.port)
    let store = await fixture.store(port: relay.port)
    for _ in 0..<2 {
      _ = try await store.create(RedisFixture.key(1), [7], expiry: fixture.expiry())
      #expect(try await store.delete(RedisFixture.key(1), expecting: nil, tombstone: .zero))
      #expect(store.watch.failure == nil && !store.watch.lease.isValid(fixture.time.monotonicNow()))
      relay.become(.refuses)
      try await waitUntilTrue("the loss of the connection") { store.watch.failure != nil }
      relay.become(.passes)
    }
    #expect(fixture.sink.lines.count { $0.contains("session_copies_off") } == 1)
    await fixture.stop(store)
  }

  @Test("Over TLS the server's certificate is measured, and a client certificate shown where it is demanded (S33)")
  func tls() async throws {
    let authority = try await TestAuthority()
    let (files, other) = (try await authority.issue("redis", names: "DNS:redis.test"), try await TestAuthority())
    let fixture = try await RedisFixture([
      "tls-port {port}", "tls-cert-file \(files.chain)", "tls-key-file \(files.key)", "tls-ca-cert-file \(authority.path)",
      "tls-auth-clients yes",
    ])
    let client = try await authority.identity("client", names: "DNS:client")
    struct Case {
      let name: String
      let tls: TLSContext?
      let works: Bool
      var says: String?
    }
    let right = try TLSContext(client: try authority.certificates(), identity: client)
    let cases = [
      Case(name: "redis.test", tls: right, works: true), Case(name: "other.test", tls: right, works: false),
      Case(name: "redis.test", tls: try TLSContext(client: try other.certificates(), identity: client), works: false),
      Case(
        name: "redis.test", tls: try TLSContext(client: try authority.certificates()), works: false,
        says: "does it demand a client certificate?"),
      Case(name: "redis.test", tls: nil, works: false),
    ]
    for given in cases {
      let store = await fixture.store {
        $0.tls = given.tls
        $0.serverName = given.name
        $0.deadline = .milliseconds(800)
      }
      let reason = await unavailable { () throws(SessionStoreError) in _ = try await store.read(RedisFixture.key(1)) }
      #expect((reason == nil) == given.works, "\(given.name): \(reason ?? "works")")
      if let says = given.says { #expect(reason?.contains(says) == true, "\(reason ?? "works")") }
      await store.close()
    }
    await fixture.stop()
  }
}

@Suite("Copies of a shared store", .enabled(if: RedisServer.isAvailable), .timeLimit(.minutes(1)))
struct RedisWatchTests {
  private func key(_ number: Int) -> SessionKey? { SessionKey(record: RedisFixture.key(number)) }

  @Test("A replica hears what another changed and removed, not what it did itself, and not of other kinds of record")
  func changes() async throws {
    let fixture = try await RedisFixture()
    let (here, there, recorder) = (await fixture.store(), await fixture.store(), ChangeRecorder())
    here.watch.attach(recorder)
    try await waitUntilTrue("that copies are good") { here.watch.lease.isValid(fixture.time.monotonicNow()) }
    _ = try await here.create(RedisFixture.key(1), [1], expiry: fixture.expiry())
    _ = try await there.create(RedisFixture.key(2, .lease), [1], expiry: fixture.expiry())
    let version = try await there.create(RedisFixture.key(3), [1], expiry: fixture.expiry())
    _ = try await there.delete(RedisFixture.key(3), expecting: version, tombstone: .seconds(60))
    _ = try await there.delete(RedisFixture.key(1), expecting: nil, tombstone: .seconds(60))
    try await waitUntilTrue("both keys") { recorder.heard.withLock { Set($0.keys).count == 2 } }
    let heard = recorder.heard.withLock { Set($0.keys) }
    #expect(heard == Set([key(1), key(3)].compactMap { $0 }))
    await fixture.stop(here, there)
  }

  @Test("When the server was emptied every copy is dropped")
  func emptied() async throws {
    let fixture = try await RedisFixture()
    let (store, recorder) = (await fixture.store(), ChangeRecorder())
    store.watch.attach(recorder)
    try await waitUntilTrue("that copies are good") { store.watch.lease.isValid(fixture.time.monotonicNow()) }
    let before = recorder.heard.withLock { $0.all }
    try await fixture.server.command("FLUSHALL")
    try await waitUntilTrue("that all was dropped") { recorder.heard.withLock { $0.all } > before }
    await fixture.stop(store)
  }

  @Test("Copies are good for a second behind the server's last word, and for nothing when the connection is gone")
  func lease() async throws {
    let fixture = try await RedisFixture()
    let relay = try TCPRelay(to: fixture.server.port)
    let (store, recorder) = (await fixture.store(port: relay.port), ChangeRecorder())
    store.watch.attach(recorder)
    let time = fixture.time
    try await waitUntilTrue("that copies are good") { store.watch.lease.isValid(time.monotonicNow()) }
    #expect(!store.watch.lease.isValid(time.monotonicNow().advanced(by: CopyLease.length)))
    let before = recorder.heard.withLock { $0.all }
    relay.become(.refuses)
    try await waitUntilTrue("that copies are good for nothing") { !store.watch.lease.isValid(time.monotonicNow()) }
    relay.become(.passes)
    try await waitUntilTrue("that they are good again, behind a drop of all") {
      store.watch.lease.isValid(time.monotonicNow()) && recorder.heard.withLock { $0.all } > before
    }
    await fixture.stop(store)
  }
}
