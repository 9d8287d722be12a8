import HTTPMessage
import IntercomCore
import IntercomTesting
import Linux
import ReverseProxy
import Synchronization
import Testing

private let post = "POST /x HTTP/1.1\r\nHost: intercom.example\r\nContent-Length: 2\r\n\r\nhi"

/// A port where nobody listens, and that nobody else can take meanwhile: bound, but not listening.
private func withDeadPort(_ body: (UInt16) async throws -> Void) async throws {
  let socket = try Socket.bound(to: SocketAddress(.loopbackV4, port: 0), sharing: false)
  defer { Socket.close(socket) }
  try await body(try Socket.localAddress(socket).port)
}

func expectProblem(_ answer: RawResponse, _ status: Int, _ code: String) {
  #expect(answer.status == status && answer.text.contains("\"\(code)\""), "\(answer.head) \(answer.text)")
  #expect(answer.field("Content-Type") == Problem.contentType)
  // Errors carry the CORS lines too, or a page's script learns nothing.
  #expect(answer.field("Access-Control-Allow-Origin") == "https://app.example" && answer.field("Vary") == "Origin")
}

@Suite("Forwarder: faults")
struct ForwarderFaultTests {
  @Test("an upstream that is not there is a 502 with the CORS lines, and the client's connection goes on")
  func unreachable() async throws {
    try await withDeadPort { port in
      try await Proxy.run(to: "http://127.0.0.1:\(port)/") { proxy in
        try await proxy.client { client in
          for _ in 0..<2 {
            try client.send(get)
            expectProblem(try client.readResponse(), 502, "upstream_unreachable")
          }
        }
      }
    }
  }

  @Test("localhost names reach loopback without a resolver, IPv6 too; other names that do not resolve are 502")
  func names() async throws {
    let server = try upstream { _ in okay }
    for host in ["localhost", "files.intercom.localhost"] {
      try await Proxy.run(to: "http://\(host):\(server.port)/") { proxy in
        try await proxy.client { client in
          try client.send(get)
          #expect(try client.readResponse().text == "ok")
        }
      }
    }
    server.stop()
    let six = try RawServer(ip: .loopbackV6) { socket, _ in
      _ = try socket.receive(until: "\r\n\r\n")
      try socket.send(okay)
    }
    for host in ["[::1]", "localhost"] {
      try await Proxy.run(to: "http://\(host):\(six.port)/") { proxy in
        try await proxy.client { client in
          try client.send(get)
          #expect(try client.readResponse().text == "ok")
        }
      }
    }
    six.stop()
    try await Proxy.run(to: "http://nowhere.example/") { proxy in
      try await proxy.client { client in
        try client.send(get)
        expectProblem(try client.readResponse(), 502, "upstream_unknown")
      }
    }
  }

  @Test("fault 48: an upstream that hangs is a 504 at the deadline, before and after it has accepted")
  func hangs() async throws {
    let silent = try RawServer { socket, _ in _ = try socket.receiveAll() }
    try await Proxy.run(to: silent, times: UpstreamTimeouts(head: .milliseconds(100))) { proxy in
      try await proxy.client { client in
        try client.send(get)
        expectProblem(try client.readResponse(), 504, "upstream_timeout")
        try client.send(get)
        expectProblem(try client.readResponse(), 504, "upstream_timeout")
      }
    }
    // A listener whose queue is full answers no SYN.
    let full = try Socket.listening(on: SocketAddress(.loopbackV4, port: 0), sharing: false, backlog: 0)
    let address = try Socket.localAddress(full)
    let fillers = try (0..<4).map { _ in try Socket.connecting(to: address) }
    try await Proxy.run(to: "http://127.0.0.1:\(address.port)/", times: UpstreamTimeouts(connect: .milliseconds(100))) { proxy in
      try await proxy.client { client in
        try client.send(get)
        expectProblem(try client.readResponse(), 504, "upstream_timeout")
      }
    }
    for descriptor in fillers + [full] { Socket.close(descriptor) }
  }

  @Test("an upstream that stops in the middle of a body for too long is a broken transfer")
  func stalls() async throws {
    let server = try RawServer { socket, _ in
      _ = try socket.receive(until: "\r\n\r\n")
      try socket.send("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf")
      _ = try socket.receiveAll()
    }
    try await Proxy.run(to: server, times: UpstreamTimeouts(idle: .milliseconds(100))) { proxy in
      try await proxy.client { client in
        try client.send(get)
        #expect(throws: RawSocketError.self) { try client.readResponse() }
      }
    }
  }

  @Test(
    "fault 45: an answer that breaks off never looks complete to the client, and its connection is not used again",
    arguments: ["Content-Length: 10\r\n\r\nhalf", "Transfer-Encoding: chunked\r\n\r\n4\r\nhalf\r\n", "X: y\r\n\r\nhalf"])
  func brokenOff(rest: String) async throws {
    let server = try RawServer { socket, _ in
      _ = try socket.receive(until: "\r\n\r\n")
      try socket.send("HTTP/1.1 200 OK\r\n" + rest)
      // The client has the first half before the reset destroys what is on its way.
      pauseThread(milliseconds: 50)
      socket.reset()
    }
    try await Proxy.run(to: server) { proxy in
      for _ in 0..<2 {
        try await proxy.client { client in
          try client.send(get)
          #expect(throws: RawSocketError.self) { try client.readResponse() }
        }
      }
      #expect(server.connections == 2)
    }
  }

  @Test(
    "an answer that is no HTTP, or ambiguous, is a 502",
    arguments: [
      "hello\r\n\r\n", "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 3\r\n\r\nok",
      "HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nok", "HTTP/1.1 200 OK\nContent-Length: 2\n\nok",
      "HTTP/1.1 200 OK\r\nX: " + String(repeating: "x", count: 70_000) + "\r\n\r\n",
    ])
  func badAnswer(bytes: String) async throws {
    let server = try upstream { _ in bytes }
    try await Proxy.run(to: server) { proxy in
      try await proxy.client { client in
        try client.send(get)
        expectProblem(try client.readResponse(), 502, "upstream_bad_answer")
      }
    }
  }

  @Test("surplus bytes of one answer never reach the next user (S23, fault 46)")
  func surplus() async throws {
    let server = try upstream { _ in okay + "HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret" }
    try await Proxy.run(to: server) { proxy in
      for _ in 0..<3 {
        try await proxy.client { client in
          try client.send(get)
          #expect(try client.readResponse().text == "ok")
        }
      }
      #expect(server.connections == 3)
    }
  }

  @Test("fault 46: bytes on an idle upstream connection close it")
  func lateSurplus() async throws {
    let server = try RawServer { socket, _ in
      _ = try socket.receive(until: "\r\n\r\n")
      try socket.send(okay)
      pauseThread(milliseconds: 30)
      try socket.send("HTTP/1.1 200 OK\r\nContent-Length: 6\r\n\r\nsecret")
      _ = try socket.receiveAll()
    }
    try await Proxy.run(to: server) { proxy in
      try await proxy.client { client in
        try client.send(get)
        #expect(try client.readResponse().text == "ok")
        pauseThread(milliseconds: 80)
        try client.send(get)
        #expect(try client.readResponse().text == "ok")
      }
      #expect(server.connections == 2)
    }
  }

  @Test("fault 47: a GET on a reused connection that the upstream closed is sent once more; a POST at most once")
  func retry() async throws {
    let heads = Monitor<[String]>([])
    // Every connection answers one request and ends at the next one's arrival, without an answer.
    let server = try RawServer { socket, _ in
      let first = try socket.receive(until: "\r\n\r\n")
      heads.withLock { $0.append(String(first.prefix { $0 != " " })) }
      if first.hasPrefix("POST") { _ = try socket.receive(exactly: 2) }
      try socket.send(okay)
      let second = try socket.receive(until: "\r\n\r\n")
      heads.withLock { $0.append("late " + second.prefix { $0 != " " }) }
    }
    try await Proxy.run(to: server) { proxy in
      try await proxy.client { client in
        try client.send(get)
        #expect(try client.readResponse().text == "ok")
        try client.send(get)
        #expect(try client.readResponse().text == "ok")
        try client.send(post)
        expectProblem(try client.readResponse(), 502, "upstream_broken")
      }
    }
    #expect(heads.withLock { $0 } == ["GET", "late GET", "GET", "late POST"])
  }

  @Test("a GET on a new connection that ends without an answer is not sent again")
  func noRetryOnNew() async throws {
    let server = try RawServer { socket, _ in _ = try socket.receive(until: "\r\n\r\n") }
    try await Proxy.run(to: server) { proxy in
      try await proxy.client { client in
        try client.send(get)
        expectProblem(try client.readResponse(), 502, "upstream_broken")
      }
      #expect(server.connections == 1)
    }
  }

  @Test("fault 43: an answer before the upload's end is passed on, then both sides close and nothing is used again")
  func earlyAnswer() async throws {
    let server = try RawServer { socket, number in
      let head = try socket.receive(until: "\r\n\r\n")
      if head.hasPrefix("GET") { return try socket.send(okay) }
      _ = try socket.receive(exactly: 3)
      try socket.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nlarge")
      _ = try socket.receiveAll()
    }
    try await Proxy.run(to: server) { proxy in
      try await proxy.client { client in
        try client.send("PUT /x HTTP/1.1\r\nHost: intercom.example\r\nContent-Length: 1000000\r\n\r\nabc")
        let answer = try client.readResponse()
        #expect(answer.status == 413 && answer.text == "large" && answer.field("Connection") == "close")
        try? client.send(bytes: [UInt8](repeating: 120, count: 500_000))
        client.shutdownWriting()
        try client.expectEnd()
      }
      try await proxy.client { client in
        try client.send(get)
        #expect(try client.readResponse().text == "ok")
      }
      #expect(server.connections == 2)
    }
  }

  @Test("fault 43: an upstream that answers, does not read and closes: the answer still arrives, every time")
  func earlyAnswerAndClose() async throws {
    let server = try RawServer { socket, _ in
      _ = try socket.receive(until: "\r\n\r\n")
      try socket.send("HTTP/1.1 413 Content Too Large\r\nContent-Length: 5\r\n\r\nlarge")
      socket.shutdownWriting()
      pauseThread(milliseconds: 30)
    }
    try await Proxy.run(to: server) { proxy in
      for _ in 0..<20 {
        try await proxy.client { client in
          try Threads.spawn(name: "uploader") {
            try? client.send("PUT /x HTTP/1.1\r\nHost: intercom.example\r\nContent-Length: 8000000\r\n\r\n")
            try? client.send(bytes: [UInt8](repeating: 120, count: 4_000_000))
          }
          #expect(try client.readResponse().status == 413)
        }
      }
    }
  }

  @Test("broken chunks of a client end the upload as 400 and the upstream never sees a complete body")
  func brokenUpload() async throws {
    let seen = Monitor<String?>(nil)
    let server = try RawServer { socket, _ in
      _ = try socket.receive(until: "\r\n\r\n")
      let rest = try socket.receiveAllText()
      seen.withLock { $0 = rest }
    }
    try await Proxy.run(to: server) { proxy in
      try await proxy.client { client in
        try client.send("PUT /x HTTP/1.1\r\nHost: intercom.example\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n")
        pauseThread(milliseconds: 30)
        try client.send("zz\r\n0\r\n\r\n")
        #expect(try client.readResponse().status == 400)
      }
      #expect(await eventually { seen.withLock { $0 } != nil })
      #expect(seen.withLock { $0 }?.contains("0\r\n\r\n") == false)
    }
  }

  @Test("more connections than an upstream may have are 503")
  func bulkhead() async throws {
    let server = try RawServer { socket, _ in _ = try socket.receiveAll() }
    var settings = ForwardSettings()
    settings.connections = 1
    try await Proxy.run(to: server, settings: settings) { proxy in
      let first = try await proxy.client { client in
        try client.send(get)
        return client
      }
      #expect(await eventually { server.connections == 1 })
      try await proxy.client { client in
        try client.send(get)
        expectProblem(try client.readResponse(), 503, "upstream_busy")
      }
      first.close()
    }
  }

  @Test("the hook hears of each 401, and of no other answer")
  func hook() async throws {
    let server = try upstream { head in
      head.contains("/denied") ? "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n" : "HTTP/1.1 100 Continue\r\n\r\n" + okay
    }
    try await Proxy.run(to: server) { proxy in
      try await proxy.client { client in
        try client.send("GET /denied HTTP/1.1\r\nHost: intercom.example\r\n\r\n" + get)
        #expect(try client.readResponse().status == 401)
        _ = try client.readResponse()
        _ = try client.readResponse()
      }
      #expect(proxy.refused.withLock { $0 } == 1)
    }
  }
}
