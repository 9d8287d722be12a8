import HTTPMessage

/// The high bit of each byte of `word` that is `byte`, all of them exact.
@inline(__always) func equalBytes(_ word: UInt64, _ byte: UInt8) -> UInt64 {
  let difference = word ^ ByteWord.all(byte)
  return ~(((difference & ByteWord.sevens) &+ ByteWord.sevens) | difference | ByteWord.sevens)
}

/// Eight bytes at once, also at the end of `bytes`, which are eight at least: zeros behind it.
@inline(__always) func loadUpTo8(_ bytes: borrowing Span<UInt8>, _ at: Int) -> UInt64 {
  if at &+ 8 <= bytes.count { return load8(bytes, at) }
  return load8(bytes, bytes.count &- 8) >> UInt64(8 &* (at &+ 8 &- bytes.count))
}
