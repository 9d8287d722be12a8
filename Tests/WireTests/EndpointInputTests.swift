import HTTP1
import HTTPMessage
import Testing

/// S24: what endpoints read beyond the head (forms, queries, cookies, URLs, return targets), on generated input.
@Suite("What endpoints read")
struct EndpointInputTests {
  private static let pieces = [
    "%", "%0", "%00", "%zz", "%2F", "%c0%ae", "&", "=", ";", "\"", "\\", "@", ":", "[", "]", "\u{0}", "é", "e\u{301}", "+", ",", ".", "..",
    "//", "/",
    "?", "#", "a", "http://", "https://ics.example.org", "https:", "99999999999", "0", "-", "\t", " ", "\r\n", "__Host-intercom=",
    "\u{202e}", "::1",
  ]

  private static func input(_ generator: inout SeededGenerator) -> [UInt8] {
    var bytes = (0..<Int.random(in: 0...14, using: &generator)).flatMap { _ in
      Array(pieces[Int.random(in: 0..<pieces.count, using: &generator)].utf8)
    }
    if Bool.random(using: &generator) { bytes.append(UInt8.random(in: 0...255, using: &generator)) }
    return bytes
  }

  @Test("Crash by one request: 50,000 generated forms, cookies, URLs and return targets trap nothing, and what is read stays bounded (S24)")
  func generated() throws {
    let base = try #require(HTTPURL("https://ics.example.org/"))
    let origins = [try #require(Origin(serialized: "https://app.example.org"))]
    var generator = SeededGenerator(seed: 24)
    var read = (forms: 0, urls: 0, targets: 0)
    for _ in 0..<50_000 {
      let bytes = Self.input(&generator)
      if let form = try? FormFields(parsing: bytes) {
        read.forms += 1
        #expect(form.all.count <= 64 && form.all.reduce(0) { $0 + $1.name.count + $1.value.count } <= bytes.count)
        // What was read and is written again is read the same.
        #expect((try? FormFields(parsing: form.encoded, maximumBytes: 1 << 20))?.all == form.all)
      }
      var fields = Fields()
      fields.append("Cookie", bytes: bytes)
      #expect(CookieHeader(fields).all.reduce(0) { $0 + $1.name.count + $1.value.reveal().count } <= bytes.count)
      if let url = HTTPURL(bytes: bytes) {
        read.urls += 1
        #expect(HTTPURL(url.description) == url, "\(url)")
      }
      let target = ReturnTarget.validate(bytes, base: base, allowedOrigins: origins)
      if target != "/" { read.targets += 1 }
      #expect(target.utf8.count <= ReturnTarget.mostBytes + 1 && target.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f })
      if let decoded = PercentCoding.decode(bytes, plusIsSpace: true) { #expect(decoded.count <= bytes.count) }
      _ = Origin(serialized: String(decoding: bytes, as: UTF8.self))
    }
    #expect(read.forms > 1_000 && read.urls > 10 && read.targets > 10, "\(read)")
  }

  @Test("Memory by one request: forms beyond their bounds are refused before they are taken apart (S24)")
  func bounds() {
    #expect(throws: FormError.tooLong) { try FormFields(parsing: [UInt8](repeating: UInt8(ascii: "&"), count: 65_537)) }
    #expect(throws: FormError.tooManyFields) { try FormFields(parsing: Array(String(repeating: "a&", count: 65).utf8)) }
    #expect((try? FormFields(parsing: [UInt8](repeating: UInt8(ascii: "&"), count: 65_536)))?.all.isEmpty == true)
    #expect(HTTPURL(bytes: Array("http://a/".utf8) + [UInt8](repeating: UInt8(ascii: "a"), count: 9_000)) == nil)
  }
}
