import Cryptography
import IntercomCore
import IntercomTesting
import Sessions
import Testing

@Suite("Session store in memory")
struct MemorySessionStoreTests {
  @Test("obeys every rule of a session store", arguments: SessionStoreConformance.checks)
  func conformance(_ check: SessionStoreConformance.Check) async throws {
    let time = ManualTime()
    try await check.run(
      SessionStoreConformance.Subject(store: MemorySessionStore(time: time), time: time, advance: { time.advance(by: $0) }))
  }

  @Test("more sessions than it may hold are refused with a clear error, and old ones stay")
  func fullOfSessions() async throws {
    let time = ManualTime()
    let store = MemorySessionStore(time: time, capacity: .init(sessions: 3))
    let expiry = time.wallNow().advanced(by: .seconds(100))
    for number in 0..<3 {
      _ = try await store.write(
        RecordKey(kind: .session, naming: [Identifier("\(number)")]), [1], indexes: [], expiry: expiry, expecting: nil)
    }
    let fourth = RecordKey(kind: .session, naming: ["4"])
    await #expect(throws: SessionStoreError.full(.session)) {
      try await store.write(fourth, [1], indexes: [], expiry: expiry, expecting: nil)
    }
    let held = await store.count(of: .session)
    #expect(held == 3)
    time.advance(by: .seconds(101))
    let later = try await store.write(fourth, [1], indexes: [], expiry: time.wallNow().advanced(by: .seconds(9)), expecting: nil)
    #expect(later != .conflict)
  }

  @Test("login flood: logins that nobody finishes push out the oldest of them and lock nobody out (fault 24)")
  func loginFlood() async throws {
    let time = ManualTime()
    let store = MemorySessionStore(time: time, capacity: .init(pendingLogins: 100))
    let logins = PendingLogins(store: store, keys: try .test(), time: time, random: SystemRandom())
    for number in 0..<500 {
      if number % 50 == 0 { time.advance(by: .seconds(30)) }
      _ = try await logins.begin(.example(), browser: BrowserBinding(random: SystemRandom()))
    }
    let held = await store.count(of: .pendingLogin)
    #expect(held == 100)
    let browser = BrowserBinding(random: SystemRandom())
    let state = try await logins.begin(.example(), browser: browser)
    let taken = try await logins.take(state: Array(state.reveal().utf8), browser: browser)
    #expect(taken.isTaken)
  }

  @Test("expired records are swept, so that the memory of a long run is bounded")
  func sweeping() async throws {
    let time = ManualTime()
    let store = MemorySessionStore(time: time)
    for number in 0..<2_000 {
      let key = RecordKey(kind: .seenTokenID, naming: [Identifier("\(number)")])
      _ = try await store.write(key, [], indexes: [], expiry: time.wallNow().advanced(by: .seconds(60)), expecting: nil)
      time.advance(by: .seconds(1))
    }
    let held = await store.count(of: .seenTokenID)
    #expect(held < 200)
  }

  @Test("who reads the store finds no id, token, subject or claim in it (S29)")
  func nothingReadable() async throws {
    let time = ManualTime()
    let spy = SpyStore(MemorySessionStore(time: time))
    let manager = SessionManager(store: spy, keys: try .test(), time: time, random: SystemRandom())
    let (id, _) = try await manager.create(from: .example(subject: "canary-alice", now: manager.now()))
    let written = await spy.written
    #expect(!written.isEmpty)
    for needle in ["access-0", "refresh-0", "id-token-0", "canary-alice", "sid-1", String(decoding: id.cookieValue, as: UTF8.self)] {
      #expect(!written.contains { $0.contains(Array(needle.utf8)) }, "\(needle) is readable")
    }
  }
}

/// Keeps all bytes that were written: keys, values and indexes.
actor SpyStore: SessionStore {
  private let inner: MemorySessionStore
  private(set) var written: [[UInt8]] = []
  init(_ inner: MemorySessionStore) { self.inner = inner }

  func read(_ key: RecordKey) async throws(SessionStoreError) -> StoredRecord? { try await inner.read(key) }
  func write(
    _ key: RecordKey, _ value: [UInt8], indexes: [IndexKey], expiry: WallInstant, expecting expected: UInt64?
  ) async throws(SessionStoreError) -> WriteOutcome {
    written += [key.bytes, value] + indexes.map(\.bytes)
    return try await inner.write(key, value, indexes: indexes, expiry: expiry, expecting: expected)
  }
  func delete(_ key: RecordKey, expecting expected: UInt64?, tombstone: Duration) async throws(SessionStoreError) -> Bool {
    try await inner.delete(key, expecting: expected, tombstone: tombstone)
  }
  func find(_ index: IndexKey, limit: Int) async throws(SessionStoreError) -> [RecordKey] { try await inner.find(index, limit: limit) }
}

extension KeyRing {
  static func test(_ byte: UInt8 = 7) throws -> KeyRing { try KeyRing([Secret([UInt8](repeating: byte, count: 32))]) }
}

extension PendingTake {
  var isTaken: Bool { if case .taken = self { true } else { false } }
  var isUnknown: Bool { if case .unknown = self { true } else { false } }
}

extension SessionLookup {
  var session: Session? { if case .live(let session) = self { session } else { nil } }
  var isNone: Bool { if case .none = self { true } else { false } }
  var endReason: EndReason? { if case .ended(let reason) = self { reason } else { nil } }
}
