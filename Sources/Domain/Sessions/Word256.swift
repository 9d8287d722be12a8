import Cryptography
import IntercomCore

/// 32 bytes in four words: hashed and compared without an allocation.
struct Word256: Hashable, Sendable {
  private var a: UInt64 = 0
  private var b: UInt64 = 0
  private var c: UInt64 = 0
  private var d: UInt64 = 0

  /// One word is enough: all that is ever stored under such a key is random or a hash, so whoever presents other keys cannot make stored ones
  /// collide.
  func hash(into hasher: inout Hasher) { hasher.combine(a) }

  static let byteCount = 32
  /// Digits of 32 bytes in base64url without padding.
  static let textCount = 43

  /// Nil unless there are exactly 32 bytes.
  init?(bytes: some Collection<UInt8>) {
    guard bytes.count == Self.byteCount else { return nil }
    for byte in bytes { shiftIn(8, UInt64(byte)) }
  }

  init(random: any RandomSource) {
    for byte in random.bytes(Self.byteCount).prefix(Self.byteCount) { shiftIn(8, UInt64(byte)) }
  }

  /// SHA-256 of a message.
  init(hashOf message: [UInt8]) {
    for byte in sha256(message) { shiftIn(8, UInt64(byte)) }
  }

  /// Exactly 43 digits of base64url ([RFC 4648 §5](https://www.rfc-editor.org/rfc/rfc4648#section-5)) whose two spare bits are zero: a value has
  /// one spelling only.
  init?(text: borrowing Span<UInt8>) {
    guard text.count == Self.textCount else { return nil }
    for index in 0..<(Self.textCount - 1) {
      guard let digit = Self.digit(text[index]) else { return nil }
      shiftIn(6, digit)
    }
    guard let last = Self.digit(text[Self.textCount - 1]), last & 3 == 0 else { return nil }
    shiftIn(4, last >> 2)
  }

  var bytes: [UInt8] {
    [a, b, c, d].flatMap { word in stride(from: 56, through: 0, by: -8).map { UInt8(truncatingIfNeeded: word >> UInt64($0)) } }
  }

  var text: [UInt8] { Base64URL.encodedBytes(bytes) }

  private mutating func shiftIn(_ count: UInt64, _ bits: UInt64) {
    a = a << count | b >> (64 - count)
    b = b << count | c >> (64 - count)
    c = c << count | d >> (64 - count)
    d = d << count | bits
  }

  private static func digit(_ byte: UInt8) -> UInt64? {
    switch byte {
    case UInt8(ascii: "A")...UInt8(ascii: "Z"): UInt64(byte) - 65
    case UInt8(ascii: "a")...UInt8(ascii: "z"): UInt64(byte) - 71
    case UInt8(ascii: "0")...UInt8(ascii: "9"): UInt64(byte) + 4
    case UInt8(ascii: "-"): 62
    case UInt8(ascii: "_"): 63
    default: nil
    }
  }
}
