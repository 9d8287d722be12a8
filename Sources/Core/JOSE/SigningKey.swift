import Cryptography
import IntercomCore
import OpenSSL
import StrictJSON

/// A private key with the one algorithm it signs with.
package struct SigningKey: Sendable {
  package let keyID: Identifier
  package let algorithm: Algorithm
  private let key: SignatureKey
  /// The public half as a JWK: `kty`, the numbers, `kid`, `alg`, `use`.
  package let publicJWK: JSONObject

  /// A new key; RSA keys have 2048 bits (0.1 to 0.5 s to make). Throws `signing`.
  package static func generate(_ algorithm: Algorithm, keyID: Identifier) throws(JOSEError) -> SigningKey {
    let kind: SignatureKey.Kind =
      switch algorithm {
      case .rs256, .rs384, .rs512, .ps256, .ps384, .ps512: .rsa(bits: 2048)
      case .es256: .ec(.p256)
      case .es384: .ec(.p384)
      case .es512: .ec(.p521)
      case .edDSA: .ed25519
      }
    do { return try SigningKey(SignatureKey.generate(kind), algorithm, keyID) } catch { throw .signing("\(error)") }
  }

  /// An Ed25519 key from its 32 secret bytes (RFC 8037 §2, member `d`). Throws `signing`.
  package init(ed25519Secret: Secret<[UInt8]>, keyID: Identifier) throws(JOSEError) {
    do { try self.init(SignatureKey(ed25519Secret: ed25519Secret.reveal()), .edDSA, keyID) } catch { throw .signing("\(error)") }
  }

  private init(_ key: SignatureKey, _ algorithm: Algorithm, _ keyID: Identifier) throws(OpenSSLError) {
    self.key = key
    self.algorithm = algorithm
    self.keyID = keyID
    var jwk: JSONObject =
      switch try key.publicNumbers() {
      case .rsa(let n, let e): ["kty": "RSA", "n": .string(Base64URL.encode(n)), "e": .string(Base64URL.encode(e))]
      case .ec(let curve, let x, let y):
        [
          "kty": "EC", "crv": .string(curve.name), "x": .string(Base64URL.encode(x)), "y": .string(Base64URL.encode(y)),
        ]
      case .ed25519(let x): ["kty": "OKP", "crv": "Ed25519", "x": .string(Base64URL.encode(x))]
      }
    jwk["kid"] = .string(keyID.description)
    jwk["alg"] = .string(algorithm.rawValue)
    jwk["use"] = "sig"
    publicJWK = jwk
  }

  /// A compact JWS over these claims. The header has `alg`, `kid` and `typ`; members of `header` replace `kid` and `typ` (null removes
  /// them) but never `alg`. Throws `signing`.
  package func sign(_ claims: JSONObject, type: String = "JWT", header extra: JSONObject = [:]) throws(JOSEError) -> String {
    try sign(payload: claims.serialized, type: type, header: extra)
  }

  /// A compact JWS over any bytes.
  package func sign(payload: [UInt8], type: String = "JWT", header extra: JSONObject = [:]) throws(JOSEError) -> String {
    var header: JSONObject = ["kid": .string(keyID.description), "typ": .string(type)]
    for member in extra.members { header[member.key] = member.value.isNull ? nil : member.value }
    header["alg"] = .string(algorithm.rawValue)
    let input = CompactJWS.signingInput(header: header, payload: payload)
    let signature: [UInt8]
    do { signature = try key.sign(algorithm.scheme, input) } catch { throw .signing("\(error)") }
    return CompactJWS.join(input, signature: signature)
  }
}

/// The compact form as text; what is inside is the caller's (tests forge tokens with it).
package enum CompactJWS {
  /// base64url(header) "." base64url(payload): what is signed.
  package static func signingInput(header: JSONObject, payload: [UInt8]) -> [UInt8] {
    Base64URL.encodedBytes(header.serialized) + [UInt8(ascii: ".")] + Base64URL.encodedBytes(payload)
  }

  package static func join(_ signingInput: [UInt8], signature: [UInt8]) -> String {
    String(decoding: signingInput + [UInt8(ascii: ".")] + Base64URL.encodedBytes(signature), as: UTF8.self)
  }
}

extension JSONWebKeySet {
  /// The public halves as a JWK Set document.
  package static func document(_ keys: [SigningKey]) -> [UInt8] {
    JSONValue.object(["keys": .array(keys.map { .object($0.publicJWK) })]).serialized
  }
}

extension EllipticCurve {
  fileprivate var name: String {
    switch self {
    case .p256: "P-256"
    case .p384: "P-384"
    case .p521: "P-521"
    }
  }
}
