import HTTPMessage
import HTTPServer
import IntercomCore
import IntercomTesting
import Linux
import Synchronization
import Testing

@Suite("HTTP server: time and ends")
struct ServerTimeTests {
  private func quick() -> ServerSettings {
    var settings = ServerSettings()
    settings.headTime = .milliseconds(80)
    settings.idleTime = .milliseconds(150)
    settings.paceWindow = .milliseconds(400)
    return settings
  }

  @Test("fault 34: a head that trickles is cut at the deadline with 408, however lively it is")
  func slowHead() async throws {
    var settings = quick()
    settings.idleTime = .seconds(10)
    try await TestServer.run(endpoints(), settings: settings) { server in
      try await server.client { port in
        let client = try RawSocket(port: port)
        try Threads.spawn(name: "trickle") {
          for byte in "GET /hello HTTP/1.1\r\nHost: a\r\nX-Long: aaaaaaaaaaaaaaaaaaaaaaaaaaaa".utf8 {
            guard (try? client.send(bytes: [byte])) != nil else { return }
            pauseThread(milliseconds: 10)
          }
        }
        let answer = try client.readResponse()
        #expect(answer.status == 408 && answer.field("Connection") == "close")
      }
    }
  }

  @Test("fault 37: an idle connection is closed at the limit without a word")
  func idle() async throws {
    try await TestServer.run(endpoints(), settings: quick()) { server in
      try await server.client { port in
        let silent = try RawSocket(port: port)
        let used = try RawSocket(port: port)
        try used.send("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(try used.readResponse().status == 200)
        try silent.expectEnd()
        try used.expectEnd()
      }
    }
  }

  @Test("fault 35: a body that trickles is cut")
  func slowBody() async throws {
    try await TestServer.run(endpoints(), settings: quick()) { server in
      let start = SystemTime().monotonicNow()
      try await server.client { port in
        let client = try RawSocket(port: port)
        try client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 100000\r\n\r\n")
        #expect(throws: RawSocketError.self) {
          for _ in 0..<2000 {
            try client.send("x")
            pauseThread(milliseconds: 5)
          }
          throw RawSocketError.timedOut
        }
      }
      #expect(start.duration(to: SystemTime().monotonicNow()) < .seconds(5))
    }
  }

  @Test("fault 36: a client that does not read its answer is cut, and one that reads slowly but enough is not")
  func slowReader() async throws {
    var table = EndpointTable()
    table.add(.get, "/large") { _, _ in
      Response(
        200, Fields(),
        stream: .stream(length: nil) { writer in
          for _ in 0..<400 { try await writer.write([UInt8](repeating: 120, count: 65_536)) }
        })
    }
    try await TestServer.run(table, settings: quick()) { server in
      try await server.client { port in
        let dead = try RawSocket(port: port, buffers: 4096)
        try dead.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        let slow = try RawSocket(port: port, buffers: 4096)
        try slow.send("GET /large HTTP/1.1\r\nHost: a\r\n\r\n")
        let time = SystemTime()
        let end = time.monotonicNow().advanced(by: .milliseconds(1500))
        while time.monotonicNow() < end {
          _ = try slow.receive(exactly: 6000)
          pauseThread(milliseconds: 20)
        }
        #expect(throws: RawSocketError.self) { while try !dead.receive().isEmpty {} }
      }
    }
  }

  @Test("fault 36: an endpoint that streams waits for its reader instead of filling the memory")
  func outputBackPressure() async throws {
    let written = Monitor(0)
    var table = EndpointTable()
    table.add(.get, "/endless") { _, _ in
      Response(
        200, Fields(),
        stream: .stream(length: nil) { writer in
          while true {
            try await writer.write([UInt8](repeating: 120, count: 65_536))
            written.withLock { $0 += 65_536 }
          }
        })
    }
    try await TestServer.run(table) { server in
      let client = try await server.client { port in
        let client = try RawSocket(port: port, buffers: 65_536)
        try client.send("GET /endless HTTP/1.1\r\nHost: a\r\n\r\n")
        return client
      }
      var last = -1
      while true {
        let now = written.withLock { $0 }
        if now == last, now > 0 { break }
        last = now
        try await SystemTime().sleep(for: .milliseconds(100))
      }
      #expect(last < 16 << 20)
      // The client goes away: the task ends.
      client.close()
      #expect(await eventually { await server.server.connections() == 0 })
    }
  }

  @Test("a client that is gone cancels its endpoint")
  func cancellation() async throws {
    let state = Monitor((started: false, cancelled: false))
    var table = EndpointTable()
    table.add(.get, "/wait") { _, _ in
      state.withLock { $0.started = true }
      do { try await SystemTime().sleep(for: .seconds(60)) } catch {
        state.withLock { $0.cancelled = true }
        throw error
      }
      return Response(200)
    }
    try await TestServer.run(table) { server in
      let client = try await server.client { port in
        let client = try RawSocket(port: port)
        try client.send("GET /wait HTTP/1.1\r\nHost: a\r\n\r\n")
        return client
      }
      #expect(await eventually { state.withLock { $0.started } })
      client.reset()
      #expect(await eventually { state.withLock { $0.cancelled } })
    }
  }

  @Test("draining answers what was asked, says close, closes idle connections and accepts no more")
  func drain() async throws {
    let gate = Monitor((reached: false, open: false))
    var table = endpoints()
    table.add(.get, "/gated") { _, _ in
      gate.withLock { $0.reached = true }
      try await onThread { gate.wait { $0.open ? () : nil } }
      return Response(200, Fields(), text("done"))
    }
    try await TestServer.run(table) { server in
      let idle = try await server.client { port in
        let idle = try RawSocket(port: port)
        try idle.send("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
        _ = try idle.readResponse()
        return idle
      }
      async let answer = server.client { port in
        let client = try RawSocket(port: port)
        try client.send("GET /gated HTTP/1.1\r\nHost: a\r\n\r\n")
        return try client.readResponse()
      }
      #expect(await eventually { gate.withLock { $0.reached } })
      async let drained = server.server.drain(within: .seconds(10))
      try await onThread { try idle.expectEnd() }
      idle.close()
      await #expect(throws: (any Error).self) {
        try await server.client { port in
          let late = try RawSocket(port: port)
          try late.send("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
          _ = try late.readResponse()
        }
      }
      gate.withLock { $0.open = true }
      gate.broadcast()
      let last = try await answer
      #expect(last.text == "done" && last.field("Connection") == "close")
      #expect(await drained)
    }
  }

  @Test("what is not done within the drain's limit is cut off")
  func drainLimit() async throws {
    try await TestServer.run(endpoints()) { server in
      let client = try await server.client { port in
        let client = try RawSocket(port: port)
        try client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\nabc")
        return client
      }
      #expect(await eventually { await server.server.connections() == 1 })
      #expect(await server.server.drain(within: .milliseconds(100)) == false)
      try await onThread { try client.expectEnd() }
    }
  }

  @Test("clients beyond the limit wait and are served when others leave")
  func connectionLimit() async throws {
    var settings = ServerSettings()
    settings.maximumConnections = 2
    try await TestServer.run(endpoints(), settings: settings) { server in
      try await server.client { port in
        let first = try RawSocket(port: port)
        let second = try RawSocket(port: port)
        for client in [first, second] {
          try client.send("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
          #expect(try client.readResponse().status == 200)
        }
        let third = try RawSocket(port: port, timeOut: .milliseconds(100))
        try third.send("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(throws: RawSocketError.timedOut) { try third.readResponse() }
        first.close()
        #expect(try third.readResponse().status == 200)
      }
    }
  }

  @Test("fault 37: the object of an idle connection is smaller than 1 KB, and nothing hangs on it")
  func idleMemory() async throws {
    try await TestServer.run(endpoints()) { server in
      let client = try await server.client { port in
        let client = try RawSocket(port: port)
        try client.send("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
        _ = try client.readResponse()
        return client
      }
      let size = await server.group.loops[0].withLoop { loop in
        var size = 0
        loop.forEachSource { source in if source is Exchange { size = allocatedBytes(of: source) } }
        return size
      }
      #expect(size > 0 && size <= 1024, "\(size) bytes")
      withExtendedLifetime(client) {}
    }
  }
}
