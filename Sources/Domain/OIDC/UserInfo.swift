import HTTPMessage
import IntercomCore
import StrictJSON

/// Claims from the UserInfo endpoint ([OIDC Core §5.3](https://openid.net/specs/openid-connect-core-1_0.html#UserInfo)), of the person who
/// was asked for.
package struct UserInfo: Sendable {
  package let claims: JSONObject

  /// 256 KiB.
  package static let maximumBytes = 256 * 1_024

  /// Throws `notSupported` when the provider has no such endpoint.
  package static func request(
    _ metadata: ProviderMetadata, _ client: ClientConfiguration, accessToken: Secret<String>
  ) throws(OIDCError) -> OutboundRequest {
    guard let endpoint = metadata.userinfoEndpoint else { throw OIDCError(.notSupported, "the provider has no userinfo endpoint") }
    return OutboundRequest(
      .get, client.backChannel.address(of: endpoint),
      fields: Fields(["Accept": "application/json", "Authorization": "Bearer " + accessToken.reveal()]), maximumResponseBytes: maximumBytes)
  }

  /// The `sub` must be that of the id_token, byte for byte: the answer could be another person's
  /// ([§5.3.2](https://openid.net/specs/openid-connect-core-1_0.html#UserInfoResponse)).
  package static func parse(_ response: OutboundResponse, subject: Identifier) throws(OIDCError) -> UserInfo {
    let object = try ProviderAnswer.object(response, .invalidUserInfo, "the userinfo answer", maximumBytes: maximumBytes)
    guard object["sub"]?.identifier == subject else {
      throw OIDCError(.invalidUserInfo, "sub is not that of the id_token")
    }
    return UserInfo(claims: object)
  }
}
