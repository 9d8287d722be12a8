import Gateway
import HTTPMessage
import HTTPServer
import IntercomApp
import IntercomCore
import IntercomTesting
import Linux
import OpenSSL
import ReverseProxy
import Sessions
import Synchronization
import Testing

/// WebSockets and streaming answers of sessions, through everything that is real.
@Suite("Flow: tunnels and streams end with their session", .serialized, .timeLimit(.minutes(3)))
struct FlowTunnelTests {
  /// The upstream sends the rest of `/plain/short` when this is true.
  private let mayGoOn = Monitor(false)

  /// A flow with a route `live` to an upstream that echoes WebSockets; `plain/events` streams an event each 50 ms without end, `plain/short`
  /// waits in its middle.
  private func run(
    _ change: @escaping @Sendable (inout Deployment) -> Void = { _ in }, _ body: (FlowFixture, WebSocketEcho) async throws -> Void
  ) async throws {
    let echo = try await WebSocketEcho.start()
    var options = FlowFixture.Options()
    options.deployment = { deployment in
      var route = try deployment.addTunnels(to: echo.port)
      route.name = "open"
      route.path = RoutePath("/open") ?? route.path
      route.isPublic = true
      deployment.routes.append(route)
      change(&deployment)
    }
    try await FlowFixture.run(options) { flow in
      flow.upstream.answer { [mayGoOn] seen in
        if seen.path.hasSuffix("/events") {
          return Response(
            200, ["Content-Type": "text/event-stream"],
            stream: .stream(length: nil) { writer in
              while true {
                try await writer.write(Array("data: x\n\n".utf8))
                try await Task.sleep(for: .milliseconds(50))
              }
            })
        }
        guard seen.path.hasSuffix("/short") else { return nil }
        return Response(
          200, ["Content-Type": "text/plain"],
          stream: .stream(length: 6) { writer in
            try await writer.write(Array("one".utf8))
            while !mayGoOn.withLock({ $0 }) { try await Task.sleep(for: .milliseconds(5)) }
            try await writer.write(Array("two".utf8))
          })
      }
      try await body(flow, echo)
    }
    await echo.stop()
  }

  private func host(_ flow: FlowFixture) -> String { "intercom.localhost:\(flow.port)" }

  private func cookie(_ visitor: Visitor) async throws -> String {
    "intercom=" + (try #require(await visitor.jar["intercom"]?.value))
  }

  /// WebSockets of a session that stand, each on a connection of its own.
  private func open(_ count: Int, _ flow: FlowFixture, _ cookie: String, _ path: String = "/live/x") async throws -> [WebSocketClient] {
    let host = host(flow)
    return try await onThread {
      try (0..<count).map { _ in
        let client = WebSocketClient(try RawSocket(port: UInt16(flow.port)))
        let answer = try client.open(path, host: host, [("Cookie", cookie), ("Origin", flow.app)])
        guard answer.status == 101 else { throw RawSocketError.ended("\(answer)") }
        return client
      }
    }
  }

  /// Answers that stream, of each the head and the first event read.
  private func streams(_ count: Int, _ flow: FlowFixture, _ cookie: String) async throws -> [RawSocket] {
    let host = host(flow)
    return try await onThread {
      try (0..<count).map { _ in
        let socket = try RawSocket(port: UInt16(flow.port))
        try socket.send("GET /plain/events HTTP/1.1\r\nHost: \(host)\r\nCookie: \(cookie)\r\nOrigin: \(flow.app)\r\n\r\n")
        _ = try socket.receive(until: "data: x\n\n")
        return socket
      }
    }
  }

  /// How long it takes until all have ended.
  private func untilEnded(_ clients: [RawSocket], since: MonotonicInstant) async throws -> Duration {
    try await onThread {
      for client in clients {
        do { _ = try client.receiveAll() } catch RawSocketError.broken {}
      }
    }
    return since.duration(to: SystemTime().monotonicNow())
  }

  @Test(
    "Signing out at the provider cuts the session's WebSockets and event streams on every loop within five seconds; other people's stay (fault 33)"
  )
  func logout() async throws {
    try await run { flow, echo in
      let (alice, bob) = (try await flow.signedIn(), try await flow.signedIn("bob"))
      let cookie = try await cookie(alice)
      let (tunnels, streaming) = (Rounds.count(100, full: 900), Rounds.count(20, full: 100))
      var clients = try await open(tunnels, flow, cookie).map(\.socket)
      clients += try await streams(streaming, flow, cookie)
      let others = try await open(2, flow, try await self.cookie(bob))
      let publicOnes = try await open(1, flow, cookie, "/open/x")
      #expect(echo.open == tunnels + 3)
      let began = SystemTime().monotonicNow()
      await flow.liar.provider.signOutEverywhere(username: "alice")
      let told = began.duration(to: SystemTime().monotonicNow())
      let took = try await untilEnded(clients, since: began)
      #expect(took < .seconds(Rounds.isFull ? 5 : 30), "\(took)")
      #expect(await eventually { echo.open == 3 })
      let stillThere = try await onThread { try (others + publicOnes).allSatisfy { try $0.echoes("there?") } }
      #expect(stillThere, "somebody else's tunnel ended")
      try Rounds.keep("fault 33: \(tunnels) WebSockets and \(streaming) event streams ended \(took) after the logout, told in \(told)")
    }
  }

  @Test("WebSockets over streams of HTTP/2 are opened and cut by the same rules (RFC 8441, fault 33)")
  func overHTTP2() async throws {
    let authority = try await TestAuthority()
    let tls = try TLSContext(
      server: [try await authority.identity("server", names: "DNS:localhost")], protocols: [.http2, .http11])
    let context = try TLSContext(client: try authority.certificates(), protocols: [.http2])
    let add: @Sendable (inout Deployment) -> Void = { $0.listen.append(ListenerSetup(SocketAddress(.loopbackV4, port: 0), tls: tls)) }
    try await run(add) { flow, echo in
      let alice = try await flow.signedIn()
      let (cookie, host, port) = (try await cookie(alice), host(flow), try #require(flow.running.addresses.last?.port))
      let isOpen = Monitor(false)
      let (opened, page) = (isOpen, flow.app)
      let visiting = Task {
        try await onThread {
          let client = try HTTP2Client(port: port, context: context)
          let allowed = [("origin", page), ("cookie", cookie)]
          let refusals: [(String, [(String, String)], Int, String)] = [
            ("/live/x", [("cookie", cookie)], 403, "upgrade_origin_missing"),
            ("/live/x", [("cookie", cookie), ("origin", "https://evil.example")], 403, "origin_refused"),
            ("/live/x", [("origin", page)], 401, "session_required"), ("/plain/x", allowed, 501, "upgrade_refused"),
          ]
          for (path, fields, expected, code) in refusals {
            let (stream, status) = try client.webSocket(path, fields, authority: host)
            let body = try client.answer(on: stream).text
            #expect(status == expected && body.contains(code), "\(code): \(status) \(body)")
          }
          let tunnels = try (0..<20).map { _ in
            let (stream, status) = try client.webSocket("/live/x", allowed, authority: host)
            guard status == 200 else { throw HTTP2ClientError.malformed("\(status)") }
            return stream
          }
          opened.withLock { $0 = true }
          for stream in tunnels { _ = try client.answer(on: stream) }
        }
      }
      #expect(await eventually { isOpen.withLock { $0 } })
      #expect(echo.open == 20)
      await flow.liar.provider.signOutEverywhere(username: "alice")
      try await visiting.value
      #expect(await eventually { echo.open == 0 })
    }
  }

  @Test("A short answer under way at the logout is finished; the first event of a stream is there before the second is sent")
  func short() async throws {
    try await run { flow, _ in
      let alice = try await flow.signedIn()
      let cookie = try await cookie(alice)
      let host = host(flow)
      let socket = try await onThread {
        let socket = try RawSocket(port: UInt16(flow.port))
        try socket.send("GET /plain/short HTTP/1.1\r\nHost: \(host)\r\nCookie: \(cookie)\r\nOrigin: \(flow.app)\r\n\r\n")
        _ = try socket.receive(until: "\r\n\r\n")
        // Half of the answer, while the upstream waits before it sends the rest.
        #expect(try socket.receive(exactly: 3) == Array("one".utf8))
        return socket
      }
      #expect(try await flow.send(alice, "GET", "/logout", FlowFixture.navigation).status == 302)
      mayGoOn.withLock { $0 = true }
      let rest = try await onThread { String(decoding: try socket.receive(exactly: 3), as: UTF8.self) }
      #expect(rest == "two")
    }
  }

  @Test("A tunnel or a stream that begins after its session's end, because the upstream was asked before, ends too")
  func late() async throws {
    let mayAnswer = Monitor(false)
    let asked = Monitor(0)
    let slow = try RawServer { socket, number in
      _ = try socket.receive(until: "\r\n\r\n")
      asked.withLock { $0 += 1 }
      mayAnswer.wait { $0 ? () : nil }
      mayAnswer.signal()
      let accept = "Upgrade: websocket\r\nConnection: upgrade\r\nSec-WebSocket-Accept: s3pPLMBiTxaQ9kYGzzhZRbK+xOo=\r\n\r\n"
      try socket.send(number == 0 ? "HTTP/1.1 101 X\r\n" + accept : "HTTP/1.1 200 OK\r\nContent-Length: 1000000\r\n\r\nx")
      _ = try socket.receiveAll()
    }
    let point: @Sendable (inout Deployment) -> Void = { deployment in
      guard let index = deployment.routes.firstIndex(where: { $0.name == "live" }),
        let endpoint = HTTPURL("http://127.0.0.1:\(slow.port)").flatMap(UpstreamEndpoint.init)
      else { return }
      deployment.routes[index].kind = .proxy(endpoint)
    }
    try await run(point) { flow, _ in
      let alice = try await flow.signedIn()
      let (cookie, host) = (try await cookie(alice), host(flow))
      let fields = [("Cookie", cookie), ("Origin", flow.app)]
      let sockets = try await onThread {
        // They lose patience before the upstream's ten seconds are over, which would end the connections too.
        let first = try RawSocket(port: UInt16(flow.port), timeOut: .seconds(7))
        try first.send(WebSocketClient.request("/live/x", host: host, fields))
        while asked.withLock({ $0 }) < 1 { pauseThread(milliseconds: 5) }
        let second = try RawSocket(port: UInt16(flow.port), timeOut: .seconds(7))
        try second.send(WebSocketClient.request("/live/x", host: host, fields + [("Upgrade", ""), ("Connection", "")]))
        while asked.withLock({ $0 }) < 2 { pauseThread(milliseconds: 5) }
        return [first, second]
      }
      #expect(try await flow.send(alice, "GET", "/logout", FlowFixture.navigation).status == 302)
      mayAnswer.withLock { $0 = true }
      mayAnswer.broadcast()
      let heads = try await onThread { try sockets.map { try $0.receive(until: "\r\n\r\n").prefix(12) } }
      #expect(heads == ["HTTP/1.1 101", "HTTP/1.1 200"])
      _ = try await untilEnded(sockets, since: SystemTime().monotonicNow())
    }
    slow.stop()
  }

  @Test("A WebSocket of a foreign page, or of none, opens nothing with the cookie; the upstream hears nothing (cross-site hijacking)")
  func hijacking() async throws {
    try await run { flow, echo in
      let alice = try await flow.signedIn()
      let cookie = try await cookie(alice)
      let host = host(flow)
      let cases: [([(String, String)], Int, String)] = [
        ([("Origin", "https://evil.example")], 403, "origin_refused"), ([("Origin", "null")], 403, "origin_refused"),
        ([("Origin", flow.app + ".evil.example")], 403, "origin_refused"), ([], 403, "upgrade_origin_missing"),
        ([("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Mode", "websocket")], 403, "upgrade_origin_missing"),
        ([("Origin", flow.app), ("Cookie", "")], 401, "session_required"),
        ([("Origin", flow.app), ("Content-Length", "3")], 400, "bad_upgrade"),
      ]
      for (fields, status, code) in cases {
        let answer = try await onThread {
          let socket = try RawSocket(port: UInt16(flow.port))
          return try WebSocketClient(socket).open("/live/x", host: host, [("Cookie", cookie)] + fields)
        }
        #expect(answer.status == status && answer.text.contains(code), "\(fields): \(answer)")
      }
      let unlisted = try await onThread {
        try WebSocketClient(try RawSocket(port: UInt16(flow.port))).open(
          "/plain/x", host: host, [("Cookie", cookie), ("Origin", flow.app)])
      }
      #expect(unlisted.status == 501 && unlisted.text.contains("upgrades: [websocket]"), "\(unlisted)")
      #expect(echo.heads.isEmpty && !flow.upstream.requests.contains { $0.path.contains("/x") })
    }
  }

  private static let shortSessions: @Sendable (inout Deployment) -> Void = { deployment in
    deployment.sessions.idle = .seconds(1200)
    // Answers are looked at twice a second.
    deployment.server.paceWindow = .seconds(2)
    for index in deployment.routes.indices { deployment.routes[index].timeouts.tunnel = .seconds(86_400) }
  }

  @Test("A tunnel ends with its session's idle time, unless the session is used elsewhere meanwhile: then the store says so")
  func idle() async throws {
    try await run(Self.shortSessions) { flow, echo in
      let (alice, bob) = (try await flow.signedIn(), try await flow.signedIn("bob"))
      let used = try await open(8, flow, try await cookie(alice))
      let silent = try await open(1, flow, try await cookie(bob)).map(\.socket) + streams(1, flow, try await cookie(bob))
      for _ in 0..<4 {
        let written = flow.store.written
        flow.time.advance(by: .seconds(400))
        _ = try await flow.fetch(alice, "GET", "/plain/x")
        // The use is told to the store beside the answer.
        #expect(await eventually { flow.store.written > written })
      }
      // Frames of the tunnel are no use of bob's session.
      #expect(await eventually { echo.open == 8 })
      _ = try await untilEnded(silent, since: SystemTime().monotonicNow())
      try await Task.sleep(for: .seconds(3))
      #expect(try await onThread { try used.allSatisfy { try $0.echoes("still there?") } })
    }
  }

  @Test("A store that does not answer ends no tunnel; one whose session is gone from the store ends")
  func store() async throws {
    try await run(Self.shortSessions) { flow, echo in
      let alice = try await flow.signedIn()
      let clients = try await open(2, flow, try await cookie(alice))
      flow.store.fail([.read, .write, .delete, .find])
      flow.time.advance(by: .seconds(1300))
      try await Task.sleep(for: .seconds(3))
      #expect(try await onThread { try clients.allSatisfy { try $0.echoes("still there?") } })
      flow.store.fail([])
      #expect(await eventually { echo.open == 0 })
    }
  }

  @Test("/metrics shows the tunnels that are open and how others have ended")
  func metrics() async throws {
    try await run { flow, echo in
      let alice = try await flow.signedIn()
      let address = try #require(flow.running.adminAddress)
      let clients = try await open(3, flow, try await cookie(alice))
      let metrics: @Sendable () async throws -> String = { try await flow.client.get("http://127.0.0.1:\(address.port)/metrics").text }
      #expect(try await metrics().contains("intercom_tunnels 3\n"))
      clients[0].socket.reset()
      #expect(await eventually { echo.open == 2 })
      #expect(try await flow.send(alice, "GET", "/logout", FlowFixture.navigation).status == 302)
      #expect(await eventually { echo.open == 0 })
      let text = try await metrics()
      #expect(text.contains("intercom_tunnels 0\n"))
      #expect(text.contains("intercom_tunnels_ended_total{reason=\"sessionEnded\"} 2\n"), "\(text)")
      #expect(text.contains("intercom_tunnels_ended_total{reason=\"clientGone\"} 1\n"))
    }
  }
}
