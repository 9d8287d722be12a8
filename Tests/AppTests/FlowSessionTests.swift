import Gateway
import HTTPMessage
import IntercomApp
import IntercomCore
import IntercomTesting
import Linux
import OpenSSL
import Sessions
import StrictJSON
import Testing

@Suite("Flow: what applications ask about the session", .serialized, .timeLimit(.minutes(3)))
struct FlowSessionTests {
  private func state(_ answer: HTTPAnswer) throws -> JSONObject {
    #expect(answer.status == 200 && answer.field("content-type") == "application/json", "\(answer.status) \(answer.text)")
    #expect(answer.field("cache-control") == "no-store" && answer.field("x-content-type-options") == "nosniff" && answer.variesByOrigin)
    return try StrictJSON.object(answer.body)
  }

  // MARK: /session

  @Test("GET /session tells that somebody is signed in and for how long, and why nobody is; never who, and no token")
  func standing() async throws {
    try await FlowFixture.run { flow in
      let none = try state(try await flow.fetch(Visitor(), "GET", "/session"))
      #expect(none["signedIn"]?.bool == false && none["reason"]?.string == "no_session")
      let visitor = try await flow.signedIn()
      let cookie = try #require(await visitor.jar["intercom"]?.value)
      let answer = try await flow.fetch(visitor, "GET", "/session")
      #expect(answer.field("access-control-allow-origin") == flow.app && answer.field("access-control-allow-credentials") == "true")
      let signedIn = try state(answer)
      #expect(signedIn["signedIn"]?.bool == true)
      let (idle, absolute) = (try #require(signedIn["idleExpiresIn"]?.int64), try #require(signedIn["absoluteExpiresIn"]?.int64))
      #expect((86_300...86_400).contains(idle) && (604_700...604_800).contains(absolute))
      #expect(signedIn["expiresIn"]?.int64 == min(idle, absolute))
      #expect(signedIn.members.count == 4 && !answer.text.contains("alice"))
      #expect(try await flow.send(visitor, "HEAD", "/session", [("Origin", flow.app)]).body.isEmpty)
      _ = try await flow.send(visitor, "GET", "/logout", FlowFixture.navigation)
      let ended = try state(try await flow.ask("GET", "/session", cookie: cookie))
      #expect(ended["signedIn"]?.bool == false && ended["reason"]?.string == "session_ended")
    }
  }

  @Test("Asking is no use and refreshes nothing: a session that is only watched ends when it is idle")
  func noUse() async throws {
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      #expect(try await flow.isAlive(visitor))
      var last = Int64.max
      // The tokens' time is over after five minutes.
      for _ in 0..<24 {
        let state = try state(try await flow.fetch(visitor, "GET", "/session"))
        let left = try #require(state["idleExpiresIn"]?.int64)
        #expect(state["signedIn"]?.bool == true && left < last)
        last = left
        flow.time.advance(by: .seconds(3_600))
      }
      let over = try state(try await flow.fetch(visitor, "GET", "/session"))
      #expect(over["signedIn"]?.bool == false && over["reason"]?.string == "idle")
      #expect(flow.refreshes == 0)
      #expect(try await flow.isAlive(visitor) == false)
    }
  }

  @Test("A page that may not ask learns nothing, not even by the status: the same with and without a session (S32)")
  func strangers() async throws {
    try await FlowFixture.run { flow in
      let cookie = try #require(await flow.signedIn().jar["intercom"]?.value)
      let strangers: [[(String, String)]] = [
        [("Origin", "https://evil.example")], [("Origin", "null")], [],
        [("Sec-Fetch-Mode", "no-cors"), ("Sec-Fetch-Dest", "script"), ("Sec-Fetch-Site", "cross-site")],
        [("Sec-Fetch-Mode", "no-cors"), ("Sec-Fetch-Dest", "image"), ("Sec-Fetch-Site", "same-site")],
        [("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "iframe"), ("Accept", "text/html"), ("Sec-Fetch-Site", "cross-site")],
      ]
      for fields in strangers {
        let answers = [
          try await flow.ask("GET", "/session", cookie: cookie, fields), try await flow.ask("GET", "/session", cookie: nil, fields),
        ]
        for answer in answers {
          #expect(answer.status == 403 && answer.field("access-control-allow-origin") == nil && answer.variesByOrigin, "\(fields)")
        }
        #expect(answers[0].body == answers[1].body)
        for target in ["/session/events", "/uuid"] {
          #expect([302, 403].contains(try await flow.ask("GET", target, cookie: cookie, fields).status), "\(target) \(fields)")
        }
      }
      let own = [("Sec-Fetch-Mode", "cors"), ("Sec-Fetch-Dest", "empty"), ("Sec-Fetch-Site", "same-origin")]
      #expect(try state(try await flow.ask("GET", "/session", cookie: cookie, own))["signedIn"]?.bool == true)
      let preflight = [("Origin", flow.app), ("Access-Control-Request-Method", "GET")]
      #expect(try await flow.ask("OPTIONS", "/session", cookie: nil, preflight).status == 204)
      #expect(try await flow.ask("POST", "/session", cookie: cookie).status == 405)
    }
  }

  @Test("While the store is away nobody is said to be signed out: 503 (fault 2)")
  func storeDown() async throws {
    try await FlowFixture.run { flow in
      let cookie = try await flow.plantedSession()
      flow.store.fail([.read])
      let answer = try await flow.ask("GET", "/session", cookie: cookie)
      #expect(answer.status == 503 && answer.field("retry-after") != nil)
      flow.store.fail([])
      #expect(try state(try await flow.ask("GET", "/session", cookie: cookie))["signedIn"]?.bool == true)
    }
  }

  // MARK: /uuid

  @Test("GET /uuid answers the claim that names the user, as text; it is a session route and a use of the session")
  func userName() async throws {
    var options = FlowFixture.Options()
    options.deployment = { $0.userClaim = "preferred_username" }
    try await FlowFixture.run(options) { flow in
      let visitor = try await flow.signedIn()
      let answer = try await flow.fetch(visitor, "GET", "/uuid")
      #expect(answer.status == 200 && answer.text == "alice" && answer.field("content-type") == "text/plain; charset=utf-8")
      #expect(answer.field("cache-control") == "no-store" && answer.field("x-content-type-options") == "nosniff")
      #expect(answer.field("access-control-allow-origin") == flow.app)
      #expect(try await flow.fetch(Visitor(), "GET", "/uuid").status == 401)
      #expect(try await flow.send(visitor, "GET", "/uuid").status == 403)
      let token = try await flow.csrfToken(visitor)
      #expect(try await flow.send(visitor, "GET", "/uuid", [("X-CSRF-Token", token)]).text == "alice")
      #expect(try await flow.send(Visitor(), "GET", "/uuid", FlowFixture.navigation).status == 302)
      // Used every 20 hours it lives on.
      for _ in 0..<3 {
        flow.time.advance(by: .seconds(20 * 3_600))
        #expect(try await flow.fetch(visitor, "GET", "/uuid").status == 200)
        try await waitUntilTrue("the use is written") {
          try state(try await flow.fetch(visitor, "GET", "/session"))["idleExpiresIn"]?.int64 ?? 0 > 86_000
        }
      }
    }
  }

  @Test("A sign-in without the claim is 403 claim_missing at /uuid, and a line in the log names the claim")
  func userNameMissing() async throws {
    for claim in ["entryuuid", "groups"] as [Identifier] {
      var options = FlowFixture.Options()
      options.deployment = { $0.userClaim = claim }
      try await FlowFixture.run(options) { flow in
        let visitor = try await flow.signedIn()
        let answer = try await flow.fetch(visitor, "GET", "/uuid")
        #expect(answer.status == 403 && answer.text.contains("claim_missing") && answer.field("access-control-allow-origin") == flow.app)
        #expect(flow.sink.lines.contains { $0.contains("claim_missing") && $0.contains(claim.description) })
        #expect(try await flow.isAlive(visitor))
      }
    }
  }

  // MARK: the cookie

  @Test("The session cookie ends with the browser, or with the session's longest time when it is to persist", arguments: [false, true])
  func cookieLifetime(_ isPersistent: Bool) async throws {
    var options = FlowFixture.Options()
    options.deployment = { deployment in
      deployment.cookies = OwnCookies(isSecure: false, isPersistent: isPersistent)
      deployment.sessions = SessionSettings(idle: .seconds(600), absolute: .seconds(5_000))
    }
    try await FlowFixture.run(options) { flow in
      let attributes = try #require(await flow.signedIn().jar["intercom"]).attributes
      let ages = attributes.filter { $0.hasPrefix("max-age=") }.compactMap { Int($0.dropFirst(8)) }
      #expect(isPersistent ? ages.count == 1 && (4_990...5_000).contains(ages[0]) : ages.isEmpty, "\(attributes)")
    }
  }
}
