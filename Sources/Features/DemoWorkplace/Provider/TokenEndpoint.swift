import Cryptography
import IntercomCore
import JOSE
import StrictJSON

/// The token endpoint: codes, refresh, exchange ([RFC 6749 §3.2](https://www.rfc-editor.org/rfc/rfc6749#section-3.2)).
extension ProviderCore {
  static let tokenExchangeGrant: Identifier = "urn:ietf:params:oauth:grant-type:token-exchange"
  private static let accessTokenType: Identifier = "urn:ietf:params:oauth:token-type:access_token"
  private static let jwtType: Identifier = "urn:ietf:params:oauth:token-type:jwt"

  /// The answer to a client that has authenticated.
  mutating func token(_ form: ProviderParameters, authorization: String?, now: WallInstant) throws(ProviderFault) -> JSONObject {
    let client = try authenticate(form, authorization: authorization)
    switch form.identifier("grant_type") {
    case .none: throw ProviderFault(.invalidRequest, "grant_type is missing")
    case "authorization_code": return try redeem(form, client, now: now)
    case "refresh_token": return try refresh(form, client, now: now)
    case Self.tokenExchangeGrant: return try exchange(form, client, now: now)
    default: throw ProviderFault(.unsupportedGrantType, "the grant type is not supported")
    }
  }

  /// [RFC 6749 §4.1.3](https://www.rfc-editor.org/rfc/rfc6749#section-4.1.3). A code that comes twice revokes what it gave (§10.5).
  private mutating func redeem(_ form: ProviderParameters, _ client: ProviderClient, now: WallInstant) throws(ProviderFault) -> JSONObject {
    guard let code = form["code"] else { throw ProviderFault(.invalidRequest, "code is missing") }
    let key = Self.hash(code)
    let failed = ProviderFault(.invalidGrant, "the code is not valid")
    guard let record = codes.value(key, now: now), record.client == client.id else { throw failed }
    if let family = record.redeemedAs {
      families.remove(family)
      events.append(.tokensRevoked(client: client.id.description))
      throw failed
    }
    let familyID = Identifier(token(bytes: 16))
    // The code is spent by the first attempt, also when the attempt fails: a verifier cannot be tried out.
    codes.update(key) { $0.redeemedAs = familyID }
    guard form.identifier("redirect_uri") == record.redirectURI else { throw failed }
    try checkVerifier(form["code_verifier"], record.challenge)
    guard let session = sessions.value(record.session, now: now) else { throw failed }
    sessions.update(session.id) { $0.clients.insert(client.id) }
    let family = TokenFamily(
      client: client.id, subject: session.subject, session: session.id, scope: record.scope, authenticatedAt: session.authenticatedAt,
      refreshHash: [])
    // Used codes stay known for as long as their tokens may be revoked by a replay.
    codes.set(key, AuthorizationCode(spent: record, familyID), until: now.advanced(by: .seconds(600)), now: now)
    events.append(.tokensIssued(client: client.id.description, grant: "authorization_code"))
    return try answer(familyID, family, scope: record.scope, nonce: record.nonce, newRefreshToken: true, now: now)
  }

  /// [RFC 7636 §4.6](https://www.rfc-editor.org/rfc/rfc7636#section-4.6); a verifier without a challenge is a downgrade (RFC 9700 §4.8.2).
  private func checkVerifier(_ verifier: String?, _ challenge: Identifier?) throws(ProviderFault) {
    guard let challenge else {
      guard verifier == nil else { throw ProviderFault(.invalidGrant, "a verifier without a challenge") }
      return
    }
    guard let verifier, (43...128).contains(verifier.utf8.count),
      constantTimeEqual(Base64URL.encodedBytes(sha256(Array(verifier.utf8))), challenge.bytes)
    else { throw ProviderFault(.invalidGrant, "the code verifier does not fit") }
  }

  /// [RFC 6749 §6](https://www.rfc-editor.org/rfc/rfc6749#section-6). With rotation, a refresh token that was used before means that
  /// somebody has a copy: the family ends.
  private mutating func refresh(_ form: ProviderParameters, _ client: ProviderClient, now: WallInstant) throws(ProviderFault) -> JSONObject
  {
    guard let text = form["refresh_token"] else { throw ProviderFault(.invalidRequest, "refresh_token is missing") }
    let failed = ProviderFault(.invalidGrant, "the refresh token is not valid")
    let familyID = Identifier(bytes: text.utf8.prefix { $0 != UInt8(ascii: ".") })
    guard let family = liveFamily(familyID, now: now), family.client == client.id else { throw failed }
    guard constantTimeEqual(sha256(Array(text.utf8)), family.refreshHash) else {
      families.remove(familyID)
      events.append(.tokensRevoked(client: client.id.description))
      throw failed
    }
    let asked = form.words("scope")
    guard asked.allSatisfy({ family.scope.contains($0) }) else { throw ProviderFault(.invalidScope, "the scope grows") }
    events.append(.tokensIssued(client: client.id.description, grant: "refresh_token"))
    return try answer(
      familyID, family, scope: asked.isEmpty ? family.scope : asked, nonce: nil,
      newRefreshToken: configuration.rotatesRefreshTokens, now: now)
  }

  private mutating func answer(
    _ familyID: Identifier, _ family: TokenFamily, scope: [Identifier], nonce: String?, newRefreshToken: Bool, now: WallInstant
  ) throws(ProviderFault) -> JSONObject {
    let configured = client(family.client)?.accessTokenAudiences ?? []
    let audience = configured.isEmpty ? [family.client] : configured
    let access = try accessToken(familyID, family, azp: family.client, audience: audience, scope: scope, now: now)
    var answer: JSONObject = [
      "access_token": .string(access), "token_type": "Bearer", "expires_in": .int64(configuration.lifetimes.accessToken),
      "scope": .string(Self.text(scope)),
    ]
    if scope.contains("openid") {
      answer["id_token"] = .string(try idToken(family, nonce: nonce, accessToken: access, now: now))
    }
    var family = family
    if newRefreshToken {
      let refresh = "\(familyID).\(token())"
      family.refreshHash = sha256(Array(refresh.utf8))
      answer["refresh_token"] = .string(refresh)
    }
    answer["refresh_expires_in"] = .int64(configuration.lifetimes.refreshToken)
    families.set(familyID, family, until: now.advanced(by: .seconds(configuration.lifetimes.refreshToken)), now: now)
    return answer
  }

  /// [RFC 8693 §2](https://www.rfc-editor.org/rfc/rfc8693#section-2), within one realm: a confidential client that the subject token was
  /// issued to, or is meant for, gets one for a single audience it is permitted.
  private func checkExchange(_ form: ProviderParameters, _ client: ProviderClient) throws(ProviderFault) -> (
    subject: String, audience: Identifier
  ) {
    guard client.secret != nil else { throw ProviderFault(.unauthorizedClient, "public clients may not exchange tokens") }
    guard let subject = form["subject_token"], let type = form.identifier("subject_token_type") else {
      throw ProviderFault(.invalidRequest, "subject_token and subject_token_type are required")
    }
    guard type == Self.accessTokenType else { throw ProviderFault(.invalidRequest, "the subject_token_type is not supported") }
    guard form["actor_token"] == nil, form["actor_token_type"] == nil else {
      throw ProviderFault(.invalidRequest, "delegation is not supported")
    }
    if let wanted = form.identifier("requested_token_type"), wanted != Self.accessTokenType, wanted != Self.jwtType {
      throw ProviderFault(.invalidRequest, "the requested_token_type is not supported")
    }
    guard form["resource"] == nil else { throw ProviderFault(.invalidTarget, "resource is not supported, name an audience") }
    guard let audience = form.identifier("audience") else { throw ProviderFault(.invalidRequest, "audience is missing") }
    guard client.allowedAudiences.contains(audience) else { throw ProviderFault(.invalidTarget, "the audience is not permitted") }
    return (subject, audience)
  }

  private mutating func exchange(_ form: ProviderParameters, _ client: ProviderClient, now: WallInstant) throws(ProviderFault) -> JSONObject
  {
    let (subject, audience) = try checkExchange(form, client)
    let claims: JSONObject
    let familyID: Identifier
    let family: TokenFamily
    do { (claims, familyID, family) = try activeToken(subject, now: now) } catch {
      throw ProviderFault(.invalidRequest, "the subject token is not valid")
    }
    guard claims["azp"]?.identifier == client.id || Self.audience(claims).contains(client.id) else {
      throw ProviderFault(.invalidRequest, "the subject token is for another client")
    }
    let held = Self.words(claims["scope"]?.string ?? "").filter { $0 != "offline_access" }
    let asked = form.words("scope")
    guard asked.allSatisfy({ held.contains($0) }) else { throw ProviderFault(.invalidScope, "the scope grows") }
    let scope = asked.isEmpty ? held : asked
    let access = try accessToken(familyID, family, azp: client.id, audience: [audience], scope: scope, now: now)
    events.append(.tokenExchanged(client: client.id.description, audience: audience.description))
    return [
      "access_token": .string(access), "issued_token_type": .string(Self.accessTokenType.description), "token_type": "Bearer",
      "expires_in": .int64(configuration.lifetimes.accessToken), "scope": .string(Self.text(scope)),
    ]
  }

  static func words(_ text: String) -> [Identifier] { text.utf8.split(separator: 0x20).map { Identifier(bytes: $0) } }

  /// `aud` is one name or several.
  static func audience(_ claims: JSONObject) -> [Identifier] {
    switch claims["aud"] {
    case .string(let one): [Identifier(one)]
    case .array(let several): several.compactMap(\.identifier)
    default: []
    }
  }

  // MARK: Userinfo and revocation

  /// [OpenID Connect Core §5.3](https://openid.net/specs/openid-connect-core-1_0.html#UserInfo): for tokens that are meant for their
  /// client, never for exchanged ones.
  func userInfo(authorization: String?, now: WallInstant) throws(ProviderFault) -> JSONObject {
    guard let text = Self.bearer(authorization) else { throw ProviderFault(.invalidToken, "an access token is required") }
    let (claims, _, family) = try activeToken(text, now: now)
    let configured = client(family.client)?.accessTokenAudiences ?? []
    let own = configured.isEmpty ? [family.client] : configured
    guard Self.audience(claims) == own, let user = self.user(subject: family.subject) else {
      throw ProviderFault(.invalidToken, "the token is for another audience")
    }
    let scope = Self.words(claims["scope"]?.string ?? "")
    guard scope.contains("openid") else { throw ProviderFault(.insufficientScope, "scope openid is required") }
    return profile(user, scope: scope)
  }

  /// [RFC 7009 §2](https://www.rfc-editor.org/rfc/rfc7009#section-2): an unknown token is no error; another client's is refused.
  mutating func revoke(_ form: ProviderParameters, authorization: String?, now: WallInstant) throws(ProviderFault) {
    let client = try authenticate(form, authorization: authorization)
    guard let text = form["token"] else { throw ProviderFault(.invalidRequest, "token is missing") }
    let foreign = ProviderFault(.unauthorizedClient, "the token belongs to another client")
    let familyID = Identifier(bytes: text.utf8.prefix { $0 != UInt8(ascii: ".") })
    if let family = families.value(familyID, now: now) {
      guard family.client == client.id else { throw foreign }
      // Whoever knows the family's id had a refresh token of it, current or not.
      families.remove(familyID)
      events.append(.tokensRevoked(client: client.id.description))
      return
    }
    guard let (claims, _, _) = try? activeToken(text, now: now), let jti = claims["jti"]?.identifier else { return }
    guard claims["azp"]?.identifier == client.id else { throw foreign }
    let end = now.advanced(by: .seconds(configuration.lifetimes.accessToken))
    revoked.set(jti, true, until: end, now: now)
    events.append(.tokensRevoked(client: client.id.description))
  }
}

extension AuthorizationCode {
  /// The same code after its use.
  fileprivate init(spent code: AuthorizationCode, _ family: Identifier) {
    self = code
    redeemedAs = family
  }
}
