import Cryptography
import IntercomCore
import IntercomTesting
import Sessions
import Telemetry
import Testing

@Suite("Sessions")
struct SessionManagerTests {
  let time = ManualTime()
  let store: FaultySessionStore
  let manager: SessionManager

  init() throws {
    store = FaultySessionStore(MemorySessionStore(time: time))
    manager = SessionManager(
      store: store, keys: try .test(), settings: SessionSettings(idle: .seconds(1_000), absolute: .seconds(10_000)), time: time,
      random: SystemRandom())
  }

  private func login(_ subject: Identifier = "alice", sid: Identifier? = "sid-1", replacing old: SessionID? = nil) async throws -> SessionID
  {
    try await manager.create(from: .example(subject: subject, sid: sid, now: manager.now()), replacing: old).id
  }
  private func isLive(_ id: SessionID) async throws -> Bool { try await manager.load(id).session != nil }

  @Test("a session comes back whole")
  func wholeRecord() async throws {
    let (id, created) = try await manager.create(from: .example(now: manager.now()))
    let loaded = try #require(try await manager.load(id).session)
    #expect(loaded.issuer == "https://id.example" && loaded.subject == "alice" && loaded.sid == "sid-1")
    #expect(loaded.claims["preferred_username"]?.string == "alice")
    #expect(loaded.tokens.accessToken.reveal() == "access-0" && loaded.tokens.refreshToken?.reveal() == "refresh-0")
    #expect(loaded.tokens.idToken.reveal() == "id-token-0" && loaded.tokens.accessExpiry == created.tokens.accessExpiry)
    #expect(loaded.version == created.version && loaded.created == manager.now() && loaded.key == SessionKey(id))
  }

  @Test("session fixation: the id changes at login and the planted one is dead (S9, fault 12)")
  func fixation() async throws {
    let planted = SessionID(random: SystemRandom())
    let first = try await login(replacing: planted)
    #expect(first != planted)
    #expect(try await manager.load(planted).isNone)
    let second = try await login(replacing: first)
    #expect(second != first)
    #expect(try await !isLive(first))
    #expect(try await isLive(second))
  }

  @Test("a guessed id finds nothing (fault 12)")
  func guessed() async throws {
    _ = try await login()
    for _ in 0..<100 { #expect(try await manager.load(SessionID(random: SystemRandom())).isNone) }
  }

  @Test("an idle session ends after its idle time, once, and with its reason")
  func idle() async throws {
    let observer = RecordingEndObserver()
    manager.add(observer)
    let id = try await login()
    time.advance(by: .seconds(999))
    #expect(try await isLive(id))
    time.advance(by: .seconds(1))
    #expect(try await manager.load(id).endReason == .idle)
    #expect(try await manager.load(id).isNone)
    #expect(observer.ended == [EndedSession.of(id, .idle)])
  }

  @Test("use extends the idle time and never the absolute time")
  func absolute() async throws {
    let id = try await login()
    for _ in 0..<11 {
      time.advance(by: .seconds(900))
      let session = try #require(try await manager.load(id).session)
      _ = try await manager.touch(session, use: manager.now())
    }
    time.advance(by: .seconds(99))
    #expect(try await isLive(id))
    time.advance(by: .seconds(1))
    #expect(try await manager.load(id).endReason == .absolute)
  }

  @Test("setting the machine's clock back extends no session (fault 20)")
  func clockBack() async throws {
    let id = try await login()
    time.stepWall(by: -5_000)
    time.advance(by: .seconds(1_000))
    #expect(try await manager.load(id).endReason == .idle)
  }

  @Test("use is written at most once per min(60 s, idle ÷ 10)")
  func touchInterval() async throws {
    let id = try await login()
    var session = try #require(try await manager.load(id).session)
    let writes = store.count(of: .write)
    for _ in 0..<600 {
      time.advance(by: .seconds(1))
      session = try #require(try await manager.touch(session, use: manager.now()))
    }
    #expect(store.count(of: .write) - writes == 10)
    #expect(SessionSettings(idle: .seconds(50)).touchInterval == .seconds(5))
    #expect(SessionSettings(idle: .seconds(2)).touchInterval == .seconds(1))
  }

  @Test("before a copy is called idle the store is read again: another loop's use counts")
  func otherLoopsUse() async throws {
    let id = try await login()
    let copy = try #require(try await manager.load(id).session)
    time.advance(by: .seconds(600))
    let other = try #require(try await manager.load(id).session)
    _ = try await manager.touch(other, use: manager.now())
    time.advance(by: .seconds(600))
    #expect(manager.freshness(of: copy) == .readAgain)
    #expect(try await isLive(id))
    #expect(manager.freshness(of: copy, noted: manager.now()) == .live)
  }

  @Test("a use that races with the end by idleness keeps the session")
  func idleRace() async throws {
    let id = try await login()
    let copy = try #require(try await manager.load(id).session)
    time.advance(by: .seconds(999))
    let use = manager.now()
    time.advance(by: .seconds(5))
    store.once(before: .delete) { [manager] in _ = try? await manager.touch(copy, use: use) }
    #expect(try await isLive(id))
  }

  @Test("logout that does not log out: the old cookie value is refused afterwards, and ending again does nothing (S11)")
  func logout() async throws {
    let id = try await login()
    #expect(try await manager.end(id, reason: .loggedOut))
    #expect(try await manager.load(id).isNone)
    #expect(try await !manager.end(id, reason: .loggedOut))
  }

  @Test("a deleted session is not written back by a late touch (fault 27)")
  func lateTouch() async throws {
    let id = try await login()
    let copy = try #require(try await manager.load(id).session)
    time.advance(by: .seconds(100))
    _ = try await manager.end(id, reason: .loggedOut)
    #expect(try await manager.touch(copy, use: manager.now()) == nil)
    #expect(try await manager.load(id).isNone)
    let outcome = try await store.write(
      copy.key.record, [1], indexes: [], expiry: manager.now().advanced(by: .seconds(100)), expecting: nil)
    #expect(outcome == .deleted)
  }

  @Test(
    "a logout token that comes while a login is under way ends its session too, by sid and by sub (fault 27)",
    arguments: [("sid-1", "alice"), (nil, "alice"), ("sid-1", nil)] as [(Identifier?, Identifier?)])
  func logoutDuringLogin(sid: Identifier?, subject: Identifier?) async throws {
    let (watch, others) = (try await manager.watchLogin(), try await manager.watchLogin())
    // The provider has answered the code; its session is not yet made.
    let outcome = try await manager.backChannelLogout(
      issuer: "https://id.example", subject: subject, sid: sid, tokenID: "jti-1", expiry: manager.now().advanced(by: .seconds(120)))
    #expect(outcome == .ended(0))
    let (id, session) = try await manager.create(from: .example(now: manager.now()))
    #expect(try await manager.endIfSignedOut(session, watch))
    #expect(try await !isLive(id))
    let (other, bob) = try await manager.create(from: .example(subject: "bob", sid: "sid-2", now: manager.now()))
    #expect(try await !manager.endIfSignedOut(bob, others))
    #expect(try await isLive(other))
    // Keycloak gives the same sid again when a sign-out was broken off: a later login of it is a login.
    let later = try await manager.watchLogin()
    let (again, newer) = try await manager.create(from: .example(now: manager.now()))
    #expect(try await !manager.endIfSignedOut(newer, later))
    #expect(try await isLive(again))
  }

  @Test("a login that the store fails behind its session's making leaves no session: nobody gets the cookie, and its sid would live on")
  func abandonedLogin() async throws {
    let watch = try await manager.watchLogin()
    let (_, session) = try await manager.create(from: .example(now: manager.now()))
    store.fail([.read, .delete])
    await #expect(throws: SessionStoreError.unavailable("the test says so")) { try await manager.endIfSignedOut(session, watch) }
    store.fail([])
    let (time, store) = (time, store)
    #expect(
      await eventually {
        time.advance(by: .milliseconds(250))
        return store.keys(of: .session).isEmpty
      })
    #expect(try await !manager.hasSession(issuer: "https://id.example", sid: "sid-1"))
  }

  @Test("logout by sid ends that session alone; by subject all of that user and nobody else's")
  func byIndex() async throws {
    let one = try await login(sid: "sid-1")
    let two = try await login(sid: "sid-2")
    let three = try await login(sid: nil)
    let bob = try await login("bob", sid: "sid-3")
    #expect(try await manager.end(issuer: "https://id.example", sid: "sid-1", reason: .backChannelLogout) == 1)
    #expect(try await !isLive(one))
    #expect(try await isLive(two))
    #expect(try await manager.end(issuer: "https://other.example", subject: "alice", reason: .backChannelLogout) == 0)
    #expect(try await manager.end(issuer: "https://id.example", subject: "alice", reason: .backChannelLogout) == 2)
    #expect(try await !isLive(two))
    #expect(try await !isLive(three))
    #expect(try await isLive(bob))
  }

  @Test("identifiers that are not equal: logout of one spelling of é leaves the other user signed in (S37)")
  func normalForms() async throws {
    let composed = try await login(Identifier("jos\u{e9}"), sid: Identifier("s\u{e9}"))
    let decomposed = try await login(Identifier("jose\u{301}"), sid: Identifier("se\u{301}"))
    #expect(try await manager.end(issuer: "https://id.example", subject: Identifier("jos\u{e9}"), reason: .backChannelLogout) == 1)
    #expect(try await !isLive(composed))
    #expect(try await isLive(decomposed))
  }

  @Test("the end of a session waits until every loop has dropped it (fault 26)")
  func acknowledged() async throws {
    let gate = Gate()
    let slow = RecordingEndObserver(gate: gate)
    let quick = RecordingEndObserver()
    manager.add(slow)
    manager.add(quick)
    let id = try await login()
    let manager = manager
    let done = Flag()
    let end = Task {
      _ = try await manager.end(id, reason: .loggedOut)
      done.set()
    }
    #expect(await eventually { gate.arrived == 1 && quick.ended.count == 1 })
    #expect(!done.isSet && slow.ended.isEmpty)
    gate.open()
    try await end.value
    #expect(slow.ended == [EndedSession.of(id, .loggedOut)])
  }

  @Test(
    "a loop that is stuck holds nobody up for ever: after five seconds the end is not claimed, and all others have dropped their copies")
  func stuckLoop() async throws {
    let gate = Gate()
    let (stuck, quick) = (RecordingEndObserver(gate: gate), RecordingEndObserver())
    manager.add(stuck)
    manager.add(quick)
    let id = try await login()
    let manager = manager
    let end = Task { () async -> SessionStoreError? in
      do throws(SessionStoreError) {
        _ = try await manager.end(id, reason: .loggedOut)
        return nil
      } catch { return error }
    }
    let time = time
    try #require(await eventually { gate.arrived == 1 && quick.ended.count == 1 && time.sleeping == 1 })
    time.advance(by: .seconds(5))
    guard case .unavailable? = await end.value else { throw SessionStoreConformance.Violation("the end was claimed") }
    #expect(try await !isLive(id))
    // It still hears of it.
    gate.open()
    #expect(await eventually { stuck.ended == [EndedSession.of(id, .loggedOut)] })
  }

  @Test("a store that is down is an error, never a logout, and every copy is dropped although the end failed (fault 30)")
  func storeDown() async throws {
    let observer = RecordingEndObserver()
    manager.add(observer)
    let id = try await login()
    store.fail([.read, .delete, .find])
    await #expect(throws: SessionStoreError.self) { try await manager.load(id) }
    await #expect(throws: SessionStoreError.self) { try await manager.end(id, reason: .loggedOut) }
    #expect(observer.ended.count == 1)
    store.fail([])
    #expect(try await isLive(id))
    #expect(try await manager.end(id, reason: .loggedOut))
  }

  @Test("a session that another key sealed is no session; a rotated ring still opens it (fault 9)")
  func keyRotation() async throws {
    let id = try await login()
    let old = Secret([UInt8](repeating: 7, count: 32))
    let new = Secret([UInt8](repeating: 8, count: 32))
    let rotated = SessionManager(store: store, keys: try KeyRing([new, old]), time: time, random: SystemRandom())
    #expect(try await rotated.load(id).session != nil)
    let registry = MetricRegistry()
    let events = SessionEvents(log: .none, registry: registry)
    let dropped = SessionManager(store: store, keys: try KeyRing([new]), time: time, random: SystemRandom(), events: events)
    #expect(try await dropped.load(id).isNone)
    #expect(
      String(decoding: registry.render(), as: UTF8.self).contains(#"intercom_session_records_damaged_total{kind="session"} 1"#))
    #expect(try await rotated.load(id).isNone)
  }
}

@Suite("Back-channel logout in the store")
struct BackChannelLogoutTests {
  let time = ManualTime()
  let store: FaultySessionStore
  let manager: SessionManager
  private let issuer: Identifier = "https://id.example"

  init() throws {
    store = FaultySessionStore(MemorySessionStore(time: time))
    manager = SessionManager(store: store, keys: try .test(), time: time, random: SystemRandom())
  }

  private func logout(_ tokenID: Identifier, subject: Identifier? = "alice", sid: Identifier? = nil) async throws -> LogoutOutcome {
    try await manager.backChannelLogout(
      issuer: issuer, subject: subject, sid: sid, tokenID: tokenID, expiry: manager.now().advanced(by: .seconds(120)))
  }
  private func login() async throws -> SessionID { try await manager.create(from: .example(now: manager.now())).id }

  @Test("logout token replay: the second use does nothing and a newer session survives (S18, fault 28)")
  func replay() async throws {
    let old = try await login()
    #expect(try await logout("jti-1") == .ended(1))
    #expect(try await manager.load(old).isNone)
    let new = try await login()
    #expect(try await logout("jti-1") == .replayed)
    #expect(try await manager.load(new).session != nil)
    #expect(try await logout("jti-2") == .ended(1))
  }

  @Test("with a sid only that session ends although the subject is named too")
  func sidWins() async throws {
    let other = try await manager.create(from: .example(sid: "sid-2", now: manager.now())).id
    _ = try await login()
    #expect(try await logout("jti-1", sid: "sid-1") == .ended(1))
    #expect(try await manager.load(other).session != nil)
    #expect(try await logout("jti-2", sid: "unknown") == .ended(0))
  }

  @Test(
    "the provider's next try after a store failure is obeyed (fault 30)", arguments: [FaultySessionStore.Operation.find, .delete, .write])
  func retry(_ failing: FaultySessionStore.Operation) async throws {
    let id = try await login()
    store.fail([failing])
    await #expect(throws: SessionStoreError.self) { try await logout("jti-1") }
    store.fail([])
    #expect(try await logout("jti-1") == .ended(1))
    #expect(try await manager.load(id).isNone)
    #expect(try await logout("jti-1") == .replayed)
  }

  @Test("10,000 sessions of one user end by one logout token, other users' stay (fault 31)")
  func manySessions() async throws {
    for _ in 0..<10_000 { _ = try await login() }
    let bob = try await manager.create(from: .example(subject: "bob", sid: nil, now: manager.now())).id
    let start = SystemTime().monotonicNow()
    #expect(try await logout("jti-1") == .ended(10_000))
    // A time is recorded, not demanded: the machine may be busy.
    try Rounds.keep("fault 31: 10,000 sessions ended in \(start.duration(to: SystemTime().monotonicNow()))")
    #expect(try await manager.load(bob).session != nil)
  }

  @Test("a single-use token id is accepted once of 100 at the same time")
  func once() async throws {
    let manager = manager
    let accepted = try await withThrowingTaskGroup(of: Bool.self) { group in
      for _ in 0..<100 {
        group.addTask { try await manager.acceptOnce(issuer: "i", tokenID: "jti", expiry: manager.now().advanced(by: .seconds(60))) }
      }
      return try await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
    }
    #expect(accepted == 1)
  }
}

extension EndedSession {
  static func of(_ id: SessionID, _ reason: EndReason) -> EndedSession { EndedSession(key: SessionKey(id), reason: reason) }
}
