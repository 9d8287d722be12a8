import EventLoop
import HTTPMessage
import IntercomCore
import IntercomTesting
import Linux
import ReverseProxy
import Testing

private let post = "POST /x HTTP/1.1\r\nHost: intercom.example\r\nContent-Length: 2\r\n\r\nhi"

private func url(_ port: UInt16) -> String { "http://127.0.0.1:\(port)/" }

/// An upstream that answers its name, with the Host that it was asked for.
private func named(_ name: String) throws -> RawServer {
  try upstream { head in
    let host = head.split(separator: "\r\n").first { $0.hasPrefix("Host: ") } ?? ""
    let body = "\(name) \(host)"
    return "HTTP/1.1 200 OK\r\nContent-Length: \(body.utf8.count)\r\n\r\n\(body)"
  }
}

/// A port that refuses connections: bound, but not listening.
private func withDeadPort(_ body: (UInt16) async throws -> Void) async throws {
  let socket = try Socket.bound(to: SocketAddress(.loopbackV4, port: 0), sharing: false)
  defer { Socket.close(socket) }
  try await body(try Socket.localAddress(socket).port)
}

/// Settings under which an endpoint that hangs once is out.
private func impatient(pause: Duration = .milliseconds(100)) -> ForwardSettings {
  var settings = ForwardSettings()
  settings.health.timeouts = 1
  settings.health.failures = 1
  settings.health.firstPause = pause
  settings.health.longestPause = pause
  return settings
}

@Suite("Upstream pool")
struct UpstreamPoolTests {
  @Test("several endpoints take turns, all hear the first one's Host, and each keeps its connection")
  func turns() async throws {
    let (one, two) = (try named("one"), try named("two"))
    try await Proxy.run(to: url(one.port), url(two.port)) { proxy in
      let texts = try await proxy.client { client in
        try (0..<20).map { _ in
          try client.send(get)
          return try client.readResponse().text
        }
      }
      for name in ["one", "two"] {
        #expect(texts.filter { $0 == "\(name) Host: 127.0.0.1:\(one.port)" }.count == 10)
      }
      #expect(one.connections == 1 && two.connections == 1)
    }
    for server in [one, two] { server.stop() }
  }

  @Test("a dead endpoint costs no request an error, not even a POST: nothing was sent yet")
  func failover() async throws {
    let alive = try RawServer { socket, _ in
      while true {
        let head = try socket.receive(until: "\r\n\r\n")
        if head.hasPrefix("POST") { _ = try socket.receive(exactly: 2) }
        try socket.send(okay)
      }
    }
    try await withDeadPort { dead in
      try await Proxy.run(to: url(dead), url(alive.port)) { proxy in
        try await proxy.client { client in
          for request in [get, post, get, post, post, get, post] {
            try client.send(request)
            #expect(try client.readResponse().text == "ok")
          }
        }
        #expect(alive.connections == 1)
      }
    }
    alive.stop()
  }

  @Test("when every endpoint is dead each is asked, and the answer is 502 with the CORS lines")
  func allDead() async throws {
    try await withDeadPort { one in
      try await withDeadPort { two in
        try await Proxy.run(to: url(one), url(two), settings: impatient(pause: .seconds(60))) { proxy in
          try await proxy.client { client in
            for _ in 0..<5 {
              try client.send(get)
              let answer = try client.readResponse()
              #expect(answer.status == 502 && answer.text.contains("upstream_unreachable"))
              #expect(answer.field("Access-Control-Allow-Origin") == "https://app.example")
            }
          }
        }
      }
    }
  }

  @Test("endpoints that are all out are tried anyway, and work again with the first connection that opens")
  func panic() async throws {
    let reserved = try Socket.bound(to: SocketAddress(.loopbackV4, port: 0), sharing: false)
    let port = try Socket.localAddress(reserved).port
    try await Proxy.run(to: url(port), settings: impatient(pause: .seconds(60))) { proxy in
      try await proxy.client { client in
        try client.send(get)
        #expect(try client.readResponse().status == 502)
        Socket.close(reserved)
        let server = try RawServer(port: port) { socket, _ in
          while true {
            _ = try socket.receive(until: "\r\n\r\n")
            try socket.send(okay)
          }
        }
        try client.send(get)
        #expect(try client.readResponse().text == "ok")
        server.stop()
      }
    }
  }

  @Test(
    "fault 48: after time-outs a hung upstream is 503 with Retry-After at once; one request at a time finds out whether it answers again")
  func circuit() async throws {
    let works = Monitor(false)
    let server = try RawServer { socket, _ in
      while true {
        _ = try socket.receive(until: "\r\n\r\n")
        if works.withLock({ $0 }) { try socket.send(okay) }
      }
    }
    try await Proxy.run(to: server, times: UpstreamTimeouts(head: .milliseconds(150)), settings: impatient()) { proxy in
      let second = try await proxy.client { $0 }
      try await proxy.client { client in
        try client.send(get)
        #expect(try client.readResponse().status == 504)
        try client.send(get)
        let refused = try client.readResponse()
        #expect(refused.status == 503 && refused.text.contains("upstream_unavailable"))
        #expect(refused.field("Retry-After") == "1" && refused.field("Access-Control-Allow-Origin") == "https://app.example")
        #expect(server.connections == 1)
        // The pause is over: the probe hangs too, and beside it nobody else does.
        pauseThread(milliseconds: 120)
        try client.send(get)
        pauseThread(milliseconds: 50)
        try second.send(get)
        #expect(try second.readResponse().status == 503)
        #expect(try client.readResponse().status == 504)
        #expect(server.connections == 2)
        works.withLock { $0 = true }
        pauseThread(milliseconds: 120)
        for _ in 0..<3 {
          try client.send(get)
          #expect(try client.readResponse().text == "ok")
        }
      }
    }
  }

  @Test("fault 48: one of two endpoints hangs: after its time-out every request goes to the other")
  func hangsBesideOther() async throws {
    let silent = try RawServer { socket, _ in _ = try socket.receiveAll() }
    let alive = try upstream { _ in okay }
    try await Proxy.run(
      to: url(silent.port), url(alive.port), times: UpstreamTimeouts(head: .milliseconds(100)), settings: impatient(pause: .seconds(60))
    ) { proxy in
      try await proxy.client { client in
        var statuses: [Int] = []
        for _ in 0..<20 {
          try client.send(get)
          statuses.append(try client.readResponse().status)
        }
        #expect(statuses.filter { $0 == 504 }.count == 1 && statuses.filter { $0 == 200 }.count == 19)
      }
      #expect(silent.connections == 1)
    }
    for server in [silent, alive] { server.stop() }
  }

  @Test("a 5xx is an answer: the endpoint stays in service")
  func serverErrors() async throws {
    let server = try upstream { _ in "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n" }
    try await Proxy.run(to: server, settings: impatient(pause: .seconds(60))) { proxy in
      try await proxy.client { client in
        for _ in 0..<5 {
          try client.send(get)
          #expect(try client.readResponse().status == 500)
        }
      }
      #expect(server.connections == 1)
    }
  }

  @Test("of a name's addresses the one that answers is found, and asked first from then on; a name server's failure changes nothing")
  func addresses() async throws {
    let server = try RawServer { socket, _ in
      _ = try socket.receive(until: "\r\n\r\n")
      try socket.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\nConnection: close\r\n\r\nok")
    }
    let asked = Monitor(0)
    let lookUp: @Sendable (String) -> Result<[IPAddress], NameResolutionError> = { _ in
      let turn = asked.withLock { count in
        count += 1
        return count
      }
      // 127.0.0.2 has nobody at this port.
      return turn == 1 ? .success([.v4(0x7F00_0002), .loopbackV4]) : .failure(.failed("no name server answers"))
    }
    try await Proxy.run(to: "http://files.example:\(server.port)/", lookUp: lookUp) { proxy in
      try await proxy.client { client in
        for _ in 0..<4 {
          try client.send(get)
          #expect(try client.readResponse().text == "ok")
          pauseThread(milliseconds: 30)
        }
      }
    }
    #expect(asked.withLock { $0 } == 2)
    server.stop()
  }
}
