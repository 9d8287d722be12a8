import HTTPMessage
import IntercomCore
import JOSE

/// The tokens of a session.
package struct TokenSet: Sendable {
  package var accessToken: Secret<String>
  /// When the answer came: with `accessExpires` it gives the token's life.
  package var received: WallInstant
  package var accessExpires: WallInstant
  package var refreshToken: Secret<String>?
  /// nil: as long as the provider's session.
  package var refreshExpires: WallInstant?
  /// As sent: for `id_token_hint`. nil when a refresh brought none; the one before then stays.
  package var idToken: Secret<String>?
}

/// A finished login.
package struct LoginResult: Sendable {
  package let tokens: TokenSet
  package let identity: VerifiedIDToken
}

/// A finished refresh.
package struct RefreshResult: Sendable {
  package let tokens: TokenSet
  /// When the provider sent a new id_token: its claims are the newer ones.
  package let identity: VerifiedIDToken?
}

/// Intercom as a client of its provider: each function is one step of a flow, checked to its end
/// ([OpenID Connect Core](https://openid.net/specs/openid-connect-core-1_0.html)).
///
/// Verification costs up to a millisecond of CPU: call these from endpoints and resolvers that run on workers, never on an event loop.
package struct RelyingParty: Sendable {
  package let client: ClientConfiguration
  private let provider: ProviderClient
  private let random: any RandomSource
  private var time: any TimeSource { provider.time }

  /// What a token lives when the provider does not say ([RFC 6749 §5.1](https://www.rfc-editor.org/rfc/rfc6749#section-5.1) only recommends it).
  private static let assumedLife: Duration = .seconds(300)

  package init(_ provider: ProviderClient, random: any RandomSource) {
    client = provider.client
    self.provider = provider
    self.random = random
  }

  /// For `/readyz`.
  package var isReady: Bool { provider.isReady }
  /// The same, for an operator: see ``ProviderClient/trouble``.
  package var trouble: String? { provider.trouble }

  /// Begins a login: keep `pending` under its `state`, send the browser to `url`. Throws `providerUnavailable`.
  /// The caller may give a `state` of its own (256 random bits).
  package func beginLogin(_ options: LoginOptions = LoginOptions(), state: Secret<String>? = nil) throws(OIDCError) -> AuthorizationRequest
  {
    AuthorizationRequest(try provider.metadata(), client, options, state: state, random: random, now: time.wallNow())
  }

  /// Ends a login: checks the response against the pending login (which the caller has taken out of the store, so that it is used once),
  /// redeems the code and verifies who it is. At most 8 s.
  package func finishLogin(_ pending: PendingLogin, _ response: AuthorizationResponse) async throws(OIDCError) -> LoginResult {
    let metadata = try provider.metadata()
    let code = try response.check(pending, metadata)
    let answer = try await tokens(.code(code, verifier: pending.codeVerifier, redirectURI: pending.redirectURI), metadata)
    guard let idToken = answer.idToken else { throw OIDCError(.invalidTokenResponse, "id_token is missing") }
    let token = try await provider.verify(Array(idToken.reveal().utf8), refusal: .invalidIDToken)
    let identity = try IDTokenVerifier(client).verify(
      token, .login(nonce: pending.nonce, maximumAge: pending.maximumAge), accessToken: answer.accessToken, now: time.wallNow())
    return LoginResult(tokens: tokenSet(answer, refreshToken: nil), identity: identity)
  }

  /// The same from the query as it came.
  package func finishLogin(_ pending: PendingLogin, query: [UInt8]?) async throws(OIDCError) -> LoginResult {
    try await finishLogin(pending, try AuthorizationResponse.parse(query))
  }

  /// New tokens for a session. `binding` is that of its login. Throws `refreshRefused` when the provider has ended the session,
  /// `identityChanged` when it answered for somebody else, and `providerUnavailable` or `timeout` (within 8 s) when nothing is known. Never
  /// call it twice at once with one refresh token.
  package func refresh(_ refreshToken: Secret<String>, _ binding: IDTokenBinding) async throws(OIDCError) -> RefreshResult {
    let answer = try await tokens(.refresh(refreshToken), try provider.metadata())
    var identity: VerifiedIDToken?
    if let idToken = answer.idToken {
      let token = try await provider.verify(Array(idToken.reveal().utf8), refusal: .invalidIDToken)
      do throws(OIDCError) {
        identity = try IDTokenVerifier(client).verify(token, .refresh(binding), accessToken: answer.accessToken, now: time.wallNow())
      } catch {
        if error.code == .identityChanged { disown(answer.refreshToken ?? refreshToken) }
        throw error
      }
    }
    return RefreshResult(tokens: tokenSet(answer, refreshToken: refreshToken), identity: identity)
  }

  /// Gives back a grant that turned out to be somebody else's, so that it lies open nowhere. Nobody waits for it, and nothing depends on it.
  private func disown(_ refreshToken: Secret<String>) {
    Task {
      do throws(OIDCError) { try await revoke(refreshToken, .refreshToken) } catch {
        provider.log.debug("revocation_failed", "The provider did not take the revocation.", ["reason": .string(error.code.rawValue)])
      }
    }
  }

  /// A token for a backend. Throws `exchangeRefused` when the provider refuses, `exchangeMismatch` when it gives something else than asked.
  package func exchange(_ exchange: TokenExchange) async throws(OIDCError) -> ExchangedToken {
    // Never asked without one: some providers would read the rest as a client credentials grant.
    guard !exchange.subjectToken.reveal().isEmpty else { throw OIDCError(.exchangeRefused, "there is no subject token") }
    let answer = try await tokens(.exchange(exchange), try provider.metadata())
    return try exchange.check(answer, client, now: time.wallNow())
  }

  /// Claims from the UserInfo endpoint about the person of the session.
  package func userInfo(accessToken: Secret<String>, subject: Identifier) async throws(OIDCError) -> UserInfo {
    let request = try UserInfo.request(try provider.metadata(), client, accessToken: accessToken)
    return try UserInfo.parse(try await provider.call(request, "userinfo", unusable: .invalidUserInfo), subject: subject)
  }

  /// A logout token as it came in the form. Throws `invalidLogoutToken`, or `providerUnavailable` when it cannot be checked now.
  package func verifyLogoutToken(_ token: Secret<[UInt8]>) async throws(OIDCError) -> VerifiedLogoutToken {
    let signed = try await provider.verify(token.reveal(), refusal: .invalidLogoutToken)
    return try LogoutTokenVerifier(client).verify(signed, now: time.wallNow())
  }

  /// An access token that a client brought. Throws `invalidAccessToken`, or `providerUnavailable` when it cannot be checked now.
  package func verifyAccessToken(_ token: Secret<[UInt8]>) async throws(OIDCError) -> VerifiedAccessToken {
    let signed = try await provider.verify(token.reveal(), refusal: .invalidAccessToken)
    return try AccessTokenVerifier(client).verify(signed, now: time.wallNow())
  }

  /// Where the browser goes to sign out at the provider too. Throws `notSupported` or `providerUnavailable`.
  package func logoutURL(
    idTokenHint: Secret<String>?, logoutHint: Identifier? = nil, postLogoutRedirectURI: String?, state: String? = nil
  ) throws(OIDCError) -> String {
    try EndSession.url(
      try provider.metadata(), client, idTokenHint: idTokenHint, logoutHint: logoutHint, postLogoutRedirectURI: postLogoutRedirectURI,
      state: state)
  }

  /// Whether the provider revokes tokens at all. Throws `providerUnavailable` while that is not known.
  package func canRevoke() throws(OIDCError) -> Bool { try provider.metadata().revocationEndpoint != nil }

  /// Whether grants live on when the person's session at the provider is over
  /// ([OIDC Core §11](https://openid.net/specs/openid-connect-core-1_0.html#OfflineAccess)).
  package var asksForOfflineAccess: Bool { client.scopes.contains { Identifier($0) == "offline_access" } }

  /// Revokes a token. Signing out never waits for it. Throws as `TokenRevocation.check`, and `notSupported`.
  package func revoke(_ token: Secret<String>, _ hint: TokenRevocation.Hint) async throws(OIDCError) {
    let request = try TokenRevocation.request(try provider.metadata(), client, token: token, hint: hint)
    try TokenRevocation.check(try await provider.call(request, "revocation", unusable: .providerUnavailable))
  }

  private func tokens(_ grant: TokenRequest.Grant, _ metadata: ProviderMetadata) async throws(OIDCError) -> TokenResponse {
    let request = TokenRequest(grant, client)
    let answer = try await provider.call(
      request.request(metadata), "token endpoint", unusable: .invalidTokenResponse, purpose: request.purpose)
    switch try TokenResponse.parse(answer) {
    case .tokens(let response): return response
    case .refused(let error): throw request.meaning(of: error)
    }
  }

  private func tokenSet(_ answer: TokenResponse, refreshToken: Secret<String>?) -> TokenSet {
    let now = time.wallNow()
    return TokenSet(
      accessToken: answer.accessToken, received: now, accessExpires: now.advanced(by: answer.expiresIn ?? Self.assumedLife),
      refreshToken: answer.refreshToken ?? refreshToken, refreshExpires: answer.refreshExpiresIn.map { now.advanced(by: $0) },
      idToken: answer.idToken)
  }
}
