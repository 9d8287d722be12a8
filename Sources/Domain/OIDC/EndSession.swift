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

/// Token revocation ([RFC 7009 §2.1](https://www.rfc-editor.org/rfc/rfc7009#section-2.1)).
package enum RevocationRequest {
  package enum Hint: String, Sendable {
    case refreshToken = "refresh_token"
    case accessToken = "access_token"
  }

  /// Throws `notSupported` when the provider has no such endpoint.
  package static func request(
    _ metadata: ProviderMetadata, _ client: ClientConfiguration, token: Secret<String>, hint: Hint
  ) throws(OIDCError) -> OutboundRequest {
    guard let endpoint = metadata.revocationEndpoint else { throw OIDCError(.notSupported, "the provider has no revocation endpoint") }
    var request = ClientAuthentication.request(
      client, to: client.backChannel.address(of: endpoint), [("token", token.reveal()), ("token_type_hint", hint.rawValue)],
      maximumResponseBytes: 65_536)
    request.isRepeatable = true
    return request
  }

  /// 200 also for tokens that the provider does not know ([§2.2](https://www.rfc-editor.org/rfc/rfc7009#section-2.2)).
  package static func check(_ response: OutboundResponse) throws(OIDCError) {
    switch response.status.code {
    case 200, 204: return
    case 401, 403: throw OIDCError(.clientRefused, "revocation: the provider answered \(response.status.code)")
    default: throw OIDCError(.providerUnavailable, "revocation: the provider answered \(response.status.code)")
    }
  }
}
