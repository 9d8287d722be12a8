import IntercomCore
import StrictJSON
import Testing

@Suite("Strict JSON (S36)")
struct StrictJSONTests {
  private func parse(_ text: String, _ limit: StrictJSON.Limit = .standard, _ top: StrictJSON.TopLevel = .any) throws -> JSONValue {
    try StrictJSON.parse(Array(text.utf8), limit: limit, topLevel: top)
  }

  @Test("values of every kind are read, white space around them is legal")
  func values() throws {
    let text = " \r\n\t{\"a\": [1, -2.5e1, true, false, null, \"x\\n\\u00e9\\ud83d\\ude00\\/\"], \"\": {}, \"b\":[]} "
    let value = try parse(text)
    #expect(
      value
        == [
          "a": [.int64(1), .double(-25), true, false, .null, "x\né😀/"], "": .object([:]), "b": .array([]),
        ])
    #expect(value.object?["a"]?.array?[1].int64 == -25)
    #expect(value.object?["nothing"] == nil)
  }

  @Test(
    "text that is not JSON is refused",
    arguments: [
      "", " ", "{", "}", "[", "{}{}", "{} x", "[1,]", "{\"a\":1,}", "[,1]", "{,}", "{\"a\"}", "{\"a\":}", "{a:1}", "{'a':1}", "[01]", "[-]",
      "[1.]", "[.5]", "[1e]", "[+1]", "[0x1]", "[NaN]", "[Infinity]", "[tru]", "[True]", "[nul]", "[\"\u{1}\"]", "[\"\n\"]", "[\"\\x41\"]",
      "[\"\\u12\"]", "[\"\\u12g4\"]", "[\"abc]", "[\"\\\"]", "[1 2]", "{\"a\":1 \"b\":2}", "[/*c*/1]", "[1]\u{0}", "\u{0}[1]",
      "\u{feff}[1]",
      "[\"\\ud800\"]", "[\"\\udc00\"]", "[\"\\ud800\\u0041\"]", "[\"\\ud800x\"]", "[1]\u{a0}", "[-01]", "[--1]",
    ])
  func malformed(text: String) { #expect(throws: StrictJSONError.self) { try parse(text) } }

  @Test("duplicate keys are refused at any level, also when one of them is escaped")
  func duplicateKeys() {
    for text in [
      "{\"a\":1,\"a\":1}", "{\"x\":{\"a\":1,\"b\":2,\"a\":3}}", "[{\"k\":1,\"k\":2}]", "{\"a\":1,\"\\u0061\":2}", "{\"\":1,\"\":2}",
      "{\"é\":1,\"\\u00e9\":2}",
    ] {
      #expect { try parse(text) } throws: { if case .duplicateKey = $0 as? StrictJSONError { true } else { false } }
    }
  }

  @Test("keys that differ only in their Unicode form are two keys, and the letter K is not the Kelvin sign")
  func canonicalEquivalence() throws {
    let object = try StrictJSON.object(Array("{\"\u{e9}\":1,\"e\u{301}\":2,\"\u{212a}id\":3}".utf8))
    #expect(object.count == 3)
    #expect(object["\u{e9}"] == 1)
    #expect(object["e\u{301}"] == 2)
    #expect(object["Kid"] == nil)
    struct Keyed: Decodable {
      enum CodingKeys: String, CodingKey { case kid = "Kid" }
      var kid: Int?
    }
    #expect(try StrictJSON.decode(Keyed.self, from: .object(object)).kid == nil)
    #expect(JSONValue.string("\u{e9}") != JSONValue.string("e\u{301}"))
  }

  @Test("UTF-16, a byte-order mark and invalid UTF-8 are refused, wherever they stand")
  func encodings() {
    let utf16 = Array("{\"a\":1}".utf16).flatMap { [UInt8(truncatingIfNeeded: $0), UInt8(truncatingIfNeeded: $0 >> 8)] }
    #expect(throws: StrictJSONError.self) { try StrictJSON.parse(utf16) }
    #expect(throws: StrictJSONError.wrongTopLevel) { try StrictJSON.object([0xef, 0xbb, 0xbf] + Array("{}".utf8)) }
    #expect(throws: StrictJSONError.notUTF8(offset: 2)) { try StrictJSON.parse([0x5b, 0x22, 0xff, 0x22, 0x5d]) }
    #expect(throws: StrictJSONError.self) { try StrictJSON.parse([0x5b, 0x22, 0xc0, 0x80, 0x22, 0x5d]) }
    #expect(throws: StrictJSONError.self) { try StrictJSON.parse([0x5b, 0x22, 0xed, 0xa0, 0x80, 0x22, 0x5d]) }
  }

  @Test("the size, the depth and the kind of the top level are limited")
  func limits() throws {
    #expect(throws: StrictJSONError.tooLarge) { try parse("[1,2,3]", StrictJSON.Limit(bytes: 6)) }
    _ = try parse("[1,2,3]", StrictJSON.Limit(bytes: 7))
    _ = try parse(String(repeating: "[", count: 32) + String(repeating: "]", count: 32))
    #expect(throws: StrictJSONError.tooDeep(offset: 32)) { try parse(String(repeating: "[", count: 100_000).prefix(60_000).description) }
    #expect(throws: StrictJSONError.self) { try parse(String(repeating: "{\"a\":", count: 33) + "1" + String(repeating: "}", count: 33)) }
    #expect(throws: StrictJSONError.wrongTopLevel) { try parse("[]", .standard, .object) }
    #expect(throws: StrictJSONError.wrongTopLevel) { try parse("{}", .standard, .array) }
    #expect(throws: StrictJSONError.wrongTopLevel) { try parse("1", .standard, .object) }
  }

  @Test("numbers: whole ones stay whole, large ones become doubles, impossible ones are refused")
  func numbers() throws {
    #expect(try parse("[9223372036854775807]").array?.first == .int64(.max))
    #expect(try parse("[9223372036854775808]").array?.first == .double(9_223_372_036_854_775_808))
    #expect(try parse("[9223372036854775808]").array?.first?.int64 == nil)
    #expect(try parse("[1.0]").array?.first?.int64 == 1)
    #expect(try parse("[1.5]").array?.first?.int64 == nil)
    #expect(throws: StrictJSONError.numberOutOfRange(offset: 1)) { try parse("[1e400]") }
  }

  @Test("what is written is read back the same, members in the order of their bytes")
  func writing() throws {
    let value: JSONValue = ["b": [1, .double(0.5), .null, true], "a": "\"\\\u{0}\u{1f}\u{7f}/é😀", "é": .object([:])]
    #expect(try StrictJSON.parse(value.serialized) == value)
    #expect(
      String(decoding: JSONObject(dictionaryLiteral: ("b", 1), ("a", [2, "x"])).serialized, as: UTF8.self) == "{\"a\":[2,\"x\"],\"b\":1}")
  }

  @Test("Decodable types are read after the screening; faults name the path and no content")
  func decoding() throws {
    enum Kind: String, Decodable { case one, two }
    struct Inner: Decodable, Equatable {
      var numbers: [UInt8]
      var note: String?
    }
    struct Outer: Decodable {
      var kind: Kind
      var inner: [String: Inner]
      var sub: Identifier
      var at: WallInstant
      var raw: JSONValue
      var absent: Bool?
      var null: Int?
    }
    let text = "{\"kind\":\"two\",\"inner\":{\"x\":{\"numbers\":[1,255]}},\"sub\":\"e\u{301}\",\"at\":12,\"raw\":{\"k\":[1]},\"null\":null}"
    let outer = try StrictJSON.decode(Outer.self, from: Array(text.utf8))
    #expect(outer.kind == .two)
    #expect(outer.inner["x"] == Inner(numbers: [1, 255], note: nil))
    #expect(outer.sub == Identifier("e\u{301}") && outer.sub != Identifier("\u{e9}"))
    #expect(outer.at.seconds == 12 && outer.absent == nil && outer.null == nil)
    #expect(outer.raw == ["k": [1]])
    #expect(throws: StrictJSONError.mismatch(path: "inner.x.numbers.[1]", expected: "UInt8")) {
      try StrictJSON.decode(Outer.self, from: Array(text.replacing("255", with: "256").utf8))
    }
    #expect(throws: StrictJSONError.mismatch(path: "", expected: "member kind")) {
      try StrictJSON.decode(Outer.self, from: Array(text.replacing("kind", with: "kund").utf8))
    }
    #expect(throws: StrictJSONError.mismatch(path: "sub", expected: "a string")) {
      try StrictJSON.decode(Outer.self, from: Array(text.replacing("\"e\u{301}\"", with: "5").utf8))
    }
  }

  @Test("random mutations of a document never trap, and what passes is written and read back the same")
  func mutations() {
    let seed = Array("{\"keys\":[{\"kty\":\"EC\",\"n\":-1.5e3,\"x\":\"\\u00e9\\ud83d\\ude00\"},null,true,[[]],{}],\"a\":\"b\"}".utf8)
    var state: UInt64 = 0x9e37_79b9_7f4a_7c15
    func next() -> UInt64 {
      state ^= state << 13
      state ^= state >> 7
      state ^= state << 17
      return state
    }
    let marks = Array("\"\\{}[],:u".utf8)
    var accepted = 0
    for _ in 0..<20_000 {
      var text = seed
      for _ in 0...(next() % 3) {
        let index = Int(next() % UInt64(text.count))
        switch next() % 3 {
        case 0: text[index] = UInt8(truncatingIfNeeded: next())
        case 1: text.remove(at: index)
        default: text.insert(marks[Int(next() % UInt64(marks.count))], at: index)
        }
      }
      if let value = try? StrictJSON.parse(text) {
        accepted += 1
        #expect((try? StrictJSON.parse(value.serialized)) == value)
      }
    }
    #expect(accepted > 0)
  }
}
