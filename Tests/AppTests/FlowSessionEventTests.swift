import HTTPMessage
import HTTPServer
import IntercomApp
import IntercomCore
import IntercomTesting
import Linux
import OpenSSL
import Sessions
import Testing

@Suite("Flow: open tabs hear of their session's end", .serialized, .timeLimit(.minutes(3)))
struct FlowSessionEventTests {
  /// Streams of a session, of each the first event read.
  private func open(_ count: Int, _ flow: FlowFixture, _ cookie: String) async throws -> [RawSocket] {
    let head =
      "GET /session/events HTTP/1.1\r\nHost: intercom.localhost:\(flow.port)\r\nCookie: intercom=\(cookie)\r\nOrigin: \(flow.app)\r\n\r\n"
    return try await onThread {
      try (0..<count).map { _ in
        let socket = try RawSocket(port: UInt16(flow.port), timeOut: .seconds(60))
        try socket.send(head)
        let begin = try socket.receive(until: "absoluteExpiresIn")
        #expect(begin.hasPrefix("HTTP/1.1 200 ") && begin.contains("text/event-stream") && begin.contains("event: session\ndata: {"))
        #expect(begin.contains("Access-Control-Allow-Origin: \(flow.app)\r\n") && begin.contains("Cache-Control: no-store\r\n"))
        return socket
      }
    }
  }

  /// What comes until the stream's end.
  private func rest(_ socket: RawSocket) async throws -> String {
    try await onThread { try socket.receive(until: "\r\n0\r\n\r\n") }
  }

  private func cookie(_ visitor: Visitor) async throws -> String { try #require(await visitor.jar["intercom"]?.value) }

  private func signedOut(_ reason: String) -> String { "event: signed-out\ndata: {\"signedIn\":false,\"reason\":\"\(reason)\"}\n\n" }

  @Test("Each tab hears of the end and why, on every loop, within five seconds; other people's hear nothing (fault 33)")
  func ends() async throws {
    try await FlowFixture.run { flow in
      let (alice, bob) = (try await flow.signedIn(), try await flow.signedIn("bob"))
      let tabs = try await open(8, flow, cookie(alice))
      let bobs = try await cookie(bob)
      let others = try await open(2, flow, bobs)
      #expect(flow.running.watchingTabs == 10)
      let began = SystemTime().monotonicNow()
      await flow.liar.provider.signOutEverywhere(username: "alice")
      for tab in tabs { #expect(try await rest(tab).contains(signedOut("back_channel_logout"))) }
      #expect(began.duration(to: SystemTime().monotonicNow()) < .seconds(Rounds.isFull ? 5 : 30))
      try await waitUntilTrue("alice's streams are gone") { flow.running.watchingTabs == 2 }
      _ = try await flow.send(bob, "GET", "/logout", FlowFixture.navigation)
      for tab in others { #expect(try await rest(tab).contains(signedOut("logged_out"))) }
      // The connection lives on, and the next try is told that there is nothing to listen to.
      #expect(try await flow.ask("GET", "/session/events", cookie: bobs).status == 401)
    }
  }

  @Test("Watching is no use: a session of which only a tab is open ends when it is idle, and the tab hears it")
  func idle() async throws {
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      let tab = try await open(1, flow, cookie(visitor))[0]
      flow.time.advance(by: .seconds(86_400 + 61))
      let text = try await rest(tab)
      #expect(text.contains("event: signed-out\ndata: {\"signedIn\":false,\"reason\":\"") && flow.refreshes == 0)
      #expect(try await flow.isAlive(visitor) == false)
    }
  }

  @Test("A session that is used goes on, and its tabs with it; a tab that is closed is forgotten")
  func used() async throws {
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      let tabs = try await open(2, flow, cookie(visitor))
      flow.time.advance(by: .seconds(20 * 3_600))
      #expect(try await flow.isAlive(visitor))
      flow.time.advance(by: .seconds(20 * 3_600))
      try await onThread {
        // What is looked at meanwhile finds the later use.
        for tab in tabs { _ = try tab.receive(until: ":\n\n") }
        tabs[0].close()
      }
      try await waitUntilTrue("the closed tab is forgotten", within: .seconds(60)) { flow.running.watchingTabs == 1 }
      _ = try await flow.send(visitor, "GET", "/logout", FlowFixture.navigation)
      #expect(try await rest(tabs[1]).contains(signedOut("logged_out")))
    }
  }

  @Test("A session has so many tabs and no more: the next one is 503, and has room when another closes")
  func bounded() async throws {
    try await FlowFixture.run { flow in
      let (alice, bob) = (try await flow.signedIn(), try await flow.signedIn("bob"))
      var tabs = try await open(32, flow, cookie(alice))
      let refused = try await flow.ask("GET", "/session/events", cookie: cookie(alice))
      #expect(refused.status == 503 && refused.text.contains("too_many_watchers") && refused.field("retry-after") == "30")
      tabs += try await open(1, flow, cookie(bob))
      tabs[0].close()
      try await waitUntilTrue("there is room", within: .seconds(60)) { flow.running.watchingTabs == 32 }
      _ = try await open(1, flow, cookie(alice))
    }
  }

  @Test("Over HTTP/2 too, where all tabs share a connection")
  func overHTTP2() async throws {
    let authority = try await TestAuthority()
    let tls = try TLSContext(
      server: [try await authority.identity("server", names: "DNS:localhost")], protocols: [.http2, .http11])
    let context = try TLSContext(client: try authority.certificates(), protocols: [.http2])
    var options = FlowFixture.Options()
    options.deployment = { $0.listen.append(ListenerSetup(SocketAddress(.loopbackV4, port: 0), tls: tls)) }
    try await FlowFixture.run(options) { flow in
      let visitor = try await flow.signedIn()
      let fields = [
        (":method", "GET"), (":scheme", "https"), (":authority", "intercom.localhost:\(flow.port)"), (":path", "/session/events"),
        ("cookie", "intercom=" + (try await cookie(visitor))), ("origin", flow.app),
      ]
      let port = try #require(flow.running.addresses.last?.port)
      let visiting = Task {
        try await onThread {
          let client = try HTTP2Client(port: port, context: context, timeOut: .seconds(60))
          let streams = try (0..<5).map { _ in try client.open(fields) }
          return try streams.map { try client.answer(on: $0) }
        }
      }
      try await waitUntilTrue("five listen") { flow.running.watchingTabs == 5 }
      _ = try await flow.send(visitor, "GET", "/logout", FlowFixture.navigation)
      for answer in try await visiting.value {
        #expect(answer.status == 200 && answer.isWhole && answer.text.contains("event: session\n"))
        #expect(answer.text.hasSuffix(signedOut("logged_out")))
      }
    }
  }

  @Test("When Intercom ends nobody waits for open tabs: each is told when to come back, and nobody is said to be signed out")
  func drain() async throws {
    let kept = Kept()
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      kept.put(try await open(3, flow, cookie(visitor)))
      let began = SystemTime().monotonicNow()
      #expect(await flow.running.stop(within: .seconds(60)))
      #expect(began.duration(to: SystemTime().monotonicNow()) < .seconds(50))
      for tab in kept.sockets {
        let text = try await onThread { try tab.receiveAllText() }
        #expect(text.contains("retry: ") && !text.contains("signed-out"), "\(text)")
      }
    }
  }
}

/// Sockets that outlive the closure that opens them.
private final class Kept: Sendable {
  private let list = Monitor([RawSocket]())
  var sockets: [RawSocket] { list.withLock { $0 } }
  func put(_ sockets: [RawSocket]) { list.withLock { $0 = sockets } }
}
