import HTTPMessage
import HTTPServer
import IntercomCore
import IntercomTesting
import Linux
import Synchronization
import Testing

@Suite("HTTP server: request bodies")
struct RequestBodyTests {
  @Test("100 Continue comes when the endpoint pulls the body, and not when it does not")
  func expectContinue() async throws {
    try await TestServer.run(endpoints()) { server in
      try await server.client { port in
        let client = try RawSocket(port: port)
        try client.send("POST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        #expect(try client.readResponse().status == 100)
        try client.send("abc")
        #expect(try client.readResponse().text == "abc")
        try client.send("POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\nExpect: 100-continue\r\n\r\n")
        let answer = try client.readResponse()
        #expect(answer.status == 200 && answer.field("Connection") == "close")
        client.shutdownWriting()
        try client.expectEnd()
      }
    }
  }

  @Test("twenty uploads at once, each many times over, never lose a wake-up", arguments: 0..<20)
  func uploads(number: Int) async throws {
    var table = EndpointTable()
    table.add(.post, "/sum") { _, body in
      var count = 0
      while let piece = try await body.next() { count += piece.count }
      return Response(200, Fields(), text("\(count)"))
    }
    try await TestServer.run(table) { server in
      try await server.client { port in
        let client = try RawSocket(port: port)
        for _ in 0..<10 {
          try client.send("POST /sum HTTP/1.1\r\nHost: a\r\nContent-Length: 1048576\r\nExpect: 100-continue\r\n\r\n")
          #expect(try client.readResponse().status == 100)
          for _ in 0..<32 { try client.send(bytes: [UInt8](repeating: 120, count: 32_768)) }
          #expect(try client.readResponse().text == "1048576")
        }
      }
    }
  }

  @Test("a small body that nobody reads is swallowed and the connection goes on; a large one closes it")
  func unreadBody() async throws {
    try await TestServer.run(endpoints()) { server in
      try await server.client { port in
        let client = try RawSocket(port: port)
        try client.send("POST /unread HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\n\r\nabcdeGET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(try client.readResponse().text == "unread")
        #expect(try client.readResponse().text == "hello")
        try client.send("POST /nowhere HTTP/1.1\r\nHost: a\r\nContent-Length: 10000000\r\n\r\nabc")
        let answer = try client.readResponse()
        #expect(answer.status == 404 && answer.field("Connection") == "close")
        try client.send(bytes: [UInt8](repeating: 120, count: 100_000))
        client.shutdownWriting()
        try client.expectEnd()
      }
    }
  }

  @Test("an unread chunked body is swallowed up to the limit only")
  func unreadChunks() async throws {
    try await TestServer.run(endpoints()) { server in
      try await server.client { port in
        let client = try RawSocket(port: port)
        try client.send("POST /nowhere HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        #expect(try client.readResponse().status == 404)
        try client.send("3\r\nabc\r\n0\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(try client.readResponse().text == "hello")
        try client.send("POST /nowhere HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n")
        #expect(try client.readResponse().status == 404)
        let chunk = "1000\r\n" + String(repeating: "x", count: 4096) + "\r\n"
        #expect(throws: RawSocketError.self) {
          for _ in 0..<10_000 { try client.send(chunk) }
          _ = try client.readResponse()
        }
      }
    }
  }

  @Test("broken chunks are 400 and the end", arguments: ["zz\r\n", "3\r\nabcX\r\n", "-1\r\n", "3\nabc\r\n", "FFFFFFFFFFFFFFFF\r\n"])
  func brokenChunks(body: String) async throws {
    try await TestServer.run(endpoints()) { server in
      try await server.client { port in
        let client = try RawSocket(port: port)
        try client.send("POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
        let answer = try client.readResponse()
        #expect(answer.status == 400 && answer.field("Connection") == "close")
        client.shutdownWriting()
        try client.expectEnd()
      }
    }
  }

  @Test("a body that is larger than the endpoint takes is 413")
  func tooLarge() async throws {
    try await TestServer.run(endpoints()) { server in
      try await server.client { port in
        let client = try RawSocket(port: port)
        try client.send("POST /small HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\nabcdefghijk")
        #expect(try client.readResponse().status == 413)
      }
    }
  }

  @Test("pulling is what reads: a client sends no more than some buffers hold while the endpoint waits")
  func inputBackPressure() async throws {
    let gate = Monitor(false)
    let reached = Atomic<Bool>(false)
    var table = EndpointTable()
    table.add(.post, "/gated") { _, body in
      _ = try await body.next(max: 1)
      reached.store(true, ordering: .releasing)
      try await onThread { gate.wait { $0 ? () : nil } }
      var count = 1
      while let piece = try await body.next() { count += piece.count }
      return Response(200, Fields(), text("\(count)"))
    }
    try await TestServer.run(table) { server in
      let sent = Monitor(0)
      async let answer = server.client { port in
        let client = try RawSocket(port: port, timeOut: .seconds(30))
        let total = 32 << 20
        try client.send("POST /gated HTTP/1.1\r\nHost: a\r\nContent-Length: \(total)\r\n\r\n")
        let piece = [UInt8](repeating: 120, count: 1 << 16)
        for _ in 0..<total / piece.count {
          try client.send(bytes: piece)
          sent.withLock { $0 += piece.count }
        }
        return try client.readResponse().text
      }
      #expect(await eventually { reached.load(ordering: .acquiring) })
      // It holds still when the kernel's buffers are full.
      var last = -1
      while true {
        let now = sent.withLock { $0 }
        if now == last, now > 0 { break }
        last = now
        try await SystemTime().sleep(for: .milliseconds(100))
      }
      #expect(last < 24 << 20)
      gate.withLock { $0 = true }
      gate.broadcast()
      #expect(try await answer == "\(32 << 20)")
    }
  }
}
