import HTTPMessage
import IntercomCore
import IntercomTesting
import JOSE
import OIDC
import StrictJSON
import Testing

@Suite("Token exchange and the smaller requests")
struct ExchangeTests {
  private func exchange(
    token: JSONObject?, answer: JSONObject = [:], alsoFor: Set<Identifier> = [],
    _ change: (inout ClientConfiguration) -> Void = { _ in }
  ) async throws -> (ExchangedToken, ProviderDouble) {
    let provider = try ProviderDouble()
    let party = try await provider.relyingParty(provider.configuration(change))
    var members: JSONObject = [
      "issued_token_type": .string(TokenExchange.accessTokenType), "refresh_token": "never-used", "access_token": "opaque-1",
    ]
    if let token {
      var claims = provider.claims(["aud": "ncoidc", "azp": "intercom"])
      for member in token.members { claims[member.key] = member.value.isNull ? nil : member.value }
      members["access_token"] = .string(try provider.key.sign(claims))
    }
    for member in answer.members { members[member.key] = member.value }
    provider.tokenEndpointAnswers(ProviderDouble.tokenAnswer(members))
    let request = TokenExchange(
      subjectToken: Secret("subject-token"), subject: "alice-id", sessionID: "session-1", audience: "ncoidc", scope: "files",
      resource: "https://files.example/", alsoFor: alsoFor)
    return (try await party.exchange(request), provider)
  }

  @Test("The request of RFC 8693 has the subject token, its type, audience, scope and resource")
  func standard() async throws {
    let (token, provider) = try await exchange(token: [:])
    #expect(token.audience == "ncoidc")
    let body = String(decoding: try #require(provider.lastTokenRequest).body, as: UTF8.self)
    #expect(
      body == "grant_type=urn%3Aietf%3Aparams%3Aoauth%3Agrant-type%3Atoken-exchange&subject_token=subject-token"
        + "&subject_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token"
        + "&requested_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token"
        + "&audience=ncoidc&scope=files&resource=https%3A%2F%2Ffiles.example%2F")
  }

  @Test("Keycloak's legacy form has no subject token type, and its answer needs no issued_token_type")
  func legacy() async throws {
    let (_, provider) = try await exchange(token: [:], answer: ["issued_token_type": .null]) {
      $0.exchangeStyle = .keycloakLegacy
    }
    let body = String(decoding: try #require(provider.lastTokenRequest).body, as: UTF8.self)
    #expect(!body.contains("subject_token_type"))
    #expect(body.contains("&subject_token=subject-token&requested_token_type=urn%3Aietf%3Aparams%3Aoauth%3Atoken-type%3Aaccess_token&"))
  }

  @Test(
    "A refresh token that comes with the exchanged one is neither used nor revoked: it belongs to the user's own session",
    arguments: [ClientConfiguration.ExchangeStyle.standard, .keycloakLegacy])
  func refreshToken(_ style: ClientConfiguration.ExchangeStyle) async throws {
    let (_, provider) = try await exchange(token: [:], answer: ["refresh_token": "refresh-of-the-exchange"]) { $0.exchangeStyle = style }
    #expect(provider.requests(to: "/token") == 1)
    #expect(provider.requests(to: "/revoke") == 0)
  }

  @Test(
    "S14: a token for other audiences besides is refused in both forms, unless the route names them; the log says which they are",
    arguments: [ClientConfiguration.ExchangeStyle.standard, .keycloakLegacy])
  func account(_ style: ClientConfiguration.ExchangeStyle) async throws {
    let both: JSONObject = ["aud": ["account", "ncoidc"]]
    _ = try await exchange(token: both, alsoFor: ["account"]) { $0.exchangeStyle = style }
    let refused = await oidcError { try await exchange(token: both) { $0.exchangeStyle = style } }
    #expect(refused?.code == .exchangeMismatch)
    #expect(refused?.detail == "aud is broader than was asked for: also account")
    let token = String(repeating: "x", count: 65)
    let many: JSONObject = ["aud": ["account", "a\nb", .string(token), "c", "ncoidc", "d"]]
    let error = await oidcError { try await exchange(token: many, alsoFor: ["account"]) { $0.exchangeStyle = style } }
    #expect(error?.detail == "aud is broader than was asked for: also a b, …, c and 1 more")
  }

  @Test("S17: a token that says by its session alone whose it is, is taken; without both sub and sid it is not")
  func lightweight() async throws {
    _ = try await exchange(token: ["sub": .null])
    _ = try await exchange(token: ["sid": .null])
    #expect(await oidcError { try await exchange(token: ["sub": .null, "sid": .null]) }?.code == .exchangeMismatch)
  }

  @Test(
    "S17: without a subject token nothing is asked for: it never becomes a client credentials grant",
    arguments: [ClientConfiguration.ExchangeStyle.standard, .keycloakLegacy])
  func missingSubjectToken(_ style: ClientConfiguration.ExchangeStyle) async throws {
    let provider = try ProviderDouble()
    let party = try await provider.relyingParty(provider.configuration { $0.exchangeStyle = style })
    let request = TokenExchange(subjectToken: Secret(""), subject: "alice-id", audience: "ncoidc")
    #expect(await oidcError { try await party.exchange(request) }?.code == .exchangeRefused)
    #expect(provider.requests(to: "/token") == 0)
  }

  static let broader: [ClaimChange] = [
    ClaimChange("another audience", ["aud": "xwikioidc"]), ClaimChange("an audience more", ["aud": ["ncoidc", "xwikioidc"]]),
    ClaimChange("no audience", ["aud": .null]), ClaimChange("an audience that is no name", ["aud": ["ncoidc", 1]]),
    ClaimChange("another person", ["sub": "bob-id"]), ClaimChange("another party", ["azp": "mail"]),
    ClaimChange("the audience as party", ["azp": "ncoidc"]), ClaimChange("party no string", ["azp": 1]),
    ClaimChange("a person that is no string", ["sub": 1]), ClaimChange("another session", ["sid": "session-2"]),
    ClaimChange("the client's own token", ["sub": "service-account-intercom", "sid": .null]),
    ClaimChange("a session that is no string", ["sid": ["session-1"]]), ClaimChange("nobody", ["sub": .null, "sid": .null]),
    ClaimChange("another issuer", ["iss": "https://evil.example"]), ClaimChange("expired", ["exp": 1]),
  ]

  @Test("Fault 25: a token that is broader or of another person is never handed on", arguments: broader)
  func mismatch(_ change: ClaimChange) async throws {
    let error = await oidcError { try await exchange(token: change.changes) }
    #expect(error?.code == .exchangeMismatch)
    #expect(change.explains(error), "\(String(describing: error))")
  }

  @Test("Fault 25: the session's own token, or a token of another type, is never handed on")
  func ownToken() async throws {
    #expect(await oidcError { try await exchange(token: nil, answer: ["access_token": "subject-token"]) }?.code == .exchangeMismatch)
    #expect(await oidcError { try await exchange(token: nil, answer: ["issued_token_type": .null]) }?.code == .exchangeMismatch)
    let refresh: JSONObject = ["issued_token_type": "urn:ietf:params:oauth:token-type:refresh_token"]
    #expect(await oidcError { try await exchange(token: nil, answer: refresh) }?.code == .exchangeMismatch)
    #expect(await oidcError { try await exchange(token: nil, answer: ["token_type": "N_A"]) }?.code == .invalidTokenResponse)
  }

  @Test("Audiences that the configuration allows besides are fine, an opaque token too; the earlier end counts")
  func allowed() async throws {
    let (_, _) = try await exchange(token: ["aud": ["ncoidc", "account"]], alsoFor: ["account"])
    let (opaque, provider) = try await exchange(token: nil)
    #expect(opaque.expires == provider.time.wallNow().advanced(by: .seconds(300)))
    let now = ManualTime().wallNow().seconds
    let (short, _) = try await exchange(token: ["exp": .int64(now + 20)])
    #expect(short.expires.seconds == now + 20)
    let (silent, _) = try await exchange(token: nil, answer: ["expires_in": .null])
    #expect(silent.expires.seconds == now + 60)
  }

  @Test(
    "A refused exchange is a refusal, whatever word Keycloak uses, and nothing is asked for in another way",
    arguments: [
      (400, "invalid_request", .exchangeRefused), (400, "invalid_client", .exchangeRefused), (403, "access_denied", .exchangeRefused),
      (400, "invalid_grant", .exchangeRefused), (400, "invalid_target", .exchangeRefused), (401, "invalid_client", .clientRefused),
      (503, "x", .providerUnavailable),
    ] as [(Int, String, OIDCError.Code)])
  func refusal(_ status: Int, _ word: String, _ code: OIDCError.Code) async throws {
    let provider = try ProviderDouble()
    let party = try await provider.relyingParty()
    provider.tokenEndpointAnswers(.json(Status(status), #"{"error":"\#(word)"}"#))
    let request = TokenExchange(subjectToken: Secret("subject-token"), subject: "alice-id", audience: "ncoidc")
    let error = await oidcError { try await party.exchange(request) }
    #expect(error?.code == code)
    #expect(error?.word == (status < 500 ? word : nil))
    #expect(provider.requests(to: "/token") == 1)
  }

  @Test("Log injection: the provider's sentence is one short line of plain characters, without words that could be tokens")
  func sentence() async throws {
    let provider = try ProviderDouble()
    let party = try await provider.relyingParty()
    let token = "eyJhbGciOiJSUzI1NiJ9.eyJzdWIiOiJhbGljZSJ9.c2lnbmF0dXJl"
    let text = "no\\r\\n\\u001b[31m\\u0000\\u2028ü \(token) " + String(repeating: "word ", count: 5_000)
    provider.tokenEndpointAnswers(.json(403, #"{"error":"access_denied","error_description":"\#(text)"}"#))
    let request = TokenExchange(subjectToken: Secret("subject-token"), subject: "alice-id", audience: "ncoidc")
    let detail = try #require(await oidcError { try await party.exchange(request) }?.detail)
    #expect(detail.hasPrefix("the token endpoint answered 403 access_denied (no [31m … word word "))
    #expect(detail.utf8.count < 250)
    #expect(detail.unicodeScalars.allSatisfy { $0.value >= 0x20 && $0.value != 0x7f && !(0x80...0x9f).contains($0.value) })
  }

  @Test("Userinfo of another person is refused; of the right one it gives the claims")
  func userInfo() async throws {
    let provider = try ProviderDouble()
    let party = try await provider.relyingParty()
    provider.otherEndpointsAnswer(.json(200, #"{"sub":"alice-id","email":"a@example.org"}"#))
    let info = try await party.userInfo(accessToken: Secret("access-1"), subject: "alice-id")
    #expect(info.claims["email"] == "a@example.org")
    #expect(provider.transport.requests.last?.fields.single("authorization") == "Bearer access-1")
    for body in [#"{"sub":"bob-id"}"#, "{}", #"{"sub":"Alice-id"}"#, #"{"sub":"alice-id","sub":"bob-id"}"#, "<html>"] {
      provider.otherEndpointsAnswer(.json(200, body))
      #expect(await oidcError { try await party.userInfo(accessToken: Secret("a"), subject: "alice-id") }?.code == .invalidUserInfo)
    }
  }

  @Test("The logout URL carries the hint, the client, where to come back and the state")
  func logoutURL() async throws {
    let provider = try ProviderDouble()
    let party = try await provider.relyingParty()
    let url = try party.logoutURL(idTokenHint: Secret("h.i.nt"), postLogoutRedirectURI: "https://intercom.example/", state: "s&1")
    #expect(
      url == ProviderDouble.issuer + "/protocol/openid-connect/logout?id_token_hint=h.i.nt&client_id=intercom"
        + "&post_logout_redirect_uri=https%3A%2F%2Fintercom.example%2F&state=s%261")
    #expect(try party.logoutURL(idTokenHint: nil, postLogoutRedirectURI: nil).hasSuffix("/logout?client_id=intercom"))
    // Without an id_token, or with one that would not fit into a request line, the person is named by the session.
    for hint in ["", String(repeating: "h", count: 7_950)] {
      let named = try party.logoutURL(
        idTokenHint: Secret(hint), logoutHint: "sid-1", postLogoutRedirectURI: "https://intercom.example/", state: "s")
      #expect(
        named.hasSuffix("/logout?client_id=intercom&post_logout_redirect_uri=https%3A%2F%2Fintercom.example%2F&state=s&logout_hint=sid-1"))
    }
    provider.lies.metadata = ["end_session_endpoint": .null, "revocation_endpoint": .null, "userinfo_endpoint": .null]
    let poor = try await provider.relyingParty()
    #expect(await oidcError { try poor.logoutURL(idTokenHint: nil, postLogoutRedirectURI: nil) }?.code == .notSupported)
    #expect(await oidcError { try await poor.revoke(Secret("r"), .refreshToken) }?.code == .notSupported)
    #expect(await oidcError { try await poor.userInfo(accessToken: Secret("a"), subject: "s") }?.code == .notSupported)
  }

  @Test("Revocation names the token and its kind and tells refusals from failures")
  func revocation() async throws {
    let provider = try ProviderDouble()
    let party = try await provider.relyingParty()
    provider.otherEndpointsAnswer(OutboundResponse(status: 200))
    try await party.revoke(Secret("refresh-1"), .refreshToken)
    let request = try #require(provider.transport.requests.last)
    #expect(request.url.hasSuffix("/revoke"))
    #expect(String(decoding: request.body, as: UTF8.self) == "token=refresh-1&token_type_hint=refresh_token")
    provider.otherEndpointsAnswer(OutboundResponse(status: 401))
    #expect(await oidcError { try await party.revoke(Secret("r"), .accessToken) }?.code == .clientRefused)
    provider.otherEndpointsAnswer(OutboundResponse(status: 502))
    #expect(await oidcError { try await party.revoke(Secret("r"), .accessToken) }?.code == .providerUnavailable)
  }
}
