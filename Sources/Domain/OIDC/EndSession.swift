import HTTPMessage
import IntercomCore

/// Sign-out that begins here ([RP-Initiated Logout 1.0 §2](https://openid.net/specs/openid-connect-rpinitiated-1_0.html#RPLogout)).
package enum EndSession {
  /// The longest URL with an id_token in it. Proxies take 8 KiB of request line (Keycloak by itself 32 KiB) and answer 414 beyond them: a person who
  /// is in many groups would never be signed out.
  package static let longestURL = 8_000

  /// Where the browser is sent. Throws `notSupported` when the provider has no such endpoint.
  ///
  /// `state` comes back unchanged to `postLogoutRedirectURI`, which must be registered at the provider. An id_token that is not there, or makes the
  /// URL too long, gives way to `logoutHint`: the provider then asks the person before it signs out.
  package static func url(
    _ metadata: ProviderMetadata, _ client: ClientConfiguration, idTokenHint: Secret<String>?, logoutHint: Identifier? = nil,
    postLogoutRedirectURI: String?, state: String?
  ) throws(OIDCError) -> String {
    guard let endpoint = metadata.endSessionEndpoint else { throw OIDCError(.notSupported, "the provider has no end-session endpoint") }
    var pairs: [(name: String, value: String)] = [("client_id", client.clientID.description)]
    if let postLogoutRedirectURI {
      pairs.append(("post_logout_redirect_uri", postLogoutRedirectURI))
      if let state { pairs.append(("state", state)) }
    }
    if let hint = idTokenHint?.reveal(), !hint.isEmpty {
      let url = FormURLEncoded.append([("id_token_hint", hint)] + pairs, to: endpoint.string)
      if url.utf8.count <= longestURL { return url }
    }
    if let logoutHint { pairs.append(("logout_hint", logoutHint.description)) }
    return FormURLEncoded.append(pairs, to: endpoint.string)
  }
}
