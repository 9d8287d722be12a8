import Cryptography
import IntercomCore
import JOSE
import StrictJSON

/// A token of the session to be exchanged into one for a backend ([RFC 8693](https://www.rfc-editor.org/rfc/rfc8693)).
///
/// The subject token is always sent and there is no form without it, so that an exchange can never become a client credentials grant.
package struct TokenExchange: Sendable {
  package static let accessTokenType = "urn:ietf:params:oauth:token-type:access_token"
  package static let grantType = "urn:ietf:params:oauth:grant-type:token-exchange"
  private static let jwtType: Identifier = "urn:ietf:params:oauth:token-type:jwt"

  package var subjectToken: Secret<String>
  /// The session's person: the new token must be of the same one.
  package var subject: Identifier
  package var audience: Identifier?
  package var scope: String?
  /// [RFC 8707 §2](https://www.rfc-editor.org/rfc/rfc8707#section-2)
  package var resource: String?

  package init(
    subjectToken: Secret<String>, subject: Identifier, audience: Identifier?, scope: String? = nil, resource: String? = nil
  ) {
    self.subjectToken = subjectToken
    self.subject = subject
    self.audience = audience
    self.scope = scope
    self.resource = resource
  }

  func parameters(_ style: ClientConfiguration.ExchangeStyle) -> [(String, String)] {
    var all = [("grant_type", Self.grantType), ("subject_token", subjectToken.reveal())]
    if style == .standard { all.append(("subject_token_type", Self.accessTokenType)) }
    // Without it Keycloak's legacy form makes a refresh token too.
    all.append(("requested_token_type", Self.accessTokenType))
    if let audience { all.append(("audience", audience.description)) }
    if let scope { all.append(("scope", scope)) }
    if let resource { all.append(("resource", resource)) }
    return all
  }

  /// Is what came the token that was asked for? Anything else is `exchangeMismatch` and is never used: a broader token would let one backend
  /// act at another, and the session's own token must never reach a backend.
  package func check(
    _ response: TokenResponse, _ client: ClientConfiguration, now: WallInstant
  ) throws(OIDCError) -> ExchangedToken {
    let token = Array(response.accessToken.reveal().utf8)
    guard !constantTimeEqual(token, Array(subjectToken.reveal().utf8)) else { throw mismatch("the session's own token came back") }
    switch (response.issuedTokenType, client.exchangeStyle) {
    case (nil, .keycloakLegacy): break
    case (nil, .standard): throw mismatch("issued_token_type is missing")
    case (let type?, _):
      guard type == Identifier(Self.accessTokenType) || type == Self.jwtType else { throw mismatch("issued_token_type is another") }
    }
    var expires = response.expiresIn.map { now.advanced(by: $0) }
    if let claims = Self.claims(token) {
      try check(claims, client)
      if let end = claims["exp"]?.int64 { expires = min(expires ?? WallInstant(seconds: end), WallInstant(seconds: end)) }
    }
    // RFC 6749 §5.1 only recommends expires_in. A minute costs an exchange more now and then, and is never wrong for long.
    let end = expires ?? now.advanced(by: .seconds(60))
    guard end > now.advanced(by: .zero - client.clockSkew) else { throw mismatch("the token has expired already") }
    return ExchangedToken(token: response.accessToken, audience: audience, received: now, expires: end)
  }

  /// The claims when the token is a JWT. They came from the token endpoint itself; the signature is the backend's to check.
  private static func claims(_ token: [UInt8]) -> JSONObject? {
    guard let parsed = try? UnverifiedJWS.parse(token) else { return nil }
    return try? parsed.unverifiedClaims()
  }

  private func check(_ claims: JSONObject, _ client: ClientConfiguration) throws(OIDCError) {
    if let issuer = claims["iss"], issuer.identifier != client.issuer.text { throw mismatch("iss is another issuer") }
    if let sub = claims["sub"], sub.identifier != subject { throw mismatch("sub is another person") }
    // The standard form names us as the party, the legacy one the client that is the audience.
    if let party = claims["azp"], party != .string(client.clientID.description), party != audience.map({ .string($0.description) }) {
      throw mismatch("azp is another client")
    }
    guard let audience else { return }
    let found: [Identifier?] =
      switch claims["aud"] {
      case .string(let one)?: [Identifier(one)]
      case .array(let many)?: many.map(\.identifier)
      default: []
      }
    guard found.contains(audience) else { throw mismatch("aud is not the audience that was asked for") }
    var allowed = client.additionalExchangeAudiences.union([audience])
    // Keycloak's mapper for roles adds its own account console to every token of the legacy form.
    if client.exchangeStyle == .keycloakLegacy { allowed.insert("account") }
    guard found.allSatisfy({ $0.map(allowed.contains) ?? false }) else { throw mismatch("aud is broader than was asked for") }
  }

  private func mismatch(_ detail: String) -> OIDCError { OIDCError(.exchangeMismatch, detail) }
}

/// A token for one backend.
package struct ExchangedToken: Sendable {
  package let token: Secret<String>
  package let audience: Identifier?
  package let received: WallInstant
  package let expires: WallInstant
}
