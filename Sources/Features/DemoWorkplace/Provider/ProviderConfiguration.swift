import IntercomCore
import StrictJSON

/// A relying party that is registered with the provider.
package struct ProviderClient: Sendable {
  package var id: Identifier
  /// nil for a public client: it must use PKCE and may not exchange tokens.
  package var secret: Secret<String>?
  /// Shown on the sign-in page.
  package var name: String
  /// Compared byte by byte ([RFC 9700 §2.1](https://www.rfc-editor.org/rfc/rfc9700#section-2.1)).
  package var redirectURIs: [String]
  package var postLogoutRedirectURIs: [String]
  /// Where logout tokens are posted; nil when the client is not told.
  package var backChannelLogoutURI: String?
  /// The audiences that the client may ask for in a token exchange.
  package var allowedAudiences: [Identifier]
  /// `aud` of access tokens from a sign-in; the client itself when empty.
  package var accessTokenAudiences: [Identifier] = []
  package var requiresPKCE = true

  package init(
    id: Identifier, secret: Secret<String>?, name: String, redirectURIs: [String], postLogoutRedirectURIs: [String] = [],
    backChannelLogoutURI: String? = nil, allowedAudiences: [Identifier] = []
  ) {
    self.id = id
    self.secret = secret
    self.name = name
    self.redirectURIs = redirectURIs
    self.postLogoutRedirectURIs = postLogoutRedirectURIs
    self.backChannelLogoutURI = backChannelLogoutURI
    self.allowedAudiences = allowedAudiences
  }
}

/// A person who can sign in.
package struct ProviderUser: Sendable {
  /// `sub`: stable, never shown.
  package var subject: Identifier
  package var username: Identifier
  package var password: Secret<String>
  package var name: String
  package var email: String
  /// Further claims for ID tokens, access tokens and userinfo.
  package var claims: JSONObject
  /// The person must do something on a page first (such as accepting terms): `prompt=none` is answered `interaction_required`.
  package var mustInteract = false

  package init(
    subject: Identifier, username: Identifier, password: Secret<String>, name: String, email: String, claims: JSONObject = [:]
  ) {
    self.subject = subject
    self.username = username
    self.password = password
    self.name = name
    self.email = email
    self.claims = claims
  }
}

/// How long things live, in whole seconds.
package struct ProviderLifetimes: Sendable {
  /// From the redirect to the code's redemption ([RFC 6749 §4.1.2](https://www.rfc-editor.org/rfc/rfc6749#section-4.1.2): at most 10
  /// minutes).
  package var code: Int64 = 60
  package var accessToken: Int64 = 300
  package var idToken: Int64 = 300
  /// From the last refresh.
  package var refreshToken: Int64 = 28_800
  /// Of the provider's own session, whether used or not.
  package var session: Int64 = 86_400
  /// From showing the sign-in page to sending it.
  package var signIn: Int64 = 600
  /// `exp` of a logout token ([Back-Channel Logout 1.0 §2.4](https://openid.net/specs/openid-connect-backchannel-1_0.html#LogoutToken): at
  /// most two minutes).
  package var logoutToken: Int64 = 120
  package init() {}
}

/// What the embedded provider serves. It is made for the demo and for tests: everything lives in memory and ends with the process.
package struct ProviderConfiguration: Sendable {
  /// `iss`; without a slash at the end.
  package var issuer: String
  package var clients: [ProviderClient]
  package var users: [ProviderUser]
  package var lifetimes = ProviderLifetimes()
  /// A refresh gives a new refresh token, and using an old one again revokes them all
  /// ([RFC 9700 §4.14.2](https://www.rfc-editor.org/rfc/rfc9700#section-4.14.2)).
  package var rotatesRefreshTokens = true
  /// Sessions, codes, and token families that are kept at once, each; beyond it the ones that end soonest go first.
  package var capacity = 10_000
  /// Shown under the sign-in form, such as the demo's users; nil shows nothing.
  package var hint: String?

  package init(issuer: String, clients: [ProviderClient], users: [ProviderUser], hint: String? = nil) {
    self.issuer = issuer
    self.clients = clients
    self.users = users
    self.hint = hint
  }
}

/// What happened, for the demo's side panel and for tests. Never holds a token, code, cookie or password.
package enum ProviderEvent: Sendable, Equatable {
  case signedIn(user: String, client: String)
  case signInFailed
  /// `prompt=none` without what it needs: the error that was sent.
  case silentlyRefused(client: String, error: String)
  /// `prompt=none` with a session.
  case silentlySignedIn(user: String, client: String)
  case tokensIssued(client: String, grant: String)
  case tokenExchanged(client: String, audience: String)
  case tokensRevoked(client: String)
  case signedOut(user: String)
  /// `status` is nil when no answer came.
  case backChannelLogout(client: String, status: Int?)
}

/// An OAuth error as it goes to the client ([RFC 6749 §5.2](https://www.rfc-editor.org/rfc/rfc6749#section-5.2), §4.1.2.1, RFC 6750 §3.1,
/// RFC 8693 §2.2.2).
struct ProviderFault: Error, Sendable, Equatable {
  enum Code: String, Sendable {
    case invalidRequest = "invalid_request"
    case invalidClient = "invalid_client"
    case invalidGrant = "invalid_grant"
    case invalidScope = "invalid_scope"
    case invalidTarget = "invalid_target"
    case invalidToken = "invalid_token"
    case insufficientScope = "insufficient_scope"
    case unauthorizedClient = "unauthorized_client"
    case unsupportedGrantType = "unsupported_grant_type"
    case unsupportedResponseType = "unsupported_response_type"
    case requestNotSupported = "request_not_supported"
    case requestURINotSupported = "request_uri_not_supported"
    case loginRequired = "login_required"
    case interactionRequired = "interaction_required"
    case serverError = "server_error"
  }
  let code: Code
  let description: String

  init(_ code: Code, _ description: String) {
    self.code = code
    self.description = description
  }

  var faultOrigin: FaultOrigin { code == .serverError ? .provider : .client }
}
