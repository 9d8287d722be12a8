import HTTP1
import HTTPMessage
import IntercomCore
import IntercomTesting
import ReverseProxy
import Testing

@testable import Gateway

@Suite("The route table")
struct RouteTableTests {
  private static let segments = [
    "", "fs", "fsx", "FS", "wiki", "a", "verylongsegment1", "verylongsegment2", "verylong", "%66s", "fs;x", ";", "f%2Fs", "fs%2F",
  ]

  private static func path(_ pieces: Int, of segments: [String]) -> String {
    "/" + (0..<pieces).map { _ in segments.randomElement() ?? "" }.joined(separator: "/")
  }

  private static func route(_ path: String, _ number: Int, exact: Bool) throws -> Route {
    let url = try #require(HTTPURL("http://127.0.0.1:1"))
    var route = Route(
      name: "r\(number)", path: try #require(RoutePath(path)), kind: .proxy(try #require(UpstreamEndpoint(url))), methods: .plain,
      cors: CORSPolicy(origins: []))
    route.exact = exact
    return route
  }

  /// As the rule says it: every route in turn, longest first, exact before prefix; whatever only a lenient reader would match is refused.
  private static func naive(_ routes: [Route], _ path: String) -> RouteTable.Lookup {
    let bytes = Array(path.utf8)
    let order = routes.indices.sorted { left, right in
      let (a, b) = (routes[left], routes[right])
      if a.path.bytes.count != b.path.bytes.count { return a.path.bytes.count > b.path.bytes.count }
      return a.exact == b.exact ? left < right : a.exact
    }
    for index in order {
      let route = routes[index]
      switch route.path.match(ByteRange(0, bytes.count), in: bytes.span) {
      case .none: continue
      case .matched(let rest):
        if !route.exact || rest.isEmpty || (route.path.bytes.isEmpty && rest.count == 1) { return .found(index) }
      case .disguised: if !route.path.bytes.isEmpty { return .escapedPrefix }
      }
    }
    return .notFound
  }

  private static func lookup(_ table: RouteTable, _ path: String, host: String = "ics.example.org") throws -> RouteTable.Lookup? {
    let head = Array("GET \(path) HTTP/1.1\r\nHost: \(host)\r\n\r\n".utf8)
    var parsed = RequestHead()
    var parser = RequestHeadParser()
    guard case .complete = parser.parse(head.span, into: &parsed) else { return nil }
    return table.lookup(parsed.request, head.span)
  }

  @Test("finds by segments what trying every route in turn finds, in whatever spelling the path comes (S1)")
  func naiveReader() throws {
    let plain = Self.segments.filter { RoutePath("/" + $0) != nil && !$0.isEmpty }
    var found = 0
    var refused = 0
    for _ in 0..<Rounds.count(300, full: 10_000) {
      var routes: [Route] = []
      for number in 0..<Int.random(in: 1...12) {
        let path = Int.random(in: 0..<8) == 0 ? "/" : Self.path(Int.random(in: 1...3), of: plain)
        routes.append(try Self.route(path, number, exact: Int.random(in: 0..<4) == 0))
      }
      let table = RouteTable(routes, baseHost: "ics.example.org")
      for _ in 0..<30 {
        let path = Self.path(Int.random(in: 1...4), of: Bool.random() ? plain : Self.segments)
        guard let lookup = try Self.lookup(table, path) else { continue }
        #expect(lookup == Self.naive(routes, path), "\(path) of \(routes.map { "\($0.path) \($0.exact)" })")
        if case .found = lookup { found += 1 }
        if case .escapedPrefix = lookup { refused += 1 }
      }
    }
    #expect(found > 100 && refused > 100)
  }

  @Test("a host's routes are its own, in whatever case it is written; other hosts are misdirected")
  func hosts() throws {
    var mail = try Self.route("/a", 0, exact: false)
    mail.host = "mail.example.org"
    let table = RouteTable([mail, try Self.route("/a", 1, exact: false)], baseHost: "ics.example.org")
    #expect(try Self.lookup(table, "/a/x", host: "MAIL.example.org:8080") == .found(0))
    #expect(try Self.lookup(table, "/a/x", host: "Ics.Example.Org") == .found(1))
    #expect(try Self.lookup(table, "/a/x", host: "ics.example.orgx") == .misdirected)
    #expect(try Self.lookup(table, "/a/x", host: "xmail.example.org") == .misdirected)
    #expect(try Self.lookup(table, "/b", host: "mail.example.org") == .notFound)
  }
}
