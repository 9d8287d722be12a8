import IntercomCore

/// A field name as it is compared: ASCII, lower case.
public struct FieldName: Hashable, Sendable, ExpressibleByStringLiteral, CustomStringConvertible {
  public let lowercased: Identifier

  /// Lower-cases ASCII letters; anything else stays as it is.
  @inlinable public init(_ name: String) { lowercased = Identifier(bytes: name.utf8.map { $0 &- 65 < 26 ? $0 | 0x20 : $0 }) }
  @inlinable public init(bytes: some Sequence<UInt8>) { lowercased = Identifier(bytes: bytes.map { $0 &- 65 < 26 ? $0 | 0x20 : $0 }) }
  @inlinable public init(stringLiteral value: String) { self.init(value) }
  @inlinable public var description: String { lowercased.description }
}
