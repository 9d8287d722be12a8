import IntercomCore
import StrictJSON

/// What a refresh needs ([RFC 6749 §6](https://www.rfc-editor.org/rfc/rfc6749#section-6)).
package struct RefreshRequest: Sendable {
  package let refreshToken: Secret<String>
  /// A new id_token must name the same ([OIDC Core §12.2](https://openid.net/specs/openid-connect-core-1_0.html#RefreshTokenResponse)).
  package let issuer: Identifier
  package let subject: Identifier
  /// The claims that the session holds, for a source that completes them from userinfo.
  package let claims: JSONObject
}

/// A checked answer to a refresh.
package struct RefreshedTokens: Sendable {
  /// The verified id_token of the answer; providers may leave it out.
  package struct NewIdentity: Sendable {
    package var idToken: Secret<String>
    package var issuer: Identifier
    package var subject: Identifier
    /// All claims from now on: they replace the session's, so that what was taken away is gone (S27).
    package var claims: JSONObject

    package init(idToken: Secret<String>, issuer: Identifier, subject: Identifier, claims: JSONObject) {
      self.idToken = idToken
      self.issuer = issuer
      self.subject = subject
      self.claims = claims
    }
  }
  package var accessToken: Secret<String>
  /// `expires_in`
  package var expiresIn: Duration?
  /// Nil: the old one stays valid.
  package var refreshToken: Secret<String>?
  package var refreshExpiresIn: Duration?
  package var identity: NewIdentity?

  package init(
    accessToken: Secret<String>, expiresIn: Duration?, refreshToken: Secret<String>? = nil, refreshExpiresIn: Duration? = nil,
    identity: NewIdentity? = nil
  ) {
    self.accessToken = accessToken
    self.expiresIn = expiresIn
    self.refreshToken = refreshToken
    self.refreshExpiresIn = refreshExpiresIn
    self.identity = identity
  }
}

/// For which backend a token is exchanged: all parameters that go into the request, because all of them tell cached tokens apart
/// (S16b).
package struct ExchangeTarget: Sendable, Hashable {
  package var audience: Identifier?
  package var scope: Identifier?
  /// [RFC 8707](https://www.rfc-editor.org/rfc/rfc8707)
  package var resource: Identifier?
  /// Audiences that the token may have besides: no parameter, but a rule of the route, so that no route gets what only another accepts (S15).
  package var alsoFor: Set<Identifier>

  package init(audience: Identifier?, scope: Identifier? = nil, resource: Identifier? = nil, alsoFor: Set<Identifier> = []) {
    self.audience = audience
    self.scope = scope
    self.resource = resource
    self.alsoFor = alsoFor
  }
}

/// What an exchange needs ([RFC 8693 §2.1](https://www.rfc-editor.org/rfc/rfc8693#section-2.1)).
package struct ExchangeRequest: Sendable {
  /// The session's access token.
  package let subjectToken: Secret<String>
  package let target: ExchangeTarget
  /// Whom the new token must be for, where it can be read.
  package let issuer: Identifier
  package let subject: Identifier
  /// The provider's name of the session (`sid`).
  package let sessionID: Identifier?
}

/// A checked answer to an exchange.
package struct ExchangedTokens: Sendable {
  package var accessToken: Secret<String>
  /// `expires_in`; nil counts as 60 s.
  package var expiresIn: Duration?

  package init(accessToken: Secret<String>, expiresIn: Duration?) {
    self.accessToken = accessToken
    self.expiresIn = expiresIn
  }
}

/// Why the provider gave no token.
package enum TokenSourceError: Error, Sendable, Equatable {
  /// It said no, with the `error` of [RFC 6749 §5.2](https://www.rfc-editor.org/rfc/rfc6749#section-5.2) and a sentence for the log.
  case refused(code: String, detail: String = "")
  /// It answered a refresh with tokens of another person, or of another of its sessions. They were given back and are not kept.
  case identityChanged
  /// It did not answer, or with 5xx or 429: nothing is known.
  case unavailable(String)
  /// Its answer does not pass the checks.
  case invalidAnswer(String)
}

/// Asks the provider for tokens. `OIDC` does it over HTTP; it checks what it hands over, and it honours cancellation.
package protocol TokenSource: Sendable {
  func refresh(_ request: RefreshRequest) async throws(TokenSourceError) -> RefreshedTokens
  func exchange(_ request: ExchangeRequest) async throws(TokenSourceError) -> ExchangedTokens
}

/// Why a request gets no token. Nothing is forwarded then.
package enum TokenFailure: Error, Sendable, Equatable {
  /// 401: the session is gone; the reason when it ended here and now.
  case sessionEnded(EndReason?)
  /// 503 with Retry-After: the session is kept.
  case unavailable(String)
  /// The provider refuses this token for this session: 403. The sentence is for the log.
  case refused(code: String, detail: String = "")
  /// 502
  case invalidAnswer(String)
  /// 503: too many requests wait for tokens already.
  case overloaded
  /// 503
  case store(SessionStoreError)

  /// A stable word for the log.
  package var word: String {
    switch self {
    case .sessionEnded: "session_ended"
    case .unavailable: "provider_unavailable"
    case .refused(let code, _): code
    case .invalidAnswer: "invalid_answer"
    case .overloaded: "overloaded"
    case .store: "session_store_unavailable"
    }
  }

  /// A sentence for the log; free of secrets.
  package var sentence: String {
    switch self {
    case .sessionEnded(let reason): "the session has ended" + (reason.map { " (\($0.rawValue))" } ?? "")
    case .unavailable(let what): what
    case .refused(let code, let detail): detail.isEmpty ? "the provider refuses it: \(code)" : detail
    case .invalidAnswer(let what): what
    case .overloaded: "too many requests wait for tokens already"
    case .store(let error): "the session store does not answer: \(error)"
    }
  }

  package var faultOrigin: FaultOrigin {
    switch self {
    case .sessionEnded: .client
    case .unavailable, .refused, .invalidAnswer: .provider
    case .overloaded: .gateway
    case .store(let error): error.faultOrigin
    }
  }
}
