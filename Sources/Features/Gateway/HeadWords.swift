/// Eight bytes at once, bounds-checked. "Unsafe" in the load's name is about types whose bits may be invalid: any 64 bits are a UInt64.
@inline(__always) func load8(_ bytes: borrowing Span<UInt8>, _ at: Int) -> UInt64 {
  bytes.bytes.unsafeLoadUnaligned(fromByteOffset: at, as: UInt64.self)
}

/// The high bit of each byte that is zero. Exact up to and including the lowest one; a 1 behind a zero may count as well.
@inline(__always) func zeroBytes(_ word: UInt64) -> UInt64 { (word &- 0x0101_0101_0101_0101) & ~word & 0x8080_8080_8080_8080 }

/// The high bit of each byte of `word` that is `byte`, all of them exact.
@inline(__always) func equalBytes(_ word: UInt64, _ byte: UInt8) -> UInt64 {
  let difference = word ^ (0x0101_0101_0101_0101 &* UInt64(byte))
  return ~(((difference & 0x7f7f_7f7f_7f7f_7f7f) &+ 0x7f7f_7f7f_7f7f_7f7f) | difference | 0x7f7f_7f7f_7f7f_7f7f)
}

/// The same at the end of `bytes`, which are eight at least: zeros behind it.
@inline(__always) func loadUpTo8(_ bytes: borrowing Span<UInt8>, _ at: Int) -> UInt64 {
  if at &+ 8 <= bytes.count { return load8(bytes, at) }
  return load8(bytes, bytes.count &- 8) >> UInt64(8 &* (at &+ 8 &- bytes.count))
}
