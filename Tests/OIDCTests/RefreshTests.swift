import HTTPMessage
import IntercomCore
import IntercomTesting
import JOSE
import OIDC
import StrictJSON
import Testing

@Suite("Refresh and token responses")
struct RefreshTests {
  private func refresh(
    _ changes: JSONObject, original: JSONObject = [:], answer: JSONObject = [:]
  ) async throws -> RefreshResult {
    let provider = try ProviderDouble()
    let party = try await provider.relyingParty()
    let login = try await provider.login(original, party: party)
    var members: JSONObject = ["id_token": .string(try provider.key.sign(provider.claims(changes))), "refresh_token": "refresh-2"]
    for member in answer.members { members[member.key] = member.value }
    provider.tokenEndpointAnswers(ProviderDouble.tokenAnswer(members))
    return try await party.refresh(Secret("refresh-1"), login.identity.binding)
  }

  @Test("A refreshed id_token of the same person, session and audience is taken, also without a nonce, and the nonce is kept")
  func right() async throws {
    let result = try await refresh([:])
    let identity = try #require(result.identity)
    #expect(identity.binding.nonce != nil)
    #expect(identity.claims["nonce"]?.string == identity.binding.nonce)
    let rebuilt = IDTokenBinding(
      issuer: identity.issuer, subject: identity.subject, sessionID: identity.sessionID, claims: identity.claims)
    #expect(rebuilt == identity.binding)
    #expect(result.tokens.refreshToken?.reveal() == "refresh-2")
  }

  /// A provider with a login, whose next answer to a refresh has these changes.
  private func answering(_ changes: JSONObject, _ original: JSONObject = [:]) async throws -> (ProviderDouble, RelyingParty, IDTokenBinding)
  {
    let provider = try ProviderDouble()
    let party = try await provider.relyingParty()
    let login = try await provider.login(original, party: party)
    provider.tokenEndpointAnswers(
      ProviderDouble.tokenAnswer([
        "id_token": .string(try provider.key.sign(provider.claims(changes))), "refresh_token": "refresh-of-somebody",
      ]))
    provider.otherEndpointsAnswer(.json(200, ""))
    return (provider, party, login.identity.binding)
  }

  static let otherPersons: [ClaimChange] = [
    ClaimChange("another person", ["sub": "bob-id"]), ClaimChange("another person without sid", ["sub": "bob-id", "sid": .null]),
    ClaimChange("another person with the nonce of another login", ["sub": "bob-id", "nonce": "other"]),
    ClaimChange("the same name in another normal form", ["sub": "a\u{308}lice"]),
    ClaimChange("another issuer", ["iss": "https://evil.example"]),
    ClaimChange("another realm", ["iss": "https://id.example/realms/other"]),
    ClaimChange("another session of the provider", ["sid": "session-2"]),
  ]

  @Test(
    "Refreshed token of somebody else: the session must end, and what came is revoked and never handed out (S16)", arguments: otherPersons)
  func somebodyElse(_ change: ClaimChange) async throws {
    let isTwin = change.changes["sub"] == "a\u{308}lice"
    let (provider, party, binding) = try await answering(change.changes, isTwin ? ["sub": "älice"] : [:])
    let error = try #require(await oidcError { try await party.refresh(Secret("refresh-1"), binding) })
    #expect(error.code == .identityChanged && error.endsSession)
    #expect(await eventually { provider.requests(to: "/revoke") == 1 })
    let revocation = try #require(provider.transport.requests.last { $0.url.hasSuffix("/revoke") })
    #expect(String(decoding: revocation.body, as: UTF8.self).contains("token=refresh-of-somebody"))
  }

  @Test("A token of somebody else that is not in order in another way too ends nothing and revokes nothing (S16)")
  func damagedAndSomebodyElse() async throws {
    let changes: [JSONObject] = [["exp": 1], ["aud": "mail"], ["azp": "mail"], ["at_hash": "AAAAAAAAAAAAAAAAAAAAAA"], ["typ": "Bearer"]]
    for change in changes {
      var all = change
      all["sub"] = "bob-id"
      let (provider, party, binding) = try await answering(all)
      let error = try #require(await oidcError { try await party.refresh(Secret("refresh-1"), binding) })
      #expect(error.code == .invalidIDToken && !error.endsSession, "\(change)")
      #expect(provider.requests(to: "/revoke") == 0)
    }
    let (provider, party, binding) = try await answering([:])
    let forger = try SigningKey.generate(.es256, keyID: "key-1")
    provider.tokenEndpointAnswers(
      ProviderDouble.tokenAnswer(["id_token": .string(try forger.sign(provider.claims(["sub": "bob-id"])))]))
    let error = try #require(await oidcError { try await party.refresh(Secret("refresh-1"), binding) })
    #expect(error.code == .invalidIDToken && !error.endsSession)
    #expect(provider.requests(to: "/revoke") == 0)
  }

  static let refusedChanges: [ClaimChange] = [
    ClaimChange("another audience", ["aud": "mail"]), ClaimChange("an audience more", ["aud": ["intercom", "mail"], "azp": "intercom"]),
    ClaimChange("another nonce", ["nonce": "other"]), ClaimChange("expired", ["exp": 1]), ClaimChange("no issuer", ["iss": .null]),
  ]

  @Test("A refreshed id_token that is not of this session is refused (S16)", arguments: refusedChanges)
  func other(_ change: ClaimChange) async throws {
    let error = await oidcError { try await refresh(change.changes) }
    #expect(change.explains(error), "\(String(describing: error))")
    #expect(error?.code == .invalidIDToken)
  }

  @Test("An answer without id_token and refresh token keeps the old ones")
  func nothingNew() async throws {
    let result = try await refresh([:], answer: ["id_token": .null, "refresh_token": .null])
    #expect(result.identity == nil)
    #expect(result.tokens.idToken == nil)
    #expect(result.tokens.refreshToken?.reveal() == "refresh-1")
  }

  private static func refusal(_ code: Int, _ body: String, type: String = "application/json") -> OutboundResponse {
    .json(Status(code), body, type: type)
  }

  @Test(
    "What a failed refresh means: only the provider's own refusal ends the session",
    arguments: [
      (refusal(400, #"{"error":"invalid_grant","error_description":"Session not active"}"#), .refreshRefused, true),
      (refusal(401, #"{"error":"invalid_client"}"#), .clientRefused, false),
      (refusal(400, #"{"error":"unauthorized_client"}"#), .clientRefused, false),
      (refusal(400, #"{"error":"temporarily_unavailable"}"#), .providerUnavailable, false),
      (refusal(400, #"{"error":"invalid_scope"}"#), .invalidTokenResponse, false),
      (refusal(500, #"{"error":"invalid_grant"}"#), .providerUnavailable, false),
      (refusal(503, "<html>", type: "text/html"), .providerUnavailable, false),
      (refusal(429, #"{"error":"invalid_grant"}"#), .providerUnavailable, false),
      (refusal(408, "{}"), .providerUnavailable, false),
      (refusal(404, "<html>", type: "text/html"), .invalidTokenResponse, false),
      (refusal(400, #"{"error":"invalid_grant"}"#, type: "text/html"), .invalidTokenResponse, false),
      (refusal(400, #"{"error":"invalid_grant","error":"x"}"#), .invalidTokenResponse, false),
      (refusal(302, ""), .invalidTokenResponse, false), (refusal(204, ""), .invalidTokenResponse, false),
    ] as [(OutboundResponse, OIDCError.Code, Bool)])
  func meaning(_ answer: OutboundResponse, _ code: OIDCError.Code, _ ends: Bool) async throws {
    let provider = try ProviderDouble()
    let party = try await provider.relyingParty()
    let binding = try await provider.login(party: party).identity.binding
    provider.tokenEndpointAnswers(answer)
    let error = try #require(await oidcError { try await party.refresh(Secret("refresh-1"), binding) })
    #expect(error.code == code)
    #expect(error.endsSession == ends)
  }

  @Test(
    "A provider that is not reached, too slow or too talkative ends nothing; only the last of these has answered",
    arguments: [
      (.unreachable("x"), .providerUnavailable, true), (.timedOut, .timeout, true), (.tls("x"), .providerUnavailable, true),
      (.broken("x"), .providerUnavailable, true), (.cancelled, .timeout, true), (.badURL, .invalidTokenResponse, false),
      (.tooLarge, .invalidTokenResponse, false),
    ] as [(TransportError, OIDCError.Code, Bool)])
  func transport(_ failure: TransportError, _ code: OIDCError.Code, _ isTemporary: Bool) async throws {
    let provider = try ProviderDouble()
    let party = try await provider.relyingParty()
    let binding = try await provider.login(party: party).identity.binding
    provider.lies.failure = failure
    let error = try #require(await oidcError { try await party.refresh(Secret("refresh-1"), binding) })
    #expect(error.code == code)
    #expect(!error.endsSession)
    #expect(error.isTemporary == isTemporary)
    let limit = try #require(provider.transport.deadlines.last)
    #expect(provider.time.monotonicNow().duration(to: limit) == .seconds(5))
  }

  @Test(
    "A token response that is not one is refused",
    arguments: [
      ClaimChange("no access token", ["access_token": .null]), ClaimChange("empty access token", ["access_token": ""]),
      ClaimChange("access token no string", ["access_token": 1]),
      ClaimChange("access token with a line end", ["access_token": "a\r\nX: 1"]),
      ClaimChange("access token with a space", ["access_token": "a b"]), ClaimChange("no token type", ["token_type": .null]),
      ClaimChange("another token type", ["token_type": "DPoP"]), ClaimChange("negative life", ["expires_in": -1]),
      ClaimChange("life no number", ["expires_in": "300"]), ClaimChange("life a fraction", ["expires_in": .double(0.5)]),
      ClaimChange("refresh token no string", ["refresh_token": ["x"]]),
      ClaimChange("access token of 65 KiB", ["access_token": .string(String(repeating: "a", count: 66_000))]),
    ])
  func response(_ change: ClaimChange) throws {
    let error = #expect(throws: OIDCError.self) { try TokenResponse.parse(ProviderDouble.tokenAnswer(change.changes)) }
    #expect(error?.code == .invalidTokenResponse)
  }

  @Test("The token type is compared without case, null counts as absent, a life of centuries is a year, HTML is no answer")
  func tolerances() throws {
    guard
      case .tokens(let tokens) = try TokenResponse.parse(
        ProviderDouble.tokenAnswer(["token_type": "bEARER", "expires_in": 99_999_999_999]))
    else {
      Issue.record("refused")
      return
    }
    #expect(tokens.expiresIn == .seconds(31_536_000))
    #expect(throws: OIDCError.self) {
      try TokenResponse.parse(.json(200, #"{"access_token":"a","token_type":"Bearer"}"#, type: "text/html"))
    }
    #expect(throws: OIDCError.self) {
      try TokenResponse.parse(.json(200, #"{"access_token":"a","access_token":"b","token_type":"Bearer"}"#))
    }
  }

  @Test("Basic authentication form-encodes both halves; post puts them into the body and nowhere else")
  func clientAuthentication() async throws {
    let provider = try ProviderDouble()
    _ = try await provider.login()
    let basic = try #require(provider.lastTokenRequest)
    // printf 'intercom:s%3Aecret%2F%C3%BC' | base64
    #expect(basic.fields.single("authorization") == "Basic aW50ZXJjb206cyUzQWVjcmV0JTJGJUMzJUJD")
    #expect(!String(decoding: basic.body, as: UTF8.self).contains("client_secret"))
    #expect(basic.fields.single("content-type") == "application/x-www-form-urlencoded")
    let party = try await provider.relyingParty(provider.configuration { $0.authentication = .post })
    _ = try await provider.login(party: party)
    let post = try #require(provider.lastTokenRequest)
    #expect(post.fields.single("authorization") == nil)
    #expect(String(decoding: post.body, as: UTF8.self).hasSuffix("&client_id=intercom&client_secret=s%3Aecret%2F%C3%BC"))
  }

  @Test("Codes and refresh tokens are not for the transport to repeat, exchanges and revocations are (faults 17, 23)")
  func repeatable() async throws {
    let provider = try ProviderDouble()
    let party = try await provider.relyingParty()
    let binding = try await provider.login(party: party).identity.binding
    #expect(provider.lastTokenRequest?.isRepeatable == false)
    _ = await oidcError { try await party.refresh(Secret("refresh-1"), binding) }
    #expect(provider.lastTokenRequest?.isRepeatable == false)
    _ = await oidcError { try await party.exchange(TokenExchange(subjectToken: Secret("a"), subject: "alice-id", audience: "files")) }
    #expect(provider.lastTokenRequest?.isRepeatable == true)
    _ = await oidcError { try await party.revoke(Secret("refresh-1"), .refreshToken) }
    #expect(provider.transport.requests.last?.isRepeatable == true)
  }

  @Test("A token in the provider's error text does not reach our error")
  func leak() async throws {
    let provider = try ProviderDouble()
    let party = try await provider.relyingParty()
    let canary = "eyJhbGciOiJSUzI1NiJ9.canary.canary"
    provider.tokenEndpointAnswers(.json(400, #"{"error":"invalid_grant","error_description":"bad token \#(canary) here"}"#))
    let binding = IDTokenBinding(issuer: "i", subject: "s", audiences: [], sessionID: nil, nonce: nil, authenticationTime: nil)
    let error = try #require(await oidcError { try await party.refresh(Secret(canary), binding) })
    #expect(error.detail.contains("bad token"))
    #expect(!"\(error) \(String(reflecting: error))".contains("canary"))
  }
}
