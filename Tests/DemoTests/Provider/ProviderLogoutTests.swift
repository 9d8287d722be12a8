import DemoWorkplace
import HTTPMessage
import HTTPServer
import IntercomCore
import IntercomTesting
import JOSE
import StrictJSON
import Synchronization
import Testing

@Suite("Embedded provider: sign-out")
struct ProviderLogoutTests {
  private func url(_ pairs: [(String, String)]) -> String { "/end-session?\(SplitURL.encode(pairs))" }

  @Test("a valid request asks nothing: it ends the session, tells every client with a logout token, and returns with the state")
  func signOut() async throws {
    let fixture = try ProviderFixture()
    let tokens = try await fixture.tokens()
    let portal = try await fixture.authorize(["client_id": "portal", "redirect_uri": "http://portal/cb"])
    let portalTokens = try await fixture.redeem(
      portal?.parameters["code"], ["redirect_uri": "http://portal/cb"], ProviderFixture.basic("portal", "other"))
    #expect(portalTokens.status == 200)
    fixture.transport.serve("http://intercom.localhost:8008") { _, _ in Response(200) }
    let response = try await fixture.browser.send(
      .get,
      url([
        ("id_token_hint", tokens["id_token"]?.string ?? ""), ("post_logout_redirect_uri", ProviderFixture.home), ("state", "a b"),
        ("client_id", "intercom"),
      ]))
    #expect(response.status == 303 && response.fields.single("location") == ProviderFixture.home + "&state=a%20b")
    #expect(await fixture.browser.cookies["id-session"] == nil)
    #expect(try await fixture.authorize(["prompt": "none"])?.parameters["error"] == "login_required")
    #expect(try await fixture.refresh(tokens["refresh_token"]).json["error"] == "invalid_grant")
    #expect(try await fixture.userInfo(tokens["access_token"]).status == 401)

    let sent = fixture.transport.requests
    #expect(Set(sent.map(\.url)) == ["http://intercom.localhost:8008/backchannel-logout", "http://portal/logout"])
    // The portal is down: nothing but an event comes of it.
    #expect(fixture.events.all.contains(.backChannelLogout(client: "intercom", status: 200)))
    #expect(fixture.events.all.contains(.backChannelLogout(client: "portal", status: nil)))
  }

  @Test("a logout token holds what Back-Channel Logout 1.0 asks, and no nonce")
  func logoutToken() async throws {
    let fixture = try ProviderFixture()
    let tokens = try await fixture.tokens()
    let id = try await fixture.claims(tokens["id_token"])
    await fixture.provider.signOutEverywhere(username: "alice")
    let request = try #require(fixture.transport.requests.first)
    #expect(request.method == .post && request.fields.single("content-type") == "application/x-www-form-urlencoded")
    let form = try #require(SplitURL("http://x/?" + String(decoding: request.body, as: UTF8.self)))
    let token = try await fixture.claims(form.parameters["logout_token"].map { .string($0) })
    let now = fixture.time.wallNow().seconds
    #expect(token.hasType("logout+jwt"))
    let expected: JSONObject = [
      "iss": .string(ProviderFixture.issuer), "sub": "9a1f", "aud": "intercom", "sid": id.claims["sid"] ?? .null, "iat": .int64(now),
      "exp": .int64(now + 120), "events": ["http://schemas.openid.net/event/backchannel-logout": .object([:])],
    ]
    for member in expected.members { #expect(token.claims[member.key] == member.value, "\(member.key)") }
    #expect(token.claims["jti"]?.string?.isEmpty == false && token.claims["nonce"] == nil)
  }

  @Test("an expired id_token_hint still signs out, and from a browser without the cookie too")
  func expiredHint() async throws {
    let fixture = try ProviderFixture()
    let tokens = try await fixture.tokens()
    fixture.time.advance(by: .seconds(4_000))
    let elsewhere = ProviderBrowser(fixture.endpoint, origin: ProviderFixture.issuer)
    #expect(try await elsewhere.send(.get, url([("id_token_hint", tokens["id_token"]?.string ?? "")])).status == 200)
    #expect(try await fixture.authorize(["prompt": "none"])?.parameters["error"] == "login_required")
  }

  @Test("logout CSRF: without a hint a person is asked, and the form works in that browser alone")
  func confirmation() async throws {
    let fixture = try ProviderFixture()
    _ = try await fixture.tokens()
    let asked = try await fixture.browser.send(
      .get, url([("client_id", "intercom"), ("post_logout_redirect_uri", ProviderFixture.home)]))
    #expect(asked.status == 200)
    #expect(try await fixture.authorize(["prompt": "none"])?.parameters["code"] != nil)
    let form = try #require(HTMLForm(in: String(decoding: try await asked.collectedBody(), as: UTF8.self)))
    let attacker = ProviderBrowser(fixture.endpoint, origin: ProviderFixture.issuer)
    #expect(try await attacker.send(.post, form.action, form: form.hidden).status == 400)
    let done = try await fixture.browser.send(.post, form.action, form: form.hidden)
    #expect(done.fields.single("location") == ProviderFixture.home)
    #expect(try await fixture.authorize(["prompt": "none"])?.parameters["error"] == "login_required")
  }

  @Test("open redirect: an address that is not registered for the client is refused and ends nothing")
  func unregisteredRedirect() async throws {
    let fixture = try ProviderFixture()
    let hint = try await fixture.tokens()["id_token"]?.string ?? ""
    for pairs in [
      [("id_token_hint", hint), ("post_logout_redirect_uri", "http://evil.example/")],
      [("id_token_hint", hint), ("post_logout_redirect_uri", ProviderFixture.home + "&x=1")],
      [("post_logout_redirect_uri", ProviderFixture.home)],
      [("client_id", "portal"), ("post_logout_redirect_uri", ProviderFixture.home)],
      [("id_token_hint", hint), ("client_id", "portal")],
      [("id_token_hint", "not.a.token")], [("state", "a"), ("state", "b")],
    ] {
      let response = try await fixture.browser.send(.get, url(pairs))
      #expect(response.status == 400 && response.fields.single("location") == nil, "\(pairs)")
    }
    #expect(try await fixture.authorize(["prompt": "none"])?.parameters["code"] != nil)
  }

  @Test("without a session a sign-out is harmless and returns at once; an access token is no hint")
  func withoutSession() async throws {
    let fixture = try ProviderFixture()
    let response = try await fixture.browser.send(
      .get, url([("client_id", "intercom"), ("post_logout_redirect_uri", ProviderFixture.home)]))
    #expect(response.fields.single("location") == ProviderFixture.home)
    #expect(try await fixture.browser.send(.get, "/end-session").status == 200)
    let access = try await fixture.tokens()["access_token"]?.string ?? ""
    #expect(try await fixture.browser.send(.get, url([("id_token_hint", access)])).status == 400)
  }

  @Test("a client that hangs holds the sign-out for five seconds at most")
  func slowClient() async throws {
    let fixture = try ProviderFixture()
    let tokens = try await fixture.tokens()
    let time = fixture.time
    fixture.transport.serve("http://intercom.localhost:8008") { _, _ in
      try await time.sleep(for: .seconds(60))
      return Response(200)
    }
    let browser = fixture.browser
    let target = url([("id_token_hint", tokens["id_token"]?.string ?? "")])
    let answer = Task { try await browser.send(.get, target).status }
    while time.sleeping < 2 { await Task.yield() }
    time.advance(by: .seconds(5))
    #expect(try await answer.value == 200)
    #expect(fixture.events.all.last == .backChannelLogout(client: "intercom", status: nil))
  }

  @Test("offline access outlives the sign-out, nothing else does")
  func offlineAccess() async throws {
    let fixture = try ProviderFixture()
    let online = try await fixture.tokens()
    let landed = try await fixture.authorize(["scope": "openid offline_access"])
    let offline = try await fixture.redeem(landed?.parameters["code"])
    await fixture.provider.signOutEverywhere(username: "alice")
    #expect(try await fixture.refresh(online["refresh_token"]).json["error"] == "invalid_grant")
    #expect(try await fixture.refresh(offline.json["refresh_token"]).status == 200)
  }

  @Test("no event holds a token, a code, a cookie or a password")
  func silence() async throws {
    let fixture = try ProviderFixture { $0.users[0].password = Secret("pa55-canary") }
    let landed = try await fixture.browser.signIn(ProviderFixture.authorizationURL(), "alice", "pa55-canary")
    let code = landed?.parameters["code"] ?? "?"
    let tokens = try await fixture.redeem(code).json
    _ = try await fixture.exchange(tokens["access_token"])
    await fixture.provider.signOutEverywhere(username: "alice")
    let text = "\(fixture.events.all)"
    let cookies = await fixture.browser.cookies.values
    for secret in ["pa55-canary", code] + cookies + tokens.members.compactMap(\.value.string).filter({ $0.utf8.count > 20 }) {
      #expect(!text.contains(secret))
    }
    #expect(fixture.events.all.count >= 4)
  }
}
