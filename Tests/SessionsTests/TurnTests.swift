import Cryptography
import IntercomCore
import IntercomTesting
import Sessions
import Synchronization
import Testing

/// Two replicas on one store, whose clocks and delays the test makes.
@Suite("Who may refresh, among replicas")
struct TurnTests {
  let time = ManualTime()
  let source = ScriptedTokenSource()
  /// What each replica has in front of the store that they share.
  let stores: [FaultySessionStore]
  let managers: [SessionManager]
  let replicas: [RefreshCoordinator]

  init() throws {
    let (time, source, keys) = (time, source, try KeyRing.test())
    let shared = MemorySessionStore(time: time)
    let stores = (0..<2).map { _ in FaultySessionStore(shared) }
    let managers = stores.map { SessionManager(store: $0, keys: keys, time: time, random: SystemRandom()) }
    replicas = managers.map { RefreshCoordinator(manager: $0, source: source, time: time) }
    (self.stores, self.managers) = (stores, managers)
  }

  /// A session whose access token has expired.
  private func expired() async throws -> Session {
    let session = try await managers[0].create(from: .example(now: managers[0].now())).session
    time.advance(by: .seconds(300))
    return session
  }

  @discardableResult
  private func ask(_ replica: Int, _ session: Session, _ asked: Asked = Asked()) -> Asked {
    let replica = replicas[replica]
    Task {
      do throws(TokenFailure) { asked.give(.success(try await replica.session(session).tokens.accessToken.reveal())) } catch {
        asked.give(.failure(error))
      }
    }
    return asked
  }

  /// Lets so much time pass at most, in small steps, until it is true.
  private func passes(_ limit: Duration, until isTrue: @escaping @Sendable () async -> Bool) async -> Bool {
    for _ in 0..<Int(limit / .milliseconds(50)) {
      if await eventually(within: .milliseconds(5), isTrue) { return true }
      time.advance(by: .milliseconds(50))
    }
    return await isTrue()
  }

  /// What was answered when nothing of it goes on any more; a little time may pass until then.
  private func answer(_ asked: Asked, at replica: Int, _ session: Session) async throws -> Result<String, TokenFailure> {
    let replica = replicas[replica]
    try #require(
      await passes(.seconds(2)) {
        guard asked.answer != nil else { return false }
        return await !replica.isRefreshing(session.key)
      })
    return try #require(asked.answer)
  }

  @Test("A holder that slept until its lease was over asks the provider nothing when it wakes: it takes what another brought (fault 14)")
  func slept() async throws {
    let session = try await expired()
    let (time, other) = (time, replicas[1])
    // Between its reading of the session and its call.
    stores[0].onceRead {
      time.advance(by: .seconds(20))
      _ = try? await other.session(session)
    }
    _ = try await answer(ask(0, session), at: 0, session)
    #expect(source.refreshes == 1)
    #expect(try await answer(ask(0, session), at: 0, session) == .success("access-1 of alice"))
    #expect(source.refreshes == 1)
  }

  @Test("A holder that slept while another took over, which is still at it, waits for that one (fault 14)")
  func sleptTooLong() async throws {
    let session = try await expired()
    let (time, gate, other) = (time, Gate(), Asked())
    source.hold(at: gate)
    stores[0].onceRead {
      time.advance(by: .seconds(20))
      ask(1, session, other)
      _ = await eventually { gate.arrived == 1 }
    }
    _ = try await answer(ask(0, session), at: 0, session)
    #expect(source.refreshes == 1)
    gate.open()
    #expect(try await answer(other, at: 1, session) == .success("access-1 of alice"))
    #expect(source.refreshes == 1)
  }

  @Test("A holder whose store is slow keeps its right to refresh until it has written what it got (fault 5, fault 13)")
  func slowStore() async throws {
    let session = try await expired()
    let (time, source, gate) = (time, source, Gate())
    source.hold(at: gate)
    stores[0].onceRead { time.advance(by: .seconds(4)) }
    let (first, other) = (ask(0, session), Asked())
    #expect(await eventually { gate.arrived == 1 })
    time.advance(by: .seconds(3))
    stores[0].once(before: .write) {
      time.advance(by: .seconds(6))
      let sleeping = time.sleeping
      ask(1, session, other)
      // It waits, or it has asked the provider.
      _ = await eventually { source.refreshes == 2 || time.sleeping >= sleeping + 2 }
    }
    gate.open()
    // Whoever asked first may have been told that it takes too long.
    _ = try await answer(first, at: 0, session)
    #expect(try await answer(other, at: 1, session) == .success("access-1 of alice"))
    #expect(source.refreshes == 1 && stores[0].keys(of: .lease).isEmpty)
  }

  @Test("Who holds the right and dies keeps others out for its time, and no longer: by the clock (fault 14)")
  func dead() async throws {
    let session = try await expired()
    let (time, gate, holder) = (time, Gate(), managers[0])
    let limit = RefreshCoordinator.standardCallLimit
    let died = Task {
      try? await holder.takeTurn("refresh", of: session.key, limit: limit) { _ in
        await gate.pass()
        return .done(true)
      } unless: { _ in
        nil
      }
    }
    #expect(await eventually { gate.arrived == 1 })
    let (began, next) = (time.monotonicNow(), managers[1])
    let taken = Mutex<Duration?>(nil)
    let waiting = Task {
      try? await next.takeTurn("refresh", of: session.key, limit: .seconds(60)) { _ in
        taken.withLock { $0 = began.duration(to: time.monotonicNow()) }
        return .done(true)
      } unless: { _ in
        nil
      }
    }
    // The clock goes on when the other one sleeps: nothing is passed over.
    while await eventually({ time.sleeping == 1 || taken.withLock { $0 != nil } }), taken.withLock({ $0 == nil }) {
      time.advance(by: .milliseconds(50))
    }
    let (after, lease) = (try #require(taken.withLock { $0 }), limit + SessionManager.turnMargin)
    // Seconds are cut off at both ends, and the longest pause between two tries is 0.4 s.
    #expect(after > lease - .seconds(1) && after < lease + .milliseconds(500), "\(after)")
    #expect(await waiting.value == true)
    gate.open()
    _ = await died.value
  }

  @Test("One process has a turn once: what it would be given again, because it is its own, waits while it is at work")
  func onceEach() async throws {
    let session = try await expired()
    let (time, gate, manager) = (time, Gate(), managers[0])
    @Sendable func turn() -> Task<Int?, Never> {
      Task {
        (try? await manager.takeTurn("x", of: session.key, limit: .seconds(5)) { _ in
          await gate.pass()
          return .done(gate.arrived)
        } unless: { _ in
          nil
        }) ?? nil
      }
    }
    let first = turn()
    #expect(await eventually { gate.arrived == 1 })
    let second = turn()
    #expect(await eventually { time.sleeping == 1 })
    #expect(gate.arrived == 1)
    gate.open()
    #expect(await first.value == 1)
    #expect(await passes(.seconds(1)) { gate.arrived == 2 })
    #expect(await second.value == 2)
  }

  @Test("Tokens that the store did not take: no other replica refreshes with the one that was used up, though the store is back (fault 17)")
  func unsaved() async throws {
    let session = try await expired()
    stores[0].fail([.write])
    #expect(try await answer(ask(0, session), at: 0, session) == .failure(.store(.unavailable("the test says so"))))
    let (source, time, sleeping) = (source, time, time.sleeping)
    let other = ask(1, session)
    #expect(await eventually { source.refreshes == 2 || time.sleeping >= sleeping + 2 })
    stores[0].fail([])
    #expect(try await answer(other, at: 1, session) == .success("access-1 of alice"))
    #expect(source.refreshes == 1)
  }

  @Test("A right to refresh whose answer was lost is found again by whom it was given to, at its next try; others wait")
  func lostLease() async throws {
    let session = try await expired()
    stores[0].loseNextLease()
    guard case .failure(.store) = try await answer(ask(0, session), at: 0, session) else {
      throw SessionStoreConformance.Violation("nothing was lost")
    }
    let (source, time, sleeping) = (source, time, time.sleeping)
    let other = ask(1, session)
    #expect(await eventually { time.sleeping >= sleeping + 2 })
    #expect(source.refreshes == 0)
    #expect(try await answer(ask(0, session), at: 0, session) == .success("access-1 of alice"))
    #expect(try await answer(other, at: 1, session) == .success("access-1 of alice"))
    #expect(source.refreshes == 1)
  }
}

/// The answer to a request for a token, when there is one.
private final class Asked: Sendable {
  private let given = Mutex<Result<String, TokenFailure>?>(nil)
  var answer: Result<String, TokenFailure>? { given.withLock { $0 } }
  func give(_ answer: Result<String, TokenFailure>) { given.withLock { $0 = answer } }
}
