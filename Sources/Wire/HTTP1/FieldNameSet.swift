import HTTPMessage

/// A few field names beyond `FieldID`, such as the identity fields that a route sets, found without allocation.
public struct FieldNameSet: Sendable, Hashable, ExpressibleByArrayLiteral {
  @usableFromInline var names: [[UInt8]] = []
  /// One bit per length modulo 64: most fields are told apart by it alone.
  @usableFromInline var lengths: UInt64 = 0

  package init() {}
  @usableFromInline package init(_ names: [FieldName]) { for name in names { insert(name) } }
  @inlinable public init(arrayLiteral names: FieldName...) { self.init(names) }

  package var isEmpty: Bool { names.isEmpty }

  package mutating func insert(_ name: FieldName) {
    let bytes = name.lowercased.bytes
    guard !names.contains(bytes) else { return }
    names.append(bytes)
    lengths |= 1 &<< UInt64(bytes.count & 63)
  }

  /// Takes in all names of `other`.
  package mutating func formUnion(_ other: FieldNameSet) {
    for name in other.names { insert(FieldName(bytes: name)) }
  }

  /// Whether the name in `range` is one of these, whatever the case of its letters.
  @inlinable public func contains(_ bytes: borrowing Span<UInt8>, _ range: ByteRange) -> Bool {
    guard (lengths &>> UInt64(range.count & 63)) & 1 == 1, range.upper <= bytes.count else { return false }
    return search(bytes, range, unified: false)
  }

  /// Like `contains`, where every token character that is neither letter nor digit counts as `-`.
  package func containsTwin(_ bytes: borrowing Span<UInt8>, _ range: ByteRange) -> Bool {
    guard (lengths &>> UInt64(range.count & 63)) & 1 == 1, range.upper <= bytes.count else { return false }
    return search(bytes, range, unified: true)
  }

  @usableFromInline func search(_ bytes: borrowing Span<UInt8>, _ range: ByteRange, unified: Bool) -> Bool {
    candidates: for name in names where name.count == range.count {
      for offset in 0..<name.count {
        let byte = bytes[range.lower &+ offset]
        if unified ? FieldTwin.unify(byte) != FieldTwin.unify(name[offset]) : lowercase(byte) != name[offset] { continue candidates }
      }
      return true
    }
    return false
  }
}

/// Names that some upstream reads as another (S4): CGI and its heirs turn `-` and `_`, and some every other sign, into one character.
package enum FieldTwin {
  @inline(__always) static func unify(_ byte: UInt8) -> UInt8 {
    (byte | 0x20) &- 97 < 26 ? byte | 0x20 : byte &- 48 < 10 ? byte : UInt8(ascii: "-")
  }

  /// Whether this name, or a name that it shadows, is one of `ids` or `names`.
  package static func isGuarded(_ name: borrowing Span<UInt8>, ids: FieldIDSet, names: FieldNameSet) -> Bool {
    guard name.count <= longest else { return false }
    if names.containsTwin(name, ByteRange(0, name.count)) { return true }
    return ids.contains(shadowed(name, ByteRange(0, name.count)))
  }

  /// The known name that this one is or shadows.
  package static func shadowed(_ bytes: borrowing Span<UInt8>, _ range: ByteRange) -> FieldID {
    guard range.count <= longest, range.upper <= bytes.count else { return .other }
    var unified: [UInt8] = []
    unified.reserveCapacity(range.count)
    for at in range.lower..<range.upper { unified.append(unify(bytes[at])) }
    return FieldID.lookup(unified.span, 0, unified.count)
  }

  /// Far longer than any name that means something.
  private static let longest = 256
}
