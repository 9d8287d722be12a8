import OpenSSL

/// Authenticated encryption with associated data: AES-256-GCM (NIST SP 800-38D).
///
/// The caller draws the nonce; with random nonces a key is good for 2³² messages. `KeyRing` has no such limit.
package enum AEAD {
  package static let keyLength = AES256GCM.keyLength
  package static let nonceLength = AES256GCM.nonceLength
  package static let tagLength = AES256GCM.tagLength

  /// Ciphertext and tag: `plaintext.count + 16` bytes.
  package static func seal(
    _ plaintext: [UInt8], key: [UInt8], nonce: [UInt8], associatedData: [UInt8]
  ) throws(CryptographyError) -> [UInt8] {
    guard key.count == keyLength, nonce.count == nonceLength, plaintext.count <= AES256GCM.maximumLength,
      associatedData.count <= AES256GCM.maximumLength
    else { throw .wrongLength }
    do { return try AES256GCM.seal(key: key, nonce: nonce, plaintext, associatedData: associatedData) } catch {
      throw .library(error.description)
    }
  }

  /// The plaintext, or nil for every failure alike.
  package static func open(_ sealed: [UInt8], key: [UInt8], nonce: [UInt8], associatedData: [UInt8]) -> [UInt8]? {
    AES256GCM.open(key: key, nonce: nonce, sealed, associatedData: associatedData)
  }
}
