/// Eight bytes at once, bounds-checked. "Unsafe" in the load's name is about types whose bits may be invalid: any 64 bits are a UInt64.
@inline(__always) func load8(_ bytes: borrowing Span<UInt8>, _ at: Int) -> UInt64 {
  bytes.bytes.unsafeLoadUnaligned(fromByteOffset: at, as: UInt64.self)
}
