import Cryptography
import IntercomCore
import OpenSSL

/// The signature algorithms that Intercom knows ([RFC 7518 §3.1](https://www.rfc-editor.org/rfc/rfc7518#section-3.1),
/// [RFC 8037 §3.1](https://www.rfc-editor.org/rfc/rfc8037#section-3.1)).
///
/// `none` and the HMAC algorithms cannot be represented: no token can talk a verifier into them.
package enum Algorithm: String, Sendable, CaseIterable, Hashable {
  case rs256 = "RS256"
  case rs384 = "RS384"
  case rs512 = "RS512"
  case ps256 = "PS256"
  case ps384 = "PS384"
  case ps512 = "PS512"
  case es256 = "ES256"
  case es384 = "ES384"
  case es512 = "ES512"
  case edDSA = "EdDSA"

  /// The algorithm of exactly this name; names are case-sensitive.
  package init?(_ name: Identifier) {
    guard let found = Self.allCases.first(where: { Identifier($0.rawValue) == name }) else { return nil }
    self = found
  }

  /// All of them: what a verifier accepts when nothing narrower is configured.
  package static let all = Set(allCases)

  var scheme: SignatureScheme {
    switch self {
    case .rs256: .rsaPKCS1(.sha256)
    case .rs384: .rsaPKCS1(.sha384)
    case .rs512: .rsaPKCS1(.sha512)
    case .ps256: .rsaPSS(.sha256)
    case .ps384: .rsaPSS(.sha384)
    case .ps512: .rsaPSS(.sha512)
    case .es256: .ecdsa(.p256, .sha256)
    case .es384: .ecdsa(.p384, .sha384)
    case .es512: .ecdsa(.p521, .sha512)
    case .edDSA: .ed25519
    }
  }

  /// The value of `at_hash` or `c_hash` for a token or code: base64url of the left half of its hash
  /// ([OpenID Connect Core §3.1.3.6](https://openid.net/specs/openid-connect-core-1_0.html#CodeIDToken)). The hash is the algorithm's own;
  /// Ed25519 has SHA-512 inside.
  package func leftHalfHash(of token: [UInt8]) -> String {
    let hash: [UInt8] =
      switch self {
      case .rs256, .ps256, .es256: sha256(token)
      case .rs384, .ps384, .es384: sha384(token)
      case .rs512, .ps512, .es512, .edDSA: sha512(token)
      }
    return Base64URL.encode(hash.prefix(hash.count / 2))
  }
}
