import IntercomTesting
import Linux
import Synchronization
import Testing

/// Long answers go from socket to socket within the kernel, so what could be lost, doubled or handed to the wrong client is looked at here.
@Suite("Forwarder: long bodies")
struct LongBodyTests {
  /// Bytes that differ everywhere: a piece that is lost, doubled or moved shows.
  private static let long = (0..<3_000_000).map { UInt8(truncatingIfNeeded: ($0 &* 31) ^ ($0 >> 8) ^ ($0 >> 16)) }

  /// An upstream that answers `/long` with `Self.long` behind these lines, everything else with `okay`, and says how often connections ended.
  private static func server(_ lines: String, closes: Bool = false, then rest: [UInt8] = []) throws -> RawServer {
    try RawServer { socket, _ in
      while true {
        let head = try socket.receive(until: "\r\n\r\n")
        guard head.contains(" /long ") else {
          try socket.send(okay)
          continue
        }
        try socket.send("HTTP/1.1 200 OK\r\n\(lines)\r\n")
        try socket.send(bytes: long)
        if !rest.isEmpty { try socket.send(bytes: rest) }
        if closes { return }
      }
    }
  }

  private static let getLong = "GET /long HTTP/1.1\r\nHost: intercom.example\r\n\r\n"
  private static var length: String { "Content-Length: \(long.count)\r\n" }

  @Test("go within the kernel on this machine: the tests of this suite are of relays")
  func areRelayed() { #expect(SplicePipe.isAvailable) }

  @Test("come whole, one after the other on the same connections, to clients that pause")
  func whole() async throws {
    let server = try Self.server(Self.length)
    try await Proxy.run(to: server) { proxy in
      try await proxy.client { client in
        for round in 0..<3 {
          try client.send(Self.getLong)
          let head = try client.receive(until: "\r\n\r\n")
          #expect(head.contains("Content-Length: \(Self.long.count)\r\n"))
          // More than all buffers hold waits meanwhile.
          if round > 0 { pauseThread(milliseconds: 150) }
          #expect(try client.receive(exactly: Self.long.count) == Self.long)
          try client.send(get)
          #expect(try client.readResponse().text == "ok")
        }
      }
      #expect(server.connections == 1)
    }
  }

  @Test("whose end is the connection's come whole, with or without a length", arguments: ["", "Connection: close\r\n" + length])
  func untilClose(lines: String) async throws {
    let server = try Self.server(lines, closes: true)
    try await Proxy.run(to: server) { proxy in
      try await proxy.client { client in
        try client.send(Self.getLong)
        _ = try client.receive(until: "\r\n\r\n")
        pauseThread(milliseconds: 150)
        if lines.isEmpty {
          #expect(try client.receiveAll() == Self.long)
        } else {
          #expect(try client.receive(exactly: Self.long.count) == Self.long)
        }
      }
      try await proxy.client { client in
        try client.send(get)
        #expect(try client.readResponse().text == "ok")
      }
    }
  }

  @Test("what an upstream sends behind one never reaches the next request (fault 46)")
  func surplus() async throws {
    let server = try Self.server(Self.length, then: Array("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil".utf8))
    try await Proxy.run(to: server) { proxy in
      try await proxy.client { client in
        for _ in 0..<3 {
          try client.send(Self.getLong)
          _ = try client.receive(until: "\r\n\r\n")
          let first = try client.receive(exactly: Self.long.count / 2)
          // Meanwhile the surplus arrives: nothing tells of it when the body is through.
          pauseThread(milliseconds: 150)
          #expect(try first + client.receive(exactly: Self.long.count - first.count) == Self.long)
          try client.send(get)
          #expect(try client.readResponse().text == "ok")
        }
      }
    }
  }

  @Test("that break off never look complete (fault 45)")
  func brokenOff() async throws {
    let server = try RawServer { socket, _ in
      _ = try socket.receive(until: "\r\n\r\n")
      try socket.send("HTTP/1.1 200 OK\r\n\(Self.length)\r\n")
      try socket.send(bytes: Array(Self.long.prefix(2_000_000)))
      pauseThread(milliseconds: 50)
      socket.reset()
    }
    try await Proxy.run(to: server) { proxy in
      try await proxy.client { client in
        try client.send(Self.getLong)
        _ = try client.receive(until: "\r\n\r\n")
        #expect(throws: RawSocketError.self) { try client.receive(exactly: Self.long.count) }
      }
    }
  }

  @Test("a client that goes away while one waits for it ends the upstream's connection (fault 49)")
  func clientLeaves() async throws {
    let ended = Monitor(false)
    let server = try RawServer { socket, _ in
      _ = try socket.receive(until: "\r\n\r\n")
      try socket.send("HTTP/1.1 200 OK\r\nContent-Length: 1000000000\r\n\r\n")
      do { while true { try socket.send(bytes: Self.long) } } catch { ended.withLock { $0 = true } }
    }
    try await Proxy.run(to: server) { proxy in
      try await proxy.client { client in
        try client.send(Self.getLong)
        _ = try client.receive(exactly: 1_000_000)
        pauseThread(milliseconds: 100)
        client.reset()
      }
      #expect(await eventually { ended.withLock { $0 } })
      let loop = proxy.server.group.loops[0]
      #expect(await eventually { await loop.withLoop { $0.connections } == 0 })
    }
  }

  @Test("many at the same time come whole")
  func many() async throws {
    let server = try Self.server(Self.length)
    try await Proxy.run(to: server) { proxy in
      try await withThrowingTaskGroup(of: Bool.self) { group in
        for _ in 0..<Rounds.count(8, full: 200) {
          group.addTask {
            try await proxy.client { client in
              try client.send(Self.getLong)
              _ = try client.receive(until: "\r\n\r\n")
              pauseThread(milliseconds: 300)
              return try client.receive(exactly: Self.long.count) == Self.long
            }
          }
        }
        for try await isWhole in group { #expect(isWhole) }
      }
    }
  }
}
