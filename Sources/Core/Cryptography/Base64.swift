/// base64url without padding ([RFC 4648 §5](https://www.rfc-editor.org/rfc/rfc4648#section-5), RFC 7515 §2), strict: one value has exactly
/// one spelling, so encoded forms may be compared.
package enum Base64URL {
  private static let codec = Base64Codec(
    alphabet: Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_".utf8), pads: false)

  /// The encoded bytes (ASCII).
  package static func encodedBytes(_ bytes: some Collection<UInt8>) -> [UInt8] { codec.encode(bytes) }
  package static func encode(_ bytes: some Collection<UInt8>) -> String { String(decoding: codec.encode(bytes), as: UTF8.self) }

  /// nil for padding, white space, another alphabet, an impossible length, or bits that are left over and not zero.
  package static func decode(_ text: some Collection<UInt8>) -> [UInt8]? { codec.decode(text) }
  package static func decode(_ text: String) -> [UInt8]? { codec.decode(text.utf8) }
}

/// base64 with padding ([RFC 4648 §4](https://www.rfc-editor.org/rfc/rfc4648#section-4)), strict.
package enum Base64 {
  private static let codec = Base64Codec(
    alphabet: Array("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/".utf8), pads: true)

  /// The encoded bytes (ASCII).
  package static func encodedBytes(_ bytes: some Collection<UInt8>) -> [UInt8] { codec.encode(bytes) }
  package static func encode(_ bytes: some Collection<UInt8>) -> String { String(decoding: codec.encode(bytes), as: UTF8.self) }

  /// nil for missing or wrong padding, white space, another alphabet, or bits that are left over and not zero.
  package static func decode(_ text: some Collection<UInt8>) -> [UInt8]? { codec.decode(text) }
  package static func decode(_ text: String) -> [UInt8]? { codec.decode(text.utf8) }
}

/// Both alphabets of RFC 4648.
private struct Base64Codec: Sendable {
  private static let padding = UInt8(ascii: "=")
  private static let invalid: UInt8 = 255

  let alphabet: [UInt8]
  let values: [UInt8]
  let pads: Bool

  init(alphabet: [UInt8], pads: Bool) {
    var values = [UInt8](repeating: Self.invalid, count: 256)
    for (value, character) in alphabet.enumerated() { values[Int(character)] = UInt8(truncatingIfNeeded: value) }
    self.alphabet = alphabet
    self.values = values
    self.pads = pads
  }

  func encode(_ bytes: some Collection<UInt8>) -> [UInt8] {
    var out: [UInt8] = []
    out.reserveCapacity(bytes.count / 3 * 4 + 4)
    var bits: UInt32 = 0
    var count: UInt32 = 0
    for byte in bytes {
      bits = bits << 8 | UInt32(byte)
      count += 8
      while count >= 6 {
        count -= 6
        out.append(alphabet[Int(bits >> count & 63)])
      }
    }
    if count > 0 { out.append(alphabet[Int(bits << (6 - count) & 63)]) }
    while pads, out.count % 4 != 0 { out.append(Self.padding) }
    return out
  }

  func decode(_ text: some Collection<UInt8>) -> [UInt8]? {
    var digits = text.count
    if pads {
      guard text.count % 4 == 0 else { return nil }
      digits -= text.suffix(2).count { $0 == Self.padding }
    }
    var out: [UInt8] = []
    out.reserveCapacity(digits / 4 * 3 + 3)
    var bits: UInt32 = 0
    var count: UInt32 = 0
    for character in text.prefix(digits) {
      let value = values[Int(character)]
      guard value != Self.invalid else { return nil }
      bits = bits << 6 | UInt32(value)
      count += 6
      if count >= 8 {
        count -= 8
        out.append(UInt8(truncatingIfNeeded: bits >> count))
        bits &= (1 << count) &- 1
      }
    }
    // One digit alone carries no byte; what is left over must be zero, else two texts would be one value.
    guard count < 6, bits == 0 else { return nil }
    // "A=B=" has two paddings in its last two places only if they are the very last: a digit between them is refused here.
    return text.dropFirst(digits).allSatisfy { $0 == Self.padding } ? out : nil
  }
}
