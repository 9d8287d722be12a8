import CurlTransport
import DemoWorkplace
import Gateway
import HTTPMessage
import IntercomApp
import IntercomCore
import IntercomTesting
import Linux
import Testing

/// One screen stands before everything that listens: a proxied route, Intercom's own endpoints, the demo and the admin listener.
@Suite("Flow: the screen", .serialized)
struct FlowScreenTests {
  /// A place that answers requests: where it listens, its Host and a path that it knows.
  private struct Place: Sendable {
    let name: String
    let port: UInt16
    let host: String
    let path: String
  }

  private struct Row: Sendable {
    let what: String
    let bytes: @Sendable (Place) -> [UInt8]
    let status: Int
    init(_ what: String, _ status: Int, _ bytes: @escaping @Sendable (Place) -> String) {
      self.what = what
      self.status = status
      self.bytes = { bytes($0).unicodeScalars.map { UInt8(truncatingIfNeeded: $0.value) } }
    }
  }

  /// A whole request with this field line.
  private static func field(_ line: String, _ status: Int) -> Row {
    Row("the field \(line.debugDescription)", status) { "GET \($0.path) HTTP/1.1\r\nHost: \($0.host)\r\n\(line)\r\n\r\n" }
  }
  /// A whole request with this target behind the place's path.
  private static func target(_ tail: String, _ status: Int) -> Row {
    Row("the target \(tail.debugDescription)", status) { "GET \($0.path)\(tail) HTTP/1.1\r\nHost: \($0.host)\r\n\r\n" }
  }

  private static let long = String(repeating: "a", count: 20_000)
  private static let refusals: [Row] =
    [
      field("X y: z", 400), field("X : z", 400), field(" X: z", 400), field("X: y\r\n z", 400), field("X: y\rz", 400),
      field("X: y\nZ: z", 400),
      field("X: y\u{0}", 400), field("X\u{0}: y", 400), field("X: \u{1}", 400), field("X: \u{7f}", 400), field(": y", 400), field("X", 400),
      field("X(: y", 400), field("\u{e9}: y", 400), field("Content-Length: 1\r\nContent-Length: 1", 400),
      field("Content-Length: 1, 1", 400), field("Content-Length: +1", 400), field("Content-Length: -1", 400),
      field("Content-Length: 0x1", 400),
      field("Content-Length: 01", 400), field("Content-Length:", 400), field("Content-Length: 1 1", 400),
      field("Content-Length: 99999999999999999999", 413), field("Content-Length: 1\r\nTransfer-Encoding: chunked", 400),
      field("Transfer-Encoding: chunked\r\nContent-Length: 1", 400), field("Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked", 400),
      field("Transfer-Encoding: gzip, chunked", 501), field("Transfer-Encoding: chunked, gzip", 400),
      field("Transfer-Encoding: identity", 400),
      field("Host: b", 400), field("Expect: x", 417), field("Connection: a b", 400), field("X: \(long)", 431),
      field((0..<130).map { "X-\($0): y" }.joined(separator: "\r\n"), 431), field("Origin: null\r\nOrigin: null", 400),
      target("/../x", 400), target("/%2e%2e/x", 400), target("/..;/x", 400), target("\\x", 400), target("/%5cx", 400), target("%00", 400),
      target("%zz", 400), target("#x", 400), target("\u{e9}", 400), target(" x", 400), target("?\(long)", 414),
      Row("no Host", 400) { "GET \($0.path) HTTP/1.1\r\n\r\n" }, Row("an empty Host", 400) { "GET \($0.path) HTTP/1.1\r\nHost:\r\n\r\n" },
      Row("a Host of two", 400) { "GET \($0.path) HTTP/1.1\r\nHost: \($0.host), b\r\n\r\n" },
      Row("another Host than the target's", 400) { "GET http://\($0.host)\($0.path) HTTP/1.1\r\nHost: b\r\n\r\n" },
      Row("chunked in HTTP/1.0", 400) { "POST \($0.path) HTTP/1.0\r\nHost: \($0.host)\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" },
      Row("HTTP/2.0", 505) { "GET \($0.path) HTTP/2.0\r\nHost: \($0.host)\r\n\r\n" },
      Row("HTTP/1.10", 400) { "GET \($0.path) HTTP/1.10\r\nHost: \($0.host)\r\n\r\n" },
      Row("no version", 400) { "GET \($0.path)\r\nHost: \($0.host)\r\n\r\n" },
      Row("bare line feeds", 400) { "GET \($0.path) HTTP/1.1\nHost: \($0.host)\n\n" },
      Row("a tab for a space", 400) { "GET\t\($0.path) HTTP/1.1\r\nHost: \($0.host)\r\n\r\n" },
      Row("a method that is no token", 400) { "G(T \($0.path) HTTP/1.1\r\nHost: \($0.host)\r\n\r\n" },
      Row("a method that never ends", 501) { "\(String(repeating: "G", count: 40)) \($0.path) HTTP/1.1\r\nHost: \($0.host)\r\n\r\n" },
      Row("a TLS greeting", 400) { _ in "\u{16}\u{3}\u{1}\u{0}\u{5}hello" },
    ]

  /// The fixture with the demo's portal under a host of its own, as the demo itself does it.
  private static func withDemo(_ body: (FlowFixture) async throws -> Void) async throws {
    let folder = try DemoFolder.make()
    let carrier = try CurlTransport()
    defer {
      folder.remove()
      carrier.stop()
    }
    var options = FlowFixture.Options()
    options.startsProvider = false
    options.deployment = { deployment in
      guard let port = deployment.listen.first?.address.port, let root = RoutePath("/") else { throw FixtureFault.badURL }
      let demo = try DemoAssembly(
        port: Int(port), folder: folder, workers: nil, time: deployment.time, random: SystemRandom(), transport: carrier)
      guard let site = demo.sites.first(where: { $0.host.description.hasPrefix("portal.") }),
        let origin = Origin(serialized: "http://\(site.host):\(port)")
      else { throw FixtureFault.badURL }
      var route = Route(name: "portal", path: root, kind: .own("demo"), methods: .webdav, cors: CORSPolicy(origins: [origin]))
      route.host = site.host
      route.hostOrigin = origin
      route.isPublic = true
      deployment.routes.append(route)
      deployment.endpoints["demo"] = site.endpoint
    }
    try await FlowFixture.run(options, body)
  }

  @Test(
    "every refusal is the same before a proxied route, own endpoints, the demo and the admin listener, and closes (S23, faults 41 and 43)")
  func sameEverywhere() async throws {
    try await Self.withDemo { flow in
      let main = UInt16(flow.port)
      let admin = try #require(flow.running.adminAddress).port
      let portal = try #require(flow.routes.first { $0.name == "portal" }?.host)
      let places = [
        Place(name: "route", port: main, host: "intercom.localhost:\(main)", path: "/public/x"),
        Place(name: "own", port: main, host: "intercom.localhost:\(main)", path: "/silent"),
        Place(name: "demo", port: main, host: "\(portal):\(main)", path: "/"),
        Place(name: "admin", port: admin, host: "127.0.0.1:\(admin)", path: "/livez"),
      ]
      try await onThread {
        for place in places {
          // The place answers, so that a refusal is the screen's.
          let client = try RawSocket(port: place.port)
          try client.send("GET \(place.path) HTTP/1.1\r\nHost: \(place.host)\r\nAccept: text/html\r\nX: y\r\n\r\n")
          let okay = try client.readResponse()
          #expect([200, 302].contains(okay.status), "\(place.name): \(okay.status)")
          for row in Self.refusals {
            let client = try RawSocket(port: place.port)
            try client.send(bytes: row.bytes(place))
            let answer = try client.readResponse()
            #expect(answer.status == row.status, "\(place.name): \(row.what): \(answer.status)")
            #expect(
              answer.field("Connection") == "close" && answer.field("Content-Type") == Problem.contentType, "\(place.name): \(row.what)")
            try client.expectEnd()
          }
        }
      }
      #expect(flow.upstream.requests.count == 1, "a refused request was forwarded")
    }
  }

  @Test("a chunked body that is broken is refused everywhere (S23, fault 41)")
  func brokenChunks() async throws {
    try await Self.withDemo { flow in
      let port = UInt16(flow.port)
      try await onThread {
        for path in ["/public/x", "/backchannel-logout"] {
          for chunks in [
            "3\nabc\n0\n\n", "0x3\r\nabc\r\n0\r\n\r\n", "3;\r\nabc\r\n", "3 \r\nabc\r\n", "3\r\nabcd\r\n", "0\r\nHost: b\r\n\r\n",
            "0\r\nX-Remote-User: b\r\n\r\n",
          ] {
            let client = try RawSocket(port: port)
            try client.send(
              "POST \(path) HTTP/1.1\r\nHost: intercom.localhost:\(port)\r\nContent-Type: application/x-www-form-urlencoded\r\nTransfer-Encoding: chunked\r\n\r\n\(chunks)"
            )
            let answer = try client.readResponse()
            #expect(answer.status == 400 && answer.field("Connection") == "close", "\(path) \(chunks.debugDescription): \(answer.status)")
            try client.expectEnd()
          }
        }
      }
    }
  }

  @Test("a 401 has a challenge that no browser asks a password for (RFC 9110 §15.5.2)")
  func challenge() async throws {
    try await FlowFixture.run { flow in
      let answer = try await flow.fetch(Visitor(), "GET", "/plain/x")
      #expect(answer.status == 401 && answer.all("www-authenticate") == ["Session realm=\"intercom\""])
    }
  }
}
