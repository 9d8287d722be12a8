/// A name that decides something (`sub`, `iss`, `aud`, `sid`, a claim, a scope, a route), compared byte by byte.
///
/// Swift Strings compare by canonical equivalence: "é" composed and decomposed are equal, and two users would become one. Identifiers never
/// are: equality, hashing and order are those of the UTF-8 bytes.
public struct Identifier: Hashable, Sendable, Comparable, ExpressibleByStringLiteral, CustomStringConvertible {
  public let bytes: [UInt8]

  @inlinable public init(_ string: String) { bytes = Array(string.utf8) }
  @inlinable public init(bytes: some Sequence<UInt8>) { self.bytes = Array(bytes) }
  @inlinable public init(stringLiteral value: String) { self.init(value) }

  /// The bytes as text; invalid UTF-8 is repaired, so this is for showing only, never for comparing.
  @inlinable public var description: String { String(decoding: bytes, as: UTF8.self) }
  @inlinable public var isEmpty: Bool { bytes.isEmpty }

  @inlinable public static func < (left: Self, right: Self) -> Bool { left.bytes.lexicographicallyPrecedes(right.bytes) }
}

extension Identifier: Codable {
  @inlinable public init(from decoder: any Decoder) throws { self.init(try decoder.singleValueContainer().decode(String.self)) }
  @inlinable public func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }
}
