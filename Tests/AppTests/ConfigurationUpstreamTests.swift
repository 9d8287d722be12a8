import IntercomTesting
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

  private func route(_ tls: String, upstream: String = "https://x") -> String {
    Fixture.route("a: {path: /a, upstream: \"\(upstream)\", credential: none, upstreamTLS: \(tls)}")
  }

  @Test("upstreams are reached by TLS, with authorities, a client certificate and a name of one's own when they are written")
  func upstreamTLS() async throws {
    let authority = try await TestAuthority()
    let issued = try await authority.issue("client", names: "DNS:client", days: 90)
    let files = try [
      "/ca.pem": TestAuthority.text(authority.path), "/c.pem": TestAuthority.text(issued.chain), "/c.key": TestAuthority.text(issued.key),
    ]
    let plain = Fixture.read(Fixture.route("a: {path: /a, upstream: \"https://x\", credential: none}"))
    #expect(plain.errors == [] && plain.warnings == [])
    let summary = ConfigurationReport.summary(try #require(plain.configuration))
    #expect(summary.contains { $0.contains("verified by the system's authorities") })
    let text = route("{caFile: /ca.pem, chain: /c.pem, key: /c.key, serverName: Files.Internal}")
    let reading = Fixture.read(text, files: files)
    #expect(reading.errors == [] && reading.warnings == [])
    let tls = try #require(reading.configuration?.routes.first?.upstreamTLS)
    #expect(tls.caFile == "/ca.pem" && tls.authorities != nil && tls.chain == "/c.pem" && tls.identity != nil)
    #expect(tls.serverName == "files.internal")
    let variable = ["INTERCOM_CFG_ROUTES__A__UPSTREAM_TLS__CA_FILE": "/ca.pem"]
    let overlaid = Fixture.read(Fixture.route("a: {path: /a, upstream: \"https://x\", credential: none}"), variable, files: files)
    #expect(overlaid.configuration?.routes.first?.upstreamTLS?.caFile == "/ca.pem", "\(overlaid.errors)")
  }

  @Test("what of it cannot be used is a fault at its place, before anything starts; a certificate that has expired is reported (S33)")
  func upstreamTLSFaults() async throws {
    let (authority, stranger) = (try await TestAuthority(), try await TestAuthority())
    let issued = try await authority.issue("client", names: "DNS:client", days: 90)
    let other = try await stranger.issue("client", names: "DNS:client", days: 90)
    let late = try await authority.issue("late", names: "DNS:client", days: -1)
    let text = TestAuthority.text
    let files = try [
      "/ca.pem": text(authority.path), "/c.pem": text(issued.chain), "/c.key": text(issued.key), "/other.key": text(other.key),
      "/late.pem": text(late.chain), "/late.key": text(late.key), "/text": "hello", "/cut.pem": "-----BEGIN CERTIFICATE-----\n",
    ]
    func errors(_ tls: String, upstream: String = "https://x") -> [String] { Fixture.errors(route(tls, upstream: upstream), files: files) }
    for (tls, expected) in [
      ("{caFile: /none}", "c.yaml:7:80: routes.a.upstreamTLS.caFile: cannot read '/none': No such file or directory"),
      ("{caFile: /text}", "upstreamTLS.caFile: '/text' holds no certificate"),
      ("{caFile: /cut.pem}", "upstreamTLS.caFile: '/cut.pem' holds a certificate that cannot be read"),
      ("{chain: /c.pem}", "upstreamTLS.chain: a certificate without its key"),
      ("{key: /c.key}", "upstreamTLS.key: a key without its certificate"),
      ("{chain: /c.pem, key: /other.key}", "upstreamTLS.key: '/other.key' is not the key of the first certificate in '/c.pem'"),
      ("{chain: /c.pem, key: /text}", "upstreamTLS.key: '/text' holds no private key"),
      ("{chain: /text, key: /c.key}", "upstreamTLS.chain: '/text' holds no certificate"),
      ("{serverName: \"x:443\"}", "upstreamTLS.serverName: 'x:443' has a port"), ("{}", "upstreamTLS: an empty map"),
      ("{caFile: /ca.pem, verify: false}", "upstreamTLS.verify: unknown key"), ("true", "upstreamTLS: expected a map"),
    ] {
      let found = errors(tls)
      #expect(found.count == 1 && found.first?.contains(expected) == true, "\(tls): \(found)")
    }
    #expect(errors("{caFile: /ca.pem}", upstream: "http://x").first?.contains("the upstream is http") == true)
    let warned = Fixture.read(route("{chain: /late.pem, key: /late.key}"), files: files)
    #expect(warned.errors == [] && warned.warnings.first?.description.contains(": upstreams refuse it") == true)
  }

  @Test("a route names the protocols that it carries; HTTP/2 without TLS is none, for nobody would look at its requests")
  func upgrades() throws {
    let route: (String) -> String = { Fixture.route("a: {path: /a, upstream: \"http://x\", credential: none, \($0)}") }
    let good = Fixture.read(route("upgrades: [WebSocket, raw/1]") + "timeouts: {tunnelIdle: 12h}\n")
    #expect(good.errors.isEmpty && good.warnings.isEmpty)
    let configuration = try #require(good.configuration)
    #expect(configuration.routes.first?.upgrades == ["websocket", "raw/1"] && configuration.timeouts.tunnelIdle == .seconds(43_200))
    #expect(Fixture.read(route("public: true, methods: read")).configuration?.routes.first?.upgrades == [])
    for (value, part) in [
      ("h2c", "nobody looks at"), ("TLS/1.0", "nobody looks at"), ("[web socket]", "no name of a protocol"),
      ("a/b/c", "no name of a protocol"),
    ] {
      let errors = Fixture.errors(route("upgrades: \(value)"))
      #expect(errors.count == 1 && errors[0].contains("routes.a.upgrades") && errors[0].contains(part), "\(errors)")
    }
    #expect(Fixture.errors(route("upgrades: websocket, methods: [POST]")).count == 1)
    #expect(Fixture.warnings(route("upgrades: websocket, csrf: token")).count == 1)
  }
}
