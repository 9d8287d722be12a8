/// A value that never prints itself: passwords, tokens, codes, cookies, keys.
///
/// Every place that needs the value says `reveal()`, so that all uses can be found by one search. A secret is not `Equatable`: compare
/// revealed bytes with `Cryptography.constantTimeEqual`.
package struct Secret<Value: Sendable>: Sendable, CustomStringConvertible, CustomDebugStringConvertible, CustomReflectable {
  private let value: Value

  package init(_ value: Value) { self.value = value }

  /// The value itself. Never pass the result to a log, an error, a trace or a page.
  package func reveal() -> Value { value }

  package var description: String { "<redacted>" }
  package var debugDescription: String { "<redacted>" }
  package var customMirror: Mirror { Mirror(self, children: []) }
}

extension Secret: Encodable where Value: Encodable {
  /// Only the sealed session codec encodes secrets; configuration dumps print `description`.
  package func encode(to encoder: any Encoder) throws { try value.encode(to: encoder) }
}

extension Secret: Decodable where Value: Decodable {
  package init(from decoder: any Decoder) throws { self.init(try Value(from: decoder)) }
}
