import HTTPMessage
import IntercomCore
import Testing

@Suite("URLs, origins and routes")
struct HTTPMessageURLTests {
  @Test(
    "an absolute URL is read into its parts",
    arguments: [
      ("http://a", "http", "a", 80, "/", nil, "http://a/"), ("https://A.Example:8443/x?y=z", "https", "a.example", 8443, "/x", "y=z", nil),
      ("HTTPS://a:443/", "https", "a", 443, "/", nil, "https://a/"),
      ("http://[::1]:80/a%20b", "http", "[::1]", 80, "/a%20b", nil, "http://[::1]/a%20b"),
      ("http://a?", "http", "a", 80, "/", "", "http://a/?"),
      ("http://127.0.0.1:8008/realms/x", "http", "127.0.0.1", 8008, "/realms/x", nil, nil),
    ] as [(String, String, String, Int, String, String?, String?)])
  func parts(text: String, scheme: String, host: String, port: Int, path: String, query: String?, written: String?) throws {
    let url = try #require(HTTPURL(text))
    #expect(url.scheme.rawValue == scheme)
    #expect(url.host == Identifier(host))
    #expect(url.port == port)
    #expect(url.path == Array(path.utf8))
    #expect(url.query == query.map { Array($0.utf8) })
    let rewritten = written ?? text.replacing("A.Example", with: "a.example")
    #expect(url.description == rewritten)
    #expect(HTTPURL(url.description) == url)
  }

  @Test(
    "what is not exactly an http URL is nil",
    arguments: [
      "", "a", "//a", "/a", "http:", "http:/a", "http://", "http:///a", "ftp://a", "http://u@a", "http://u:p@a/", "http://a:", "http://a:0",
      "http://a:65536", "http://a:-1", "http://a b", "http://a/b c", "http://a/#b", "http://a#b", "http://a/%zz", "http://a/..",
      "http://a/%2e",
      "http://a\\b", "http://a/\\b", "http://[::1", "http://[a]", "http://a%41", "http://é", "http://a/é", "http://a/?é", "http://a/\u{0}",
      " http://a", "http://a\n", "javascript://a/", "http://a,b", "http://.../..", "http://[::1]a/",
    ])
  func refused(text: String) { #expect(HTTPURL(text) == nil) }

  @Test("an origin is its serialised bytes and nothing near them")
  func origins() throws {
    let origin = try #require(Origin(serialized: "https://app.example"))
    #expect(HTTPURL("https://APP.example:443/x")?.origin == origin)
    for other in [
      "https://app.example/", "https://app.example:443", "https://App.example", "null", "", "https://app.example,https://b", "app.example",
    ] {
      #expect(Origin(serialized: other) == nil)
    }
    for other in [
      "https://app.example.", "http://app.example", "https://app.example:444", "https://app.example.evil", "https://xapp.example",
    ] {
      #expect(Origin(serialized: other) != origin)
      let bytes = Array(other.utf8)
      let matches = origin.matches(ByteRange(0, bytes.count), in: bytes.span)
      #expect(!matches)
    }
    let matches = origin.matches(ByteRange(0, origin.bytes.count), in: origin.bytes.span)
    #expect(matches)
  }

  @Test(
    "addresses",
    arguments: [
      ("::", true), ("::1", true), ("1::", true), ("1:2:3:4:5:6:7:8", true), ("1:2:3:4:5:6:7::", true), ("::ffff:1.2.3.4", true),
      ("1:2:3:4:5:6:1.2.3.4", true), ("fe80::1:2", true), ("1:2:3:4:5:6:7", false), ("1:2:3:4:5:6:7:8:9", false),
      ("1:2:3:4:5:6:7:8::", false),
      (":", false), (":::", false), ("1::2::3", false), ("12345::", false), ("g::", false), ("1:", false), (":1", false),
      ("::1.2.3", false),
      ("::1.2.3.256", false), ("::01.2.3.4", false), ("", false), ("1", false), ("::1%eth0", false), ("1.2.3.4", false),
    ])
  func addresses(text: String, expected: Bool) {
    let bytes = Array(text.utf8)
    let found = AuthoritySyntax.isIPv6(bytes.span, ByteRange(0, bytes.count))
    #expect(found == expected)
  }

  static func match(_ route: String, _ path: String) -> String {
    guard let route = RoutePath(route) else { return "bad route" }
    let bytes = Array(path.utf8)
    switch route.match(ByteRange(0, bytes.count), in: bytes.span) {
    case .none: return "-"
    case .disguised: return "400"
    case .matched(let rest): return "rest:" + String(decoding: rest.bytes(in: bytes.span), as: UTF8.self)
    }
  }

  @Test(
    "a route matches whole segments, and never its disguise (S1)",
    arguments: [
      ("/fs", "/fs", "rest:"), ("/fs", "/fs/", "rest:/"), ("/fs/", "/fs/a%2Fb", "rest:/a%2Fb"), ("/fs", "/fsx", "-"), ("/fs", "/f", "-"),
      ("/fs", "/FS", "-"), ("/fs", "/fs;a", "400"), ("/fs", "//fs", "400"), ("/fs", "/a/fs", "-"), ("/", "/", "rest:/"),
      ("/", "/a", "rest:/a"),
      ("/fs", "/%66s", "400"), ("/fs", "/f%73/a", "400"), ("/fs", "/fs%2Fa", "400"), ("/fs", "/fs%2f", "400"), ("/fs", "/%2ffs", "400"),
      ("/fs/x", "/fs//x", "400"), ("/fs/x", "/fs;a/;/x;b/c", "400"), ("/fs/x", "/fs/;x", "-"),
      ("/fs", "/fs%3ba", "400"), ("/fs", "/%66sx", "-"), ("/fs", "%2ffs", "-"), ("/a/b", "/a%2fb", "400"), ("/a/b", "/a/%62/c", "400"),
      ("/a/b", "/a/b%20c", "-"), ("/fs", "/fs%20", "-"), ("/fs", "", "-"), ("/fs", "*", "-"), ("/fs", "/fs//a", "rest://a"),
      ("fs", "/fs", "bad route"), ("/a/../b", "/b", "bad route"), ("/%66s", "/fs", "bad route"), ("/a//b", "/a//b", "bad route"),
      ("/a;b", "/a;b", "bad route"), ("/a?b", "/a", "bad route"), ("", "/", "bad route"), ("//", "/", "bad route"),
    ])
  func routes(route: String, path: String, expected: String) { #expect(Self.match(route, path) == expected) }
}

@Suite("Where a browser is sent back to (S8)")
struct ReturnTargetTests {
  static let base = "https://ics.example.org"
  static let allowed = ["https://portal.example.org", "http://localhost:4200"]

  static func validate(_ raw: String) throws -> String {
    let base = try #require(HTTPURL(Self.base))
    let origins = try allowed.map { try #require(Origin(serialized: $0)) }
    return ReturnTarget.validate(Array(raw.utf8), base: base, allowedOrigins: origins)
  }

  @Test(
    "good targets are kept",
    arguments: [
      ("/", "/"), ("/a?b=c&d=%2F", "/a?b=c&d=%2F"), ("/a#b", "/a#b"), ("/a//b", "/a//b"), ("/a?x=//evil.example", "/a?x=//evil.example"),
      ("https://ics.example.org/x", "https://ics.example.org/x"), ("https://portal.example.org", "https://portal.example.org/"),
      ("HTTPS://Portal.Example.org:443/a#/b", "https://portal.example.org/a#/b"), ("http://localhost:4200/?x", "http://localhost:4200/?x"),
    ])
  func kept(raw: String, expected: String) throws { #expect(try Self.validate(raw) == expected) }

  @Test("over 2 KiB it is the start page")
  func long() throws {
    #expect(try Self.validate("/" + String(repeating: "a", count: 2047)).utf8.count == 2048)
    #expect(try Self.validate("/" + String(repeating: "a", count: 2048)) == "/")
  }

  /// More than 500 payloads: every trick in front of, inside and behind every host that an attacker may own (fault 52).
  static let payloads: [String] = {
    let hosts = [
      "evil.example", "ics.example.org.evil.example", "evil-ics.example.org", "ics.example.org@evil.example", "portal.example.org:80",
      "portal.example.org.",
      "ics.example.org%2eevil.example", "ics.example.org%00.evil.example", "ics.example.org\\.evil.example", "[::ffff:1.2.3.4]", "0x7f.1",
      "xics.example.org",
    ]
    let fronts = [
      "//", "///", "////", "/\\", "\\\\", "\\/", "/\t/", "/\n/", "/\r\n/", "\t//", " //", "/ /", "http://", "https:", "https:/",
      "https:///", "http:\\\\", "ftp://",
      "javascript://", "data:", "//u:p@", "https://u@", "https://ics.example.org@", "https://portal.example.org:x@", "/.//", "/..//",
      "/%2e//", "/./\\", "//%09/",
      "\u{0}//", "\u{1}https://", "view-source:https://", "https://portal.example.org\\@", "https:\\\\portal.example.org@", "/a/..//",
      "ws://", "HTTPS://",
      "https://\u{2025}/", "/\u{ff0f}", "%2f%2f", "https%3A%2F%2F", "https://;@",
    ]
    let backs = ["", "/", "/x?https://ics.example.org", "#@ics.example.org/"]
    return fronts.flatMap { front in hosts.flatMap { host in backs.map { front + host + $0 } } }
  }()

  @Test("no payload leaves the allow list")
  func attacks() throws {
    #expect(Self.payloads.count >= 500)
    for payload in Self.payloads {
      let location = try Self.validate(payload)
      if location == "/" { continue }
      Issue.record("\(payload.debugDescription) leads to \(location)")
    }
  }

  @Test("random mutations of good targets stay in the allow list")
  func mutations() throws {
    var generator = SystemRandomNumberGenerator()
    let pieces = [
      "/", "\\", "@", ":", ".", "//", "%2f", "\t", "evil.example", "#", "?", ";", "https:", "ics.example.org", " ", "\u{0}", "é",
    ]
    for _ in 0..<5_000 {
      var text = Array(["/a/b?c#d", "https://ics.example.org/a", "https://portal.example.org/x?y"].randomElement(using: &generator) ?? "/")
      for _ in 0..<Int.random(in: 1...3, using: &generator) {
        text.insert(contentsOf: pieces.randomElement(using: &generator) ?? "", at: Int.random(in: 0...text.count, using: &generator))
      }
      let location = try Self.validate(String(text))
      let isPath = location.hasPrefix("/") && !location.hasPrefix("//") && !location.contains("\\")
      let isAllowed = (Self.allowed + [Self.base]).contains { location.hasPrefix($0 + "/") || location.hasPrefix($0 + "?") }
      #expect(isPath || isAllowed, "\(String(text).debugDescription) → \(location)")
      #expect(location.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f })
    }
  }
}
