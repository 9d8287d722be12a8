extension JSONValue {
  /// Compact JSON in UTF-8, members in the order of their keys' bytes: the same value always gives the same bytes.
  package var serialized: [UInt8] {
    var out: [UInt8] = []
    write(to: &out)
    return out
  }

  fileprivate func write(to out: inout [UInt8]) {
    switch self {
    case .null: out += Array("null".utf8)
    case .bool(let value): out += Array((value ? "true" : "false").utf8)
    case .int64(let value): out += Array(String(value).utf8)
    // JSON has no infinity and no NaN; a parsed value never holds one.
    case .double(let value): out += Array((value.isFinite ? value.description : "null").utf8)
    case .string(let value): Self.write(string: value.utf8, to: &out)
    case .array(let values):
      out.append(UInt8(ascii: "["))
      for (index, value) in values.enumerated() {
        if index > 0 { out.append(UInt8(ascii: ",")) }
        value.write(to: &out)
      }
      out.append(UInt8(ascii: "]"))
    case .object(let object): out += object.serialized
    }
  }

  fileprivate static func write(string: some Sequence<UInt8>, to out: inout [UInt8]) {
    let digits = Array("0123456789abcdef".utf8)
    out.append(UInt8(ascii: "\""))
    for byte in string {
      switch byte {
      case UInt8(ascii: "\""), UInt8(ascii: "\\"): out += [UInt8(ascii: "\\"), byte]
      case 0..<0x20, 0x7f: out += [UInt8(ascii: "\\"), UInt8(ascii: "u"), 48, 48, digits[Int(byte >> 4)], digits[Int(byte & 15)]]
      default: out.append(byte)
      }
    }
    out.append(UInt8(ascii: "\""))
  }
}

extension JSONObject {
  /// Compact JSON in UTF-8, members in the order of their keys' bytes.
  package var serialized: [UInt8] {
    var out: [UInt8] = [UInt8(ascii: "{")]
    for (index, member) in members.enumerated() {
      if index > 0 { out.append(UInt8(ascii: ",")) }
      // A key made from bytes that are no UTF-8 is repaired, for the text must be UTF-8.
      JSONValue.write(string: member.key.description.utf8, to: &out)
      out.append(UInt8(ascii: ":"))
      member.value.write(to: &out)
    }
    out.append(UInt8(ascii: "}"))
    return out
  }
}
