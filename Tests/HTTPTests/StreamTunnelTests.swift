import HTTPServer
import IntercomCore
import IntercomTesting
import Linux
import OpenSSL
import ReverseProxy
import Testing

/// WebSocket over a stream of HTTP/2 (RFC 8441), through the forwarder.
@Suite("Forwarder: tunnels over HTTP/2", .timeLimit(.minutes(2)))
struct StreamTunnelTests {
  /// Calls `body` on a thread of its own with a connection of HTTP/2 to a proxy whose route carries WebSockets.
  private func run(
    to port: UInt16, times: UpstreamTimeouts = UpstreamTimeouts(), upgrades: [String] = ["websocket"],
    _ body: @escaping @Sendable (HTTP2Client) throws -> Void, then: (Proxy) async throws -> Void = { _ in }
  ) async throws {
    let authority = try await TestAuthority()
    let server = try TLSContext(
      server: [try await authority.identity("server", names: "DNS:localhost")], protocols: [.http2, .http11])
    let client = try TLSContext(client: try authority.certificates(), protocols: [.http2])
    try await Proxy.run(
      to: "http://127.0.0.1:\(port)/", times: times, upgrades: upgrades.map { Array($0.utf8) }, listener: server
    ) { proxy in
      try await proxy.server.client { port in try body(try HTTP2Client(port: port, context: client)) }
      try await then(proxy)
      #expect(await eventually { await proxy.server.server.connections() == 0 })
    }
  }

  private static func frame(_ text: String) -> [UInt8] {
    WebSocketFrames.header(first: 0x81, length: text.utf8.count, mask: [0, 0, 0, 0]) + Array(text.utf8)
  }
  private static func echo(_ text: String) -> [UInt8] { WebSocketFrames.header(first: 0x81, length: text.utf8.count) + Array(text.utf8) }

  @Test("a WebSocket goes through beside ordinary requests: 200, DATA both ways within the windows, the ends of both directions")
  func webSocket() async throws {
    let echo = try await WebSocketEcho.start()
    try await run(to: echo.port) { client in
      let (stream, status) = try client.webSocket("/chat", [("sec-websocket-protocol", "chat"), ("sec-websocket-key", "forged")])
      #expect(status == 200 && client.serverSettings[HTTP2Setting.enableConnectProtocol.rawValue] == 1)
      let answer = try #require(client.answers[stream])
      #expect(answer.field("x-upstream") == "echo" && answer.field("set-cookie")?.hasPrefix("test~ws=1") == true)
      for gone in ["sec-websocket-accept", "upgrade", "connection"] { #expect(answer.field(gone) == nil) }
      try client.send(Self.frame("hello"), on: stream, endsStream: false)
      #expect(try client.body(stream, exactly: 7) == Self.echo("hello"))
      #expect(try client.answer(on: client.request("/x")).text == "hello")
      // More than all windows hold, in one frame of WebSocket.
      let long = String(repeating: "0123456789abcdef", count: 131_072)
      try client.send(Self.frame(long), on: stream, endsStream: false)
      let back = try client.body(stream, exactly: Self.echo(long).count)
      #expect(back == Self.echo(long))
      try client.send([], on: stream)
      let end = try client.answer(on: stream)
      #expect(end.isWhole && end.body.isEmpty && end.resetCode == nil)
    } then: { _ in
      let head = echo.heads.first?.lowercased() ?? ""
      #expect(head.contains("\r\nconnection: upgrade\r\nupgrade: websocket\r\n") && head.contains("\r\nsec-websocket-protocol: chat\r\n"))
      #expect(head.split(separator: "sec-websocket-key").count == 2 && !head.contains("forged"), "\(head)")
      #expect(await eventually { echo.open == 0 })
    }
    await echo.stop()
  }

  @Test("a stream that is reset ends the upstream's connection, and an upstream that breaks resets the stream")
  func broken() async throws {
    let echo = try await WebSocketEcho.start()
    try await run(to: echo.port) { client in
      let (stream, status) = try client.webSocket("/x")
      #expect(status == 200)
      try client.send(HTTP2Frame.reset(stream))
      #expect(try client.answer(on: client.request("/x")).text == "hello")
    } then: { _ in
      #expect(await eventually { echo.open == 0 })
    }
    await echo.stop()
    let server = try RawServer { socket, number in
      _ = try socket.receive(until: "\r\n\r\n")
      if number == 1 { try socket.send("HTTP/1.1 101 X\r\nUpgrade: raw\r\nConnection: upgrade\r\n\r\nx") }
      pauseThread(milliseconds: 50)
      socket.reset()
    }
    try await run(to: server.port, upgrades: ["websocket", "raw"]) { client in
      #expect(try client.webSocket("/x").status == 502)
      let stream = try client.open(
        [(":method", "CONNECT"), (":protocol", "raw"), (":scheme", "https"), (":authority", "localhost"), (":path", "/x")],
        endsStream: false)
      let answer = try client.answer(on: stream)
      #expect(answer.status == 200 && answer.text == "x" && answer.resetCode == 8, "\(answer)")
    }
    server.stop()
  }

  @Test("another answer than a switch is never 200, and what came behind it on the stream is no request (fault 42, S23)")
  func refused() async throws {
    let heads = Monitor<[String]>([])
    let server = try RawServer { socket, _ in
      while true {
        let head = try socket.receive(until: "\r\n\r\n")
        heads.withLock { $0.append(head) }
        try socket.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
      }
    }
    try await run(to: server.port) { client in
      let stream = try client.open(
        [(":method", "CONNECT"), (":protocol", "websocket"), (":scheme", "https"), (":authority", "localhost"), (":path", "/x")],
        endsStream: false)
      try client.send(Array("GET /second HTTP/1.1\r\nHost: localhost\r\n\r\n".utf8), on: stream, endsStream: false)
      let answer = try client.answer(on: stream)
      #expect(answer.status == 502 && answer.text == "ok", "\(answer)")
      #expect(try client.answer(on: client.request("/third")).status == 200)
    } then: { _ in
      #expect(heads.withLock { $0.map { String($0.prefix(10)) } } == ["GET /x HTT", "GET /third"])
    }
    server.stop()
  }

  @Test("a tunnel in which nothing moves ends after its time, the connection stays")
  func idle() async throws {
    let echo = try await WebSocketEcho.start()
    try await run(to: echo.port, times: UpstreamTimeouts(tunnel: .seconds(1))) { client in
      let (stream, status) = try client.webSocket("/x")
      #expect(status == 200)
      #expect(try client.answer(on: stream).isWhole)
      #expect(try client.answer(on: client.request("/x")).status == 200)
    }
    await echo.stop()
  }
}
