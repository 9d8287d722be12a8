import ConfigurationYAML
import IntercomCore
import Testing

@testable import IntercomApp

@Suite("Configuration: what cannot be switched off")
struct ConfigurationTrustTests {
  private typealias Fixture = ConfigurationFixture

  /// Words by which other products switch a check off.
  static let switches = [
    "insecure", "verif", "skip", "disable", "ignore", "trustall", "nocheck", "allowall", "unsafe", "permissive", "debug", "anonymous",
    "bypass",
    "selfsigned", "validate", "strict", "noauth",
  ]

  @Test("Verification off: no setting, in the file or as a variable, switches a check of certificates, tokens or sessions off (S33, S12)")
  func noSwitch() {
    for row in ConfigurationKeys.rows {
      let name = row.path.lowercased()
      for word in Self.switches { #expect(!name.contains(word), "\(row.path) may switch something off") }
    }
    for key in [
      "insecure", "tlsVerify", "sslVerify", "skipVerify", "insecureSkipVerify", "verify", "verifySignature", "rejectUnauthorized",
    ] {
      for section in ["", "provider"] {
        let text =
          section.isEmpty
          ? Fixture.minimal + "\(key): true\n" : Fixture.minimal.replacing("  clientID:", with: "  \(key): true\n  clientID:")
        #expect(Fixture.errors(text).contains { $0.contains("unknown") }, "\(section) \(key)")
        let variable = "INTERCOM_CFG_" + (section.isEmpty ? "" : "PROVIDER__") + key.uppercased()
        #expect(!Fixture.errors(Fixture.minimal, [variable: "true"]).isEmpty, "\(variable)")
      }
    }
    for key in ["insecure", "verify", "verifyHost", "skipVerify", "rejectUnauthorized", "minimumVersion", "ciphers"] {
      let route = "a: {path: /a, upstream: \"https://x\", credential: none, upstreamTLS: {serverName: y, \(key): false}}"
      #expect(Fixture.errors(Fixture.route(route)).contains { $0.contains("unknown key") }, "\(key)")
    }
    // What the environment of other programs does has no effect here.
    let others = ["NODE_TLS_REJECT_UNAUTHORIZED": "0", "SSL_VERIFY": "false", "CURL_INSECURE": "1", "GIT_SSL_NO_VERIFY": "1"]
    #expect(Fixture.errors(Fixture.minimal, others) == [])
  }

  @Test("A choice of algorithms cannot be made that accepts none, and no clock skew that accepts yesterday's tokens (S13, S33)")
  func limits() {
    for key in ["algorithms", "algorithm", "signingAlgorithm", "idTokenSignedResponseAlg", "alg"] {
      let text = Fixture.minimal.replacing("  clientID:", with: "  \(key): [none]\n  clientID:")
      #expect(!Fixture.errors(text).isEmpty, "\(key)")
    }
    for skew in ["301s", "1h", "1d", "-1s"] {
      let text = Fixture.minimal.replacing("  clientID:", with: "  clockSkew: \(skew)\n  clientID:")
      #expect(!Fixture.errors(text).isEmpty, "\(skew)")
    }
  }

  @Test("Open by mistake: a route without a rule is no public one, and a public one cannot carry a credential (S2, S12)")
  func publicRoutes() throws {
    let plain = try #require(Fixture.read(Fixture.minimal).configuration)
    #expect(plain.routes.allSatisfy { !$0.isPublic })
    for credential in ["accessToken", "{exchange: {audience: files}}", "{headers: {X-Remote-User: sub}}"] {
      let route = "fs: {path: /fs, upstream: \"http://127.0.0.1:9001\", credential: \(credential), public: true}"
      #expect(!Fixture.errors(Fixture.route(route)).isEmpty, "\(credential)")
    }
    for value in ["yes", "1", "on", "[true]"] {
      let route = "fs: {path: /fs, upstream: \"http://127.0.0.1:9001\", credential: none, public: \(value)}"
      let reading = Fixture.read(Fixture.route(route))
      #expect(!reading.errors.isEmpty || reading.configuration?.routes.allSatisfy { !$0.isPublic } == true, "\(value)")
    }
    for origin in ["*", "null", "https://*.example.org", "https://app.example.org/", "HTTPS://app.example.org", "example.org"] {
      #expect(!Fixture.errors("origins: [\"\(origin)\"]\n" + Fixture.minimal).isEmpty, "\(origin)")
    }
  }

  @Test("Cookie tossing: a session cookie without the prefix __Host- is reported, and one that browsers would drop is refused (S10)")
  func cookieNames() {
    let https = Fixture.minimal + "sessions: {store: memory, cookieName: sid}\n"
    #expect(Fixture.warnings(https).contains { $0.contains("__Host-sid") })
    let http = https.replacing("https://intercom.example.org", with: "http://localhost:8008").replacing(
      "cookieName: sid", with: "cookieName: __Host-sid")
    #expect(!Fixture.errors(http).isEmpty)
  }
}
