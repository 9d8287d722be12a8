import HTTP1
import HTTPMessage
import Testing

@Suite("Cookies of a request")
struct CookieScannerTests {
  static func pairs(_ field: String) -> [String] {
    let bytes = latin1(field)
    var scanner = CookieScanner(ByteRange(0, bytes.count))
    var found: [String] = []
    while let cookie = scanner.next(in: bytes.span) { found.append("\(text(cookie.name, bytes))|\(text(cookie.value, bytes))") }
    return found
  }

  @Test(
    "names and values, odd forms too",
    arguments: [
      ("a=1; b=2", ["a|1", "b|2"]), ("a=1;b=2;", ["a|1", "b|2"]), (" ;; a = 1 ;\tb=2", ["a|1", "b|2"]), ("a", ["|a"]), ("=x", ["|x"]),
      ("a=b=c", ["a|b=c"]), ("a=\"x; b=2\"", ["a|\"x", "b|2\""]), ("", []), ("  ", []), ("a=", ["a|"]),
    ] as [(String, [String])])
  func iteration(field: String, expected: [String]) { #expect(Self.pairs(field) == expected) }

  @Test(
    "an own cookie is recognised in whatever form it comes (S10)",
    arguments: [
      "__Host-intercom=x", "__host-INTERCOM=x", "__Host-intercom", "=__Host-intercom=x", "\"__Host-intercom\"=x", " __Host-intercom = x",
      "$__Host-intercom=x", "a,__Host-intercom=x", "a=b, __Host-intercom=x", "==__Host-intercom=x", "a=1,b=2,=__Host-intercom",
      "intercom=x",
    ])
  func own(pair: String) {
    let names = OwnCookieNames(["__Host-intercom", "intercom"])
    let bytes = latin1(pair)
    var scanner = CookieScanner(ByteRange(0, bytes.count))
    let cookie = scanner.next(in: bytes.span)
    #expect(cookie.map { names.claims($0, in: bytes.span) } == true)
  }

  @Test(
    "others' cookies are not taken for ours",
    arguments: ["intercom2=x", "xintercom=1", "a=intercom", "a=__Host-intercom=x", "fs~intercom=1"])
  func others(pair: String) {
    let names = OwnCookieNames(["__Host-intercom", "intercom"])
    let bytes = latin1(pair)
    var scanner = CookieScanner(ByteRange(0, bytes.count))
    let cookie = scanner.next(in: bytes.span)
    #expect(cookie.map { names.claims($0, in: bytes.span) } == false)
  }
}

@Suite("Two readers of cookies")
struct CookieReadersTests {
  @Test("endpoints and the warm path read the same cookies out of any field")
  func agree() {
    var generator = SeededGenerator(seed: 77)
    let pieces = ["a", "=", ";", " ", "\t", "\"", ",", "__Host-intercom", "b=c", "; ", "\u{e9}", "==", ";;"]
    for _ in 0..<5_000 {
      let field = (0..<Int.random(in: 0...9, using: &generator)).map { _ in pieces[Int.random(in: 0..<pieces.count, using: &generator)] }
        .joined()
      let bytes = latin1(field)
      var scanner = CookieScanner(ByteRange(0, bytes.count))
      var fromScanner: [[UInt8]] = []
      while let cookie = scanner.next(in: bytes.span) {
        fromScanner += [cookie.name.bytes(in: bytes.span), cookie.value.bytes(in: bytes.span)]
      }
      var fields = Fields()
      fields.append("Cookie", bytes: bytes)
      let fromHeader = CookieHeader(fields).all.flatMap { [$0.name, $0.value.reveal()] }
      #expect(fromScanner == fromHeader, "\(field.debugDescription)")
    }
  }
}
