import ConfigurationYAML
import HTTPMessage
import IntercomCore
import IntercomTesting
import Testing

@testable import IntercomApp

@Suite("Configuration from the environment: what is laid over it, and what the Intercom Service let pass")
struct EnvironmentOverlayTests {
  private typealias Fixture = EnvironmentFixture

  private static let key = "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY"
  private static let files = [
    "/run/secrets/client": "client-secret-of-a-file-0123456789\n", "/run/secrets/key": key + "\n",
    "/run/secrets/portal": "portal-of-a-file\n",
    "/run/secrets/matrix": "matrix-token-of-a-file\n",
  ]

  private func messages(_ changes: [String: String?], files: [String: String] = EnvironmentOverlayTests.files) -> [String] {
    let reading = Fixture.with(changes, files: files)
    return (reading.errors + reading.warnings).sorted().map(\.description)
  }

  /// What is taken away, what stands for it, and what it makes.
  struct Instead: Sendable, CustomTestStringConvertible {
    let missing: [String]
    let overlay: [String: String]
    var others: [String: String] = [:]
    let holds: @Sendable (Configuration) -> Bool
    var testDescription: String { overlay.keys.sorted().joined(separator: " ") }
  }

  private static let portal = ["PORTAL_URL": "https://portal.example.org", "PORTAL_API_KEY": "key"]
  private static let nordeck = [
    "NORDECK_URL": "https://bot.example.org/", "MATRIX_URL": "https://matrix.example.org", "MATRIX_SERVER_NAME": "example.org",
    "MATRIX_AS_SECRET": "as-token-of-the-variable", "NORDECK_MODE": "live",
  ]
  private static func credential(_ configuration: Configuration, _ name: String) -> Configuration.Credential? {
    configuration.routes.first { $0.name == name }?.credential
  }
  private static func matrix(_ configuration: Configuration) -> Configuration.Matrix? {
    guard case .matrix(let matrix)? = credential(configuration, "nob") else { return nil }
    return matrix
  }
  private static func portalKey(_ configuration: Configuration) -> String? {
    guard case .basic(_, let key)? = credential(configuration, "navigation") else { return nil }
    return key.reveal()
  }

  static let overlays: [Instead] = [
    Instead(missing: ["CLIENT_SECRET"], overlay: ["INTERCOM_CFG_PROVIDER__CLIENT_SECRET_FILE": "/run/secrets/client"]) {
      $0.provider.clientSecret.reveal() == "client-secret-of-a-file-0123456789"
    },
    Instead(missing: ["CLIENT_SECRET"], overlay: ["INTERCOM_CFG_PROVIDER__CLIENT_SECRET": "client-secret-laid-over-it"]) {
      $0.provider.clientSecret.reveal() == "client-secret-laid-over-it"
    },
    Instead(missing: ["CLIENT_ID"], overlay: ["INTERCOM_CFG_PROVIDER__CLIENTID": "ics"]) { $0.provider.clientID == "ics" },
    Instead(missing: ["SECRET"], overlay: ["INTERCOM_CFG_SESSIONS__KEYS_FILE": "/run/secrets/key"]) { $0.sessions.keys.count == 1 },
    Instead(missing: ["SECRET"], overlay: ["INTERCOM_CFG_SESSIONS__KEYS": key]) { $0.sessions.keys.count == 1 },
    Instead(missing: ["INTERCOM_URL"], overlay: ["INTERCOM_CFG_BASE_URL": "https://other.example.org"]) {
      $0.baseURL.text == "https://other.example.org"
    },
    Instead(missing: ["ISSUER_BASE_URL"], overlay: ["INTERCOM_CFG_PROVIDER__ISSUER": "https://id.example.com"]) {
      $0.provider.issuer.text == "https://id.example.com"
    },
    Instead(
      missing: ["ISSUER_BASE_URL"], overlay: ["INTERCOM_CFG_PROVIDER__ISSUER": "https://id.example.com"],
      others: ["KEYCLOAK_URL": "https://kc"]
    ) {
      $0.provider.issuer.text == "https://id.example.com"
    },
    Instead(
      missing: ["PORTAL_API_KEY"], overlay: ["INTERCOM_CFG_ROUTES__NAVIGATION__CREDENTIAL__BASIC__SECRET_FILE": "/run/secrets/portal"],
      others: portal
    ) { portalKey($0) == "portal-of-a-file" },
    Instead(missing: ["PORTAL_API_KEY"], overlay: ["INTERCOM_CFG_ROUTES__NAVIGATION__CREDENTIAL": "accessToken"], others: portal) {
      if case .accessToken? = credential($0, "navigation") { true } else { false }
    },
    Instead(
      missing: ["MATRIX_AS_SECRET"], overlay: ["INTERCOM_CFG_ROUTES__NOB__CREDENTIAL__MATRIX__AS_TOKEN_FILE": "/run/secrets/matrix"],
      others: nordeck
    ) { matrix($0)?.asToken.reveal() == "matrix-token-of-a-file" },
    Instead(
      missing: ["MATRIX_URL", "MATRIX_SERVER_NAME"],
      overlay: [
        "INTERCOM_CFG_ROUTES__NOB__CREDENTIAL__MATRIX__HOMESERVER": "https://synapse.example.org",
        "INTERCOM_CFG_ROUTES__NOB__CREDENTIAL__MATRIX__SERVER_NAME": "chat.example.org",
      ], others: nordeck
    ) { matrix($0)?.homeserver.text == "https://synapse.example.org" && matrix($0)?.serverName == "chat.example.org" },
  ]

  @Test("what a variable must say may be laid over it instead, secrets by their file too", arguments: overlays)
  func instead(row: Instead) throws {
    var changes: [String: String?] = [:]
    for (name, value) in row.others { changes[name] = value }
    for name in row.missing { changes.updateValue(nil, forKey: name) }
    for (name, value) in row.overlay { changes[name] = value }
    let reading = Fixture.with(changes, files: Self.files)
    let configuration = try #require(reading.configuration, "\(reading.errors)")
    #expect(row.holds(configuration))
    // Without it the variable is asked for.
    for name in row.overlay.keys { changes.updateValue(nil, forKey: name) }
    let errors = Fixture.with(changes, files: Self.files).errors.map(\.description)
    #expect(!errors.isEmpty && errors.allSatisfy { $0.contains("missing") }, "\(errors)")
  }

  @Test("what is laid over a setting and says nothing is a fault of its own, also beside others")
  func faultyOverlay() {
    let missing: [String: String?] = ["CLIENT_SECRET": nil, "SECRET": nil]
    let overlay = ["INTERCOM_CFG_PROVIDER__CLIENT_SECRET_FILE": "/nowhere", "INTERCOM_CFG_SESSIONS__KEYS": ""]
    let errors = messages(missing.merging(overlay) { _, new in new }.merging(["PORT": "http"]) { _, new in new })
    for name in overlay.keys { #expect(errors.contains { $0.hasPrefix("\(name): ") }, "\(name): \(errors)") }
    #expect(!errors.contains { $0.hasPrefix("CLIENT_SECRET:") || $0.hasPrefix("SECRET:") }, "\(errors)")
    // What no variable stands for is missed beside a fault of the variables.
    let route = messages(["INTERCOM_CFG_ROUTES__X__PATH": "/x", "PORT": "http"])
    #expect(route.contains { $0.contains("routes.x.upstream: missing") }, "\(route)")
  }

  @Test("an origin of the variables that a list laid over them leaves out is told of")
  func origins() {
    let list = [
      "INTERCOM_CFG_ORIGINS": "https://mail.example.org, https://files.example.org", "ORIGIN_REGEX": nil,
      "NC_URL": "https://files.example.org",
    ]
    #expect(
      messages(list.merging(["NC_ORIGIN": "https://files.example.org", "OX_ORIGIN": "https://mail.example.org/"]) { _, new in new }) == [])
    let told = messages(
      list.merging(["NC_ORIGIN": "https://cloud.example.org", "OX_ORIGIN": "https://mail.example.org"]) { _, new in new })
    #expect(
      told == [
        "NC_ORIGIN: warning: no effect: INTERCOM_CFG_ORIGINS is set, and https://cloud.example.org is not in it; add it there, or unset NC_ORIGIN"
      ])
  }

  @Test(
    "the levels of other log libraries are the nearest of ours",
    arguments: [
      ("fatal", "error"), ("crit", "error"), ("critical", "error"), ("emerg", "error"), ("alert", "error"), ("notice", "info"),
      ("silent", "error"), ("OFF", "error"),
    ])
  func levels(name: String, expected: String) throws {
    let reading = Fixture.with(["LOG_LEVEL": name])
    #expect(try #require(reading.configuration).log.level.name == expected)
    let isSilent = ["silent", "off"].contains(name.lowercased())
    #expect(
      reading.warnings.contains { $0.description.hasPrefix("LOG_LEVEL: warning: ") && $0.description.contains("errors are written") }
        == isSilent)
  }

  @Test(
    "a wrong port is the port's fault, also beside an address",
    arguments: [("http", "127.0.0.1"), ("99999", "::1"), ("-1", nil), ("8008 8009", "[::1]")] as [(String, String?)])
  func port(value: String, host: String?) {
    let errors = Fixture.with(["PORT": value, "HOST": host]).errors.map(\.description)
    #expect(errors == ["PORT: '\(value)' is no port; set PORT=8008"])
  }

  @Test("an address is taken with brackets too, and what is none is its own fault")
  func host() throws {
    #expect(try #require(Fixture.with(["HOST": "[::1]"]).configuration).listen.map(\.description) == ["[::1]:8008"])
    #expect(Fixture.with(["HOST": "localhost"]).errors.map(\.description).first?.hasPrefix("HOST: ") == true)
  }

  @Test("a secret keeps its spaces, and loses one line end alone", arguments: ["CLIENT_SECRET", "REDIS_PASSWORD", "PORTAL_API_KEY"])
  func spaces(name: String) throws {
    func secret(_ value: String) throws -> String? {
      let configuration = try #require(Fixture.with(Self.portal.merging([name: value]) { _, new in new }).configuration)
      switch name {
      case "CLIENT_SECRET": return configuration.provider.clientSecret.reveal()
      case "REDIS_PASSWORD": return configuration.sessions.redis?.password?.reveal()
      default: return Self.portalKey(configuration)
      }
    }
    #expect(try secret(" a secret, with spaces  ") == " a secret, with spaces  ")
    #expect(try secret("a secret of a line \n") == "a secret of a line ")
    #expect(try secret("a secret of a line\r\n") == "a secret of a line")
  }

  @Test("SECRET keeps its spaces: another secret is another key")
  func sealing() throws {
    func key(_ value: String) throws -> [UInt8]? {
      try #require(Fixture.with(["SECRET": value]).configuration).sessions.keys.first?.reveal()
    }
    let plain = try key(Fixture.secret)
    #expect(try key(Fixture.secret + "\n") == plain && key(" " + Fixture.secret) != plain && key(Fixture.secret + " ") != plain)
  }

  @Test("NODE_EXTRA_CA_CERTS that cannot be used is told of and left out, as Node does; a setting of one's own is a fault")
  func extraAuthorities() {
    for (name, content) in [("/nowhere.pem", nil), ("/empty.pem", "no certificate"), ("/broken.pem", "-----BEGIN CERTIFICATE-----\nx")] {
      let files = content.map { [name: $0] } ?? [:]
      let reading = Fixture.with(["NODE_EXTRA_CA_CERTS": name], files: files)
      #expect(reading.errors.isEmpty && reading.configuration != nil && reading.configuration?.extraAuthorities == nil, "\(reading.errors)")
      #expect(
        reading.warnings.map(\.description).contains {
          $0.hasPrefix("NODE_EXTRA_CA_CERTS: warning: extraAuthorities: ") && $0.contains(name) && $0.contains("verified without it")
        },
        "\(reading.warnings)")
      let own = Fixture.with(["INTERCOM_CFG_EXTRA_AUTHORITIES": name], files: files)
      #expect(own.configuration == nil && own.errors.map(\.description).contains { $0.hasPrefix("INTERCOM_CFG_EXTRA_AUTHORITIES: ") })
    }
  }

  // MARK: As a file

  /// Words that readers of YAML take for something else than text.
  static let words = [
    "null", "Null", "~", "true", "TRUE", "no", "off", "y", "n", "yes", "12", "1e3", "0x1F", "1_000", "-1", ".5", "+1", ".inf", "nan",
    "2026-11-22",
    "on", "0o17", "12:30:45", "", " x", "#x", "x #y", "- x", "a: b", "[a]", "{a}", "&a", "*a", "!a", "|", ">", "%a", "@a", "`a`", "a\\b",
    "\"a\"", "'a'",
  ]

  @Test("the file that from-env writes means the same for words that YAML takes for others", arguments: words.filter { !$0.isEmpty })
  func roundTrip(word: String) throws {
    let environment = Fixture.minimal.merging(["CLIENT_ID": word, "USER_UNIQUE_MAPPER": word]) { _, new in new }
    let loader = Fixture.loader(environment)
    let direct = try #require(loader.loadEnvironment().configuration, "\(loader.loadEnvironment().errors)")
    let export = loader.exportEnvironment(secretFolder: "/run/secrets", workingFolder: "/work")
    let files = Dictionary(export.secrets.map { ("/run/secrets/\($0.file)", $0.secret.reveal() + "\n") }) { first, _ in first }
    let overlay = environment.filter { $0.key.hasPrefix("INTERCOM_CFG_") }
    let reading = Fixture.loader(overlay, files).read(Array(export.yaml.utf8), file: "c.yaml")
    let written = try #require(reading.configuration, "\(reading.errors)\n\(export.yaml)")
    #expect(Configuration.changes(from: direct, to: written) == [], "\(export.yaml)")
    // Others read it as text too.
    if !["-1", " x"].contains(word) { #expect(export.yaml.contains("clientID: \""), "\(export.yaml)") }
  }
}
