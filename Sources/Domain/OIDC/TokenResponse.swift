import HTTPMessage
import IntercomCore
import StrictJSON

/// The token endpoint refused ([RFC 6749 §5.2](https://www.rfc-editor.org/rfc/rfc6749#section-5.2)).
package struct TokenEndpointError: Error, Sendable {
  package let status: Status
  /// `invalid_grant`, `invalid_client` …: printable ASCII, at most 64 bytes.
  package let code: String
  /// The provider's sentence as it came: it may repeat anything that was sent. Only `TokenRequest.meaning` shows it, with secrets left out.
  package let sentence: Secret<String>
}

/// What the token endpoint gave ([RFC 6749 §5.1](https://www.rfc-editor.org/rfc/rfc6749#section-5.1)): shape checked; whose tokens they are is
/// not known before the id_token is verified.
package struct TokenResponse: Sendable {
  package let accessToken: Secret<String>
  package let refreshToken: Secret<String>?
  package let idToken: Secret<String>?
  /// From now; nil when the provider does not say.
  package let expiresIn: Duration?
  /// Keycloak's `refresh_expires_in`; nil when absent or 0 (no end of its own).
  package let refreshExpiresIn: Duration?
  package let scope: String?
  /// [RFC 8693 §2.2.1](https://www.rfc-editor.org/rfc/rfc8693#section-2.2.1)
  package let issuedTokenType: Identifier?

  package enum Outcome: Sendable {
    case tokens(TokenResponse)
    case refused(TokenEndpointError)
  }

  /// The longest token that is taken: 64 KiB, as long as a token that can be verified.
  private static let maximumTokenBytes = 65_536
  /// A year: what lives longer is read as a year.
  private static let longestLife: Int64 = 31_536_000

  /// Throws `providerUnavailable` for 5xx, 408 and 429, and `invalidTokenResponse` for whatever is neither tokens nor an OAuth error.
  package static func parse(_ response: OutboundResponse) throws(OIDCError) -> Outcome {
    let what = "the token response"
    guard response.status.code != 408 else { throw OIDCError(.providerUnavailable, "\(what): the provider answered 408") }
    if (400..<500).contains(response.status.code), response.status.code != 429 { return .refused(try refusal(response)) }
    return .tokens(
      try TokenResponse(ProviderAnswer.object(response, .invalidTokenResponse, what, maximumBytes: TokenRequest.maximumResponseBytes)))
  }

  /// A 4xx without an OAuth error in it comes from something else (a proxy, a wrong address): it refuses nothing.
  private static func refusal(_ response: OutboundResponse) throws(OIDCError) -> TokenEndpointError {
    guard response.fields.mediaType == "application/json",
      let object = try? StrictJSON.object(response.body, limit: StrictJSON.Limit(bytes: TokenRequest.maximumResponseBytes)),
      let code = object["error"]?.string, !code.isEmpty, code.utf8.count <= 64, code.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f })
    else {
      throw OIDCError(.invalidTokenResponse, "the provider answered \(response.status.code) without an OAuth error")
    }
    return TokenEndpointError(
      status: response.status, code: code, sentence: Secret(object["error_description"]?.string ?? ""))
  }

  private init(_ object: JSONObject) throws(OIDCError) {
    func token(_ name: Identifier) throws(OIDCError) -> Secret<String>? {
      guard let value = object[name], !value.isNull else { return nil }
      // What becomes a header field or a form field later is visible ASCII (RFC 6749 Appendix A.12).
      guard let text = value.string, !text.isEmpty, text.utf8.count <= Self.maximumTokenBytes,
        text.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f })
      else { throw OIDCError(.invalidTokenResponse, "\(name) is not a token") }
      return Secret(text)
    }
    func life(_ name: Identifier) throws(OIDCError) -> Int64? {
      guard let value = object[name], !value.isNull else { return nil }
      guard let seconds = value.int64, seconds >= 0 else { throw OIDCError(.invalidTokenResponse, "\(name) is not a number of seconds") }
      return min(seconds, Self.longestLife)
    }
    guard let type = object["token_type"]?.string, FieldName(type) == "bearer" else {
      throw OIDCError(.invalidTokenResponse, "token_type is not Bearer")
    }
    guard let access = try token("access_token") else { throw OIDCError(.invalidTokenResponse, "access_token is missing") }
    accessToken = access
    refreshToken = try token("refresh_token")
    idToken = try token("id_token")
    expiresIn = try life("expires_in").map { .seconds($0) }
    refreshExpiresIn = try life("refresh_expires_in").flatMap { $0 > 0 ? .seconds($0) : nil }
    scope = object["scope"]?.string
    issuedTokenType = object["issued_token_type"]?.identifier
  }
}
