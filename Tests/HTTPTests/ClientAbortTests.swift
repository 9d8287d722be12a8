import IntercomTesting
import Linux
import Synchronization
import Testing

/// A client that is gone must not keep an upstream busy.
@Suite("Forwarder: clients that go away (fault 49)")
struct ClientAbortTests {
  enum Moment: String, Sendable, CaseIterable { case downloading, uploading, waiting }
  enum Departure: String, Sendable, CaseIterable { case close, reset }

  private static let piece = [UInt8](repeating: 120, count: 65_536)

  /// What the upstream does with one request, until its connection ends.
  private static func serve(_ socket: RawSocket, _ moment: Moment) throws {
    if moment == .downloading {
      try socket.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
      while true { try socket.send(bytes: piece) }
    }
    while try !socket.receive().isEmpty {}
  }

  /// An end alone (FIN) while an answer is waited for does not say that nobody will read it: a client may end its direction and still read.
  @Test(
    "a client that closes or resets in the middle of a download or an upload, or resets while the upstream thinks, ends its connection (fault 49)",
    arguments: [
      (Moment.downloading, Departure.close), (.downloading, .reset), (.uploading, .close), (.uploading, .reset), (.waiting, .reset),
    ])
  func leaves(moment: Moment, departure: Departure) async throws {
    let state = Monitor((asked: false, ended: false))
    let server = try RawServer { socket, _ in
      _ = try socket.receive(until: "\r\n\r\n")
      state.withLock { $0.asked = true }
      do { try Self.serve(socket, moment) } catch RawSocketError.timedOut { return } catch {}
      state.withLock { $0.ended = true }
    }
    try await Proxy.run(to: server) { proxy in
      let client = try await proxy.client { client in
        try client.send(moment == .uploading ? "PUT /x HTTP/1.1\r\nHost: intercom.example\r\nContent-Length: 1000000000\r\n\r\n" : get)
        switch moment {
        case .downloading: _ = try client.receive(exactly: 100_000)
        case .uploading: try client.send(bytes: Self.piece)
        case .waiting: break
        }
        return client
      }
      #expect(await eventually { state.withLock { $0.asked } })
      if departure == .close { client.close() } else { client.reset() }
      // A second is what is promised; no time-out of anybody is shorter than eight.
      #expect(await eventually(within: Rounds.isFull ? .seconds(1) : .seconds(8)) { state.withLock { $0.ended } })
      #expect(await eventually { await proxy.server.server.connections() == 0 })
    }
  }

  @Test("a client that goes away while its upload waits for a slow upstream ends that one's connection (fault 49)")
  func leavesHeldUp() async throws {
    let state = Monitor((asked: false, ended: false))
    let server = try RawServer { socket, _ in
      _ = try socket.receive(until: "\r\n\r\n")
      state.withLock { $0.asked = true }
      // It reads nothing until the client is gone.
      state.wait { $0.ended ? () : nil }
    }
    try await Proxy.run(to: server) { proxy in
      try await proxy.server.client { port in
        let client = try RawSocket(port: port, timeOut: .milliseconds(300))
        try client.send("PUT /x HTTP/1.1\r\nHost: intercom.example\r\nContent-Length: 1000000000\r\n\r\n")
        #expect(throws: RawSocketError.timedOut) { while true { try client.send(bytes: Self.piece) } }
        #expect(state.withLock { $0.asked })
        client.reset()
      }
      let loop = proxy.server.group.loops[0]
      #expect(await eventually(within: Rounds.isFull ? .seconds(1) : .seconds(8)) { await loop.withLoop { $0.connections } == 0 })
      state.withLock { $0.ended = true }
      state.broadcast()
    }
  }
}
