import DemoWorkplace
import HTTPMessage
import HTTPServer
import IntercomCore
import IntercomTesting
import JOSE
import StrictJSON
import Testing

@Suite("Embedded provider: tokens")
struct ProviderTokenTests {
  @Test("the tokens of a sign-in hold what OpenID Connect Core and RFC 9068 ask", arguments: [Algorithm.es256, .rs256])
  func claims(algorithm: Algorithm) async throws {
    let fixture = try ProviderFixture(algorithm)
    let now = fixture.time.wallNow().seconds
    let answer = try await fixture.tokens()
    #expect(answer["token_type"] == "Bearer" && answer["expires_in"] == 300 && answer["scope"] == "openid profile email")
    let id = try await fixture.claims(answer["id_token"])
    #expect(id.algorithm == algorithm && id.keyID == "k1" && id.hasType("JWT"))
    let expected: JSONObject = [
      "iss": .string(ProviderFixture.issuer), "sub": "9a1f", "aud": "intercom", "azp": "intercom", "nonce": "n-1", "iat": .int64(now),
      "exp": .int64(now + 300), "auth_time": .int64(now), "name": "Alice Ähre", "preferred_username": "alice",
      "email": "alice@example.org", "email_verified": true, "groups": ["staff"],
      "at_hash": .string(algorithm.leftHalfHash(of: Array((answer["access_token"]?.string ?? "").utf8))),
    ]
    for member in expected.members { #expect(id.claims[member.key] == member.value, "\(member.key)") }
    let access = try await fixture.claims(answer["access_token"])
    #expect(access.hasType("at+jwt") && access.claims["aud"] == "intercom" && access.claims["azp"] == "intercom")
    #expect(access.claims["sid"] == id.claims["sid"] && access.claims["scope"] == "openid profile email")
    #expect(access.claims["preferred_username"] == "alice" && access.claims["client_id"] == "intercom")
  }

  @Test("answers with tokens are never stored")
  func noStore() async throws {
    let fixture = try ProviderFixture()
    let landed = try await fixture.signIn()
    let answer = try await fixture.redeem(landed?.parameters["code"])
    #expect(answer.response.fields.single("cache-control") == "no-store")
    #expect(try await fixture.redeem("x").response.fields.single("cache-control") == "no-store")
  }

  @Test("scopes open claims: without profile and email there are none")
  func scopes() async throws {
    let fixture = try ProviderFixture()
    let answer = try await fixture.tokens(scope: "openid unknown")
    let id = try await fixture.claims(answer["id_token"])
    #expect(id.claims["name"] == nil && id.claims["email"] == nil && id.claims["groups"] == nil)
    #expect(answer["scope"] == "openid")
    #expect(try await fixture.userInfo(answer["access_token"]).json == ["sub": "9a1f"])
  }

  @Test(
    "a code is not redeemed with another verifier, redirect URI or code",
    arguments: [
      ("code_verifier", nil), ("code_verifier", String(repeating: "a", count: 43)), ("code_verifier", PKCEExample.challenge),
      ("redirect_uri", nil), ("redirect_uri", "http://intercom.localhost:8008/callback/"), ("code", "AAAA"),
    ])
  func wrongRedemption(name: String, value: String?) async throws {
    let fixture = try ProviderFixture()
    let code = try await fixture.signIn()?.parameters["code"]
    let answer = try await fixture.redeem(code, [name: value])
    #expect(answer.status == 400 && answer.json["error"] == "invalid_grant")
  }

  @Test("a code that failed once is spent, one that is a minute old has ended, and another client cannot use or spend it")
  func spentCodes() async throws {
    let fixture = try ProviderFixture()
    let first = try await fixture.signIn()?.parameters["code"]
    _ = try await fixture.redeem(first, ["code_verifier": String(repeating: "a", count: 43)])
    #expect(try await fixture.redeem(first).json["error"] == "invalid_grant")
    let second = try await fixture.authorize()?.parameters["code"]
    #expect(try await fixture.redeem(second, [:], ProviderFixture.basic("portal", "other")).json["error"] == "invalid_grant")
    #expect(try await fixture.redeem(second).status == 200)
    let third = try await fixture.authorize()?.parameters["code"]
    fixture.time.advance(by: .seconds(60))
    #expect(try await fixture.redeem(third).json["error"] == "invalid_grant")
  }

  @Test("code replay: the second use revokes all tokens of the first")
  func codeReplay() async throws {
    let fixture = try ProviderFixture()
    let code = try await fixture.signIn()?.parameters["code"]
    let first = try await fixture.redeem(code)
    #expect(try await fixture.userInfo(first.json["access_token"]).status == 200)
    fixture.time.advance(by: .seconds(120))
    #expect(try await fixture.redeem(code).json["error"] == "invalid_grant")
    #expect(try await fixture.refresh(first.json["refresh_token"]).json["error"] == "invalid_grant")
    #expect(try await fixture.userInfo(first.json["access_token"]).status == 401)
    #expect(try await fixture.exchange(first.json["access_token"]).json["error"] == "invalid_request")
  }

  @Test("PKCE downgrade: a verifier for a request without a challenge is refused, and a public client always needs one")
  func downgrade() async throws {
    let fixture = try ProviderFixture {
      $0.clients[0].requiresPKCE = false
      $0.clients[2].requiresPKCE = false
    }
    let bare: KeyValuePairs<String, String?> = ["code_challenge": nil, "code_challenge_method": nil]
    let first = try await fixture.signIn("alice", bare)?.parameters["code"]
    #expect(try await fixture.redeem(first).json["error"] == "invalid_grant")
    let second = try await fixture.authorize(bare)?.parameters["code"]
    #expect(try await fixture.redeem(second, ["code_verifier": nil]).status == 200)
    let spa = try await fixture.authorize([
      "client_id": "spa", "redirect_uri": "http://spa/cb", "code_challenge": nil, "code_challenge_method": nil,
    ])
    #expect(spa?.parameters["error"] == "invalid_request")
  }

  @Test("clients authenticate by basic or post, never wrongly, never by both")
  func clientAuthentication() async throws {
    let fixture = try ProviderFixture()
    let secret = "s3cret: with % and ü"
    let none = Fields()
    let refusals: [(KeyValuePairs<String, String?>, Fields, String, Int)] = [
      ([:], none, "invalid_client", 401), (["client_id": "intercom"], none, "invalid_client", 401),
      (["client_id": "intercom", "client_secret": "wrong"], none, "invalid_client", 401),
      (["client_id": "nobody", "client_secret": secret], none, "invalid_client", 401),
      ([:], ProviderFixture.basic("intercom", "wrong"), "invalid_client", 401),
      ([:], ProviderFixture.basic("nobody", secret), "invalid_client", 401),
      ([:], Fields(["Authorization": "Basic !!!"]), "invalid_client", 401),
      ([:], Fields(["Authorization": "Bearer abc"]), "invalid_client", 401),
      (["client_id": "portal"], ProviderFixture.basic(), "invalid_client", 401),
      (["client_id": "intercom", "client_secret": secret], ProviderFixture.basic(), "invalid_request", 400),
      (["client_id": "spa", "client_secret": "any"], none, "invalid_client", 401),
    ]
    _ = try await fixture.signIn()
    for (change, fields, error, status) in refusals {
      let code = try await fixture.authorize()?.parameters["code"]
      let answer = try await fixture.redeem(code, change, fields)
      #expect(answer.status == status && answer.json["error"]?.string == error, "\(change)")
    }
    let posted = try await fixture.redeem(
      try await fixture.authorize()?.parameters["code"], ["client_id": "intercom", "client_secret": secret], none)
    #expect(posted.status == 200)
    let spa = try await fixture.authorize(["client_id": "spa", "redirect_uri": "http://spa/cb"])
    let publicAnswer = try await fixture.redeem(
      spa?.parameters["code"], ["client_id": "spa", "redirect_uri": "http://spa/cb"], none)
    #expect(publicAnswer.status == 200)
    // A public client has no way to exchange.
    let exchange = try await fixture.exchange(publicAnswer.json["access_token"], ["client_id": "spa"], none)
    #expect(exchange.json["error"] == "unauthorized_client")
  }

  @Test("refresh gives new tokens for the same person, client and session, without a nonce; the scope may shrink but not grow")
  func refresh() async throws {
    let fixture = try ProviderFixture()
    let first = try await fixture.tokens()
    fixture.time.advance(by: .seconds(200))
    let second = try await fixture.refresh(first["refresh_token"])
    #expect(second.status == 200 && second.json["refresh_token"] != first["refresh_token"])
    let (before, after) = (try await fixture.claims(first["id_token"]), try await fixture.claims(second.json["id_token"]))
    for name: Identifier in ["iss", "sub", "aud", "sid", "auth_time"] { #expect(before.claims[name] == after.claims[name]) }
    #expect(after.claims["nonce"] == nil && after.claims["iat"] != before.claims["iat"])
    let third = try await fixture.refresh(second.json["refresh_token"], scope: "openid")
    #expect(third.json["scope"] == "openid")
    #expect(try await fixture.refresh(third.json["refresh_token"], scope: "openid offline_access").json["error"] == "invalid_scope")
    #expect(try await fixture.refresh(third.json["refresh_token"]).json["scope"] == "openid profile email")
  }

  @Test("refresh token reuse: an old one revokes the family, the current one included")
  func reuse() async throws {
    let fixture = try ProviderFixture()
    let first = try await fixture.tokens()
    let second = try await fixture.refresh(first["refresh_token"])
    #expect(try await fixture.refresh(first["refresh_token"]).json["error"] == "invalid_grant")
    #expect(try await fixture.refresh(second.json["refresh_token"]).json["error"] == "invalid_grant")
    #expect(try await fixture.userInfo(second.json["access_token"]).status == 401)
  }

  @Test("without rotation a refresh token stays good; another client can neither use it nor revoke it by trying")
  func withoutRotation() async throws {
    let fixture = try ProviderFixture { $0.rotatesRefreshTokens = false }
    let first = try await fixture.tokens()
    for _ in 0..<3 {
      let answer = try await fixture.refresh(first["refresh_token"])
      #expect(answer.status == 200 && answer.json["refresh_token"] == nil)
    }
    let stolen = [("grant_type", "refresh_token"), ("refresh_token", first["refresh_token"]?.string ?? "")]
    let answer = try await fixture.post("/token", stolen, ProviderFixture.basic("portal", "other"))
    #expect(answer.json["error"] == "invalid_grant")
    #expect(try await fixture.refresh(first["refresh_token"]).status == 200)
    fixture.time.advance(by: .seconds(28_801))
    #expect(try await fixture.refresh(first["refresh_token"]).json["error"] == "invalid_grant")
  }

  @Test("grants that are not offered, and requests without what they need, are named")
  func grants() async throws {
    let fixture = try ProviderFixture()
    for (pairs, error) in [
      ([("grant_type", "password"), ("username", "alice"), ("password", "alice")], "unsupported_grant_type"),
      ([("grant_type", "client_credentials")], "unsupported_grant_type"), ([], "invalid_request"),
      ([("grant_type", "authorization_code")], "invalid_request"), ([("grant_type", "refresh_token")], "invalid_request"),
      ([("grant_type", "refresh_token"), ("refresh_token", "nonsense")], "invalid_grant"),
      ([("grant_type", "refresh_token"), ("refresh_token", "a"), ("refresh_token", "b")], "invalid_request"),
    ] { #expect(try await fixture.post("/token", pairs).json["error"]?.string == error, "\(pairs)") }
  }

  @Test("an exchanged token is for the audience alone, keeps person and session, and opens no userinfo")
  func exchange() async throws {
    let fixture = try ProviderFixture()
    let tokens = try await fixture.tokens()
    let answer = try await fixture.exchange(tokens["access_token"], ["scope": "openid"])
    #expect(answer.status == 200 && answer.json["token_type"] == "Bearer" && answer.json["scope"] == "openid")
    #expect(answer.json["issued_token_type"] == "urn:ietf:params:oauth:token-type:access_token")
    #expect(answer.json["refresh_token"] == nil && answer.json["id_token"] == nil)
    let (original, exchanged) = (try await fixture.claims(tokens["access_token"]), try await fixture.claims(answer.json["access_token"]))
    #expect(exchanged.claims["aud"] == "files" && exchanged.claims["azp"] == "intercom")
    for name: Identifier in ["iss", "sub", "sid", "preferred_username"] { #expect(original.claims[name] == exchanged.claims[name]) }
    #expect(try await fixture.userInfo(answer.json["access_token"]).status == 401)
    #expect(fixture.events.all.last == .tokenExchanged(client: "intercom", audience: "files"))
  }

  @Test(
    "an exchange is refused without subject token, for another audience, type, scope, or with delegation",
    arguments: [
      ("audience", "admin", "invalid_target"), ("audience", nil, "invalid_request"), ("subject_token", nil, "invalid_request"),
      ("subject_token", "e30.e30.AA", "invalid_request"), ("subject_token_type", nil, "invalid_request"),
      ("subject_token_type", "urn:ietf:params:oauth:token-type:id_token", "invalid_request"),
      ("requested_token_type", "urn:ietf:params:oauth:token-type:refresh_token", "invalid_request"),
      ("actor_token", "x", "invalid_request"),
      ("resource", "http://files", "invalid_target"), ("scope", "openid offline_access", "invalid_scope"),
    ])
  func exchangeRefusals(name: String, value: String?, error: String) async throws {
    let fixture = try ProviderFixture()
    let answer = try await fixture.exchange(try await fixture.tokens()["access_token"], [name: value])
    #expect(answer.status == 400 && answer.json["error"]?.string == error)
  }

  @Test("an id token, an expired token, another client's token and one of another provider are no subject tokens")
  func wrongSubjects() async throws {
    let fixture = try ProviderFixture()
    let tokens = try await fixture.tokens()
    #expect(try await fixture.exchange(tokens["id_token"]).json["error"] == "invalid_request")
    let other = try await fixture.exchange(tokens["access_token"], [:], ProviderFixture.basic("portal", "other"))
    #expect(other.json["error"] == "invalid_request")
    let foreign = try await ProviderFixture().tokens()
    #expect(try await fixture.exchange(foreign["access_token"]).json["error"] == "invalid_request")
    fixture.time.advance(by: .seconds(300))
    #expect(try await fixture.exchange(tokens["access_token"]).json["error"] == "invalid_request")
    #expect(try await fixture.userInfo(tokens["access_token"]).status == 401)
  }

  @Test("userinfo answers good access tokens only, and challenges all others")
  func userInfo() async throws {
    let fixture = try ProviderFixture()
    let tokens = try await fixture.tokens()
    let good = try await fixture.userInfo(tokens["access_token"])
    #expect(good.status == 200 && good.json["sub"] == "9a1f" && good.json["email"] == "alice@example.org")
    for token in [tokens["id_token"], tokens["refresh_token"], "x", nil] { #expect(try await fixture.userInfo(token).status == 401) }
    let response = try await fixture.browser.send(.get, "/userinfo")
    #expect(response.status == 401 && response.fields.single("www-authenticate") == "Bearer error=\"invalid_token\"")
  }

  @Test("revocation ends a refresh token's family or one access token; unknown tokens are no error, foreign ones are refused")
  func revocation() async throws {
    let fixture = try ProviderFixture()
    let tokens = try await fixture.tokens()
    let more = try await fixture.refresh(tokens["refresh_token"])
    func revoke(_ token: JSONValue?, _ fields: Fields = ProviderFixture.basic()) async throws -> Int {
      try await fixture.post("/revoke", [("token", token?.string ?? "")], fields).status
    }
    #expect(try await revoke("unknown") == 200)
    #expect(try await revoke(nil) == 400)
    #expect(try await revoke(more.json["access_token"], Fields()) == 401)
    #expect(try await revoke(more.json["access_token"], ProviderFixture.basic("portal", "other")) == 400)
    #expect(try await revoke(more.json["refresh_token"], ProviderFixture.basic("portal", "other")) == 400)
    #expect(try await revoke(more.json["access_token"]) == 200)
    #expect(try await fixture.userInfo(more.json["access_token"]).status == 401)
    let last = try await fixture.refresh(more.json["refresh_token"])
    #expect(last.status == 200)
    #expect(try await revoke(last.json["refresh_token"]) == 200)
    #expect(try await fixture.refresh(last.json["refresh_token"]).json["error"] == "invalid_grant")
    #expect(try await fixture.userInfo(last.json["access_token"]).status == 401)
  }
}
