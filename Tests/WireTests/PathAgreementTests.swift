import HTTP1
import HTTPMessage
import ReverseProxy
import Testing

/// Fault 51: what policy saw is what the upstream does, for every spelling, or the answer is 400.
@Suite("One reading of every path (S1, fault 51)")
struct PathAgreementTests {
  static let atoms = [
    "fs", "wiki", "a", "admin", "f%73", "%66s", "FS", ".", "..", "...", "%2e", "%2E%2e", ".%2e", "%252e%252e", "%2f", "%2F", "%5c", "\\",
    ";", ";x=1", "%3b", "%00", "%",
    "%zz", "%u002e", "%c0%ae", "%e2%80%a5", "..;", ".;", "~", "%20", " ", "\u{e9}", "?", "#", "//", "@", ":", "&", "%3f", "%23",
    "index.html", "%0a", "|",
  ]
  static let routes = ["/fs", "/wiki", "/fs/admin"]

  static func spelling(_ generator: inout SeededGenerator) -> String {
    var path = Bool.random(using: &generator) ? routes[Int.random(in: 0..<routes.count, using: &generator)] : ""
    for _ in 0..<Int.random(in: 1...5, using: &generator) {
      path += "/"
      for _ in 0..<Int.random(in: 0...2, using: &generator) { path += atoms[Int.random(in: 0..<atoms.count, using: &generator)] }
    }
    return path
  }

  @Test(
    "30,000 spellings: the upstream's resource lies where policy said, however the upstream reads it",
    arguments: [UInt64(20_261_121), 51, 7])
  func agreement(seed: UInt64) throws {
    var generator = SeededGenerator(seed: seed)
    let table = try Self.routes.map { (try #require(RoutePath($0)), Array($0.utf8).split(separator: UInt8(ascii: "/")).map(Array.init)) }
    var forwarded = 0
    var refused = 0
    for _ in 0..<10_000 {
      let path = Self.spelling(&generator)
      let bytes = request(line: "GET \(path) HTTP/1.1")
      let parsed = ParsedRequest(bytes)
      guard parsed.result == .complete else {
        refused += 1
        continue
      }
      let matches = table.map { $0.0.match(parsed.head.request, in: bytes.span) }
      guard !matches.contains(.disguised) else {
        refused += 1
        continue
      }
      // The longest route that matches, as a table would choose it.
      guard let chosen = table.indices.last(where: { if case .matched = matches[$0] { true } else { false } }) else { continue }
      for encodedSlashes in [false, true] {
        let forwarding = Forwarding(path: Self.routes[chosen], upstream: "http://u/base", strips: true, encodedSlashes: encodedSlashes)
        guard case .success(let head) = try forwarding.send(bytes) else { continue }
        forwarded += 1
        let target = Array(head.utf8.dropFirst(4).prefix { $0 != UInt8(ascii: " ") && $0 != UInt8(ascii: "?") })
        // The bytes are those that were sent, behind the base path.
        let sent = parsed.head.request.path.bytes(in: bytes.span)
        #expect(target == Array("/base".utf8) + sent.dropFirst(Self.routes[chosen].utf8.count), "\(path)")
        for reader in PathReader.all {
          // No reader of the upstream leaves the base path.
          let read = try #require(reader.resource(target), "\(path)")
          #expect(read.first == Array("base".utf8), "\(path) read as \(read.map { String(decoding: $0, as: UTF8.self) })")
          // No reader of the sent path finds a longer route in it than the one that policy was asked about.
          let whole = try #require(reader.resource(sent))
          for other in table.indices where other != chosen && table[other].1.count > table[chosen].1.count {
            #expect(!whole.starts(with: table[other].1), "\(path) is \(Self.routes[other]) to some reader")
          }
        }
      }
    }
    #expect(forwarded > 1_000 && refused > 3_000)
  }
}
