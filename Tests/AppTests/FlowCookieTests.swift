import Cryptography
import Gateway
import HTTPMessage
import IntercomCore
import IntercomTesting
import JOSE
import Sessions
import StrictJSON
import Testing

@Suite("Flow: cookies that an attacker sets, keeps or changes", .serialized)
struct FlowCookieTests {
  private static var secure: FlowFixture.Options {
    var options = FlowFixture.Options()
    options.deployment = { $0.cookies = OwnCookies(isSecure: true) }
    return options
  }

  private func alive(_ flow: FlowFixture, _ cookies: String) async throws -> Int {
    try await flow.client.get(flow.base + "/plain/x", ["Cookie": cookies, "Origin": flow.app]).status
  }

  @Test(
    "Session fixation through the login's own cookie: a planted one gives its owner neither the session nor the login (S9)",
    arguments: ClientVersion.allCases)
  func plantedBinding(_ version: ClientVersion) async throws {
    try await FlowFixture.run(over: version) { flow in
      let (attacker, victim) = (Visitor(), Visitor())
      _ = try await flow.begin(attacker)
      let planted = try #require(await attacker.jar["intercom-login"]?.value)
      await victim.plant("intercom-login=\(planted); Path=/", at: try flow.url("/"))
      let callback = try await flow.authorize(victim, flow.begin(victim))
      #expect(try await victim.send("GET", callback, FlowFixture.navigation).status == 302)
      let session = try #require(await victim.jar["intercom"]?.value)
      #expect(session != planted)
      // What the attacker knows is no session, and the login is used up.
      #expect(try await alive(flow, "intercom=\(planted)") == 401)
      #expect(try await attacker.send("GET", callback, FlowFixture.navigation).status == 400)
      #expect(await attacker.jar["intercom"] == nil)
      #expect(try await alive(flow, "intercom=\(session)") == 200)
    }
  }

  @Test(
    "Session fixation: a live session of the attacker, planted before the login, is ended by it and never becomes the victim's (S9)",
    arguments: ClientVersion.allCases)
  func plantedLiveSession(_ version: ClientVersion) async throws {
    try await FlowFixture.run(over: version) { flow in
      let attacker = try await flow.signedIn("bob")
      let planted = try #require(await attacker.jar["intercom"]?.value)
      let victim = Visitor()
      await victim.plant("intercom=\(planted); Path=/", at: try flow.url("/"))
      try await flow.signIn(victim, "alice")
      #expect(await victim.jar["intercom"]?.value != planted)
      _ = try await flow.fetch(victim, "GET", "/headers/who")
      #expect(flow.upstream.requests.last?.field("x-remote-user") == "alice")
      #expect(try await alive(flow, "intercom=\(planted)") == 401)
    }
  }

  @Test(
    "Cookie tossing: what a parent domain plants beside the __Host- cookies is not read, and the login works (S10)",
    arguments: ClientVersion.allCases)
  func tossedBesidePrefix(_ version: ClientVersion) async throws {
    try await FlowFixture.run(Self.secure, over: version) { flow in
      let attacker = try await flow.signedIn("bob")
      let live = try #require(await attacker.jar["__Host-intercom"]?.value)
      let binding = try #require(await attacker.jar["__Host-intercom-login"]?.value)
      #expect(try await alive(flow, "intercom=\(live)") == 401, "without its prefix it is no session cookie")
      let victim = Visitor()
      for line in ["intercom=\(live)", "intercom-login=\(binding)", "__host-intercom=\(live)", "__HOST-INTERCOM=\(live)"] {
        for path in ["/", "/headers", "/callback", "/login"] {
          await victim.plant("\(line); Domain=localhost; Path=\(path)", at: try flow.url("/"))
        }
      }
      try await flow.signIn(victim, "alice")
      let own = try #require(await victim.jar["__Host-intercom"])
      #expect(own.attributes.contains("secure") && own.attributes.contains("path=/") && own.hostOnly)
      _ = try await flow.fetch(victim, "GET", "/headers/who")
      #expect(flow.upstream.requests.last?.field("x-remote-user") == "alice")
      #expect(flow.upstream.requests.last?.field("cookie") == nil)
      #expect(try await alive(flow, "__Host-intercom=\(live)") == 200, "the attacker's own session is the attacker's")
    }
  }

  @Test(
    "Cookie tossing with plain names: garbage in front of ours hides neither the session nor the login (S10)",
    arguments: ClientVersion.allCases)
  func tossedGarbage(_ version: ClientVersion) async throws {
    try await FlowFixture.run(over: version) { flow in
      let victim = Visitor()
      let foreign = String(repeating: "A", count: 43)
      for name in ["intercom", "intercom-login"] {
        for (path, value) in [("/callback", foreign), ("/login", "garbage"), ("/plain", "garbage"), ("/silent", "\"x\"")] {
          await victim.plant("\(name)=\(value); Domain=localhost; Path=\(path)", at: try flow.url("/"))
        }
      }
      try await flow.signIn(victim)
      #expect(try await flow.isAlive(victim))
      #expect(try flow.message(try await flow.send(victim, "GET", "/silent", FlowFixture.frame))["loggedIn"] == .bool(true))
      // A second login in the same browser, a loop else.
      try await flow.signIn(victim)
      #expect(try await flow.isAlive(victim))
    }
  }

  /// How a session ends.
  private enum Ending: String, CaseIterable, Sendable {
    case page, post, postWithToken, sid, subject, provider, newLogin, refusedRefresh, idle, absolute
  }

  private func end(_ flow: FlowFixture, _ visitor: Visitor, _ ending: Ending) async throws {
    switch ending {
    case .page: #expect(try await flow.send(visitor, "GET", "/logout", FlowFixture.navigation).status == 302)
    case .post: #expect(try await flow.send(visitor, "POST", "/logout", [("Origin", flow.app)], body: []).status == 302)
    case .postWithToken:
      let token = try await flow.csrfToken(visitor)
      #expect(try await flow.send(visitor, "POST", "/logout", [("X-CSRF-Token", token)], body: []).status == 302)
    case .sid, .subject:
      _ = try await flow.fetch(visitor, "GET", "/own/sid")
      let bearer = flow.upstream.requests.last { $0.path == "/own-root/sid" }?.field("authorization") ?? ""
      let sid = try UnverifiedJWS.parse(String(bearer.dropFirst(7))).unverifiedClaims()["sid"]
      let token = try flow.logoutToken(subject: "alice-id", sid: ending == .sid ? sid?.string : nil)
      #expect(try await flow.client.post(flow.base + "/backchannel-logout", form: ["logout_token": token]).status == 200)
    case .provider: await flow.liar.provider.signOutEverywhere(username: "alice")
    case .newLogin: try await flow.signIn(visitor)
    case .refusedRefresh:
      flow.provider.answer { request in
        let isRefresh = request.body.contains("grant_type=refresh_token")
        return isRefresh ? .init(400, ["Content-Type": "application/json"], Array(#"{"error":"invalid_grant"}"#.utf8)) : nil
      }
      flow.time.advance(by: .seconds(400))
      #expect(try await flow.fetch(visitor, "GET", "/own/x").status == 401)
    case .idle: flow.time.advance(by: .seconds(1_801))
    case .absolute: flow.time.advance(by: .seconds(3_601))
    }
  }

  @Test(
    "Logout that does not log out: after each kind of end the old cookie value opens no route and no page (S11, S35)",
    arguments: Ending.allCases.map(\.rawValue))
  func oldCookie(_ name: String) async throws {
    let ending = try #require(Ending(rawValue: name))
    var options = FlowFixture.Options()
    options.deployment = { $0.sessions = SessionSettings(idle: .seconds(1_800), absolute: .seconds(3_600)) }
    try await FlowFixture.run(options) { flow in
      let visitor = try await flow.signedIn()
      let old = try #require(await visitor.jar["intercom"]?.value)
      let token = try await flow.csrfToken(visitor)
      // Both loops have a copy.
      for _ in 0..<6 { #expect(try await alive(flow, "intercom=\(old)") == 200) }
      try await end(flow, visitor, ending)
      flow.upstream.forget()
      for door in flow.guardedDoors {
        for _ in 0..<3 { #expect(try await flow.ask("GET", door.target, cookie: old).status == 401, "\(door)") }
        let proof = [("X-CSRF-Token", token)]
        #expect(try await flow.ask("GET", door.target, cookie: old, proof).status == 401, "\(door) with the old proof")
      }
      #expect(flow.upstream.requests.isEmpty)
      let silent = try await flow.ask("GET", "/silent", cookie: old, FlowFixture.frame)
      #expect(silent.status == 302, "the provider is asked anew")
    }
  }

  @Test(
    "Logout that does not log out: the line that deletes a cookie has the attributes of the one that sets it (S11)",
    arguments: ClientVersion.allCases)
  func deletion(_ version: ClientVersion) async throws {
    for (isSecure, sameSite) in [(true, OwnCookies.SameSite.lax), (true, .none), (true, .strict), (false, .lax), (false, .strict)] {
      for name in ["intercom", "custom"] {
        let cookies = OwnCookies(isSecure: isSecure, name: name, sameSite: sameSite, isPersistent: true)
        func parts(_ line: String) -> (name: String, attributes: Set<String>) {
          let all = line.split(separator: ";").map { String($0.drop { $0 == " " }) }
          return (String(all[0].prefix { $0 != "=" }), Set(all.dropFirst().filter { !$0.hasPrefix("Max-Age") }))
        }
        let (set, deleted) = (parts(cookies.setSession(SessionID(random: SystemRandom()), life: 3_600)), parts(cookies.deleteSession))
        #expect(set.name == deleted.name && set.attributes == deleted.attributes)
        #expect(cookies.deleteSession.contains("Max-Age=0") && deleted.attributes.contains("Secure") == isSecure)
      }
    }
    try await FlowFixture.run(Self.secure, over: version) { flow in
      let visitor = try await flow.signedIn()
      let line = try #require(try await flow.send(visitor, "GET", "/logout", FlowFixture.navigation).all("set-cookie").first)
      #expect(line == "__Host-intercom=; Path=/; HttpOnly; SameSite=Lax; Secure; Max-Age=0")
    }
  }
}

extension FlowFixture {
  /// A right logout token, signed with the provider's key.
  func logoutToken(subject: String?, sid: String? = nil) throws -> String {
    let now = time.wallNow().seconds
    var claims: JSONObject = [
      "iss": .string(issuer), "aud": "intercom", "iat": .int64(now), "exp": .int64(now + 120),
      "jti": .string(Base64URL.encode(SystemRandom().bytes(12))),
      "events": ["http://schemas.openid.net/event/backchannel-logout": .object([:])],
    ]
    if let subject { claims["sub"] = .string(subject) }
    if let sid { claims["sid"] = .string(sid) }
    return try liar.key.sign(claims, type: "logout+jwt")
  }
}
