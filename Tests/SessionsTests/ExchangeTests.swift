import Cryptography
import IntercomCore
import IntercomTesting
import Sessions
import Testing

@Suite("Token exchange")
struct ExchangeTests {
  let time = ManualTime()
  let source = ScriptedTokenSource()
  let manager: SessionManager
  let coordinator: RefreshCoordinator
  private let files = ExchangeTarget(audience: "files")
  private let wiki = ExchangeTarget(audience: "wiki")

  init() throws {
    manager = SessionManager(store: MemorySessionStore(time: time), keys: try .test(), time: time, random: SystemRandom())
    coordinator = RefreshCoordinator(manager: manager, source: source, time: time)
  }

  private func login(_ subject: Identifier = "alice") async throws -> Session {
    try await manager.create(from: .example(subject: subject, now: manager.now())).session
  }
  private func failure(_ session: Session, _ target: ExchangeTarget) async -> TokenFailure? {
    do throws(TokenFailure) {
      _ = try await coordinator.token(for: session, target)
      return nil
    } catch { return error }
  }

  @Test("200 requests at expiry cause one refresh and one exchange per audience")
  func singleFlight() async throws {
    let session = try await login()
    time.advance(by: .seconds(300))
    let (coordinator, targets) = (coordinator, [files, wiki])
    let tokens = try await source.waitingTogether(200) { index in
      try await coordinator.token(for: session, targets[index % 2]).token.accessToken.reveal()
    }
    #expect(tokens == ["alice for files - -", "alice for wiki - -"])
    #expect(source.refreshes == 1 && source.exchanges(for: files) == 1 && source.exchanges(for: wiki) == 1)
  }

  @Test("one user's token used for another: 40 users and 12 targets interleaved never mix (S16b, fault 25)")
  func neverMixed() async throws {
    var sessions: [Session] = []
    for number in 0..<40 { sessions.append(try await login(Identifier("user-\(number)"))) }
    let targets = ["files", "wiki", nil].flatMap { (audience: Identifier?) in
      ["read", nil].flatMap { (scope: Identifier?) in
        ["https://r", nil].map { ExchangeTarget(audience: audience, scope: scope, resource: $0) }
      }
    }
    let coordinator = coordinator
    let jobs = (0..<3).flatMap { _ in sessions.flatMap { session in targets.map { (session, $0) } } }.shuffled()
    let wrong = try await withThrowingTaskGroup(of: Bool.self) { group in
      for (session, target) in jobs {
        group.addTask {
          let token = try await coordinator.token(for: session, target).token.accessToken.reveal()
          return token != "\(session.subject) for \(target.audience ?? "-") \(target.scope ?? "-") \(target.resource ?? "-")"
        }
      }
      return try await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
    }
    #expect(wrong == 0 && source.exchanges == 40 * 12)
  }

  @Test("cache key confusion: a token for one session, audience, scope, resource or rule primes no other, for all pairs (S15)")
  func crossPrime() async throws {
    let (alice, bob) = (try await login(), try await login("bob"))
    let targets = (["files", "wiki", "filesa"] as [Identifier]).flatMap { audience in
      ([nil, "a", "a b", "b a"] as [Identifier?]).flatMap { scope in
        ([nil, "https://r", "a"] as [Identifier?]).flatMap { resource in
          ([[], ["account"]] as [Set<Identifier>]).map {
            ExchangeTarget(audience: audience, scope: scope, resource: resource, alsoFor: $0)
          }
        }
      }
    }
    let keys = [alice, bob].flatMap { session in targets.map { (session, $0) } }
    for (index, (session, target)) in keys.enumerated() {
      // All before this one are there: none of them answers for it.
      let before = source.exchanges
      _ = try await coordinator.token(for: session, target)
      #expect(source.exchanges == before + 1 && before == index)
    }
    for (session, target) in keys.reversed() { _ = try await coordinator.token(for: session, target) }
    #expect(source.exchanges == keys.count && keys.count == 144)
    // Dropping one drops one.
    await coordinator.invalidate(alice.key, targets[7]) { _ in true }
    for (session, target) in keys { _ = try await coordinator.token(for: session, target) }
    #expect(source.exchanges == keys.count + 1 && source.exchanges(for: targets[7]) == 3)
  }

  @Test("an exchanged token is fetched anew before it expires, and kept when the provider is down for a moment")
  func renewal() async throws {
    let session = try await login()
    source.setExchangeLife(.seconds(100))
    _ = try await coordinator.token(for: session, files)
    time.advance(by: .seconds(79))
    _ = try await coordinator.token(for: session, files)
    #expect(source.exchanges == 1)
    time.advance(by: .seconds(6))
    // Due: it is asked for beside the requests, once, and not again for five seconds when that fails.
    source.fail(.unavailable("down"))
    for _ in 0..<20 { #expect(await failure(session, files) == nil) }
    let (source, coordinator) = (source, coordinator)
    #expect(await eventually { source.exchanges == 2 })
    #expect(await eventually { await !coordinator.isExchanging(session.key, files) })
    for _ in 0..<20 { #expect(await failure(session, files) == nil) }
    #expect(source.exchanges == 2)
    source.fail(nil)
    time.advance(by: .seconds(5))
    _ = try await coordinator.token(for: session, files)
    #expect(await eventually { source.exchanges == 3 })
    #expect(await eventually { await !coordinator.isExchanging(session.key, files) })
    time.advance(by: .seconds(99))
    source.fail(.unavailable("down"))
    time.advance(by: .seconds(1))
    #expect(await failure(session, files) == .unavailable("down"))
  }

  @Test("a refused exchange is answered from memory for five seconds, ends no session, and never falls back to the user's own token")
  func refusal() async throws {
    let session = try await login()
    source.fail(.refused(code: "access_denied", detail: "Client not allowed to exchange"))
    for _ in 0..<50 {
      #expect(await failure(session, files) == .refused(code: "access_denied", detail: "Client not allowed to exchange"))
    }
    #expect(source.exchanges == 1)
    #expect(try await manager.load(session.key).session != nil)
    source.fail(nil)
    time.advance(by: .seconds(5))
    #expect(await failure(session, files) == nil)
  }

  @Test("after an upstream's 401 the next request exchanges anew, for that backend alone")
  func invalidated() async throws {
    let session = try await login()
    _ = try await coordinator.token(for: session, files)
    _ = try await coordinator.token(for: session, wiki)
    await coordinator.invalidate(session.key, files) { _ in true }
    _ = try await coordinator.token(for: session, files)
    _ = try await coordinator.token(for: session, wiki)
    #expect(source.exchanges(for: files) == 2 && source.exchanges(for: wiki) == 1)
  }

  @Test("logout racing an exchange: what arrives afterwards is given to nobody and not kept")
  func racingLogout() async throws {
    let session = try await login()
    let gate = Gate()
    source.hold(at: gate)
    let coordinator = coordinator
    let target = files
    let request = Task { () async -> TokenFailure? in
      do throws(TokenFailure) {
        _ = try await coordinator.token(for: session, target)
        return nil
      } catch { return error }
    }
    #expect(await eventually { gate.arrived == 1 })
    _ = try await manager.end(session.key, reason: .backChannelLogout)
    gate.open()
    #expect(await request.value == .sessionEnded(nil))
  }

  @Test("an exchange that needed a refresh gives the newer session too, so that the next audience asks nobody for it")
  func newerSession() async throws {
    let session = try await login()
    time.advance(by: .seconds(300))
    let exchanged = try await coordinator.token(for: session, files)
    #expect(exchanged.session.tokens.accessToken.reveal() == "access-1 of alice")
    #expect(try await coordinator.token(for: exchanged.session, wiki).session.version == exchanged.session.version)
    #expect(source.refreshes == 1)
  }

  @Test("those who wait for an exchange are answered within its time, the refresh before it included")
  func answeredInTime() async throws {
    let session = try await login()
    time.advance(by: .seconds(300))
    let (time, gate, source) = (time, Gate(), source)
    source.hold(at: gate)
    let request = Task { await failure(session, files) }
    #expect(await eventually { source.refreshes == 1 })
    // The limits of the call, of those who wait for the refresh, and of those who wait for the exchange.
    try #require(await eventually { time.sleeping == 3 })
    time.advance(by: .seconds(8))
    guard case .unavailable = await request.value else { throw SessionStoreConformance.Violation("not answered in time") }
    #expect(try await manager.load(session.key).session != nil)
  }

  @Test("an exchange for an expired session without a provider is 503 and asks for no exchange")
  func providerDown() async throws {
    let session = try await login()
    time.advance(by: .seconds(300))
    source.fail(.unavailable("down"))
    #expect(await failure(session, files) == .unavailable("down"))
    #expect(source.exchanges == 0)
  }
}
