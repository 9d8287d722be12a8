import IntercomCore

/// Keys in order: the first seals, all open. Keys are rotated by putting a new one in front and dropping the last when what it sealed is
/// gone.
///
/// A sealed value is `version (1) ‖ key id (4) ‖ salt (16) ‖ nonce (12) ‖ ciphertext ‖ tag (16)`. Every message has a key of its own,
/// derived from the ring's key and the salt, so that random nonces can be drawn for ever (with one AES-GCM key they may collide after 2³²
/// messages: five days at 10,000 a second). The key id saves attempts; version and id are authenticated too.
package struct KeyRing: Sendable {
  /// One key of a ring.
  package struct Key: Sendable {
    /// Says which key sealed a value; derived from the key, tells nothing about it.
    package let id: [UInt8]
    fileprivate let sealing: Secret<[UInt8]>
    fileprivate let derivation: Secret<[UInt8]>
  }

  /// Shortest key, in bytes: the strength of AES-256.
  package static let minimumKeyLength = 32
  /// What sealing adds to a plaintext, in bytes.
  package static let overhead = 1 + idLength + saltLength + AEAD.nonceLength + AEAD.tagLength
  private static let version: UInt8 = 1
  private static let idLength = 4
  private static let saltLength = 16

  /// The first one seals.
  package let keys: [Key]
  private let first: Key
  private let random: any RandomSource

  /// Throws `noKeys`, or `keyTooShort` when one has less than 32 bytes.
  package init(_ secrets: [Secret<[UInt8]>], random: any RandomSource = SystemRandom()) throws(CryptographyError) {
    var keys: [Key] = []
    for secret in secrets {
      let bytes = secret.reveal()
      guard bytes.count >= Self.minimumKeyLength else { throw .keyTooShort }
      keys.append(
        Key(
          id: try hkdfSHA256(key: bytes, info: Self.label("key id"), count: Self.idLength),
          sealing: Secret(try hkdfSHA256(key: bytes, info: Self.label("seal"))),
          derivation: Secret(try hkdfSHA256(key: bytes, info: Self.label("derive")))))
    }
    guard let first = keys.first else { throw .noKeys }
    self.keys = keys
    self.first = first
    self.random = random
  }

  private static func label(_ purpose: String) -> [UInt8] { Array("intercom key ring 1: \(purpose)".utf8) }

  /// Seals with the first key. `context` is bound to the value (associated data): the same bytes must be given to open it, so a value of
  /// one record or purpose cannot be put in the place of another.
  package func seal(_ plaintext: [UInt8], context: [UInt8]) throws(CryptographyError) -> [UInt8] {
    let salt = random.bytes(Self.saltLength)
    let nonce = random.bytes(AEAD.nonceLength)
    let key = messageKey(first, salt: salt)
    let sealed = try AEAD.seal(plaintext, key: key, nonce: nonce, associatedData: [Self.version] + first.id + context)
    return [Self.version] + first.id + salt + nonce + sealed
  }

  /// The plaintext, or nil for every failure alike (foreign, cut, changed, another context, a dropped key). Each does at least one whole
  /// decryption, so that neither answer nor time tells which it was.
  package func open(_ sealed: [UInt8], context: [UInt8]) -> [UInt8]? {
    let wellFormed = sealed.count >= Self.overhead && sealed.first == Self.version
    let box = wellFormed ? sealed : [UInt8](repeating: 0, count: max(Self.overhead, sealed.count))
    let id = Array(box[1..<(1 + Self.idLength)])
    let salt = Array(box[(1 + Self.idLength)..<(1 + Self.idLength + Self.saltLength)])
    let body = 1 + Self.idLength + Self.saltLength + AEAD.nonceLength
    let nonce = Array(box[(body - AEAD.nonceLength)..<body])
    let ciphertext = Array(box[body...])
    var candidates = keys.filter { $0.id == id }
    if candidates.isEmpty { candidates = [first] }
    for key in candidates {
      let attempt = AEAD.open(
        ciphertext, key: messageKey(key, salt: salt), nonce: nonce, associatedData: [Self.version] + id + context)
      if let attempt, wellFormed { return attempt }
    }
    return nil
  }

  private func messageKey(_ key: Key, salt: [UInt8]) -> [UInt8] { hmacSHA256(key: key.sealing.reveal(), salt) }

  /// A key of 32 bytes for another purpose than sealing, such as `csrf` ([RFC 5869](https://www.rfc-editor.org/rfc/rfc5869)). Every replica
  /// with the same ring derives the same.
  package func subkey(_ purpose: String, of key: Key) throws(CryptographyError) -> Secret<[UInt8]> {
    Secret(try hkdfSHA256(key: key.derivation.reveal(), info: Self.label("subkey \(purpose)")))
  }

  /// The subkeys of that purpose of all keys, in the ring's order: make with the first, accept all.
  package func subkeys(_ purpose: String) throws(CryptographyError) -> [Secret<[UInt8]>] {
    var all: [Secret<[UInt8]>] = []
    for key in keys { all.append(try subkey(purpose, of: key)) }
    return all
  }
}
