import Cryptography
import IntercomCore
import IntercomTesting
import StrictJSON
import Testing

/// The Matrix half on real servers. One at a time: Keycloak knows Intercom at one address.
@Suite("A meetings bot through Intercom: Keycloak and Synapse", .serialized)
struct MatrixFlowTests {
  @Test(
    "each person's requests come with a token of their own account and one device, which stays the same when tokens end",
    .needs(.keycloak, .synapse), .timeLimit(.minutes(5)))
  func accessTokens() async throws {
    try await MatrixWorkplace.run { place in
      let name = place.services.matrixServerName
      let before = (try await place.devices(of: "alice"), try await place.devices(of: "bob"))
      let (alice, bob, again) = (try await place.signIn("alice"), try await place.signIn("bob"), try await place.signIn("alice"))
      let first = try await place.whoami(alice)
      #expect(first.user == "@alice:\(name)" && first.device.hasPrefix("INTERCOM-"))
      #expect(try await place.whoami(bob).user == "@bob:\(name)")
      let second = try await place.whoami(again)
      #expect(second.user == "@alice:\(name)" && second.device != first.device)
      // Tokens of this homeserver live for ten seconds.
      let end = SystemTime().monotonicNow().advanced(by: .seconds(25))
      while SystemTime().monotonicNow() < end {
        #expect(try await place.whoami(alice) == first)
        try await SystemTime().sleep(for: .milliseconds(500))
      }
      #expect(try await place.whoami(again) == second)
      #expect(try await place.devices(of: "alice").subtracting(before.0) == [first.device, second.device])
      #expect(try await place.devices(of: "bob").subtracting(before.1).count == 1)
      let metrics = try await place.intercom.metrics()
      #expect(metrics.contains(#"token_calls_total{call="matrix_login",result="done"} 3"#))
      #expect(!metrics.contains(#"token_calls_total{call="matrix_refresh",result="done"} 0"#))
    }
  }

  @Test(
    "somebody without an account there is told so, and stays signed in; the backend hears nothing", .needs(.keycloak, .synapse),
    .timeLimit(.minutes(3)))
  func accountMissing() async throws {
    try await MatrixWorkplace.run { place in
      let umlaut = try await place.signIn("umlaut")
      for path in ["/nob/whoami", "/identity/x"] {
        let answer = try await place.get(umlaut, path)
        #expect(answer.status == 403)
        #expect(try StrictJSON.object(answer.body)["code"]?.string == "matrix_account_missing")
      }
      #expect(place.bot.requests.isEmpty)
      #expect(try await place.get(umlaut, "/plain/x").status == 200)
      #expect(place.intercom.child.output.contains(#""reason":"matrix_account_missing""#))
    }
  }

  @Test(
    "a bot that only wants to know who it is gets an OpenID token, which the homeserver knows", .needs(.keycloak, .synapse),
    .timeLimit(.minutes(3)))
  func openID() async throws {
    try await MatrixWorkplace.run { place in
      for name in ["alice", "bob"] {
        place.bot.forget()
        let visitor = try await place.signIn(name)
        for _ in 0..<3 { #expect(try await place.get(visitor, "/identity/x").status == 200) }
        let sent = Set(place.bot.requests.map { $0.all("authorization") })
        let field = try #require(sent.first?.first)
        #expect(sent.count == 1 && field.hasPrefix("MX-Identity "))
        let token = try StrictJSON.object(try #require(Base64.decode(String(field.dropFirst("MX-Identity ".count)))))
        #expect(try await place.owner(ofOpenID: token["access_token"]?.string ?? "") == "@\(name):\(place.services.matrixServerName)")
        // It opens nothing else.
        #expect(try await place.status(of: token["access_token"]?.string ?? "") == 401)
      }
    }
  }

  @Test(
    "the logout ends the device: it is gone from the account, its token is refused, and the other devices stay",
    .needs(.keycloak, .synapse),
    .timeLimit(.minutes(3)))
  func loggedOut() async throws {
    try await MatrixWorkplace.run { place in
      let (alice, again) = (try await place.signIn("alice"), try await place.signIn("alice"))
      let (first, second) = (try await place.whoami(alice), try await place.whoami(again))
      // What a bot got keeps working until the logout, and not after it.
      let token = try await place.accessToken(alice)
      #expect(try await place.status(of: token) == 200)
      try await alice.open(place.base + "/logout")
      #expect(try await place.get(alice, "/nob/whoami").status == 401)
      try await waitUntilTrue("the end of the device") { try await !place.devices(of: "alice").contains(first.device) }
      #expect(try await place.status(of: token) == 401)
      #expect(try await place.devices(of: "alice").contains(second.device))
      #expect(try await place.whoami(again) == second)
    }
  }

  @Test(
    "a device whose token has ended is logged out all the same, by the provider's logout", .needs(.keycloak, .synapse),
    .timeLimit(.minutes(3)))
  func loggedOutLate() async throws {
    try await MatrixWorkplace.run { place in
      let bob = try await place.signIn("bob")
      let device = try await place.whoami(bob).device
      try await SystemTime().sleep(for: .seconds(12))
      #expect(try await place.devices(of: "bob").contains(device))
      try await bob.open(place.services.issuer + "/protocol/openid-connect/logout?client_id=intercom")
      #expect(try await bob.submit(["confirmLogout": "Logout"]).status == 200)
      try await waitUntilTrue("the end of the device") { try await !place.devices(of: "bob").contains(device) }
    }
  }
}
