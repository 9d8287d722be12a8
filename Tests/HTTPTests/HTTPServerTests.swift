import EventLoop
import HTTP1
import HTTPMessage
import HTTPServer
import IntercomCore
import IntercomTesting
import Linux
import Synchronization
import Testing

private func text(_ string: String) -> [UInt8] { Array(string.utf8) }

/// The endpoints that these tests talk to.
private func endpoints() -> EndpointTable {
  var table = EndpointTable()
  table.add(.get, "/hello") { _, _ in Response(200, ["Content-Type": "text/plain"], text("hello")) }
  table.add(.get, "/slow") { _, _ in
    try await SystemTime().sleep(for: .milliseconds(40))
    return Response(200, Fields(), text("slow"))
  }
  table.add(.get, "/empty") { _, _ in Response(204) }
  table.add(.get, "/unchanged") { _, _ in Response(304, ["ETag": "\"1\""], []) }
  table.add(.post, "/echo") { _, body in Response(200, Fields(), try await body.collect(upTo: 1 << 20)) }
  table.add(.post, "/small") { _, body in Response(200, Fields(), try await body.collect(upTo: 10)) }
  table.add(.post, "/unread") { _, _ in Response(200, Fields(), text("unread")) }
  table.add(.get, "/chunks") { _, _ in
    Response(
      200, Fields(),
      stream: .stream(length: nil) { writer in for word in ["one", "two", ""] { try await writer.write(text(word)) } })
  }
  table.add(.get, "/short") { _, _ in
    Response(200, Fields(), stream: .stream(length: 10) { writer in try await writer.write(text("four")) })
  }
  table.add(.get, "/split") { _, _ in Response(200, ["X-Name": "a\r\nSet-Cookie: evil=1"], text("x")) }
  table.add(.get, "/fails") { _, _ in throw Broken(secret: "hunter2") }
  table.add(.get, "/who") { request, _ in
    Response(
      200, Fields(), text("\(request.method) \(request.host) \(request.authority) \(request.peer) \(request.fields.single("x-a") ?? "-")"))
  }
  return table
}

private struct Broken: Error { let secret: String }

@Suite("HTTP server: requests and answers")
struct HTTPServerTests {
  @Test("10,000 requests on one connection are all answered")
  func keepAlive() async throws {
    try await TestServer.run(endpoints()) { server in
      try await server.client { port in
        let client = try RawSocket(port: port)
        let batch = String(repeating: "GET /hello HTTP/1.1\r\nHost: a\r\n\r\n", count: 50)
        for _ in 0..<200 {
          try client.send(batch)
          for _ in 0..<50 {
            let response = try client.readResponse()
            guard response.status == 200, response.text == "hello" else {
              Issue.record("unexpected: \(response.head)")
              return
            }
          }
        }
      }
    }
  }

  @Test("pipelined requests are answered in order, slow ones first when they came first")
  func pipelining() async throws {
    try await TestServer.run(endpoints()) { server in
      try await server.client { port in
        let client = try RawSocket(port: port)
        try client.send(
          "GET /slow HTTP/1.1\r\nHost: a\r\n\r\nPOST /echo HTTP/1.1\r\nHost: a\r\nContent-Length: 3\r\n\r\nabc"
            + "GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
        let answers = try (0..<4).map { _ in try client.readResponse() }
        #expect(answers.map(\.status) == [200, 200, 404, 200])
        #expect(answers.map(\.text).first == "slow" && answers[1].text == "abc" && answers[3].text == "hello")
      }
    }
  }

  @Test("a head that comes byte by byte is read like a whole one")
  func bytewise() async throws {
    try await TestServer.run(endpoints()) { server in
      try await server.client { port in
        let client = try RawSocket(port: port)
        for byte in "POST /echo HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nX-T: 1\r\n\r\n"
          .utf8
        {
          try client.send(bytes: [byte])
        }
        #expect(try client.readResponse().text == "abcde")
      }
    }
  }

  @Test("HEAD, 204 and 304 have no body, and HEAD tells the length that GET would have")
  func bodiless() async throws {
    try await TestServer.run(endpoints()) { server in
      try await server.client { port in
        let client = try RawSocket(port: port)
        try client.send("HEAD /hello HTTP/1.1\r\nHost: a\r\n\r\n")
        let head = try client.readResponse(toHead: true)
        #expect(head.status == 200 && head.field("Content-Length") == "5")
        try client.send("HEAD /chunks HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(try client.readResponse(toHead: true).status == 200)
        try client.send("GET /empty HTTP/1.1\r\nHost: a\r\n\r\n")
        let empty = try client.readResponse()
        #expect(empty.status == 204 && empty.field("Content-Length") == nil && empty.field("Transfer-Encoding") == nil)
        try client.send("GET /unchanged HTTP/1.1\r\nHost: a\r\n\r\n")
        let unchanged = try client.readResponse()
        #expect(unchanged.status == 304 && unchanged.field("ETag") == "\"1\"")
        try client.send("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(try client.readResponse().text == "hello")
      }
    }
  }

  @Test("an answer of unknown length is chunked, and to HTTP/1.0 ends with the connection")
  func unknownLength() async throws {
    try await TestServer.run(endpoints()) { server in
      try await server.client { port in
        let client = try RawSocket(port: port)
        try client.send("GET /chunks HTTP/1.1\r\nHost: a\r\n\r\n")
        let chunked = try client.readResponse()
        #expect(chunked.field("Transfer-Encoding") == "chunked" && chunked.text == "onetwo")
        try client.send("GET /chunks HTTP/1.0\r\nHost: a\r\nConnection: keep-alive\r\n\r\n")
        let old = try client.readResponse()
        #expect(old.field("Transfer-Encoding") == nil && old.field("Connection") == "close" && old.text == "onetwo")
      }
    }
  }

  @Test("HTTP/1.0 closes, unless it asks to keep the connection")
  func oldVersion() async throws {
    try await TestServer.run(endpoints()) { server in
      try await server.client { port in
        let client = try RawSocket(port: port)
        try client.send("GET /hello HTTP/1.0\r\nConnection: keep-alive\r\nHost: a\r\n\r\n")
        #expect(try client.readResponse().field("Connection") == "keep-alive")
        try client.send("GET /hello HTTP/1.0\r\nHost: a\r\n\r\n")
        let last = try client.readResponse()
        #expect(last.field("Connection") == "close" && last.text == "hello")
        try client.expectEnd()
      }
    }
  }

  @Test("every answer has a Date that HTTP knows")
  func date() async throws {
    #expect(HTTPDate.text(WallInstant(seconds: 784_111_777)) == "Sun, 06 Nov 1994 08:49:37 GMT")
    #expect(HTTPDate.text(WallInstant(seconds: 951_782_400)) == "Tue, 29 Feb 2000 00:00:00 GMT")
    #expect(HTTPDate.text(WallInstant(seconds: -5)) == "Thu, 01 Jan 1970 00:00:00 GMT")
    try await TestServer.run(endpoints()) { server in
      try await server.client { port in
        let client = try RawSocket(port: port)
        try client.send("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(try client.readResponse().field("Date")?.hasSuffix(" GMT") == true)
      }
    }
  }

  @Test("an endpoint sees method, host, peer and fields")
  func request() async throws {
    try await TestServer.run(endpoints()) { server in
      try await server.client { port in
        let client = try RawSocket(port: port)
        try client.send("GET /who?x=1 HTTP/1.1\r\nHost: Files.Example:81\r\nX-A: b\r\n\r\n")
        #expect(try client.readResponse().text == "get files.example Files.Example:81 127.0.0.1 b")
      }
    }
  }

  @Test("an unknown path is 404, an unknown method 405 with Allow, both as problems")
  func notFound() async throws {
    try await TestServer.run(endpoints()) { server in
      try await server.client { port in
        let client = try RawSocket(port: port)
        try client.send("GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\nDELETE /hello HTTP/1.1\r\nHost: a\r\n\r\n")
        let missing = try client.readResponse()
        #expect(missing.status == 404 && missing.field("Content-Type") == Problem.contentType)
        let refused = try client.readResponse()
        #expect(refused.status == 405 && refused.field("Allow") == "GET, HEAD")
      }
    }
  }

  @Test("a refused head is answered as a problem and the connection closes, although the client goes on sending")
  func refusedHead() async throws {
    try await TestServer.run(endpoints()) { server in
      try await server.client { port in
        let client = try RawSocket(port: port)
        try client.send("GET /hello HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n" + String(repeating: "x", count: 2_000_000))
        let answer = try client.readResponse()
        #expect(answer.status == 400 && answer.field("Connection") == "close" && answer.text.contains("duplicate_host"))
        client.shutdownWriting()
        try client.expectEnd()
      }
    }
  }

  @Test("what an endpoint throws becomes a plain 500 without its text")
  func failure() async throws {
    try await TestServer.run(endpoints()) { server in
      try await server.client { port in
        let client = try RawSocket(port: port)
        try client.send("GET /fails HTTP/1.1\r\nHost: a\r\n\r\n")
        let answer = try client.readResponse()
        #expect(answer.status == 500 && !answer.text.contains("hunter2") && answer.field("Content-Type") == Problem.contentType)
      }
    }
  }

  @Test("response splitting: a field value with a line break is never sent")
  func responseSplitting() async throws {
    try await TestServer.run(endpoints()) { server in
      try await server.client { port in
        let client = try RawSocket(port: port)
        try client.send("GET /split HTTP/1.1\r\nHost: a\r\n\r\n")
        let answer = try client.readResponse()
        #expect(answer.status == 500 && !answer.head.contains("evil"))
      }
    }
  }

  @Test("an answer that is shorter than announced ends as a broken transfer")
  func shortStream() async throws {
    try await TestServer.run(endpoints()) { server in
      try await server.client { port in
        let client = try RawSocket(port: port)
        try client.send("GET /short HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(throws: RawSocketError.self) { try client.readResponse() }
      }
    }
  }

  @Test("a client that has ended its direction after the request still gets the answer")
  func halfClosed() async throws {
    try await TestServer.run(endpoints()) { server in
      try await server.client { port in
        let client = try RawSocket(port: port)
        try client.send("GET /slow HTTP/1.1\r\nHost: a\r\n\r\n")
        client.shutdownWriting()
        #expect(try client.readResponse().text == "slow")
        try client.expectEnd()
      }
    }
  }
}

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
    try await TestServer.run(endpoints(), settings: quick()) { server in
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
}
