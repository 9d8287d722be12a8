import Cryptography
import IntercomCore

/// Makes and checks the CSRF token: base64url(HMAC-SHA256(subkey `csrf`, session id)). It needs no store, so every replica with the same key
/// ring can check it, and it cannot outlive or leave its session.
package struct CSRFTokens: Sendable {
  /// Digits of a token.
  package static let length = Word256.textCount
  private let keys: [Secret<[UInt8]>]
  private let random: any RandomSource

  package init(keys: KeyRing, random: any RandomSource) throws(CryptographyError) {
    self.keys = try keys.subkeys("csrf")
    self.random = random
  }

  /// The token of this session, made with the first key.
  package func token(for id: SessionID) -> [UInt8] { keys.first.map { Self.token($0, id) } ?? randomToken() }

  /// A value of the same form that never verifies: for answers without a session, whose token must not be empty.
  package func randomToken() -> [UInt8] { Word256(random: random).text }

  /// Is it the token of this session under any key? The time does not depend on where it differs, nor on which key made it.
  package func verify(_ token: borrowing Span<UInt8>, for id: SessionID) -> Bool {
    var matches = false
    for key in keys {
      let expected = Self.token(key, id)
      let equal = constantTimeEqual(token, expected.span)
      matches = matches || equal
    }
    return matches
  }
  package func verify(_ token: [UInt8], for id: SessionID) -> Bool { verify(token.span, for: id) }

  private static func token(_ key: Secret<[UInt8]>, _ id: SessionID) -> [UInt8] {
    Base64URL.encodedBytes(hmacSHA256(key: key.reveal(), id.bytes))
  }
}
