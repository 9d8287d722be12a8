import Testing

@testable import IntercomApp

@Suite("Configuration: upstreams")
struct ConfigurationUpstreamTests {
  private typealias Fixture = ConfigurationFixture

  @Test("a route's upstream is one URL or several endpoints of one service")
  func endpoints() throws {
    let several = "a: {path: /a, upstream: [\"http://x/b\", \"http://y:81/b/\"], balance: leastRequest, credential: none}"
    let reading = Fixture.read(Fixture.route(several))
    #expect(reading.errors.isEmpty && reading.warnings.isEmpty)
    let route = try #require(reading.configuration?.routes.first)
    #expect(route.upstream.map(\.text) == ["http://x/b", "http://y:81/b/"] && route.balance == .leastRequest)
    let variable = Fixture.read(Fixture.minimal, ["INTERCOM_CFG_ROUTES__FS__UPSTREAM": "http://x,http://y"])
    #expect(variable.configuration?.routes.first?.upstream.map(\.text) == ["http://x", "http://y"])
    let alone = "a: {path: /a, upstream: \"http://x\", balance: leastRequest, credential: none}"
    #expect(Fixture.warnings(Fixture.route(alone)).count == 1 && Fixture.errors(Fixture.route(alone)).isEmpty)
  }
}
