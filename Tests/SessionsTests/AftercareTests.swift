import Cryptography
import IntercomCore
import IntercomTesting
import Sessions
import Synchronization
import Telemetry
import Testing

/// Notes what it is told, waits where a test wants it to, and answers as the test says.
private final class RecordingCare: SessionAftercare {
  let kind: AftercareKind
  private let state = Mutex((told: [SessionRemains](), outcomes: [AftercareOutcome]()))
  private let gate: Gate?

  init(_ kind: AftercareKind = .revocation, gate: Gate? = nil) {
    self.kind = kind
    self.gate = gate
  }

  var told: [SessionRemains] { state.withLock { $0.told } }
  /// The outcomes of the next tries; afterwards it is `done`.
  func answer(_ outcomes: [AftercareOutcome]) { state.withLock { $0.outcomes = outcomes } }

  func sessionEnded(_ remains: SessionRemains) async -> AftercareOutcome {
    state.withLock { $0.told.append(remains) }
    await gate?.pass()
    return state.withLock { $0.outcomes.isEmpty ? .done : $0.outcomes.removeFirst() }
  }
}

@Suite("What is done elsewhere after a session's end")
struct AftercareTests {
  private let time = ManualTime()
  private let store: FaultySessionStore
  private let sink = MemorySink()
  private let registry = MetricRegistry()
  private let manager: SessionManager
  private let source = ScriptedTokenSource()
  private let coordinator: RefreshCoordinator
  private let care = RecordingCare()

  init() throws {
    store = FaultySessionStore(MemorySessionStore(time: time))
    manager = SessionManager(
      store: store, keys: try .test(), settings: SessionSettings(idle: .seconds(1_000), absolute: .seconds(10_000)), time: time,
      random: SystemRandom(), events: SessionEvents(log: StructuredLog(to: sink, minimum: .info), registry: registry))
    coordinator = RefreshCoordinator(manager: manager, source: source, time: time)
  }

  private func login(_ subject: Identifier = "alice", sid: Identifier? = "sid-1", replacing old: SessionID? = nil) async throws -> (
    id: SessionID, session: Session
  ) {
    try await manager.create(from: .example(subject: subject, sid: sid, now: manager.now()), replacing: old)
  }
  private func told(_ count: Int, by care: RecordingCare? = nil) async throws -> [SessionRemains] {
    let care = care ?? self.care
    #expect(await eventually { care.told.count >= count })
    let queue = manager.aftercare
    #expect(await eventually { queue.count == 0 })
    try #require(care.told.count == count)
    return care.told
  }
  private func metric(_ line: String) -> Bool {
    String(decoding: registry.render(), as: UTF8.self).split(separator: "\n").contains { $0.utf8.elementsEqual(line.utf8) }
  }

  @Test("each end is told once, with what was removed: signed out, by sid, by subject, idle, over for good")
  func allEnds() async throws {
    manager.add(aftercare: care)
    let first = try await login()
    #expect(try await manager.end(first.id, reason: .loggedOut))
    let sid = try await login(sid: "sid-2")
    #expect(try await manager.end(issuer: "https://id.example", sid: "sid-2", reason: .backChannelLogout) == 1)
    let (bob, other) = (try await login("bob", sid: "sid-3"), try await login("bob", sid: nil))
    #expect(try await manager.end(issuer: "https://id.example", subject: "bob", reason: .backChannelLogout) == 2)
    let idle = try await login()
    time.advance(by: .seconds(1_000))
    #expect(try await manager.load(idle.id).endReason == .idle)
    let told = try await told(5)
    #expect(Set(told.map(\.session.key)) == Set([first, sid, bob, other, idle].map(\.session.key)))
    #expect(told.filter { $0.reason == .backChannelLogout }.count == 3 && told.filter { $0.reason == .idle }.count == 1)
    #expect(told.allSatisfy { $0.tokens?.refreshToken?.reveal() == "refresh-0" && $0.session.claims["preferred_username"] != nil })
    #expect(metric("intercom_session_aftercare_total{care=\"revocation\",result=\"done\"} 5"))
    #expect(metric("intercom_session_aftercare_waiting 0"))
    // What is no session ends nothing.
    #expect(try await !manager.end(first.id, reason: .loggedOut))
    #expect(care.told.count == 5)
  }

  @Test("a session that a sign-in replaces is told of when the new one stands")
  func replaced() async throws {
    manager.add(aftercare: care)
    let old = try await login()
    let new = try await login(replacing: old.id)
    let told = try await told(1)
    #expect(told[0].session.key == old.session.key && told[0].reason == .replaced)
    #expect(try await manager.hasSession(issuer: "https://id.example", sid: "sid-1"))
    _ = try await manager.end(new.id, reason: .loggedOut)
    #expect(try await !manager.hasSession(issuer: "https://id.example", sid: "sid-1"))
  }

  @Test("a sign-out waits for none of it")
  func neverWaits() async throws {
    let gate = Gate()
    let care = RecordingCare(gate: gate)
    manager.add(aftercare: care)
    let session = try await login()
    #expect(try await manager.end(session.id, reason: .loggedOut))
    #expect(manager.aftercare.count == 1)
    gate.open()
    _ = try await told(1, by: care)
  }

  @Test("the tokens that are told of are the newest: a refresh wrote them between the reading and the removal")
  func newest() async throws {
    manager.add(aftercare: care)
    let session = try await login()
    time.advance(by: .seconds(300))
    let coordinator = coordinator
    store.once(before: .delete) { _ = try? await coordinator.session(session.session) }
    #expect(try await manager.end(session.id, reason: .loggedOut))
    #expect(try await told(1)[0].tokens?.refreshToken?.reveal() == "refresh-1")
    #expect(source.refreshes == 1)
  }

  @Test("the tokens that are told of are the newest: the store had not taken them")
  func unsaved() async throws {
    manager.add(aftercare: care)
    let session = try await login()
    time.advance(by: .seconds(300))
    store.fail([.write])
    await #expect(throws: TokenFailure.self) { try await coordinator.session(session.session) }
    store.fail([])
    #expect(try await manager.end(session.id, reason: .loggedOut))
    #expect(try await told(1)[0].tokens?.refreshToken?.reveal() == "refresh-1")
  }

  @Test("tokens that come too late for a session that has ended are told of too, the refreshed and the exchanged ones")
  func late() async throws {
    manager.add(aftercare: care)
    let (coordinator, source) = (coordinator, source)
    /// Ends the session while a call for its tokens is held.
    func end(_ made: (id: SessionID, session: Session), during call: @escaping @Sendable () async -> Bool) async throws {
      let gate = Gate()
      source.hold(at: gate)
      let calling = Task { await call() }
      #expect(await eventually { gate.arrived == 1 })
      #expect(try await manager.end(made.id, reason: .loggedOut))
      gate.open()
      #expect(await !calling.value)
    }
    let first = try await login()
    try await end(first) { (try? await coordinator.token(for: first.session, ExchangeTarget(audience: "files"))) != nil }
    let second = try await login()
    time.advance(by: .seconds(300))
    try await end(second) { (try? await coordinator.session(second.session)) != nil }
    let late = try await told(4).filter { $0.reason == nil }
    #expect(late.count == 2)
    #expect(late.flatMap(\.backendTokens).map { $0.accessToken.reveal() } == ["alice for files - -"])
    #expect(late.compactMap { $0.tokens?.refreshToken?.reveal() } == ["refresh-1"])
  }

  @Test("exchanged tokens that this process holds are told of and given to nobody any more")
  func exchanged() async throws {
    manager.add(aftercare: care)
    let session = try await login()
    for audience in ["files", "wiki"] {
      _ = try await coordinator.token(for: session.session, ExchangeTarget(audience: Identifier(audience)))
    }
    #expect(try await manager.end(session.id, reason: .loggedOut))
    let tokens = try await told(1)[0].backendTokens.map { $0.accessToken.reveal() }
    #expect(Set(tokens) == ["alice for files - -", "alice for wiki - -"])
  }

  @Test("a store that cannot be read keeps no session alive: it ends, and nothing is told")
  func unreadable() async throws {
    manager.add(aftercare: care)
    let session = try await login()
    store.fail([.read])
    #expect(try await manager.end(session.id, reason: .loggedOut))
    store.fail([])
    #expect(try await manager.load(session.id).isNone)
    #expect(manager.aftercare.count == 0 && care.told.isEmpty)
  }

  @Test("a try that fails is repeated after a pause, three in all; then one line tells it")
  func retries() async throws {
    manager.add(aftercare: care)
    care.answer([.again("down"), .again("down"), .again("still down")])
    let session = try await login()
    _ = try await manager.end(session.id, reason: .loggedOut)
    for (tries, pause) in [(1, Duration.seconds(1)), (2, .seconds(5))] {
      let (care, time) = (care, time)
      #expect(await eventually { care.told.count == tries })
      // The pause, and the limit of the try whose end may still be on its way.
      #expect(await eventually { time.sleeping >= 1 })
      #expect(manager.aftercare.count == 1)
      #expect(
        await eventually {
          time.advance(by: pause)
          return care.told.count == tries + 1
        })
    }
    _ = try await told(3)
    let lines = sink.lines.filter { $0.contains("session_aftercare_given_up") }
    #expect(lines.count == 1 && lines[0].contains("still down") && lines[0].contains(#""tries":3"#))
    #expect(metric("intercom_session_aftercare_total{care=\"revocation\",result=\"given_up\"} 1"))
  }

  @Test("one that cannot work is not tried again, and one that hangs is given up in the end")
  func hopeless() async throws {
    let gate = Gate()
    let hanging = RecordingCare(.matrix, gate: gate)
    manager.add(aftercare: care)
    manager.add(aftercare: hanging)
    care.answer([.failed("no such client")])
    let session = try await login()
    _ = try await manager.end(session.id, reason: .loggedOut)
    let (time, queue, plain) = (time, manager.aftercare, care)
    #expect(await eventually { hanging.told.count == 1 && plain.told.count == 1 })
    #expect(
      await eventually {
        time.advance(by: .seconds(15))
        return queue.count == 0
      })
    #expect(hanging.told.count == 3 && plain.told.count == 1)
    #expect(metric("intercom_session_aftercare_total{care=\"matrix\",result=\"given_up\"} 1"))
    #expect(metric("intercom_session_aftercare_total{care=\"revocation\",result=\"given_up\"} 1"))
    gate.open()
  }

  @Test("the queue is bounded: what comes beyond it is dropped and counted, and the sessions end all the same")
  func bounded() async throws {
    let gate = Gate()
    let care = RecordingCare(gate: gate)
    manager.add(aftercare: care)
    let count = AftercareQueue.capacity + 10
    for _ in 0..<count { _ = try await login() }
    #expect(try await manager.end(issuer: "https://id.example", sid: "sid-1", reason: .backChannelLogout) == count)
    #expect(manager.aftercare.count == AftercareQueue.capacity)
    #expect(await eventually { care.told.count == AftercareQueue.width })
    #expect(metric("intercom_session_aftercare_total{care=\"revocation\",result=\"dropped\"} 10"))
    #expect(sink.lines.filter { $0.contains("session_aftercare_dropped") }.count >= 1)
    gate.open()
    _ = try await told(AftercareQueue.capacity, by: care)
  }

  @Test("at the end of the process what rests is tried once more at once, and nobody waits longer than the time to drain")
  func drained() async throws {
    manager.add(aftercare: care)
    care.answer([.again("down")])
    let session = try await login()
    _ = try await manager.end(session.id, reason: .loggedOut)
    let (care, manager, time) = (care, manager, time)
    #expect(await eventually { care.told.count == 1 && time.sleeping == 1 })
    let draining = Task { await manager.aftercare.drain(within: .seconds(30)) }
    #expect(await eventually { care.told.count == 2 })
    #expect(
      await eventually {
        time.advance(by: .milliseconds(10))
        return manager.aftercare.count == 0
      })
    time.advance(by: .seconds(1))
    #expect(await draining.value)
  }

  @Test("what is not done when the time to drain is over is left, and one line says how much")
  func cutOff() async throws {
    let gate = Gate()
    manager.add(aftercare: RecordingCare(gate: gate))
    let session = try await login()
    _ = try await manager.end(session.id, reason: .loggedOut)
    let (manager, time) = (manager, time)
    let isDone = Flag()
    let draining = Task {
      let isClean = await manager.aftercare.drain(within: .seconds(2))
      isDone.set()
      return isClean
    }
    #expect(
      await eventually {
        time.advance(by: .milliseconds(100))
        return isDone.isSet
      })
    #expect(await draining.value == false)
    #expect(sink.lines.contains { $0.contains("session_aftercare_unfinished") && $0.contains(#""count":1"#) })
    gate.open()
  }
}
