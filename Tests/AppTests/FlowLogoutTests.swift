import Cryptography
import HTTPMessage
import IntercomCore
import IntercomTesting
import JOSE
import Sessions
import StrictJSON
import Testing

@Suite("Flow: signing out", .serialized)
struct FlowLogoutTests {
  @Test("Logout forgery: as an image, in a frame or by a foreign fetch /logout is 403 and the session lives (S21)")
  func forged() async throws {
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      let cases: [(String, [(String, String)])] = [
        ("GET", [("Sec-Fetch-Mode", "no-cors"), ("Sec-Fetch-Dest", "image"), ("Sec-Fetch-Site", "cross-site")]),
        ("GET", [("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "iframe"), ("Accept", "text/html")]),
        ("GET", [("Sec-Fetch-Mode", "cors"), ("Sec-Fetch-Dest", "empty"), ("Origin", flow.app)]),
        ("GET", [("Accept", "*/*")]), ("GET", [("Origin", "https://evil.example"), ("Accept", "text/html")]),
        ("POST", []), ("POST", [("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")]),
        ("POST", [("Origin", "https://evil.example")]), ("POST", [("Origin", "null")]), ("POST", [("X-CSRF-Token", "")]),
        ("POST", [("X-CSRF-Token", "wrong")]),
      ]
      for (method, fields) in cases {
        let answer = try await flow.send(visitor, method, "/logout", fields, body: method == "POST" ? [] : nil)
        #expect(answer.status == 403, "\(method) \(fields)")
        #expect(answer.all("set-cookie").isEmpty && answer.variesByOrigin)
      }
      #expect(try await flow.isAlive(visitor))
    }
  }

  @Test("A top-level GET ends the session at once and goes to the provider with id_token_hint; the provider's session ends too")
  func topLevel() async throws {
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      let cookie = try #require(await visitor.jar["intercom"]?.value)
      let answer = try await flow.send(visitor, "GET", "/logout?returnTo=" + FormText.escape("/plain/bye"), FlowFixture.navigation)
      #expect(answer.status == 302)
      let location = try #require(answer.field("location"))
      let query = String(location.drop { $0 != "?" }.dropFirst())
      #expect(location.hasPrefix(flow.issuer))
      #expect(FormText.value("id_token_hint", in: query)?.hasPrefix("ey") == true)
      #expect(FormText.value("post_logout_redirect_uri", in: query) == flow.base + "/")
      #expect(await visitor.jar["intercom"] == nil)
      let old = try await flow.client.get(flow.base + "/plain/x", ["Cookie": "intercom=\(cookie)", "Origin": flow.app])
      #expect(old.status == 401)
      // The provider asks nothing, comes back to /, and that goes on to where the sign-out wanted to.
      let ended = try await visitor.send("GET", LoopbackURL(location), FlowFixture.navigation)
      let home = try #require(ended.field("location"))
      #expect(home.hasPrefix(flow.base + "/"))
      #expect(try await visitor.send("GET", LoopbackURL(home), FlowFixture.navigation).field("location") == "/plain/bye")
      let again = try await visitor.send("GET", LoopbackURL(try await flow.begin(visitor)), FlowFixture.navigation)
      #expect(again.status == 200, "the provider shows its sign-in page")
    }
  }

  @Test("POST with the session's token, or from an allowed page, signs out")
  func post() async throws {
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      let token = try await flow.csrfToken(visitor)
      #expect(try await flow.send(visitor, "POST", "/logout", [("X-CSRF-Token", token)], body: []).status == 302)
      #expect(try await flow.isAlive(visitor) == false)
      try await flow.signIn(visitor)
      #expect(try await flow.send(visitor, "POST", "/logout", [("Origin", flow.app)], body: []).status == 302)
      #expect(try await flow.isAlive(visitor) == false)
    }
  }

  @Test("Borrowed proof: the CSRF token of one session is none for another (S21, S32)")
  func foreignToken() async throws {
    try await FlowFixture.run { flow in
      let (alice, bob) = (try await flow.signedIn(), try await flow.signedIn("bob"))
      let token = try await flow.csrfToken(bob)
      #expect(try await flow.send(alice, "POST", "/logout", [("X-CSRF-Token", token)], body: []).status == 403)
      #expect(try await flow.send(alice, "GET", "/nob/x", [("X-CSRF-Token", token)]).status == 403)
      #expect(try await flow.isAlive(alice))
    }
  }

  @Test("Without a session /logout goes home and asks nobody")
  func noSession() async throws {
    try await FlowFixture.run { flow in
      let asked = flow.provider.requests.count
      let answer = try await flow.send(Visitor(), "GET", "/logout", FlowFixture.navigation)
      #expect(answer.status == 302 && answer.field("location") == "/")
      #expect(flow.provider.requests.count == asked)
      #expect(try await flow.client.get(flow.base + "/?state=forged.state").status == 200)
    }
  }

  @Test("The provider is down: the local session ends first, and the browser is sent on")
  func providerDown() async throws {
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      let cookie = try #require(await visitor.jar["intercom"]?.value)
      await flow.provider.goAway()
      #expect(try await flow.send(visitor, "GET", "/logout", FlowFixture.navigation).status == 302)
      let old = try await flow.client.get(flow.base + "/plain/x", ["Cookie": "intercom=\(cookie)", "Origin": flow.app])
      #expect(old.status == 401)
    }
  }
}

@Suite("Flow: back-channel logout", .serialized)
struct FlowBackChannelTests {
  private static let event: Identifier = "http://schemas.openid.net/event/backchannel-logout"

  private func claims(_ flow: FlowFixture, _ changes: JSONObject = [:]) -> JSONObject {
    let now = flow.time.wallNow().seconds
    var claims: JSONObject = [
      "iss": .string(flow.issuer), "aud": "intercom", "iat": .int64(now), "exp": .int64(now + 120),
      "jti": .string(Base64URL.encode(SystemRandom().bytes(12))), "sub": "alice-id", "events": .object([Self.event: .object([:])]),
    ]
    for change in changes.members { claims[change.key] = change.value == .null ? nil : change.value }
    return claims
  }

  private func post(_ flow: FlowFixture, _ token: String) async throws -> HTTPAnswer {
    try await flow.client.post(flow.base + "/backchannel-logout", form: ["logout_token": token])
  }

  private func token(_ flow: FlowFixture, _ changes: JSONObject = [:], type: String = "logout+jwt") throws -> String {
    try flow.liar.key.sign(claims(flow, changes), type: type)
  }

  /// `sid` of a visitor's session, from the token that its backend gets.
  private func sid(_ flow: FlowFixture, _ visitor: Visitor) async throws -> JSONValue {
    flow.upstream.forget()
    _ = try await flow.fetch(visitor, "GET", "/own/sid")
    let bearer = flow.upstream.requests.last?.field("authorization") ?? ""
    return try UnverifiedJWS.parse(String(bearer.dropFirst(7))).unverifiedClaims()["sid"] ?? .null
  }

  @Test("Signing out at the provider ends the session everywhere before the provider hears 200; the cookie alone is worth nothing")
  func endToEnd() async throws {
    try await FlowFixture.run { flow in
      let (alice, other, bob) = (try await flow.signedIn(), try await flow.signedIn(), try await flow.signedIn("bob"))
      let cookie = try #require(await alice.jar["intercom"]?.value)
      // Both loops know the session.
      for _ in 0..<8 { #expect(try await flow.fetch(alice, "GET", "/fs/warm").status == 200) }
      await flow.liar.provider.signOutEverywhere(username: "alice")
      for _ in 0..<8 {
        let answer = try await flow.client.get(flow.base + "/fs/x", ["Cookie": "intercom=\(cookie)", "Origin": flow.app])
        #expect(answer.status == 401)
      }
      #expect(try await flow.isAlive(other) == false)
      #expect(try await flow.isAlive(bob))
      let silent = try await flow.send(alice, "GET", "/silent", FlowFixture.frame + [("Referer", flow.app + "/")])
      #expect(silent.status == 302, "the provider is asked anew")
    }
  }

  @Test("Logout racing login: signed out at the provider between its token answer and our session, nobody is signed in (S11, fault 27)")
  func duringLogin() async throws {
    try await FlowFixture.run { flow in
      let visitor = Visitor(timeout: .seconds(20))
      let callback = try await flow.authorize(visitor, flow.begin(visitor))
      let (answers, liar) = (flow.liar.endpoint, flow.liar)
      flow.provider.serve { request, body in
        let answer = try await answers(request, body)
        // Its call to Intercom is over when this returns.
        if String(decoding: request.rawPath, as: UTF8.self).hasSuffix("/token") {
          await liar.provider.signOutEverywhere(username: "alice")
        }
        return answer
      }
      let refused = try await visitor.send("GET", callback, FlowFixture.navigation)
      #expect(refused.status == 400)
      #expect(refused.text.contains("signed_out"))
      #expect(await visitor.jar["intercom"] == nil)
      flow.provider.serve(answers)
      try await flow.signIn(visitor)
      #expect(try await flow.isAlive(visitor))
    }
  }

  @Test("Logout token replay: one that was obeyed is refused, and a newer session lives (S18, fault 28)")
  func replay() async throws {
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      let logout = try token(flow)
      let first = try await post(flow, logout)
      #expect(first.status == 200 && first.field("cache-control") == "no-store")
      #expect(try await flow.isAlive(visitor) == false)
      try await flow.signIn(visitor)
      let second = try await post(flow, logout)
      #expect(second.status == 400)
      #expect(second.text.contains(#""error":"invalid_request""#))
      #expect(try await flow.isAlive(visitor))
    }
  }

  @Test("Fault 28: with sid only that session of the person ends; an unknown sid is 200")
  func sidOnly() async throws {
    try await FlowFixture.run { flow in
      let (first, second) = (try await flow.signedIn(), try await flow.signedIn())
      let sid = try await sid(flow, first)
      try #require(sid.string != nil)
      #expect(try await post(flow, token(flow, ["sid": sid])).status == 200)
      #expect(try await flow.isAlive(first) == false)
      #expect(try await flow.isAlive(second))
      let unknown = try await post(flow, token(flow, ["sid": "nobody's"]))
      #expect(unknown.status == 200)
      // A provider that sends its next logout into a connection that our restart has ended would lose it.
      #expect(unknown.field("connection") == "close")
      #expect(try await flow.isAlive(second))
    }
  }

  /// What is wrong with a logout token, one rule each.
  static let broken: [(String, JSONObject)] = [
    ("iss", ["iss": "http://evil.example"]), ("iss missing", ["iss": .null]), ("aud", ["aud": "others"]), ("aud missing", ["aud": .null]),
    ("iat missing", ["iat": .null]), ("exp missing", ["exp": .null]), ("expired", ["exp": .int64(1_000_000_000)]),
    ("jti missing", ["jti": .null]), ("events missing", ["events": .null]),
    ("another event", ["events": .object(["http://schemas.openid.net/event/other": .object([:])])]),
    ("nobody", ["sub": .null]), ("nonce", ["nonce": "n"]), ("an ID token", ["typ": "ID"]), ("an access token", ["scope": "openid"]),
  ]

  @Test("Forged logout tokens: with one rule broken it is 400 with a JSON error and no-store, and the session is alive (S18, fault 29)")
  func rules() async throws {
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      var tokens = try Self.broken.map { ($0.0, try token(flow, $0.1)) }
      let right = claims(flow)
      tokens += [
        ("typ JWT", try flow.liar.key.sign(right)), ("typ at+jwt", try flow.liar.key.sign(right, type: "at+jwt")),
        ("crit", try flow.liar.key.sign(right, type: "logout+jwt", header: ["crit": ["x"], "x": 1])),
        ("foreign key", try SigningKey.generate(.es256, keyID: flow.liar.key.keyID).sign(right, type: "logout+jwt")),
        ("unknown key", try SigningKey.generate(.es256, keyID: "unknown").sign(right, type: "logout+jwt")),
        ("none", CompactJWS.join(CompactJWS.signingInput(header: ["alg": "none"], payload: right.serialized), signature: [])),
        ("no token", "hello"), ("empty", ""),
      ]
      for (name, token) in tokens {
        let answer = try await post(flow, token)
        #expect(answer.status == 400, "\(name): \(answer.text)")
        #expect(answer.field("content-type") == "application/json" && answer.field("cache-control") == "no-store", "\(name)")
        #expect(answer.variesByOrigin)
        #expect(try StrictJSON.object(answer.body)["error"]?.string == "invalid_request", "\(name)")
        #expect(token.isEmpty || !answer.text.contains(token))
      }
      let good = try token(flow)
      for form in ["logout_token=\(good)&logout_token=\(good)", "token=\(good)", "logout_token=%zz"] {
        let answer = try await flow.client.send(
          "POST", flow.url("/backchannel-logout"), fields: [("Content-Type", "application/x-www-form-urlencoded")], body: Array(form.utf8))
        #expect(answer.status == 400, "\(form.prefix(20))")
      }
      #expect(try await flow.isAlive(visitor))
      #expect(try await post(flow, good).status == 200)
      #expect(try await flow.isAlive(visitor) == false)
    }
  }

  @Test("Fault 32: 1 MB is 413, another type 415, GET 405; no token is in the log")
  func malformed() async throws {
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      let good = try token(flow)
      let url = try flow.url("/backchannel-logout")
      let form = ("Content-Type", "application/x-www-form-urlencoded")
      let large = Array("logout_token=\(good)&x=".utf8) + [UInt8](repeating: 97, count: 1 << 20)
      #expect(try await flow.client.send("POST", url, fields: [form], body: large).status == 413)
      for type in ["application/json", "text/plain", "multipart/form-data", ""] {
        let answer = try await flow.client.send("POST", url, fields: [("Content-Type", type)], body: Array("logout_token=\(good)".utf8))
        #expect(answer.status == 415, "\(type)")
      }
      #expect(try await flow.client.send("POST", url, fields: [], body: Array("logout_token=\(good)".utf8)).status == 415)
      for method in ["GET", "HEAD", "PUT", "DELETE", "OPTIONS"] {
        let answer = try await flow.client.send(method, url, fields: [])
        #expect(answer.status == 405, "\(method)")
        #expect(answer.field("allow") == "POST", "\(method)")
      }
      #expect(try await flow.client.get(flow.base + "/backchannel-logout?logout_token=\(good)").status == 405)
      #expect(!flow.sink.lines.contains { $0.contains(good) })
      #expect(try await flow.isAlive(visitor))
      // Origin has no say here: a provider may send anything.
      let answer = try await flow.client.send(
        "POST", url, fields: [form, ("Origin", "https://evil.example")], body: Array("logout_token=\(good)".utf8))
      #expect(answer.status == 200)
      #expect(answer.field("access-control-allow-origin") == nil)
    }
  }

  @Test(
    "Logout that does not log out: with the store down it is 503, and the provider's retry succeeds (S11, fault 30)",
    arguments: FaultySessionStore.Operation.allCases)
  func storeDown(_ operation: FaultySessionStore.Operation) async throws {
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      #expect(try await flow.isAlive(visitor))
      let logout = try token(flow)
      flow.store.fail([operation])
      let answer = try await post(flow, logout)
      // Nothing is read when the token is new: that failure alone does not stop it.
      #expect(answer.status == (operation == .read ? 200 : 503))
      flow.store.fail([])
      if operation != .read { #expect(try await post(flow, logout).status == 200) }
      #expect(try await flow.isAlive(visitor) == false)
    }
  }
}
