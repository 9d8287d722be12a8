import HTTPMessage
import HTTPServer
import IntercomCore
import IntercomTesting
import Linux
import OpenSSL
import ReverseProxy
import Testing

/// How connections by TLS end, and what large bodies do.
@Suite("TLS to upstreams: ends and bodies", .serialized, .timeLimit(.minutes(3)))
struct UpstreamTLSEndTests {
  /// A proxy in front of a scripted server.
  private func run(
    _ serve: @escaping @Sendable (TLSPeer, Int) throws -> Void, times: UpstreamTimeouts = UpstreamTimeouts(),
    _ body: (Proxy, TLSServer) async throws -> Void
  ) async throws {
    let authority = try await TestAuthority()
    let context = try TLSContext(server: [try await authority.identity("right", names: "DNS:localhost")], protocols: [.http11])
    let server = try TLSServer(context, serve: serve)
    let tls = UpstreamTLS(try TLSContext(client: authority.certificates()))
    try await Proxy.run(to: "https://localhost:\(server.port)/", times: times, tls: tls) { proxy in try await body(proxy, server) }
    server.stop()
  }

  @Test("an answer that the connection's end delimits is whole with close_notify, and broken off without (fault 45)")
  func truncation() async throws {
    for isWhole in [true, false] {
      try await run { peer, _ in
        _ = try peer.receive(until: "\r\n\r\n")
        try peer.send("HTTP/1.1 200 OK\r\n\r\nhello")
        if isWhole { peer.endInOrder() }
      } _: { proxy, _ in
        try await proxy.client { client in
          try client.send(get)
          if isWhole {
            #expect(try client.readResponse().text == "hello")
          } else {
            #expect(throws: RawSocketError.broken) { _ = try client.readResponse() }
          }
        }
      }
    }
  }

  @Test(
    "an answer that says how long it is is whole without close_notify, and one that lacks bytes is broken off with it (fault 45)",
    arguments: [
      ("Content-Length: 5\r\n\r\nhello", true), ("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n0\r\n\r\n", true),
      ("Content-Length: 9\r\n\r\nhello", false), ("Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n", false),
    ])
  func lengths(_ rest: String, isWhole: Bool) async throws {
    try await run { peer, _ in
      _ = try peer.receive(until: "\r\n\r\n")
      try peer.send("HTTP/1.1 200 OK\r\n" + rest)
      if !isWhole { peer.endInOrder() }
    } _: { proxy, server in
      try await proxy.client { client in
        for _ in 0..<2 where isWhole {
          try client.send(get)
          #expect(try client.readResponse().text == "hello")
        }
        guard !isWhole else { return }
        try client.send(get)
        #expect(throws: (any Error).self) { _ = try client.readResponse() }
      }
      #expect(server.connections == (isWhole ? 2 : 1))
    }
  }

  @Test("a kept connection that ends is replaced: GET is sent again when it was under way, POST never, and always by TLS (fault 47)")
  func keptConnections() async throws {
    let heads = Monitor<[String]>([])
    try await run { peer, _ in
      for round in 0..<2 {
        let head = try peer.receive(until: "\r\n\r\n")
        heads.withLock { $0.append(head) }
        // The second request of each connection gets no answer.
        if round == 0 { try peer.send(okay) }
      }
    } _: { proxy, server in
      try await proxy.client { client in
        try client.send(get)
        #expect(try client.readResponse().text == "ok")
        try client.send(get)
        #expect(try client.readResponse().text == "ok")
        try client.send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
        expectProblem(try client.readResponse(), 502, "upstream_broken")
      }
      #expect(server.connections == 2)
      #expect(heads.withLock { $0.count { $0.hasPrefix("POST") } } == 1)
    }
  }

  @Test("close_notify on an idle connection takes it out of use before the next request")
  func idleEnd() async throws {
    let closed = Monitor(0)
    try await run { peer, _ in
      _ = try peer.receive(until: "\r\n\r\n")
      try peer.send(okay)
      peer.endInOrder()
      // The other side has ended in order, too: it has taken note.
      if peer.receiveEnd() == 0 { closed.withLock { $0 += 1 } }
    } _: { proxy, server in
      for round in 1...3 {
        try await proxy.client { client in
          try client.send("POST /x HTTP/1.1\r\nHost: a\r\nContent-Length: 0\r\n\r\n")
          #expect(try client.readResponse().text == "ok")
        }
        #expect(await eventually { closed.withLock { $0 } == round })
      }
      #expect(server.connections == 3)
    }
  }

  @Test("interim answers pass, a switch that nobody asked for does not (fault 44)")
  func interims() async throws {
    try await run { peer, number in
      _ = try peer.receive(until: "\r\n\r\n")
      try peer.send(number == 0 ? "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n" + okay : "HTTP/1.1 101 Switching Protocols\r\n\r\n")
    } _: { proxy, _ in
      try await proxy.client { client in
        try client.send(get)
        #expect(try client.readResponse().status == 103)
        #expect(try client.readResponse().text == "ok")
      }
      try await proxy.client { client in
        try client.send(get)
        expectProblem(try client.readResponse(), 502, "upstream_bad_answer")
      }
    }
  }

  private static let mebibyte: [UInt8] = (0..<1 << 20).map { UInt8(truncatingIfNeeded: ($0 &* 31) ^ ($0 >> 8)) }

  @Test("100 MB go whole in each direction, past sides that pause")
  func longBodies() async throws {
    let count = Rounds.count(24, full: 100)
    var table = EndpointTable()
    table.add(.get, "/long") { _, _ in
      Response(
        200, Fields(), stream: .stream(length: count << 20) { writer in for _ in 0..<count { try await writer.write(Self.mebibyte) } })
    }
    table.add(.put, "/long") { _, body in
      try await SystemTime().sleep(for: .milliseconds(200))
      var (at, isSame) = (0, true)
      while let piece = try await body.next() {
        for byte in piece {
          isSame = isSame && byte == Self.mebibyte[at & 0xf_ffff]
          at += 1
        }
      }
      return Response(200, Fields(), text("\(at) \(isSame)"))
    }
    let authority = try await TestAuthority()
    let context = try TLSContext(server: [try await authority.identity("right", names: "DNS:localhost")], protocols: [.http11])
    let tls = UpstreamTLS(try TLSContext(client: authority.certificates()))
    try await TestServer.run(table, tls: context) { server in
      try await Proxy.run(to: "https://localhost:\(server.port)/", tls: tls) { proxy in
        try await proxy.client { client in
          try client.send("GET /long HTTP/1.1\r\nHost: a\r\n\r\n")
          _ = try client.receive(until: "\r\n\r\n")
          // More than all buffers hold waits meanwhile.
          pauseThread(milliseconds: 200)
          for _ in 0..<count { #expect(try client.receive(exactly: 1 << 20) == Self.mebibyte) }
          try client.send("PUT /long HTTP/1.1\r\nHost: a\r\nContent-Length: \(count << 20)\r\n\r\n")
          for _ in 0..<count { try client.send(bytes: Self.mebibyte) }
          #expect(try client.readResponse().text == "\(count << 20) true")
        }
      }
    }
  }
}
