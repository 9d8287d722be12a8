import Cryptography
import IntercomCore
import IntercomTesting
import Sessions
import Synchronization
import Testing

@Suite("A loop's copies of sessions")
struct SessionCacheTests {
  private let id = SessionID(random: SystemRandom())
  private var key: SessionKey { SessionKey(id) }
  private var ended: EndedSession { EndedSession.of(id, .loggedOut) }

  @Test("an entry is found until its session ends")
  func drop() {
    var cache = SessionCache<Int>()
    let isKept = cache.insert(1, id: id, key: key, ticket: cache.ticket())
    #expect(isKept)
    #expect(cache[id] == 1)
    let dropped = cache.drop([ended])
    #expect(dropped == [1])
    #expect(cache[id] == nil && cache.count == 0)
  }

  @Test("a load that began before an end keeps nothing after it (fault 26)")
  func race() {
    var cache = SessionCache<Int>()
    let ticket = cache.ticket()
    cache.drop([ended])
    let isKept = cache.insert(1, id: id, key: key, ticket: ticket)
    #expect(!isKept)
    let other = SessionID(random: SystemRandom())
    let isOtherKept = cache.insert(2, id: other, key: SessionKey(other), ticket: ticket)
    #expect(isOtherKept)
  }

  @Test("when more ends arrive during a load than are remembered, its result is thrown away")
  func forgottenEnds() {
    var cache = SessionCache<Int>(endsKept: 10)
    let ticket = cache.ticket()
    cache.drop([ended])
    for _ in 0..<20 { cache.drop([EndedSession.of(SessionID(random: SystemRandom()), .idle)]) }
    let isKept = cache.insert(1, id: id, key: key, ticket: ticket)
    #expect(!isKept)
    let other = SessionID(random: SystemRandom())
    let isOtherKept = cache.insert(1, id: other, key: SessionKey(other), ticket: ticket)
    #expect(!isOtherKept)
    let isNewKept = cache.insert(1, id: other, key: SessionKey(other), ticket: cache.ticket())
    #expect(isNewKept)
  }

  @Test("a session in use stays although ten times as many as fit pass by once")
  func hotSession() {
    var cache = SessionCache<Int>(capacity: 1_000)
    _ = cache.insert(-1, id: id, key: key, ticket: cache.ticket())
    for number in 0..<10_000 {
      let other = SessionID(random: SystemRandom())
      _ = cache.insert(number, id: other, key: SessionKey(other), ticket: cache.ticket())
      let found = cache.use(id)
      #expect(found == -1)
    }
    #expect(cache.count == 1_000)
  }

  @Test("when all are in use one goes all the same, and ends free places that are used again")
  func allInUse() {
    var cache = SessionCache<Int>(capacity: 100)
    var known: [SessionID] = []
    for number in 0..<300 {
      let id = SessionID(random: SystemRandom())
      let isKept = cache.insert(number, id: id, key: SessionKey(id), ticket: cache.ticket())
      #expect(isKept && cache[id] == number && cache.count <= 100)
      known.append(id)
      for id in known { _ = cache.use(id) }
      if number % 7 == 0, let held = known.last(where: { cache[$0] != nil }) {
        #expect(cache.drop([EndedSession.of(held, .loggedOut)]).count == 1)
        #expect(cache[held] == nil)
      }
      if number % 11 == 0 { cache.remove(id) }
    }
    // What is found is what was kept under this id, never another's.
    for (number, id) in known.enumerated() { #expect(cache[id] == nil || cache[id] == number) }
  }

  @Test("it never holds more than its capacity")
  func capacity() {
    var cache = SessionCache<Int>(capacity: 10)
    for number in 0..<100 {
      let id = SessionID(random: SystemRandom())
      let isKept = cache.insert(number, id: id, key: SessionKey(id), ticket: cache.ticket())
      #expect(isKept)
      #expect(cache.count <= 10 && cache[id] == number)
    }
  }
}

/// Counts from many tasks.
final class Tally: Sendable {
  private let value = Atomic<Int>(0)
  var count: Int { value.load(ordering: .relaxed) }
  func add() { value.wrappingAdd(1, ordering: .relaxed) }
}

/// A loop as the gateway has them: its own cache, filled from the store, emptied when told.
private actor Loop: SessionEndObserver {
  private var cache = SessionCache<Session>()
  private let manager: SessionManager
  init(_ manager: SessionManager) { self.manager = manager }

  func sessionsEnded(_ sessions: [EndedSession]) { cache.drop(sessions) }

  /// Would a request with this id be let through now?
  func authorises(_ id: SessionID) async -> Bool {
    if cache[id] != nil { return true }
    let ticket = cache.ticket()
    guard let session = try? await manager.load(id).session else { return false }
    return cache.insert(session, id: id, key: session.key, ticket: ticket)
  }
}

@Suite("Logout against loops")
struct LogoutRaceTests {
  @Test("back-channel logout racing 200 requests on four loops: after its answer no new request is authorised, 100 times (fault 26)")
  func backChannelRace() async throws {
    let time = ManualTime()
    let manager = SessionManager(store: MemorySessionStore(time: time), keys: try .test(), time: time, random: SystemRandom())
    let loops = (0..<4).map { _ in Loop(manager) }
    for loop in loops { manager.add(loop) }
    let wrong = Tally()
    let right = Tally()
    for round in 0..<100 {
      let sid = Identifier("sid-\(round)")
      let id = try await manager.create(from: .example(sid: sid, now: manager.now())).id
      let isOver = Flag()
      await withTaskGroup(of: Void.self) { group in
        for number in 0..<200 {
          group.addTask {
            let isNew = isOver.isSet
            let passed = await loops[number % 4].authorises(id)
            if passed { (isNew ? wrong : right).add() }
          }
          if number == 100 {
            group.addTask {
              _ = try? await manager.backChannelLogout(
                issuer: "https://id.example", subject: nil, sid: sid, tokenID: sid, expiry: manager.now().advanced(by: .seconds(60)))
              isOver.set()
            }
          }
        }
      }
      #expect(isOver.isSet && wrong.count == 0)
      for loop in loops { #expect(await !loop.authorises(id)) }
    }
    #expect(right.count > 100)
  }
}
