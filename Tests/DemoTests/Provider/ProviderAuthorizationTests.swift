import DemoWorkplace
import HTTPMessage
import HTTPServer
import IntercomCore
import IntercomTesting
import JOSE
import StrictJSON
import Testing

@Suite("Embedded provider: authorization")
struct ProviderAuthorizationTests {
  @Test("signing in ends at the client with code, the state as sent, and iss; a second request needs no page")
  func signIn() async throws {
    let fixture = try ProviderFixture()
    let landed = try #require(try await fixture.signIn())
    #expect("\(landed.origin)\(landed.path)" == ProviderFixture.callback)
    #expect(landed.parameters["state"] == "st&te ü" && landed.parameters["iss"] == ProviderFixture.issuer)
    #expect((landed.parameters["code"] ?? "").utf8.count == 43)
    let again = try #require(try await fixture.authorize())
    #expect(again.parameters["code"] != nil && again.parameters["code"] != landed.parameters["code"])
    #expect(fixture.events.all.first == .signedIn(user: "alice", client: "intercom"))
  }

  @Test("the metadata names the issuer, the endpoints and what is supported")
  func metadata() async throws {
    let fixture = try ProviderFixture()
    let response = try await fixture.browser.send(.get, "/.well-known/openid-configuration")
    let metadata = try StrictJSON.object(try await response.collectedBody())
    #expect(metadata["issuer"]?.string == ProviderFixture.issuer)
    for name: Identifier in [
      "authorization_endpoint", "token_endpoint", "userinfo_endpoint", "jwks_uri", "revocation_endpoint", "end_session_endpoint",
    ] {
      let target = try #require(SplitURL(metadata[name]?.string ?? ""))
      #expect(fixture.provider.endpoints[Identifier(target.path)] != nil, "\(name)")
    }
    #expect(metadata["authorization_response_iss_parameter_supported"] == true)
    #expect(metadata["id_token_signing_alg_values_supported"] == ["ES256"])
  }

  @Test("an issuer with a path has its endpoints below that path")
  func issuerWithPath() throws {
    let fixture = try ProviderFixture { $0.issuer = "https://id.example/realms/demo" }
    #expect(fixture.provider.endpoints["/realms/demo/.well-known/openid-configuration"] != nil)
    #expect(fixture.provider.endpoints["/realms/demo/token"] != nil)
  }

  @Test("the sign-in page is a plain form: attributes in the agreed order, nothing of the request unescaped, its own style only")
  func page() async throws {
    let fixture = try ProviderFixture { $0.clients[0].name = "<b>Inter\"com</b>" }
    let response = try await fixture.browser.send(.get, ProviderFixture.authorizationURL(["login_hint": "\"><script>"]))
    let page = String(decoding: try await response.collectedBody(), as: UTF8.self)
    #expect(page.contains("<form action=\"/sign-in\" method=\"post\">"))
    #expect(page.contains("<input type=\"hidden\" name=\"request\" value=\""))
    #expect(page.contains("name=\"username\"") && page.contains("name=\"password\""))
    #expect(page.contains("&lt;b&gt;Inter&quot;com") && page.contains("Try &lt;alice&gt;."))
    #expect(!page.contains("<script") && !page.contains("<b>Inter"))
    #expect(response.fields.single("content-security-policy")?.contains("frame-ancestors 'none'") == true)
    #expect(response.fields.single("cache-control") == "no-store")
    let cookie = response.fields.single("set-cookie") ?? ""
    #expect(cookie.hasPrefix("id-sign-in=") && cookie.contains("HttpOnly") && cookie.contains("SameSite=Lax") && !cookie.contains("Secure"))
  }

  @Test("an https issuer has Secure cookies with the host prefix")
  func secureCookies() async throws {
    let fixture = try ProviderFixture { $0.issuer = "https://id.example" }
    let response = try await fixture.browser.send(.get, ProviderFixture.authorizationURL())
    let cookie = response.fields.single("set-cookie") ?? ""
    #expect(cookie.hasPrefix("__Host-id-sign-in=") && cookie.contains("; Secure") && cookie.contains("Path=/"))
  }

  @Test("a wrong password, an unknown name and an empty one show the page again, with the name and without the password")
  func wrongPassword() async throws {
    let fixture = try ProviderFixture()
    for (name, password) in [("alice", "bob-secret"), ("nobody", "alice"), ("", ""), ("Alice", "alice"), ("alice", "")] {
      let response = try await fixture.browser.send(.get, ProviderFixture.authorizationURL())
      let form = try #require(HTMLForm(in: String(decoding: try await response.collectedBody(), as: UTF8.self)))
      let answer = try await fixture.browser.send(.post, form.action, form: form.hidden + [("username", name), ("password", password)])
      let page = String(decoding: try await answer.collectedBody(), as: UTF8.self)
      #expect(answer.status == 200 && page.contains("User name or password is wrong") && !page.contains("bob-secret"))
      #expect(await fixture.browser.cookies["id-session"] == nil)
      // The same page works afterwards.
      let second = try #require(HTMLForm(in: page))
      #expect(second.hidden.map(\.1) == form.hidden.map(\.1))
    }
    #expect(fixture.events.all == Array(repeating: .signInFailed, count: 5))
  }

  @Test("login CSRF: a form sent from a browser that did not show the page, or too late, or changed, is refused")
  func loginCSRF() async throws {
    let fixture = try ProviderFixture()
    let response = try await fixture.browser.send(.get, ProviderFixture.authorizationURL())
    let form = try #require(HTMLForm(in: String(decoding: try await response.collectedBody(), as: UTF8.self)))
    let filled = form.hidden + [("username", "alice"), ("password", "alice")]
    let victim = ProviderBrowser(fixture.endpoint, origin: ProviderFixture.issuer)
    #expect(try await victim.send(.post, form.action, form: filled).status == 400)
    await victim.setCookie("id-sign-in", String(repeating: "A", count: 43))
    #expect(try await victim.send(.post, form.action, form: filled).status == 400)
    #expect(await victim.cookies["id-session"] == nil)
    #expect(try await fixture.browser.send(.post, form.action, form: [("username", "alice"), ("password", "alice")]).status == 400)
    fixture.time.advance(by: .seconds(601))
    #expect(try await fixture.browser.send(.post, form.action, form: filled).status == 400)
  }

  @Test("session fixation: a session cookie that was there before the sign-in is worth nothing afterwards")
  func fixation() async throws {
    let fixture = try ProviderFixture()
    await fixture.browser.setCookie("id-session", "planted-by-an-attacker")
    _ = try await fixture.signIn()
    #expect(await fixture.browser.cookies["id-session"] != "planted-by-an-attacker")
    let first = await fixture.browser.cookies["id-session"]
    _ = try await fixture.signIn("alice", ["prompt": "login"])
    #expect(await fixture.browser.cookies["id-session"] != first)
    let attacker = ProviderBrowser(fixture.endpoint, origin: ProviderFixture.issuer)
    for old in ["planted-by-an-attacker", first ?? ""] {
      await attacker.setCookie("id-session", old)
      #expect(try await attacker.send(.get, ProviderFixture.authorizationURL()).status == 200)
    }
  }

  @Test("prompt none: login_required without a session, a code with one, interaction_required for a person who must act")
  func promptNone() async throws {
    let fixture = try ProviderFixture { $0.users[1].mustInteract = true }
    let refused = try #require(try await fixture.authorize(["prompt": "none"]))
    #expect(refused.parameters["error"] == "login_required" && refused.parameters["state"] == "st&te ü")
    #expect(refused.parameters["iss"] == ProviderFixture.issuer && refused.parameters["code"] == nil)
    _ = try await fixture.signIn()
    #expect(try await fixture.authorize(["prompt": "none"])?.parameters["code"] != nil)
    #expect(try await fixture.authorize(["prompt": "none", "max_age": "0"])?.parameters["error"] == "login_required")
    _ = try await fixture.signIn("bob", ["prompt": "login"])
    #expect(try await fixture.authorize(["prompt": "none"])?.parameters["error"] == "interaction_required")
  }

  @Test("prompt login, max_age and an id_token_hint for somebody else show the page in spite of a session")
  func reauthentication() async throws {
    let fixture = try ProviderFixture()
    let tokens = try await fixture.tokens("bob")
    _ = try await fixture.signIn("alice", ["prompt": "login"])
    #expect(try await fixture.authorize(["prompt": "login"]) == nil)
    #expect(try await fixture.authorize(["max_age": "30"]) != nil)
    fixture.time.advance(by: .seconds(31))
    #expect(try await fixture.authorize(["max_age": "30"]) == nil)
    #expect(try await fixture.authorize(["id_token_hint": tokens["id_token"]?.string]) == nil)
    #expect(
      try await fixture.authorize(["id_token_hint": tokens["id_token"]?.string, "prompt": "none"])?.parameters["error"] == "login_required")
    #expect(try await fixture.authorize() != nil)
  }

  @Test(
    "an unknown client or a redirect URI that differs in one byte is answered by a page, never by a redirect",
    arguments: [
      ("client_id", "nobody"), ("client_id", nil), ("redirect_uri", nil), ("redirect_uri", "http://intercom.localhost:8008/callback/"),
      ("redirect_uri", "http://intercom.localhost:8008/callback?x=1"), ("redirect_uri", "http://evil.example/callback"),
      ("redirect_uri", "http://INTERCOM.localhost:8008/callback"), ("redirect_uri", "http://intercom.localhost:8008/%63allback"),
      ("redirect_uri", "http://portal/cb"),
    ])
  func openRedirect(name: String, value: String?) async throws {
    let fixture = try ProviderFixture()
    let response = try await fixture.browser.send(.get, ProviderFixture.authorizationURL([name: value]))
    #expect(response.status == 400 && response.fields.single("location") == nil)
  }

  @Test(
    "a fault in the request goes to the client as an error with state and iss",
    arguments: [
      ("response_type", nil, "invalid_request"), ("response_type", "token", "unsupported_response_type"),
      ("response_type", "code id_token", "unsupported_response_type"), ("response_mode", "fragment", "invalid_request"),
      ("scope", nil, "invalid_scope"), ("scope", "profile", "invalid_scope"), ("code_challenge", nil, "invalid_request"),
      ("code_challenge_method", "plain", "invalid_request"), ("code_challenge_method", nil, "invalid_request"),
      ("code_challenge", "short", "invalid_request"), ("prompt", "none login", "invalid_request"), ("max_age", "soon", "invalid_request"),
      ("max_age", "-1", "invalid_request"), ("request", "e30.e30.", "request_not_supported"),
      ("request_uri", "http://evil.example", "request_uri_not_supported"), ("id_token_hint", "not.a.token", "invalid_request"),
    ])
  func faults(name: String, value: String?, error: String) async throws {
    let fixture = try ProviderFixture()
    _ = try await fixture.signIn()
    let landed = try #require(try await fixture.authorize([name: value]))
    #expect("\(landed.origin)\(landed.path)" == ProviderFixture.callback)
    #expect(landed.parameters["error"] == error && landed.parameters["state"] == "st&te ü" && landed.parameters["code"] == nil)
    #expect(landed.parameters["iss"] == ProviderFixture.issuer)
  }

  @Test(
    "repeated parameters, broken escapes and NUL are refused with a page", arguments: ["&state=b", "&x=%zz", "&x=%", "&x=%00", "&x=%ff"])
  func unreadable(suffix: String) async throws {
    let fixture = try ProviderFixture()
    let response = try await fixture.browser.send(.get, ProviderFixture.authorizationURL() + suffix)
    #expect(response.status == 400 && response.fields.single("location") == nil)
  }

  @Test("the request may be posted as a form; other bodies and methods are refused")
  func methods() async throws {
    let fixture = try ProviderFixture()
    let pairs = SplitURL(ProviderFixture.authorizationURL())?.parameters.map { ($0.key, $0.value) } ?? []
    #expect(try await fixture.browser.send(.post, "/authorize", form: pairs).status == 200)
    #expect(try await fixture.browser.send(.post, "/authorize").status == 415)
    #expect(try await fixture.browser.send(.delete, "/authorize").status == 405)
    #expect(try await fixture.browser.send(.get, "/token").status == 405)
    #expect(try await fixture.browser.send(.get, "/nothing").status == 404)
    let huge = [("username", String(repeating: "a", count: 70_000))]
    #expect(try await fixture.browser.send(.post, "/sign-in", form: huge).status == 413)
  }

  @Test("another person in the same browser ends the first one's session, and the clients hear of it")
  func switchUser() async throws {
    let fixture = try ProviderFixture()
    let tokens = try await fixture.tokens()
    fixture.transport.serve("http://intercom.localhost:8008") { _, _ in Response(200) }
    _ = try await fixture.signIn("bob", ["prompt": "login"])
    #expect(fixture.events.all.contains(.backChannelLogout(client: "intercom", status: 200)))
    #expect(try await fixture.refresh(tokens["refresh_token"]).json["error"] == "invalid_grant")
  }

  @Test("sessions end by time, and never more are kept than the capacity")
  func bounded() async throws {
    let fixture = try ProviderFixture { $0.capacity = 20 }
    _ = try await fixture.signIn()
    fixture.time.advance(by: .seconds(86_401))
    #expect(try await fixture.authorize() == nil)
    let first = ProviderBrowser(fixture.endpoint, origin: ProviderFixture.issuer)
    _ = try await first.signIn(ProviderFixture.authorizationURL(), "alice", "alice")
    for _ in 0..<25 {
      fixture.time.advance(by: .seconds(1))
      let visitor = ProviderBrowser(fixture.endpoint, origin: ProviderFixture.issuer)
      #expect(try await visitor.signIn(ProviderFixture.authorizationURL(), "bob", "bob")?.parameters["code"] != nil)
    }
    #expect(try await first.send(.get, ProviderFixture.authorizationURL()).status == 200)
  }
}
