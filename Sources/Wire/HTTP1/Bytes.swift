import HTTPMessage

// Eight bytes at a time, every load bounds-checked. "Unsafe" in the load's name is about types whose bits may be invalid: any 64 bits are
// a UInt64.

@inline(__always) func load2(_ bytes: borrowing Span<UInt8>, _ at: Int) -> UInt16 {
  bytes.bytes.unsafeLoadUnaligned(fromByteOffset: at, as: UInt16.self)
}
@inline(__always) func load4(_ bytes: borrowing Span<UInt8>, _ at: Int) -> UInt32 {
  bytes.bytes.unsafeLoadUnaligned(fromByteOffset: at, as: UInt32.self)
}
@inline(__always) func load8(_ bytes: borrowing Span<UInt8>, _ at: Int) -> UInt64 {
  bytes.bytes.unsafeLoadUnaligned(fromByteOffset: at, as: UInt64.self)
}

/// ASCII letters folded to lower case. Bytes that are not token characters may become one another: fold only what has been checked.
@inline(__always) func fold2(_ bytes: borrowing Span<UInt8>, _ at: Int) -> UInt16 { load2(bytes, at) | 0x2020 }
@inline(__always) func fold4(_ bytes: borrowing Span<UInt8>, _ at: Int) -> UInt32 { load4(bytes, at) | 0x2020_2020 }
@inline(__always) func fold8(_ bytes: borrowing Span<UInt8>, _ at: Int) -> UInt64 { load8(bytes, at) | 0x2020_2020_2020_2020 }

private let ones: UInt64 = 0x0101_0101_0101_0101
private let highs: UInt64 = 0x8080_8080_8080_8080

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

/// A letter, a digit or `-`: what nearly all field names are made of.
@inline(__always) func isPlainName(_ byte: UInt8) -> Bool {
  (byte | 0x20) &- 97 < 26 || byte &- 48 < 10 || byte == 45
}

@inline(__always) func isBlank(_ byte: UInt8) -> Bool { byte == ASCII.space || byte == ASCII.tab }

@inline(__always) func lowercase(_ byte: UInt8) -> UInt8 { byte &- 65 < 26 ? byte | 0x20 : byte }

@inline(__always) func hexValue(_ byte: UInt8) -> Int? {
  if byte &- 48 < 10 { return Int(byte &- 48) }
  let letter = (byte | 0x20) &- 97
  return letter < 6 ? Int(letter) &+ 10 : nil
}

/// The high bit of each byte that is zero. Exact up to and including the lowest one, which is the only one that is used.
@inline(__always) private func zeros(_ word: UInt64) -> UInt64 { (word &- ones) & ~word & highs }

/// The first byte at or after `from` that is below `limit` or DEL, or `bytes.count`.
@inline(__always) func skipText(_ bytes: borrowing Span<UInt8>, _ from: Int, below limit: UInt8) -> Int {
  var at = from
  let count = bytes.count
  let limits = ones &* UInt64(limit)
  while at &+ 8 <= count {
    let word = load8(bytes, at)
    let marks = ((word &- limits) & ~word & highs) | zeros(word ^ 0x7f7f_7f7f_7f7f_7f7f)
    if marks != 0 { return at &+ (marks.trailingZeroBitCount &>> 3) }
    at &+= 8
  }
  while at < count, bytes[at] >= limit, bytes[at] != 0x7f { at &+= 1 }
  return at
}

/// The first byte in `from ..< to` that is not a letter, digit or `-`, or `to`.
@inline(__always) func skipPlainName(_ bytes: borrowing Span<UInt8>, _ from: Int, _ to: Int) -> Int {
  var at = from
  while at &+ 8 <= to {
    let word = load8(bytes, at)
    // Bytes of 128 and more are cut to seven bits for the range tests, and then taken out.
    let seven = word & ~highs
    let folded = seven | 0x2020_2020_2020_2020
    let letters = (folded &+ 0x1f1f_1f1f_1f1f_1f1f) & ~(folded &+ 0x0505_0505_0505_0505)
    let digits = (seven &+ 0x5050_5050_5050_5050) & ~(seven &+ 0x4646_4646_4646_4646)
    let hyphens = ~((seven ^ 0x2d2d_2d2d_2d2d_2d2d) &+ 0x7f7f_7f7f_7f7f_7f7f)
    let plain = (letters | digits | hyphens) & ~word & highs
    if plain != highs { return at &+ ((~plain & highs).trailingZeroBitCount &>> 3) }
    at &+= 8
  }
  while at < to, isPlainName(bytes[at]) { at &+= 1 }
  return at
}

/// The first `byte` in `from ..< to`, or `to`.
@inline(__always) func find(_ byte: UInt8, _ bytes: borrowing Span<UInt8>, _ from: Int, _ to: Int) -> Int {
  var at = from
  let pattern = ones &* UInt64(byte)
  while at &+ 8 <= to {
    let marks = zeros(load8(bytes, at) ^ pattern)
    if marks != 0 { return at &+ (marks.trailingZeroBitCount &>> 3) }
    at &+= 8
  }
  while at < to, bytes[at] != byte { at &+= 1 }
  return at
}

/// Whether `range` is this lower-case word, whatever the case of its letters.
func equalsFolded(_ bytes: borrowing Span<UInt8>, _ range: ByteRange, _ lower: StaticString) -> Bool {
  guard range.count == lower.utf8CodeUnitCount, range.upper <= bytes.count else { return false }
  return lower.withUTF8Buffer { word in
    for index in 0..<word.count where lowercase(bytes[range.lower &+ index]) != word[index] { return false }
    return true
  }
}
