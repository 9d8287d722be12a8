import Gateway
import HTTPMessage
import HTTPServer
import IntercomApp
import IntercomCore
import IntercomTesting
import Matrix
import ReverseProxy
import Testing

/// What `/readyz` tells an operator: whether this instance can serve, and how the services behind it fared when they were used last.
@Suite("Flow: readiness", .serialized)
struct FlowReadinessTests {
  private static func readiness(_ flow: FlowFixture) async throws -> (status: Int, lines: [String]) {
    let address = try #require(flow.running.adminAddress)
    let answer = try await flow.client.get("http://127.0.0.1:\(address.port)/readyz")
    return (answer.status, answer.text.split(separator: "\n").map(String.init))
  }

  /// The line of this name, without the name.
  private static func line(_ name: String, _ flow: FlowFixture) async throws -> String {
    let lines = try await readiness(flow).lines.filter { $0.hasPrefix("\(name): ") }
    #expect(lines.count == 1, "\(name): \(lines)")
    return String(lines.first?.dropFirst(name.utf8.count + 2) ?? "")
  }

  private static func isFailing(_ line: String, _ reason: String) -> Bool {
    line.hasPrefix("failing: \(reason)") && line.hasSuffix(" s") && line.contains(" since ")
  }

  @Test("a backend that is refused is told of by its route's name, is no reason to be unready, and is not asked for the page's sake")
  func refusedBackend() async throws {
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      #expect(try await Self.line("route down", flow) == "not used yet")
      #expect(try await Self.line("route public", flow) == "not used yet")
      #expect(try await flow.fetch(visitor, "GET", "/down/x").status == 502)
      #expect(try await flow.send(Visitor(), "GET", "/public/x").status == 200)
      // What Intercom refuses says nothing of a backend.
      #expect(try await flow.fetch(visitor, "GET", "/denied/x").status == 403)
      let (status, lines) = try await Self.readiness(flow)
      #expect(status == 200 && lines.first == "ready", "\(lines)")
      #expect(lines.contains("provider: ok") && lines.contains("sessions: ok") && lines.contains("route public: ok"), "\(lines)")
      #expect(lines.contains("route denied: not used yet"), "\(lines)")
      #expect(Self.isFailing(try await Self.line("route down", flow), "upstream_unreachable"), "\(lines)")
      // One line for each route that is forwarded, and none for Intercom's own.
      #expect(lines.count { $0.hasPrefix("route ") } == flow.routes.count { !$0.endpoints.isEmpty }, "\(lines)")
      for _ in 0..<5 { _ = try await Self.readiness(flow) }
      #expect(flow.upstream.requests.count == 1)
    }
  }

  @Test("a backend that goes away and comes back is told of by the next request of any loop; a name that nobody knows is one that fails")
  func recovers() async throws {
    var options = FlowFixture.Options()
    options.deployment = { deployment in
      for index in deployment.routes.indices where deployment.routes[index].name == "slow" {
        guard let url = HTTPURL("http://nobody.invalid/"), let endpoint = UpstreamEndpoint(url) else { throw FixtureFault.badURL }
        deployment.routes[index].kind = .proxy(endpoint)
        deployment.routes[index].isPublic = true
      }
    }
    try await FlowFixture.run(options) { flow in
      for _ in 0..<8 { #expect(try await flow.send(Visitor(), "GET", "/public/x").status == 200) }
      #expect(try await Self.line("route public", flow) == "ok")
      await flow.upstream.goAway()
      for _ in 0..<2 { #expect(try await flow.send(Visitor(), "POST", "/public/x", body: []).status == 502) }
      flow.time.advance(by: .seconds(90))
      let line = try await Self.line("route public", flow)
      #expect(Self.isFailing(line, "upstream_") && line.hasSuffix("since 90 s"), "\(line)")
      try await flow.upstream.start()
      // Whichever loop gets it.
      #expect(await eventually { (try? await flow.send(Visitor(), "GET", "/public/x").status) == 200 })
      #expect(try await Self.line("route public", flow) == "ok")
      let status = try await flow.send(Visitor(), "GET", "/slow/x").status
      #expect([502, 504].contains(status))
      let unknown = try await Self.line("route slow", flow)
      #expect(Self.isFailing(unknown, status == 502 ? "upstream_unknown" : "upstream_timeout"), "\(unknown)")
      #expect(try await Self.readiness(flow).status == 200)
    }
  }

  @Test("a provider that is known and gone is told of, and Intercom stays ready: sessions go on")
  func goneProvider() async throws {
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      #expect(try await Self.line("provider", flow) == "ok")
      await flow.provider.goAway()
      #expect(try await flow.fetch(visitor, "GET", "/fs/x").status == 503)
      let line = try await Self.line("provider", flow)
      #expect(Self.isFailing(line, "token endpoint: not reached"), "\(line)")
      #expect(!line.contains(FlowFixture.clientSecret))
      #expect(try await Self.readiness(flow).status == 200)
      #expect(try await flow.fetch(visitor, "GET", "/plain/x").status == 200)
      try await flow.provider.start()
      #expect(await eventually { (try? await flow.fetch(visitor, "GET", "/fs/x").status) == 200 })
      #expect(try await Self.line("provider", flow) == "ok")
    }
  }

  @Test("why the provider could not be asked stands in its line: refused, and another issuer, both by name")
  func absentProvider() async throws {
    try await FlowFixture.run(FlowFixture.Options(startsProvider: false)) { flow in
      try await waitUntilTrue("a reason") { try await Self.line("provider", flow).contains("not reached") }
      let refused = try await Self.readiness(flow)
      #expect(refused.status == 503 && refused.lines.first == "not ready", "\(refused.lines)")
      #expect(refused.lines.contains { $0.hasPrefix("provider: its metadata or keys could not be fetched yet: metadata: not reached") })
      flow.liar.tell(.discoveryIssuer)
      try await flow.provider.start()
      try await waitUntilTrue("another reason", within: .seconds(20)) {
        try await Self.line("provider", flow).contains("not byte for byte the configured one: found \"")
      }
      let line = try await Self.line("provider", flow)
      #expect(line.contains("expected \"\(flow.issuer)\""), "\(line)")
      #expect(try await Self.readiness(flow).status == 503)
      flow.liar.tell(nil)
      try await waitUntilTrue("a ready Intercom", within: .seconds(40)) { try await Self.readiness(flow).status == 200 }
      #expect(try await Self.line("provider", flow) == "ok")
    }
  }

  @Test("a Matrix homeserver that is refused has a line of its own, without its address")
  func homeserver() async throws {
    let port = try #require(freePort())
    var options = FlowFixture.Options()
    options.deployment = { deployment in
      deployment.homeservers = [
        HomeserverSetup(
          MatrixHomeserver(
            address: "http://127.0.0.1:\(port)", serverName: "matrix.example", asToken: Secret("as-token-canary"),
            loginType: "m.login.application_service"))
      ]
      for index in deployment.routes.indices where deployment.routes[index].name == "own" {
        deployment.routes[index].credential = .matrix(
          MatrixRule(userClaim: "preferred_username", homeserverIndex: 0, mode: .accessToken))
      }
    }
    try await FlowFixture.run(options) { flow in
      let visitor = try await flow.signedIn()
      #expect(try await Self.line("matrix matrix.example", flow) == "not used yet")
      #expect(try await flow.fetch(visitor, "GET", "/own/x").status == 503)
      let line = try await Self.line("matrix matrix.example", flow)
      #expect(Self.isFailing(line, "matrix_unavailable"), "\(line)")
      let (status, lines) = try await Self.readiness(flow)
      #expect(status == 200 && !lines.contains { $0.contains("canary") || $0.contains("\(port)") }, "\(lines)")
      #expect(lines.contains("route own: not used yet"), "\(lines)")
    }
  }

  private func freePort() -> Int? { (try? PortReservation())?.port }
}
