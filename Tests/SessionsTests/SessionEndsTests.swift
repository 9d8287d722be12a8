import Cryptography
import IntercomCore
import IntercomTesting
import Sessions
import Synchronization
import Testing

@Suite("Ends against loads under way")
struct SessionEndsTests {
  private let id = SessionID(random: SystemRandom())
  private var key: SessionKey { SessionKey(id) }
  private var ended: EndedSession { EndedSession.of(id, .loggedOut) }

  @Test("a load that began before an end keeps nothing after it (fault 26)")
  func race() {
    var ends = SessionEnds()
    let ticket = ends.ticket()
    #expect(ends.allows(key, ticket))
    ends.note([ended.key])
    #expect(!ends.allows(key, ticket))
    #expect(ends.allows(key, ends.ticket()))
    #expect(ends.allows(SessionKey(SessionID(random: SystemRandom())), ticket))
  }

  @Test("when more ends arrive during a load than are remembered, its result is thrown away")
  func forgottenEnds() {
    var ends = SessionEnds(kept: 10)
    let ticket = ends.ticket()
    ends.note([ended.key])
    for _ in 0..<20 { ends.note([EndedSession.of(SessionID(random: SystemRandom()), .idle).key]) }
    let other = SessionKey(SessionID(random: SystemRandom()))
    #expect(!ends.allows(key, ticket) && !ends.allows(other, ticket))
    #expect(ends.allows(other, ends.ticket()))
  }
}

/// Counts from many tasks.
final class Tally: Sendable {
  private let value = Atomic<Int>(0)
  var count: Int { value.load(ordering: .relaxed) }
  func add() { value.wrappingAdd(1, ordering: .relaxed) }
}

/// A loop as the gateway has them: its own copies, filled from the store, emptied when told.
private actor Loop: SessionEndObserver {
  private var copies: [SessionKey: Session] = [:]
  private var ends = SessionEnds()
  private let manager: SessionManager
  init(_ manager: SessionManager) { self.manager = manager }

  func sessionsEnded(_ sessions: [EndedSession]) {
    ends.note(sessions.map(\.key))
    for session in sessions { copies[session.key] = nil }
  }

  /// Would a request with this id be let through now?
  func authorises(_ id: SessionID) async -> Bool {
    if copies[SessionKey(id)] != nil { return true }
    let ticket = ends.ticket()
    guard let session = try? await manager.load(id).session, ends.allows(session.key, ticket) else { return false }
    copies[session.key] = session
    return true
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
