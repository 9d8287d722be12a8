import HTTPMessage
import HTTPServer
import IntercomCore
import IntercomTesting
import Linux
import Synchronization
import Testing

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
    #expect(HTTPDate.format(WallInstant(seconds: 784_111_777)) == "Sun, 06 Nov 1994 08:49:37 GMT")
    #expect(HTTPDate.format(WallInstant(seconds: 951_782_400)) == "Tue, 29 Feb 2000 00:00:00 GMT")
    #expect(HTTPDate.format(WallInstant(seconds: -5)) == "Thu, 01 Jan 1970 00:00:00 GMT")
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

  enum TooLarge: String, Sendable, CaseIterable {
    case target, line, fields, cookie

    var head: String {
      let lines =
        switch self {
        case .target: ""
        case .line: "X: " + String(repeating: "x", count: 65_536) + "\r\n"
        case .fields: (0..<1000).map { "X-\($0): y\r\n" }.joined()
        case .cookie: "Cookie: a=" + String(repeating: "x", count: 1 << 20) + "\r\n"
        }
      let target = self == .target ? "/" + String(repeating: "x", count: 65_536) : "/hello"
      return "GET \(target) HTTP/1.1\r\nHost: a\r\n\(lines)\r\n"
    }
  }

  @Test(
    "a target of 64 KiB is 414, a line of 64 KiB, 1,000 fields or a cookie of 1 MB is 431, and the connection closes (fault 39)",
    arguments: TooLarge.allCases)
  func largeHead(what: TooLarge) async throws {
    try await TestServer.run(endpoints()) { server in
      try await server.client { port in
        let client = try RawSocket(port: port)
        try client.send(what.head)
        let answer = try client.readResponse()
        #expect(answer.status == (what == .target ? 414 : 431) && answer.field("Connection") == "close")
        client.shutdownWriting()
        try client.expectEnd()
        let next = try RawSocket(port: port)
        try next.send("GET /hello HTTP/1.1\r\nHost: a\r\n\r\n")
        #expect(try next.readResponse().status == 200)
      }
      #expect(await eventually { await server.server.connections() <= 1 })
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

  @Test("requests that were sent ahead before the client ended its direction are all answered")
  func halfClosedPipeline() async throws {
    try await TestServer.run(endpoints()) { server in
      try await server.client { port in
        let client = try RawSocket(port: port)
        try client.send(
          "GET /slow HTTP/1.1\r\nHost: a\r\n\r\nGET /hello HTTP/1.1\r\nHost: a\r\n\r\nGET /slow HTTP/1.1\r\nHost: a\r\n\r\nGET /he")
        client.shutdownWriting()
        for text in ["slow", "hello", "slow"] { #expect(try client.readResponse().text == text) }
        try client.expectEnd()
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
