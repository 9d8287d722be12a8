import HTTPMessage

/// ASCII letters folded to lower case. Bytes that are not token characters may become one another: fold only what has been checked.
@inline(__always) func fold2(_ bytes: borrowing Span<UInt8>, _ at: Int) -> UInt16 { load2(bytes, at) | 0x2020 }
@inline(__always) func fold8(_ bytes: borrowing Span<UInt8>, _ at: Int) -> UInt64 { load8(bytes, at) | 0x2020_2020_2020_2020 }

enum ASCII {
  static let tab: UInt8 = 0x09
  static let lf: UInt8 = 0x0a
  static let cr: UInt8 = 0x0d
  static let space: UInt8 = 0x20
  static let percent: UInt8 = 0x25
  static let comma: UInt8 = 0x2c
  static let dot: UInt8 = 0x2e
  static let slash: UInt8 = 0x2f
  static let colon: UInt8 = 0x3a
  static let semicolon: UInt8 = 0x3b
  static let equals: UInt8 = 0x3d
  static let question: UInt8 = 0x3f
}

/// tchar of RFC 9110 §5.6.2, as one bit per ASCII character.
@inline(__always) func isToken(_ byte: UInt8) -> Bool {
  let low: UInt64 = 0x03ff_6cfa_0000_0000
  let high: UInt64 = 0x57ff_ffff_c7ff_fffe
  return byte < 128 && ((byte < 64 ? low : high) &>> UInt64(byte & 63)) & 1 == 1
}

@inline(__always) func isBlank(_ byte: UInt8) -> Bool { byte == ASCII.space || byte == ASCII.tab }

@inline(__always) func lowercase(_ byte: UInt8) -> UInt8 { byte &- 65 < 26 ? byte | 0x20 : byte }

@inline(__always) func hexValue(_ byte: UInt8) -> Int? {
  if byte &- 48 < 10 { return Int(byte &- 48) }
  let letter = (byte | 0x20) &- 97
  return letter < 6 ? Int(letter) &+ 10 : nil
}

/// Whether `range` is this lower-case word, whatever the case of its letters.
package func equalsFolded(_ bytes: borrowing Span<UInt8>, _ range: ByteRange, _ lower: StaticString) -> Bool {
  guard range.count == lower.utf8CodeUnitCount, range.upper <= bytes.count else { return false }
  return lower.withUTF8Buffer { word in
    for index in 0..<word.count where lowercase(bytes[range.lower &+ index]) != word[index] { return false }
    return true
  }
}
