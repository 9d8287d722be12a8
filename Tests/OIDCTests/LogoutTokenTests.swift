import HTTPMessage
import IntercomCore
import IntercomTesting
import JOSE
import OIDC
import StrictJSON
import Testing

@Suite("Back-channel logout tokens")
struct LogoutTokenTests {
  private static let now = ManualTime().wallNow().seconds
  private static let event: Identifier = "http://schemas.openid.net/event/backchannel-logout"

  private func verify(
    _ changes: JSONObject = [:], type: String = "logout+jwt", header: JSONObject = [:],
    sign: ((ProviderDouble, JSONObject) throws -> String)? = nil
  ) async throws -> VerifiedLogoutToken {
    let provider = try ProviderDouble()
    let party = try await provider.relyingParty()
    let claims = provider.logoutClaims(changes)
    let token = try sign.map { try $0(provider, claims) } ?? provider.key.sign(claims, type: type, header: header)
    return try await party.verifyLogoutToken(Secret(Array(token.utf8)))
  }

  @Test("A right logout token gives issuer, person, session and its own name with the time to remember it")
  func right() async throws {
    let token = try await verify()
    #expect(token.issuer == Identifier(ProviderDouble.issuer))
    #expect(token.subject == "alice-id")
    #expect(token.sessionID == "session-1")
    #expect(token.identifier == "logout-1")
    #expect(token.expires.seconds == Self.now + 180)
  }

  static let acceptedChanges: [ClaimChange] = [
    ClaimChange("only sid", ["sub": .null]), ClaimChange("only sub", ["sid": .null]),
    ClaimChange("aud with others", ["aud": ["x", "intercom"]]),
    ClaimChange("an event with members", ["events": .object([event: .object(["x": 1])])]),
    ClaimChange("a second event", ["events": .object([event: .object([:]), "x": .object([:])])]), ClaimChange("no kind", ["typ": .null]),
  ]

  @Test("A logout token within the rules is accepted", arguments: acceptedChanges)
  func accepted(_ change: ClaimChange) async throws { _ = try await verify(change.changes) }

  @Test("typ may be absent or logout+jwt in any case", arguments: ["logout+jwt", "LOGOUT+JWT", "application/logout+jwt"])
  func types(_ type: String) async throws {
    _ = try await verify(type: type)
    _ = try await verify(header: ["typ": .null])
  }

  static let refusedChanges: [ClaimChange] = [
    ClaimChange("iss missing", ["iss": .null]), ClaimChange("iss another", ["iss": "https://evil.example"]),
    ClaimChange("aud missing", ["aud": .null]), ClaimChange("aud another", ["aud": "mail"]),
    ClaimChange("aud without us", ["aud": ["mail"]]),
    ClaimChange("iat missing", ["iat": .null]), ClaimChange("iat ahead", ["iat": .int64(now + 600)]),
    ClaimChange("iat long past", ["iat": .int64(now - 200_000)]), ClaimChange("exp missing", ["exp": .null]),
    ClaimChange("expired", ["exp": .int64(now - 60)]), ClaimChange("exp in a year", ["exp": .int64(now + 31_536_000)]),
    ClaimChange("jti missing", ["jti": .null]), ClaimChange("jti empty", ["jti": ""]), ClaimChange("jti no string", ["jti": 1]),
    ClaimChange("jti of 2 KiB", ["jti": .string(String(repeating: "j", count: 2_048))]),
    ClaimChange("events missing", ["events": .null]), ClaimChange("events empty", ["events": .object([:])]),
    ClaimChange("events a list", ["events": [.string(event.description)]]),
    ClaimChange("event no object", ["events": .object([event: true])]),
    ClaimChange("event null", ["events": .object([event: .null])]),
    ClaimChange("another event", ["events": .object(["http://schemas.openid.net/event/other": .object([:])])]),
    ClaimChange("neither sub nor sid", ["sub": .null, "sid": .null]), ClaimChange("sub empty", ["sub": ""]),
    ClaimChange("sid no string", ["sid": 1]),
    ClaimChange("nonce there", ["nonce": "n"]), ClaimChange("nonce there with another type", ["nonce": false]),
    ClaimChange("an id_token", ["typ": "ID"]), ClaimChange("an access token", ["typ": "Bearer"]),
    ClaimChange("at_hash there", ["at_hash": "x"]), ClaimChange("scope there", ["scope": "openid"]),
  ]

  @Test("Fault 29: a logout token with one rule broken is refused", arguments: refusedChanges)
  func refused(_ change: ClaimChange) async throws {
    let error = await oidcError { try await verify(change.changes) }
    #expect(error?.code == .invalidLogoutToken)
    #expect(error?.origin == .client)
    #expect(change.explains(error), "\(String(describing: error))")
  }

  @Test("A token of another type is no logout token", arguments: ["JWT", "at+jwt", "", "logout", "secevent+jwt"])
  func type(_ type: String) async throws {
    #expect(await oidcError { try await verify(type: type) }?.code == .invalidLogoutToken)
  }

  @Test("An id_token posted as a logout token is refused")
  func idToken() async throws {
    let error = await oidcError { try await verify(sign: { provider, _ in try provider.key.sign(provider.claims(["nonce": "n"])) }) }
    #expect(error?.code == .invalidLogoutToken)
  }

  @Test("crit, algorithm none, a foreign key and text that is no token are refused")
  func forged() async throws {
    #expect(await oidcError { try await verify(header: ["crit": ["exp"], "exp": 1]) }?.code == .invalidLogoutToken)
    let none = await oidcError {
      try await verify(sign: { CompactJWS.join(CompactJWS.signingInput(header: ["alg": "none"], payload: $1.serialized), signature: []) })
    }
    #expect(none?.code == .invalidLogoutToken)
    let foreign = await oidcError {
      try await verify(sign: { try SigningKey.generate(.es256, keyID: "key-1").sign($1, type: "logout+jwt") })
    }
    #expect(foreign?.code == .invalidLogoutToken)
    for text in ["", "a.b", "a.b.c.d", "é.é.é", String(repeating: "a", count: 70_000)] {
      #expect(await oidcError { try await verify(sign: { _, _ in text }) }?.code == .invalidLogoutToken)
    }
  }

  @Test("The clock of the provider may be a minute off, not ten")
  func skew() async throws {
    _ = try await verify(["iat": .int64(Self.now + 60), "exp": .int64(Self.now + 180)])
    _ = try await verify(["iat": .int64(Self.now - 179), "exp": .int64(Self.now - 59)])
    #expect(
      await oidcError { try await verify(["iat": .int64(Self.now - 700), "exp": .int64(Self.now - 580)]) }?.code == .invalidLogoutToken)
  }

  @Test(
    "The form: one logout_token, in a form, of sane size",
    arguments: [
      ("logout_token=a.b.c", nil), ("x=1&logout_token=a.b.c&y=2", nil), ("", .missing), ("logout_token=", .missing),
      ("logout_token", .missing),
      ("logout_token=a&logout_token=a", .repeated), ("logout_token=a&logout%5Ftoken=b", .repeated), ("logout_token=%", .malformed),
      ("logout_token=" + String(repeating: "a", count: 65_536), .tooLarge),
    ] as [(String, LogoutForm.Failure?)])
  func form(_ body: String, _ expected: LogoutForm.Failure?) {
    do throws(LogoutForm.Failure) {
      let token = try LogoutForm.token(Array(body.utf8))
      #expect(token.reveal() == Array("a.b.c".utf8))
      #expect(expected == nil)
    } catch { #expect(error == expected) }
  }

  @Test("A body that is no form is 415, too large 413, else 400")
  func formType() throws {
    try LogoutForm.checkType(Fields(["Content-Type": "application/X-www-form-urlencoded; charset=UTF-8"]))
    for type in ["application/json", "text/plain", "application/x-www-form-urlencodedx", ""] {
      #expect(throws: LogoutForm.Failure.notAForm) { try LogoutForm.checkType(Fields(["Content-Type": type])) }
    }
    #expect(throws: LogoutForm.Failure.notAForm) { try LogoutForm.checkType(Fields()) }
    #expect(LogoutForm.Failure.notAForm.status == 415)
    #expect(LogoutForm.Failure.tooLarge.status == 413)
    #expect(LogoutForm.Failure.repeated.status == 400)
  }
}
