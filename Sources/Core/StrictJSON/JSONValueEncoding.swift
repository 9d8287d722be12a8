import IntercomCore

/// Inside `Encodable` types (session records). Where nothing but a `JSONValue` is written, `serialized` is the direct way.
extension JSONValue: Encodable {
  package func encode(to encoder: any Encoder) throws {
    var container = encoder.singleValueContainer()
    switch self {
    case .null: try container.encodeNil()
    case .bool(let value): try container.encode(value)
    case .int64(let value): try container.encode(value)
    case .double(let value): try container.encode(value)
    case .string(let value): try container.encode(value)
    case .array(let values): try container.encode(values)
    case .object(let object): try container.encode(object)
    }
  }
}

extension JSONObject: Encodable {
  private struct MemberName: CodingKey {
    let stringValue: String
    var intValue: Int? { nil }
    init(stringValue: String) { self.stringValue = stringValue }
    init?(intValue: Int) { return nil }
  }

  /// Throws for two keys that are canonically equivalent in Unicode: other encoders would keep only one of them.
  package func encode(to encoder: any Encoder) throws {
    guard Set(members.map(\.key.description)).count == members.count else {
      throw EncodingError.invalidValue(
        self, EncodingError.Context(codingPath: encoder.codingPath, debugDescription: "keys differ in their Unicode form only"))
    }
    var container = encoder.container(keyedBy: MemberName.self)
    for member in members { try container.encode(member.value, forKey: MemberName(stringValue: member.key.description)) }
  }
}
