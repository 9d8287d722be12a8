import Cryptography
import HTTPMessage
import IntercomCore
import IntercomTesting
import JOSE
import StrictJSON
import Testing

@Suite("Hostile provider: clocks and keys", .serialized)
struct HostileClockTests {
  /// How far the provider's clock is ahead, in seconds, and why its tokens are refused.
  private static let clocks: [(Int64, String?)] = [(0, nil), (60, nil), (-60, nil), (600, "iat is in the future"), (-600, "expired")]

  private func logoutToken(_ flow: FlowFixture, _ key: SigningKey, sid: String) throws -> String {
    let now = flow.providerTime.wallNow().seconds
    return try key.sign(
      [
        "iss": .string(flow.issuer), "aud": "intercom", "iat": .int64(now), "exp": .int64(now + 120), "sid": .string(sid),
        "jti": .string(Base64URL.encode(SystemRandom().bytes(12))), "events": .object([LogoutLies.event: .object([:])]),
      ], type: "logout+jwt")
  }

  @Test(
    "Fault 20: a provider whose clock is a minute off is believed, one that is ten minutes off is not: login, refresh, exchange, logout")
  func providerClock() async throws {
    var options = FlowFixture.Options()
    options.provider = { $0.rotatesRefreshTokens = false }
    try await FlowFixture.run(options) { flow in
      let visitor = try await flow.signedIn()
      var page = HostilePage(
        section: .clocks, title: "Clocks", text: "Fault 20. The provider's own clock is off by so much; Intercom's is right.",
        columns: ["Seconds ahead", "Login", "Log", "Refresh", "Exchange", "Logout token"])
      for (ahead, cause) in Self.clocks {
        try await flow.signIn(visitor)
        flow.providerTime.setWall(off: .seconds(ahead))
        let newcomer = Visitor(timeout: .seconds(20))
        let mark = flow.logged
        let callback = try await flow.authorize(newcomer, flow.begin(newcomer))
        let login = try await newcomer.send("GET", callback, FlowFixture.navigation)
        let events = flow.events(["login_failed"], since: mark)
        #expect(login.status == (cause == nil ? 302 : 502), "\(ahead): \(login.wholeText)")
        #expect(events.first?.message == cause, "\(ahead)")
        let logout = try await flow.client.post(
          flow.base + "/backchannel-logout", form: ["logout_token": logoutToken(flow, flow.liar.key, sid: "nobody's")])
        #expect(logout.status == (cause == nil ? 200 : 400), "\(ahead): \(logout.text)")
        let exchange = try await flow.fetch(visitor, "GET", "/fs/x").status
        #expect(exchange == 200 || abs(ahead) > 60, "\(ahead)")
        flow.time.advance(by: .seconds(310))
        let refresh = try await flow.fetch(visitor, "GET", "/own/x").status
        #expect(refresh == (cause == nil ? 200 : 502), "\(ahead)")
        #expect(try await flow.isAlive(visitor), "\(ahead)")
        page.rows.append([
          "\(ahead)", "\(login.status)", events.first?.cell ?? "–", "\(refresh)", "\(exchange)", "\(logout.status)",
        ])
        flow.providerTime.setWall(off: .zero)
      }
      try page.settle()
    }
  }

  @Test("Fault 20: setting the local clock back extends no session, neither its idle nor its absolute time")
  func localClockBack() async throws {
    try await FlowFixture.run { flow in
      let (idle, used) = (try await flow.signedIn(), try await flow.signedIn())
      flow.time.setWall(off: .seconds(-3 * 86_400))
      for visitor in [idle, used] { #expect(try await flow.isAlive(visitor)) }
      for _ in 0..<7 {
        flow.time.advance(by: .seconds(23 * 3_600))
        let writes = flow.store.written
        #expect(try await flow.isAlive(used))
        try await waitUntilTrue("the use in the store") { flow.store.written > writes }
      }
      #expect(try await flow.isAlive(idle) == false, "not used for 24 hours, whatever the wall clock says")
      flow.time.advance(by: .seconds(8 * 3_600))
      #expect(try await flow.isAlive(used) == false, "seven days are over, whatever the wall clock says")
    }
  }

  @Test("S25, fault 18: a new key is fetched once for a hundred tokens at once; random key names cause one fetch in thirty seconds")
  func unknownKeys() async throws {
    let random = Rounds.count(200, full: 10_000)
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      let new = try SigningKey.generate(.es256, keyID: "key-3")
      flow.liar.publish(new)
      var fetched = flow.requests(to: "/jwks")
      let statuses = try await all(100) { _ in
        try logoutToken(flow, new, sid: "nobody's")
      } post: {
        try await post(flow, $0)
      }
      #expect(statuses == [Int](repeating: 200, count: 100))
      #expect(flow.requests(to: "/jwks") == fetched + 1)
      // The pause after that fetch is over; then every token names a key of its own.
      flow.time.advance(by: .seconds(31))
      fetched = flow.requests(to: "/jwks")
      let storm = try await all(random) { number in
        try logoutToken(flow, SigningKey.generate(.es256, keyID: Identifier("random-\(number)")), sid: "nobody's")
      } post: {
        try await post(flow, $0)
      }
      #expect(storm == [Int](repeating: 400, count: random))
      #expect(flow.requests(to: "/jwks") == fetched + 1)
      #expect(try await flow.isAlive(visitor))
      // A login meanwhile, with a key that is known, is not held up.
      try await flow.signIn(visitor)
      #expect(flow.requests(to: "/jwks") == fetched + 1)
      try Rounds.keep(
        "fault 18: \(random) tokens with keys of their own caused \(flow.requests(to: "/jwks") - fetched) fetch of the key set")
    }
  }

  private func post(_ flow: FlowFixture, _ token: String) async throws -> Int {
    try await flow.client.post(flow.base + "/backchannel-logout", form: ["logout_token": token]).status
  }

  /// Posts so many tokens, fifty at once.
  private func all(
    _ count: Int, _ make: @escaping @Sendable (Int) throws -> String, post: @escaping @Sendable (String) async throws -> Int
  ) async throws -> [Int] {
    try await withThrowingTaskGroup(of: Int.self) { group in
      var statuses: [Int] = []
      for number in 0..<count {
        if number >= 50, let status = try await group.next() { statuses.append(status) }
        group.addTask { try await post(make(number)) }
      }
      for try await status in group { statuses.append(status) }
      return statuses
    }
  }

  @Test("Fault 19: with its keys out of reach a provider is believed until they are a day old, then nobody signs in; it recovers by itself")
  func staleKeys() async throws {
    var options = FlowFixture.Options()
    options.deployment = {
      $0.providerTiming.refreshInterval = .milliseconds(50)
      $0.providerTiming.maximumBackOff = .milliseconds(50)
    }
    try await FlowFixture.run(options) { flow in
      let visitor = try await flow.signedIn()
      flow.liar.tell(.answer(.keys, .status(503)))
      let asked = flow.requests(to: "/jwks")
      try await waitUntilTrue("failing fetches") { flow.requests(to: "/jwks") > asked + 1 }
      try await flow.signIn(visitor)
      flow.time.advance(by: .seconds(86_000))
      try await flow.signIn(visitor)
      #expect(try await flow.readiness() == 200)
      let callback = try await flow.authorize(visitor, flow.begin(visitor))
      flow.time.advance(by: .seconds(500))
      #expect(try await flow.readiness() == 503)
      for answer in [try await visitor.send("GET", callback, FlowFixture.navigation), try await flow.send(visitor, "GET", "/login")] {
        #expect(answer.status == 503 && answer.word == "provider_unavailable", "\(answer.wholeText)")
        #expect(answer.all("set-cookie").isEmpty)
      }
      #expect(try await post(flow, logoutToken(flow, flow.liar.key, sid: "nobody's")) == 503)
      #expect(try await flow.isAlive(visitor))
      flow.liar.tell(nil)
      try await waitUntilTrue("a ready provider") { flow.running.isProviderReady }
      try await flow.signIn(visitor)
    }
  }
}
