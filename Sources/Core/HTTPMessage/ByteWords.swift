// Eight bytes at a time, every load bounds-checked. "Unsafe" in the load's name is about types whose bits may be invalid: any 64 bits are
// a UInt64. Words are little-endian, so the lowest byte of a word is the first in memory.
//
// A test of eight bytes at once is arithmetic on the word whose sum in each byte reaches its high bit, or not; sums of seven bits never
// carry into the next byte. Such a test answers by the high bits (`ByteWord.highs`), one for each byte.

/// Patterns of eight equal bytes, and tests of eight bytes at once.
public enum ByteWord {
  @inlinable public static var ones: UInt64 { 0x0101_0101_0101_0101 }
  @inlinable public static var highs: UInt64 { 0x8080_8080_8080_8080 }
  @inlinable public static var sevens: UInt64 { 0x7f7f_7f7f_7f7f_7f7f }

  /// This byte eight times.
  @inlinable @inline(__always) public static func all(_ byte: UInt8) -> UInt64 { ones &* UInt64(byte) }

  /// Marks each byte that is zero. Exact up to and including the lowest mark, which is the only one to be used.
  @inlinable @inline(__always) public static func zeros(_ word: UInt64) -> UInt64 { (word &- ones) & ~word & highs }

  /// Marks each byte in `low ... high`. The bytes of `word` are below 128; so are the limits.
  @inlinable @inline(__always) public static func within(_ word: UInt64, _ low: UInt8, _ high: UInt8) -> UInt64 {
    (word &+ all(0x80 &- low)) & ~(word &+ all(0x7f &- high))
  }

  /// How many bytes stand before the lowest mark.
  @inlinable @inline(__always) public static func index(_ marks: UInt64) -> Int { marks.trailingZeroBitCount &>> 3 }

  /// All bits of the bytes before the lowest mark. There must be one.
  @inlinable @inline(__always) public static func before(_ marks: UInt64) -> UInt64 { (marks ^ (marks &- 1)) &>> 8 }

  /// Marks what is no letter, no digit and not `-`.
  @inlinable @inline(__always) public static func notPlainName(_ word: UInt64) -> UInt64 {
    let seven = word & sevens
    let plain = within(seven | all(0x20), 0x61, 0x7a) | within(seven, 0x30, 0x39) | within(seven, 0x2d, 0x2d)
    return (~plain | word) & highs
  }
}

/// Whether `size` bytes stand in `bytes` from `at` on. The same words as in the check of a load, which then costs nothing more.
@inlinable @inline(__always) public func hasBytes(_ bytes: borrowing Span<UInt8>, _ at: Int, _ size: Int) -> Bool {
  UInt(bitPattern: at) <= UInt(bitPattern: bytes.count) && size <= bytes.count &- at
}

@inlinable @inline(__always) public func load2(_ bytes: borrowing Span<UInt8>, _ at: Int) -> UInt16 {
  bytes.bytes.unsafeLoadUnaligned(fromByteOffset: at, as: UInt16.self)
}
@inlinable @inline(__always) public func load4(_ bytes: borrowing Span<UInt8>, _ at: Int) -> UInt32 {
  bytes.bytes.unsafeLoadUnaligned(fromByteOffset: at, as: UInt32.self)
}
@inlinable @inline(__always) public func load8(_ bytes: borrowing Span<UInt8>, _ at: Int) -> UInt64 {
  bytes.bytes.unsafeLoadUnaligned(fromByteOffset: at, as: UInt64.self)
}

/// The first `byte` in `from ..< to`, or `to`.
@inlinable @inline(__always)
public func find(_ byte: UInt8, _ bytes: borrowing Span<UInt8>, _ from: Int, _ to: Int) -> Int {
  var at = from
  let pattern = ByteWord.all(byte)
  while at < to, hasBytes(bytes, at, 8) {
    let marks = ByteWord.zeros(load8(bytes, at) ^ pattern)
    if marks != 0 { return min(at &+ ByteWord.index(marks), to) }
    at &+= 8
  }
  while at < to, bytes[at] != byte { at &+= 1 }
  return max(from, min(at, to))
}

/// The first byte at or after `from` that is no letter, no digit and not `-`, or `bytes.count`.
@inlinable @inline(__always)
public func skipPlainName(_ bytes: borrowing Span<UInt8>, _ from: Int) -> Int {
  var at = from
  while hasBytes(bytes, at, 8) {
    let marks = ByteWord.notPlainName(load8(bytes, at))
    if marks != 0 { return at &+ ByteWord.index(marks) }
    at &+= 8
  }
  while at < bytes.count {
    let byte = bytes[at]
    guard (byte | 0x20) &- 97 < 26 || byte &- 48 < 10 || byte == 45 else { break }
    at &+= 1
  }
  return at
}

/// The first control byte (below 0x20, or DEL) at or after `from`, or `bytes.count`.
@inlinable @inline(__always)
public func skipText(_ bytes: borrowing Span<UInt8>, _ from: Int) -> Int {
  var at = from
  while hasBytes(bytes, at, 32) {
    let words = bytes.bytes.unsafeLoadUnaligned(fromByteOffset: at, as: SIMD4<UInt64>.self)
    // One more, in seven bits, makes DEL the lowest value: control bytes are then 0 ... 0x20.
    let next = ((words & SIMD4(repeating: ByteWord.sevens)) &+ SIMD4(repeating: ByteWord.ones)) & SIMD4(repeating: ByteWord.sevens)
    let text = (next &+ SIMD4(repeating: ByteWord.all(0x80 - 0x21))) | words
    let both = text.lowHalf & text.highHalf
    if both[0] & both[1] & ByteWord.highs == ByteWord.highs {
      at &+= 32
      continue
    }
    for lane in 0..<3 {
      let marks = ~text[lane] & ByteWord.highs
      if marks != 0 { return at &+ 8 &* lane &+ ByteWord.index(marks) }
    }
    return at &+ 24 &+ ByteWord.index(~text[3] & ByteWord.highs)
  }
  while hasBytes(bytes, at, 8) {
    let word = load8(bytes, at)
    let next = ((word & ByteWord.sevens) &+ ByteWord.ones) & ByteWord.sevens
    let marks = ~((next &+ ByteWord.all(0x80 - 0x21)) | word) & ByteWord.highs
    if marks != 0 { return at &+ ByteWord.index(marks) }
    at &+= 8
  }
  while at < bytes.count, bytes[at] >= 0x20, bytes[at] != 0x7f { at &+= 1 }
  return at
}

/// How many bytes of `left` from `leftStart` on and of `right` from `rightStart` on are the same; up to seven fewer at the end of one of them.
@inlinable @inline(__always)
public func commonPrefix(_ left: borrowing Span<UInt8>, _ leftStart: Int, _ right: borrowing Span<UInt8>, _ rightStart: Int) -> Int {
  guard hasBytes(left, leftStart, 0), hasBytes(right, rightStart, 0) else { return 0 }
  let most = min(left.count &- leftStart, right.count &- rightStart)
  // From zero on, a load's look at its bounds is that of the loop.
  let left = left.extracting(leftStart..<leftStart &+ most).bytes
  let right = right.extracting(rightStart..<rightStart &+ most).bytes
  var same = 0
  while same &+ 32 <= most {
    let differences =
      left.unsafeLoadUnaligned(fromByteOffset: same, as: SIMD4<UInt64>.self)
      ^ right.unsafeLoadUnaligned(fromByteOffset: same, as: SIMD4<UInt64>.self)
    let both = differences.lowHalf | differences.highHalf
    if both[0] | both[1] != 0 { break }
    same &+= 32
  }
  while same &+ 8 <= most {
    let difference =
      left.unsafeLoadUnaligned(fromByteOffset: same, as: UInt64.self) ^ right.unsafeLoadUnaligned(fromByteOffset: same, as: UInt64.self)
    if difference != 0 { return same &+ difference.trailingZeroBitCount &>> 3 }
    same &+= 8
  }
  return same
}
