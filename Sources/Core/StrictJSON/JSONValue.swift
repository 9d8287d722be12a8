import IntercomCore

/// A JSON value ([RFC 8259](https://www.rfc-editor.org/rfc/rfc8259)). Equality is byte-wise: two strings that are canonically equivalent in
/// Unicode but spelt differently are two values.
package enum JSONValue: Sendable, Hashable {
  case null
  case bool(Bool)
  /// A number without fraction and exponent that fits 64 bits.
  case int64(Int64)
  /// Any other number; always finite.
  case double(Double)
  case string(String)
  case array([JSONValue])
  case object(JSONObject)

  package static func == (left: Self, right: Self) -> Bool {
    switch (left, right) {
    case (.null, .null): true
    case (.bool(let a), .bool(let b)): a == b
    case (.int64(let a), .int64(let b)): a == b
    case (.double(let a), .double(let b)): a == b
    case (.string(let a), .string(let b)): Identifier(a) == Identifier(b)
    case (.array(let a), .array(let b)): a == b
    case (.object(let a), .object(let b)): a == b
    default: false
    }
  }

  package func hash(into hasher: inout Hasher) {
    switch self {
    case .null: hasher.combine(0)
    case .bool(let value): hasher.combine(value)
    case .int64(let value): hasher.combine(value)
    case .double(let value): hasher.combine(value)
    case .string(let value): hasher.combine(Identifier(value))
    case .array(let value): hasher.combine(value)
    case .object(let value): hasher.combine(value)
    }
  }

  package var isNull: Bool { if case .null = self { true } else { false } }
  package var bool: Bool? { if case .bool(let value) = self { value } else { nil } }
  package var string: String? { if case .string(let value) = self { value } else { nil } }
  /// The string as something that decides: compared byte by byte.
  package var identifier: Identifier? { string.map { Identifier($0) } }
  package var array: [JSONValue]? { if case .array(let value) = self { value } else { nil } }
  package var object: JSONObject? { if case .object(let value) = self { value } else { nil } }
  /// The number when it is whole and fits (also when written as `1.0` or `1e2`).
  package var int64: Int64? {
    switch self {
    case .int64(let value): value
    case .double(let value): Int64(exactly: value)
    default: nil
    }
  }
  package var double: Double? {
    switch self {
    case .int64(let value): Double(value)
    case .double(let value): value
    default: nil
    }
  }
}

/// The members of a JSON object. Keys are compared and ordered by their UTF-8 bytes, and are unique.
package struct JSONObject: Sendable, Hashable, ExpressibleByDictionaryLiteral {
  package struct Member: Sendable, Hashable {
    package let key: Identifier
    package var value: JSONValue
    package init(_ key: Identifier, _ value: JSONValue) {
      self.key = key
      self.value = value
    }
  }

  /// In ascending order of the keys' bytes.
  package private(set) var members: [Member]

  package init() { members = [] }

  /// Of two members with the same key the last one stays: for values written in code. Parsed text with such members is refused.
  package init(dictionaryLiteral elements: (Identifier, JSONValue)...) {
    members = []
    for (key, value) in elements { self[key] = value }
  }

  /// nil when two members have the same key.
  package init?(_ unordered: [Member]) {
    members = unordered.sorted { $0.key < $1.key }
    for (left, right) in zip(members, members.dropFirst()) where left.key == right.key { return nil }
  }

  package var isEmpty: Bool { members.isEmpty }
  package var count: Int { members.count }

  /// The value of that key, nil when absent. Setting nil removes the member.
  package subscript(key: Identifier) -> JSONValue? {
    get {
      let index = position(of: key)
      return index < members.count && members[index].key == key ? members[index].value : nil
    }
    set {
      let index = position(of: key)
      let found = index < members.count && members[index].key == key
      switch (found, newValue) {
      case (true, .some(let value)): members[index].value = value
      case (true, .none): members.remove(at: index)
      case (false, .some(let value)): members.insert(Member(key, value), at: index)
      case (false, .none): break
      }
    }
  }

  /// Where the key is, or would be inserted.
  private func position(of key: Identifier) -> Int {
    var low = 0
    var high = members.count
    while low < high {
      let middle = (low + high) / 2
      if members[middle].key < key { low = middle + 1 } else { high = middle }
    }
    return low
  }
}

extension JSONValue: ExpressibleByStringLiteral, ExpressibleByIntegerLiteral, ExpressibleByBooleanLiteral, ExpressibleByArrayLiteral,
  ExpressibleByDictionaryLiteral
{
  package init(stringLiteral value: String) { self = .string(value) }
  package init(integerLiteral value: Int64) { self = .int64(value) }
  package init(booleanLiteral value: Bool) { self = .bool(value) }
  package init(arrayLiteral elements: JSONValue...) { self = .array(elements) }
  package init(dictionaryLiteral elements: (Identifier, JSONValue)...) {
    var object = JSONObject()
    for (key, value) in elements { object[key] = value }
    self = .object(object)
  }
}
