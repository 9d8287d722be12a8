import HTTPMessage
import HTTPServer
import IntercomApp
import IntercomCore
import IntercomTesting
import Sessions
import Testing

@Suite("Flow: things that do not answer", .serialized)
struct FlowFaultTests {
  private static let everything = Set(FaultySessionStore.Operation.allCases)

  private func ready(_ flow: FlowFixture) async throws -> Int {
    let address = try #require(flow.running.adminAddress)
    return try await flow.client.get("http://127.0.0.1:\(address.port)/readyz").status
  }

  @Test("Fail open: without a provider Intercom is not ready and begins no login; it recovers by itself (S12, fault 22)")
  func absentProvider() async throws {
    try await FlowFixture.run(FlowFixture.Options(startsProvider: false)) { flow in
      #expect(try await ready(flow) == 503)
      let visitor = Visitor()
      for target in ["/login", "/plain/x"] {
        let answer = try await flow.send(visitor, "GET", target, FlowFixture.navigation)
        #expect(answer.status == 503)
        #expect(answer.field("retry-after") != nil)
        #expect(answer.field("content-type")?.hasPrefix("text/html") == true)
      }
      #expect(try await flow.fetch(visitor, "GET", "/plain/x").status == 401)
      #expect(flow.upstream.requests.isEmpty)
      try await flow.provider.start()
      try await waitUntilTrue("a ready Intercom", within: .seconds(40)) { try await ready(flow) == 200 }
      try await flow.signIn(visitor)
      #expect(try await flow.isAlive(visitor))
    }
  }

  @Test("Fault 22: a provider whose metadata names another issuer never makes Intercom ready")
  func lyingMetadata() async throws {
    try await FlowFixture.run(FlowFixture.Options(startsProvider: false)) { flow in
      flow.liar.tell(.discoveryIssuer)
      try await flow.provider.start()
      try await waitUntilTrue("a second look at the provider", within: .seconds(20)) { flow.provider.requests.count >= 2 }
      #expect(try await ready(flow) == 503)
      #expect(try await flow.send(Visitor(), "GET", "/login", FlowFixture.navigation).status == 503)
      flow.liar.tell(nil)
      try await waitUntilTrue("a ready Intercom", within: .seconds(40)) { try await ready(flow) == 200 }
    }
  }

  @Test("The provider is down at the exchange: 503 with Retry-After, the session is kept, nothing is forwarded; it goes on by itself")
  func providerDownAtExchange() async throws {
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      await flow.provider.goAway()
      let answer = try await flow.fetch(visitor, "GET", "/fs/x")
      #expect(answer.status == 503)
      #expect(answer.field("retry-after") != nil)
      #expect(answer.all("set-cookie").isEmpty)
      #expect(answer.field("access-control-allow-origin") == flow.app)
      #expect(flow.upstream.requests.isEmpty)
      #expect(try await flow.isAlive(visitor))
      try await flow.provider.start()
      #expect(try await flow.fetch(visitor, "GET", "/fs/x").status == 200)
    }
  }

  @Test("Fault 15: the provider is down when the token has expired: 503, the session is kept, and afterwards it goes on without a login")
  func providerDownAtRefresh() async throws {
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      #expect(try await flow.fetch(visitor, "GET", "/own/x").status == 200)
      await flow.provider.goAway()
      #expect(try await flow.fetch(visitor, "GET", "/own/x").status == 200)
      flow.time.advance(by: .seconds(400))
      let answer = try await flow.fetch(visitor, "GET", "/own/x")
      #expect(answer.status == 503 && answer.field("retry-after") != nil)
      #expect(try await flow.isAlive(visitor))
      try await flow.provider.start()
      #expect(try await flow.fetch(visitor, "GET", "/own/x").status == 200)
      #expect(flow.refreshes == 1)
    }
  }

  @Test("Fault 16: a refused refresh ends the session: 401 for a script, the login for a page")
  func refusedRefresh() async throws {
    try await FlowFixture.run { flow in
      let (first, second) = (try await flow.signedIn(), try await flow.signedIn("bob"))
      await flow.liar.provider.signOutEverywhere(username: "nobody")
      flow.provider.answer { request in
        let isRefresh = String(decoding: request.body, as: UTF8.self).contains("grant_type=refresh_token")
        return isRefresh ? Response(400, ["Content-Type": "application/json"], Array(#"{"error":"invalid_grant"}"#.utf8)) : nil
      }
      flow.time.advance(by: .seconds(400))
      let cookie = try #require(await first.jar["intercom"]?.value)
      let refused = try await flow.fetch(first, "GET", "/own/x")
      #expect(refused.status == 401 && refused.field("access-control-allow-origin") == flow.app)
      #expect(refused.all("set-cookie").contains { $0.hasPrefix("intercom=;") && $0.contains("Max-Age=0") })
      #expect(await first.jar["intercom"] == nil)
      // Once: who presents the dead cookie again has no session, and nothing is asked or deleted for it.
      let again = try await flow.client.get(flow.base + "/own/x", ["Origin": flow.app, "Cookie": "intercom=\(cookie)"])
      #expect(again.status == 401 && again.all("set-cookie").isEmpty)
      let page = try await flow.send(second, "GET", "/own/x", FlowFixture.navigation)
      #expect(page.status == 302 && page.field("location")?.hasPrefix(flow.issuer) == true)
      #expect(page.all("set-cookie").contains { $0.hasPrefix("intercom=;") && $0.contains("Max-Age=0") })
      #expect(flow.upstream.requests.isEmpty)
      #expect(flow.refreshes == 2)
      #expect(flow.sink.lines.count { $0.contains("session_ended") && $0.contains(#""reason":"refresh_refused""#) } == 2)
      let address = try #require(flow.running.adminAddress)
      let metrics = try await flow.client.get("http://127.0.0.1:\(address.port)/metrics").text
      #expect(metrics.contains(#"sessions_ended_total{reason="refresh_refused"} 2"#), "\(metrics)")
    }
  }

  @Test("Fault 13: fifty parallel requests with an expired token cause one refresh")
  func oneRefresh() async throws {
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      let cookie = try #require(await visitor.jar["intercom"]?.value)
      flow.time.advance(by: .seconds(400))
      let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
        for _ in 0..<50 {
          group.addTask {
            try await flow.client.get(flow.base + "/own/x", ["Origin": flow.app, "Cookie": "intercom=\(cookie)"]).status
          }
        }
        return try await group.reduce(into: [Int]()) { $0.append($1) }
      }
      #expect(statuses == [Int](repeating: 200, count: 50))
      #expect(flow.refreshes == 1)
    }
  }

  @Test("Fault 25: a refused exchange is 403, and the backend sees nothing")
  func refusedExchange() async throws {
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      let answer = try await flow.fetch(visitor, "GET", "/denied/x")
      #expect(answer.status == 403)
      #expect(answer.field("content-type") == "application/problem+json")
      #expect(flow.upstream.requests.isEmpty)
      #expect(!answer.text.contains("invalid_target"))
      let line = try #require(flow.sink.lines.last { $0.contains("credential_failed") })
      for part in [#""level":"warning""#, #""route":"denied""#, #""audience":"denied""#, #""reason":"invalid_target""#] {
        #expect(line.contains(part), "\(line)")
      }
      #expect(try await flow.isAlive(visitor))
    }
  }

  @Test(
    "Fault 25: an exchanged token of another audience, subject or type is 502, and the backend sees nothing",
    arguments: [ProviderLie.exchangedAudience, .exchangedSubject, .exchangedIssuedTokenType, .answerIsHTML, .answerHasDuplicateKeys])
  func mismatchedExchange(_ lie: ProviderLie) async throws {
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      flow.liar.tell(lie)
      let answer = try await flow.fetch(visitor, "GET", "/fs/x")
      #expect(answer.status == 502, "\(answer.text)")
      #expect(flow.upstream.requests.isEmpty)
      flow.liar.tell(nil)
      #expect(try await flow.isAlive(visitor))
      #expect(try await flow.fetch(visitor, "GET", "/fs/x").status == 200)
    }
  }

  @Test("A backend that refuses connections is 502, one that hangs 504 within its time; both as problems that the page may read")
  func upstreams() async throws {
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      let down = try await flow.fetch(visitor, "GET", "/down/x")
      #expect(down.status == 502)
      let gate = Gate()
      flow.upstream.answer { _ in
        await gate.pass()
        return nil
      }
      let began = SystemTime().monotonicNow()
      let slow = try await flow.fetch(visitor, "GET", "/slow/x")
      #expect(slow.status == 504)
      #expect(began.duration(to: SystemTime().monotonicNow()) < .seconds(3))
      gate.open()
      for answer in [down, slow] {
        #expect(answer.field("content-type") == "application/problem+json")
        #expect(answer.field("access-control-allow-origin") == flow.app && answer.variesByOrigin)
      }
      #expect(try await flow.isAlive(visitor))
    }
  }

  @Test("Fail open: the store is down, 503 on a cold loop, never a login redirect, a deleted cookie or a forwarded request (S12, fault 2)")
  func storeDown() async throws {
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      flow.store.fail(Self.everything)
      for fields in [FlowFixture.navigation, [("Origin", flow.app)]] {
        let answer = try await flow.send(visitor, "GET", "/plain/x", fields)
        #expect(answer.status == 503)
        #expect(answer.field("retry-after") != nil)
        #expect(answer.all("set-cookie").isEmpty)
        #expect(answer.field("location") == nil)
      }
      let login = try await flow.send(visitor, "GET", "/login", FlowFixture.navigation)
      #expect(login.status == 503 && login.all("set-cookie").isEmpty)
      let logout = try await flow.send(visitor, "GET", "/logout", FlowFixture.navigation)
      #expect(logout.status == 503 && logout.all("set-cookie").isEmpty)
      #expect(flow.upstream.requests.isEmpty)
      flow.store.fail([])
      #expect(try await flow.isAlive(visitor))
    }
  }

  @Test("A session ends when it is not used for its idle time, and use keeps it alive up to its absolute time")
  func times() async throws {
    try await FlowFixture.run { flow in
      let (used, idle) = (try await flow.signedIn(), try await flow.signedIn("bob"))
      for round in 0..<7 {
        let writes = flow.store.written
        #expect(try await flow.isAlive(used), "after \(round * 20) hours")
        // The use is written beside the request; twenty hours are enough for that, but here they pass at once.
        if round > 0 { try await waitUntilTrue("the use in the store") { flow.store.written > writes } }
        flow.time.advance(by: .seconds(20 * 3600))
      }
      #expect(try await flow.isAlive(idle) == false)
      let writes = flow.store.written
      #expect(try await flow.isAlive(used), "after 140 hours")
      try await waitUntilTrue("the use in the store") { flow.store.written > writes }
      flow.time.advance(by: .seconds(20 * 3600))
      #expect(try await flow.isAlive(used), "after 160 hours")
      flow.time.advance(by: .seconds(9 * 3600))
      #expect(try await flow.isAlive(used) == false, "after 169 hours")
    }
  }
}
