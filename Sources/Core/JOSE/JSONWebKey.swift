import Cryptography
import IntercomCore
import OpenSSL
import StrictJSON

/// A public key that may verify signatures, with the algorithms it may be used for: both are settled when the key is loaded, and nothing in
/// a token can change them ([RFC 7517 §4](https://www.rfc-editor.org/rfc/rfc7517#section-4)).
package struct JSONWebKey: Sendable {
  /// Why a key of a set is not used. The rest of the set is.
  package enum Refusal: Error, Sendable, Hashable {
    case notAnObject
    /// `kty` or `crv` is absent, unknown, or symmetric (`oct`).
    case unsupportedType
    /// `alg` is unknown, or does not belong to this type of key.
    case unsupportedAlgorithm
    /// The key is sound, but its algorithms are not among those allowed.
    case algorithmNotAllowed
    /// `use` or `key_ops` says that it is not for verifying signatures.
    case notForSignatures
    /// The set publishes the private half: anybody could sign with it.
    case privateKeyPublished
    /// A number is absent, not base64url, of the wrong length, out of range, or not a point of the curve.
    case badNumbers
    /// `kid`, `use`, `alg` or `key_ops` is of the wrong JSON type.
    case badMember
    /// More keys than the limit, or too many with the same `kid`.
    case tooMany
  }

  package let keyID: Identifier?
  /// Never empty.
  package let algorithms: Set<Algorithm>
  private let key: SignatureKey

  /// Reads one member of `keys`. Of its members `jku`, `x5u`, `x5c`, `x5t` nothing is read.
  package init(_ value: JSONValue, allowed: Set<Algorithm>) throws(Refusal) {
    guard case .object(let jwk) = value else { throw .notAnObject }
    keyID = try Self.name("kid", of: jwk)
    try Self.checkUse(jwk)
    let (numbers, fitting) = try Self.publicNumbers(jwk)
    guard jwk["d"] == nil else { throw .privateKeyPublished }
    var algorithms = fitting
    if let name = try Self.name("alg", of: jwk) {
      guard let declared = Algorithm(name), fitting.contains(declared) else { throw .unsupportedAlgorithm }
      algorithms = [declared]
    }
    algorithms.formIntersection(allowed)
    guard !algorithms.isEmpty else { throw .algorithmNotAllowed }
    self.algorithms = algorithms
    do { key = try SignatureKey(public: numbers) } catch { throw .badNumbers }
  }

  /// [RFC 7517 §4.2](https://www.rfc-editor.org/rfc/rfc7517#section-4.2) and §4.3: what is stated must allow verifying.
  private static func checkUse(_ jwk: JSONObject) throws(Refusal) {
    if let use = try name("use", of: jwk), use != "sig" { throw .notForSignatures }
    guard let operations = jwk["key_ops"] else { return }
    guard case .array(let names) = operations else { throw .badMember }
    guard names.contains("verify") else { throw .notForSignatures }
  }

  private static func name(_ member: Identifier, of jwk: JSONObject) throws(Refusal) -> Identifier? {
    guard let value = jwk[member] else { return nil }
    guard let name = value.identifier else { throw .badMember }
    return name
  }

  private static func publicNumbers(_ jwk: JSONObject) throws(Refusal) -> (SignatureKey.PublicNumbers, Set<Algorithm>) {
    switch (jwk["kty"]?.identifier, jwk["crv"]?.identifier) {
    case ("RSA", _):
      return (
        .rsa(n: try number("n", of: jwk), e: try number("e", of: jwk)), [.rs256, .rs384, .rs512, .ps256, .ps384, .ps512]
      )
    case ("EC", "P-256"): return (.ec(.p256, x: try number("x", of: jwk), y: try number("y", of: jwk)), [.es256])
    case ("EC", "P-384"): return (.ec(.p384, x: try number("x", of: jwk), y: try number("y", of: jwk)), [.es384])
    case ("EC", "P-521"): return (.ec(.p521, x: try number("x", of: jwk), y: try number("y", of: jwk)), [.es512])
    case ("OKP", "Ed25519"): return (.ed25519(x: try number("x", of: jwk)), [.edDSA])
    default: throw .unsupportedType
    }
  }

  private static func number(_ member: Identifier, of jwk: JSONObject) throws(Refusal) -> [UInt8] {
    guard let text = jwk[member]?.string, let bytes = Base64URL.decode(text), !bytes.isEmpty else { throw .badNumbers }
    return bytes
  }

  func verifies(_ algorithm: Algorithm, _ message: [UInt8], signature: [UInt8]) -> Bool {
    algorithms.contains(algorithm) && key.verify(algorithm.scheme, message, signature: signature)
  }
}
