import HTTPMessage
import HTTPServer
import IntercomCore
import IntercomTesting
import JOSE
import Sessions
import Testing

@Suite("Flow: what follows the end of a session", .serialized)
struct FlowAftercareTests {
  /// The tokens that the provider was asked to revoke, with their kinds.
  private func revoked(_ flow: FlowFixture) -> [(token: String, hint: String)] {
    flow.provider.requests.filter { $0.path.utf8.elementsEqual("/revoke".utf8) }.compactMap { request in
      guard let form = try? FormFields(parsing: request.body), let token = form.single("token"), let hint = form.single("token_type_hint")
      else { return nil }
      return (token, hint)
    }
  }

  /// The token with which a backend was asked last.
  private func bearer(_ flow: FlowFixture) throws -> String {
    String(try #require(flow.upstream.requests.last?.field("authorization")).dropFirst(7))
  }

  /// What the provider says of an access token.
  private func isGood(_ token: String, _ flow: FlowFixture) async throws -> Bool {
    try await flow.client.get(flow.issuer + "/userinfo", ["Authorization": "Bearer \(token)"]).status == 200
  }

  @Test("After a sign-out the refresh token and the exchanged tokens are revoked; a provider that takes its time delays nobody")
  func signOut() async throws {
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      #expect(try await flow.fetch(visitor, "GET", "/own/x").status == 200)
      let access = try bearer(flow)
      #expect(try await flow.fetch(visitor, "GET", "/fs/x").status == 200)
      let exchanged = try bearer(flow)
      #expect(try await isGood(access, flow))
      let gate = Gate()
      flow.provider.answer { request in
        if request.path.utf8.elementsEqual("/revoke".utf8) { await gate.pass() }
        return nil
      }
      let answer = try await flow.send(visitor, "GET", "/logout", FlowFixture.navigation)
      #expect(answer.status == 302)
      #expect(try await isGood(access, flow), "nothing is revoked yet")
      gate.open()
      try await waitUntilTrue("both tokens revoked") { revoked(flow).count == 2 && flow.running.pendingAftercare == 0 }
      #expect(revoked(flow)[0].hint == "refresh_token")
      #expect(revoked(flow)[1].token == exchanged && revoked(flow)[1].hint == "access_token")
      #expect(try await !isGood(access, flow))
      #expect(!flow.sink.lines.contains { $0.contains(exchanged) || $0.contains(revoked(flow)[0].token) })
    }
  }

  @Test("A session that a new sign-in replaces is not revoked at the provider: the new one is of the same provider's session")
  func replaced() async throws {
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      #expect(try await flow.fetch(visitor, "GET", "/own/x").status == 200)
      try await flow.signIn(visitor)
      try await waitUntilTrue("nothing left to do") { flow.running.pendingAftercare == 0 }
      #expect(revoked(flow).isEmpty)
      flow.time.advance(by: .seconds(3_600))
      #expect(try await flow.fetch(visitor, "GET", "/own/x").status == 200, "its refresh token is good")
      #expect(flow.refreshes == 1)
    }
  }

  @Test("An idle session's end leaves the person's session at the provider alone: they come back without a word")
  func idle() async throws {
    var options = FlowFixture.Options()
    options.deployment = { $0.sessions = SessionSettings(idle: .seconds(600), absolute: .seconds(86_400)) }
    try await FlowFixture.run(options) { flow in
      let visitor = try await flow.signedIn()
      // A record stays a little longer than its session, so that its end can be found.
      flow.time.advance(by: .seconds(610))
      #expect(try await flow.isAlive(visitor) == false)
      try await waitUntilTrue("nothing left to do") { flow.running.pendingAftercare == 0 }
      #expect(revoked(flow).isEmpty)
      let location = try await flow.begin(visitor, "/silent", FlowFixture.frame + [("Referer", flow.app + "/")])
      let page = try await visitor.send("GET", flow.authorize(visitor, location), FlowFixture.frame)
      #expect(try flow.message(page)["loggedIn"]?.bool == true)
    }
  }

  @Test("The provider is down at the sign-out: the local end comes first, and the revocation follows when it is back (fault 15)")
  func providerDown() async throws {
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      await flow.provider.goAway()
      #expect(try await flow.send(visitor, "GET", "/logout", FlowFixture.navigation).status == 302)
      #expect(try await flow.isAlive(visitor) == false)
      try await flow.provider.start()
      try await waitUntilTrue("the revocation", within: .seconds(30)) { revoked(flow).count == 1 }
    }
  }

  @Test("A store that fails at the sign-out: 503, nothing is revoked, and the session goes on (S11)")
  func storeDown() async throws {
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      #expect(try await flow.isAlive(visitor))
      flow.store.fail([.delete])
      #expect(try await flow.send(visitor, "GET", "/logout", FlowFixture.navigation).status == 503)
      flow.store.fail([])
      #expect(flow.running.pendingAftercare == 0 && revoked(flow).isEmpty)
      #expect(try await flow.fetch(visitor, "GET", "/own/x").status == 200)
    }
  }
}
