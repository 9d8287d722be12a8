import IntercomCore
import IntercomTesting
import Sessions
import Telemetry
import Testing

@testable import IntercomApp

@Suite("Configuration: Matrix")
struct ConfigurationMatrixTests {
  private typealias Fixture = ConfigurationFixture

  private static let secret = "0123456789abcdef0123456789abcdef"
  private static let least = "homeserver: \"https://m.example\", serverName: example.org, asToken: \(secret)"

  private func route(_ matrix: String) -> String {
    Fixture.route("nob: {path: /nob, upstream: \"https://bot.example\", credential: {matrix: {\(matrix)}}, csrf: token}")
  }
  private func matrix(_ text: String, files: [String: String] = [:]) throws -> Configuration.Matrix {
    let reading = Fixture.read(text, files: files)
    #expect(reading.errors == [] && reading.warnings == [])
    guard case .matrix(let matrix)? = reading.configuration?.routes.first?.credential else {
      throw WaitFailure("no Matrix credential: \(reading.errors)", within: .zero)
    }
    return matrix
  }

  @Test("a route's Matrix credential, with all defaults and with every key")
  func keys() throws {
    let least = try matrix(route(Self.least))
    #expect(least.homeserver.text == "https://m.example" && least.serverName == "example.org" && least.asToken.reveal() == Self.secret)
    #expect(least.userClaim == nil && least.loginType == "m.login.application_service" && least.mode == .accessToken && least.caFile == nil)
    let all = try matrix(
      route(
        "homeserver: \"https://m.example/hs/\", serverName: \"[::1]:8448\", asToken: {fromFile: /as}, userClaim: entryuuid, loginType: x.y, "
          + "mode: openID, caFile: /ca.pem"), files: ["/as": Self.secret + "\n", "/ca.pem": "-----BEGIN CERTIFICATE-----\n"])
    #expect(all.homeserver.text == "https://m.example/hs/" && all.serverName == "[::1]:8448" && all.asToken.reveal() == Self.secret)
    #expect(all.userClaim == "entryuuid" && all.loginType == "x.y" && all.mode == .openID && all.caFile == "/ca.pem")
    let overlaid = Fixture.read(route(Self.least), ["INTERCOM_CFG_ROUTES__NOB__CREDENTIAL__MATRIX__MODE": "openID"])
    guard case .matrix(let changed)? = overlaid.configuration?.routes.first?.credential else { throw WaitFailure("none", within: .zero) }
    #expect(changed.mode == .openID)
  }

  @Test("what is wrong with it is told at its place, all at once, with what to write instead (S33)")
  func faults() {
    func errors(_ matrix: String, files: [String: String] = [:]) -> [String] { Fixture.errors(route(matrix), files: files) }
    let missing = errors("mode: openID")
    #expect(missing.count == 3 && missing.allSatisfy { $0.contains("credential.matrix.") && $0.contains("missing") }, "\(missing)")
    for (change, with, expected) in [
      ("https://m.example", "https://m.example/_matrix/client", "matrix.homeserver: 'https://m.example/_matrix/client' holds /_matrix"),
      ("https://m.example", "ftp://m.example", "matrix.homeserver"),
      (
        "serverName: example.org", "serverName: Example.org",
        "matrix.serverName: 'Example.org' is not how user ids write it; write example.org"
      ),
      ("serverName: example.org", "serverName: \"https://example.org\"", "matrix.serverName: 'https://example.org' is no server name"),
      ("serverName: example.org", "serverName: \"@a:example.org\"", "matrix.serverName"),
      (Self.secret, "\"two words and more of them\"", "matrix.asToken: the secret holds spaces"), (Self.secret, "\"\"", "matrix.asToken"),
      ("serverName", "mode: test, serverName", "matrix.mode: 'test' is none of accessToken, openID"),
      ("serverName", "caFile: /none, serverName", "matrix.caFile: cannot read '/none'"),
      ("serverName", "serverNam: x, serverName", "matrix.serverNam: unknown key"),
    ] {
      let found = errors(Self.least.replacing(change, with: with))
      #expect(found.count == 1 && found.first?.contains(expected) == true, "\(with): \(found)")
    }
    #expect(errors(Self.least, files: [:]).isEmpty)
    let both = Fixture.route(
      "a: {path: /a, upstream: \"http://x\", credential: {matrix: {\(Self.least)}, basic: {usernameClaim: a, secret: b}}}")
    #expect(Fixture.errors(both).contains { $0.contains("basic and matrix at once") })
    let bearer = Fixture.errors(route(Self.least).replacing("csrf: token", with: "bearer: api"))
    #expect(
      bearer.count == 1 && bearer.first?.contains("routes.nob.bearer: a Matrix account's device belongs to a session") == true, "\(bearer)")
  }

  @Test("a homeserver on the network without TLS and a short secret are reported")
  func warnings() {
    for (matrix, expected) in [
      (Self.least.replacing("https://m.example", with: "http://m.example"), "routes.nob.credential.matrix.homeserver: http on the network"),
      (Self.least.replacing(Self.secret, with: "short"), "routes.nob.credential.matrix.asToken: the secret is short"),
    ] {
      let found = Fixture.warnings(route(matrix))
      #expect(found.count == 1 && found.first?.contains(expected) == true, "\(found)")
    }
    #expect(Fixture.warnings(route(Self.least.replacing("https://m.example", with: "http://127.0.0.1:8448"))).isEmpty)
  }

  @Test("the secret is in no report, the account's form and the homeserver are; a changed secret is a change (S29)")
  func shown() throws {
    let reading = Fixture.read(route(Self.least))
    let configuration = try #require(reading.configuration)
    let report = ConfigurationReport("c.yaml", reading)
    var dumped = ""
    dump(reading, to: &dumped)
    for text in [report.text, String(decoding: report.json, as: UTF8.self), dumped, "\(reading)"] { #expect(!text.contains(Self.secret)) }
    #expect(report.text.contains("Matrix access token of @<sub>:example.org by https://m.example"))
    let other = try #require(Fixture.read(route(Self.least.replacing(Self.secret, with: Self.secret + "0"))).configuration)
    let changes = Configuration.changes(from: configuration, to: other)
    #expect(changes.map(\.key) == ["routes.nob.credential"] && changes.allSatisfy { !$0.needsRestart })
    #expect(Configuration.changes(from: configuration, to: configuration).isEmpty)
  }

  @Test("without a claim of its own a route takes the one that /uuid answers")
  func userClaim() throws {
    for (matrix, expected) in [(Self.least, "entryuuid"), (Self.least + ", userClaim: email", "email")] as [(String, Identifier)] {
      let reading = Fixture.read(route(matrix), ["INTERCOM_CFG_SESSIONS__USER_CLAIM": "entryuuid"])
      let deployment = try Deployment(try #require(reading.configuration), log: .none, random: SystemRandom())
      guard case .matrix(let rule)? = deployment.routes.first?.credential else { throw WaitFailure("no rule", within: .zero) }
      #expect(rule.userClaim == expected && rule.mode == .accessToken)
      #expect(deployment.homeservers.count == 1 && deployment.homeservers[rule.homeserverIndex].homeserver.address == "https://m.example")
    }
  }
}
