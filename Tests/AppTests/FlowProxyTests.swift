import IntercomTesting
import Linux
import Testing

@testable import IntercomApp

/// Behind other proxies: whom Intercom takes for the client, and what backends and the log are told of it.
@Suite("Flow: behind other proxies", .serialized, .timeLimit(.minutes(3)))
struct FlowProxyTests {
  /// How a request comes.
  enum Way: String, CaseIterable {
    case plain
    case tls = "--http1.1"
    case http2 = "--http2"
  }

  /// Fields of a request, and whom backends are told of: in X-Forwarded-For and in Forwarded.
  struct Row: Sendable {
    let fields: [String]
    let address: String
    let node: String

    init(_ fields: [String], _ address: String, node: String? = nil) {
      self.fields = fields
      self.address = address
      self.node = node ?? (address.contains(":") ? "[\(address)]" : address)
    }
  }

  /// Everything else by which a client could tell stories.
  private static let stories = [
    "X-Forwarded-Proto: gopher", "X-Forwarded-Host: evil.example", "X-Forwarded-Prefix: /evil", "X-Real-IP: 6.6.6.6",
    "X-Original-URL: /evil", "True-Client-IP: 6.6.6.6", "X_Forwarded_For: 6.6.6.6",
  ]

  /// The log's lines of requests that were answered.
  private static func logged(_ served: ServedFile) -> [String] { served.sink.lines.filter { $0.contains("\"event\":\"request\"") } }

  /// Sends each row's fields every way, and looks at what the backend got.
  private static func check(_ rows: [Row], _ settings: String) async throws {
    let authority = try await TestAuthority()
    let server = try await authority.issue("server", names: "DNS:localhost")
    let text = """
      listen: [127.0.0.2:0, {address: "127.0.0.1:0", tls: true}]
      tls: {certificates: {main: {chain: \(server.chain), key: \(server.key)}}}
      \(settings)
      """
    try await ServedFile.run(text) { (served: ServedFile) async throws -> Void in
      var asked = 0
      for row in rows {
        for way in Way.allCases {
          let fields = (row.fields + stories).flatMap { ["-H", $0] }
          let port = served.ports[way == .plain ? 0 : 1]
          let answer = try await served.curl(
            way == .plain ? nil : authority, "/pub/x",
            fields + (way == .plain ? ["--interface", "127.0.0.1"] : [way.rawValue]), address: way == .plain ? "127.0.0.2" : "127.0.0.1",
            port: port)
          #expect(answer.hasPrefix("hello\n200"), "\(answer)")
          let seen = try #require(served.upstream.requests.last)
          #expect(seen.all("x-forwarded-for") == [row.address], "\(row.fields) \(way)")
          #expect(seen.all("forwarded") == ["for=\"\(row.node)\";host=\"localhost:\(port)\";proto=https"], "\(row.fields) \(way)")
          #expect(seen.all("x-forwarded-proto") == ["https"] && seen.all("x-forwarded-host") == ["localhost:\(port)"])
          #expect(!seen.text.contains("6.6.6.6") && !seen.text.contains("evil"), "\(seen.text)")
          // A line of the log comes a moment after its answer.
          asked += 1
          let count = asked
          #expect(await eventually { logged(served).count == count })
          let line = logged(served).last ?? ""
          #expect(line.contains("\"client\":\"\(row.node.filter { !"[]".contains($0) })\""), "\(line)")
        }
      }
    }
  }

  @Test("Forwarded-header trust: without a trusted proxy whatever a client says of itself is gone, also where only another is trusted (S3)")
  func nobody() async throws {
    let rows = [
      Row(["X-Forwarded-For: 6.6.6.6"], "127.0.0.1"), Row(["Forwarded: for=6.6.6.6;proto=gopher;host=evil.example"], "127.0.0.1"),
      Row(["X-Forwarded-For: 6.6.6.6", "Forwarded: for=6.6.6.6", "Via: 1.1 192.0.2.7"], "127.0.0.1"),
    ]
    try await Self.check(rows, "")
    try await Self.check(rows, "trustedProxies: [192.0.2.7, \"::1\"]\nforwardedField: forwarded")
  }

  @Test(
    "Forwarded-header trust: X-Forwarded-For of trusted proxies is read from the right, and Forwarded beside it is the client's own (S3)")
  func older() async throws {
    try await Self.check(
      [
        Row([], "127.0.0.1"), Row(["X-Forwarded-For: 192.0.2.1"], "192.0.2.1"), Row(["X-Forwarded-For: 6.6.6.6, 192.0.2.1"], "192.0.2.1"),
        Row(["X-Forwarded-For: 6.6.6.6", "x-forwarded-for: 192.0.2.1, 10.9.9.9"], "192.0.2.1"),
        Row(["X-Forwarded-For: 192.0.2.1:4711"], "192.0.2.1"), Row(["X-Forwarded-For: 6.6.6.6, 2001:DB8::0:1"], "2001:db8::1"),
        Row(["X-Forwarded-For: 6.6.6.6, [2001:db8::1]:80, ::ffff:10.0.0.7"], "2001:db8::1"),
        Row(["X-Forwarded-For: 10.2.2.2, 10.3.3.3"], "10.2.2.2"),
        // Garbage of the client takes nothing from what its proxy says; what nobody can read is nobody, least of all the proxy.
        Row(["X-Forwarded-For: \"6.6.6.6, 192.0.2.1"], "192.0.2.1"), Row(["X-Forwarded-For: 6.6.6.6, evil"], "unknown"),
        Row(["X-Forwarded-For: 6.6.6.6, unknown, 10.1.1.1"], "unknown"),
        Row(["X-Forwarded-For: 6.6.6.6, _hidden"], "unknown", node: "_hidden"),
        Row(["Forwarded: for=6.6.6.6", "X-Forwarded-For: 192.0.2.1"], "192.0.2.1"), Row(["Forwarded: for=6.6.6.6"], "127.0.0.1"),
      ], "trustedProxies: [127.0.0.1, 10.0.0.0/8]")
  }

  @Test(
    "Forwarded-header trust: Forwarded of trusted proxies is read from the right, and X-Forwarded-For beside it is the client's own (S3)")
  func standard() async throws {
    try await Self.check(
      [
        Row(["Forwarded: for=6.6.6.6, for=192.0.2.1;proto=gopher;host=evil.example"], "192.0.2.1"),
        Row(["Forwarded: for=6.6.6.6", "Forwarded: for=192.0.2.1;by=_x, for=10.1.1.1"], "192.0.2.1"),
        Row(["Forwarded: for=6.6.6.6, for=\"[2001:db8::1]:80\""], "2001:db8::1"),
        Row(["Forwarded: for=6.6.6.6, for=_hidden"], "unknown", node: "_hidden"), Row(["Forwarded: for=6.6.6.6, proto=http"], "unknown"),
        Row(["Forwarded: for=6.6.6.6, for=\"192.0.2.1"], "unknown"), Row(["Forwarded: for=\"6.6.6.6, for=192.0.2.1"], "unknown"),
        Row(["Forwarded: for=192.0.2.1", "X-Forwarded-For: 6.6.6.6"], "192.0.2.1"), Row(["X-Forwarded-For: 6.6.6.6"], "127.0.0.1"),
      ], "trustedProxies: [127.0.0.1, 10.0.0.0/8]\nforwardedField: forwarded")
  }

  /// Version 2, from this IPv4 address.
  private static func binary(_ client: [UInt8]) -> [UInt8] {
    [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a, 0x21, 0x11, 0, 12] + client + [127, 0, 0, 1, 0x10, 0, 1, 0xbb]
  }

  @Test(
    "Who a PROXY header names is the client, or another proxy whose field counts if it is trusted: versions 1 and 2, with and without TLS (S3)"
  )
  func proxyHeader() async throws {
    let authority = try await TestAuthority()
    let server = try await authority.issue("server", names: "DNS:localhost")
    let text = """
      listen: [{address: "127.0.0.1:0", proxyProtocol: true}, {address: "0.0.0.0:0", tls: true, proxyProtocol: true}]
      tls: {certificates: {main: {chain: \(server.chain), key: \(server.key)}}}
      trustedProxies: [127.0.0.0/8, 10.0.0.0/8]
      """
    let headers: [([UInt8], String)] = [
      (Array("PROXY TCP4 198.51.100.1 127.0.0.1 4096 443\r\n".utf8), "198.51.100.1"),
      (Array("PROXY TCP6 2001:db8::1 ::1 4096 443\r\n".utf8), "2001:db8::1"), (Self.binary([198, 51, 100, 2]), "198.51.100.2"),
      // Behind another proxy of ours, whose field counts.
      (Array("PROXY TCP4 10.1.1.1 127.0.0.1 4096 443\r\n".utf8), "192.0.2.1"), (Self.binary([10, 1, 1, 1]), "192.0.2.1"),
      (Array("PROXY UNKNOWN\r\n".utf8), "192.0.2.1"),
    ]
    try await ServedFile.run(text) { (served: ServedFile) async throws -> Void in
      for (header, client) in headers {
        for way in Way.allCases {
          let relay = try TCPRelay(to: Int(served.ports[way == .plain ? 0 : 1]), greeting: header)
          let answer = try await served.curl(
            way == .plain ? nil : authority, "/pub/x",
            ["-H", "X-Forwarded-For: 6.6.6.6, 192.0.2.1"] + (way == .plain ? [] : [way.rawValue]),
            port: UInt16(relay.port))
          #expect(answer.hasPrefix("hello\n200"), "\(answer)")
          #expect(served.upstream.requests.last?.all("x-forwarded-for") == [client], "\(client) \(way)")
        }
      }
      for garbage in ["GET / HTTP/1.1\r\n\r\n", "PROXY TCP4 1.2.3 4.5.6.7 1 2\r\n"] {
        let relay = try TCPRelay(to: Int(served.ports[0]), greeting: Array(garbage.utf8))
        #expect(try await served.curl(nil, "/pub/x", port: UInt16(relay.port)).contains("curl: ("))
      }
      #expect(try await served.series("proxy_headers_refused_total")["{cause=\"malformed\"}"] == 2)
    }
  }

  @Test("A PROXY header of somebody who is no trusted proxy is not read: the connection is closed and counted (S3)")
  func strangersProxyHeader() async throws {
    try await ServedFile.run("listen: {address: \"127.0.0.1:0\", proxyProtocol: true}\ntrustedProxies: 192.0.2.7") {
      (served: ServedFile) async throws -> Void in
      let relay = try TCPRelay(to: Int(served.ports[0]), greeting: Array("PROXY TCP4 192.0.2.7 127.0.0.1 4096 443\r\n".utf8))
      #expect(try await served.curl(nil, "/pub/x", port: UInt16(relay.port)).contains("curl: ("))
      #expect(served.upstream.requests.isEmpty)
      #expect(try await served.series("proxy_headers_refused_total")["{cause=\"untrusted\"}"] == 1)
    }
  }
}
