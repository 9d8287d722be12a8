import Cryptography
import HTTPMessage
import IntercomCore
import IntercomTesting
import JOSE
import OIDC
import StrictJSON
import Testing

/// A change to a right token, in words and in claims.
struct ClaimChange: Sendable, CustomTestStringConvertible {
  let testDescription: String
  let changes: JSONObject
  init(_ words: String, _ changes: JSONObject) {
    testDescription = words
    self.changes = changes
  }

  /// Was the token refused because of what was changed, and not for another reason?
  func explains(_ error: OIDCError?) -> Bool {
    let words: [Identifier: String] = [
      "exp": "expired", "nbf": "not valid yet", "events": "event", "aud": "audiences", "sub": "person", "sid": "session",
    ]
    guard let detail = error?.detail else { return false }
    return changes.members.contains { detail.contains($0.key.description) || words[$0.key].map { detail.contains($0) } ?? false }
  }
}

@Suite("ID token validation")
struct IDTokenTests {
  /// What the clock of the doubles shows.
  private static let now = ManualTime().wallNow().seconds

  @Test("A right id_token names issuer, person and session, byte by byte")
  func right() async throws {
    let provider = try ProviderDouble()
    let result = try await provider.login(["sub": "ä"], answer: ["refresh_expires_in": 1_800])
    #expect(result.identity.subject == "ä")
    #expect(result.identity.subject != "a\u{308}")
    #expect(result.identity.issuer == Identifier(ProviderDouble.issuer))
    #expect(result.identity.sessionID == "session-1")
    #expect(result.identity.claims["sid"] == "session-1")
    #expect(result.tokens.accessToken.reveal() == "access-1")
    #expect(result.tokens.refreshToken?.reveal() == "refresh-1")
    #expect(result.tokens.accessExpires.seconds == Self.now + 300)
    #expect(result.tokens.refreshExpires?.seconds == Self.now + 1_800)
    #expect(result.tokens.idToken != nil)
  }

  static let refusedChanges: [ClaimChange] = [
    ClaimChange("issuer missing", ["iss": .null]), ClaimChange("issuer of another realm", ["iss": "https://id.example/realms/other"]),
    ClaimChange("issuer with a slash more", ["iss": .string(ProviderDouble.issuer + "/")]), ClaimChange("issuer no string", ["iss": 1]),
    ClaimChange("audience missing", ["aud": .null]), ClaimChange("audience another client", ["aud": "mail"]),
    ClaimChange("audiences without us", ["aud": ["mail", "portal"]]), ClaimChange("no audience", ["aud": []]),
    ClaimChange("audience no name", ["aud": ["intercom", 1]]), ClaimChange("audience in other case", ["aud": "Intercom"]),
    ClaimChange("several audiences without azp", ["aud": ["intercom", "mail"]]),
    ClaimChange("azp another client", ["azp": "mail"]),
    ClaimChange("azp another client with two audiences", ["aud": ["intercom", "mail"], "azp": "mail"]),
    ClaimChange("azp no string", ["azp": 5]), ClaimChange("exp missing", ["exp": .null]),
    ClaimChange("expired beyond the skew", ["exp": .int64(now - 60)]), ClaimChange("exp text", ["exp": "soon"]),
    ClaimChange("exp negative", ["exp": -1]), ClaimChange("exp beyond all time", ["exp": .double(1e300)]),
    ClaimChange("iat missing", ["iat": .null]), ClaimChange("iat ten minutes ahead", ["iat": .int64(now + 600)]),
    ClaimChange("iat two days past", ["iat": .int64(now - 172_800)]), ClaimChange("nbf ten minutes ahead", ["nbf": .int64(now + 600)]),
    ClaimChange("nonce missing", ["nonce": .null]), ClaimChange("nonce of another login", ["nonce": "other"]),
    ClaimChange("nonce no string", ["nonce": 1]), ClaimChange("sub missing", ["sub": .null]), ClaimChange("sub empty", ["sub": ""]),
    ClaimChange("sub a number", ["sub": 7]), ClaimChange("sub of 2 KiB", ["sub": .string(String(repeating: "s", count: 2_048))]),
    ClaimChange("sid no string", ["sid": 7]), ClaimChange("at_hash of another token", ["at_hash": "AAAAAAAAAAAAAAAAAAAAAA"]),
    ClaimChange("at_hash no string", ["at_hash": 1]), ClaimChange("an access token of Keycloak", ["typ": "Bearer"]),
    ClaimChange("a refresh token of Keycloak", ["typ": "Refresh"]), ClaimChange("a logout token of Keycloak", ["typ": "Logout"]),
    ClaimChange("an event token", ["events": .object([:])]),
  ]

  @Test("A token with one claim wrong is refused", arguments: refusedChanges)
  func claim(_ change: ClaimChange) async throws {
    let error = await oidcError { try await ProviderDouble().login(change.changes) }
    #expect(error?.code == .invalidIDToken)
    #expect(change.explains(error), "\(String(describing: error))")
  }

  static let acceptedChanges: [ClaimChange] = [
    ClaimChange("audience as a list", ["aud": ["intercom"]]),
    ClaimChange("several audiences with us as azp", ["aud": ["intercom", "mail"], "azp": "intercom"]),
    ClaimChange("expired within the skew", ["exp": .int64(now - 59)]), ClaimChange("iat a minute ahead", ["iat": .int64(now + 60)]),
    ClaimChange("times with fractions", ["iat": .double(Double(now) + 0.5)]), ClaimChange("no sid", ["sid": .null]),
    ClaimChange("Keycloak's kind", ["typ": "ID"]),
  ]

  @Test("A token within the rules is accepted", arguments: acceptedChanges)
  func accepted(_ change: ClaimChange) async throws { _ = try await ProviderDouble().login(change.changes) }

  @Test("at_hash is checked with the algorithm's own hash", arguments: [Algorithm.es256, .es384, .edDSA])
  func accessTokenHash(_ algorithm: Algorithm) async throws {
    let provider = try ProviderDouble(algorithm)
    let right = algorithm.leftHalfHash(of: Array("access-1".utf8))
    _ = try await provider.login(["at_hash": .string(right)])
    let error = await oidcError { try await provider.login(["at_hash": .string(right)], answer: ["access_token": "access-2"]) }
    #expect(error?.code == .invalidIDToken)
  }

  @Test("With max_age the time of the sign-in must be there and recent")
  func maximumAge() async throws {
    let provider = try ProviderDouble()
    let options = LoginOptions(maximumAge: 100)
    _ = try await provider.login(["auth_time": .int64(Self.now - 100)], options: options)
    #expect(await oidcError { try await provider.login(options: options) }?.code == .invalidIDToken)
    #expect(await oidcError { try await provider.login(["auth_time": .int64(Self.now - 161)], options: options) }?.code == .invalidIDToken)
    #expect(await oidcError { try await provider.login(["auth_time": "x"], options: options) }?.code == .invalidIDToken)
  }

  private func forged(_ header: JSONObject, signature: [UInt8] = [1, 2, 3]) -> (JSONObject) -> String {
    { CompactJWS.join(CompactJWS.signingInput(header: header, payload: $0.serialized), signature: signature) }
  }

  @Test("Algorithm none is refused, with and without a signature", arguments: ["none", "None", "NONE", ""])
  func algorithmNone(_ name: String) async throws {
    for signature in [[], [1]] as [[UInt8]] {
      let sign = forged(["alg": .string(name), "kid": "key-1"], signature: signature)
      #expect(await oidcError { try await ProviderDouble().login(sign: sign) }?.code == .invalidIDToken)
    }
  }

  @Test("HS256 signed with the published key or the client secret is refused")
  func sharedSecret() async throws {
    let provider = try ProviderDouble()
    for secret in [Array("s:ecret/ü".utf8), provider.key.publicJWK.serialized] {
      let sign: (JSONObject) -> String = { claims in
        let input = CompactJWS.signingInput(header: ["alg": "HS256", "kid": "key-1"], payload: claims.serialized)
        return CompactJWS.join(input, signature: hmacSHA256(key: secret, input))
      }
      #expect(await oidcError { try await provider.login(sign: sign) }?.code == .invalidIDToken)
    }
  }

  @Test("A wrong signature, a changed claim and a key of one's own under the known kid are refused")
  func signature() async throws {
    let provider = try ProviderDouble()
    let foreign = try SigningKey.generate(.es256, keyID: "key-1")
    #expect(await oidcError { try await provider.login(sign: { try foreign.sign($0) }) }?.code == .invalidIDToken)
    #expect(await oidcError { try await provider.login(sign: forged(["alg": "ES256", "kid": "key-1"])) }?.code == .invalidIDToken)
    let changed: (JSONObject) throws -> String = { claims in
      let parts = try provider.key.sign(claims).split(separator: ".")
      var other = claims
      other["sub"] = "mallory"
      return "\(parts[0]).\(Base64URL.encode(other.serialized)).\(parts[2])"
    }
    #expect(await oidcError { try await provider.login(sign: changed) }?.code == .invalidIDToken)
    let withKey: (JSONObject) throws -> String = {
      try foreign.sign($0, header: ["jwk": .object(foreign.publicJWK), "jku": "https://evil.example/certs"])
    }
    #expect(await oidcError { try await provider.login(sign: withKey) }?.code == .invalidIDToken)
    #expect(provider.transport.requests.allSatisfy { $0.url.hasPrefix(ProviderDouble.issuer) })
  }

  @Test("Without a kid the only key is taken; with several nothing is guessed")
  func keyAbsent() async throws {
    let provider = try ProviderDouble()
    let sign: (JSONObject) throws -> String = { try provider.key.sign($0, header: ["kid": .null]) }
    _ = try await provider.login(sign: sign)
    provider.publish([provider.key, try SigningKey.generate(.es256, keyID: "key-2")])
    #expect(await oidcError { try await provider.login(sign: sign) }?.code == .invalidIDToken)
  }

  @Test(
    "A token of another kind is refused by its header",
    arguments: ["at+jwt", "logout+jwt", "application/at+jwt", "dpop+jwt", ""])
  func kind(_ type: String) async throws {
    let provider = try ProviderDouble()
    #expect(await oidcError { try await provider.login(sign: { try provider.key.sign($0, type: type) }) }?.code == .invalidIDToken)
  }

  @Test("An algorithm that is not configured is refused although its key is published")
  func algorithmNotAllowed() async throws {
    let provider = try ProviderDouble()
    provider.publish([provider.key, try SigningKey.generate(.edDSA, keyID: "ed")])
    let party = try await provider.relyingParty(provider.configuration { $0.algorithms = [.edDSA] })
    #expect(await oidcError { try await provider.login(party: party) }?.code == .invalidIDToken)
  }

  @Test(
    "Tokens that two readers could read differently are refused",
    arguments: [#"{"iss":"a","iss":"b"}"#, "{\"sub\":\"x\",}", "[]", "null", "{\"a\":\"\u{0}\"}", ""])
  func strict(_ payload: String) async throws {
    let provider = try ProviderDouble()
    #expect(
      await oidcError { try await provider.login(sign: { _ in try provider.key.sign(payload: Array(payload.utf8)) }) }?.code
        == .invalidIDToken)
  }

  @Test("A code is sent once, with its verifier; no id_token in the answer is no login")
  func codeOnce() async throws {
    let provider = try ProviderDouble()
    #expect(await oidcError { try await provider.login(answer: ["id_token": .null]) }?.code == .invalidTokenResponse)
    #expect(provider.requests(to: "/token") == 1)
    let body = String(decoding: try #require(provider.lastTokenRequest).body, as: UTF8.self)
    #expect(
      body.hasPrefix("grant_type=authorization_code&code=code-1&redirect_uri=https%3A%2F%2Fintercom.example%2Fcallback&code_verifier="))
  }
}
