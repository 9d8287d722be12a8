import HTTPMessage

/// The bytes of a sink with one kind of encoding undone.
enum CanaryViews {
  /// Every sound escape decoded once; broken ones stay.
  static func percentDecoded(_ bytes: [UInt8]) -> [UInt8] {
    guard bytes.contains(UInt8(ascii: "%")) else { return bytes }
    var out: [UInt8] = []
    var index = 0
    while index < bytes.count {
      if bytes[index] == UInt8(ascii: "%"), index + 2 < bytes.count, let byte = PercentCoding.byte(bytes[index + 1], bytes[index + 2]) {
        out.append(byte)
        index += 3
      } else {
        out.append(bytes[index])
        index += 1
      }
    }
    return out
  }

  private static let references: [(text: [UInt8], byte: UInt8)] = [
    ("&amp;", "&"), ("&lt;", "<"), ("&gt;", ">"), ("&quot;", "\""), ("&#39;", "'"), ("&apos;", "'"),
  ].map { (text: Array($0.0.utf8), byte: Array($0.1.utf8)[0]) }

  /// Without escapes: `\u` with four hexadecimal digits, `\x` with two, `\` before any other byte, and the character references of HTML.
  static func unescaped(_ bytes: [UInt8]) -> [UInt8] {
    var out: [UInt8] = []
    out.reserveCapacity(bytes.count)
    var index = 0
    while index < bytes.count {
      let rest = bytes[index...]
      switch bytes[index] {
      case UInt8(ascii: "\\") where rest.count >= 6 && rest[index + 1] == UInt8(ascii: "u"):
        guard let high = PercentCoding.byte(rest[index + 2], rest[index + 3]),
          let low = PercentCoding.byte(rest[index + 4], rest[index + 5])
        else { fallthrough }
        if let scalar = Unicode.Scalar(UInt16(high) << 8 | UInt16(low)) { out += Array(String(Character(scalar)).utf8) }
        index += 6
      case UInt8(ascii: "\\") where rest.count >= 4 && rest[index + 1] == UInt8(ascii: "x"):
        guard let byte = PercentCoding.byte(rest[index + 2], rest[index + 3]) else { fallthrough }
        out.append(byte)
        index += 4
      case UInt8(ascii: "\\") where rest.count >= 2:
        out.append(rest[index + 1])
        index += 2
      case UInt8(ascii: "&"):
        guard let reference = references.first(where: { rest.starts(with: $0.text) }) else { fallthrough }
        out.append(reference.byte)
        index += reference.text.count
      default:
        out.append(bytes[index])
        index += 1
      }
    }
    return out
  }

  /// Both alphabets of base64 as one, without line ends.
  static func oneAlphabet(_ bytes: [UInt8]) -> [UInt8] {
    bytes.compactMap { byte in
      switch byte {
      case UInt8(ascii: "-"): UInt8(ascii: "+")
      case UInt8(ascii: "_"): UInt8(ascii: "/")
      case 10, 13: nil
      default: byte
      }
    }
  }

  /// Hexadecimal digits in lower case with the white space, colons, commas, dashes and `0x` between them taken out.
  static func hexDigits(_ bytes: [UInt8]) -> [UInt8] {
    var out: [UInt8] = []
    out.reserveCapacity(bytes.count)
    for byte in bytes {
      switch byte {
      case UInt8(ascii: " "), UInt8(ascii: ":"), UInt8(ascii: ","), UInt8(ascii: "-"), 9, 10, 13: continue
      // The 0 of 0x has gone in already.
      case UInt8(ascii: "x"), UInt8(ascii: "X"): if out.last == UInt8(ascii: "0") { out.removeLast() }
      case UInt8(ascii: "A")...UInt8(ascii: "F"): out.append(byte | 0x20)
      default: out.append(byte)
      }
    }
    return out
  }

  /// The numbers from 0 to 255 of lists such as `[65, 66]` or the lines of `dump`, as bytes.
  static func decimalBytes(_ bytes: [UInt8]) -> [UInt8] {
    var out: [UInt8] = []
    var number: Int?
    for byte in bytes + [0] {
      switch byte {
      case UInt8(ascii: "0")...UInt8(ascii: "9"): number = min((number ?? 0) * 10 + Int(byte - UInt8(ascii: "0")), 1_000)
      default:
        if let ended = number, let value = UInt8(exactly: ended) { out.append(value) }
        // Words between numbers end a list.
        if byte | 0x20 >= UInt8(ascii: "a"), byte | 0x20 <= UInt8(ascii: "z") { out.append(0) }
        number = nil
      }
    }
    return out
  }
}
