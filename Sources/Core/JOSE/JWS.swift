import Cryptography
import IntercomCore
import StrictJSON

/// A token whose signature nobody has checked ([RFC 7515 §3.1](https://www.rfc-editor.org/rfc/rfc7515#section-3.1), compact form). Its
/// content may be used to choose a key or a provider, and for nothing else.
///
/// The header members `jku`, `jwk`, `x5u`, `x5c` are never read: an attacker would choose the key.
package struct UnverifiedJWS: Sendable, PrintsNothing {
  /// 64 KiB: tokens with many groups reach 16.
  package static let defaultLimit = 65_536

  /// `alg` as sent.
  package let algorithmName: Identifier
  /// nil when `alg` is `none`, an HMAC algorithm or unknown: such a token never verifies.
  package var algorithm: Algorithm? { Algorithm(algorithmName) }
  package let keyID: Identifier?
  /// `typ` as sent.
  package let type: Identifier?
  /// The header, not to be trusted.
  package let unverifiedHeader: JSONObject
  /// The payload, not to be trusted. It need not be JSON.
  package let unverifiedPayload: [UInt8]
  let signingInput: [UInt8]
  let signature: [UInt8]

  /// Takes a compact JWS apart: exactly three parts of strict base64url, a header that passes `StrictJSON` and has `alg`.
  ///
  /// Throws `tooLarge`, `malformed`, and `criticalHeader` for any `crit` ([RFC 7515
  /// §4.1.11](https://www.rfc-editor.org/rfc/rfc7515#section-4.1.11)) or `b64` (RFC 7797). `none` parses, so that the refusal can be named;
  /// nothing verifies it.
  package static func parse(_ compact: [UInt8], limit: Int = defaultLimit) throws(JOSEError) -> UnverifiedJWS {
    guard compact.count <= limit else { throw .tooLarge }
    let parts = compact.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    guard parts.count == 3 else { throw .malformed("not three parts") }
    guard let headerBytes = Base64URL.decode(parts[0]), let payload = Base64URL.decode(parts[1]), let signature = Base64URL.decode(parts[2])
    else { throw .malformed("not base64url") }
    let header: JSONObject
    do { header = try StrictJSON.object(headerBytes, limit: StrictJSON.Limit(bytes: limit, depth: 8)) } catch {
      throw .malformed("header is no strict JSON object")
    }
    guard header["crit"] == nil, header["b64"] == nil else { throw .criticalHeader }
    guard let algorithmName = header["alg"]?.identifier else { throw .malformed("no alg") }
    return UnverifiedJWS(
      algorithmName: algorithmName, keyID: try name("kid", of: header), type: try name("typ", of: header), unverifiedHeader: header,
      unverifiedPayload: payload, signingInput: Array(compact[..<parts[1].endIndex]), signature: signature)
  }

  /// Takes a compact JWS apart.
  package static func parse(_ compact: String, limit: Int = defaultLimit) throws(JOSEError) -> UnverifiedJWS {
    try parse(Array(compact.utf8), limit: limit)
  }

  private static func name(_ member: Identifier, of header: JSONObject) throws(JOSEError) -> Identifier? {
    guard let value = header[member] else { return nil }
    guard let name = value.identifier else { throw .malformed("header member of the wrong type") }
    return name
  }

  /// The payload as a JSON object, not to be trusted: for finding the issuer of a token whose keys are not known yet.
  package func unverifiedClaims() throws(JOSEError) -> JSONObject { try Self.claims(unverifiedPayload) }

  fileprivate static func claims(_ payload: [UInt8]) throws(JOSEError) -> JSONObject {
    do { return try StrictJSON.object(payload, limit: StrictJSON.Limit(bytes: defaultLimit)) } catch { throw .badPayload }
  }
}

/// A token whose signature is right. Only `JSONWebKeySet.verify` makes one. Who issued it, for whom and until when is for the caller to
/// check.
package struct VerifiedJWS: Sendable, PrintsNothing {
  package let algorithm: Algorithm
  package let keyID: Identifier?
  /// `typ` as sent.
  package let type: Identifier?
  package let header: JSONObject
  /// The payload: a JSON object that passed `StrictJSON`.
  package let claims: JSONObject

  init(_ token: UnverifiedJWS, _ algorithm: Algorithm) throws(JOSEError) {
    self.algorithm = algorithm
    keyID = token.keyID
    type = token.type
    header = token.unverifiedHeader
    claims = try UnverifiedJWS.claims(token.unverifiedPayload)
  }

  /// `typ` is this media type, with or without `application/`, in any case
  /// ([RFC 7515 §4.1.9](https://www.rfc-editor.org/rfc/rfc7515#section-4.1.9)).
  package func hasType(_ name: StaticString) -> Bool {
    guard let type else { return false }
    func lowered(_ text: some Sequence<UInt8>) -> [UInt8] { text.map { $0 &- 65 < 26 ? $0 | 0x20 : $0 } }
    let asked = lowered("\(name)".utf8)
    let sent = lowered(type.bytes)
    return sent == asked || sent == Array("application/".utf8) + asked
  }
}
