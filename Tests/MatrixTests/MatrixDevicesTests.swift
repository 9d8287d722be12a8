import Cryptography
import HTTPMessage
import IntercomCore
import IntercomTesting
import Sessions
import Testing

@testable import Matrix

/// One replica's half of Matrix, on a store and a homeserver that others may share.
struct MatrixReplica: Sendable {
  let manager: SessionManager
  let devices: MatrixDevices
  let logout: MatrixLogout
  let client: MatrixClient

  init(_ store: any SessionStore, _ homeserver: HomeserverDouble, _ time: any TimeSource, keys: KeyRing) throws {
    manager = SessionManager(store: store, keys: keys, time: time, random: SystemRandom())
    devices = try MatrixDevices(manager: manager, keys: keys, time: time)
    client = MatrixClient(
      MatrixHomeserver(
        address: "https://matrix.test", serverName: Identifier(homeserver.serverName), asToken: Secret(homeserver.asToken),
        loginType: "m.login.application_service"), transport: homeserver, time: time)
    logout = MatrixLogout([client])
    manager.add(aftercare: logout)
  }

  func user(_ name: String) throws -> MatrixUserID { try MatrixUserID(claim: name, serverName: client.homeserver.serverName) }
  func token(_ session: Session, _ name: String = "alice") async throws -> String {
    try await devices.token(for: session, try user(name), at: client).device.accessToken.reveal()
  }
  func openID(_ session: Session, _ name: String = "alice") async throws -> String {
    String(decoding: try await devices.openIDToken(for: session, try user(name), at: client).token.json.reveal(), as: UTF8.self)
  }
  func failure(_ session: Session, _ name: String = "alice") async throws -> MatrixFailure? {
    let user = try user(name)
    do throws(MatrixFailure) {
      _ = try await devices.token(for: session, user, at: client)
      return nil
    } catch { return error }
  }
}

extension KeyRing {
  fileprivate static func test() throws -> KeyRing { try KeyRing([Secret([UInt8](repeating: 7, count: 32))]) }
}

@Suite("Matrix: devices of sessions")
struct MatrixDevicesTests {
  let time = ManualTime()
  let store: FaultySessionStore
  let homeserver: HomeserverDouble
  let replica: MatrixReplica

  init() throws {
    store = FaultySessionStore(MemorySessionStore(time: time))
    homeserver = HomeserverDouble(time: time)
    replica = try MatrixReplica(store, homeserver, time, keys: try .test())
  }

  private func login(_ subject: Identifier = "alice") async throws -> Session {
    try await replica.manager.create(from: .example(subject: subject, now: replica.manager.now())).session
  }
  private func stored(_ session: Session) async throws -> Session { try #require(try await replica.manager.read(session.key)) }

  @Test("200 requests at once cause one login, whose device lies in the session and serves every later request")
  func singleFlight() async throws {
    let (session, replica, gate) = (try await login(), replica, Gate())
    homeserver.hold(at: gate)
    let tokens = try await withThrowingTaskGroup(of: String.self) { group in
      for _ in 0..<200 { group.addTask { try await replica.token(session) } }
      #expect(await eventually { gate.arrived == 1 })
      gate.open()
      return try await group.reduce(into: Set<String>()) { $0.insert($1) }
    }
    #expect(tokens == ["mx-access-canary-1-of-alice"] && homeserver.count(.login) == 1)
    let newest = try await stored(session)
    // Also for who holds an older copy: the device is found in the store.
    for copy in [session, newest] { #expect(try await replica.token(copy) == "mx-access-canary-1-of-alice") }
    #expect(homeserver.count(.login) == 1 && homeserver.devices(of: "@alice:matrix.test").count == 1)
  }

  @Test("two replicas with one store log in once, as one device, for 100 requests")
  func twoReplicas() async throws {
    let (store, keys) = (MemorySessionStore(time: SystemTime()), try KeyRing.test())
    for _ in 0..<20 {
      let homeserver = HomeserverDouble(time: SystemTime())
      let replicas = try (0..<2).map { _ in try MatrixReplica(store, homeserver, SystemTime(), keys: keys) }
      let session = try await replicas[0].manager.create(from: VerifiedLogin.example(now: SystemTime().wallNow())).session
      let tokens = try await withThrowingTaskGroup(of: String.self) { group in
        for index in 0..<100 { group.addTask { try await replicas[index % 2].token(session) } }
        return try await group.reduce(into: Set<String>()) { $0.insert($1) }
      }
      #expect(tokens.count == 1 && homeserver.count(.login) == 1 && homeserver.devices(of: "@alice:matrix.test").count == 1)
    }
  }

  @Test("sessions and accounts never mix: 20 sessions with two accounts each (S16b, fault 25)")
  func neverMixed() async throws {
    for number in 0..<20 { homeserver.add(account: "user-\(number)") }
    homeserver.add(account: "shared")
    var sessions: [Session] = []
    for number in 0..<20 { sessions.append(try await login(Identifier("user-\(number)"))) }
    let (replica, homeserver) = (replica, homeserver)
    let wrong = try await withThrowingTaskGroup(of: Bool.self) { group in
      for (number, session) in sessions.enumerated() {
        for name in ["user-\(number)", "shared", "user-\(number)"] {
          group.addTask {
            let token = try await replica.token(session, name)
            return homeserver.owner(of: token) != "@\(name):matrix.test"
          }
        }
      }
      return try await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
    }
    #expect(wrong == 0 && homeserver.count(.login) == 40)
    // Two sessions of one account are two devices.
    #expect(homeserver.devices(of: "@shared:matrix.test").count == 20)
    #expect(Set(homeserver.devices(of: "@shared:matrix.test")).isDisjoint(with: homeserver.devices(of: "@user-1:matrix.test")))
  }

  @Test("a token that ends is refreshed ahead, beside the requests; one that has ended is waited for; the device stays the same")
  func refresh() async throws {
    homeserver.setLife(.seconds(100))
    let session = try await login()
    #expect(try await replica.token(session) == "mx-access-canary-1-of-alice")
    time.advance(by: .seconds(79))
    #expect(try await replica.token(try await stored(session)) == "mx-access-canary-1-of-alice" && homeserver.count(.refresh) == 0)
    time.advance(by: .seconds(5))
    homeserver.fail(.refresh, .answer(503, ""))
    for _ in 0..<20 { #expect(try await replica.token(try await stored(session)) == "mx-access-canary-1-of-alice") }
    let homeserver = homeserver
    #expect(await eventually { homeserver.count(.refresh) == 1 })
    homeserver.fail(.refresh, nil)
    time.advance(by: .seconds(5))
    try await waitUntilTrue("the refresh ahead of time") {
      _ = try await replica.token(try await stored(session))
      return try await replica.token(try await stored(session)) == "mx-access-canary-2-of-alice"
    }
    time.advance(by: .seconds(100))
    #expect(try await replica.token(try await stored(session)) == "mx-access-canary-3-of-alice")
    #expect(homeserver.count(.login) == 1 && homeserver.devices(of: "@alice:matrix.test").count == 1)
  }

  @Test("a device that was logged out behind our back is logged in anew, once, under its own name")
  func deviceGone() async throws {
    homeserver.setLife(.seconds(100))
    let session = try await login()
    _ = try await replica.token(session)
    let name = homeserver.devices(of: "@alice:matrix.test")
    homeserver.removeDevices()
    time.advance(by: .seconds(101))
    #expect(try await replica.token(try await stored(session)) == "mx-access-canary-2-of-alice")
    #expect(homeserver.count(.refresh) == 1 && homeserver.count(.login) == 2 && homeserver.devices(of: "@alice:matrix.test") == name)
    #expect(name.first?.hasPrefix("INTERCOM-") == true)
  }

  @Test("an upstream's 401 drops that very token: the next request logs in anew, and a newer token stays")
  func refusedByUpstream() async throws {
    let session = try await login()
    let user = try replica.user("alice")
    let first = try await replica.token(session)
    let copy = try await stored(session)
    let refuses: @Sendable (MatrixSent) -> Bool = { sent in
      if case .accessToken(let token) = sent { token.reveal() == first } else { false }
    }
    await replica.devices.invalidate(copy, user, ifRefused: refuses)
    #expect(try await replica.token(copy) == "mx-access-canary-2-of-alice")
    // Late answers to requests with the old one.
    await replica.devices.invalidate(try await stored(session), user, ifRefused: refuses)
    await replica.devices.invalidate(copy, user, ifRefused: refuses)
    for copy in [session, copy, try await stored(session)] { #expect(try await replica.token(copy) == "mx-access-canary-2-of-alice") }
    #expect(homeserver.count(.login) == 2 && homeserver.devices(of: "@alice:matrix.test").count == 1)
  }

  @Test("a backend that refuses every token causes a login in ten seconds at most")
  func refusesEverything() async throws {
    let session = try await login()
    let user = try replica.user("alice")
    for round in 0..<3 {
      for _ in 0..<20 {
        _ = try await replica.token(session)
        await replica.devices.invalidate(try await stored(session), user) { _ in true }
      }
      _ = try await replica.token(session)
      #expect(homeserver.count(.login) == round + 2)
      time.advance(by: .seconds(10))
    }
  }

  @Test("an account that is not there is asked for once in five seconds, however often an app asks; then it is found")
  func accountMissing() async throws {
    let session = try await login("carol")
    for _ in 0..<50 {
      guard case .homeserver(let error)? = try await replica.failure(session, "carol") else {
        throw WaitFailure("no failure", within: .zero)
      }
      #expect(error.code == .accountMissing)
    }
    #expect(homeserver.count(.login) == 1)
    #expect(try await stored(session).attachments.isEmpty)
    homeserver.add(account: "carol")
    time.advance(by: .seconds(5))
    #expect(try await replica.token(session, "carol") == "mx-access-canary-1-of-carol")
  }

  static let faults: [(HomeserverDouble.Fault, MatrixError.Code, Int64)] = [
    (.answer(429, #"{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":9000}"#), .unavailable, 9),
    (.answer(503, "", fields: ["Retry-After": "3600"]), .unavailable, 30), (.answer(500, "<h1>"), .unavailable, 2),
    (.transport(.unreachable("refused")), .unavailable, 2), (.answer(200, "[]"), .answerInvalid, 5),
    (.answer(403, #"{"errcode":"M_FORBIDDEN"}"#), .accountRefused, 5), (.answer(401, #"{"errcode":"M_UNKNOWN_TOKEN"}"#), .loginRefused, 5),
  ]

  @Test("a homeserver that fails is left alone for a while, in bounds, and the session is as it was", arguments: faults.indices)
  func outage(_ index: Int) async throws {
    let (fault, code, seconds) = Self.faults[index]
    let session = try await login()
    homeserver.fail(.login, fault)
    for round in 1...2 {
      for _ in 0..<20 {
        guard case .homeserver(let error)? = try await replica.failure(session) else { throw WaitFailure("no failure", within: .zero) }
        #expect(error.code == code)
      }
      #expect(homeserver.count(.login) == round)
      time.advance(by: .seconds(seconds - 1))
      _ = try await replica.failure(session)
      #expect(homeserver.count(.login) == round)
      time.advance(by: .seconds(1))
    }
    homeserver.fail(.login, nil)
    #expect(try await replica.token(session) == "mx-access-canary-1-of-alice")
  }

  @Test("a homeserver that never answers holds nobody longer than one call may take")
  func silence() async throws {
    let (session, replica, time) = (try await login(), replica, time)
    homeserver.fail(.login, .silence)
    let asking = Task { try await replica.failure(session) }
    #expect(await eventually { time.sleeping >= 2 })
    time.advance(by: .seconds(5))
    guard case .homeserver(let error)? = try await asking.value else { throw WaitFailure("no failure", within: .zero) }
    #expect(error.code == .unavailable)
  }

  @Test("all of a turn has one end: a login after a late refusal takes no longer, and a peer gets the lease then")
  func oneDeadline() async throws {
    homeserver.setLife(.seconds(100))
    let session = try await login()
    _ = try await replica.token(session)
    time.advance(by: .seconds(101))
    homeserver.removeDevices()
    let (old, gate, time, homeserver, replica) = (try await stored(session), Gate(), time, homeserver, replica)
    homeserver.hold(at: gate)
    let asking = Task { try await replica.failure(old) }
    #expect(await eventually { gate.arrived == 1 })
    // The refusal of the refresh comes late, and the login is never answered.
    time.advance(by: .milliseconds(4_900))
    homeserver.hold(at: nil)
    homeserver.fail(.login, .silence)
    gate.open()
    #expect(await eventually { homeserver.count(.login) == 2 })
    homeserver.fail(.login, nil)
    // Not much more than the eight seconds of the whole turn.
    time.advance(by: .milliseconds(3_101))
    guard case .homeserver(let error)? = try await asking.value else { throw WaitFailure("no failure", within: .zero) }
    #expect(error.code == .unavailable)
    let peer = try MatrixReplica(store, homeserver, time, keys: try .test())
    let token = Task { try await peer.token(old) }
    #expect(await eventually(within: .seconds(3)) { homeserver.count(.login) == 3 })
    for _ in 0..<20 { time.advance(by: .milliseconds(500)) }
    #expect(try await token.value.hasSuffix("of-alice") && homeserver.devices(of: "@alice:matrix.test").count == 1)
  }

  @Test("a session that ends while the login is under way gets no token, and the device is logged out again (fault 27)")
  func endedMeanwhile() async throws {
    let (session, replica, gate) = (try await login(), replica, Gate())
    homeserver.hold(at: gate)
    let asking = Task { try await replica.failure(session) }
    #expect(await eventually { gate.arrived == 1 })
    #expect(try await replica.manager.end(session.key, reason: .loggedOut))
    gate.open()
    #expect(try await asking.value == .sessionEnded)
    let homeserver = homeserver
    #expect(await eventually { homeserver.count(.logout) == 1 })
    #expect(homeserver.devices(of: "@alice:matrix.test").isEmpty)
    #expect(try await replica.manager.read(session.key) == nil)
    #expect(try await replica.failure(session) == .sessionEnded)
  }

  @Test("a store that does not answer is no refusal and no end, and no token is given out that it does not hold")
  func storeAway() async throws {
    let session = try await login()
    store.fail([.read])
    guard case .store? = try await replica.failure(session) else { throw WaitFailure("no failure of the store", within: .zero) }
    store.fail([.write])
    guard case .store? = try await replica.failure(session) else { throw WaitFailure("no failure of the store", within: .zero) }
    store.fail([])
    #expect(try await replica.token(session).hasSuffix("of-alice"))
    #expect(homeserver.devices(of: "@alice:matrix.test").count == 1)
  }

  @Test("OpenID tokens are asked for once and kept until near their end; a device that is gone is logged in anew for them")
  func openID() async throws {
    let (session, replica) = (try await login(), replica)
    let first = try await replica.openID(session)
    #expect(first.contains("mx-openid-canary") && homeserver.openIDOwner(of: "mx-openid-canary-2") == "@alice:matrix.test")
    for _ in 0..<20 { #expect(try await replica.openID(session) == first) }
    #expect(homeserver.count(.openid) == 1 && homeserver.count(.login) == 1)
    homeserver.removeDevices()
    time.advance(by: .seconds(3_580))
    #expect(try await replica.openID(session) == first)
    try await waitUntilTrue("the next OpenID token") { try await replica.openID(session) != first }
    #expect(homeserver.count(.openid) == 3 && homeserver.count(.login) == 2)
    let user = try replica.user("alice")
    await replica.devices.invalidate(session, user) { sent in if case .openIDToken = sent { true } else { false } }
    _ = try await replica.openID(session)
    #expect(homeserver.count(.openid) == 4 && homeserver.count(.login) == 2)
  }

  @Test("an end logs the device out, of all accounts of the session and of no other session")
  func ended() async throws {
    let (session, other, homeserver) = (try await login(), try await login(), homeserver)
    _ = try await replica.openID(session)
    _ = try await replica.token(session, "bob")
    _ = try await replica.token(other)
    #expect(try await replica.manager.end(session.key, reason: .loggedOut))
    #expect(await eventually { homeserver.devices(of: "@bob:matrix.test").isEmpty })
    #expect(await eventually { homeserver.devices(of: "@alice:matrix.test").count == 1 })
    let user = try replica.user("alice")
    await #expect(throws: MatrixFailure.sessionEnded) { _ = try await replica.devices.openIDToken(for: session, user, at: replica.client) }
    #expect(homeserver.owner(of: try await replica.token(other)) == "@alice:matrix.test" && homeserver.count(.logout) == 2)
    // A session without a device asks for nothing.
    #expect(try await replica.manager.end(try await login().key, reason: .loggedOut))
    let aftercare = replica.manager.aftercare
    #expect(await eventually { aftercare.count == 0 })
    #expect(homeserver.count(.logout) == 2)
  }

  @Test("a token that has ended is renewed for the logout; a device that is gone already is enough")
  func endedLate() async throws {
    homeserver.setLife(.seconds(100))
    let (session, homeserver) = (try await login(), homeserver)
    _ = try await replica.token(session)
    time.advance(by: .seconds(1_000))
    #expect(try await replica.manager.end(session.key, reason: .backChannelLogout))
    #expect(await eventually { homeserver.devices(of: "@alice:matrix.test").isEmpty })
    #expect(homeserver.count(.logout) == 2 && homeserver.count(.refresh) == 1 && homeserver.count(.login) == 1)
    let next = try await login()
    _ = try await replica.token(next)
    homeserver.removeDevices()
    let remains = SessionRemains(session: try await stored(next), reason: .loggedOut, tokens: nil)
    #expect(await replica.logout.sessionEnded(remains) == .done)
  }

  @Test("a homeserver that is away is tried again, a few times; one that is not configured any more is told of")
  func logoutFails() async throws {
    let (session, homeserver, time) = (try await login(), homeserver, time)
    _ = try await replica.token(session)
    let remains = SessionRemains(session: try await stored(session), reason: .loggedOut, tokens: nil)
    homeserver.fail(.logout, .answer(429, #"{"retry_after_ms":7000}"#))
    guard case .again(_, after: .seconds(7)) = await replica.logout.sessionEnded(remains) else {
      throw WaitFailure("no other try", within: .zero)
    }
    homeserver.fail(.logout, .answer(200, "hello"))
    guard case .failed = await replica.logout.sessionEnded(remains) else { throw WaitFailure("no failure", within: .zero) }
    replica.logout.replace([])
    guard case .failed = await replica.logout.sessionEnded(remains) else { throw WaitFailure("no failure", within: .zero) }
    replica.logout.replace([replica.client])
    homeserver.fail(.logout, .transport(.unreachable("refused")))
    let calls = homeserver.count(.logout)
    // The answer to who signs out does not wait for it.
    #expect(try await replica.manager.end(session.key, reason: .loggedOut))
    let aftercare = replica.manager.aftercare
    for round in 1...3 {
      if round == 3 { homeserver.fail(.logout, nil) }
      // In small steps: the time for one try must not run out.
      try await waitUntilTrue("try \(round)") {
        time.advance(by: .milliseconds(100))
        return homeserver.count(.logout) == calls + round
      }
    }
    #expect(await eventually { homeserver.devices(of: "@alice:matrix.test").isEmpty && aftercare.count == 0 })
  }

  @Test("of several devices those that can be logged out later are tried again, whatever is wrong with the others")
  func severalDevices() async throws {
    let session = try await login()
    for name in ["alice", "bob"] { _ = try await replica.token(session, name) }
    let remains = SessionRemains(session: try await stored(session), reason: .loggedOut, tokens: nil)
    let nonsense = HomeserverDouble.Fault.answer(200, "hello")
    func busy(_ seconds: Int) -> HomeserverDouble.Fault { .answer(429, #"{"retry_after_ms":\#(seconds * 1_000)}"#) }
    for faults in [[busy(7), nonsense], [nonsense, busy(7)], [busy(7), busy(3)], [busy(3), busy(7)]] {
      homeserver.failNext(.logout, faults)
      guard case .again(_, after: .seconds(7)) = await replica.logout.sessionEnded(remains) else {
        throw WaitFailure("no other try", within: .zero)
      }
    }
    homeserver.failNext(.logout, [nonsense])
    guard case .failed = await replica.logout.sessionEnded(remains) else { throw WaitFailure("no failure", within: .zero) }
    #expect(await replica.logout.sessionEnded(remains) == .done)
    #expect(homeserver.devices(of: "@alice:matrix.test").isEmpty && homeserver.devices(of: "@bob:matrix.test").isEmpty)
  }

  @Test("what a record keeps of a device is read whole or not at all, and another version's is none (S24)")
  func damaged() async throws {
    homeserver.setLife(.seconds(100))
    let session = try await login()
    _ = try await replica.token(session)
    let device = try #require(MatrixDevice(in: try await stored(session), of: "@alice:matrix.test"))
    let encoded = device.encoded
    #expect(MatrixDevice(encoded: encoded, device.user)?.encoded == encoded)
    for cut in 0..<encoded.count { #expect(MatrixDevice(encoded: Array(encoded.prefix(cut)), device.user) == nil) }
    #expect(MatrixDevice(encoded: encoded + [0], device.user) == nil)
    #expect(MatrixDevice(encoded: [2] + encoded.dropFirst(), device.user) == nil)
    // The number of the login ends it; from one without a next none can follow.
    for last in [Int64.max, -1, .min] {
      let number = (0..<8).reversed().map { UInt8(truncatingIfNeeded: last >> (Int64($0) * 8)) }
      #expect(MatrixDevice(encoded: encoded.dropLast(8) + number, device.user) == nil)
    }
    let beyond = try #require(
      try await replica.manager.attach(to: session, as: "matrix @alice:matrix.test") { _ in
        encoded.dropLast(8) + [0x7f] + [UInt8](repeating: 0xff, count: 7)
      })
    #expect(try await replica.token(beyond) == "mx-access-canary-2-of-alice")
    // Such a session logs in anew, under the same name.
    let broken = try #require(try await replica.manager.attach(to: session, as: "matrix @alice:matrix.test") { _ in [9] })
    #expect(try await replica.token(broken) == "mx-access-canary-3-of-alice")
    #expect(homeserver.devices(of: "@alice:matrix.test") == [device.id.description])
  }
}
