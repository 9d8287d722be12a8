import Cryptography
import IntercomTesting
import Testing

/// A search that finds nothing proves nothing unless it finds what was planted.
@Suite("Canary search")
struct CanarySearchTests {
  private static let secret = "s3cr&t\"<canary>/+%é-0123456789abcdefGHIJKLMNOPQRSTUVWXYZ"

  private static func search() throws -> CanarySearch {
    var search = CanarySearch()
    try search.add("client secret", secret)
    try search.add("another", "another-canary-9876543210")
    return search
  }

  private static func hex(_ bytes: some Sequence<UInt8>, separator: String, prefix: String = "") -> String {
    bytes.map { prefix + ($0 < 16 ? "0" : "") + String($0, radix: 16) }.joined(separator: separator)
  }

  private static func percent(_ bytes: some Sequence<UInt8>) -> String { "%" + hex(bytes, separator: "%").uppercased() }

  private static func jsonEscaped(_ text: String) -> String {
    text.utf16.map { "\\u" + String(String(0x10000 + Int($0), radix: 16).dropFirst()) }.joined()
  }

  private static func html(_ text: String) -> String {
    text.replacing("&", with: "&amp;").replacing("<", with: "&lt;").replacing("\"", with: "&quot;")
  }

  /// Each form in its usual spellings.
  private static func spellings(_ form: CanaryForm, _ text: String) -> [[UInt8]] {
    let bytes = Array(text.utf8)
    return switch form {
    case .raw: [bytes]
    case .percent: [Array(percent(bytes).utf8), Array(percent(Array(percent(bytes).utf8)).utf8)]
    case .escaped:
      [Array(jsonEscaped(text).utf8), Array(html(text).utf8), Array(text.replacing("\"", with: "\\\"").replacing("/", with: "\\/").utf8)]
    case .base64:
      ["", "a", "ab", "intercom:"].flatMap { before in
        [Base64.encodedBytes(Array(before.utf8) + bytes), Base64URL.encodedBytes(Array(before.utf8) + bytes + [7])]
      }
    case .hex:
      [
        Array(hex(bytes, separator: "").utf8), Array(hex(bytes, separator: " ").uppercased().utf8), Array(hex(bytes, separator: ":").utf8),
        Array(hex(bytes, separator: ", ", prefix: "0x").utf8),
      ]
    case .decimal: [Array("\(bytes)".utf8), Array(bytes.map { "  - \($0)\n" }.joined().utf8)]
    case .wide: [bytes.flatMap { [$0, 0] }]
    }
  }

  @Test("a planted secret is found in every form, whole and cut to any 15 bytes of it", arguments: CanaryForm.allCases)
  func planted(form: CanaryForm) throws {
    let search = try Self.search()
    for spelling in Self.spellings(form, Self.secret) {
      let finds = search.search("log", Array("{\"message\":\"before ".utf8) + spelling + Array(" after\"}".utf8))
      #expect(finds.map(\.secret) == ["client secret"], "\(form): \(finds)")
    }
    // From 21 on its bytes are single characters.
    let digits = Array(Self.secret.utf8).dropFirst(21)
    for start in digits.indices where start + 15 <= digits.endIndex {
      let piece = String(decoding: digits[start..<(start + 15)], as: UTF8.self)
      for spelling in Self.spellings(form, piece) {
        #expect(!search.search("log", Array("<<".utf8) + spelling + Array(">>".utf8)).isEmpty, "\(form) from \(start)")
      }
    }
  }

  @Test("the first and the last twelve bytes alone are found, eleven are not")
  func ends() throws {
    let search = try Self.search()
    let bytes = Array(Self.secret.utf8)
    #expect(search.search("log", Array(bytes.prefix(12))).count == 1)
    #expect(search.search("log", Array(bytes.suffix(12))).count == 1)
    #expect(search.search("log", Array(bytes.suffix(11))).isEmpty)
  }

  @Test("a find names the secret, the sink and the form, and shows nothing of the secret")
  func report() throws {
    let find = try #require(try Self.search().search("stderr", "the answer was another-canary-9876543210").first)
    #expect(find.description == "another is in stderr as raw, after \"the answer was\"")
    let cut = try #require(try Self.search().search("stderr", "token Zother-canary-9876543210").first)
    #expect(!cut.description.contains("canary") && !cut.description.contains("98765"))
  }

  @Test("what is allowed is cut out, and only that")
  func allowed() throws {
    let search = try Self.search().allowing(["another-canary-9876543210"])
    #expect(search.search("page", "x another-canary-9876543210 y").isEmpty)
    #expect(search.search("page", "x another-canary-987654321 y").count == 1)
    #expect(search.search("page", "another-canary-9876543210 \(Self.secret)").map(\.secret) == ["client secret"])
  }

  @Test("a secret too short to be told from chance is refused, harmless text is not found")
  func bounds() throws {
    var search = try Self.search()
    #expect(throws: CanaryTooShort.self) { try search.add("short", "12345678901") }
    let harmless = (0..<2_000).map { "line \($0): GET /fs/x 200 [1, 2, 3] 0x1f a=b&c=d 48 3d 00 f0\n" }.joined()
    #expect(search.search("log", harmless).isEmpty)
    #expect(search.count == 2)
  }
}
