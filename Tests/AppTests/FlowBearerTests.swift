import Gateway
import HTTPMessage
import HTTPServer
import IntercomCore
import IntercomTesting
import JOSE
import StrictJSON
import Testing

@Suite("Flow: access tokens in place of a session", .serialized)
struct FlowBearerTests {
  /// Every route but `plain` and the public one takes tokens for `intercom`, which is what the provider's access tokens are for.
  private static var options: FlowFixture.Options {
    var options = FlowFixture.Options()
    options.deployment = { deployment in
      for index in deployment.routes.indices where !deployment.routes[index].isPublic {
        deployment.routes[index].bearer = deployment.routes[index].name == "plain" ? nil : "intercom"
      }
    }
    return options
  }

  private func run(_ body: (FlowFixture) async throws -> Void) async throws { try await FlowFixture.run(Self.options, body) }

  private func ask(
    _ flow: FlowFixture, _ target: String, _ token: String, method: String = "GET", _ fields: [(String, String)] = []
  ) async throws -> HTTPAnswer {
    try await flow.client.send(method, flow.url(target), fields: [("Authorization", "Bearer \(token)")] + fields)
  }

  /// An access token of the provider, as a client of its own has it.
  private func accessToken(_ flow: FlowFixture, _ user: String = "alice") async throws -> String {
    let visitor = try await flow.signedIn(user)
    _ = try await flow.fetch(visitor, "GET", "/own/token")
    let field = try #require(flow.upstream.requests.last?.field("authorization"))
    flow.upstream.forget()
    return String(field.dropFirst(7))
  }

  private func claims(_ flow: FlowFixture, _ changes: JSONObject = [:]) -> JSONObject {
    let now = flow.time.wallNow().seconds
    var claims: JSONObject = [
      "iss": .string(flow.issuer), "sub": "carol-id", "aud": "intercom", "iat": .int64(now), "exp": .int64(now + 300), "jti": "j",
      "preferred_username": "carol", "groups": ["staff"],
    ]
    for change in changes.members { claims[change.key] = change.value == .null ? nil : change.value }
    return claims
  }

  private func seen(_ flow: FlowFixture) throws -> SeenRequest { try #require(flow.upstream.requests.last) }

  @Test("A verified token gets the route's credential: exchanged, its own, basic, claims, none; no CSRF proof is needed")
  func credentials() async throws {
    try await run { flow in
      let token = try await accessToken(flow)
      #expect(try await ask(flow, "/fs/x", token, method: "PUT").status == 200)
      let exchanged = String(try #require(try seen(flow).field("authorization")).dropFirst(7))
      #expect(exchanged != token)
      #expect(try UnverifiedJWS.parse(exchanged).unverifiedClaims()["aud"]?.string == "files")
      #expect(try await ask(flow, "/own/x", token).status == 200)
      #expect(try seen(flow).field("authorization") == "Bearer \(token)")
      #expect(try await ask(flow, "/basic/x", token).status == 200)
      #expect(try seen(flow).field("authorization")?.hasPrefix("Basic ") == true)
      #expect(try await ask(flow, "/headers/x", token).status == 200)
      let request = try seen(flow)
      #expect(request.field("x-remote-user") == "alice" && request.field("authorization") == nil)
      for (claim, code) in ["a:b": "claim_unusable", "": "claim_missing"] {
        let other = try flow.liar.key.sign(claims(flow, ["preferred_username": .string(claim)]), type: "at+jwt")
        let answer = try await ask(flow, "/basic/x", other)
        #expect(answer.status == 403 && answer.text.contains("\"\(code)\""), "\(claim): \(answer.text)")
      }
      #expect(try await ask(flow, "/nob/x", token, method: "DELETE").status == 200)
      #expect(try seen(flow).field("authorization") == nil)
      // Each is fetched once.
      let before = flow.exchanges
      for _ in 0..<20 { #expect(try await ask(flow, "/fs/x", token).status == 200) }
      #expect(flow.exchanges == before && before == 1)
      #expect(!flow.sink.lines.contains { $0.contains(token) || $0.contains(exchanged) })
    }
  }

  @Test("A token is never another's: two people's requests interleaved get their own credentials (S16b)")
  func people() async throws {
    try await run { flow in
      let (alice, bob) = (try await accessToken(flow), try await accessToken(flow, "bob"))
      for _ in 0..<10 {
        for (token, name) in [(alice, "alice"), (bob, "bob")] {
          #expect(try await ask(flow, "/headers/x", token).status == 200)
          #expect(try seen(flow).field("x-remote-user") == name)
          #expect(try await ask(flow, "/fs/x", token).status == 200)
          let sent = String(try #require(try seen(flow).field("authorization")).dropFirst(7))
          #expect(try UnverifiedJWS.parse(sent).unverifiedClaims()["sub"]?.string == "\(name)-id")
        }
      }
      #expect(flow.exchanges == 2)
    }
  }

  @Test("What is no good token for this route is 401 with a challenge, and nothing is forwarded (S12)")
  func attacks() async throws {
    try await run { flow in
      let (right, now) = (claims(flow), flow.time.wallNow().seconds)
      let key = flow.liar.key
      let bad: [(String, String)] = [
        ("another audience", try key.sign(claims(flow, ["aud": "files"]), type: "at+jwt")),
        ("no audience", try key.sign(claims(flow, ["aud": .null]), type: "at+jwt")),
        ("an audience like it", try key.sign(claims(flow, ["aud": "intercom2"]), type: "at+jwt")),
        ("another issuer", try key.sign(claims(flow, ["iss": "http://evil.example"]), type: "at+jwt")),
        ("expired", try key.sign(claims(flow, ["exp": .int64(now)]), type: "at+jwt")),
        ("not yet", try key.sign(claims(flow, ["nbf": .int64(now + 600)]), type: "at+jwt")),
        ("an id_token", try key.sign(claims(flow, ["nonce": "n"]), type: "JWT")),
        ("Keycloak's id_token", try key.sign(claims(flow, ["typ": "ID"]), type: "JWT")),
        ("Keycloak's refresh token", try key.sign(claims(flow, ["typ": "Refresh"]), type: "JWT")),
        ("a logout token", try key.sign(claims(flow, ["events": .object([:])]), type: "logout+jwt")),
        ("bound to a key", try key.sign(claims(flow, ["cnf": ["jkt": "x"]]), type: "at+jwt")),
        ("another key", try SigningKey.generate(.es256, keyID: key.keyID).sign(right, type: "at+jwt")),
        ("an unknown key", try SigningKey.generate(.es256, keyID: "x").sign(right, type: "at+jwt")),
        ("none", CompactJWS.join(CompactJWS.signingInput(header: ["alg": "none"], payload: right.serialized), signature: [])),
        ("garbage", "garbage"), ("three parts", "a.b.c"),
      ]
      for (name, token) in bad {
        for target in ["/own/x", "/fs/x", "/nob/x"] {
          let answer = try await ask(flow, target, token)
          #expect(answer.status == 401, "\(name): \(answer.status)")
          #expect(answer.field("www-authenticate") == #"Bearer realm="intercom", error="invalid_token""#, "\(name)")
          #expect(answer.text.contains("invalid_token") && !answer.text.contains(token) && answer.all("set-cookie").isEmpty, "\(name)")
        }
      }
      let good = try key.sign(right, type: "at+jwt")
      // Not in the query, not in a form, not by another scheme, not twice.
      for target in ["/headers/x?access_token=\(good)", "/headers/x?token=\(good)"] {
        #expect(try await flow.client.send("GET", flow.url(target), fields: [("Origin", flow.app)]).status == 401)
      }
      let form = [("Content-Type", "application/x-www-form-urlencoded"), ("Origin", flow.app)]
      #expect(
        try await flow.client.send("POST", flow.url("/headers/x"), fields: form, body: Array("access_token=\(good)".utf8)).status == 401)
      for scheme in ["Token", "DPoP", "Basic", "Bearer:", "Bear"] {
        let answer = try await flow.client.send(
          "GET", flow.url("/headers/x"), fields: [("Authorization", "\(scheme) \(good)"), ("Origin", flow.app)])
        #expect(answer.status == 401, "\(scheme)")
        #expect(answer.all("www-authenticate").contains(#"Bearer realm="intercom""#))
      }
      #expect(try await ask(flow, "/headers/x", good, [("Authorization", "Bearer \(good)")]).status == 400)
      // A route without the setting takes none, whatever it is.
      #expect(try await ask(flow, "/plain/x", good, [("Origin", flow.app)]).status == 401)
      #expect(flow.upstream.requests.isEmpty)
      #expect(try await ask(flow, "/headers/x", good).status == 200)
      #expect(try seen(flow).field("x-remote-user") == "carol")
      #expect(!flow.sink.lines.contains { $0.contains(good) })
    }
  }

  @Test(
    "A session cookie alone decides: a good token beside a dead, a foreign or a garbled one opens nothing, and a live one's user counts")
  func cookieFirst() async throws {
    try await run { flow in
      let token = try await accessToken(flow)
      let dead = String(repeating: "A", count: 43)
      for cookie in [dead, "garbage", ""] {
        let answer = try await ask(flow, "/headers/x", token, [("Cookie", "a=b; intercom=\(cookie)"), ("Origin", flow.app)])
        #expect(answer.status == 401, "\(cookie)")
      }
      #expect(flow.upstream.requests.isEmpty)
      let bob = try #require(await flow.signedIn("bob").jar["intercom"]?.value)
      let cookie = [("Cookie", "intercom=\(bob)")]
      #expect(try await ask(flow, "/headers/x", token, cookie).status == 403, "the cookie needs its proof")
      #expect(try await ask(flow, "/headers/x", token, cookie + [("Origin", flow.app)]).status == 200)
      let request = try seen(flow)
      #expect(request.field("x-remote-user") == "bob" && request.field("authorization") == nil)
    }
  }

  @Test("A token is good until its time is over and not a moment longer, also where it was verified before")
  func expiry() async throws {
    try await run { flow in
      let token = try flow.liar.key.sign(claims(flow), type: "at+jwt")
      #expect(try await ask(flow, "/headers/x", token).status == 200)
      flow.time.advance(by: .seconds(290))
      #expect(try await ask(flow, "/headers/x", token).status == 200)
      flow.time.advance(by: .seconds(11))
      try await waitUntilTrue("it is over") { try await ask(flow, "/headers/x", token).status == 401 }
    }
  }

  @Test("A foreign Origin is refused with a good token too; what the provider refuses is 403; an upgrade takes no token")
  func otherRules() async throws {
    try await run { flow in
      let token = try await accessToken(flow)
      #expect(try await ask(flow, "/own/x", token, [("Origin", "https://evil.example")]).status == 403)
      for _ in 0..<5 { #expect(try await ask(flow, "/denied/x", token).status == 403) }
      #expect(flow.exchanges == 1, "a refusal is kept for a moment")
      #expect(
        try await ask(flow, "/headers/x", try flow.liar.key.sign(claims(flow, ["preferred_username": .null]), type: "at+jwt")).status == 403
      )
      #expect(flow.upstream.requests.isEmpty)
      #expect(try await ask(flow, "/own/x", token, [("Origin", flow.app)]).field("access-control-allow-origin") == flow.app)
    }
  }

  @Test("While the provider's keys cannot be fetched an unknown token is 503 and a known one goes on (fault 15)")
  func keysDown() async throws {
    try await run { flow in
      let (known, other) = (try flow.liar.key.sign(claims(flow), type: "at+jwt"), try SigningKey.generate(.es256, keyID: "rotated"))
      #expect(try await ask(flow, "/headers/x", known).status == 200)
      await flow.provider.goAway()
      let unknown = try other.sign(claims(flow), type: "at+jwt")
      let answer = try await ask(flow, "/headers/x", unknown)
      #expect(answer.status == 503 && answer.field("retry-after") != nil)
      #expect(try await ask(flow, "/headers/x", known).status == 200)
    }
  }

  @Test("An upstream's 401 drops the exchanged token, and the next request exchanges anew")
  func refusedUpstream() async throws {
    try await run { flow in
      let token = try await accessToken(flow)
      #expect(try await ask(flow, "/fs/x", token).status == 200)
      flow.upstream.answer { _ in Response(401) }
      #expect(try await ask(flow, "/fs/x", token).status == 401)
      flow.upstream.answer(nil)
      try await waitUntilTrue("a new exchange") {
        guard try await ask(flow, "/fs/x", token).status == 200 else { return false }
        return flow.exchanges == 2
      }
    }
  }
}
