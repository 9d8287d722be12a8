import HTTPMessage
import HTTPServer
import IntercomCore
import IntercomTesting
import Linux
import ReverseProxy
import Synchronization
import Testing

/// Requests that ask to switch protocols, through the forwarder.
@Suite("Forwarder: tunnels", .timeLimit(.minutes(2)))
struct TunnelTests {
  private static let host = "intercom.example"
  private static let switched =
    "HTTP/1.1 101 Switching Protocols\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    + "Sec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"

  /// A tunnel stands on the connection.
  private static func open(_ socket: RawSocket) throws {
    let answer = try WebSocketClient(socket).open("/x", host: host)
    guard answer.status == 101 else { throw RawSocketError.ended("\(answer)") }
  }

  private func run(
    to port: UInt16, times: UpstreamTimeouts = UpstreamTimeouts(), upgrades: [String] = ["websocket"],
    server: ServerSettings = ServerSettings(), _ body: (Proxy) async throws -> Void
  ) async throws {
    try await Proxy.run(
      to: "http://127.0.0.1:\(port)/", times: times, server: server, upgrades: upgrades.map { Array($0.utf8) }, body)
  }

  @Test("a WebSocket goes through: the head that the upstream gets, its 101, and frames both ways")
  func webSocket() async throws {
    let echo = try await WebSocketEcho.start()
    try await run(to: echo.port) { proxy in
      try await proxy.client { socket in
        let client = WebSocketClient(socket)
        let answer = try client.open(
          "/chat?room=1", host: Self.host,
          [
            ("Connection", "keep-alive, Upgrade, X-Hop"), ("X-Hop", "1"), ("Keep-Alive", "timeout=5"), ("HTTP2-Settings", "AAA"),
            ("Sec-WebSocket-Protocol", "chat"), ("Cookie", "test~a=1; other=2"), ("Upgrade", "h2c, WebSocket"),
          ])
        #expect(answer.status == 101 && answer.field("Upgrade") == "websocket" && answer.field("Connection") == "Upgrade")
        #expect(answer.field("Sec-WebSocket-Accept") == "s3pPLMBiTxaQ9kYGzzhZRbK+xOo=" && answer.field("X-Upstream") == "echo")
        #expect(answer.field("Set-Cookie")?.hasPrefix("test~ws=1") == true, "\(answer.head)")
        #expect(answer.field("Access-Control-Allow-Origin") == "https://app.example")
        #expect(try client.echoes("hello") && client.echoes(String(repeating: "x", count: 60_000)))
        try client.send("", first: 0x88)
        #expect(try client.receive().first == 0x88)
        try socket.expectEnd()
      }
      let head = try #require(echo.heads.first).lowercased()
      #expect(head.contains("\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\n"), "\(head)")
      #expect(head.contains("\r\nsec-websocket-protocol: chat\r\n") && head.contains("\r\ncookie: a=1\r\n"))
      for gone in ["x-hop", "keep-alive", "h2c", "other=2"] { #expect(!head.contains(gone), "\(gone) in \(head)") }
      #expect(await eventually { echo.open == 0 })
      #expect(await eventually { await proxy.server.server.connections() == 0 })
    }
    await echo.stop()
  }

  @Test("nothing behind the head reaches the upstream before its 101, and then all of it does (fault 42, S23)")
  func early() async throws {
    let seen = Monitor("")
    let mayAnswer = Monitor(false)
    let server = try RawServer { socket, _ in
      _ = try socket.receive(until: "\r\n\r\n")
      mayAnswer.wait { $0 ? () : nil }
      seen.withLock { [early = try? socket.receiveNow()] in $0 = early.map { String(decoding: $0, as: UTF8.self) } ?? "broken" }
      try socket.send(Self.switched + "behind")
      try socket.send(bytes: try socket.receive(exactly: 5))
    }
    try await run(to: server.port) { proxy in
      let client = try await proxy.client { client in
        try client.send(WebSocketClient.request("/x", host: Self.host) + "early")
        return client
      }
      #expect(await eventually { server.connections == 1 })
      try await Task.sleep(for: .milliseconds(100))
      mayAnswer.withLock { $0 = true }
      mayAnswer.signal()
      let text = try await onThread {
        _ = try client.receive(until: "\r\n\r\n")
        return String(decoding: try client.receive(exactly: 11), as: UTF8.self)
      }
      #expect(text == "behindearly" && seen.withLock { $0 }.isEmpty, "before the 101 came \(seen.withLock { $0 })")
    }
    server.stop()
  }

  @Test(
    "an upstream's 200, 403 or 426 is passed on; what was sent behind is a request of its own elsewhere (fault 42, S23)",
    arguments: [200, 403, 426])
  func ordinary(status: Int) async throws {
    let heads = Monitor<[(Int, String)]>([])
    let server = try RawServer { socket, number in
      while true {
        let head = try socket.receive(until: "\r\n\r\n")
        heads.withLock { $0.append((number, head)) }
        try socket.send("HTTP/1.1 \(head.contains("/second") ? 299 : status) X\r\nUpgrade: websocket\r\nContent-Length: 2\r\n\r\nok")
      }
    }
    try await run(to: server.port) { proxy in
      try await proxy.client { client in
        try client.send(WebSocketClient.request("/x", host: Self.host) + "GET /second HTTP/1.1\r\nHost: \(Self.host)\r\n\r\n")
        let first = try client.readResponse()
        #expect(first.status == status && first.text == "ok" && first.field("Upgrade") == nil)
        #expect(try client.readResponse().status == 299)
      }
      let seen = heads.withLock { $0 }
      #expect(seen.map(\.0) == [0, 1], "the connection of an upgrade was used again")
      #expect(seen.count == 2 && !seen[0].1.contains("/second") && seen[1].1.hasPrefix("GET /second"))
    }
    server.stop()
  }

  static let badSwitches = [
    ("another protocol", "Upgrade: x\r\nConnection: upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
    ("two protocols", "Upgrade: websocket, x\r\nConnection: upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
    ("no Upgrade", "Connection: upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
    ("no Connection", "Upgrade: websocket\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
    ("a wrong proof", "Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: AAAPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n"),
    ("no proof", "Upgrade: websocket\r\nConnection: upgrade\r\n"),
  ]
  @Test("a 101 that was not asked for in this way is 502, and the connection is gone (S23)", arguments: badSwitches)
  func badSwitch(_ name: String, _ lines: String) async throws {
    let server = try RawServer { socket, _ in
      _ = try socket.receive(until: "\r\n\r\n")
      try socket.send("HTTP/1.1 101 Switching Protocols\r\n\(lines)\r\n")
      try socket.expectEnd()
    }
    try await run(to: server.port) { proxy in
      try await proxy.client { client in
        let answer = try WebSocketClient(client).open("/x", host: Self.host)
        #expect(answer.status == 502 && answer.text.contains("upstream_bad_switch"), "\(name): \(answer)")
      }
    }
    server.stop()
  }

  @Test("a handshake without its one key of sixteen bytes is 400; without the Connection option, or for h2c, it is an ordinary request")
  func badHandshake() async throws {
    let echo = try await WebSocketEcho.start()
    try await run(to: echo.port) { proxy in
      for key in ["", "AAAA", "dGhlIHNhbXBsZSBub25jZQ==\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ=="] {
        try await proxy.client { client in
          let answer = try WebSocketClient(client).open("/x", host: Self.host, [("Sec-WebSocket-Key", key)])
          #expect(answer.status == 400 && answer.text.contains("bad_websocket_key"), "\(key): \(answer)")
        }
      }
      #expect(echo.heads.isEmpty)
      for (name, value) in [("Content-Length", "1"), ("Connection", "keep-alive"), ("Upgrade", "h2c")] {
        try await proxy.client { client in
          try client.send(WebSocketClient.request("/x", host: Self.host, [(name, value)]) + (name == "Content-Length" ? "x" : ""))
          #expect(try client.readResponse().status == 200)
        }
        #expect(echo.heads.last?.lowercased().contains("\r\nupgrade:") == false)
      }
    }
    await echo.stop()
  }

  @Test("bytes flow both ways at once and a reader that pauses loses none (back-pressure)")
  func flood() async throws {
    let echo = try await WebSocketEcho.start()
    let size = Rounds.count(8 << 20, full: 256 << 20)
    try await run(to: echo.port) { proxy in
      let client = try await proxy.client { socket in
        try Self.open(socket)
        return socket
      }
      let writer = Task {
        try await onThread {
          try client.send(bytes: WebSocketFrames.header(first: 0x82, length: size, mask: [0, 0, 0, 0]))
          let piece = (0..<65_536).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
          for _ in 0..<size / 65_536 { try client.send(bytes: piece) }
        }
      }
      let isRight = try await onThread {
        pauseThread(milliseconds: 300)
        guard try client.receive(exactly: 10) == WebSocketFrames.header(first: 0x82, length: size) else { return false }
        let piece = (0..<65_536).map { UInt8(truncatingIfNeeded: $0 &* 31 &+ $0 >> 8) }
        for _ in 0..<size / 65_536 { if try client.receive(exactly: 65_536) != piece { return false } }
        return true
      }
      try await writer.value
      #expect(isRight)
    }
    await echo.stop()
  }

  @Test("the end of one direction is passed on, and the other goes on until it ends too")
  func halfClosed() async throws {
    let server = try RawServer { socket, number in
      _ = try socket.receive(until: "\r\n\r\n")
      pauseThread(milliseconds: 50)
      try socket.send("HTTP/1.1 101 X\r\nUpgrade: Raw/1\r\nConnection: upgrade\r\n\r\n")
      if number != 1 {
        let all = try socket.receiveAll()
        try socket.send(bytes: all)
      } else {
        try socket.send("bye")
        socket.shutdownWriting()
        #expect(try socket.receiveAllText() == "later")
      }
    }
    try await run(to: server.port, upgrades: ["raw/1"]) { proxy in
      let ask = "GET /x HTTP/1.1\r\nHost: \(Self.host)\r\nConnection: upgrade\r\nUpgrade: Raw/1\r\n\r\n"
      try await proxy.client { client in
        try client.send(ask)
        #expect(try client.readResponse().field("Upgrade") == "raw/1")
        // More than all buffers on the way hold, so that the upstream's end comes while reading is paused.
        let many = [UInt8](repeating: 7, count: 4 << 20)
        try client.send(bytes: many)
        client.shutdownWriting()
        pauseThread(milliseconds: 200)
        #expect(try client.receiveAll().count == many.count)
      }
      try await proxy.client { client in
        try client.send(ask)
        _ = try client.readResponse()
        #expect(try client.receiveAllText() == "bye")
        try client.send("later")
      }
      // One that has ended its direction before the tunnel stands.
      try await proxy.client { client in
        try client.send(ask + "early")
        client.shutdownWriting()
        #expect(try client.receiveAllText().hasSuffix("\r\n\r\nearly"))
      }
      try await proxy.client { client in
        try client.send(ask)
        client.shutdownWriting()
        #expect(try client.receiveAllText().hasSuffix("\r\n\r\n"))
      }
      #expect(await eventually { await proxy.server.server.connections() == 0 })
    }
    server.stop()
  }

  @Test("a tunnel in which nothing moves ends after its time; one that is used does not")
  func idle() async throws {
    let echo = try await WebSocketEcho.start()
    try await run(to: echo.port, times: UpstreamTimeouts(tunnel: .seconds(1))) { proxy in
      let (silent, used) = try await proxy.client { first in
        let second = try RawSocket(port: proxy.server.port)
        for socket in [first, second] { try Self.open(socket) }
        return (first, second)
      }
      try await onThread {
        for _ in 0..<20 {
          pauseThread(milliseconds: 100)
          let isBack = try WebSocketClient(used).echoes("ping")
          #expect(isBack)
        }
        try silent.expectEnd()
        try used.expectEnd()
      }
      #expect(await eventually { echo.open == 0 })
    }
    await echo.stop()
  }

  @Test("a client of a tunnel that does not read what waits for it is cut (fault 36)")
  func slowReader() async throws {
    let server = try RawServer { socket, _ in
      _ = try socket.receive(until: "\r\n\r\n")
      try socket.send(Self.switched)
      let piece = [UInt8](repeating: 1, count: 65_536)
      while true { try socket.send(bytes: piece) }
    }
    var settings = ServerSettings()
    settings.paceWindow = .seconds(1)
    try await run(to: server.port, server: settings) { proxy in
      let client = try await proxy.server.client { port in
        let client = try RawSocket(port: port, buffers: 4096)
        try client.send(WebSocketClient.request("/x", host: Self.host))
        return client
      }
      #expect(await eventually { await proxy.server.server.connections() == 1 })
      #expect(await eventually { await proxy.server.server.connections() == 0 })
      client.close()
    }
    server.stop()
  }

  @Test("an upstream that breaks the tunnel breaks the client's connection, and the other way round")
  func broken() async throws {
    let ends = Monitor<[Bool]>([])
    let server = try RawServer { socket, number in
      _ = try socket.receive(until: "\r\n\r\n")
      try socket.send(Self.switched)
      if number == 0 {
        pauseThread(milliseconds: 50)
        socket.reset()
      } else {
        let isOver = (try? socket.expectEnd()) != nil
        ends.withLock { $0.append(isOver) }
      }
    }
    try await run(to: server.port) { proxy in
      try await proxy.client { client in
        try Self.open(client)
        #expect(throws: RawSocketError.broken) { _ = try client.receive() }
      }
      try await proxy.client { client in
        try Self.open(client)
        client.reset()
      }
      #expect(await eventually { ends.withLock { $0 } == [true] })
    }
    server.stop()
  }

  @Test("a drain waits for answers, not for tunnels: they end when nothing else goes on")
  func drain() async throws {
    let echo = try await WebSocketEcho.start()
    try await run(to: echo.port) { proxy in
      let clients = try await proxy.server.client { port in
        try (0..<20).map { _ in
          let socket = try RawSocket(port: port)
          try Self.open(socket)
          return socket
        }
      }
      #expect(await proxy.server.server.drain(within: .seconds(60)))
      try await onThread { for client in clients { try client.expectEnd() } }
    }
    await echo.stop()
  }
}
