import Cryptography
import DemoWorkplace
import Gateway
import HTTPMessage
import HTTPServer
import IntercomCore
import IntercomTesting
import Linux
import ReverseProxy
import Sessions
import Synchronization
import Telemetry
import Testing

@testable import IntercomApp

@Suite("Replicas that share Redis", .serialized, .enabled(if: RedisServer.isAvailable), .timeLimit(.minutes(Rounds.isFull ? 60 : 5)))
struct FlowReplicaTests {
  @Test("A session that one replica made serves at the other; behind a logout's 200 neither authorises a request (fault 26)")
  func logout() async throws {
    try await Replicas.run { replicas in
      let flow = replicas.first
      let (cookie, other) = (try await replicas.signedIn(), try await replicas.signedIn())
      // Both hold copies now.
      for target in ["/plain/x", "/fs/x", "/plain/y"] {
        #expect(try await replicas.both(200, target, cookie: cookie))
        #expect(try await replicas.both(200, target, cookie: other))
      }
      let answer = try await flow.client.send(
        "POST", flow.url("/logout"), fields: [("Cookie", "intercom=\(cookie)"), ("Origin", flow.app)], body: [])
      #expect(answer.status == 302)
      #expect(try await replicas.both(401, cookie: cookie))
      #expect(try await replicas.both(200, cookie: other))
      #expect(try await replicas.backChannelLogout(1, flow.logoutToken(subject: "alice-id")).status == 200)
      #expect(try await replicas.both(401, cookie: other))
    }
  }

  @Test("200 requests at two replicas all through a logout: none that arrives behind its 200 is authorised (S11, S27, fault 26)")
  func racingLogout() async throws {
    let rounds = Rounds.count(2, full: 100)
    try await Replicas.run { replicas in
      for round in 0..<rounds {
        let cookie = try await replicas.plant()
        for target in ["/plain/warm", "/plain/again"] { #expect(try await replicas.both(200, target, cookie: cookie)) }
        let isOver = Monitor(false)
        async let asked = Replicas.together(200) { number in
          try await SystemTime().sleep(for: .milliseconds(8 * number))
          let isLate = isOver.withLock { $0 }
          let status = try await replicas.ask(number % 2, isLate ? "/plain/late" : "/plain/early", cookie: cookie).status
          return (isLate: isLate, status: status)
        }
        #expect(try await replicas.backChannelLogout(round % 2, replicas.first.logoutToken(subject: "alice-id")).status == 200)
        isOver.withLock { $0 = true }
        let answers = try await asked
        #expect(answers.allSatisfy { $0.status == 401 || !$0.isLate && $0.status == 200 })
        #expect(answers.contains { $0.isLate } && answers.contains { $0.status == 200 })
      }
      #expect(!replicas.first.upstream.requests.contains { $0.path.hasSuffix("/late") })
      try Rounds.keep("fault 26, two replicas: \(rounds) rounds of 200 requests against a logout, none authorised behind its 200")
    }
  }

  @Test("A replica that lost its connection to Redis uses no copy: a logout at another is obeyed (fault 26)")
  func lostConnection() async throws {
    try await Replicas.run { replicas in
      let cookie = try await replicas.plant()
      #expect(try await replicas.both(200, cookie: cookie))
      replicas.relays[1].become(.silent)
      #expect(try await replicas.backChannelLogout(0, replicas.first.logoutToken(subject: "alice-id")).status == 200)
      #expect(try await replicas.ask(1, "/plain/x", cookie: cookie).isStoreOutage)
      replicas.relays[1].become(.refuses)
      replicas.relays[1].become(.passes)
      try await waitUntilTrue("that the second one knows") { try await replicas.ask(1, "/plain/x", cookie: cookie).status == 401 }
    }
  }

  @Test(
    "A replica that hears nothing from Redis, on a connection that stands, uses no copy beyond its lease: a logout at another is obeyed (fault 26)"
  )
  func deafReplica() async throws {
    try await Replicas.run { replicas in
      for _ in 0..<Rounds.count(2, full: 50) {
        let cookie = try await replicas.plant()
        try await replicas.warm(cookie)
        replicas.relays[1].become(.stalls)
        // It cannot know.
        let early = try await replicas.ask(1, "/plain/early", cookie: cookie)
        #expect(early.status == 200 || early.isStoreOutage)
        #expect(try await replicas.backChannelLogout(0, replicas.first.logoutToken(subject: "alice-id")).status == 200)
        let late = try await Replicas.together(20) { _ in try await replicas.ask(1, "/plain/late", cookie: cookie) }
        #expect(late.allSatisfy { $0.isStoreOutage }, "\(late.map { $0.status })")
        replicas.relays[1].become(.passes)
        try await waitUntilTrue("that the second one knows") { try await replicas.ask(1, "/plain/x", cookie: cookie).status == 401 }
      }
      let passed = replicas.first.upstream.requests.map(\.path)
      #expect(passed.contains { $0.hasSuffix("/early") } && !passed.contains { $0.hasSuffix("/late") })
    }
  }

  @Test("A second click on the sign-out, while the first one's end is still told: its 302 says no less than that one's (fault 26)")
  func secondClick() async throws {
    try await Replicas.run { replicas in
      let cookie = try await replicas.plant()
      try await replicas.warm(cookie)
      // It cannot be told.
      replicas.relays[1].become(.stalls)
      async let first = replicas.open(0, "/logout", cookie: cookie).status
      try await SystemTime().sleep(for: .milliseconds(50))
      #expect(try await replicas.open(0, "/logout", cookie: cookie).status == 302)
      #expect(try await replicas.ask(1, "/plain/x", cookie: cookie).isStoreOutage)
      #expect(try await first == 302)
      replicas.relays[1].become(.passes)
    }
  }

  @Test("A sign-out of a session that never was takes the time that copies last and leaves nothing in Redis; without an id it takes none")
  func strangersLogout() async throws {
    try await Replicas.run { replicas in
      let before = try await replicas.redis.command("DBSIZE")
      let began = SystemTime().monotonicNow()
      let statuses = try await Replicas.together(200) { _ in
        try await replicas.open(0, "/logout", cookie: Base64URL.encode(SystemRandom().bytes(32))).status
      }
      #expect(statuses == [Int](repeating: 302, count: 200))
      let took = began.duration(to: SystemTime().monotonicNow())
      // Side by side: one after the other they would take four minutes.
      #expect(took >= .milliseconds(1_250) && took < .seconds(60), "\(took)")
      #expect(try await replicas.redis.command("DBSIZE") == before)
      #expect(replicas.first.provider.requests.allSatisfy { $0.path != "/revoke" })
    }
  }

  @Test("A replica that was held up in the middle of a turn judges copies by the time that it is, not by when the turn began (fault 26)")
  func pausedTurn() async throws {
    let pause = PauseInTurn()
    var options = FlowFixture.Options()
    options.deployment = { ($0.steps, $0.loops) = (pause, 1) }
    try await Replicas.run(options) { replicas in
      let flow = replicas.first
      let cookie = try await replicas.plant()
      try await replicas.warm(cookie)
      replicas.relays[0].become(.stalls)
      pause.next(of: flow.time)
      // Both in one turn: the refusal of the first is what takes long.
      let answers = try await onThread {
        let socket = try RawSocket(port: UInt16(clamping: flow.port), timeOut: .seconds(20))
        let head = "Host: intercom.localhost:\(flow.port)\r\nCookie: intercom=\(cookie)\r\nOrigin: \(flow.app)\r\n\r\n"
        try socket.send("GET /nowhere HTTP/1.1\r\n\(head)GET /plain/x HTTP/1.1\r\n\(head)")
        return [try socket.readResponse().status, try socket.readResponse().status]
      }
      #expect(answers == [404, 503])
      #expect(pause.isOver)
      replicas.relays[0].become(.passes)
    }
  }

  @Test("WebSockets and event streams at one replica end when the provider tells the other one that the session is over (fault 33)")
  func streams() async throws {
    let echo = try await WebSocketEcho.start()
    var options = FlowFixture.Options()
    options.deployment = { deployment in _ = try deployment.addTunnels(to: echo.port) }
    try await Replicas.run(options) { replicas in
      let flow = replicas.first
      flow.upstream.answer { seen in
        guard seen.path.hasSuffix("/events") else { return nil }
        return Response(
          200, ["Content-Type": "text/event-stream"],
          stream: .stream(length: nil) { writer in
            while true {
              try await writer.write(Array("data: x\n\n".utf8))
              try await Task.sleep(for: .milliseconds(50))
            }
          })
      }
      let (cookie, other) = (try await replicas.plant("alice-id"), try await replicas.plant("bob-id"))
      let (port, app) = (UInt16(clamping: replicas.port(1)), flow.app)
      let sockets = try await onThread {
        try [cookie, cookie, other].map { cookie in
          let socket = try RawSocket(port: port, timeOut: .seconds(20))
          try socket.send(
            "GET /plain/events HTTP/1.1\r\nHost: intercom.localhost:\(port)\r\nCookie: intercom=\(cookie)\r\nOrigin: \(app)\r\n\r\n")
          _ = try socket.receive(until: "data: x\n\n")
          return socket
        }
      }
      let tunnels = try await onThread {
        try [cookie, other].map { cookie in
          let client = WebSocketClient(try RawSocket(port: port, timeOut: .seconds(20)))
          let answer = try client.open("/live/x", host: "intercom.localhost:\(port)", [("Cookie", "intercom=\(cookie)"), ("Origin", app)])
          guard answer.status == 101 else { throw RawSocketError.ended("\(answer)") }
          return client
        }
      }
      #expect(try await replicas.backChannelLogout(0, flow.logoutToken(subject: "alice-id")).status == 200)
      let began = SystemTime().monotonicNow()
      try await onThread {
        for socket in [tunnels[0].socket] + sockets.prefix(2) { do { _ = try socket.receiveAll() } catch RawSocketError.broken {} }
        _ = try sockets[2].receive(until: "data: x\n\n")
        #expect(try tunnels[1].echoes("there?"))
      }
      let took = began.duration(to: SystemTime().monotonicNow())
      #expect(took < .seconds(Rounds.isFull ? 5 : 15), "\(took)")
      try Rounds.keep("fault 33, two replicas: a WebSocket and event streams ended \(took) after the answer to a logout at the other one")
    }
    await echo.stop()
  }

  @Test("A logout at one replica while the other refreshes: nobody is let through, nothing is written back (fault 27)")
  func logoutRacesRefresh() async throws {
    let rounds = Rounds.count(3, full: 100)
    try await Replicas.run { replicas in
      let other = try await replicas.plant("bob-id")
      for _ in 0..<rounds { try await refreshBehindLogout(replicas, other) }
      try Rounds.keep(
        "fault 27, two replicas: \(rounds) sign-outs at one, each against 20 requests that waited for a refresh at the other: none let through,"
          + " nothing written back")
    }
  }

  private func refreshBehindLogout(_ replicas: Replicas, _ other: String) async throws {
    let (flow, cookie) = (replicas.first, try await replicas.signedIn())
    #expect(try await replicas.both(200, "/own/x", cookie: cookie))
    let gate = Gate()
    flow.provider.answer { request in
      if String(decoding: request.body, as: UTF8.self).contains("grant_type=refresh_token") { await gate.pass() }
      return nil
    }
    try await replicas.pass(.seconds(400), cookie: other)
    flow.upstream.forget()
    let before = flow.refreshes
    async let waiting = Replicas.together(20) { _ in try await replicas.ask(1, "/own/x", cookie: cookie).status }
    try await waitUntilTrue("the refresh at the provider") { gate.arrived == 1 }
    #expect(try await replicas.backChannelLogout(0, flow.logoutToken(subject: "alice-id")).status == 200)
    let key = SessionKey(try #require(SessionID(cookieValue: Array(cookie.utf8))))
    let name = "intercom:session:{\(Base64URL.encode(key.record.bytes))}"
    // What stays is a version and the end of the time in which nothing may be written.
    #expect(try await replicas.redis.command("HKEYS", name).sorted() == ["t", "v"])
    let kept = try await replicas.redis.command("HMGET", name, "t", "v")
    gate.open()
    #expect(try await waiting == [Int](repeating: 401, count: 20))
    let tokens = replicas.second.services.tokens
    try await waitUntilTrue("the refresh's end") { await !tokens.isRefreshing(key) }
    #expect(flow.refreshes == before + 1)
    #expect(try await replicas.redis.command("HKEYS", name).sorted() == ["t", "v"])
    #expect(try await replicas.redis.command("HMGET", name, "t", "v") == kept)
    #expect(try await replicas.both(401, "/own/x", cookie: cookie))
    #expect(!flow.upstream.requests.contains { $0.path.hasPrefix("/own-root") })
    flow.provider.answer(nil)
  }

  @Test("A logout that another replica hears while a login's code is at the provider ends that login too (S11, fault 27)")
  func logoutRacesLogin() async throws {
    try await Replicas.run { replicas in
      let flow = replicas.first
      let visitor = Visitor(timeout: .seconds(20))
      let callback = try await flow.authorize(visitor, flow.begin(visitor))
      let answers = flow.liar.endpoint
      flow.provider.serve { request, body in
        let answer = try await answers(request, body)
        if String(decoding: request.rawPath, as: UTF8.self).hasSuffix("/token") {
          #expect(try await replicas.backChannelLogout(1, flow.logoutToken(subject: "alice-id")).status == 200)
        }
        return answer
      }
      let refused = try await visitor.send("GET", callback, FlowFixture.navigation)
      #expect(refused.status == 400 && refused.text.contains("signed_out"), "\(refused.wholeText)")
      #expect(await visitor.jar["intercom"] == nil)
      flow.provider.serve(answers)
      // One that begins after the logout is a login.
      try await flow.signIn(visitor)
      #expect(try await flow.isAlive(visitor))
    }
  }

  @Test("One logout token at both replicas at once, and again: obeyed once, a newer session lives (S18, fault 28)")
  func sameToken() async throws {
    try await Replicas.run { replicas in
      let (cookie, newer) = (try await replicas.plant(sid: "one"), try await replicas.plant(sid: "two"))
      #expect(try await replicas.both(200, cookie: cookie))
      let token = try replicas.first.logoutToken(subject: "alice-id", sid: "one")
      let statuses = try await Replicas.together(2) { replica in
        let status = try await replicas.backChannelLogout(replica, token).status
        // Whichever was first with its answer, the session is over everywhere.
        if status == 200 { #expect(try await replicas.both(401, cookie: cookie)) }
        return status
      }
      #expect(statuses.contains(200) && statuses.allSatisfy { $0 == 200 || $0 == 400 }, "\(statuses)")
      for replica in 0..<2 { #expect(try await replicas.backChannelLogout(replica, token).status == 400) }
      #expect(try await replicas.both(200, cookie: newer))
    }
  }

  @Test("A logout while Redis hangs or is gone is not 200; the provider's next try, at the other replica, is obeyed (fault 30)")
  func logoutInOutage() async throws {
    try await Replicas.run(.init(), RedisServer.durable) { replicas in
      for isGone in [false, true] {
        let cookie = try await replicas.plant()
        #expect(try await replicas.both(200, cookie: cookie))
        if isGone { await replicas.redis.kill() } else { replicas.redis.freeze() }
        let token = try replicas.first.logoutToken(subject: "alice-id")
        let refused = try await replicas.backChannelLogout(0, token)
        #expect(refused.status == 503 && refused.field("retry-after") != nil)
        if isGone { try await replicas.redis.restart() } else { replicas.redis.thaw() }
        try await waitUntilTrue("that the second one obeys") {
          let status = try await replicas.backChannelLogout(1, token).status
          #expect(status == 200 || status == 503)
          return status == 200
        }
        #expect(try await replicas.ask(1, "/plain/x", cookie: cookie).status == 401)
        try await waitUntilTrue("that the first one serves") { try await replicas.ask(0, "/plain/x", cookie: cookie).status == 401 }
      }
    }
  }

  @Test("A sub-only logout of a user with 10,000 sessions in Redis ends them all, and nobody else's (S18, fault 31)")
  func manySessions() async throws {
    let count = Rounds.count(1_000, full: 10_000)
    try await Replicas.run { replicas in
      let cookies = try await Replicas.together(count) { _ in try await replicas.plant() }
      let others = try await [replicas.plant("bob-id"), replicas.plant("Alice-id")]
      for cookie in cookies.prefix(20) + others { #expect(try await replicas.both(200, cookie: cookie)) }
      let began = SystemTime().monotonicNow()
      #expect(try await replicas.backChannelLogout(1, replicas.first.logoutToken(subject: "alice-id")).status == 200)
      let took = began.duration(to: SystemTime().monotonicNow())
      for cookie in cookies.prefix(30) + cookies.suffix(30) { #expect(try await replicas.both(401, cookie: cookie)) }
      for cookie in others { #expect(try await replicas.both(200, cookie: cookie)) }
      try Rounds.keep(
        "fault 31, Redis: \(count) sessions of one user ended by one logout token in \(took), of which 1.25 s wait for copies")
    }
  }

  @Test("100 requests per session at two replicas when its token has expired: one refresh, 200 right answers (S16, fault 13)")
  func oneRefresh() async throws {
    let sessions = Rounds.count(10, full: 25)
    let (wanted, limit) = (Rounds.count(20, full: 10_000), Rounds.limit)
    try await Replicas.run(Storm.options(.memory, try TestFolder())) { replicas in
      let witness = try await replicas.plant("witness-id")
      // The provider takes a second for a token.
      let storm = try await Storm(
        replicas.first, sessions: sessions, requests: 100, ports: [replicas.port(0), replicas.port(1)], pause: .seconds(1)
      ) { try await replicas.pass($0, cookie: witness) }
      var random = SplitMix64(state: 26)
      var (rounds, refreshes, answers) = (0, 0, 0)
      let began = SystemTime().monotonicNow()
      while rounds < wanted, began.duration(to: SystemTime().monotonicNow()) < limit {
        let outcome = try await storm.round(&random)
        #expect(outcome.faults.isEmpty, "\(outcome.faults.prefix(5))")
        guard outcome.faults.isEmpty else { return }
        rounds += sessions
        refreshes += outcome.refreshes
        answers += outcome.answers
        if rounds % 500 == 0 { Rounds.progress("fault 13, two replicas: \(rounds) of \(wanted) rounds") }
      }
      #expect(refreshes == rounds && answers == storm.requests * rounds)
      try Rounds.keep(
        "fault 13, two replicas on Redis, a provider that takes a second: \(rounds) of \(wanted) rounds of 100 requests, \(sessions) sessions"
          + " side by side: \(refreshes) refreshes, \(answers) right answers, nothing else")
    }
  }
}

/// Holds a loop up in the middle of a turn, in the shifted time, when it refuses a request.
private final class PauseInTurn: StepObserver {
  private let time = Mutex<ShiftedTime?>(nil)

  /// At the next refusal.
  func next(of time: ShiftedTime) { self.time.withLock { $0 = time } }
  var isOver: Bool { time.withLock { $0 == nil } }

  func observe(_ step: Step) {
    guard step.kind == .refused else { return }
    time.withLock { $0.take() }?.advance(by: .seconds(2))
  }
}
