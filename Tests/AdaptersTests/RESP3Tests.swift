import IntercomTesting
import SessionStoreRedis
import Testing

@Suite("Redis' protocol")
struct RESP3Tests {
  static let transcript = Array(
    """
    +OK\r\n:-42\r\n$5\r\na\r\nbc\r\n$0\r\n\r\n_\r\n$-1\r\n*-1\r\n#t\r\n,3.25\r\n(340282366920938463463\r\n-ERR no such thing\r\n!9\r\nNOSCRIPT \r\n\
    =7\r\ntxt:abc\r\n*2\r\n:1\r\n*1\r\n$1\r\nx\r\n~1\r\n+a\r\n%1\r\n+k\r\n:7\r\n|1\r\n+ttl\r\n:3\r\n:9\r\n*0\r\n>2\r\n$10\r\ninvalidate\r\n*1\r\n$1\r\nk\r\n\
    *2\r\n|1\r\n+a\r\n+b\r\n:1\r\n:2\r\n
    """.utf8)

  static let values: [RESP3Value] = [
    .bytes(Array("OK".utf8)), .integer(-42), .bytes(Array("a\r\nbc".utf8)), .bytes([]), .null, .null, .null, .other(Array("t".utf8)),
    .other(Array("3.25".utf8)), .other(Array("340282366920938463463".utf8)), .error(Array("ERR no such thing".utf8)),
    .error(Array("NOSCRIPT ".utf8)), .bytes(Array("abc".utf8)), .array([.integer(1), .array([.bytes([120])])]), .array([.bytes([97])]),
    .map([.bytes([107]), .integer(7)]), .integer(9), .array([]), .push([.bytes(Array("invalidate".utf8)), .array([.bytes([107])])]),
    .array([.integer(1), .integer(2)]),
  ]

  /// All values, the bytes given in pieces of this size.
  static func read(_ bytes: [UInt8], by piece: Int, limits: RESP3Parser.Limits = .init()) throws -> [RESP3Value] {
    var parser = RESP3Parser(limits: limits)
    var found: [RESP3Value] = []
    var at = 0
    while at < bytes.count {
      let end = min(bytes.count, at + piece)
      parser.append(bytes.span.extracting(at..<end))
      while let value = try parser.next() { found.append(value) }
      at = end
    }
    return found
  }

  @Test("Answers are the same however they are cut", arguments: [1, 2, 3, 5, 7, 16, 64, 4096])
  func pieces(_ piece: Int) throws {
    let found = try Self.read(Self.transcript, by: piece)
    #expect(found == Self.values)
  }

  @Test(
    "What is no answer is refused",
    arguments: [
      "?\r\n", "$x\r\n", "$-2\r\n", ":\r\n", ":1x\r\n", "$1\r\nab\r\n", "+a\rb\r\n", "*1\r\n>0\r\n", "_x\r\n", "=3\r\nabc\r\n",
      "$18446744073709551616\r\n", "*99999999999999999999\r\n",
    ])
  func malformed(_ text: String) {
    #expect(throws: RESP3Error.self) { try Self.read(Array(text.utf8), by: 4096) }
  }

  @Test("Answers that are too large, too deep or too many are refused before they are kept")
  func bounds() {
    #expect(throws: RESP3Error.tooLarge) { try Self.read(Array("$99999999\r\n".utf8), by: 64) }
    #expect(throws: RESP3Error.tooLarge) { try Self.read(Array("*9999999\r\n".utf8), by: 64) }
    #expect(throws: RESP3Error.tooLarge) { try Self.read(Array(String(repeating: "*1\r\n", count: 20).utf8), by: 64) }
    #expect(throws: RESP3Error.tooLarge) { try Self.read([UInt8](repeating: UInt8(ascii: "+"), count: 10_000), by: 64) }
    var limits = RESP3Parser.Limits()
    limits.elements = 10
    #expect(throws: RESP3Error.tooLarge) {
      try Self.read(Array("*5\r\n*5\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n:1\r\n".utf8), by: 64, limits: limits)
    }
  }

  @Test("Any bytes give values or an error, never a trap", arguments: 0..<20)
  func anything(_ seed: UInt64) {
    var random = SplitMix64(state: seed)
    for _ in 0..<500 {
      var bytes = Self.transcript
      for _ in 0..<Int.random(in: 1..<6, using: &random) {
        bytes[Int.random(in: 0..<bytes.count, using: &random)] = UInt8.random(in: 0...255, using: &random)
      }
      let whole = try? Self.read(bytes, by: bytes.count)
      let parts = try? Self.read(bytes, by: Int.random(in: 1..<9, using: &random))
      #expect((whole == nil) == (parts == nil))
      #expect(whole == parts)
    }
  }
}
