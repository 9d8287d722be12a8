import IntercomCore
import IntercomTesting
import Testing

@Suite("Flow: tabs at another replica", .serialized, .enabled(if: RedisServer.isAvailable), .timeLimit(.minutes(2)))
struct FlowSessionReplicaTests {
  @Test("A tab that listens at one replica hears of the sign-out at another; somebody else's does not (fault 33)")
  func otherReplica() async throws {
    try await Replicas.run { replicas in
      let (alice, bob) = (try await replicas.signedIn(), try await replicas.signedIn("bob"))
      let app = replicas.first.app
      /// A stream at the second replica, its first event read.
      func listen(_ cookie: String) async throws -> RawSocket {
        let port = UInt16(clamping: replicas.port(1))
        return try await onThread {
          let socket = try RawSocket(port: port, timeOut: .seconds(60))
          try socket.send(
            "GET /session/events HTTP/1.1\r\nHost: intercom.localhost:\(port)\r\nCookie: intercom=\(cookie)\r\nOrigin: \(app)\r\n\r\n")
          _ = try socket.receive(until: "absoluteExpiresIn")
          return socket
        }
      }
      let (tabs, other) = (try await [listen(alice), listen(alice)], try await listen(bob))
      let began = SystemTime().monotonicNow()
      #expect(try await replicas.open(0, "/logout", cookie: alice).status == 302)
      for tab in tabs {
        let rest = try await onThread { try tab.receive(until: "\r\n0\r\n\r\n") }
        #expect(rest.contains("event: signed-out\ndata: {\"signedIn\":false,\"reason\":\"session_ended\"}\n\n"), "\(rest)")
      }
      #expect(began.duration(to: SystemTime().monotonicNow()) < .seconds(Rounds.isFull ? 5 : 30))
      #expect(replicas.second.watchingTabs == 1)
      #expect(try await replicas.open(1, "/logout", cookie: bob).status == 302)
      let rest = try await onThread { try other.receive(until: "\r\n0\r\n\r\n") }
      #expect(rest.contains(#""reason":"logged_out""#))
      // What was ended at one replica is revoked by that one, once.
      try await waitUntilTrue("both are revoked") { replicas.first.provider.requests.count { $0.path == "/revoke" } == 2 }
    }
  }
}
