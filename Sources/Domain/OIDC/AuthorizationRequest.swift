import Cryptography
import IntercomCore

/// What a login shall be like.
package struct LoginOptions: Sendable {
  /// [OIDC Core §3.1.2.1](https://openid.net/specs/openid-connect-core-1_0.html#AuthRequest)
  package enum Prompt: String, Sendable, Codable {
    /// No page may be shown: for the silent login.
    case none
    case login
    case consent
    case selectAccount = "select_account"
  }

  package var prompt: Prompt?
  /// The person must have signed in within this many seconds; `auth_time` is then checked.
  package var maximumAge: Int64?
  /// Further parameters, such as `login_hint` or `ui_locales`. Those of the protocol itself cannot be set here.
  package var extra: [(name: String, value: String)] = []

  package init(prompt: Prompt? = nil, maximumAge: Int64? = nil, extra: [(name: String, value: String)] = []) {
    self.prompt = prompt
    self.maximumAge = maximumAge
    self.extra = extra
  }
}

/// What must be remembered between the request and its response: kept sealed in the session store, single use, found by `state`.
package struct PendingLogin: Sendable {
  /// 256 random bits; also the name under which the pending login is found.
  package let state: Secret<String>
  package let nonce: Secret<String>
  package let codeVerifier: Secret<String>
  /// The issuer that was asked ([RFC 9207 §2.4](https://www.rfc-editor.org/rfc/rfc9207#section-2.4)).
  package let issuer: Identifier
  package let redirectURI: String
  package let maximumAge: Int64?
  package let created: WallInstant

  /// From what was kept.
  package init(
    state: Secret<String>, nonce: Secret<String>, codeVerifier: Secret<String>, issuer: Identifier, redirectURI: String,
    maximumAge: Int64? = nil, created: WallInstant
  ) {
    self.state = state
    self.nonce = nonce
    self.codeVerifier = codeVerifier
    self.issuer = issuer
    self.redirectURI = redirectURI
    self.maximumAge = maximumAge
    self.created = created
  }
}

/// An authorization code request with PKCE ([OIDC Core §3.1.2.1](https://openid.net/specs/openid-connect-core-1_0.html#AuthRequest)).
package struct AuthorizationRequest: Sendable, PrintsNothing {
  package let pending: PendingLogin
  /// Where the browser is sent.
  package let url: String

  /// Draws nonce and verifier anew, and the state too unless the caller gives one of at least 256 random bits.
  package init(
    _ metadata: ProviderMetadata, _ client: ClientConfiguration, _ options: LoginOptions, state: Secret<String>? = nil,
    random: any RandomSource, now: WallInstant
  ) {
    let proof = ProofKey(random)
    let pending = PendingLogin(
      state: state ?? Secret(Base64URL.encode(random.bytes(32))), nonce: Secret(Base64URL.encode(random.bytes(32))),
      codeVerifier: proof.verifier,
      issuer: metadata.issuer.text, redirectURI: client.redirectURI.string, maximumAge: options.maximumAge, created: now)
    var pairs: [(name: String, value: String)] = [
      ("response_type", "code"), ("client_id", client.clientID.description), ("redirect_uri", pending.redirectURI),
      ("scope", Self.scope(client.scopes)), ("state", pending.state.reveal()), ("nonce", pending.nonce.reveal()),
      ("code_challenge", proof.challenge), ("code_challenge_method", "S256"),
    ]
    if let prompt = options.prompt { pairs.append(("prompt", prompt.rawValue)) }
    if let age = options.maximumAge { pairs.append(("max_age", String(max(0, age)))) }
    let taken = Set(pairs.map { Identifier($0.name) } + ["prompt", "max_age", "response_mode", "request", "request_uri", "client_secret"])
    pairs += options.extra.filter { !taken.contains(Identifier($0.name)) }
    self.pending = pending
    url = FormURLEncoded.append(pairs, to: metadata.authorizationEndpoint.string)
  }

  /// `openid` first: without it the answer would be no id_token.
  private static func scope(_ scopes: [String]) -> String {
    (["openid"] + scopes.filter { Identifier($0) != "openid" }).joined(separator: " ")
  }
}
