import Cryptography
import HTTPMessage
import IntercomCore

/// A request to the token endpoint ([RFC 6749 §3.2](https://www.rfc-editor.org/rfc/rfc6749#section-3.2)), authenticated as the client.
package struct TokenRequest: Sendable {
  package enum Grant: Sendable {
    /// [RFC 6749 §4.1.3](https://www.rfc-editor.org/rfc/rfc6749#section-4.1.3) with [RFC 7636 §4.5](https://www.rfc-editor.org/rfc/rfc7636#section-4.5)
    case code(Secret<String>, verifier: Secret<String>, redirectURI: String)
    /// [RFC 6749 §6](https://www.rfc-editor.org/rfc/rfc6749#section-6)
    case refresh(Secret<String>)
    /// [RFC 8693 §2.1](https://www.rfc-editor.org/rfc/rfc8693#section-2.1)
    case exchange(TokenExchange)
  }

  /// 1 MiB: tokens with very many groups stay far below.
  package static let maximumResponseBytes = 1 << 20

  private let grant: Grant
  private let client: ClientConfiguration

  package init(_ grant: Grant, _ client: ClientConfiguration) {
    self.grant = grant
    self.client = client
  }

  /// The call to make.
  package func request(_ metadata: ProviderMetadata) -> OutboundRequest {
    let parameters =
      switch grant {
      case .code(let code, let verifier, let redirectURI):
        [
          ("grant_type", "authorization_code"), ("code", code.reveal()), ("redirect_uri", redirectURI),
          ("code_verifier", verifier.reveal()),
        ]
      case .refresh(let token): [("grant_type", "refresh_token"), ("refresh_token", token.reveal())]
      case .exchange(let exchange): exchange.parameters(client.exchangeStyle)
      }
    var request = ClientAuthentication.request(
      client, to: client.backChannel.address(of: metadata.tokenEndpoint), parameters, maximumResponseBytes: Self.maximumResponseBytes)
    request.isRepeatable = isRepeatable
    return request
  }

  /// A code or refresh token that comes twice is taken for a stolen one, and everything that came of it is revoked
  /// ([RFC 6749 §4.1.2](https://www.rfc-editor.org/rfc/rfc6749#section-4.1.2),
  /// [RFC 9700 §4.14.2](https://www.rfc-editor.org/rfc/rfc9700#section-4.14.2)). An exchange can be repeated.
  private var isRepeatable: Bool {
    switch grant {
    case .code, .refresh: false
    case .exchange: true
    }
  }

  /// What an error word means for this grant ([RFC 6749 §5.2](https://www.rfc-editor.org/rfc/rfc6749#section-5.2)).
  package func meaning(of error: TokenEndpointError) -> OIDCError {
    let word = ProviderAnswer.word(error.code, confided: confided)
    let sentence = ProviderAnswer.sentence(error.sentence.reveal(), confided: confided)
    let text = "the token endpoint answered \(error.status.code) \(word)" + (sentence.isEmpty ? "" : " (\(sentence))")
    return OIDCError(code(for: error), text, word: word)
  }

  private func code(for error: TokenEndpointError) -> OIDCError.Code {
    switch (grant, error.code) {
    // Keycloak says invalid_client also for an audience that it does not know.
    case (.exchange, "invalid_client") where error.status.code == 400: .exchangeRefused
    case (_, "invalid_client"), (_, "unauthorized_client"): .clientRefused
    case (_, "temporarily_unavailable"), (_, "server_error"): .providerUnavailable
    case (.code, "invalid_grant"): .codeRefused
    case (.refresh, "invalid_grant"): .refreshRefused
    case (.exchange, _): .exchangeRefused
    default: .invalidTokenResponse
    }
  }
}

extension TokenRequest {
  /// The word for traces.
  var purpose: String {
    switch grant {
    case .code: "code"
    case .refresh: "refresh"
    case .exchange: "exchange"
    }
  }

  /// What the provider is told in confidence.
  private var confided: [Secret<String>] {
    switch grant {
    case .code(let code, let verifier, _): [client.clientSecret, code, verifier]
    case .refresh(let token): [client.clientSecret, token]
    case .exchange(let exchange): [client.clientSecret, exchange.subjectToken]
    }
  }
}

/// Form requests on which the client proves itself: to the token endpoint and the revocation endpoint.
enum ClientAuthentication {
  static func request(
    _ client: ClientConfiguration, to url: String, _ parameters: [(String, String)], maximumResponseBytes: Int
  ) -> OutboundRequest {
    var pairs: [(name: String, value: String)] = parameters.map { (name: $0.0, value: $0.1) }
    var fields = Fields(["Content-Type": FormURLEncoded.contentType, "Accept": "application/json"])
    switch client.authentication {
    case .basic:
      // Both halves are form-encoded before they are joined (RFC 6749 §2.3.1): a colon in the id stays unambiguous.
      let pair = PercentCoding.encode(client.clientID.description) + ":" + PercentCoding.encode(client.clientSecret.reveal())
      fields.append("Authorization", "Basic " + Base64.encode(Array(pair.utf8)))
    case .post:
      pairs.append(("client_id", client.clientID.description))
      pairs.append(("client_secret", client.clientSecret.reveal()))
    }
    return OutboundRequest(
      .post, url, fields: fields, body: Array(FormURLEncoded.encode(pairs).utf8), maximumResponseBytes: maximumResponseBytes)
  }
}
