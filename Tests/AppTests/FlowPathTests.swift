import Gateway
import HTTPMessage
import IntercomApp
import IntercomCore
import IntercomTesting
import Linux
import ReverseProxy
import Testing

/// One reading of a path, seen from outside: the gateway as it is served, and a backend that tells the target it got, byte for byte.
@Suite("Flow: one path", .serialized)
struct FlowPathTests {
  private struct Plan {
    let path: String
    var takesEncodedSlashes = false
    var needsSession = false
    var root: String { path + "-root" }
    var segments: [[UInt8]] { path.utf8.split(separator: UInt8(ascii: "/")).map(Array.init) }
  }
  /// `/open/admin` needs a session, which nobody here has: what arrives below its root, or is read as it by a backend, is a hole.
  private static let plans = [
    Plan(path: "/open"), Plan(path: "/open/admin", needsSession: true), Plan(path: "/fs", takesEncodedSlashes: true),
    Plan(path: "/fs/deep/er"), Plan(path: "/wiki"),
  ]

  private static func options(to port: UInt16) -> FlowFixture.Options {
    var options = FlowFixture.Options()
    options.startsProvider = false
    options.deployment = { deployment in
      let cors = CORSPolicy(origins: [deployment.base.origin])
      deployment.routes = try plans.map { plan in
        guard let path = RoutePath(plan.path), let url = HTTPURL("http://127.0.0.1:\(port)\(plan.root)"),
          let endpoint = UpstreamEndpoint(url)
        else { throw FixtureFault.badURL }
        let name = String(plan.path.dropFirst().map { $0 == "/" ? "-" : $0 })
        var route = Route(name: name, path: path, kind: .proxy(endpoint), methods: .webdav, cors: cors)
        route.stripPrefix = true
        route.passesEncodedSlashes = plan.takesEncodedSlashes
        route.isPublic = !plan.needsSession
        return route
      }
    }
    return options
  }

  /// Answers with the target of the request, as it came.
  private static func mirror() throws -> RawServer {
    try RawServer { socket, _ in
      while true {
        let head = try socket.receive(until: "\r\n\r\n")
        let target = String(head.split(separator: " ", maxSplits: 2, omittingEmptySubsequences: false).dropFirst().first ?? "")
        try socket.send("HTTP/1.1 200 OK\r\nX-Mirror: 1\r\nContent-Length: \(target.utf8.count)\r\n\r\n\(target)")
      }
    }
  }

  private static let atoms = [
    "open", "admin", "fs", "wiki", "deep", "er", "a", "OPEN", "%6fpen", "%4Fpen", "ad%6Din", "ad%6din", ".", "..", "...", "%2e", "%2E%2e",
    ".%2E", "%252e%252e", "%2f", "%2F", "%252f", "%5c", "%5C", "\\", ";", ";x=1", "%3b", "%3B", "%00", "%", "%zz", "%u002e", "%c0%ae",
    "%e2%80%a5", "%C3%A9", "..;", ".;", "..;a=b", "~", "%7e", "%20", "+", "\u{e9}", "#", "//", "@", ":", "&", "=", "%3f", "%23", "%0a",
    "%0d%0a",
    "%09", "|", "^", "[", "]", "'", "(", "!", "$", ",", "*", "index.html", "x.css", "%ff", "%fe%ff", "%EF%BC%8F", "%e2%88%95", "%uff0f",
  ]
  private static let queries = [
    "", "", "", "?", "?a=b", "?/../open/admin", "??", "?%2e%2e/", "?a%", "?{}|\\\"<>`^", "?;/../", "?x=http://h/", "?%00",
  ]

  private static func spelling(_ generator: inout SplitMix64) -> (path: String, query: String) {
    func pick(_ list: [String]) -> String { list[Int(generator.next() % UInt64(list.count))] }
    var path = generator.next() % 4 == 0 ? "" : plans[Int(generator.next() % UInt64(plans.count))].path
    for _ in 0..<(1 + generator.next() % 4) {
      path += generator.next() % 12 == 0 ? "" : "/"
      for _ in 0..<(generator.next() % 3) { path += pick(atoms) }
    }
    // `/` itself is a page of our own.
    return (path.count < 2 ? "/x" : path, pick(queries))
  }

  /// The segments of a path as a backend may read it after decoding once: parameters kept or dropped, doubled slashes kept or merged.
  private static func readings(_ path: [UInt8]) -> [[[UInt8]]] {
    guard let decoded = PercentCoding.decode(path) else { return [] }
    return [false, true].flatMap { merges in
      [false, true].map { drops in
        var out: [[UInt8]] = []
        for piece in decoded.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: merges).dropFirst(merges ? 0 : 1) {
          let segment = drops ? Array(piece.prefix { $0 != UInt8(ascii: ";") }) : Array(piece)
          if segment == Array("..".utf8) { _ = out.popLast() } else if segment != Array(".".utf8) { out.append(segment) }
        }
        return out
      }
    }
  }

  /// What must be true of a request that arrived at the backend.
  private static func check(_ path: String, _ query: String, arrived: String) throws {
    let sent = Array(path.utf8)
    let whole = "\(path)\(query) arrived as \(arrived)"
    let plan = try #require(
      plans.last { arrived == $0.root || arrived.hasPrefix($0.root + "/") || arrived.hasPrefix($0.root + "?") }, "\(whole)")
    #expect(!plan.needsSession, "\(whole)")
    // The bytes are those that were sent, the query's too.
    let rest = arrived.utf8.dropFirst(plan.root.utf8.count)
    #expect(Array(rest) == Array(sent.dropFirst(plan.path.utf8.count)) + Array(query.utf8), "\(whole)")
    // What the gateway decided upon, decoded, is what the backend has, decoded.
    let restPath = Array(rest.prefix { $0 != UInt8(ascii: "?") })
    #expect(PercentCoding.decode(sent) == PercentCoding.decode(restPath).map { Array(plan.path.utf8) + $0 }, "\(whole)")
    // No reading of the path belongs to a longer route, and every one belongs to this.
    for reading in readings(sent) {
      #expect(reading.starts(with: plan.segments), "\(whole)")
      for other in plans where other.segments.count > plan.segments.count {
        #expect(!reading.starts(with: other.segments), "\(whole) is \(other.path) to some reader")
      }
    }
    // The backend stays below its root, however it reads.
    let target = Array(arrived.utf8.prefix { $0 != UInt8(ascii: "?") })
    let root = plan.root.utf8.split(separator: UInt8(ascii: "/")).map(Array.init)
    for reading in readings(target) { #expect(reading.starts(with: root), "\(whole)") }
  }

  @Test(
    "thousands of spellings: what the gateway decided upon is what the backend gets, and none reaches a route but its own (S1, S2, fault 51)"
  )
  func spellings() async throws {
    let server = try Self.mirror()
    try await FlowFixture.run(Self.options(to: server.port)) { flow in
      let port = UInt16(flow.port)
      let count = Rounds.count(4_000, full: 60_000)
      let (arrived, refused) = try await onThread {
        var generator = SplitMix64(state: 0x5eed_0000_0000_0051)
        var (arrived, refused) = (0, 0)
        var client = try RawSocket(port: port)
        for number in 0..<count {
          let (path, query) = Self.spelling(&generator)
          let start = number % 5 == 0 ? "http://intercom.localhost:\(port)" : ""
          let method = ["GET", "PROPFIND", "OPTIONS", "DELETE"][number % 4]
          try client.send("\(method) \(start)\(path)\(query) HTTP/1.1\r\nHost: intercom.localhost:\(port)\r\n\r\n")
          let answer = try client.readResponse()
          if answer.field("X-Mirror") != nil {
            try Self.check(path, query, arrived: answer.text)
            arrived += 1
          } else {
            #expect([400, 401, 404].contains(answer.status), "\(start)\(path)\(query): \(answer.status)")
            refused += 1
          }
          if answer.field("Connection") == "close" { client = try RawSocket(port: port) }
        }
        return (arrived, refused)
      }
      #expect(arrived > count / 10 && refused > count / 10, "\(arrived) arrived, \(refused) were refused")
      try Rounds.keep("S1: \(count) spellings of a path, \(arrived) arrived as they were, \(refused) were refused")
    }
    server.stop()
  }

  @Test("the forms of a request target that name no path of a route: *, an authority, another server (RFC 9112 §3.2)")
  func otherForms() async throws {
    let server = try Self.mirror()
    try await FlowFixture.run(Self.options(to: server.port)) { flow in
      let port = UInt16(flow.port)
      let host = "intercom.localhost:\(port)"
      let rows: [(String, Int)] = [
        ("OPTIONS *", 204), ("GET *", 400), ("OPTIONS **", 400), ("OPTIONS /*", 404), ("OPTIONS http://\(host)", 405),
        ("CONNECT \(host)", 405), ("CONNECT other.example:443", 405), ("CONNECT /open", 405), ("TRACE /open/x", 405),
        ("GET \(host)", 400), ("GET open", 400), ("GET http:/open/x", 400), ("GET //open/x", 400), ("GET http://\(host)//open/x", 400),
        ("GET http://other.example/open/x", 400), ("GET http://u@\(host)/open/x", 400), ("GET ftp://\(host)/open/x", 400),
        ("GET HTTP://\(host.uppercased())/open/x", 200), ("GET http://\(host)/open/x", 200), ("GET /open/x", 200), ("GET /open", 200),
      ]
      try await onThread {
        for (start, status) in rows {
          let client = try RawSocket(port: port)
          try client.send("\(start) HTTP/1.1\r\nHost: \(host)\r\nConnection: close\r\n\r\n")
          let answer = try client.readResponse()
          #expect(answer.status == status, "\(start): \(answer.status)")
          #expect((answer.field("X-Mirror") != nil) == (status == 200), "\(start)")
          if status == 405 || start == "OPTIONS *" { #expect(answer.field("Allow") != nil, "\(start)") }
        }
      }
    }
    server.stop()
  }
}
