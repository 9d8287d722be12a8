/// A name that decides something (`sub`, `iss`, `aud`, `sid`, a claim, a scope, a route), compared byte by byte.
///
/// Swift Strings compare by canonical equivalence: "é" composed and decomposed are equal, and two users would become one. Identifiers never
/// are: equality, hashing and order are those of the UTF-8 bytes.
package struct Identifier: Hashable, Sendable, Comparable, ExpressibleByStringLiteral, CustomStringConvertible {
  package let bytes: [UInt8]

  package init(_ string: String) { bytes = Array(string.utf8) }
  package init(bytes: some Sequence<UInt8>) { self.bytes = Array(bytes) }
  package init(stringLiteral value: String) { self.init(value) }

  /// The bytes as text; invalid UTF-8 is repaired, so this is for showing only, never for comparing.
  package var description: String { String(decoding: bytes, as: UTF8.self) }
  package var isEmpty: Bool { bytes.isEmpty }

  package static func < (left: Self, right: Self) -> Bool { left.bytes.lexicographicallyPrecedes(right.bytes) }
}

extension Identifier: Codable {
  package init(from decoder: any Decoder) throws { self.init(try decoder.singleValueContainer().decode(String.self)) }
  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    try container.encode(description)
  }
}
