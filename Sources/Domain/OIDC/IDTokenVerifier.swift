import Cryptography
import IntercomCore
import JOSE
import StrictJSON

/// What later tokens of the same session are held against
/// ([OIDC Core §12.2](https://openid.net/specs/openid-connect-core-1_0.html#RefreshTokenResponse)). Kept with the session.
package struct IDTokenBinding: Sendable, Codable, Equatable {
  package let issuer: Identifier
  package let subject: Identifier
  /// In ascending order.
  package let audiences: [Identifier]
  package let sessionID: Identifier?
  package let nonce: String?
  package let authenticationTime: Int64?

  package init(
    issuer: Identifier, subject: Identifier, audiences: [Identifier], sessionID: Identifier?, nonce: String?, authenticationTime: Int64?
  ) {
    self.issuer = issuer
    self.subject = subject
    self.audiences = audiences.sorted()
    self.sessionID = sessionID
    self.nonce = nonce
    self.authenticationTime = authenticationTime
  }

  /// From what a session keeps: the claims of its latest `VerifiedIDToken`.
  package init(issuer: Identifier, subject: Identifier, sessionID: Identifier?, claims: JSONObject) {
    let audiences: [Identifier] =
      switch claims["aud"] {
      case .string(let one)?: [Identifier(one)]
      case .array(let many)?: many.compactMap(\.identifier)
      default: []
      }
    self.init(
      issuer: issuer, subject: subject, audiences: audiences, sessionID: sessionID, nonce: claims["nonce"]?.string,
      authenticationTime: claims["auth_time"]?.int64)
  }

  package static func == (left: Self, right: Self) -> Bool {
    left.issuer == right.issuer && left.subject == right.subject && left.audiences == right.audiences && left.sessionID == right.sessionID
      && left.nonce.map { Identifier($0) } == right.nonce.map { Identifier($0) } && left.authenticationTime == right.authenticationTime
  }
}

/// An id_token that passed every check. Only `IDTokenVerifier` makes one.
package struct VerifiedIDToken: Sendable {
  /// Who: issuer and subject together name a person.
  package let binding: IDTokenBinding
  package let expires: WallInstant
  package let issued: WallInstant
  /// All claims as the provider sent them; after a refresh with the `nonce` of the login, which a refreshed token does not repeat.
  package let claims: JSONObject

  package var issuer: Identifier { binding.issuer }
  package var subject: Identifier { binding.subject }
  /// The provider's session ([Back-Channel Logout 1.0 §2.1](https://openid.net/specs/openid-connect-backchannel-1_0.html#BCSupport)).
  package var sessionID: Identifier? { binding.sessionID }

  fileprivate init(binding: IDTokenBinding, expires: WallInstant, issued: WallInstant, claims: JSONObject) {
    self.binding = binding
    self.expires = expires
    self.issued = issued
    self.claims = claims
  }
}

/// ID token validation ([OIDC Core §3.1.3.7](https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation)).
package struct IDTokenVerifier: Sendable {
  /// Why this token is expected.
  package enum Occasion: Sendable {
    /// The end of a login.
    case login(nonce: Secret<String>, maximumAge: Int64?)
    /// A refresh of the session with this binding.
    case refresh(IDTokenBinding)
  }

  private let client: ClientConfiguration

  package init(_ client: ClientConfiguration) { self.client = client }

  /// Checks all claims; the signature was checked to make `token`. `accessToken` came with it in the same answer.
  ///
  /// Throws `invalidIDToken`, and `identityChanged` for a refreshed token that is in order but for whom it names.
  package func verify(
    _ token: VerifiedJWS, _ occasion: Occasion, accessToken: Secret<String>, now: WallInstant
  ) throws(OIDCError) -> VerifiedIDToken {
    let claims = TokenClaims(token.claims, .invalidIDToken)
    try checkKind(token)
    let issuer = try claims.issuer()
    if case .login = occasion { try claims.checkIssuer(client.issuer.text) }
    let audiences = try claims.checkAudience(client.clientID)
    try checkAuthorizedParty(claims, audiences)
    let times = try claims.checkTimes(now: now, skew: client.clockSkew)
    guard let subject = try claims.name("sub") else { throw claims.refused("sub is missing") }
    let nonce = token.claims["nonce"]
    guard nonce == nil || nonce?.string != nil else { throw claims.refused("nonce is not a string") }
    try checkAccessTokenHash(claims, token.algorithm, accessToken)
    let binding = IDTokenBinding(
      issuer: issuer, subject: subject, audiences: audiences, sessionID: try claims.name("sid"), nonce: nonce?.string,
      authenticationTime: try claims.seconds("auth_time"))
    switch occasion {
    case .login(let expected, let age):
      try checkLogin(claims, binding, nonce: expected, maximumAge: age, now: now)
      return VerifiedIDToken(binding: binding, expires: times.expires, issued: times.issued, claims: token.claims)
    case .refresh(let original):
      try checkRefresh(claims, binding, original)
      // The binding stays the one of the login: a refreshed token has no nonce, and the next one is held against the first.
      var all = token.claims
      all["nonce"] = original.nonce.map { .string($0) }
      return VerifiedIDToken(binding: original, expires: times.expires, issued: times.issued, claims: all)
    }
  }

  /// An access token, refresh token or logout token of the same signer is no id_token.
  private func checkKind(_ token: VerifiedJWS) throws(OIDCError) {
    guard client.algorithms.contains(token.algorithm) else { throw OIDCError(.invalidIDToken, "the algorithm is not allowed") }
    guard token.type == nil || token.hasType("JWT") else { throw OIDCError(.invalidIDToken, "typ is not that of an id_token") }
    if let kind = token.claims["typ"]?.identifier, TokenClaims.foreignKinds.contains(kind) || kind == "Logout" {
      throw OIDCError(.invalidIDToken, "the claim typ is not that of an id_token")
    }
    guard token.claims["events"] == nil else { throw OIDCError(.invalidIDToken, "an event token is no id_token") }
  }

  private func checkAuthorizedParty(_ claims: TokenClaims, _ audiences: [Identifier]) throws(OIDCError) {
    guard let party = try claims.name("azp") else {
      guard audiences.count == 1 else { throw claims.refused("several audiences and no azp") }
      return
    }
    guard party == client.clientID else { throw claims.refused("azp is another client") }
  }

  /// [OIDC Core §3.1.3.8](https://openid.net/specs/openid-connect-core-1_0.html#CodeFlowTokenValidation)
  private func checkAccessTokenHash(_ claims: TokenClaims, _ algorithm: Algorithm, _ token: Secret<String>) throws(OIDCError) {
    guard let value = claims.object["at_hash"] else { return }
    let expected = algorithm.leftHalfHash(of: Array(token.reveal().utf8))
    guard let hash = value.string, constantTimeEqual(Array(hash.utf8), Array(expected.utf8)) else {
      throw claims.refused("at_hash is not that of the access token")
    }
  }

  private func checkLogin(
    _ claims: TokenClaims, _ binding: IDTokenBinding, nonce: Secret<String>, maximumAge: Int64?, now: WallInstant
  ) throws(OIDCError) {
    guard let sent = binding.nonce, constantTimeEqual(Array(sent.utf8), Array(nonce.reveal().utf8)) else {
      throw claims.refused("nonce is not that of the login")
    }
    guard let maximumAge else { return }
    guard let time = binding.authenticationTime else { throw claims.refused("auth_time is missing although max_age was asked") }
    let latest = WallInstant(seconds: time).advanced(by: .seconds(max(0, maximumAge))).advanced(by: client.clockSkew)
    guard now <= latest else { throw claims.refused("the sign-in is older than max_age") }
  }

  private func checkRefresh(_ claims: TokenClaims, _ new: IDTokenBinding, _ original: IDTokenBinding) throws(OIDCError) {
    // All else is in order, so this is no damaged answer: the grant belongs to somebody else now (docs/decisions/0007-changed-identity.md).
    guard new.issuer == original.issuer, new.subject == original.subject else {
      throw OIDCError(.identityChanged, "another person than at the login")
    }
    if let session = new.sessionID, let first = original.sessionID, session != first {
      throw OIDCError(.identityChanged, "another session of the provider than at the login")
    }
    guard new.audiences == original.audiences else { throw claims.refused("other audiences than at the login") }
    if let nonce = new.nonce {
      guard let first = original.nonce, constantTimeEqual(Array(nonce.utf8), Array(first.utf8)) else {
        throw claims.refused("another nonce than at the login")
      }
    }
  }
}
