import IntercomCore

/// Why a form or query cannot be read.
package enum FormError: Error, Sendable, Hashable {
  case tooLong, tooManyFields, badEscape
}

/// How often a name occurs. Code that decides takes `once` only: of two values one reader takes the first, another the last (S19).
package enum Occurrence: Sendable, Hashable {
  case absent
  case once([UInt8])
  case repeated
}

/// The fields of `application/x-www-form-urlencoded` bytes, a form's body or a query (WHATWG URL §5.1): names and values decoded once, in
/// order, duplicates kept.
package struct FormFields: Sendable, PrintsNothing {
  package struct Field: Sendable, Hashable {
    package var name: [UInt8]
    package var value: [UInt8]
  }
  package private(set) var all: [Field] = []

  package init() {}

  /// Bounded in bytes and in fields.
  package init(parsing bytes: [UInt8], maximumBytes: Int = 64 << 10, maximumFields: Int = 64) throws(FormError) {
    guard bytes.count <= maximumBytes else { throw .tooLong }
    for piece in bytes.split(separator: UInt8(ascii: "&")) {
      guard all.count < maximumFields else { throw .tooManyFields }
      let equals = piece.firstIndex(of: UInt8(ascii: "=")) ?? piece.endIndex
      guard let name = PercentCoding.decode(piece[..<equals], plusIsSpace: true),
        let value = PercentCoding.decode(piece[equals...].dropFirst(), plusIsSpace: true)
      else { throw .badEscape }
      all.append(Field(name: name, value: value))
    }
  }

  package mutating func append(_ name: String, _ value: String) {
    all.append(Field(name: Array(name.utf8), value: Array(value.utf8)))
  }

  /// How often the name occurs, and its value when it occurs once.
  package func occurrence(_ name: String) -> Occurrence {
    let name = Array(name.utf8)
    var found: [UInt8]?
    for field in all where field.name == name {
      if found != nil { return .repeated }
      found = field.value
    }
    return found.map { .once($0) } ?? .absent
  }

  /// The value when the name occurs exactly once and its value is valid UTF-8.
  package func single(_ name: String) -> String? {
    guard case .once(let value) = occurrence(name) else { return nil }
    return String(validating: value, as: UTF8.self)
  }

  /// At least one name occurs more than once.
  package var hasRepeatedNames: Bool { Set(all.map(\.name)).count != all.count }

  /// The fields as they stand in a body or behind a `?`; a space is `+`.
  package var encoded: [UInt8] {
    var out: [UInt8] = []
    for field in all {
      if !out.isEmpty { out.append(UInt8(ascii: "&")) }
      out += Self.encode(field.name)
      out.append(UInt8(ascii: "="))
      out += Self.encode(field.value)
    }
    return out
  }

  /// `encoded` as text.
  package var encodedString: String { String(decoding: encoded, as: UTF8.self) }

  private static func encode(_ bytes: [UInt8]) -> [UInt8] {
    PercentCoding.encode(bytes, keeping: " ").map { $0 == UInt8(ascii: " ") ? UInt8(ascii: "+") : $0 }
  }
}
