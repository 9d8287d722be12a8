import Cryptography
import EventLoop
import HTTPMessage
import HTTPServer
import IntercomCore
import IntercomTesting
import Linux
import SessionStoreRedis
import Sessions
import Synchronization
import Telemetry
import Testing
import Workers

@testable import IntercomApp

/// Two Intercoms that share one Redis and one address: what a visitor has from the one is presented to the other.
struct Replicas {
  let first: FlowFixture
  let second: RunningIntercom
  let redis: RedisServer
  /// The way of each to Redis.
  let relays: [TCPRelay]
  /// What a test puts into Redis itself.
  private let own: RedisSessionStore

  /// - Parameter settings: lines of the server's configuration.
  static func run(
    _ options: FlowFixture.Options = .init(), _ settings: [String] = [], _ body: (Replicas) async throws -> Void
  ) async throws {
    let redis = try await RedisServer(settings)
    let relays = [try TCPRelay(to: redis.port), try TCPRelay(to: redis.port)]
    let copy = Mutex<Deployment?>(nil)
    var options = options
    let change = options.deployment
    options.deployment = { deployment in
      try change(&deployment)
      deployment.store = .redis(RedisSettings(host: "127.0.0.1", port: relays[0].port))
      copy.withLock { $0 = deployment }
    }
    let (loops, workers) = (try EventLoopGroup(count: 1), try Workers(threads: 1))
    let own = await RedisSessionStore(
      RedisSettings(host: "127.0.0.1", port: redis.port), on: loops.loops[0], resolver: NameResolver(workers: workers), time: SystemTime(),
      random: SystemRandom(), log: .none)
    let result: Result<Void, any Error>
    do {
      try await FlowFixture.run(options) { flow in
        guard var deployment = copy.withLock({ $0 }) else { throw FixtureFault.unexpected("no deployment") }
        deployment.store = .redis(RedisSettings(host: "127.0.0.1", port: relays[1].port))
        deployment.listen = [ListenerSetup(SocketAddress(.loopbackV4, port: 0))]
        deployment.admin = nil
        let second = try await Composition.start(deployment)
        let result: Result<Void, any Error>
        do {
          try await waitUntilTrue("a ready provider") { second.isProviderReady }
          result = .success(try await body(Replicas(first: flow, second: second, redis: redis, relays: relays, own: own)))
        } catch { result = .failure(error) }
        _ = await second.stop()
        try result.get()
      }
      result = .success(())
    } catch { result = .failure(error) }
    await own.close()
    await loops.stop()
    workers.stop()
    try result.get()
  }

  /// The port of the first (0) or the second (1).
  func port(_ replica: Int) -> Int { replica == 0 ? first.port : second.addresses.first.map { Int($0.port) } ?? 0 }

  func url(_ replica: Int, _ target: String) throws -> LoopbackURL {
    try LoopbackURL("http://intercom.localhost:\(port(replica))\(target)")
  }

  /// What a replica answers to a script that presents this cookie.
  func ask(_ replica: Int, _ target: String, cookie: String) async throws -> HTTPAnswer {
    try await first.client.send("GET", url(replica, target), fields: [("Cookie", "intercom=\(cookie)"), ("Origin", first.app)])
  }

  /// The same for a page that is opened.
  func open(_ replica: Int, _ target: String, cookie: String) async throws -> HTTPAnswer {
    try await first.client.send("GET", url(replica, target), fields: [("Cookie", "intercom=\(cookie)")] + FlowFixture.navigation)
  }

  /// Whether both answer so.
  func both(_ status: Int, _ target: String = "/plain/x", cookie: String) async throws -> Bool {
    for replica in 0..<2 { guard try await ask(replica, target, cookie: cookie).status == status else { return false } }
    return true
  }

  /// The provider tells a replica that a session is over.
  func backChannelLogout(_ replica: Int, _ token: String) async throws -> HTTPAnswer {
    try await first.client.post(url(replica, "/backchannel-logout").description, form: ["logout_token": token])
  }

  /// Asks both for so long that each has a copy of the session and may use it.
  func warm(_ cookie: String, _ target: String = "/plain/x") async throws {
    for running in [first.running, second] {
      try await waitUntilTrue("copies that may be used") { running.storage.lease.isValid(first.time.monotonicNow()) }
    }
    for _ in 0..<4 { #expect(try await both(200, target, cookie: cookie)) }
  }

  func signedIn(_ user: String = "alice") async throws -> String {
    let visitor = try await first.signedIn(user)
    guard let cookie = await visitor.jar["intercom"]?.value else { throw FixtureFault.unexpected("no cookie") }
    return cookie
  }

  /// The cookie of a session that nobody signed in to.
  func plant(_ subject: Identifier = "alice-id", sid: Identifier? = nil, name: String = "planted") async throws -> String {
    try await first.plantedSession(subject: subject, sid: sid, claims: [name], in: own)
  }

  /// All time-outs of now are over, and both have noticed: connections to Redis that were waited on at this moment were given up.
  func pass(_ time: Duration, cookie: String) async throws {
    first.time.advance(by: time)
    try await SystemTime().sleep(for: .milliseconds(250))
    for replica in 0..<2 {
      try await waitUntilTrue("that both read sessions") { try await ask(replica, "/plain/x", cookie: cookie).status != 503 }
    }
  }

  /// Many at once, each in a task of its own.
  static func together<Value: Sendable>(
    _ count: Int, _ body: @escaping @Sendable (Int) async throws -> Value
  ) async throws -> [Value] {
    try await withThrowingTaskGroup(of: Value.self) { group in
      for number in 0..<count { group.addTask { try await body(number) } }
      return try await group.reduce(into: []) { $0.append($1) }
    }
  }
}

extension HTTPAnswer {
  /// 503 as it must be while the store is away: with a time to try again, no cookie touched, nobody sent anywhere.
  var isStoreOutage: Bool { status == 503 && field("retry-after") != nil && all("set-cookie").isEmpty && field("location") == nil }
}
