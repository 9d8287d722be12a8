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
  /// The session's person and the provider's name of the session: the new token must be of the same ones.
  package var subject: Identifier
  package var sessionID: Identifier?
  package var audience: Identifier?
  package var scope: String?
  /// [RFC 8707 §2](https://www.rfc-editor.org/rfc/rfc8707#section-2)
  package var resource: String?
  /// Audiences that the new token may have besides the one asked for.
  package var alsoFor: Set<Identifier> = []

  package init(
    subjectToken: Secret<String>, subject: Identifier, sessionID: Identifier? = nil, audience: Identifier?, scope: String? = nil,
    resource: String? = nil, alsoFor: Set<Identifier> = []
  ) {
    self.subjectToken = subjectToken
    self.subject = subject
    self.sessionID = sessionID
    self.audience = audience
    self.scope = scope
    self.resource = resource
    self.alsoFor = alsoFor
  }

  func parameters(_ style: ClientConfiguration.ExchangeStyle) -> [(String, String)] {
    var all = [("grant_type", Self.grantType), ("subject_token", subjectToken.reveal())]
    if style == .standard { all.append(("subject_token_type", Self.accessTokenType)) }
    // Without it Keycloak's legacy form makes a refresh token too. One that comes all the same is neither kept nor revoked: revoking it ends
    // the session that it belongs to, which is the user's own (docs/token-exchange.md).
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
    try checkPerson(claims)
    // Both of Keycloak's forms name the client that asked, never the audience.
    if let party = claims["azp"], party.identifier != client.clientID { throw mismatch("azp is another client") }
    try checkAudience(claims, client)
  }

  /// A token of the client itself, as a client credentials grant gives one, has another `sub` and no `sid`.
  private func checkPerson(_ claims: JSONObject) throws(OIDCError) {
    var isKnown = false
    if let sub = claims["sub"] {
      guard sub.identifier == subject else { throw mismatch("sub is another person") }
      isKnown = true
    }
    if let sid = claims["sid"], let sessionID {
      guard sid.identifier == sessionID else { throw mismatch("sid is another session") }
      isKnown = true
    }
    guard isKnown else { throw mismatch("neither sub nor sid says whose token it is") }
  }

  private func checkAudience(_ claims: JSONObject, _ client: ClientConfiguration) throws(OIDCError) {
    guard let audience else { return }
    let found: [Identifier?] =
      switch claims["aud"] {
      case .string(let one)?: [Identifier(one)]
      case .array(let many)?: many.map(\.identifier)
      default: []
      }
    guard found.contains(audience) else { throw mismatch("aud is not the audience that was asked for") }
    let more = found.filter { $0 != audience && !($0.map(alsoFor.contains) ?? false) }
    guard more.isEmpty else { throw mismatch("aud is broader than was asked for: also \(names(more, client))") }
  }

  /// For a log line: three names at most, without what could be a token or repeats a secret.
  private func names(_ audiences: [Identifier?], _ client: ClientConfiguration) -> String {
    let shown = audiences.prefix(3).map { name in
      name.map { ProviderAnswer.sentence($0.description, confided: [client.clientSecret, subjectToken]) } ?? "what is no name"
    }
    return shown.joined(separator: ", ") + (audiences.count > 3 ? " and \(audiences.count - 3) more" : "")
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
