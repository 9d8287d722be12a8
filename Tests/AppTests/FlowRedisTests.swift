import Cryptography
import FoundationEssentials
import HTTPMessage
import HTTPServer
import IntercomApp
import IntercomCore
import IntercomTesting
import Linux
import Sessions
import Synchronization
import Testing

/// What people get while Redis, or the way to it, is in trouble.
@Suite("Flow: Redis in trouble", .serialized, .enabled(if: RedisServer.isAvailable), .timeLimit(.minutes(Rounds.isFull ? 60 : 10)))
struct FlowRedisTests {
  /// Refuses client tracking, so that every request reads its session.
  private static let withoutCopies = ["user default on nopass ~* &* +@all -client|tracking"]

  /// People with a session each, whose names the route `headers` tells the upstream, which answers with them.
  private struct Crowd: Sendable {
    let replicas: Replicas
    let people: [(name: String, cookie: String)]

    init(_ replicas: Replicas, _ count: Int) async throws {
      self.replicas = replicas
      replicas.first.upstream.answer { Response(200, ["Content-Type": "text/plain"], Array(($0.field("x-remote-user") ?? "-").utf8)) }
      people = try await Replicas.together(count) { number in
        let name = "person-\(number)"
        return (name, try await replicas.plant(Identifier(name), name: name))
      }
    }

    /// The status; an answer of another person is a failure.
    func ask(_ number: Int, _ replica: Int = 0) async throws -> Int {
      let (name, cookie) = people[number % people.count]
      let answer = try await replicas.ask(replica, "/headers/x", cookie: cookie)
      #expect(answer.status != 200 || answer.text == name, "\(name) got \(answer.text)")
      #expect(answer.status == 200 || answer.isStoreOutage, "\(answer.wholeText)")
      return answer.status
    }

    /// Everybody is served again.
    func recover(_ replica: Int = 0) async throws {
      for number in people.indices {
        try await waitUntilTrue("\(people[number].name)'s answer") { try await ask(number, replica) == 200 }
      }
    }
  }

  private static func options() -> FlowFixture.Options {
    FlowFixture.Options(
      deployment: { deployment in
        guard let index = deployment.routes.firstIndex(where: { $0.name == "headers" }) else { return }
        deployment.routes[index].credential = .headers([.init(field: "X-Remote-User", claim: "preferred_username")])
      })
  }

  @Test("Clients that go away while their sessions are read: nobody gets the answer of another (fault 1)")
  func cancelled() async throws {
    let count = Rounds.count(5_000, full: 100_000)
    try await Replicas.run(Self.options(), Self.withoutCopies) { replicas in
      let crowd = try await Crowd(replicas, Rounds.count(20, full: 200))
      // Long enough for clients to leave while their answer is on its way.
      replicas.relays[0].become(.late(.milliseconds(2)))
      try await crowd.recover()
      let isOver = Monitor(false)
      async let stayed = Replicas.together(3) { worker in
        var served = 0
        while served < 10 || !isOver.withLock({ $0 }) { if try await crowd.ask(worker + 7 * served) == 200 { served += 1 } }
        return served
      }
      let (port, people, app) = (UInt16(clamping: replicas.first.port), crowd.people, replicas.first.app)
      _ = try await Replicas.together(4) { worker in
        try await onThread {
          var random = SplitMix64(state: UInt64(worker))
          for number in 0..<(count / 4) {
            // One in ten presents what is no session: its answer is of another form.
            let cookie =
              number % 10 == 0 ? String(repeating: "A", count: 43) : people[Int.random(in: 0..<people.count, using: &random)].cookie
            let socket = try RawSocket(port: port)
            try socket.send(
              "GET /headers/x HTTP/1.1\r\nHost: intercom.localhost\r\nCookie: intercom=\(cookie)\r\nOrigin: \(app)\r\n\r\n")
            if number % 3 > 0 { pauseThread(milliseconds: number % 3) }
            socket.reset()
          }
        }
      }
      isOver.withLock { $0 = true }
      let served = try await stayed.reduce(0, +)
      for number in crowd.people.indices { #expect(try await crowd.ask(number) == 200) }
      try Rounds.keep("fault 1: \(count) requests given up by their clients, \(served) beside them answered, none with another's data")
    }
  }

  @Test("Redis dies between a session's reading and the upstream's answer, and comes back with what it wrote down (fault 2, fault 3)")
  func dies() async throws {
    try await Replicas.run(.init(), RedisServer.durable) { replicas in
      let flow = replicas.first
      let cookie = try await replicas.signedIn()
      #expect(try await replicas.both(200, cookie: cookie))
      let gate = Gate()
      flow.upstream.answer { seen in
        if seen.path.hasSuffix("/held") { await gate.pass() }
        return nil
      }
      async let held = replicas.ask(0, "/plain/held", cookie: cookie).status
      try await waitUntilTrue("the request at the upstream") { gate.arrived == 1 }
      await replicas.redis.kill()
      for replica in 0..<2 {
        try await waitUntilTrue("that copies are not used") { try await replicas.ask(replica, "/plain/x", cookie: cookie).status == 503 }
        #expect(try await replicas.ask(replica, "/own/x", cookie: cookie).isStoreOutage)
        #expect(try await replicas.open(replica, "/plain/x", cookie: cookie).isStoreOutage)
      }
      gate.open()
      #expect(try await held == 200)
      let admin = "http://127.0.0.1:\(try #require(flow.running.adminAddress).port)"
      let readiness = try await flow.client.get(admin + "/readyz")
      #expect(readiness.status == 503 && readiness.text.contains("sessions: Redis"), "\(readiness.text)")
      #expect(try await flow.client.get(admin + "/metrics").text.contains("\nintercom_redis_connected 0\n"))
      let (before, began) = (replicas.relays[0].connections, SystemTime().monotonicNow())
      try await SystemTime().sleep(for: Rounds.isFull ? .seconds(30) : .seconds(2))
      let outage = began.duration(to: SystemTime().monotonicNow())
      // One in a tenth of a second, less as time goes on.
      #expect(replicas.relays[0].connections - before <= Int(outage / .milliseconds(100)) + 1)
      #expect(try await flow.send(Visitor(timeout: .seconds(20)), "GET", "/login", FlowFixture.navigation).isStoreOutage)
      try await replicas.redis.restart()
      let back = SystemTime().monotonicNow()
      try await waitUntilTrue("the same session at both") { try await replicas.both(200, "/own/x", cookie: cookie) }
      #expect(try await flow.client.get(admin + "/readyz").status == 200)
      #expect(try await flow.client.get(admin + "/metrics").text.contains("\nintercom_redis_connected 1\n"))
      try Rounds.keep(
        "fault 3: Redis away for \(outage), \(replicas.relays[0].connections - before) attempts to connect; the same cookie works "
          + "\(back.duration(to: SystemTime().monotonicNow())) after it is back")
    }
  }

  @Test("While Redis hangs, requests are 503 in their time, at 200 a second; when it wakes the same cookies work (fault 4)")
  func hangs() async throws {
    let seconds = Rounds.count(2, full: 60)
    try await Replicas.run { replicas in
      let cookie = try await replicas.plant()
      #expect(try await replicas.both(200, cookie: cookie))
      replicas.redis.freeze()
      try await waitUntilTrue("that copies are not used") { try await replicas.ask(0, "/plain/x", cookie: cookie).status == 503 }
      let shot = Volley.Shot("/plain/x", ["Origin: \(replicas.first.app)", "Cookie: intercom=\(cookie)"])
      let volleys = try (0..<8).map { _ in try Volley(count: 200, port: replicas.first.port, authority: "intercom.localhost") }
      let sizes = Monitor([Int]())
      let longest =
        try await Replicas.together(seconds) { second in
          try await SystemTime().sleep(for: .seconds(second))
          sizes.withLock { $0.append(Self.residentKiB) }
          let began = SystemTime().monotonicNow()
          let answers = try await volleys[second % 8].fire([Volley.Shot](repeating: shot, count: 200))
          let heads = answers.map { $0.head.lowercased() }
          #expect(
            answers.allSatisfy { $0.status == 503 } && heads.allSatisfy { $0.contains("retry-after:") && !$0.contains("set-cookie:") })
          return began.duration(to: SystemTime().monotonicNow())
        }.max() ?? .zero
      #expect(longest < .seconds(15), "\(longest)")
      // Behind the first five seconds nothing more piles up.
      let growth = sizes.withLock { sizes in sizes.count > 5 ? sizes[sizes.count - 1] - sizes[5] : 0 }
      #expect(growth < 64 << 10, "\(growth) KiB")
      replicas.redis.thaw()
      try await waitUntilTrue("the same session") { try await replicas.both(200, cookie: cookie) }
      try Rounds.keep(
        "fault 4: \(seconds * 200) requests in \(seconds) s while Redis hung, all 503, the longest after \(longest), \(growth) KiB more memory "
          + "behind the first five seconds")
    }
  }

  /// What this process has in memory, Intercom and its clients.
  private static var residentKiB: Int {
    let status = String(decoding: FileManager.default.contents(atPath: "/proc/self/status") ?? Data(), as: UTF8.self)
    return status.split(separator: "\n").first { $0.hasPrefix("VmRSS:") }?.split(separator: " ").compactMap { Int($0) }.first ?? 0
  }

  @Test("With 300 ms more to Redis, a hundred sessions are read at the same time, and who is known does not wait for it (fault 5)")
  func slow() async throws {
    try await Replicas.run(Self.options()) { replicas in
      let crowd = try await Crowd(replicas, 100)
      replicas.relays[0].become(.refuses)
      replicas.relays[0].become(.late(.milliseconds(300)))
      // Nothing is known to a replica that lost its connection.
      try await waitUntilTrue("a new connection") { try await crowd.ask(0) == 200 }
      let began = SystemTime().monotonicNow()
      let cold = try await Replicas.together(100) { try await crowd.ask($0) }
      // One after the other they would take thirty seconds.
      #expect(cold.allSatisfy { $0 == 200 } && began.duration(to: SystemTime().monotonicNow()) < .seconds(20))
      #expect(try await Replicas.together(100) { try await crowd.ask($0) }.allSatisfy { $0 == 200 })
    }
  }

  @Test("Answers of Redis byte by byte, or broken off after any number of bytes: the right answer or 503 (fault 6)")
  func cut() async throws {
    try await Replicas.run(Self.options(), Self.withoutCopies) { replicas in
      let (crowd, relay) = (try await Crowd(replicas, 10), replicas.relays[0])
      relay.become(.slices(1))
      try await crowd.recover()
      for length in stride(from: 1, through: 1_200, by: Rounds.count(120, full: 3)) {
        relay.become(.cuts(after: length))
        _ = try await Replicas.together(10) { try await crowd.ask($0) }
      }
      relay.become(.refuses)
      relay.become(.passes)
      try await crowd.recover()
    }
  }

  @Test("A server that is a replica, has lost its master or is loading: 503, never 500; the sessions are there afterwards (fault 7)")
  func notTheMaster() async throws {
    try await Replicas.run(.init()) { replicas in
      let flow = replicas.first
      let cookie = try await replicas.plant()
      #expect(try await replicas.both(200, cookie: cookie))
      // It serves what it has, and takes nothing; who heard so uses it no more, for it may not know who signed out.
      try await replicas.redis.command("REPLICAOF", "127.0.0.1", "1")
      #expect(try await flow.send(Visitor(timeout: .seconds(20)), "GET", "/login", FlowFixture.navigation).isStoreOutage)
      try await waitUntilTrue("that copies are not used") { try await replicas.ask(0, "/plain/x", cookie: cookie).status == 503 }
      // It serves nothing: the copies go with the connection that heard so.
      try await replicas.redis.command("CONFIG", "SET", "replica-serve-stale-data", "no")
      let unknown = String(repeating: "A", count: 43)
      for replica in 0..<2 {
        #expect(try await replicas.ask(replica, "/plain/x", cookie: unknown).isStoreOutage)
        let answer = try await replicas.ask(replica, "/plain/x", cookie: cookie)
        #expect(answer.isStoreOutage || answer.status == 200)
      }
      try await replicas.redis.command("REPLICAOF", "NO", "ONE")
      try await waitUntilTrue("that both serve") { try await replicas.both(200, cookie: cookie) }
      for code in ["LOADING Redis is loading the dataset in memory", "MASTERDOWN Link with MASTER is down", "BUSY", "ERR"] {
        replicas.relays[0].become(.says("-\(code)\r\n"))
        try await waitUntilTrue("that copies are not used") { try await replicas.ask(0, "/plain/x", cookie: cookie).status == 503 }
        #expect(try await replicas.ask(0, "/plain/x", cookie: cookie).isStoreOutage)
        #expect(try await replicas.open(0, "/plain/x", cookie: cookie).isStoreOutage)
      }
      replicas.relays[0].become(.refuses)
      replicas.relays[0].become(.passes)
      try await waitUntilTrue("that both serve") { try await replicas.both(200, cookie: cookie) }
      _ = try await flow.signedIn()
    }
  }

  @Test(
    "A full Redis takes no new sign-in, serves sessions and lets people sign out; a session that it evicted is signed in anew (fault 8)")
  func full() async throws {
    try await Replicas.run { replicas in
      let flow = replicas.first
      let (cookie, other) = (try await replicas.signedIn(), try await replicas.signedIn("bob"))
      for given in [cookie, other] { #expect(try await replicas.both(200, "/own/x", cookie: given)) }
      try await replicas.redis.command("CONFIG", "SET", "maxmemory", "1")
      #expect(try await flow.send(Visitor(timeout: .seconds(20)), "GET", "/login", FlowFixture.navigation).isStoreOutage)
      replicas.relays[1].become(.refuses)
      replicas.relays[1].become(.passes)
      try await waitUntilTrue("a session that is read") { try await replicas.both(200, "/own/x", cookie: cookie) }
      let answer = try await flow.client.send(
        "POST", flow.url("/logout"), fields: [("Cookie", "intercom=\(other)"), ("Origin", flow.app)], body: [])
      #expect(answer.status == 302)
      #expect(try await replicas.both(401, cookie: other))
      // Everything goes with the next command that takes memory.
      try await replicas.redis.command("CONFIG", "SET", "maxmemory-policy", "allkeys-lru")
      _ = try? await replicas.redis.command("SET", "x", "y")
      try await waitUntilTrue("that both know") { try await replicas.both(401, cookie: cookie) }
      try await replicas.redis.command("CONFIG", "SET", "maxmemory", "0")
      let again = try await replicas.signedIn()
      #expect(again != cookie)
      #expect(try await replicas.both(200, "/own/x", cookie: again))
    }
  }

  @Test("What Redis writes down is sealed, under hashed names: no cookie, token, name or password is among it (S28, fault 57)")
  func sealed() async throws {
    try await Replicas.run(.init(), RedisServer.durable) { replicas in
      let flow = replicas.first
      let visitor = try await flow.signedIn()
      let other = try await replicas.plant("bob-id")
      for target in ["/own/x", "/fs/x"] { #expect(try await flow.fetch(visitor, "GET", target).status == 200) }
      try await replicas.pass(.seconds(400), cookie: other)
      #expect(try await flow.fetch(visitor, "GET", "/own/x").status == 200)
      #expect(flow.refreshes == 1)
      let begun = Visitor(timeout: .seconds(20))
      let state = FormText.value("state", in: String(try await flow.begin(begun).split(separator: "?").last ?? "")) ?? ""
      _ = try await replicas.backChannelLogout(1, flow.logoutToken(subject: "alice-id", sid: "some-sid-of-the-provider"))
      var secrets = ["alice", "bob-id", "some-sid-of-the-provider", FlowFixture.password, FlowFixture.clientSecret, flow.issuer, state]
      for visitor in [visitor, begun] { secrets += await visitor.jar.cookies.map(\.value) }
      #expect(secrets.allSatisfy { $0.utf8.count >= 5 } && secrets.count >= 9)
      let journal = replicas.redis.journal
      #expect(!journal.positions(of: Array("intercom:session:{".utf8)).isEmpty)
      for secret in secrets {
        #expect(journal.positions(of: Array(secret.utf8)).isEmpty, "\(secret)")
        if let bytes = Base64URL.decode(Array(secret.utf8)), bytes.count >= 16 {
          #expect(journal.positions(of: bytes).isEmpty, "\(secret)")
        }
      }
      #expect(AnswerWatch.signedToken(in: journal) == nil)
    }
  }

  @Test("A Redis that was emptied: no replica uses what it remembers")
  func emptied() async throws {
    try await Replicas.run { replicas in
      let cookie = try await replicas.signedIn()
      #expect(try await replicas.both(200, cookie: cookie))
      try await replicas.redis.command("FLUSHALL")
      try await waitUntilTrue("that both know") { try await replicas.both(401, cookie: cookie) }
      #expect(try await replicas.open(1, "/plain/x", cookie: cookie).status == 302)
    }
  }
}
