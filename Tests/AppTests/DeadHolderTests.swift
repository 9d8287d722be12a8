import Cryptography
import CurlTransport
import DemoWorkplace
import HTTPMessage
import HTTPServer
import IntercomCore
import IntercomTesting
import Linux
import Sessions
import Synchronization
import Testing

@Suite("A process that dies while it refreshes", .serialized)
struct DeadHolderTests {
  @Test(
    "Fault 14: kill -9 in the middle of a refresh: no second refresh with its token while the lease lives, then the next one takes over",
    .timeLimit(.minutes(10)))
  func killed() async throws {
    let rounds = Rounds.count(1, full: 20)
    var apart: [Duration] = []
    for round in 0..<rounds {
      // With and without the provider having rotated, side by side.
      apart += try await withThrowingTaskGroup(of: Duration.self) { group in
        for rotated in [true, false] {
          group.addTask { try await DeadHolder.run(rotated: rotated) }
          if RedisServer.isAvailable { group.addTask { try await DeadHolder.run(rotated: rotated, redis: RedisServer()) } }
        }
        return try await group.reduce(into: []) { $0.append($1) }
      }
      Rounds.progress("fault 14: \(round + 1) of \(rounds) rounds")
    }
    try Rounds.keep(
      "fault 14, SQLite, and two replicas on Redis: \(apart.count) processes killed in the middle of a refresh, half after the rotation: one refresh"
        + " while the lease lived, one after it (\(apart.min() ?? .zero) to \(apart.max() ?? .zero) later); then usable, or the login where the"
        + " token had been rotated")
  }
}

/// One Intercom in its own process that is killed while the provider holds the answer to its refresh, and its successor on the same database.
private struct DeadHolder {
  private static let lease = Duration.milliseconds(500) + SessionManager.turnMargin
  /// The store counts in whole seconds, cut off at both ends.
  private static let shortestLease = lease - .milliseconds(1_500)

  /// How long after the first refresh the second came.
  static func run(rotated: Bool, redis: RedisServer? = nil) async throws -> Duration {
    let (provider, upstream, folder) = (try RecordingServer(), try RecordingServer(), try TestFolder())
    let reservation = try PortReservation()
    let base = "http://intercom.localhost:\(reservation.port)"
    let carrier = try CurlTransport()
    var registration = FlowProvider.configuration(
      issuer: "http://id.localhost:\(provider.port)", base: base, secret: "not-so-secret", password: "password")
    registration.lifetimes.accessToken = 2
    let liar = try MisbehavingProvider(registration, time: SystemTime(), transport: carrier)
    let hold = HeldRefresh(rotated: rotated)
    provider.serve(hold.endpoint(liar.endpoint))
    try await provider.start()
    try await upstream.start()
    let place =
      redis.map { "store: redis, redis: {host: 127.0.0.1, port: \($0.port)}" } ?? "store: sqlite, path: \"\(folder.file("sessions.db"))\""
    let configuration = """
      baseURL: \(base)
      provider: {issuer: "\(registration.issuer)", clientID: intercom, clientSecret: not-so-secret}
      sessions: {\(place), keys: [\(Base64URL.encode(SystemRandom().bytes(32)))]}
      timeouts: {providerCall: 500ms, tokenOperation: 500ms}
      routes:
        own: {path: /own, upstream: "http://127.0.0.1:\(upstream.port)", credential: accessToken}

      """
    let first = try await IntercomProcess.serve(configuration, port: reservation.port)
    // With Redis the other one is there all the time.
    let other = redis == nil ? nil : try await IntercomProcess.serve(configuration)
    let visitor = Visitor(timeout: .seconds(20))
    try await visitor.open(base + "/own/x")
    let signedIn = try await visitor.submit(["username": "alice", "password": "password"])
    #expect(signedIn.status == 200, "\(signedIn.text)")
    try await SystemTime().sleep(for: .milliseconds(2_100))
    let doomed = Task { try? await visitor.fetch("GET", base + "/own/x", origin: base) }
    try await waitUntilTrue("the refresh at the provider") { hold.arrivals.count == 1 }
    first.child.send(Signal.kill)
    #expect(try await first.child.waitForExit() == .signal(Signal.kill))
    _ = await doomed.value

    let second: IntercomProcess
    if let other { second = other } else { second = try await IntercomProcess.serve(configuration, port: reservation.port) }
    let address = "http://intercom.localhost:\(second.port)/own/x"
    var last: HTTPAnswer?
    let limit = SystemTime().monotonicNow().advanced(by: lease + .seconds(15))
    while last == nil || last?.status == 503, SystemTime().monotonicNow() < limit {
      let asked = SystemTime().monotonicNow()
      last = try await visitor.fetch("GET", address, origin: base)
      #expect(asked.duration(to: SystemTime().monotonicNow()) < .seconds(5), "not answered within its time")
      if last?.status == 503 { #expect(last?.field("retry-after") != nil && last?.all("set-cookie").isEmpty == true) }
    }
    #expect(last?.status == (rotated ? 401 : 200), "\(last?.text ?? "")")
    let arrivals = hold.arrivals
    try #require(arrivals.count == 2, "\(arrivals.count) refreshes")
    let apart = arrivals[0].duration(to: arrivals[1])
    #expect(apart >= shortestLease)
    // The clock's part of it is `TurnTests/dead`; here a request must come by, on a machine that may be busy.
    #expect(apart < lease + .seconds(8))
    #expect(try await visitor.fetch("GET", address, origin: base).status == (rotated ? 401 : 200))
    #expect(await second.child.terminate(grace: .seconds(10)) == .code(0), "\(second.child.outputTail)")
    #expect(first.tokensInLog.isEmpty && second.tokensInLog.isEmpty)
    hold.gate.open()
    await provider.stop()
    await upstream.stop()
    carrier.stop()
    return apart
  }
}

/// Holds the answer to the first refresh for ever; `rotated`: after the provider has done what it asks.
private final class HeldRefresh: Sendable {
  let gate = Gate()
  private let rotated: Bool
  private let seen = Mutex([MonotonicInstant]())
  /// When refreshes arrived.
  var arrivals: [MonotonicInstant] { seen.withLock { $0 } }

  init(rotated: Bool) { self.rotated = rotated }

  func endpoint(_ honest: @escaping Endpoint) -> Endpoint {
    { [self] request, body in
      let bytes = try await body.collect(upTo: 65_536)
      guard String(decoding: bytes, as: UTF8.self).contains("grant_type=refresh_token") else {
        return try await honest(request, RequestBody(bytes: bytes))
      }
      let isFirst = seen.withLock { seen in
        seen.append(SystemTime().monotonicNow())
        return seen.count == 1
      }
      let response: Response? = isFirst && !rotated ? nil : try await honest(request, RequestBody(bytes: bytes))
      if isFirst { await gate.pass() }
      return response ?? Response(503)
    }
  }
}
