import HTTPMessage
import HTTPServer
import IntercomCore
import IntercomTesting
import Linux
import OpenSSL
import ReverseProxy
import Telemetry
import Testing

/// A backend whose endpoints are reached by TLS, and who it must be.
@Suite("TLS to upstreams", .serialized, .timeLimit(.minutes(3)))
struct UpstreamTLSTests {
  private func trust(_ authority: TestAuthority, identity: TLSIdentity? = nil, name: Identifier? = nil) throws -> UpstreamTLS {
    UpstreamTLS(try TLSContext(client: authority.certificates(), identity: identity), serverName: name)
  }

  private func backend(_ identity: TLSIdentity, clients: TLSClientCertificates? = nil) throws -> TLSContext {
    try TLSContext(server: [identity], protocols: [.http2, .http11], clients: clients)
  }

  @Test("are answered like others: bodies of all framings both ways, one connection for many requests, HTTP/1.1 though HTTP/2 is offered")
  func answers() async throws {
    let authority = try await TestAuthority()
    let identity = try await authority.identity("right", names: "DNS:localhost,IP:127.0.0.1")
    try await TestServer.run(endpoints(), tls: backend(identity)) { server in
      for host in ["localhost", "127.0.0.1", "LocalHost."] {
        try await Proxy.run(to: "https://\(host):\(server.port)/", tls: trust(authority)) { proxy in
          let body = String(repeating: "0123456789abcdef", count: 50_000)
          try await proxy.client { client in
            for _ in 0..<3 {
              try client.send("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
              #expect(try client.readResponse().text == "hello")
            }
            try client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)")
            #expect(try client.readResponse().text == body)
            try client.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
            #expect(try client.readResponse().text == "abcde")
            try client.send("GET /chunks HTTP/1.1\r\nHost: a\r\n\r\nGET /unchanged HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(try client.readResponse().text == "onetwo")
            #expect(try client.readResponse().status == 304)
          }
          #expect(await server.server.connections() == 1, "a connection for every request")
          try await proxy.client { client in
            try client.send("GET /short HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(throws: (any Error).self) { _ = try client.readResponse() }
          }
        }
      }
    }
  }

  @Test("an authority that is trusted besides the system's is; beside a route's own it is not (S33)")
  func extraAuthorities() async throws {
    let (authority, stranger) = (try await TestAuthority(), try await TestAuthority())
    let identity = try await authority.identity("right", names: "IP:127.0.0.1")
    try await TestServer.run(endpoints(), tls: backend(identity)) { server in
      let cases: [(TLSCertificates?, TLSCertificates?, Int)] = [
        (nil, try authority.certificates(), 200), (nil, try stranger.certificates(), 502), (nil, nil, 502),
        (try stranger.certificates(), try authority.certificates(), 502), (try authority.certificates(), try stranger.certificates(), 200),
      ]
      for (own, extra, status) in cases {
        let tls = UpstreamTLS(try TLSContext(client: own, besidesSystem: extra))
        try await Proxy.run(to: "https://127.0.0.1:\(server.port)/", tls: tls) { proxy in
          try await proxy.client { client in
            try client.send("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(try client.readResponse().status == status)
          }
        }
      }
    }
  }

  @Test("a name that is no host of the URL can be expected, and then no other will do")
  func serverName() async throws {
    let authority = try await TestAuthority()
    let identity = try await authority.identity("inner", names: "DNS:files.cluster.internal")
    try await TestServer.run(endpoints(), tls: backend(identity)) { server in
      for (name, status) in [("files.cluster.internal", 200), ("127.0.0.1", 502), ("localhost", 502)] {
        try await Proxy.run(to: "https://127.0.0.1:\(server.port)/", tls: trust(authority, name: Identifier(name))) { proxy in
          try await proxy.client { client in
            try client.send("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(try client.readResponse().status == status)
          }
        }
      }
    }
  }

  private struct Refused {
    let what: String
    let identity: TLSIdentity
    var host = "localhost"
    let reason: String
  }

  private func refused(_ authority: TestAuthority) async throws -> [Refused] {
    let stranger = try await TestAuthority()
    let hidden = Array("localhost".utf8) + [0] + Array(".evil.example".utf8)
    let bytes = [0x30, UInt8(hidden.count + 2), 0x82, UInt8(hidden.count)] + hidden
    let der = "DER:" + bytes.map { String($0 >> 4, radix: 16) + String($0 & 15, radix: 16) }.joined(separator: ":")
    func issued(_ name: String, _ names: String, days: Int = 2) async throws -> TLSIdentity {
      try await authority.identity(name, names: names, days: days)
    }
    return [
      Refused(what: "another host", identity: try await issued("other", "DNS:other.example"), reason: "hostname mismatch"),
      // The host stands in the subject, which nobody may read a name from any more (RFC 9525).
      Refused(what: "no alternative name", identity: try await issued("localhost", "DNS:other.example"), reason: "hostname mismatch"),
      Refused(what: "a part of a name", identity: try await issued("part", "DNS:local*"), reason: "hostname mismatch"),
      Refused(what: "a NUL in the name", identity: try await issued("nul", der), reason: "hostname mismatch"),
      Refused(
        what: "a name for an address", identity: try await issued("name", "DNS:127.0.0.1"), host: "127.0.0.1", reason: "IP address mismatch"
      ),
      Refused(what: "expired", identity: try await issued("late", "DNS:localhost", days: -1), reason: "certificate has expired"),
      Refused(
        what: "not yet valid", identity: try TestAuthority.identity(try await authority.issueEarly("early", names: "DNS:localhost")),
        reason: "certificate is not yet valid"),
      Refused(
        what: "self-signed", identity: try TestAuthority.identity(try await authority.issueSelfSigned("self", names: "DNS:localhost")),
        reason: "self-signed certificate"),
      Refused(
        what: "another authority", identity: try await stranger.identity("strange", names: "DNS:localhost"),
        reason: "unable to get local issuer certificate"),
    ]
  }

  @Test(
    "whose certificate is not theirs, not valid now, or of nobody we trust are 502 and get no byte; the log says why (S33, fault 58)")
  func identities() async throws {
    let authority = try await TestAuthority()
    for row in try await refused(authority) {
      let asked = Monitor(0)
      var table = EndpointTable()
      table.add(.get, "/x") { _, _ in
        asked.withLock { $0 += 1 }
        return Response(200)
      }
      let sink = MemorySink()
      try await TestServer.run(table, tls: backend(row.identity)) { server in
        let log = StructuredLog(to: sink)
        try await Proxy.run(to: "https://\(row.host):\(server.port)/", tls: trust(authority), log: log) { proxy in
          try await proxy.client { client in
            for _ in 0..<2 {
              try client.send(get)
              let answer = try client.readResponse()
              expectProblem(answer, 502, "upstream_certificate")
              #expect(!answer.text.contains(row.reason), "\(row.what)")
            }
          }
        }
      }
      #expect(asked.withLock { $0 } == 0, "\(row.what)")
      let lines = sink.lines.filter { $0.contains("\"upstream_certificate\"") }
      #expect(lines.first?.contains("\"reason\":\"\(row.reason)\"") == true, "\(row.what): \(lines)")
      #expect(lines.first?.contains("\"name\":\"\(row.host)\"") == true, "\(row.what): \(lines)")
    }
  }

  @Test("that demand a certificate get ours; without one, or with a stranger's, it is 502 (S33)")
  func clientCertificates() async throws {
    let (authority, stranger) = (try await TestAuthority(), try await TestAuthority())
    let identity = try await authority.identity("right", names: "DNS:localhost")
    let clients = TLSClientCertificates(authorities: try authority.certificates(), isRequired: true)
    try await TestServer.run(endpoints(), tls: backend(identity, clients: clients)) { server in
      let own = try await authority.identity("client", names: "DNS:client")
      try await Proxy.run(to: "https://localhost:\(server.port)/", tls: trust(authority, identity: own)) { proxy in
        try await proxy.client { client in
          for _ in 0..<3 {
            try client.send("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
            #expect(try client.readResponse().text == "hello")
          }
        }
      }
      for (wrong, reason) in [(nil, "certificate required"), (try await stranger.identity("client", names: "DNS:client"), "unknown ca")] {
        let sink = MemorySink()
        try await Proxy.run(
          to: "https://localhost:\(server.port)/", tls: trust(authority, identity: wrong), log: StructuredLog(to: sink)
        ) { proxy in
          try await proxy.client { client in
            try client.send(get)
            expectProblem(try client.readResponse(), 502, "upstream_tls")
          }
        }
        #expect(sink.lines.contains { $0.contains("\"upstream_tls\"") && $0.contains(reason) }, "\(sink.lines)")
      }
    }
  }

  @Test("that speak another version, no TLS, or nothing are 502 or 504, and nobody speaks plainly with them (fault 58)")
  func others() async throws {
    let authority = try await TestAuthority()
    let first = Monitor<[UInt8]>([])
    let plain = try RawServer { socket, _ in
      let bytes = try socket.receive()
      first.withLock { $0 = bytes }
      try socket.send("HTTP/1.1 400 Bad Request\r\nConnection: close\r\n\r\n")
    }
    let sink = MemorySink()
    try await Proxy.run(to: "https://localhost:\(plain.port)/", tls: trust(authority), log: StructuredLog(to: sink)) { proxy in
      try await proxy.client { client in
        try client.send(get)
        expectProblem(try client.readResponse(), 502, "upstream_tls")
      }
    }
    // A record of a handshake, and no word of HTTP.
    #expect(first.withLock { $0.first } == 22)
    #expect(sink.lines.contains { $0.contains("does not speak TLS") }, "\(sink.lines)")
    let ending = try RawServer { socket, _ in _ = try socket.receive() }
    try await Proxy.run(to: "https://localhost:\(ending.port)/", tls: trust(authority)) { proxy in
      try await proxy.client { client in
        try client.send(get)
        expectProblem(try client.readResponse(), 502, "upstream_tls")
      }
    }
    let silent = try RawServer { socket, _ in while !(try socket.receive().isEmpty) {} }
    let times = UpstreamTimeouts(connect: .milliseconds(300))
    try await Proxy.run(to: "https://127.0.0.1:\(silent.port)/", times: times, tls: trust(authority)) { proxy in
      try await proxy.client { client in
        try client.send(get)
        expectProblem(try client.readResponse(), 504, "upstream_timeout")
      }
    }
    for server in [plain, ending, silent] { server.stop() }
  }

  @Test(
    "of another make: openssl's server is answered with TLS 1.2 and 1.3, refused with 1.1", arguments: ["-tls1_3", "-tls1_2", "-tls1_1"])
  func versions(_ version: String) async throws {
    let authority = try await TestAuthority()
    let files = try await authority.issue("right", names: "DNS:localhost")
    let port = try FreePort.next()
    let child = try ChildProcess(
      "openssl",
      ["s_server", "-accept", "\(port)", "-cert", files.chain, "-key", files.key, "-www", version, "-cipher", "ALL:@SECLEVEL=0"],
      log: "s_server")
    _ = try await child.line("its readiness") { $0.hasPrefix("ACCEPT") }
    try await Proxy.run(to: "https://localhost:\(port)/", tls: trust(authority)) { proxy in
      try await proxy.client { client in
        try client.send("GET / HTTP/1.1\r\nHost: a\r\n\r\n")
        let answer = try client.readResponse()
        if version == "-tls1_1" { return expectProblem(answer, 502, "upstream_tls") }
        #expect(answer.status == 200 && answer.text.contains(version == "-tls1_2" ? "TLSv1.2" : "TLSv1.3"), "\(answer.text)")
        #expect(answer.text.contains("http/1.1") == answer.text.contains("ALPN protocol"))
      }
    }
    await child.terminate()
  }
}
