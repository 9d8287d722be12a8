import HTTPMessage
import IntercomCore
import StrictJSON

/// Token revocation ([RFC 7009 §2.1](https://www.rfc-editor.org/rfc/rfc7009#section-2.1)), authenticated as at the token endpoint.
package enum TokenRevocation {
  package enum Hint: String, Sendable {
    case refreshToken = "refresh_token"
    case accessToken = "access_token"
  }

  /// Answers are empty, or errors of a line.
  private static let maximumResponseBytes = 65_536

  /// Throws `notSupported` when the provider has no such endpoint.
  package static func request(
    _ metadata: ProviderMetadata, _ client: ClientConfiguration, token: Secret<String>, hint: Hint
  ) throws(OIDCError) -> OutboundRequest {
    guard let endpoint = metadata.revocationEndpoint else { throw OIDCError(.notSupported, "the provider has no revocation endpoint") }
    var request = ClientAuthentication.request(
      client, to: client.backChannel.address(of: endpoint), [("token", token.reveal()), ("token_type_hint", hint.rawValue)],
      maximumResponseBytes: maximumResponseBytes)
    request.isRepeatable = true
    return request
  }

  /// Returns when the token is good for nothing any more, or of a kind that the provider does not revoke
  /// ([§2.2](https://www.rfc-editor.org/rfc/rfc7009#section-2.2): 200 also for one that it does not know).
  ///
  /// Throws `clientRefused`; `providerUnavailable`, with the pause that the provider asks for; `revocationRefused` for any other refusal.
  package static func check(_ response: OutboundResponse) throws(OIDCError) {
    let status = response.status.code
    switch status {
    case 200..<300: return
    case 401, 403: throw OIDCError(.clientRefused, "revocation: the provider answered \(status)")
    case 408, 429, 500...: throw unavailable(response)
    default: break
    }
    let limit = StrictJSON.Limit(bytes: maximumResponseBytes)
    let code = (try? StrictJSON.object(response.body, limit: limit))?["error"]?.identifier
    switch code {
    case "unsupported_token_type"?, "invalid_token"?: return
    case "invalid_client"?, "unauthorized_client"?:
      throw OIDCError(.clientRefused, "revocation: the provider answered \(status) and does not accept the client")
    case "temporarily_unavailable"?, "server_error"?: throw unavailable(response)
    default: throw OIDCError(.revocationRefused, "revocation: the provider answered \(status)")
    }
  }

  private static func unavailable(_ response: OutboundResponse) -> OIDCError {
    var error = OIDCError(.providerUnavailable, "revocation: the provider answered \(response.status.code)")
    // Seconds only: whoever sends a date gets our own pauses.
    if let text = response.fields.single("retry-after"), text.utf8.count <= 6, let seconds = Int64(text), seconds >= 0 {
      error.retryAfter = .seconds(seconds)
    }
    return error
  }
}
