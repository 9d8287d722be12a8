/// Eight bytes at once, bounds-checked. "Unsafe" in the load's name is about types whose bits may be invalid: any 64 bits are a UInt64.
@inline(__always) func load8(_ bytes: borrowing Span<UInt8>, _ at: Int) -> UInt64 {
  bytes.bytes.unsafeLoadUnaligned(fromByteOffset: at, as: UInt64.self)
}

/// The high bit of each byte that is zero. Exact up to and including the lowest one; a 1 behind a zero may count as well.
@inline(__always) func zeroBytes(_ word: UInt64) -> UInt64 { (word &- 0x0101_0101_0101_0101) & ~word & 0x8080_8080_8080_8080 }

/// The first `byte` in `from ..< to`, or `to`.
@inline(__always) func find(_ byte: UInt8, _ bytes: borrowing Span<UInt8>, _ from: Int, _ to: Int) -> Int {
  var at = from
  let pattern = 0x0101_0101_0101_0101 &* UInt64(byte)
  while at &+ 8 <= to {
    let marks = zeroBytes(load8(bytes, at) ^ pattern)
    if marks != 0 { return at &+ (marks.trailingZeroBitCount &>> 3) }
    at &+= 8
  }
  while at < to, bytes[at] != byte { at &+= 1 }
  return at
}
