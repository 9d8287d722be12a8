import IntercomCore

/// Reads one JSON document from its bytes (RFC 8259 §2–§7), once, from left to right.
struct JSONParser {
  private let bytes: [UInt8]
  private let maximumDepth: Int
  private var index = 0

  init(_ bytes: [UInt8], maximumDepth: Int) {
    self.bytes = bytes
    self.maximumDepth = maximumDepth
  }

  mutating func document(_ topLevel: StrictJSON.TopLevel) throws(StrictJSONError) -> JSONValue {
    try checkUTF8()
    skipSpace()
    switch (topLevel, peek()) {
    case (.object, UInt8(ascii: "{")), (.array, UInt8(ascii: "[")), (.any, .some): break
    default: throw .wrongTopLevel
    }
    let value = try value(depth: 1)
    skipSpace()
    guard index == bytes.count else { throw .malformed(offset: index) }
    return value
  }

  /// The whole text, also what nobody will read. A byte-order mark is valid UTF-8, but RFC 8259 §8.1 forbids to send one: the grammar
  /// refuses it. So it does UTF-16, for the sake of its NULs.
  private func checkUTF8() throws(StrictJSONError) {
    guard String(validating: bytes, as: UTF8.self) == nil else { return }
    // Only for the message: the length of the longest valid beginning.
    var decoder = UTF8()
    var iterator = bytes.makeIterator()
    var offset = 0
    while case .scalarValue(let scalar) = decoder.decode(&iterator) { offset += UTF8.width(scalar) }
    throw .notUTF8(offset: offset)
  }

  private func peek() -> UInt8? { index < bytes.count ? bytes[index] : nil }

  private mutating func skipSpace() {
    while let byte = peek(), byte == 0x20 || byte == 0x0a || byte == 0x0d || byte == 0x09 { index += 1 }
  }

  private mutating func take(_ expected: UInt8) throws(StrictJSONError) {
    guard peek() == expected else { throw .malformed(offset: index) }
    index += 1
  }

  private mutating func value(depth: Int) throws(StrictJSONError) -> JSONValue {
    guard let byte = peek() else { throw .malformed(offset: index) }
    switch byte {
    case UInt8(ascii: "{"): return .object(try object(depth: depth))
    case UInt8(ascii: "["): return .array(try array(depth: depth))
    case UInt8(ascii: "\""): return .string(String(decoding: try string(), as: UTF8.self))
    case UInt8(ascii: "t"): return try word("true", .bool(true))
    case UInt8(ascii: "f"): return try word("false", .bool(false))
    case UInt8(ascii: "n"): return try word("null", .null)
    case UInt8(ascii: "-"), UInt8(ascii: "0")...UInt8(ascii: "9"): return try number()
    default: throw .malformed(offset: index)
    }
  }

  private mutating func word(_ word: StaticString, _ value: JSONValue) throws(StrictJSONError) -> JSONValue {
    for expected in "\(word)".utf8 { try take(expected) }
    return value
  }

  private mutating func object(depth: Int) throws(StrictJSONError) -> JSONObject {
    guard depth <= maximumDepth else { throw .tooDeep(offset: index) }
    index += 1
    skipSpace()
    var members: [JSONObject.Member] = []
    if peek() == UInt8(ascii: "}") {
      index += 1
      return JSONObject()
    }
    while true {
      let key = Identifier(bytes: try string())
      skipSpace()
      try take(UInt8(ascii: ":"))
      skipSpace()
      members.append(JSONObject.Member(key, try value(depth: depth + 1)))
      skipSpace()
      if peek() == UInt8(ascii: ",") {
        index += 1
        skipSpace()
        continue
      }
      try take(UInt8(ascii: "}"))
      guard let object = JSONObject(members) else { throw .duplicateKey(offset: index) }
      return object
    }
  }

  private mutating func array(depth: Int) throws(StrictJSONError) -> [JSONValue] {
    guard depth <= maximumDepth else { throw .tooDeep(offset: index) }
    index += 1
    skipSpace()
    var values: [JSONValue] = []
    if peek() == UInt8(ascii: "]") {
      index += 1
      return values
    }
    while true {
      values.append(try value(depth: depth + 1))
      skipSpace()
      if peek() == UInt8(ascii: ",") {
        index += 1
        skipSpace()
        continue
      }
      try take(UInt8(ascii: "]"))
      return values
    }
  }

  /// The bytes of a string after unescaping; they are valid UTF-8.
  private mutating func string() throws(StrictJSONError) -> [UInt8] {
    try take(UInt8(ascii: "\""))
    var out: [UInt8] = []
    while true {
      guard let byte = peek() else { throw .malformed(offset: index) }
      index += 1
      switch byte {
      case UInt8(ascii: "\""): return out
      case UInt8(ascii: "\\"): try escape(into: &out)
      case 0..<0x20: throw .malformed(offset: index - 1)
      default: out.append(byte)
      }
    }
  }

  private mutating func escape(into out: inout [UInt8]) throws(StrictJSONError) {
    guard let byte = peek() else { throw .malformed(offset: index) }
    index += 1
    switch byte {
    case UInt8(ascii: "\""), UInt8(ascii: "\\"), UInt8(ascii: "/"): out.append(byte)
    case UInt8(ascii: "b"): out.append(0x08)
    case UInt8(ascii: "f"): out.append(0x0c)
    case UInt8(ascii: "n"): out.append(0x0a)
    case UInt8(ascii: "r"): out.append(0x0d)
    case UInt8(ascii: "t"): out.append(0x09)
    case UInt8(ascii: "u"):
      let start = index
      var code = try fourDigits()
      if code >= 0xd800 && code < 0xdc00 {
        try take(UInt8(ascii: "\\"))
        try take(UInt8(ascii: "u"))
        let low = try fourDigits()
        guard low >= 0xdc00 && low < 0xe000 else { throw .malformed(offset: start) }
        code = 0x10000 + (code - 0xd800) << 10 + (low - 0xdc00)
      }
      guard let scalar = Unicode.Scalar(code) else { throw .malformed(offset: start) }  // a lone low surrogate
      out += Array(UTF8.encode(scalar) ?? UTF8.encodedReplacementCharacter)
    default: throw .malformed(offset: index - 1)
    }
  }

  private mutating func fourDigits() throws(StrictJSONError) -> UInt32 {
    var code: UInt32 = 0
    for _ in 0..<4 {
      guard let byte = peek() else { throw .malformed(offset: index) }
      let digit: UInt8
      switch byte {
      case UInt8(ascii: "0")...UInt8(ascii: "9"): digit = byte &- UInt8(ascii: "0")
      case UInt8(ascii: "a")...UInt8(ascii: "f"): digit = byte &- UInt8(ascii: "a") &+ 10
      case UInt8(ascii: "A")...UInt8(ascii: "F"): digit = byte &- UInt8(ascii: "A") &+ 10
      default: throw .malformed(offset: index)
      }
      index += 1
      code = code << 4 | UInt32(digit)
    }
    return code
  }

  private mutating func digits() -> Int {
    let start = index
    while let byte = peek(), byte &- UInt8(ascii: "0") < 10 { index += 1 }
    return index - start
  }

  private mutating func number() throws(StrictJSONError) -> JSONValue {
    let start = index
    if peek() == UInt8(ascii: "-") { index += 1 }
    let leading = peek()
    let whole = digits()
    guard whole > 0, whole == 1 || leading != UInt8(ascii: "0") else { throw .malformed(offset: start) }
    var isInteger = true
    if peek() == UInt8(ascii: ".") {
      isInteger = false
      index += 1
      guard digits() > 0 else { throw .malformed(offset: start) }
    }
    if peek() == UInt8(ascii: "e") || peek() == UInt8(ascii: "E") {
      isInteger = false
      index += 1
      if peek() == UInt8(ascii: "+") || peek() == UInt8(ascii: "-") { index += 1 }
      guard digits() > 0 else { throw .malformed(offset: start) }
    }
    let text = String(decoding: bytes[start..<index], as: UTF8.self)
    if isInteger, let value = Int64(text) { return .int64(value) }
    guard let value = Double(text), value.isFinite else { throw .numberOutOfRange(offset: start) }
    return .double(value)
  }
}
