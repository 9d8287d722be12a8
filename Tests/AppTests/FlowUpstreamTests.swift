import HTTPMessage
import HTTPServer
import IntercomApp
import IntercomCore
import IntercomTesting
import Linux
import ReverseProxy
import Telemetry
import Testing

@Suite("Flow: upstreams", .serialized)
struct FlowUpstreamTests {
  private static let okay = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"

  /// `slow` is public and goes to a server of raw bytes.
  private static func options(
    to port: UInt16, _ change: @escaping @Sendable (inout Deployment) -> Void = { _ in }
  ) -> FlowFixture.Options {
    var options = FlowFixture.Options()
    options.deployment = { deployment in
      for index in deployment.routes.indices where deployment.routes[index].name == "slow" {
        guard let url = HTTPURL("http://127.0.0.1:\(port)/"), let endpoint = UpstreamEndpoint(url) else { throw FixtureFault.badURL }
        deployment.routes[index].kind = .proxy(endpoint)
        deployment.routes[index].isPublic = true
      }
      deployment.forwarding.health.firstPause = .milliseconds(200)
      deployment.forwarding.health.longestPause = .milliseconds(200)
      change(&deployment)
    }
    return options
  }

  private static func metrics(_ flow: FlowFixture) async throws -> String {
    let address = try #require(flow.running.adminAddress)
    return try await flow.client.get("http://127.0.0.1:\(address.port)/metrics").text
  }

  @Test(
    "fault 48: a hung upstream at 200 requests a second is 504 and then 503 at once; no request of another route fails, and it comes back")
  func hungUpstream() async throws {
    let works = Monitor(false)
    let server = try RawServer { socket, _ in
      while true {
        _ = try socket.receive(until: "\r\n\r\n")
        if works.withLock({ $0 }) { try socket.send(Self.okay) }
      }
    }
    try await FlowFixture.run(Self.options(to: server.port) { $0.forwarding.connections = 40 }) { flow in
      let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
        for _ in 0..<Rounds.count(300, full: 6_000) {
          group.addTask { try await flow.client.get(flow.base + "/slow/x").status }
          // The healthy route in between, each within its client's deadline.
          #expect(try await flow.client.get(flow.base + "/public/x").status == 200)
          try await SystemTime().sleep(for: .milliseconds(4))
        }
        return try await group.reduce(into: [:]) { counts, status in counts[status, default: 0] += 1 }
      }
      // Per loop ten time-outs open the circuit, and what was under way until then.
      #expect(statuses[504, default: 0] >= 10 && statuses[503, default: 0] > 0, "\(statuses)")
      #expect(Set(statuses.keys) == [503, 504], "\(statuses)")
      let during = try await Self.metrics(flow)
      #expect(during.contains("intercom_upstream_out_of_service{endpoint=\"127.0.0.1:\(server.port)\"} "))
      #expect(!during.contains("intercom_upstream_failures_total{endpoint=\"127.0.0.1:\(server.port)\",cause=\"hanging\"} 0"))
      works.withLock { $0 = true }
      #expect(await eventually { (try? await flow.client.get(flow.base + "/slow/x").status) == 200 })
      // Both loops find out, each with its own probe.
      #expect(
        await eventually {
          _ = try? await flow.client.get(flow.base + "/slow/x")
          return (try? await Self.metrics(flow))?
            .contains("intercom_upstream_out_of_service{endpoint=\"127.0.0.1:\(server.port)\"} 0") == true
        })
      let lines = flow.sink.lines
      #expect(lines.contains { $0.contains("upstream_out") && $0.contains("hanging") } && lines.contains { $0.contains("upstream_back") })
      #expect(lines.count { $0.contains("\"upstream_out\"") } <= 10)
    }
    server.stop()
  }

  @Test("fault 47: requests sent once more are counted by endpoint")
  func retriesAreCounted() async throws {
    // Every connection answers one request and ends at the next.
    let server = try RawServer { socket, _ in
      _ = try socket.receive(until: "\r\n\r\n")
      try socket.send(Self.okay)
      _ = try socket.receive(until: "\r\n\r\n")
    }
    try await FlowFixture.run(Self.options(to: server.port) { $0.loops = 1 }) { flow in
      for _ in 0..<3 { #expect(try await flow.client.get(flow.base + "/slow/x").status == 200) }
      let metrics = try await Self.metrics(flow)
      #expect(metrics.contains("intercom_upstream_retries_total{endpoint=\"127.0.0.1:\(server.port)\"} 2"), "\(metrics)")
      #expect(metrics.contains("intercom_upstream_connections{endpoint=\"127.0.0.1:\(server.port)\"} 1"))
    }
    server.stop()
  }
}
