import IntercomCore

/// Why something with the provider failed. Holds a stable word, whose fault it was and a sentence; never a token, code or claim value, but
/// for the names of audiences that nobody asked for.
package struct OIDCError: Error, Sendable, Equatable, CustomStringConvertible {
  /// Stable words for programs: they appear in answers of `/silent`, in logs and as metric labels.
  package enum Code: String, Sendable, CaseIterable {
    /// The provider wants the person to sign in ([OIDC Core §3.1.2.6](https://openid.net/specs/openid-connect-core-1_0.html#AuthError)).
    case loginRequired = "login_required"
    /// Also for `account_selection_required`.
    case interactionRequired = "interaction_required"
    case consentRequired = "consent_required"
    case accessDenied = "access_denied"
    /// The provider ended the authorization with any other error.
    case authorizationFailed = "authorization_failed"
    /// The query at the redirect URI is not an authorization response: something is missing, empty, repeated or too large.
    case invalidResponse = "invalid_response"
    /// The response does not belong to this pending login.
    case stateMismatch = "state_mismatch"
    /// The response comes from another issuer, or does not say from which (RFC 9207).
    case issuerMismatch = "issuer_mismatch"
    /// Not reached, not ready yet, or it said 5xx. Ends nothing.
    case providerUnavailable = "provider_unavailable"
    /// No answer in time. Ends nothing.
    case timeout
    case invalidMetadata = "invalid_metadata"
    case invalidKeySet = "invalid_key_set"
    /// What the token endpoint said is not a token response.
    case invalidTokenResponse = "invalid_token_response"
    case invalidIDToken = "invalid_id_token"
    case invalidUserInfo = "invalid_userinfo"
    /// A bearer token of a client is not one, or not good any more.
    case invalidAccessToken = "invalid_access_token"
    case invalidLogoutToken = "invalid_logout_token"
    /// `invalid_grant` for an authorization code.
    case codeRefused = "code_refused"
    /// `invalid_grant` for a refresh token: the session has ended at the provider.
    case refreshRefused = "refresh_refused"
    /// A refresh gave a valid id_token of another person, or of another session of the provider.
    case identityChanged = "identity_changed"
    case exchangeRefused = "exchange_refused"
    /// The provider exchanged, but not into the token that was asked for.
    case exchangeMismatch = "exchange_mismatch"
    /// The provider does not revoke this token.
    case revocationRefused = "revocation_refused"
    /// Intercom's own client id, secret or registration is wrong.
    case clientRefused = "client_refused"
    /// The provider has no such endpoint.
    case notSupported = "not_supported"
    /// The configuration of the client cannot be used.
    case invalidConfiguration = "invalid_configuration"
  }

  package let code: Code
  /// For the log and an administrator; free of secrets.
  package let detail: String
  /// The provider's own `error` ([RFC 6749 §5.2](https://www.rfc-editor.org/rfc/rfc6749#section-5.2)), when it sent one.
  package let word: String?
  /// When the provider says that the same call may succeed (`Retry-After`).
  package internal(set) var retryAfter: Duration?

  package init(_ code: Code, _ detail: String, word: String? = nil) {
    self.code = code
    self.detail = detail
    self.word = word
  }

  /// Whose fault it was.
  package var origin: FaultOrigin {
    switch code {
    case .loginRequired, .interactionRequired, .consentRequired, .accessDenied, .invalidResponse, .stateMismatch, .issuerMismatch,
      .invalidAccessToken, .invalidLogoutToken, .codeRefused, .refreshRefused:
      .client
    case .authorizationFailed, .providerUnavailable, .timeout, .invalidMetadata, .invalidKeySet, .invalidTokenResponse, .invalidIDToken,
      .invalidUserInfo, .identityChanged, .exchangeRefused, .exchangeMismatch, .revocationRefused, .notSupported:
      .provider
    case .clientRefused, .invalidConfiguration: .gateway
    }
  }

  /// Must the session end? True only when the provider itself refused to go on, or its grant is now another person's; never for what may
  /// pass (behaviour: "Tokens").
  package var endsSession: Bool { code == .refreshRefused || code == .identityChanged }

  /// May the same call succeed in a moment?
  package var isTemporary: Bool { code == .providerUnavailable || code == .timeout }

  package var description: String { "\(code.rawValue): \(detail)" }
}
