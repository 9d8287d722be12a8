import IntercomCore
import JOSE

/// How Intercom is registered at its provider.
package struct ClientConfiguration: Sendable {
  /// How the client proves itself at the token endpoint ([RFC 6749 §2.3.1](https://www.rfc-editor.org/rfc/rfc6749#section-2.3.1)).
  package enum Authentication: String, Sendable, CaseIterable {
    case basic = "client_secret_basic"
    case post = "client_secret_post"
  }

  /// The form of a token exchange request.
  package enum ExchangeStyle: Sendable {
    /// [RFC 8693](https://www.rfc-editor.org/rfc/rfc8693).
    case standard
    /// Keycloak's form from before the standard: without `subject_token_type`.
    case keycloakLegacy
  }

  package let issuer: EndpointURL
  package let clientID: Identifier
  package let clientSecret: Secret<String>
  package let redirectURI: EndpointURL
  /// Base URL that replaces the issuer's for calls from server to server; the issuer check stays as it is.
  package let internalURL: EndpointURL?
  package var authentication: Authentication = .basic
  /// Always with `openid`.
  package var scopes: [String] = ["openid"]
  /// Signatures that are accepted; never `none`, never a shared secret.
  package var algorithms: Set<Algorithm> = Algorithm.all
  /// How far the provider's clock may be off.
  package var clockSkew: Duration = .seconds(60)
  package var exchangeStyle: ExchangeStyle = .standard

  /// Throws `invalidConfiguration` for URLs that are none, an issuer with a query, or an empty client id.
  package init(issuer: String, clientID: String, clientSecret: Secret<String>, redirectURI: String, internalURL: String? = nil)
    throws(OIDCError)
  {
    guard let issuer = EndpointURL(issuer), !issuer.hasQuery else {
      throw OIDCError(.invalidConfiguration, "the issuer is not an http or https URL without query and fragment")
    }
    guard let redirectURI = EndpointURL(redirectURI) else {
      throw OIDCError(.invalidConfiguration, "the redirect URI is not an http or https URL")
    }
    guard !clientID.isEmpty else { throw OIDCError(.invalidConfiguration, "the client id is empty") }
    var inside: EndpointURL?
    if let internalURL {
      guard let url = EndpointURL(internalURL), !url.hasQuery else {
        throw OIDCError(.invalidConfiguration, "the internal URL of the provider is not an http or https URL without query and fragment")
      }
      inside = url
    }
    self.issuer = issuer
    self.clientID = Identifier(clientID)
    self.clientSecret = clientSecret
    self.redirectURI = redirectURI
    self.internalURL = inside
  }

  var backChannel: BackChannel { BackChannel(issuer: issuer, internalURL: internalURL) }
}
