import HTTPMessage
import HTTPServer
import IntercomApp
import IntercomCore
import IntercomTesting
import Sessions
import Testing

@Suite("Storm: everything expires at once", .serialized)
struct StormTests {
  @Test(
    "Fault 13: 200 requests at expiry over three backends: one refresh, one exchange per audience, 200 right answers (S16, S16b)",
    arguments: Storm.StoreKind.allCases)
  func expiry(_ store: Storm.StoreKind) async throws {
    let folder = try TestFolder()
    let sessions = Rounds.count(4, full: 8)
    // A full run takes the rounds that fit into its time and says how many they were.
    let (wanted, limit) = (Rounds.count(20, full: 10_000), Rounds.limit)
    try await FlowFixture.run(Storm.options(store, folder)) { flow in
      let storm = try await Storm(flow, sessions: sessions)
      var random = SplitMix64(state: 13)
      var total = Storm.Outcome()
      var rounds = 0
      let began = SystemTime().monotonicNow()
      while rounds < wanted, began.duration(to: SystemTime().monotonicNow()) < limit {
        let outcome = try await storm.round(&random)
        #expect(outcome.faults.isEmpty, "\(outcome.faults.prefix(5))")
        guard outcome.faults.isEmpty else { return }
        rounds += sessions
        total.answers += outcome.answers
        total.refreshes += outcome.refreshes
        total.exchanges += outcome.exchanges
        if rounds % 400 == 0 { Rounds.progress("fault 13, \(store.rawValue): \(rounds) of \(wanted) rounds") }
      }
      #expect(total.refreshes == rounds && total.exchanges == 2 * rounds && total.answers == storm.requests * rounds)
      #expect(Rounds.isFull || rounds == wanted)
      try Rounds.keep(
        "fault 13, one replica, \(store.rawValue) store: \(rounds) of \(wanted) rounds of 200 requests, \(sessions) sessions side by side:"
          + " \(total.refreshes) refreshes, \(total.exchanges) exchanges, \(total.answers) right answers, nothing else")
    }
  }

  /// A refresh that is due and waits at the provider until the gate opens, and 200 clients of that session who will need it.
  private func heldRefresh(_ flow: FlowFixture, _ cookie: String) throws -> (Gate, Volley, [Volley.Shot]) {
    let gate = Gate()
    flow.provider.answer { request in
      if String(decoding: request.body, as: UTF8.self).contains("grant_type=refresh_token") { await gate.pass() }
      return nil
    }
    flow.time.advance(by: .seconds(400))
    let shot = Volley.Shot("/own/x", ["Origin: \(flow.app)", "Cookie: intercom=\(cookie)"])
    let volley = try Volley(count: 200, port: flow.port, authority: String(flow.base.dropFirst("http://".count)))
    return (gate, volley, [Volley.Shot](repeating: shot, count: 200))
  }

  @Test("While 200 requests wait for a refresh, others are served on every loop, and clients that go away cancel nothing (faults 13, 48)")
  func loopsStayFree() async throws {
    try await FlowFixture.run { flow in
      let (waiting, other) = (try await flow.signedIn(), try await flow.signedIn("bob"))
      #expect(try await flow.fetch(other, "GET", "/plain/x").status == 200)
      let cookie = try #require(await waiting.jar["intercom"]?.value)
      let (gate, volley, shots) = try heldRefresh(flow, cookie)
      async let answers = volley.fire(shots)
      // Some more that hang up while they wait.
      for _ in 0..<20 {
        let gone = try await RawConnection.open(port: flow.port)
        try await gone.send("GET /own/x HTTP/1.1\r\nHost: intercom.localhost\r\nOrigin: \(flow.app)\r\nCookie: intercom=\(cookie)\r\n\r\n")
        await gone.resetWhenDone()
      }
      try await waitUntilTrue("the refresh at the provider") { gate.arrived == 1 }
      // New connections go to both loops.
      for _ in 0..<20 { #expect(try await flow.fetch(other, "GET", "/plain/x").status == 200) }
      #expect(flow.upstream.requests.count { $0.path == "/own-root/x" } == 0)
      gate.open()
      #expect(try await answers.allSatisfy { $0.status == 200 })
      #expect(flow.refreshes == 1)
    }
  }

  @Test(
    "Fault 27: sign-out while 200 requests wait for a refresh: none is let through, the session is not written back, the cookie is dead")
  func logoutRacesRefresh() async throws {
    for _ in 0..<Rounds.count(3, full: 300) {
      try await FlowFixture.run { flow in
        let visitor = try await flow.signedIn()
        let cookie = try #require(await visitor.jar["intercom"]?.value)
        let (gate, volley, shots) = try heldRefresh(flow, cookie)
        async let answers = volley.fire(shots)
        try await waitUntilTrue("the refresh at the provider") { gate.arrived == 1 }
        #expect(try await flow.send(visitor, "GET", "/logout", FlowFixture.navigation).status == 302)
        gate.open()
        let statuses = try await answers.map(\.status)
        #expect(statuses == [Int](repeating: 401, count: 200))
        #expect(flow.upstream.requests.isEmpty)
        let again = try await flow.client.get(flow.base + "/plain/x", ["Origin": flow.app, "Cookie": "intercom=\(cookie)"])
        #expect(again.status == 401)
      }
    }
    if Rounds.isFull { try Rounds.keep("fault 27: 300 sign-outs, each against 200 requests that waited for a refresh: none let through") }
  }
}
