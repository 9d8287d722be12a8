import DemoWorkplace
import HTTPMessage
import HTTPServer
import IntercomCore
import IntercomTesting
import Synchronization
import Testing

/// SIGTERM while the provider has a refresh in its hands, at one that rotates refresh tokens and ends the grant when one comes twice.
@Suite("The end of the program and refreshes", .serialized, .timeLimit(.minutes(5)))
struct EndingRefreshTests {
  @Test(
    "SIGTERM during a refresh ahead of its time, for which nobody waits: its answer is kept, the next program serves the session (fault 11)",
    arguments: [false, true])
  func ahead(hasReplicas: Bool) async throws {
    guard !hasReplicas || RedisServer.isAvailable else { return }
    let redis = hasReplicas ? try await RedisServer() : nil
    var lifetimes = ProviderLifetimes()
    lifetimes.accessToken = 10
    try await LastingIntercom.run(redis: redis, lifetimes) { lasting in
      let refreshes = Refreshes()
      lasting.provider.serve(refreshes.slowly(lasting.liar.endpoint))
      let first = hasReplicas ? try await lasting.serve(replica: 0) : try await lasting.serve()
      let other = hasReplicas ? try await lasting.serve(replica: 1) : nil
      let cookie = try await lasting.cookie(of: lasting.signedIn())
      func status(_ replica: Int) async throws -> Int {
        if hasReplicas { return try await lasting.ask(replica: replica, "/own/x", cookie: cookie).status }
        return try await lasting.status(cookie, "/own/x")
      }
      try await waitUntilTrue("a refresh ahead of its time", within: .seconds(30), pause: .milliseconds(100)) {
        let seen = try await status(0)
        #expect(seen == 200)
        return refreshes.begun > 0
      }
      #expect(refreshes.ended == 0)
      #expect(await first.child.terminate(grace: .seconds(20)) == .code(0), "\(first.child.outputTail)")
      #expect(refreshes.begun == 1)
      // The old token's time is over then.
      try await SystemTime().sleep(for: .seconds(2))
      let next = if let other { other } else { try await lasting.serve() }
      #expect(try await status(1) == 200)
      #expect(await next.child.terminate(grace: .seconds(20)) == .code(0), "\(next.child.outputTail)")
      #expect(first.tokensInLog.isEmpty && next.tokensInLog.isEmpty)
    }
  }
}

/// Notes refreshes and answers each a second later.
private final class Refreshes: Sendable {
  private let counts = Mutex((begun: 0, ended: 0))
  var begun: Int { counts.withLock { $0.begun } }
  var ended: Int { counts.withLock { $0.ended } }

  func slowly(_ honest: @escaping Endpoint) -> Endpoint {
    { [self] request, body in
      let bytes = try await body.collect(upTo: 65_536)
      let answer = try await honest(request, RequestBody(bytes: bytes))
      guard String(decoding: bytes, as: UTF8.self).contains("grant_type=refresh_token") else { return answer }
      counts.withLock { $0.begun += 1 }
      // Also when whoever asked is gone.
      try? await SystemTime().sleep(for: .seconds(1))
      counts.withLock { $0.ended += 1 }
      return answer
    }
  }
}
