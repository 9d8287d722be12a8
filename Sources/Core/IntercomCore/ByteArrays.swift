extension [UInt8] {
  /// Appends a copy of these bytes in one step.
  package mutating func append(copying bytes: borrowing Span<UInt8>) { bytes.withUnsafeBufferPointer { append(contentsOf: $0) } }

  /// A copy of these bytes.
  package init(copying bytes: borrowing Span<UInt8>) { self = bytes.withUnsafeBufferPointer { [UInt8]($0) } }
}
