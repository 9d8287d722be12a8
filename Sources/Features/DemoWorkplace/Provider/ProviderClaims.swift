import Cryptography
import IntercomCore
import JOSE
import StrictJSON

/// What stands in the tokens.
extension ProviderCore {
  static func list(_ names: [Identifier]) -> JSONValue {
    if names.count == 1, let only = names.first { return .string(only.description) }
    return .array(names.map { .string($0.description) })
  }

  static func text(_ scope: [Identifier]) -> String { scope.map(\.description).joined(separator: " ") }

  /// Claims about the person that this scope opens ([OpenID Connect Core
  /// §5.4](https://openid.net/specs/openid-connect-core-1_0.html#ScopeClaims)).
  func profile(_ user: ProviderUser, scope: [Identifier]) -> JSONObject {
    var claims: JSONObject = [:]
    if scope.contains("profile") {
      claims = user.claims
      claims["name"] = .string(user.name)
      claims["preferred_username"] = .string(user.username.description)
    }
    if scope.contains("email") {
      claims["email"] = .string(user.email)
      claims["email_verified"] = true
    }
    claims["sub"] = .string(user.subject.description)
    return claims
  }

  /// An access token as a JWT ([RFC 9068 §2](https://www.rfc-editor.org/rfc/rfc9068#section-2)). Its `jti` begins with the family's id, so
  /// that it ends with the family.
  func accessToken(
    _ familyID: Identifier, _ family: TokenFamily, azp: Identifier, audience: [Identifier], scope: [Identifier], now: WallInstant
  ) throws(ProviderFault) -> String {
    guard let user = self.user(subject: family.subject) else { throw ProviderFault(.invalidGrant, "the user is gone") }
    var claims: JSONObject = user.claims
    claims["iss"] = .string(configuration.issuer)
    claims["sub"] = .string(family.subject.description)
    claims["aud"] = Self.list(audience)
    claims["iat"] = .int64(now.seconds)
    claims["exp"] = .int64(now.advanced(by: .seconds(configuration.lifetimes.accessToken)).seconds)
    claims["jti"] = .string("\(familyID).\(token(bytes: 12))")
    claims["azp"] = .string(azp.description)
    claims["client_id"] = .string(azp.description)
    claims["sid"] = .string(family.session.description)
    claims["scope"] = .string(Self.text(scope))
    claims["auth_time"] = .int64(family.authenticatedAt.seconds)
    claims["preferred_username"] = .string(user.username.description)
    return try sign(claims, type: "at+jwt")
  }

  /// An ID token ([OpenID Connect Core §2](https://openid.net/specs/openid-connect-core-1_0.html#IDToken)); after a refresh it has no nonce
  /// (§12.2).
  func idToken(_ family: TokenFamily, nonce: String?, accessToken: String, now: WallInstant) throws(ProviderFault) -> String {
    guard let user = self.user(subject: family.subject) else { throw ProviderFault(.invalidGrant, "the user is gone") }
    var claims = profile(user, scope: family.scope)
    claims["iss"] = .string(configuration.issuer)
    claims["aud"] = .string(family.client.description)
    claims["azp"] = .string(family.client.description)
    claims["iat"] = .int64(now.seconds)
    claims["exp"] = .int64(now.advanced(by: .seconds(configuration.lifetimes.idToken)).seconds)
    claims["auth_time"] = .int64(family.authenticatedAt.seconds)
    claims["sid"] = .string(family.session.description)
    claims["at_hash"] = .string(signingKey.algorithm.leftHalfHash(of: Array(accessToken.utf8)))
    if let nonce { claims["nonce"] = .string(nonce) }
    return try sign(claims, type: "JWT")
  }

  /// A logout token ([Back-Channel Logout 1.0 §2.4](https://openid.net/specs/openid-connect-backchannel-1_0.html#LogoutToken)).
  func logoutDelivery(to id: Identifier, _ session: ProviderSession, now: WallInstant) -> LogoutDelivery? {
    guard let client = self.client(id), let url = client.backChannelLogoutURI else { return nil }
    let claims: JSONObject = [
      "iss": .string(configuration.issuer), "sub": .string(session.subject.description), "aud": .string(id.description),
      "iat": .int64(now.seconds), "exp": .int64(now.advanced(by: .seconds(configuration.lifetimes.logoutToken)).seconds),
      "jti": .string(token(bytes: 16)), "sid": .string(session.id.description),
      "events": ["http://schemas.openid.net/event/backchannel-logout": .object([:])],
    ]
    guard let token = try? sign(claims, type: "logout+jwt") else { return nil }
    return LogoutDelivery(client: id, url: url, token: Secret(token))
  }

  private func sign(_ claims: JSONObject, type: String) throws(ProviderFault) -> String {
    do { return try signingKey.sign(claims, type: type) } catch { throw ProviderFault(.serverError, "the token cannot be signed") }
  }

  /// An access token of ours that is good now: signature, type, issuer, time, and neither it nor its family revoked, nor its session ended.
  func activeToken(_ text: String, now: WallInstant) throws(ProviderFault) -> (
    claims: JSONObject, familyID: Identifier, family: TokenFamily
  ) {
    let failed = ProviderFault(.invalidToken, "the token is not valid")
    guard let verified = try? keySet.verify(UnverifiedJWS.parse(text)), verified.hasType("at+jwt"),
      verified.claims["iss"]?.identifier == Identifier(configuration.issuer), let exp = verified.claims["exp"]?.int64, now.seconds < exp,
      let jti = verified.claims["jti"]?.identifier, revoked.value(jti, now: now) == nil
    else { throw failed }
    let familyID = Identifier(bytes: jti.bytes.prefix { $0 != UInt8(ascii: ".") })
    guard let family = liveFamily(familyID, now: now) else { throw failed }
    return (verified.claims, familyID, family)
  }

  /// A family whose session lives, or that outlives it.
  func liveFamily(_ id: Identifier, now: WallInstant) -> TokenFamily? {
    guard let family = families.value(id, now: now) else { return nil }
    return family.survivesSession || sessions.value(family.session, now: now) != nil ? family : nil
  }

  /// The claims of an ID token of ours, expired or not, for `id_token_hint`.
  func hint(_ text: String?) -> JSONObject? {
    guard let text, let verified = try? keySet.verify(UnverifiedJWS.parse(text)), verified.hasType("JWT"),
      verified.claims["iss"]?.identifier == Identifier(configuration.issuer)
    else { return nil }
    return verified.claims
  }

  /// [OpenID Connect Discovery §3](https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderMetadata), RFC 8414, RFC 9207 §3.
  var metadata: JSONObject {
    [
      "issuer": .string(configuration.issuer),
      "authorization_endpoint": .string(urls.url(.authorize)),
      "token_endpoint": .string(urls.url(.token)),
      "userinfo_endpoint": .string(urls.url(.userInfo)),
      "jwks_uri": .string(urls.url(.keys)),
      "revocation_endpoint": .string(urls.url(.revoke)),
      "end_session_endpoint": .string(urls.url(.endSession)),
      "response_types_supported": ["code"],
      "response_modes_supported": ["query"],
      "grant_types_supported": ["authorization_code", "refresh_token", .string(Self.tokenExchangeGrant.description)],
      "subject_types_supported": ["public"],
      "id_token_signing_alg_values_supported": .array(Set(keys.map(\.algorithm.rawValue)).sorted().map { .string($0) }),
      "scopes_supported": ["openid", "profile", "email", "offline_access"],
      "claims_supported": ["sub", "name", "preferred_username", "email", "email_verified", "auth_time", "sid"],
      "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post", "none"],
      "code_challenge_methods_supported": ["S256"],
      "prompt_values_supported": ["none", "login", "consent", "select_account"],
      "authorization_response_iss_parameter_supported": true,
      "backchannel_logout_supported": true,
      "backchannel_logout_session_supported": true,
      "claims_parameter_supported": false,
      "request_parameter_supported": false,
      "request_uri_parameter_supported": false,
    ]
  }
}
