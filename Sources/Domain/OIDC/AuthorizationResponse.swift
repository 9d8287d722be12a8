import Cryptography
import HTTPMessage
import IntercomCore

/// What comes to the redirect URI ([OIDC Core §3.1.2.5](https://openid.net/specs/openid-connect-core-1_0.html#AuthResponse)): shape checked,
/// nothing trusted. `state` leads to the pending login, and only `check` against that gives the code.
package struct AuthorizationResponse: Sendable {
  package enum Outcome: Sendable {
    case code(Secret<String>)
    /// The provider's error word.
    case error(String)
  }

  package let state: Secret<String>
  package let outcome: Outcome
  /// [RFC 9207 §2](https://www.rfc-editor.org/rfc/rfc9207#section-2)
  package let issuer: Identifier?

  /// The longest query that is read: the limit of a request target.
  package static let maximumQueryBytes = 8_192

  /// Each parameter at most once, not empty, of sane size; a code or an error, never both. Unknown parameters are ignored.
  package static func parse(_ query: [UInt8]?) throws(OIDCError) -> AuthorizationResponse {
    guard let query, !query.isEmpty else { throw OIDCError(.invalidResponse, "the query is missing") }
    guard query.count <= maximumQueryBytes else { throw OIDCError(.invalidResponse, "the query is too large") }
    let fields: FormFields
    do { fields = try FormFields(parsing: query) } catch { throw OIDCError(.invalidResponse, "the query is malformed") }
    func value(_ name: String, maximum: Int) throws(OIDCError) -> String? {
      switch fields.occurrence(name) {
      case .absent: return nil
      case .repeated: throw OIDCError(.invalidResponse, "\(name) is there more than once")
      case .once(let bytes):
        guard !bytes.isEmpty else { throw OIDCError(.invalidResponse, "\(name) is empty") }
        guard bytes.count <= maximum else { throw OIDCError(.invalidResponse, "\(name) is too large") }
        guard bytes.allSatisfy({ $0 >= 0x20 && $0 < 0x7f }) else { throw OIDCError(.invalidResponse, "\(name) has forbidden bytes") }
        return String(decoding: bytes, as: UTF8.self)
      }
    }
    let code = try value("code", maximum: 4_096)
    let error = try value("error", maximum: 128)
    let issuer = try value("iss", maximum: 2_048)
    guard let state = try value("state", maximum: 512) else { throw OIDCError(.invalidResponse, "state is missing") }
    let outcome: Outcome
    switch (code, error) {
    case (let code?, nil): outcome = .code(Secret(code))
    case (nil, let error?): outcome = .error(error)
    case (nil, nil): throw OIDCError(.invalidResponse, "neither code nor error is there")
    case (.some, .some): throw OIDCError(.invalidResponse, "code and error are both there")
    }
    return AuthorizationResponse(state: Secret(state), outcome: outcome, issuer: issuer.map { Identifier($0) })
  }

  /// The code, when the response belongs to this pending login and comes from the issuer that was asked; the provider's errors are thrown
  /// as what they mean.
  package func check(_ pending: PendingLogin, _ metadata: ProviderMetadata) throws(OIDCError) -> Secret<String> {
    guard constantTimeEqual(Array(state.reveal().utf8), Array(pending.state.reveal().utf8)) else {
      throw OIDCError(.stateMismatch, "the response belongs to another login")
    }
    guard pending.issuer == metadata.issuer.text else { throw OIDCError(.issuerMismatch, "the login was begun at another issuer") }
    if let issuer {
      guard issuer == pending.issuer else { throw OIDCError(.issuerMismatch, "iss names another issuer than the one asked") }
    } else if metadata.authorizationResponseIssParameterSupported {
      throw OIDCError(.issuerMismatch, "iss is missing although the provider announces it")
    }
    switch outcome {
    case .code(let code): return code
    case .error(let word): throw Self.meaning(of: word)
    }
  }

  /// Errors of `prompt=none` are data for the page that asked ([OIDC Core §3.1.2.6](https://openid.net/specs/openid-connect-core-1_0.html#AuthError)).
  private static func meaning(of word: String) -> OIDCError {
    switch word {
    case "login_required": OIDCError(.loginRequired, "the provider asks for a sign-in")
    case "interaction_required", "account_selection_required": OIDCError(.interactionRequired, "the provider must show a page")
    case "consent_required": OIDCError(.consentRequired, "the provider asks for consent")
    case "access_denied": OIDCError(.accessDenied, "the provider denied access")
    case "temporarily_unavailable", "server_error": OIDCError(.providerUnavailable, "the provider reports a failure of its own")
    default: OIDCError(.authorizationFailed, "the provider ended the login: \(ProviderAnswer.word(word))")
    }
  }
}
