import IntercomCore

/// The fields of a message for endpoints and calls out, in order, duplicates kept (RFC 9110 §5). The warm path never builds one.
package struct Fields: Sendable, ExpressibleByDictionaryLiteral, PrintsNothing {
  package struct Field: Sendable {
    package var name: String
    package var value: [UInt8]
    package init(name: String, value: [UInt8]) {
      self.name = name
      self.value = value
    }
  }
  package private(set) var all: [Field] = []

  package init() {}
  package init(_ pairs: KeyValuePairs<String, String>) {
    for (name, value) in pairs { append(name, value) }
  }
  package init(dictionaryLiteral elements: (String, String)...) {
    for (name, value) in elements { append(name, value) }
  }

  package mutating func append(_ name: String, _ value: String) { append(name, bytes: Array(value.utf8)) }
  package mutating func append(_ name: String, bytes: [UInt8]) { all.append(Field(name: name, value: bytes)) }

  /// Removes every field of that name and adds this one.
  package mutating func set(_ name: String, _ value: String) {
    remove(FieldName(name))
    append(name, value)
  }
  package mutating func remove(_ name: FieldName) { all.removeAll { FieldName($0.name) == name } }

  /// All values of that name, in order.
  package func values(_ name: FieldName) -> [[UInt8]] { all.filter { FieldName($0.name) == name }.map(\.value) }

  /// The value of that name when there is exactly one field of it and it is valid UTF-8; a repeated field is never silently one of its twins.
  package func single(_ name: FieldName) -> String? {
    let found = values(name)
    guard found.count == 1 else { return nil }
    return String(validating: found[0], as: UTF8.self)
  }

  /// The media type of Content-Type in lower case, without parameters; nil when the field is absent, repeated or no text
  /// ([RFC 9110 §8.3.1](https://www.rfc-editor.org/rfc/rfc9110#section-8.3.1)).
  package var mediaType: Identifier? {
    guard let value = single("content-type") else { return nil }
    let type = value.utf8.prefix { $0 != UInt8(ascii: ";") && $0 != 32 && $0 != 9 }
    return type.isEmpty ? nil : FieldName(bytes: type).lowercased
  }
}
