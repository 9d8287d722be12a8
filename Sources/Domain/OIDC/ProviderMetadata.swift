import HTTPMessage
import IntercomCore
import StrictJSON

/// What the provider says about itself
/// ([OpenID Connect Discovery 1.0 §3](https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderMetadata)).
package struct ProviderMetadata: Sendable {
  package let issuer: EndpointURL
  package let authorizationEndpoint: EndpointURL
  package let tokenEndpoint: EndpointURL
  package let jwksURI: EndpointURL
  package let userinfoEndpoint: EndpointURL?
  package let endSessionEndpoint: EndpointURL?
  package let revocationEndpoint: EndpointURL?
  /// Each authorization response says from which issuer it is ([RFC 9207 §3](https://www.rfc-editor.org/rfc/rfc9207#section-3)).
  package let authorizationResponseIssParameterSupported: Bool
  package let backchannelLogoutSupported: Bool
  package let backchannelLogoutSessionSupported: Bool
  /// As the provider lists them; what is accepted is decided by the configuration.
  package let idTokenSigningAlgorithms: [Identifier]

  /// 256 KiB: real documents have 3 to 10.
  package static let maximumBytes = 256 * 1_024

  /// The request for the document of this issuer.
  package static func request(_ client: ClientConfiguration) -> OutboundRequest {
    let base = (client.internalURL ?? client.issuer).base
    return OutboundRequest(
      .get, base.description + "/.well-known/openid-configuration", fields: Fields(["Accept": "application/json"]),
      maximumResponseBytes: maximumBytes)
  }

  /// Reads the answer. Throws `providerUnavailable` for 5xx and `invalidMetadata` for whatever is not the metadata of exactly this issuer.
  package static func parse(_ response: OutboundResponse, _ client: ClientConfiguration) throws(OIDCError) -> ProviderMetadata {
    let object = try ProviderAnswer.object(response, .invalidMetadata, "the metadata", maximumBytes: maximumBytes)
    guard object["issuer"]?.identifier == client.issuer.text else {
      let found = object["issuer"]?.string.map { "\"\(ProviderAnswer.shown($0))\"" } ?? "none"
      throw OIDCError(
        .invalidMetadata,
        "the issuer in the metadata is not byte for byte the configured one: found \(found), "
          + "expected \"\(ProviderAnswer.shown(client.issuer.text.description))\"")
    }
    return try ProviderMetadata(object, client)
  }

  private init(_ object: JSONObject, _ client: ClientConfiguration) throws(OIDCError) {
    func endpoint(_ name: Identifier, backChannel: Bool) throws(OIDCError) -> EndpointURL? {
      guard let value = object[name], !value.isNull else { return nil }
      guard let url = value.string.flatMap({ EndpointURL($0) }) else {
        throw OIDCError(.invalidMetadata, "\(name) is not an http or https URL")
      }
      let allowed = backChannel ? client.backChannel.permits(url) : url.isSecure || !client.issuer.isSecure
      guard allowed else { throw OIDCError(.invalidMetadata, "\(name) is http although the issuer is https") }
      return url
    }
    func required(_ name: Identifier, backChannel: Bool) throws(OIDCError) -> EndpointURL {
      guard let url = try endpoint(name, backChannel: backChannel) else { throw OIDCError(.invalidMetadata, "\(name) is missing") }
      return url
    }
    issuer = client.issuer
    authorizationEndpoint = try required("authorization_endpoint", backChannel: false)
    tokenEndpoint = try required("token_endpoint", backChannel: true)
    jwksURI = try required("jwks_uri", backChannel: true)
    userinfoEndpoint = try endpoint("userinfo_endpoint", backChannel: true)
    endSessionEndpoint = try endpoint("end_session_endpoint", backChannel: false)
    revocationEndpoint = try endpoint("revocation_endpoint", backChannel: true)
    authorizationResponseIssParameterSupported = object["authorization_response_iss_parameter_supported"]?.bool ?? false
    backchannelLogoutSupported = object["backchannel_logout_supported"]?.bool ?? false
    backchannelLogoutSessionSupported = object["backchannel_logout_session_supported"]?.bool ?? false
    idTokenSigningAlgorithms = (object["id_token_signing_alg_values_supported"]?.array ?? []).compactMap(\.identifier)
  }
}

/// The checks that every JSON answer of a provider passes before anything is read from it.
enum ProviderAnswer {
  static func object(
    _ response: OutboundResponse, _ code: OIDCError.Code, _ what: String, maximumBytes: Int, types: [String] = ["application/json"]
  ) throws(OIDCError) -> JSONObject {
    guard response.status.code < 500, response.status.code != 429 else {
      throw OIDCError(.providerUnavailable, "\(what): the provider answered \(response.status.code)")
    }
    guard response.status.code == 200 else { throw OIDCError(code, "\(what): the provider answered \(response.status.code)") }
    guard let type = response.fields.mediaType, types.contains(where: { Identifier($0) == type }) else {
      throw OIDCError(code, "\(what) is not \(types.joined(separator: " or "))")
    }
    do {
      return try StrictJSON.object(response.body, limit: StrictJSON.Limit(bytes: maximumBytes))
    } catch {
      throw OIDCError(code, "\(what) is not sound JSON: \(error)")
    }
  }

  /// At most 160 bytes of a public value, such as an issuer; what is not printable is replaced.
  static func shown(_ text: String) -> String {
    let bytes = text.utf8.prefix(160).map { $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "\"") ? $0 : UInt8(ascii: "?") }
    return String(decoding: bytes, as: UTF8.self) + (text.utf8.count > 160 ? "…" : "")
  }

  /// At most 160 printable characters of a provider's sentence. Long words are left out: they could be tokens. So are words with any part of
  /// what was sent to the provider in confidence, and the sentence as a whole when that is not enough.
  static func sentence(_ text: String?, confided secrets: [Secret<String>] = []) -> String {
    let words = (text ?? "").utf8.map { $0 > 0x20 && $0 < 0x7f ? $0 : 32 }.split(separator: 32)
    let safe = words.map { bytes in
      let word = String(decoding: bytes, as: UTF8.self)
      return bytes.count > 24 || secrets.contains { repeats(word, $0) } ? "…" : word
    }
    let sentence = safe.joined(separator: " ")
    return secrets.contains { repeats(sentence, $0) } ? "a sentence that repeats a secret" : String(sentence.prefix(160))
  }

  /// An error word as it is shown: as specifications write them, else only that there was one. A broken provider echoes anything there.
  static func word(_ code: String, confided secrets: [Secret<String>] = []) -> String {
    let isPlain = code.utf8.count <= 48 && code.utf8.allSatisfy { $0 >= 0x61 && $0 <= 0x7a || $0 == UInt8(ascii: "_") }
    return isPlain && !secrets.contains { repeats(code, $0) } ? code : "an error of its own"
  }

  /// Is a part of the secret in the text, as it is or percent-encoded? Eight bytes of a long one are a part; a short one counts as a whole.
  private static func repeats(_ text: String, _ secret: Secret<String>) -> Bool {
    let seen = Array(text.utf8)
    let seenDecoded = PercentCoding.decode(seen, plusIsSpace: true) ?? seen
    let hidden = Array(secret.reveal().utf8)
    let length = min(hidden.count, hidden.count < 16 ? hidden.count : 8)
    guard length > 0, length <= seen.count else { return false }
    let parts = Set(stride(from: 0, through: hidden.count - length, by: 1).map { hidden[$0..<($0 + length)] })
    return [seen, seenDecoded].contains { bytes in
      bytes.count >= length && (0...(bytes.count - length)).contains { parts.contains(bytes[$0..<($0 + length)]) }
    }
  }
}

extension OIDCError {
  /// What a failed call means. A provider that is not reached, or not to the end of its answer, may be there in a moment
  /// (`providerUnavailable`, `timeout`); one that answers what cannot be used does so again: that is `unusable`, the same as for a wrong
  /// answer. Neither says anything about a session.
  init(_ error: TransportError, _ what: String, unusable: OIDCError.Code) {
    switch error {
    case .timedOut: self.init(.timeout, "\(what): no answer in time")
    case .cancelled: self.init(.timeout, "\(what): the call was cancelled")
    case .badURL, .badField: self.init(unusable, "\(what): the call cannot be made with this address")
    case .tooLarge: self.init(unusable, "\(what): the answer is too large")
    case .unreachable(let text): self.init(.providerUnavailable, "\(what): not reached (\(text))")
    case .tls(let text): self.init(.providerUnavailable, "\(what): TLS failed (\(text))")
    case .broken(let text): self.init(.providerUnavailable, "\(what): the answer broke off (\(text))")
    }
  }
}
