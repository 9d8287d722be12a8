import Cryptography
import IntercomCore
import IntercomTesting
import JOSE
import OIDC
import StrictJSON
import Testing

@Suite("Access tokens that clients bring")
struct AccessTokenTests {
  private static let now = ManualTime().wallNow().seconds

  private func claims(_ provider: ProviderDouble, _ changes: JSONObject) -> JSONObject {
    var all: JSONObject = ["aud": "api", "typ": "Bearer", "azp": "app", "jti": "token-1"]
    for member in changes.members { all[member.key] = member.value }
    return provider.claims(all)
  }

  private func verify(
    _ changes: JSONObject = [:], type: String = "JWT", header: JSONObject = [:],
    sign: ((ProviderDouble, JSONObject) throws -> String)? = nil
  ) async throws -> VerifiedAccessToken {
    let provider = try ProviderDouble()
    let party = try await provider.relyingParty()
    let claims = claims(provider, changes)
    let token = try sign.map { try $0(provider, claims) } ?? provider.key.sign(claims, type: type, header: header)
    return try await party.verifyAccessToken(Secret(Array(token.utf8)))
  }

  @Test("A right one gives whom it names, for whom it is and when it ends", arguments: ["JWT", "at+jwt", "application/at+jwt", "AT+JWT"])
  func right(_ type: String) async throws {
    let token = try await verify(["aud": ["api", "mail"]], type: type)
    #expect(token.issuer == Identifier(ProviderDouble.issuer) && token.subject == "alice-id" && token.sessionID == "session-1")
    #expect(token.audiences == ["api", "mail"] && token.expires.seconds == Self.now + 300 && token.claims["azp"]?.string == "app")
  }

  @Test("One of RFC 9068 needs no claim typ")
  func standard() async throws { #expect(try await verify(["typ": .null], type: "at+jwt").subject == "alice-id") }

  @Test("How long ago it was made does not matter while it is good: a loop that verified it before takes it until exp too")
  func old() async throws {
    for age in [86_400 + 61, 30 * 86_400] as [Int64] { #expect(try await verify(["iat": .int64(Self.now - age)]).subject == "alice-id") }
  }

  static let refused: [(String, JSONObject, String)] = [
    ("an id_token", ["typ": "ID", "nonce": "n", "at_hash": "h"], "JWT"),
    ("an id_token without a kind", ["typ": .null, "nonce": "n"], "JWT"),
    ("an id_token that calls itself at+jwt", ["typ": "ID"], "at+jwt"), ("at_hash", ["at_hash": "h"], "JWT"),
    ("a refresh token", ["typ": "Refresh"], "JWT"), ("an offline token", ["typ": "Offline"], "JWT"),
    ("a DPoP token", ["typ": "DPoP"], "JWT"),
    ("bound to a key", ["cnf": ["jkt": "x"]], "JWT"), ("bound to a certificate", ["cnf": ["x5t#S256": "x"]], "at+jwt"),
    ("a logout token", ["typ": "Logout", "events": .object([:])], "logout+jwt"), ("an event", ["events": .object([:])], "JWT"),
    ("a security event", [:], "secevent+jwt"), ("typ of its own", [:], "x"),
    ("iss missing", ["iss": .null], "JWT"), ("another issuer", ["iss": "https://evil.example"], "JWT"),
    ("an issuer with a slash", ["iss": .string(ProviderDouble.issuer + "/")], "JWT"),
    ("aud missing", ["aud": .null], "JWT"), ("aud no name", ["aud": 1], "JWT"), ("aud a list with a number", ["aud": ["api", 1]], "JWT"),
    ("exp missing", ["exp": .null], "JWT"), ("expired", ["exp": .int64(now)], "JWT"),
    ("expired long ago", ["exp": .int64(now - 600)], "JWT"),
    ("exp a text", ["exp": "9999999999"], "JWT"), ("iat ahead", ["iat": .int64(now + 600)], "JWT"), ("iat missing", ["iat": .null], "JWT"),
    ("not valid yet", ["nbf": .int64(now + 600)], "JWT"), ("sub missing", ["sub": .null], "JWT"), ("sub empty", ["sub": ""], "JWT"),
  ]

  @Test("What is no good access token is refused by name", arguments: refused)
  func refusals(_ name: String, _ changes: JSONObject, _ type: String) async throws {
    let error = await oidcError { try await verify(changes, type: type) }
    #expect(error?.code == .invalidAccessToken && error?.origin == .client, "\(name): \(String(describing: error))")
  }

  @Test("Forged signatures: none, HMAC with the public key, another key, a changed payload, a cut token")
  func forged() async throws {
    typealias Forgery = @Sendable (ProviderDouble, JSONObject) throws -> String
    let forgeries: [(String, Forgery)] = [
      (
        "none",
        { CompactJWS.join(CompactJWS.signingInput(header: ["alg": "none", "typ": "at+jwt"], payload: $1.serialized), signature: []) }
      ),
      (
        "HS256 with the public key",
        { provider, claims in
          let input = CompactJWS.signingInput(header: ["alg": "HS256", "typ": "at+jwt", "kid": "key-1"], payload: claims.serialized)
          return CompactJWS.join(input, signature: hmacSHA256(key: JSONWebKeySet.document([provider.key]), input))
        }
      ),
      ("another key of the same name", { try SigningKey.generate(.es256, keyID: $0.key.keyID).sign($1, type: "at+jwt") }),
      ("an unknown key", { try SigningKey.generate(.es256, keyID: "other").sign($1, type: "at+jwt") }),
      (
        "a changed payload",
        { provider, claims in
          var other = claims
          other["sub"] = "bob-id"
          let (right, wrong) = (try provider.key.sign(claims, type: "at+jwt"), try provider.key.sign(other, type: "at+jwt"))
          let (a, b) = (right.split(separator: "."), wrong.split(separator: "."))
          return "\(a[0]).\(b[1]).\(a[2])"
        }
      ), ("cut", { String(try $0.key.sign($1, type: "at+jwt").dropLast()) }),
      ("crit", { try $0.key.sign($1, header: ["crit": ["x"], "x": 1]) }),
      ("garbage", { _, _ in "a.b.c" }), ("empty", { _, _ in "" }),
    ]
    for (name, forgery) in forgeries {
      let error = await oidcError { try await verify(sign: forgery) }
      #expect(error?.code == .invalidAccessToken, "\(name): \(String(describing: error))")
    }
  }
}
