import Cryptography
import HTTPMessage
import IntercomCore
import IntercomTesting
import Sessions
import Testing

@testable import Gateway

/// Sessions as a store gives them, each with its id.
private struct SessionMaker {
  let time = ManualTime()
  private let manager: SessionManager

  init() throws {
    manager = SessionManager(
      store: MemorySessionStore(time: time), keys: try KeyRing([Secret([UInt8](repeating: 1, count: 32))]), time: time,
      random: SystemRandom())
  }

  func views(_ count: Int) async throws -> [SessionView] {
    var made: [SessionView] = []
    for number in 0..<count {
      let now = manager.now()
      let login = VerifiedLogin(
        issuer: "https://id.example", subject: Identifier("user-\(number)"), sid: nil, claims: [:],
        tokens: SessionTokens(accessToken: Secret("access"), received: now, accessExpiry: nil, idToken: Secret("id")))
      let (id, session) = try await manager.create(from: login)
      made.append(try #require(SessionView(id: id, session: session, settings: manager.settings, now: now)))
    }
    return made
  }
}

extension SessionView {
  fileprivate var ended: EndedSession { EndedSession(key: session.key, reason: .loggedOut) }
}

extension SessionTable {
  fileprivate func keep(_ view: SessionView) -> Bool { insert(view, ticket: ticket()) }
}

@Suite("A loop's copies of sessions")
struct SessionTableTests {
  @Test("an entry is found until its session ends")
  func drop() async throws {
    let table = SessionTable()
    let view = try await SessionMaker().views(1)[0]
    #expect(table.keep(view))
    #expect(table[view.id] === view && table[key: view.session.key] === view)
    #expect(table.drop([view.ended]) == 1)
    #expect(table[view.id] == nil && table[key: view.session.key] == nil && table.count == 0)
  }

  @Test("a load that began before an end keeps nothing after it (fault 26)")
  func race() async throws {
    let table = SessionTable(endsKept: 10)
    let views = try await SessionMaker().views(2)
    let ticket = table.ticket()
    table.drop([views[0].ended])
    #expect(!table.insert(views[0], ticket: ticket))
    #expect(table.insert(views[1], ticket: ticket))
  }

  @Test("a session that is loaded twice is there once, as it was loaded last")
  func twice() async throws {
    let table = SessionTable()
    let view = try await SessionMaker().views(1)[0]
    let again = try #require(SessionView(id: view.id, session: view.session, settings: SessionSettings(), now: view.lastUse))
    #expect(table.keep(view) && table.keep(again))
    #expect(table[view.id] === again && table.count == 1)
    table.remove(view.id)
    #expect(table[view.id] == nil && table.count == 0)
  }

  @Test("a cookie that is another session's but for one digit finds nothing")
  func oneDigit() async throws {
    let table = SessionTable()
    let view = try await SessionMaker().views(1)[0]
    #expect(table.keep(view))
    let text = view.id.cookieValue
    for place in text.indices {
      var other = text
      other[place] = other[place] == UInt8(ascii: "A") ? UInt8(ascii: "B") : UInt8(ascii: "A")
      let found = Self.look(table, other)
      #expect(found == nil, "digit \(place)")
    }
    let found = Self.look(table, text)
    #expect(found === view)
  }

  @Test("a copy is over at its idle time, at its absolute time, and at a shorter absolute time that was configured since its login")
  func times() async throws {
    let made = try await SessionMaker().views(1)[0]
    func view(_ settings: SessionSettings) throws -> SessionView {
      try #require(SessionView(id: made.id, session: made.session, settings: settings, now: made.session.created))
    }
    let start = made.session.created
    func at(_ seconds: Int64) -> WallInstant { WallInstant(seconds: start.seconds + seconds) }
    let usual = try view(SessionSettings(idle: .seconds(100)))
    #expect(usual.isLive(at: at(99)) && !usual.isLive(at: at(100)))
    #expect(!usual.use(at: at(9)) && usual.use(at: at(10)))
    #expect(usual.isLive(at: at(109)) && !usual.isLive(at: at(110)))
    let week: Int64 = 7 * 24 * 3600
    let long = try view(SessionSettings(idle: .seconds(2 * week)))
    #expect(long.isLive(at: at(week - 1)) && !long.isLive(at: at(week)))
    let shorter = try view(SessionSettings(idle: .seconds(2 * week), absolute: .seconds(50)))
    #expect(shorter.isLive(at: at(49)) && !shorter.isLive(at: at(50)))
  }

  private static func look(_ table: SessionTable, _ text: [UInt8]) -> SessionView? {
    SessionText(text.span, ByteRange(0, text.count)).flatMap { table.use($0) }
  }

  @Test("a session in use stays although ten times as many as fit pass by once")
  func hotSession() async throws {
    let table = SessionTable(capacity: 100)
    let views = try await SessionMaker().views(1_001)
    #expect(table.keep(views[0]))
    for view in views.dropFirst() {
      #expect(table.keep(view))
      #expect(table[views[0].id] === views[0])
    }
    #expect(table.count == 100)
  }

  @Test("when all are in use one goes all the same, and what is new is found")
  func allInUse() async throws {
    let table = SessionTable(capacity: 50)
    let views = try await SessionMaker().views(200)
    for (number, view) in views.enumerated() {
      #expect(table.keep(view) && table[view.id] === view && table.count <= 50)
      for known in views[...number] { _ = table[known.id] }
    }
  }

  @Test("whatever is kept, dropped and found in whatever order: each id finds its own session and no other")
  func walk() async throws {
    let views = try await SessionMaker().views(400)
    // Few multipliers, so that entries stand in one another's way: 1 leaves ids in an order that their first bits give.
    for seed in 0..<Rounds.count(4, full: 40) {
      let table = SessionTable(random: FixedBytes(UInt8(truncatingIfNeeded: seed)))
      var kept: Set<Int> = []
      for _ in 0..<4_000 {
        let number = Int.random(in: 0..<views.count)
        switch Int.random(in: 0..<4) {
        case 0, 1:
          #expect(table.keep(views[number]))
          kept.insert(number)
        case 2:
          #expect(table.drop([views[number].ended]) == (kept.contains(number) ? 1 : 0))
          kept.remove(number)
        default:
          table.remove(views[number].id)
          kept.remove(number)
        }
        let looked = Int.random(in: 0..<views.count)
        #expect(table[views[looked].id] === (kept.contains(looked) ? views[looked] : nil))
        #expect(table.count == kept.count)
      }
      for (number, view) in views.enumerated() { #expect(table[view.id] === (kept.contains(number) ? view : nil)) }
    }
  }
}

/// The same byte again and again.
private struct FixedBytes: RandomSource {
  let byte: UInt8
  init(_ byte: UInt8) { self.byte = byte }
  func bytes(_ count: Int) -> [UInt8] { [UInt8](repeating: byte, count: count) }
}
