import EventLoop
import Gateway
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

@Suite("Flow: the start", .serialized, .timeLimit(.minutes(2)))
struct FlowStartTests {
  @Test("What ends while listeners are open and their loops not yet known: once they are, no copy of before is used (fault 26)")
  func early() async throws {
    let made = Mutex<Deployment?>(nil)
    try await FlowFixture.run(FlowFixture.Options(deployment: { deployment in made.withLock { $0 = deployment } })) { flow in
      let (services, loops) = (flow.running.services, GatewayLoops())
      services.sessions.add(loops)
      let (group, server) = try await Self.gateway(try #require(made.withLock { $0 }), flow, loops)
      let port = Int(try #require(server.addresses.first).port)
      func status(_ cookie: String) async throws -> Int {
        let url = try LoopbackURL("http://intercom.localhost:\(port)/plain/x")
        return try await flow.client.send("GET", url, fields: [("Cookie", "intercom=\(cookie)"), ("Origin", flow.app)]).status
      }
      let (cookie, other) = (try await flow.plantedSession(), try await flow.plantedSession())
      for cookie in [cookie, other] { #expect(try await status(cookie) == 200) }
      #expect(try await services.sessions.end(try #require(SessionID(cookieValue: Array(cookie.utf8))), reason: .loggedOut))
      // Nobody has told these loops.
      #expect(try await status(cookie) == 200)
      await loops.attach(server)
      #expect(try await status(cookie) == 401)
      #expect(try await status(other) == 200)
      await server.stop()
      await group.stop()
    }
  }

  /// A second listener as the composition makes one, whose loops are not known to `loops` yet.
  private static func gateway(
    _ deployment: Deployment, _ flow: FlowFixture, _ loops: GatewayLoops
  ) async throws -> (EventLoopGroup, HTTPServer<GatewayHandler>) {
    let registry = MetricRegistry()
    let metrics = GatewayMetrics(registry: registry)
    let (running, log) = (flow.running, deployment.log)
    let generation = try Composition.generation(of: deployment, running.services, metrics, running.transports, LastResults())
    let upstreams = UpstreamMetrics(registry: registry, endpoints: generation.services.gateway.table.routes.flatMap(\.endpoints))
    let (settings, forwarding) = Composition.connectionSettings(
      of: deployment, loops: 1, generation, ListenerMetrics(registry: registry), tells: false)
    let (group, repeats) = (try EventLoopGroup(count: 1), RepeatLimiter())
    let server = try await HTTPServer<GatewayHandler>.start(
      on: [SocketAddress(.loopbackV4, port: 0)], loops: group.loops, settings: settings
    ) { loop in
      let numbers = registry.makeLoopMetrics(of: loop.actor?.index)
      let telemetry = UpstreamTelemetry(upstreams, numbers, log: log, repeats: repeats)
      let forwarder = Forwarder(loop: loop, resolver: running.resolver, settings: forwarding, telemetry: telemetry)
      return GatewayHandler(generation: generation, loop: loop, loops: loops, forwarder: forwarder, metrics: metrics.loop(numbers))
    }
    return (group, server)
  }
}
