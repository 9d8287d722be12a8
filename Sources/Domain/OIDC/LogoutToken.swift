import HTTPMessage
import IntercomCore
import JOSE
import StrictJSON

/// The end of a session or of all sessions of a person, as the provider says it
/// ([Back-Channel Logout 1.0 §2.4](https://openid.net/specs/openid-connect-backchannel-1_0.html#LogoutToken)). Only `LogoutTokenVerifier` makes
/// one. Whether `identifier` was seen before is for the session store to say.
package struct VerifiedLogoutToken: Sendable {
  package let issuer: Identifier
  package let subject: Identifier?
  package let sessionID: Identifier?
  /// `jti`
  package let identifier: Identifier
  /// Until when `identifier` must be remembered, the clock skew included.
  package let expires: WallInstant

  fileprivate init(issuer: Identifier, subject: Identifier?, sessionID: Identifier?, identifier: Identifier, expires: WallInstant) {
    self.issuer = issuer
    self.subject = subject
    self.sessionID = sessionID
    self.identifier = identifier
    self.expires = expires
  }
}

/// Logout token validation ([Back-Channel Logout 1.0 §2.6](https://openid.net/specs/openid-connect-backchannel-1_0.html#Validation) and
/// behaviour "Sign-in and sign-out", which is stricter).
package struct LogoutTokenVerifier: Sendable {
  private static let event: Identifier = "http://schemas.openid.net/event/backchannel-logout"
  private let client: ClientConfiguration

  package init(_ client: ClientConfiguration) { self.client = client }

  /// Checks all claims; the signature was checked to make `token`. Throws `invalidLogoutToken`.
  package func verify(_ token: VerifiedJWS, now: WallInstant) throws(OIDCError) -> VerifiedLogoutToken {
    let claims = TokenClaims(token.claims, .invalidLogoutToken)
    guard client.algorithms.contains(token.algorithm) else { throw claims.refused("the algorithm is not allowed") }
    guard token.header["crit"] == nil else { throw claims.refused("crit is there") }
    guard token.type == nil || token.hasType("logout+jwt") else { throw claims.refused("typ is not logout+jwt") }
    if let kind = token.claims["typ"]?.identifier, TokenClaims.foreignKinds.contains(kind) || kind == "ID" {
      throw claims.refused("the claim typ is that of another token")
    }
    for claim: Identifier in ["nonce", "at_hash", "c_hash", "scope"] where token.claims[claim] != nil {
      throw claims.refused("\(claim) has no place in a logout token")
    }
    try claims.checkIssuer(client.issuer.text)
    _ = try claims.checkAudience(client.clientID)
    let times = try claims.checkTimes(now: now, skew: client.clockSkew)
    // Its jti must be remembered until then.
    guard times.expires <= times.issued.advanced(by: TokenClaims.longestAge) else { throw claims.refused("exp is too far away") }
    guard let identifier = try claims.name("jti") else { throw claims.refused("jti is missing") }
    guard let events = token.claims["events"]?.object, events[Self.event]?.object != nil else {
      throw claims.refused("events does not say logout")
    }
    let subject = try claims.name("sub")
    let session = try claims.name("sid")
    guard subject != nil || session != nil else { throw claims.refused("neither sub nor sid is there") }
    return VerifiedLogoutToken(
      issuer: client.issuer.text, subject: subject, sessionID: session, identifier: identifier,
      expires: times.expires.advanced(by: client.clockSkew))
  }
}

/// The form in which a logout token arrives ([Back-Channel Logout 1.0 §2.5](https://openid.net/specs/openid-connect-backchannel-1_0.html#BCRequest)).
package enum LogoutForm {
  /// 64 KiB.
  package static let maximumBytes = 65_536

  package enum Failure: String, Error, Sendable {
    /// 415
    case notAForm = "not_a_form"
    /// 413
    case tooLarge = "too_large"
    /// 400
    case malformed
    /// 400
    case missing
    /// 400: two readers could take two different ones.
    case repeated

    /// For the log and the provider's administrator.
    package var sentence: String {
      switch self {
      case .notAForm: "The request is not a form (application/x-www-form-urlencoded)."
      case .tooLarge: "The request is larger than 64 KiB."
      case .malformed: "The form cannot be read."
      case .missing: "The form has no logout_token."
      case .repeated: "The form has logout_token more than once."
      }
    }

    /// What to answer.
    package var status: Status {
      switch self {
      case .notAForm: 415
      case .tooLarge: 413
      case .malformed, .missing, .repeated: 400
      }
    }
  }

  /// Is this body a form at all? To be asked before the body is read.
  package static func checkType(_ fields: Fields) throws(Failure) {
    guard fields.mediaType == Identifier(FormURLEncoded.contentType) else { throw .notAForm }
  }

  /// The value of `logout_token`.
  package static func token(_ body: [UInt8]) throws(Failure) -> Secret<[UInt8]> {
    guard body.count <= maximumBytes else { throw .tooLarge }
    let fields: FormFields
    do { fields = try FormFields(parsing: body, maximumBytes: maximumBytes) } catch { throw .malformed }
    switch fields.occurrence("logout_token") {
    case .absent, .once([]): throw .missing
    case .repeated: throw .repeated
    case .once(let bytes): return Secret(bytes)
    }
  }
}
