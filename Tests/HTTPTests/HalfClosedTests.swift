import IntercomTesting
import Linux
import Testing

/// A client's FIN says that it sends no more: is it gone, or does it still read? (docs/decisions/0016-clients-that-end-their-direction.md)
@Suite("Forwarder: clients that end their direction (fault 49)")
struct HalfClosedTests {
  /// An upstream that sends `answer` when it may, and notes when its connection ends.
  private struct Upstream {
    let state = Monitor((asked: 0, ended: 0, mayAnswer: false))
    let server: RawServer

    init(first: String, then rest: String) throws {
      server = try RawServer { [state] socket, _ in
        _ = try socket.receive(until: "\r\n\r\n")
        try socket.send(first)
        state.withLock { $0.asked += 1 }
        if !rest.isEmpty {
          state.wait { $0.mayAnswer ? () : nil }
          try socket.send(rest)
        }
        _ = try? socket.receiveAll()
        state.withLock { $0.ended += 1 }
      }
    }

    func wasAsked() async -> Bool { await eventually { [state] in state.withLock { $0.asked == 1 } } }
    /// A second is what is promised; no time-out of anybody is shorter than eight.
    func hasEnded() async -> Bool {
      await eventually(within: Rounds.isFull ? .seconds(1) : .seconds(8)) { [state] in state.withLock { $0.ended == 1 } }
    }
  }

  @Test(
    "a client that is gone while the upstream thinks ends the upstream's connection, also when it had sent requests ahead (fault 49)",
    arguments: [get, get + get])
  func gone(requests: String) async throws {
    let upstream = try Upstream(first: "", then: "")
    try await Proxy.run(to: upstream.server) { proxy in
      let client = try await proxy.client { client in
        try client.send(requests)
        return client
      }
      #expect(await upstream.wasAsked())
      client.close()
      #expect(await upstream.hasEnded())
      #expect(await eventually { await proxy.server.server.connections() == 0 })
    }
  }

  @Test("a client that only ended its direction still gets its answer, behind an interim one; HTTP/1.0 without that")
  func stillReads() async throws {
    for version in ["1.1", "1.0"] {
      let upstream = try Upstream(first: "", then: okay)
      try await Proxy.run(to: upstream.server) { proxy in
        let client = try await proxy.client { client in
          try client.send("GET /x HTTP/\(version)\r\nHost: intercom.example\r\n\r\n")
          return client
        }
        #expect(await upstream.wasAsked())
        client.shutdownWriting()
        if version == "1.1" { #expect(try await onThread { try client.readResponse().status } == 100) }
        // Longer than an answer that has begun may pause: this one has not.
        try await onThread { pauseThread(milliseconds: 1_200) }
        upstream.state.withLock { $0.mayAnswer = true }
        upstream.state.broadcast()
        let answer = try await onThread { try client.readResponse() }
        #expect(answer.status == 200 && answer.text == "ok")
        try await onThread { try client.expectEnd() }
      }
    }
  }

  @Test("an answer that pauses ends with the client's direction, and does not look complete (fault 49)")
  func stalls() async throws {
    let upstream = try Upstream(first: "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf", then: "")
    try await Proxy.run(to: upstream.server) { proxy in
      let client = try await proxy.client { client in
        try client.send(get)
        _ = try client.receive(until: "half")
        return client
      }
      client.shutdownWriting()
      #expect(await upstream.hasEnded())
      #expect(try await onThread { try client.receiveAll() }.isEmpty)
    }
  }
}
