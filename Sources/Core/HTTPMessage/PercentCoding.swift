/// Percent escapes on bytes (RFC 3986 §2.1); FoundationEssentials has none for these.
package enum PercentCoding {
  /// The byte that two hexadecimal digits write, or nil.
  @inline(__always) package static func byte(_ high: UInt8, _ low: UInt8) -> UInt8? {
    guard let first = digit(high), let second = digit(low) else { return nil }
    return first &<< 4 | second
  }

  @inline(__always) private static func digit(_ byte: UInt8) -> UInt8? {
    if byte &- 48 < 10 { return byte &- 48 }
    let letter = (byte | 0x20) &- 97
    return letter < 6 ? letter &+ 10 : nil
  }

  /// Decodes every escape once; nil when one is broken. With `plusIsSpace` a `+` is a space (forms).
  package static func decode(_ bytes: some Collection<UInt8>, plusIsSpace: Bool = false) -> [UInt8]? {
    var out: [UInt8] = []
    out.reserveCapacity(bytes.count)
    var rest = bytes.makeIterator()
    while let next = rest.next() {
      switch next {
      case UInt8(ascii: "%"):
        guard let high = rest.next(), let low = rest.next(), let decoded = byte(high, low) else { return nil }
        out.append(decoded)
      case UInt8(ascii: "+") where plusIsSpace: out.append(UInt8(ascii: " "))
      default: out.append(next)
      }
    }
    return out
  }

  /// Escapes everything but unreserved characters (RFC 3986 §2.3) and the bytes of `keeping`.
  package static func encode(_ bytes: some Sequence<UInt8>, keeping: StaticString = "") -> [UInt8] {
    let kept = Array("\(keeping)".utf8)
    let digits = Array("0123456789ABCDEF".utf8)
    var out: [UInt8] = []
    for byte in bytes {
      if isUnreserved(byte) || kept.contains(byte) {
        out.append(byte)
      } else {
        out += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
      }
    }
    return out
  }

  /// `encode` for text.
  package static func encode(_ text: String, keeping: StaticString = "") -> String {
    String(decoding: encode(text.utf8, keeping: keeping), as: UTF8.self)
  }

  private static func isUnreserved(_ byte: UInt8) -> Bool {
    (byte | 0x20) &- 97 < 26 || byte &- 48 < 10 || [45, 46, 95, 126].contains(byte)
  }
}
