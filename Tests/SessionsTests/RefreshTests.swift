import Cryptography
import IntercomCore
import IntercomTesting
import Sessions
import Testing

@Suite("Refresh")
struct RefreshTests {
  let time = ManualTime()
  let store: FaultySessionStore
  let source = ScriptedTokenSource()
  let manager: SessionManager
  let coordinator: RefreshCoordinator

  init() throws {
    store = FaultySessionStore(MemorySessionStore(time: time))
    manager = SessionManager(store: store, keys: try .test(), time: time, random: SystemRandom())
    coordinator = RefreshCoordinator(manager: manager, source: source, time: time)
  }

  private func login(subject: Identifier = "alice", refreshToken: String? = "refresh-0") async throws -> Session {
    try await manager.create(from: .example(subject: subject, now: manager.now(), refreshToken: refreshToken)).session
  }
  private func failure(of session: Session) async -> TokenFailure? {
    do throws(TokenFailure) {
      _ = try await coordinator.session(session)
      return nil
    } catch { return error }
  }
  private func stored(_ session: Session) async throws -> Session? { try await manager.load(session.key).session }

  @Test("a token that is good is used, without the store and without the provider")
  func good() async throws {
    let session = try await login()
    let reads = store.count(of: .read)
    time.advance(by: .seconds(269))
    for _ in 0..<100 { _ = try await coordinator.session(session) }
    #expect(source.refreshes == 0 && store.count(of: .read) == reads)
  }

  @Test("200 requests at expiry cause one refresh and all get its token (fault 13, S16)")
  func singleFlight() async throws {
    let session = try await login()
    time.advance(by: .seconds(300))
    let coordinator = coordinator
    let tokens = try await source.waitingTogether(200) { _ in try await coordinator.session(session).tokens.accessToken.reveal() }
    #expect(tokens == ["access-1 of alice"] && source.refreshes == 1)
    let late = try await coordinator.session(session)
    #expect(late.tokens.accessToken.reveal() == "access-1 of alice" && source.refreshes == 1)
    #expect(try await stored(session)?.tokens.refreshToken?.reveal() == "refresh-1")
  }

  @Test("a store that is slow takes of the time for the provider: a turn ends before its lease, and a peer gets it")
  func oneDeadline() async throws {
    let session = try await login()
    time.advance(by: .seconds(300))
    let (gate, time, source, coordinator) = (Gate(), time, source, coordinator)
    source.hold(at: gate)
    store.once(before: .read) { time.advance(by: .seconds(3)) }
    let asking = Task { try? await coordinator.session(session) }
    #expect(await eventually { gate.arrived == 1 })
    source.hold(at: nil)
    source.fail(.unavailable("given up"))
    #expect(await eventually { time.sleeping >= 1 })
    // Eight seconds since the turn began, not since the provider was asked.
    time.advance(by: .seconds(5))
    #expect(await asking.value == nil)
    let peer = RefreshCoordinator(
      manager: SessionManager(store: store, keys: try .test(), time: time, random: SystemRandom()), source: source, time: time)
    source.fail(nil)
    let token = Task { try await peer.session(session).tokens.generation }
    #expect(await eventually(within: .seconds(3)) { source.refreshes == 2 })
    gate.open()
    for _ in 0..<20 { time.advance(by: .milliseconds(500)) }
    #expect(try await token.value == 1)
  }

  @Test("two replicas with one store refresh once for 100 requests, 50 times in a row, with rotation and reuse detection (fault 13)")
  func twoReplicas() async throws {
    let store = MemorySessionStore(time: SystemTime())
    let keys = try KeyRing.test()
    let past = SystemTime().wallNow().advanced(by: .seconds(-10))
    for _ in 0..<50 {
      let source = ScriptedTokenSource()
      let managers = (0..<2).map { _ in SessionManager(store: store, keys: keys, time: SystemTime(), random: SystemRandom()) }
      let replicas = managers.map { RefreshCoordinator(manager: $0, source: source, time: SystemTime()) }
      let session = try await managers[0].create(from: .example(now: past, accessLife: .seconds(1))).session
      let tokens = try await withThrowingTaskGroup(of: String.self) { group in
        for index in 0..<100 { group.addTask { try await replicas[index % 2].session(session).tokens.accessToken.reveal() } }
        return try await group.reduce(into: Set<String>()) { $0.insert($1) }
      }
      #expect(tokens == ["access-1 of alice"] && source.refreshes == 1)
    }
  }

  @Test("a token that is due is used while its refresh runs in the background")
  func ahead() async throws {
    let session = try await login()
    time.advance(by: .seconds(275))
    let gate = Gate()
    source.hold(at: gate)
    let now = try await coordinator.session(session)
    #expect(now.tokens.accessToken.reveal() == "access-0")
    _ = try await coordinator.session(session)
    #expect(await eventually { gate.arrived == 1 })
    gate.open()
    let manager = manager
    #expect(await eventually { (try? await manager.load(session.key).session?.tokens.accessToken.reveal()) == "access-1 of alice" })
    let then = try await coordinator.session(session)
    #expect(then.tokens.accessToken.reveal() == "access-1 of alice" && source.refreshes == 1)
  }

  @Test(
    "ahead means less than min(30 s, 20 % of the life) left",
    arguments: [(300, 270, false), (300, 271, true), (50, 40, false), (50, 41, true), (2, 1, false), (2, 2, true), (0, 0, true)])
  func due(life: Int, age: Int, isDue: Bool) {
    let start = WallInstant(seconds: 1_000)
    let tokens = SessionTokens(
      accessToken: Secret("a"), received: start, accessExpiry: start.advanced(by: .seconds(life)), idToken: Secret("i"))
    #expect(tokens.isDue(at: start.advanced(by: .seconds(age))) == isDue)
  }

  @Test("a refused refresh ends the session once, with its reason (fault 16)")
  func refused() async throws {
    let observer = RecordingEndObserver()
    manager.add(observer)
    let session = try await login()
    source.fail(.refused(code: "invalid_grant"))
    time.advance(by: .seconds(300))
    #expect(await failure(of: session) == .sessionEnded(.refreshRefused))
    #expect(await failure(of: session) == .sessionEnded(nil))
    #expect(source.refreshes == 1 && observer.ended.map(\.reason) == [.refreshRefused])
    #expect(try await stored(session) == nil)
  }

  @Test(
    "an unreachable, broken or misconfigured provider ends nothing, and it recovers by itself (fault 15)",
    arguments: [TokenSourceError.unavailable("down"), .invalidAnswer("html"), .refused(code: "invalid_client")])
  func unavailable(_ error: TokenSourceError) async throws {
    let session = try await login()
    source.fail(error)
    time.advance(by: .seconds(290))
    #expect(try await coordinator.session(session).tokens.accessToken.reveal() == "access-0")
    let source = source
    #expect(await eventually { source.refreshes == 1 })
    time.advance(by: .seconds(10))
    let failure = await failure(of: session)
    #expect(failure != nil && failure != .sessionEnded(nil))
    #expect(try await stored(session) != nil)
    source.fail(nil)
    #expect(try await coordinator.session(session).tokens.accessToken.reveal().hasSuffix("of alice"))
  }

  @Test("a refresh that failed ahead of time is not tried again by every request")
  func rests() async throws {
    let session = try await login()
    source.fail(.unavailable("down"))
    time.advance(by: .seconds(275))
    _ = try await coordinator.session(session)
    let source = source
    #expect(await eventually { source.refreshes == 1 })
    let coordinator = coordinator
    #expect(await eventually { await !coordinator.isRefreshing(session.key) })
    for _ in 0..<50 { _ = try await coordinator.session(session) }
    #expect(source.refreshes == 1)
  }

  @Test("a provider that never answers is given up after eight seconds")
  func blackHole() async throws {
    let session = try await login()
    time.advance(by: .seconds(300))
    source.hold(at: Gate())
    let coordinator = coordinator
    let request = Task { () async -> TokenFailure? in
      do throws(TokenFailure) {
        _ = try await coordinator.session(session)
        return nil
      } catch { return error }
    }
    let time = time
    // The call itself, and the limit of those who wait.
    try #require(await eventually { time.sleeping == 2 })
    time.advance(by: .seconds(8))
    guard case .unavailable = await request.value else { throw SessionStoreConformance.Violation("it was not given up") }
    #expect(try await stored(session) != nil)
  }

  @Test("a client that goes away does not cancel the refresh: its answer holds the only good token")
  func cancelledClient() async throws {
    let session = try await login()
    time.advance(by: .seconds(300))
    let gate = Gate()
    source.hold(at: gate)
    let coordinator = coordinator
    let request = Task { try await coordinator.session(session) }
    #expect(await eventually { gate.arrived == 1 })
    request.cancel()
    gate.open()
    let manager = manager
    #expect(await eventually { (try? await manager.load(session.key).session?.tokens.refreshToken?.reveal()) == "refresh-1" })
  }

  @Test("logout racing refresh: the deleted session is not written back and nobody gets the new token (fault 27)")
  func racingLogout() async throws {
    let session = try await login()
    time.advance(by: .seconds(300))
    let gate = Gate()
    source.hold(at: gate)
    let coordinator = coordinator
    let failures = await withTaskGroup(of: TokenFailure?.self) { group in
      for _ in 0..<20 {
        group.addTask {
          do throws(TokenFailure) {
            _ = try await coordinator.session(session)
            return nil
          } catch { return error }
        }
      }
      #expect(await eventually { gate.arrived == 1 })
      _ = try? await manager.end(session.key, reason: .loggedOut)
      gate.open()
      return await group.reduce(into: [TokenFailure?]()) { $0.append($1) }
    }
    #expect(failures.count == 20 && failures.allSatisfy { $0 == .sessionEnded(nil) })
    #expect(try await stored(session) == nil)
  }

  @Test("a touch between the refresh and its write loses neither")
  func racingTouch() async throws {
    let session = try await login()
    time.advance(by: .seconds(300))
    let gate = Gate()
    source.hold(at: gate)
    let coordinator = coordinator
    let request = Task { try await coordinator.session(session) }
    #expect(await eventually { gate.arrived == 1 })
    _ = try await manager.touch(session, use: manager.now())
    gate.open()
    #expect(try await request.value.tokens.accessToken.reveal() == "access-1 of alice")
    let stored = try #require(try await stored(session))
    #expect(stored.lastUse == manager.now() && stored.tokens.refreshToken?.reveal() == "refresh-1")
  }

  @Test("refreshed tokens that the store could not take are written later, not asked for again (fault 17)")
  func storeFailsAfterRotation() async throws {
    let session = try await login()
    time.advance(by: .seconds(300))
    store.fail([.write])
    #expect(await failure(of: session) == .store(.unavailable("the test says so")))
    store.fail([])
    let session2 = try await coordinator.session(session)
    #expect(session2.tokens.accessToken.reveal() == "access-1 of alice" && source.refreshes == 1)
    #expect(try await stored(session)?.tokens.refreshToken?.reveal() == "refresh-1")
  }

  @Test("refreshed tokens that the store could not take are written as soon as it can, before anybody asks for them (fault 17)")
  func savedInTheBackground() async throws {
    let session = try await login()
    time.advance(by: .seconds(300))
    store.fail([.write])
    #expect(await failure(of: session) == .store(.unavailable("the test says so")))
    for _ in 0..<3 {
      #expect(await eventually { time.sleeping > 0 })
      time.advance(by: .seconds(1))
    }
    #expect(try await stored(session)?.tokens.refreshToken?.reveal() == "refresh-0")
    store.fail([])
    #expect(
      await eventually {
        time.advance(by: .milliseconds(250))
        return (try? await stored(session))?.tokens.refreshToken?.reveal() == "refresh-1"
      })
    #expect(source.refreshes == 1)
  }

  @Test(
    "a refreshed token of another user or issuer ends the session and is not kept (S16)",
    arguments: [("bob", "https://id.example"), ("alice", "https://x"), nil])
  func changedIdentity(_ name: (subject: String, issuer: String)?) async throws {
    let observer = RecordingEndObserver()
    manager.add(observer)
    let session = try await login()
    time.advance(by: .seconds(300))
    if let name {
      source.name(.init(idToken: Secret("i"), issuer: Identifier(name.issuer), subject: Identifier(name.subject), claims: [:]))
    } else {
      source.fail(.identityChanged)
    }
    #expect(await failure(of: session) == .sessionEnded(.identityChanged))
    #expect(observer.ended.map(\.reason) == [.identityChanged])
    #expect(try await stored(session) == nil)
    #expect(await failure(of: session) == .sessionEnded(nil))
    #expect(source.refreshes == 1)
  }

  @Test("the words of the end reasons are stable: log, metrics and alarms use them")
  func reasons() {
    #expect(
      EndReason.allCases.map(\.rawValue) == [
        "logged_out", "back_channel_logout", "idle", "absolute", "replaced", "refresh_refused", "token_expired", "identity_changed",
        "administrator", "abandoned",
      ])
  }

  @Test("more callers than may wait for one refresh are refused at once, the others get its token")
  func boundedWaiters() async throws {
    let session = try await login()
    time.advance(by: .seconds(300))
    let gate = Gate()
    source.hold(at: gate)
    let coordinator = coordinator
    let refused = Tally()
    let served = try await withThrowingTaskGroup(of: Bool.self) { group in
      for _ in 0..<1_100 {
        group.addTask {
          do throws(TokenFailure) {
            return try await coordinator.session(session).tokens.accessToken.reveal() == "access-1 of alice"
          } catch {
            if error == .overloaded { refused.add() }
            return false
          }
        }
      }
      // Those that are too many have their answer while the provider still thinks.
      #expect(await eventually { refused.count == 1_100 - 1_024 })
      gate.open()
      return try await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
    }
    #expect(served == 1_024 && source.refreshes == 1)
  }

  @Test("those who wait are answered within the time for a refresh although it goes on: its answer is used by the next request (fault 17)")
  func answeredInTime() async throws {
    let session = try await login()
    time.advance(by: .seconds(300))
    let (coordinator, time, gate) = (coordinator, time, Gate())
    // The store hangs, so that the refresh takes longer than its call.
    store.once(before: .write) { await gate.pass() }
    let request = Task { await failure(of: session) }
    let source = source
    try #require(await eventually { source.refreshes == 1 && gate.arrived == 1 })
    time.advance(by: .seconds(8))
    guard case .unavailable = await request.value else { throw SessionStoreConformance.Violation("not answered in time") }
    guard case .unavailable = await failure(of: session) else { throw SessionStoreConformance.Violation("the next one waits") }
    gate.open()
    #expect(await eventually { await !coordinator.isRefreshing(session.key) })
    #expect(try await coordinator.session(session).tokens.accessToken.reveal() == "access-1 of alice")
    #expect(source.refreshes == 1)
  }

  @Test("stale authorisation: claims of a refreshed id_token replace the old ones (S27)")
  func claimsReplaced() async throws {
    let session = try await login()
    time.advance(by: .seconds(300))
    source.name(.init(idToken: Secret("id-token-1"), issuer: "https://id.example", subject: "alice", claims: ["groups": ["mail"]]))
    let fresh = try await coordinator.session(session)
    #expect(fresh.claims == ["groups": ["mail"]] && fresh.tokens.idToken.reveal() == "id-token-1")
  }

  @Test("the end waits for refreshes that nobody waits for and for tokens that the store did not take, for so long as it may (fault 11)")
  func drains() async throws {
    let session = try await login()
    #expect(await coordinator.drain(within: .zero))
    time.advance(by: .seconds(275))
    let (time, gate) = (time, Gate())
    source.hold(at: gate)
    _ = try await coordinator.session(session)
    #expect(await eventually { gate.arrived == 1 })
    #expect(await !coordinator.drain(within: .zero))
    let coordinator = coordinator
    let drained = Tally()
    Task { if await coordinator.drain(within: .seconds(7)) { drained.add() } }
    store.fail([.write])
    gate.open()
    #expect(await eventually { await !coordinator.isRefreshing(session.key) })
    // The store has them not yet.
    #expect(await !coordinator.drain(within: .zero))
    store.fail([])
    #expect(
      await eventually {
        time.advance(by: .milliseconds(10))
        return drained.count == 1
      })
    #expect(try await stored(session)?.tokens.refreshToken?.reveal() == "refresh-1")
    #expect(source.refreshes == 1)
  }

  @Test("a process that will end begins no refresh ahead of its time, and does those that a request needs")
  func willEnd() async throws {
    let session = try await login()
    await coordinator.willEnd()
    time.advance(by: .seconds(275))
    #expect(try await coordinator.session(session).tokens.accessToken.reveal() == "access-0")
    #expect(await !coordinator.isRefreshing(session.key) && source.refreshes == 0)
    time.advance(by: .seconds(25))
    #expect(try await coordinator.session(session).tokens.accessToken.reveal() == "access-1 of alice")
  }

  @Test("without a refresh token the session ends when the access token does, not before")
  func noRefreshToken() async throws {
    let session = try await login(refreshToken: nil)
    time.advance(by: .seconds(299))
    _ = try await coordinator.session(session)
    time.advance(by: .seconds(1))
    #expect(await failure(of: session) == .sessionEnded(.tokenExpired))
    #expect(source.refreshes == 0)
  }
}
