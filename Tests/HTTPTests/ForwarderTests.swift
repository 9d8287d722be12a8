import HTTPMessage
import IntercomCore
import IntercomTesting
import Linux
import ReverseProxy
import Synchronization
import Testing

@Suite("Forwarder: framing and streams")
struct ForwarderTests {
  @Test("3,000 requests use one upstream connection, and pipelined ones come back in order")
  func reuse() async throws {
    let count = Monitor(0)
    let server = try upstream { _ in
      let number = count.withLock { count in
        count += 1
        return count
      }
      let body = "\(number)"
      return "HTTP/1.1 200 OK\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
    }
    try await Proxy.run(to: server) { proxy in
      try await proxy.client { client in
        for batch in 0..<300 {
          try client.send(String(repeating: get, count: 10))
          for index in 1...10 {
            let answer = try client.readResponse()
            guard answer.text == "\(batch * 10 + index)" else {
              Issue.record("\(answer)")
              return
            }
          }
        }
      }
      #expect(server.connections == 1)
    }
  }

  @Test("a fixed length stays fixed and chunked stays chunked, extensions and trailers included")
  func framing() async throws {
    let bodies = Monitor<[String]>([])
    let server = try RawServer { socket, _ in
      while true {
        let head = try socket.receive(until: "\r\n\r\n")
        let isChunked = head.contains("Transfer-Encoding: chunked\r\n")
        let body = isChunked ? try socket.receive(until: "X-T: 1\r\n\r\n") : String(decoding: try socket.receive(exactly: 5), as: UTF8.self)
        #expect(isChunked || head.contains("Content-Length: 5\r\n"))
        bodies.withLock { $0.append(body) }
        try socket.send(
          isChunked
            ? "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2;a=b\r\nab\r\n0\r\nX-U: 2\r\n\r\n"
            : "HTTP/1.1 201 Created\r\nContent-Length: 3\r\n\r\nabc")
      }
    }
    let chunks = "3;x=y\r\nabc\r\n0\r\nX-T: 1\r\n\r\n"
    try await Proxy.run(to: server) { proxy in
      try await proxy.client { client in
        try client.send("PUT /x HTTP/1.1\r\nHost: intercom.example\r\nContent-Length: 5\r\n\r\nhello")
        let fixed = try client.readResponse()
        #expect(fixed.status == 201 && fixed.text == "abc" && fixed.field("Transfer-Encoding") == nil)
        try client.send("PUT /x HTTP/1.1\r\nHost: intercom.example\r\nTransfer-Encoding: chunked\r\n\r\n" + chunks)
        _ = try client.receive(until: "\r\n\r\n")
        #expect(try client.receive(until: "X-U: 2\r\n\r\n") == "2;a=b\r\nab\r\n0\r\nX-U: 2\r\n\r\n")
        try client.send("GET /x HTTP/1.0\r\nHost: intercom.example\r\nConnection: keep-alive\r\n\r\n")
        client.shutdownWriting()
      }
    }
    #expect(bodies.withLock { $0 } == ["hello", chunks])
  }

  @Test("an HTTP/1.0 client gets chunks decoded and the end of the connection as the end")
  func oldClient() async throws {
    let server = try upstream { _ in "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n" }
    try await Proxy.run(to: server) { proxy in
      try await proxy.client { client in
        try client.send("GET /x HTTP/1.0\r\nHost: intercom.example\r\nConnection: keep-alive\r\n\r\n")
        let answer = try client.readResponse()
        #expect(answer.text == "abcde" && answer.field("Transfer-Encoding") == nil && answer.field("Connection") == "close")
      }
    }
  }

  @Test("HEAD, 204 and 304 have no body although a length may be stated, and the connection goes on")
  func bodiless() async throws {
    let server = try upstream { head in
      if head.hasPrefix("HEAD") { return "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n" }
      if head.hasPrefix("DELETE") { return "HTTP/1.1 204 No Content\r\n\r\n" }
      if head.contains("If-None-Match") { return "HTTP/1.1 304 Not Modified\r\nContent-Length: 7\r\nETag: \"a\"\r\n\r\n" }
      return okay
    }
    try await Proxy.run(to: server) { proxy in
      try await proxy.client { client in
        try client.send("HEAD /x HTTP/1.1\r\nHost: intercom.example\r\n\r\n")
        #expect(try client.readResponse(toHead: true).field("Content-Length") == "1000")
        try client.send("DELETE /x HTTP/1.1\r\nHost: intercom.example\r\n\r\n")
        #expect(try client.readResponse().status == 204)
        try client.send("GET /x HTTP/1.1\r\nHost: intercom.example\r\nIf-None-Match: \"a\"\r\n\r\n")
        #expect(try client.readResponse().status == 304)
        try client.send(get)
        #expect(try client.readResponse().text == "ok")
      }
      #expect(server.connections == 1)
    }
  }

  @Test("Expect: 100-continue is the upstream's to answer")
  func expectContinue() async throws {
    let server = try RawServer { socket, _ in
      #expect(try socket.receive(until: "\r\n\r\n").contains("Expect: 100-continue"))
      try socket.send("HTTP/1.1 100 Continue\r\n\r\n")
      let body = try socket.receive(exactly: 5)
      try socket.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
      try socket.send(bytes: body)
    }
    try await Proxy.run(to: server) { proxy in
      try await proxy.client { client in
        try client.send("PUT /x HTTP/1.1\r\nHost: intercom.example\r\nContent-Length: 5\r\nExpect: 100-continue\r\n\r\n")
        #expect(try client.readResponse().status == 100)
        try client.send("hello")
        #expect(try client.readResponse().text == "hello")
      }
    }
  }

  @Test("fault 44: 51 interim answers (100, 102, 103) pass and the final one is intact; an unasked 101 is a 502")
  func interim() async throws {
    let interims = [
      "HTTP/1.1 103 Early Hints\r\nLink: </a>\r\n\r\n", "HTTP/1.1 100 Continue\r\n\r\n", "HTTP/1.1 102 Processing\r\n\r\n",
    ]
    let server = try upstream { head in
      head.contains("/switch")
        ? "HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n"
        : String(repeating: interims.joined(), count: 17) + okay
    }
    try await Proxy.run(to: server) { proxy in
      try await proxy.client { client in
        try client.send(get)
        for _ in 0..<17 {
          for status in [103, 100, 102] { #expect(try client.readResponse().status == status) }
        }
        #expect(try client.readResponse().text == "ok")
        try client.send("GET /switch HTTP/1.1\r\nHost: intercom.example\r\n\r\n")
        #expect(try client.readResponse().status == 502)
      }
    }
  }

  @Test("an answer that comes byte by byte is read like a whole one")
  func bytewise() async throws {
    let server = try RawServer { socket, _ in
      _ = try socket.receive(until: "\r\n\r\n")
      for byte in "HTTP/1.1 103 Early Hints\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\nok\r\n0\r\n\r\n".utf8 {
        try socket.send(bytes: [byte])
      }
    }
    try await Proxy.run(to: server) { proxy in
      try await proxy.client { client in
        try client.send(get)
        #expect(try client.readResponse().status == 103)
        #expect(try client.readResponse().text == "ok")
      }
    }
  }

  @Test(
    "a client that has ended its direction behind a whole request is answered, also when its body had to wait for the upstream's connection"
  )
  func endedBehindBody() async throws {
    let server = try RawServer { socket, _ in
      _ = try socket.receive(until: "\r\n\r\n")
      let body = try socket.receive(exactly: 5)
      try socket.send("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n")
      try socket.send(bytes: body)
    }
    try await Proxy.run(to: server) { proxy in
      // The loop is held up: it finds request and end at once.
      let client = try await proxy.server.group.loops[0].withLoop { [port = proxy.server.port] _ in
        let client = try RawSocket(port: port)
        try client.send("PUT /x HTTP/1.1\r\nHost: intercom.example\r\nContent-Length: 5\r\n\r\nhello")
        client.shutdownWriting()
        return client
      }
      // On a slow machine an interim answer asks whether the client is there (docs/decisions/0016-clients-that-end-their-direction.md).
      let answer = try await onThread {
        let first = try client.readResponse()
        return first.status == 100 ? try client.readResponse() : first
      }
      #expect(answer.text == "hello")
    }
  }

  @Test("an answer without a length ends with both connections")
  func untilClose() async throws {
    let server = try RawServer { socket, _ in
      _ = try socket.receive(until: "\r\n\r\n")
      try socket.send("HTTP/1.1 200 OK\r\n\r\nwhole")
    }
    try await Proxy.run(to: server) { proxy in
      try await proxy.client { client in
        try client.send(get)
        let answer = try client.readResponse()
        #expect(answer.text == "whole" && answer.field("Connection") == "close")
      }
    }
  }

  @Test("fault 40: a 48 MB upload waits for a slow upstream instead of filling the memory, and arrives whole")
  func upload() async throws {
    let total = 48 << 20
    let gate = Monitor(false)
    let server = try RawServer { socket, _ in
      _ = try socket.receive(until: "\r\n\r\n")
      gate.wait { $0 ? () : nil }
      var count = 0
      while count < total { count += try socket.receive().count }
      try socket.send("HTTP/1.1 200 OK\r\nContent-Length: \("\(count)".utf8.count)\r\n\r\n\(count)")
    }
    let sent = Monitor(0)
    try await Proxy.run(to: server) { proxy in
      async let answer = proxy.client { client in
        try client.send("PUT /x HTTP/1.1\r\nHost: intercom.example\r\nContent-Length: \(total)\r\n\r\n")
        let piece = [UInt8](repeating: 120, count: 1 << 16)
        for _ in 0..<total / piece.count {
          try client.send(bytes: piece)
          sent.withLock { $0 += piece.count }
        }
        return try client.readResponse().text
      }
      let held = try await standstill(sent)
      #expect(held < 32 << 20)
      gate.withLock { $0 = true }
      gate.broadcast()
      #expect(try await answer == "\(total)")
    }
  }

  @Test("a 48 MB download waits for a slow client instead of filling the memory, and arrives whole")
  func download() async throws {
    let total = 48 << 20
    let sent = Monitor(0)
    let server = try RawServer { socket, _ in
      _ = try socket.receive(until: "\r\n\r\n")
      try socket.send("HTTP/1.1 200 OK\r\nContent-Length: \(total)\r\n\r\n")
      let piece = [UInt8](repeating: 120, count: 1 << 16)
      for _ in 0..<total / piece.count {
        try socket.send(bytes: piece)
        sent.withLock { $0 += piece.count }
      }
    }
    try await Proxy.run(to: server) { proxy in
      let client = try await proxy.client { client in
        try client.send(get)
        return client
      }
      let held = try await standstill(sent)
      #expect(held < 32 << 20)
      let count = try await onThread { try client.readResponse().body.count }
      #expect(count == total)
    }
  }

  /// How far a counter came when it has stopped growing.
  private func standstill(_ counter: Monitor<Int>) async throws -> Int {
    var last = -1
    while true {
      let now = counter.withLock { $0 }
      if now == last, now > 0 { return now }
      last = now
      try await SystemTime().sleep(for: .milliseconds(150))
    }
  }
}
