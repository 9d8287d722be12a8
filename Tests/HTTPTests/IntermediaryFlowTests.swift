import EventLoop
import HTTP1
import HTTPMessage
import HTTPServer
import IntercomCore
import IntercomTesting
import Linux
import ReverseProxy
import Testing

/// Rules of RFC 9110 and RFC 9112 for whoever passes messages on, over sockets.
@Suite("Rules for intermediaries, over sockets")
struct IntermediaryFlowTests {
  /// An upstream that answers well, and the heads that it got.
  private func recordingUpstream() throws -> (RawServer, Monitor<[String]>) {
    let heads = Monitor<[String]>([])
    let server = try upstream { head in
      heads.withLock { $0.append(head) }
      return okay
    }
    return (server, heads)
  }

  @Test("an OPTIONS request with Max-Forwards: 0 is answered here and never forwarded (RFC 9110 §7.6.2)")
  func lastRecipient() async throws {
    let (server, heads) = try recordingUpstream()
    try await Proxy.run(to: server) { proxy in
      try await proxy.client { client in
        for hops in ["0", "1", "x"] {
          try client.send("OPTIONS /x HTTP/1.1\r\nHost: intercom.example\r\nMax-Forwards: \(hops)\r\n\r\n")
          let answer = try client.readResponse()
          #expect(answer.status == ["0": 204, "1": 200, "x": 400][hops])
          #expect(answer.field("Vary") == "Origin" && answer.field("Date") != nil)
        }
      }
    }
    #expect(heads.withLock { $0.count } == 1)
    #expect(heads.withLock { $0.first?.contains("\r\nMax-Forwards: 0\r\n") } == true)
  }

  @Test("a forwarded answer without a Date gets one (RFC 9110 §6.6.1)")
  func date() async throws {
    let server = try upstream { head in
      head.contains("/dated") ? "HTTP/1.1 200 OK\r\nDate: Sat, 29 Oct 1994 19:43:31 GMT\r\nContent-Length: 0\r\n\r\n" : okay
    }
    try await Proxy.run(to: server) { proxy in
      try await proxy.client { client in
        try client.send(get)
        let date = try #require(try client.readResponse().field("Date"))
        #expect(HTTPDate.parse(date) != nil)
        try client.send("GET /dated HTTP/1.1\r\nHost: intercom.example\r\n\r\n")
        #expect(try client.readResponse().field("Date") == "Sat, 29 Oct 1994 19:43:31 GMT")
      }
    }
  }

  @Test(
    "no trailer says who the user is, nor what Connection names: the upstream never sees its end (S4, S6, RFC 9110 §6.5.1 and §7.6.1)",
    arguments: [
      ("", "X-Remote-User: eve"), ("", "x_remote_user: eve"), ("", "Authorization: Bearer eve"), ("", "X-Forwarded-For: 6.6.6.6"),
      ("Connection: x-sum\r\n", "X-Sum: 1"), ("Connection: close , X-Sum\r\n", "x-sum: 1"),
      ("Connection: close\r\nConnection: ,x-sum\r\n", "x-sum: 1"),
    ])
  func guardedTrailers(field: String, trailer: String) async throws {
    var settings = ServerSettings()
    settings.guardedTrailers = ["X-Remote-User"]
    let bodies = Monitor<[String]>([])
    let server = try RawServer { socket, _ in
      _ = try socket.receive(until: "\r\n\r\n")
      let rest = try socket.receiveAllText()
      bodies.withLock { $0.append(rest) }
    }
    try await Proxy.run(to: server, server: settings) { proxy in
      try await proxy.client { client in
        try client.send("PUT /x HTTP/1.1\r\nHost: intercom.example\r\n\(field)Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        // The upstream has the head and the payload before the trailer comes.
        pauseThread(milliseconds: 50)
        try client.send("0\r\n\(trailer)\r\n\r\n")
        expectProblem(try client.readResponse(), 400, "bad_chunked_body")
        try client.expectEnd()
      }
      #expect(await eventually { bodies.withLock { $0.count == 1 } })
    }
    #expect(
      bodies.withLock {
        $0.allSatisfy { !$0.lowercased().contains("eve") && !$0.contains("x-sum: 1\r\n\r\n") && !$0.hasSuffix("\r\n\r\n") }
      })
  }

  @Test("other trailers pass, also where Connection names other fields")
  func otherTrailers() async throws {
    var settings = ServerSettings()
    settings.guardedTrailers = ["X-Remote-User"]
    let body = "3\r\nabc\r\n0\r\nX-Sum: 1\r\n\r\n"
    let server = try RawServer { socket, _ in
      _ = try socket.receive(until: "\r\n\r\n")
      #expect(try socket.receive(until: "1\r\n\r\n") == body)
      try socket.send(okay)
    }
    try await Proxy.run(to: server, server: settings) { proxy in
      try await proxy.client { client in
        try client.send("PUT /x HTTP/1.1\r\nHost: intercom.example\r\nConnection: x-other\r\nTransfer-Encoding: chunked\r\n\r\n" + body)
        #expect(try client.readResponse().text == "ok")
      }
    }
  }

  @Test("a trailer of the upstream that its own Connection names, or that belongs in a head, breaks the answer off (RFC 9110 §7.6.1)")
  func upstreamTrailers() async throws {
    for (field, trailer) in [("Connection: x-sum\r\n", "X-Sum: 1"), ("", "Set-Cookie: intercom=1"), ("", "Content-Length: 3")] {
      let server = try upstream { _ in "HTTP/1.1 200 OK\r\n\(field)Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\(trailer)\r\n\r\n" }
      try await Proxy.run(to: server) { proxy in
        try await proxy.client { client in
          try client.send(get)
          // A whole answer would be one that can be read.
          #expect(throws: RawSocketError.self, "\(trailer)") { try client.readResponse() }
        }
      }
    }
  }

  @Test("a body behind the head of an answer that has none never becomes the next answer (RFC 9112 §6.3)")
  func bodiless() async throws {
    let evil = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\nevil"
    for (start, first) in [
      ("HEAD /x", "200 OK\r\nContent-Length: \(evil.utf8.count)"), ("GET /x", "204 No Content\r\nContent-Length: \(evil.utf8.count)"),
      ("GET /x", "304 Not Modified\r\nContent-Length: \(evil.utf8.count)"), ("GET /x", "204 No Content\r\nTransfer-Encoding: chunked"),
      ("GET /x", "205 Reset Content\r\nContent-Length: 0"),
    ] {
      let server = try upstream { head in head.hasPrefix("\(start) ") ? "HTTP/1.1 \(first)\r\n\r\n" + evil : okay }
      try await Proxy.run(to: server) { proxy in
        try await proxy.client { client in
          try client.send("\(start) HTTP/1.1\r\nHost: intercom.example\r\n\r\n")
          let answer = try client.readResponse(toHead: start.hasPrefix("HEAD"))
          #expect(answer.status == Int(first.prefix(3)) && answer.body.isEmpty, "\(first)")
          if answer.status == 204 { #expect(answer.field("Content-Length") == nil && answer.field("Transfer-Encoding") == nil) }
          try client.send("GET /next HTTP/1.1\r\nHost: intercom.example\r\n\r\n")
          #expect(try client.readResponse().text == "ok", "\(first)")
        }
        #expect(server.connections == 2, "the connection was used again")
      }
    }
  }

  @Test("interim answers are heads alone: what they say of a length or a coding does not reach the client (RFC 9112 §6.3, RFC 9110 §8.6)")
  func interimFraming() async throws {
    let server = try upstream { _ in
      "HTTP/1.1 103 Early Hints\r\nContent-Length: 0\r\nTransfer-Encoding: chunked\r\nX-Hop: 1\r\nConnection: x-hop\r\nLink: <a>\r\n\r\n"
        + okay
    }
    try await Proxy.run(to: server) { proxy in
      try await proxy.client { client in
        try client.send(get)
        // Both at once is a broken head, whatever its status.
        #expect(try client.readResponse().status == 502)
      }
    }
    let other = try upstream { _ in
      "HTTP/1.1 103 Early Hints\r\nContent-Length: 9\r\nX-Hop: 1\r\nConnection: x-hop\r\nLink: <a>\r\n\r\n" + okay
    }
    try await Proxy.run(to: other) { proxy in
      try await proxy.client { client in
        try client.send(get)
        #expect(try client.receive(until: "\r\n\r\n") == "HTTP/1.1 103 Early Hints\r\nLink: <a>\r\n\r\n")
        #expect(try client.readResponse().text == "ok")
        // An HTTP/1.0 client gets none (RFC 9110 §15.2).
        try client.send("GET /x HTTP/1.0\r\nHost: intercom.example\r\n\r\n")
        #expect(try client.readResponse().text == "ok")
      }
    }
  }

  @Test("after Connection: close nothing that follows on the connection is looked at (RFC 9112 §9.6)")
  func close() async throws {
    let (server, heads) = try recordingUpstream()
    try await Proxy.run(to: server) { proxy in
      try await proxy.client { client in
        try client.send("GET /x HTTP/1.1\r\nHost: intercom.example\r\nConnection: close\r\n\r\n" + get)
        let answer = try client.readResponse()
        #expect(answer.text == "ok" && answer.field("Connection") == "close")
        try client.expectEnd()
      }
      try await proxy.client { client in
        try client.send("GET /x HTTP/1.0\r\nHost: intercom.example\r\n\r\n" + get)
        #expect(try client.readResponse().field("Connection") == "close")
        try client.expectEnd()
      }
    }
    #expect(heads.withLock { $0.count } == 2)
  }

  @Test("the upstream's Connection: close, or HTTP/1.0 without keep-alive, ends its connection and not the client's (RFC 9112 §9.3)")
  func upstreamCloses() async throws {
    let answers = [
      "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\nok", "HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\nok",
      "HTTP/1.1 200 OK\r\nConnection: keep-alive, Close\r\nContent-Length: 2\r\n\r\nok",
    ]
    for answer in answers {
      let server = try upstream { _ in answer }
      try await Proxy.run(to: server) { proxy in
        try await proxy.client { client in
          for _ in 0..<3 {
            try client.send(get)
            let answer = try client.readResponse()
            #expect(answer.text == "ok" && answer.field("Connection") == nil)
            #expect(answer.head.hasPrefix("HTTP/1.1 "))
          }
        }
        #expect(server.connections == 3)
      }
    }
  }
}
