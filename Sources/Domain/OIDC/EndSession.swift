import HTTPMessage
import IntercomCore

/// Sign-out that begins here ([RP-Initiated Logout 1.0 §2](https://openid.net/specs/openid-connect-rpinitiated-1_0.html#RPLogout)).
package enum EndSession {
  /// Where the browser is sent. Throws `notSupported` when the provider has no such endpoint.
  ///
  /// `state` comes back unchanged to `postLogoutRedirectURI`, which must be registered at the provider.
  package static func url(
    _ metadata: ProviderMetadata, _ client: ClientConfiguration, idTokenHint: Secret<String>?, postLogoutRedirectURI: String?,
    state: String?
  ) throws(OIDCError) -> String {
    guard let endpoint = metadata.endSessionEndpoint else { throw OIDCError(.notSupported, "the provider has no end-session endpoint") }
    var pairs: [(name: String, value: String)] = []
    if let idTokenHint { pairs.append(("id_token_hint", idTokenHint.reveal())) }
    pairs.append(("client_id", client.clientID.description))
    if let postLogoutRedirectURI {
      pairs.append(("post_logout_redirect_uri", postLogoutRedirectURI))
      if let state { pairs.append(("state", state)) }
    }
    return FormURLEncoded.append(pairs, to: endpoint.string)
  }
}
