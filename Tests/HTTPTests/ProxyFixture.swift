import EventLoop
import HTTP1
import HTTPMessage
import HTTPServer
import IntercomCore
import IntercomTesting
import Linux
import OpenSSL
import Policy
import ReverseProxy
import Synchronization
import Telemetry
import Testing
import Workers

/// Forwards every request to one upstream under a public rule.
final class ProxyHandler: RequestHandler {
  private let route: ForwardRoute
  private let forwarder: Forwarder

  init(
    _ loop: EventLoop, _ route: ForwardRoute, _ resolver: NameResolver, _ settings: ForwardSettings, _ log: StructuredLog,
    refused: Monitor<Int>
  ) {
    self.route = route
    let registry = MetricRegistry()
    let metrics = UpstreamMetrics(registry: registry, endpoints: route.endpoints)
    let telemetry = UpstreamTelemetry(metrics, registry.makeLoopMetrics(of: 0), log: log, repeats: RepeatLimiter())
    forwarder = Forwarder(loop: loop, resolver: resolver, settings: settings, telemetry: telemetry)
    forwarder.onCredentialRefused = { _ in refused.withLock { $0 += 1 } }
  }

  func handle(_ head: borrowing RequestHead, _ bytes: borrowing Span<UInt8>, _ exchange: ServerConnection<ProxyHandler>) {
    let policy = RoutePolicy(route: 0, methods: .webdav, rule: .publicRoute)
    let request = head.request
    guard case .permit(let permit) = PolicyEnforcementPoint.decide(policy, method: request.method, identity: nil),
      let cors = try? FieldLines(["Access-Control-Allow-Origin": "https://app.example", "Vary": "Origin"]),
      let plan = ForwardPlan(
        permit: permit, route: route, for: request, request: RequestRewrite(), response: ResponseRewrite(added: cors))
    else { return exchange.answer(Problem(500, "test", "The fixture is wrong.")) }
    forwarder.forward(plan, head, bytes, exchange)
  }
}

/// A proxy in front of an upstream.
struct Proxy: Sendable {
  let server: TestServer<ProxyHandler>
  /// How often `onCredentialRefused` was called.
  let refused: Monitor<Int>

  func client<Value: Sendable>(_ body: @escaping @Sendable (RawSocket) throws -> Value) async throws -> Value {
    try await server.client { port in try body(try RawSocket(port: port)) }
  }

  static func run(
    to upstream: String..., times: UpstreamTimeouts = UpstreamTimeouts(), settings: ForwardSettings = ForwardSettings(),
    server serverSettings: ServerSettings = ServerSettings(), upgrades: [[UInt8]] = [], listener: TLSContext? = nil,
    lookUp: @escaping @Sendable (String) -> Result<[IPAddress], NameResolutionError> = { _ in .failure(.notFound("no such name")) },
    tls: UpstreamTLS? = nil, log: StructuredLog = .none,
    _ body: (Proxy) async throws -> Void
  ) async throws {
    let workers = try Workers(threads: 1)
    let resolver = NameResolver(workers: workers, lifetime: .milliseconds(50), lookUp: lookUp)
    let refused = Monitor(0)
    let base = try #require(HTTPURL("http://intercom.example/"))
    let endpoints = try upstream.map { try #require(HTTPURL($0).flatMap(UpstreamEndpoint.init)) }
    let endpoint = try #require(endpoints.first)
    let path = try #require(RoutePath("/"))
    let route = try #require(
      ForwardRoute(
        index: 0, name: "test", path: path, upstream: endpoint, others: Array(endpoints.dropFirst()), baseURL: base,
        ownCookies: OwnCookieNames(["intercom"]), timeouts: times, upgrades: upgrades, tls: tls))
    let make: @Sendable (EventLoop) -> ProxyHandler = { ProxyHandler($0, route, resolver, settings, log, refused: refused) }
    try await TestServer.run(settings: serverSettings, tls: listener, makeHandler: make) { server in
      try await body(Proxy(server: server, refused: refused))
    }
    workers.stop()
  }

  static func run(
    to upstream: RawServer, times: UpstreamTimeouts = UpstreamTimeouts(), settings: ForwardSettings = ForwardSettings(),
    server: ServerSettings = ServerSettings(), _ body: (Proxy) async throws -> Void
  ) async throws {
    try await run(to: "http://127.0.0.1:\(upstream.port)/", times: times, settings: settings, server: server, body)
    upstream.stop()
  }
}

/// An upstream that answers each head with these bytes, on as many connections as come.
func upstream(_ answer: @escaping @Sendable (String) -> String) throws -> RawServer {
  try RawServer { socket, _ in
    while true {
      let head = try socket.receive(until: "\r\n\r\n")
      try socket.send(answer(head))
    }
  }
}

let okay = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"
let get = "GET /x HTTP/1.1\r\nHost: intercom.example\r\n\r\n"
