import IntercomCore
import JOSE
import StrictJSON

/// An access token that a client brings and that passed every check. Only `AccessTokenVerifier` makes one. Whether it was revoked is not known.
package struct VerifiedAccessToken: Sendable {
  package let issuer: Identifier
  package let subject: Identifier
  /// The provider's session, where it names one.
  package let sessionID: Identifier?
  /// For whom it is; the caller must find itself among them.
  package let audiences: [Identifier]
  /// `exp`, without tolerance.
  package let expires: WallInstant
  package let claims: JSONObject

  fileprivate init(
    issuer: Identifier, subject: Identifier, sessionID: Identifier?, audiences: [Identifier], expires: WallInstant, claims: JSONObject
  ) {
    self.issuer = issuer
    self.subject = subject
    self.sessionID = sessionID
    self.audiences = audiences
    self.expires = expires
    self.claims = claims
  }
}

/// Validation of JWT access tokens ([RFC 9068 §4](https://www.rfc-editor.org/rfc/rfc9068#section-4)), and of Keycloak's, which are older than
/// the RFC: `typ` is `JWT` in the header and `Bearer` among the claims.
package struct AccessTokenVerifier: Sendable {
  private let client: ClientConfiguration

  package init(_ client: ClientConfiguration) { self.client = client }

  /// Checks all claims but for whom it is; the signature was checked to make `token`. Throws `invalidAccessToken`.
  package func verify(_ token: VerifiedJWS, now: WallInstant) throws(OIDCError) -> VerifiedAccessToken {
    let claims = TokenClaims(token.claims, .invalidAccessToken)
    guard client.algorithms.contains(token.algorithm) else { throw claims.refused("the algorithm is not allowed") }
    try checkKind(token, claims)
    try claims.checkIssuer(client.issuer.text)
    let audiences = try claims.audiences()
    // However old: who verified it before takes it until it ends, and the answer must not depend on whom one asks.
    let expires = try claims.checkTimes(now: now, skew: client.clockSkew, oldest: nil).expires
    // The tolerance is for the clock of whoever made it; nobody needs more of its life than it has.
    guard now < expires else { throw claims.refused("expired") }
    guard let subject = try claims.name("sub") else { throw claims.refused("sub is missing") }
    return VerifiedAccessToken(
      issuer: client.issuer.text, subject: subject, sessionID: try claims.name("sid"), audiences: audiences, expires: expires,
      claims: token.claims)
  }

  /// No other token of the same signer: an id_token or a logout token is for somebody else to read, a refresh token for the provider. One that is
  /// bound to a key (`cnf`) must come with proof of that key, which nobody checks here.
  private func checkKind(_ token: VerifiedJWS, _ claims: TokenClaims) throws(OIDCError) {
    let kind = token.claims["typ"]
    if token.hasType("at+jwt") {
      guard kind == nil || kind?.identifier == "Bearer" else { throw claims.refused("the claim typ is that of another token") }
    } else {
      guard token.type == nil || token.hasType("JWT") else { throw claims.refused("typ is not that of an access token") }
      guard kind?.identifier == "Bearer" else { throw claims.refused("nothing says that it is an access token") }
    }
    for claim: Identifier in ["events", "cnf", "at_hash"] where token.claims[claim] != nil {
      throw claims.refused("\(claim) has no place in a bearer token")
    }
  }
}
