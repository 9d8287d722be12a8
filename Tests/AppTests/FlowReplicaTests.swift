import Cryptography
import HTTPMessage
import HTTPServer
import IntercomApp
import IntercomCore
import IntercomTesting
import Linux
import SessionStoreRedis
import Synchronization
import Testing

/// Two Intercoms that share one Redis and one address: what a visitor has from the one is presented to the other.
struct Replicas {
  let first: FlowFixture
  let second: RunningIntercom
  let redis: RedisServer
  let relay: TCPRelay

  /// The second one's Redis is behind `relay`.
  static func run(_ options: FlowFixture.Options = .init(), _ body: (Replicas) async throws -> Void) async throws {
    let redis = try await RedisServer()
    let relay = try TCPRelay(to: redis.port)
    let copy = Mutex<Deployment?>(nil)
    var options = options
    let change = options.deployment
    options.deployment = { deployment in
      try change(&deployment)
      deployment.store = .redis(RedisSettings(host: "127.0.0.1", port: redis.port))
      copy.withLock { $0 = deployment }
    }
    try await FlowFixture.run(options) { flow in
      guard var deployment = copy.withLock({ $0 }) else { throw FixtureFault.unexpected("no deployment") }
      deployment.store = .redis(RedisSettings(host: "127.0.0.1", port: relay.port))
      deployment.listen = [ListenerSetup(SocketAddress(.loopbackV4, port: 0))]
      deployment.admin = nil
      let second = try await Composition.start(deployment)
      let result: Result<Void, any Error>
      do {
        try await waitUntilTrue("a ready provider") { second.isProviderReady }
        result = .success(try await body(Replicas(first: flow, second: second, redis: redis, relay: relay)))
      } catch { result = .failure(error) }
      _ = await second.stop()
      try result.get()
    }
  }

  /// What the second one answers to a script that presents this cookie.
  func askSecond(_ target: String, cookie: String) async throws -> HTTPAnswer {
    let port = second.addresses.first.map { Int($0.port) } ?? 0
    return try await first.client.get(
      "http://intercom.localhost:\(port)\(target)", ["Cookie": "intercom=\(cookie)", "Origin": first.app])
  }

  func askFirst(_ target: String, cookie: String) async throws -> HTTPAnswer {
    try await first.client.get(first.base + target, ["Cookie": "intercom=\(cookie)", "Origin": first.app])
  }

  func signedIn() async throws -> String {
    let visitor = try await first.signedIn()
    guard let cookie = await visitor.jar["intercom"]?.value else { throw FixtureFault.unexpected("no cookie") }
    return cookie
  }
}

@Suite("Replicas that share Redis", .serialized, .enabled(if: RedisServer.isAvailable), .timeLimit(.minutes(2)))
struct FlowReplicaTests {
  @Test("A session that one replica made serves at the other; behind a logout's 200 neither authorises a request (fault 26)")
  func logout() async throws {
    try await Replicas.run { replicas in
      let flow = replicas.first
      for round in 0..<Rounds.count(2, full: 20) {
        let (cookie, other) = (try await replicas.signedIn(), try await replicas.signedIn())
        // Both hold copies now.
        for target in ["/plain/x", "/fs/x", "/plain/y"] {
          #expect(try await replicas.askFirst(target, cookie: cookie).status == 200)
          #expect(try await replicas.askSecond(target, cookie: cookie).status == 200)
          #expect(try await replicas.askSecond(target, cookie: other).status == 200)
        }
        if round.isMultiple(of: 2) {
          let token = try flow.logoutToken(subject: "alice-id")
          #expect(try await flow.client.post(flow.base + "/backchannel-logout", form: ["logout_token": token]).status == 200)
          #expect(try await replicas.askSecond("/plain/x", cookie: other).status == 401)
        } else {
          let answer = try await flow.client.send(
            "POST", flow.url("/logout"), fields: [("Cookie", "intercom=\(cookie)"), ("Origin", flow.app)], body: [])
          #expect(answer.status == 302)
        }
        #expect(try await replicas.askSecond("/plain/x", cookie: cookie).status == 401)
        #expect(try await replicas.askFirst("/plain/x", cookie: cookie).status == 401)
      }
    }
  }

  @Test("A replica that does not hear from Redis any more uses no copy beyond its lease: a logout at another is obeyed (fault 26)")
  func deafReplica() async throws {
    try await Replicas.run { replicas in
      let flow = replicas.first
      let cookie = try await replicas.signedIn()
      #expect(try await replicas.askSecond("/plain/x", cookie: cookie).status == 200)
      replicas.relay.become(.silent)
      let token = try flow.logoutToken(subject: "alice-id")
      #expect(try await flow.client.post(flow.base + "/backchannel-logout", form: ["logout_token": token]).status == 200)
      let answer = try await replicas.askSecond("/plain/x", cookie: cookie)
      #expect(answer.status == 503 && answer.field("retry-after") != nil && answer.all("set-cookie").isEmpty)
      replicas.relay.become(.passes)
      try await waitUntilTrue("that the second one knows") {
        try await replicas.askSecond("/plain/x", cookie: cookie).status == 401
      }
    }
  }

  @Test(
    "While Redis hangs or is gone requests are 503 in their time and nobody is signed out; when it is back the same cookies work (fault 3, fault 4)"
  )
  func outage() async throws {
    try await Replicas.run { replicas in
      let cookie = try await replicas.signedIn()
      #expect(try await replicas.askFirst("/fs/x", cookie: cookie).status == 200)
      replicas.redis.freeze()
      try await waitUntilTrue("that the first one's copies are not good any more") {
        try await replicas.askFirst("/fs/x", cookie: cookie).status == 503
      }
      for _ in 0..<5 {
        let began = SystemTime().monotonicNow()
        let answer = try await replicas.askFirst("/fs/x", cookie: cookie)
        #expect(answer.status == 503 && answer.field("retry-after") != nil && answer.all("set-cookie").isEmpty)
        #expect(began.duration(to: SystemTime().monotonicNow()) < .seconds(8))
      }
      replicas.redis.thaw()
      try await waitUntilTrue("the same session") { try await replicas.askFirst("/fs/x", cookie: cookie).status == 200 }
      #expect(try await replicas.askSecond("/fs/x", cookie: cookie).status == 200)
    }
  }

  @Test("100 requests at two replicas when the token has expired: one refresh, 100 answers (fault 13)")
  func oneRefresh() async throws {
    var options = FlowFixture.Options()
    options.lifetimes.accessToken = 5
    try await Replicas.run(options) { replicas in
      for _ in 0..<Rounds.count(2, full: 50) {
        let cookie = try await replicas.signedIn()
        #expect(try await replicas.askSecond("/own/x", cookie: cookie).status == 200)
        try await SystemTime().sleep(for: .milliseconds(5_200))
        let before = replicas.first.refreshes
        let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
          for number in 0..<100 {
            group.addTask {
              let answer =
                try await number.isMultiple(of: 2)
                ? replicas.askFirst("/own/x", cookie: cookie) : replicas.askSecond("/own/x", cookie: cookie)
              return answer.status
            }
          }
          return try await group.reduce(into: []) { $0.append($1) }
        }
        #expect(statuses.allSatisfy { $0 == 200 }, "\(Dictionary(grouping: statuses) { $0 }.mapValues(\.count))")
        #expect(replicas.first.refreshes - before == 1)
      }
    }
  }
}
