import HTTPMessage
import HTTPServer
import IntercomCore
import IntercomTesting
import Testing

/// Fault 54, over real sockets and TLS.
@Suite("HTTP/2: floods and limits", .serialized, .timeLimit(.minutes(5)))
struct HTTP2FloodTests {
  /// With an endpoint that reads nothing and takes its time.
  private static func table() -> EndpointTable {
    var table = endpoints()
    table.add(.post, "/never") { _, _ in
      try await SystemTime().sleep(for: .seconds(600))
      return Response(204)
    }
    return table
  }

  @Test("Whoever floods a connection is thrown out with it, and others on the loop are served (fault 54)")
  func floods() async throws {
    try await HTTP2Server.run(Self.table()) { http2 in
      let served = try await http2.served {
        try await Self.all(HTTP2Flood.all) { flood in
          let codes = try await http2.client { client in
            // Far more than any of them needs, and on a machine however slow.
            do { for _ in 0..<500 where client.goAways.isEmpty { try flood.attack(client) } } catch HTTP2ClientError.ended {}
            try? client.receiveToEnd()
            try Self.expectEnd(client, flood)
            return client.goAways.map(\.code)
          }
          #expect(flood.codes.isEmpty || codes.isEmpty || !flood.codes.isDisjoint(with: codes), "\(flood): \(codes)")
        }
      }
      #expect(served > 0)
      #expect(await eventually { await http2.server.server.connections() == 0 }, "connections are left")
    }
  }

  /// All at once: each ends with two seconds in which the server swallows what the client still sends.
  private static func all(_ floods: [HTTP2Flood], _ body: @escaping @Sendable (HTTP2Flood) async throws -> Void) async throws {
    try await withThrowingTaskGroup(of: Void.self) { group in
      for flood in floods {
        group.addTask { do { try await body(flood) } catch { Issue.record("\(flood): \(error)") } }
      }
      try await group.waitForAll()
    }
  }

  /// The connection is over: nothing is read or written any more.
  private static func expectEnd(_ client: HTTP2Client, _ flood: HTTP2Flood) throws {
    #expect(throws: HTTP2ClientError.ended, "\(flood)") {
      for _ in 0..<1000 {
        try client.send(.ping())
        pauseThread(milliseconds: 5)
      }
      throw HTTP2ClientError.timedOut
    }
  }

  @Test("What breaks the protocol ends its connection with the code of RFC 9113 §7 and nobody else's")
  func violations() async throws {
    try await HTTP2Server.run(Self.table()) { http2 in
      let served = try await http2.served {
        try await Self.all(HTTP2Flood.violations) { violation in
          let codes = try await http2.client { client in
            try violation.attack(client)
            try client.receiveToEnd()
            return client.goAways.map(\.code)
          }
          #expect(codes.count == 1 && violation.codes.isSuperset(of: codes), "\(violation): \(codes)")
        }
      }
      #expect(served > 0)
    }
  }
}
