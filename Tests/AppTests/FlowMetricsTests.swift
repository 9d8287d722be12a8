import EventLoop
import HTTPServer
import IntercomTesting
import Linux
import Telemetry
import Testing
import Workers

@testable import IntercomApp

@Suite("Flow: metrics", .serialized)
struct FlowMetricsTests {
  /// The value of each series of `name`, by its labels as they are written.
  private static func series(_ name: String, _ flow: FlowFixture) async throws -> [String: Double] {
    let address = try #require(flow.running.adminAddress)
    let text = try await flow.client.get("http://127.0.0.1:\(address.port)/metrics").text
    var found: [String: Double] = [:]
    for line in text.split(separator: "\n") where line.hasPrefix("intercom_\(name){") {
      guard let end = line.lastIndex(of: " "), let value = Double(line[line.index(after: end)...]) else { continue }
      found[line[..<end].dropFirst("intercom_\(name)".count).description] = value
    }
    return found
  }

  @Test("every loop shows its connections, requests, sessions and lag, and requests are spread over the loops")
  func loops() async throws {
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      let cookie = try #require(await visitor.jar["intercom"]?.value)
      let text =
        "GET /plain/x HTTP/1.1\r\nHost: intercom.localhost:\(flow.port)\r\nOrigin: \(flow.app)\r\nCookie: intercom=\(cookie)\r\n\r\n"
      // A connection for each: the kernel gives them to the loops by their ports.
      let kept = try await onThread {
        try (0..<64).map { _ in
          let socket = try RawSocket(port: UInt16(flow.port))
          try socket.send(text)
          #expect(try socket.receive(until: "\r\n\r\n").hasPrefix("HTTP/1.1 200"))
          return socket
        }
      }
      // A client sees its answer a moment before it is counted.
      #expect(await eventually { (try? await Self.series("loop_requests_total", flow))?.values.reduce(0, +) ?? 0 >= 64 })
      let requests = try await Self.series("loop_requests_total", flow)
      #expect(Set(requests.keys) == [#"{loop="0"}"#, #"{loop="1"}"#])
      #expect(requests.values.allSatisfy { $0 >= 1 }, "\(requests)")
      #expect(try await Self.series("requests_total", flow).values.reduce(0, +) == requests.values.reduce(0, +))
      let connections = try await Self.series("loop_connections", flow)
      #expect(connections.count == 2 && connections.values.reduce(0, +) >= 64, "\(connections)")
      #expect(try await Self.series("loop_sessions", flow) == [#"{loop="0"}"#: 1, #"{loop="1"}"#: 1])
      let upstream = try await Self.series("loop_upstream_connections", flow)
      #expect(upstream.count == 2 && upstream.values.allSatisfy { $0 >= 1 }, "\(upstream)")
      let turns = try await Self.series("loop_lag_seconds_count", flow)
      #expect(turns.count == 2 && turns.values.allSatisfy { $0 >= 1 }, "\(turns)")
      for socket in kept { socket.close() }
      #expect(await eventually { (try? await Self.series("loop_connections", flow))?.values.allSatisfy { $0 <= 1 } == true })
    }
  }

  @Test("/metrics is written by a worker, not by the loop that serves it")
  func rendering() async throws {
    let (group, workers, registry) = (try EventLoopGroup(count: 1), try Workers(threads: 1), MetricRegistry())
    let executor = group.loops[0].executor
    registry.value("on_loop", help: "Where it is asked.") { executor.isCurrent ? 1 : 0 }
    let table = AdminEndpoints.table(checks: [], registry: registry, workers: workers)
    let server = try await HTTPServer<EndpointHandler>.start(on: [SocketAddress(.loopbackV4, port: 0)], loops: group.loops) { _ in
      EndpointHandler(table)
    }
    let text = try await RawHTTPClient(timeout: .seconds(10)).get("http://127.0.0.1:\(server.addresses[0].port)/metrics").text
    #expect(text.contains("intercom_on_loop 0\n"), "\(text)")
    await server.stop()
    await group.stop()
    workers.stop()
  }

  private static func holdUp(_ actor: LoopActor) async { await actor.withLoop { _ in pauseThread(milliseconds: 120) } }

  private static func value(_ series: String, _ flow: FlowFixture) async throws -> Double {
    let name = series.split(separator: "{")[0].description
    return try #require(try await Self.series(name, flow)[series.dropFirst(name.count).description])
  }

  @Test("a loop that works for long shows it as lag")
  func lag() async throws {
    try await FlowFixture.run { flow in
      await Self.holdUp(flow.running.loops.loops[1])
      let longest = try await Self.value(#"loop_longest_lag_seconds{loop="1"}"#, flow)
      #expect(longest >= 0.12)
      let below = try await Self.value(#"loop_lag_seconds_bucket{loop="1",le="0.1"}"#, flow)
      let all = try await Self.value(#"loop_lag_seconds_bucket{loop="1",le="+Inf"}"#, flow)
      #expect(below < all)
    }
  }
}
