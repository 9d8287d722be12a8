import ConfigurationYAML
import Cryptography
import HTTPMessage
import IntercomCore
import IntercomTesting
import Testing

@testable import IntercomApp

/// What a deployment of the Intercom Service has in its environment.
enum EnvironmentFixture {
  static let secret = "a-secret-that-is-long-enough-for-32-bytes"
  static let minimal = [
    "INTERCOM_URL": "https://ics.example.org", "ISSUER_BASE_URL": "https://id.example.org/realms/opendesk", "CLIENT_ID": "intercom",
    "CLIENT_SECRET": "client-secret-canary-0123456789", "SECRET": secret, "ORIGIN_REGEX": #"https://[a-z0-9-]+\.example\.org"#,
    "REDIS_HOST": "127.0.0.1", "TOKEN_EXCHANGE_V2": "true", "INTERCOM_CFG_TRUSTED_PROXIES": "10.0.0.0/8",
  ]

  static func read(_ environment: [String: String], files: [String: String] = [:]) -> ConfigurationReading {
    loader(environment, files).loadEnvironment()
  }

  /// With the minimal variables; nil takes one away.
  static func with(_ changes: [String: String?], files: [String: String] = [:]) -> ConfigurationReading {
    var environment = minimal
    for (name, value) in changes { environment[name] = value }
    return read(environment, files: files)
  }

  static func loader(_ environment: [String: String], _ files: [String: String] = [:]) -> ConfigurationLoader {
    let readFile: ReadConfigurationFile = { (name: String) throws(ConfigurationFileError) -> ConfigurationFile in
      guard let content = files[name] else { throw ConfigurationFileError("No such file or directory") }
      return ConfigurationFile(Array(content.utf8))
    }
    return ConfigurationLoader(environment: environment, readFile: readFile)
  }
}

@Suite("Configuration from the environment")
struct EnvironmentTests {
  private typealias Fixture = EnvironmentFixture

  private func configuration(_ changes: [String: String?], files: [String: String] = [:]) throws -> Configuration {
    let reading = Fixture.with(changes, files: files)
    return try #require(reading.configuration, "\(reading.errors)")
  }

  private func route(_ name: String, _ changes: [String: String?]) throws -> Configuration.Route? {
    try configuration(changes).routes.first { $0.name == name }
  }

  private func messages(_ changes: [String: String?], files: [String: String] = [:]) -> [String] {
    let reading = Fixture.with(changes, files: files)
    return (reading.errors + reading.warnings).sorted().map(\.description)
  }

  @Test("the least that a deployment sets is enough, and the rest are the Intercom Service's defaults")
  func minimal() throws {
    let configuration = try configuration([:])
    #expect(configuration.listen.map(\.description) == ["0.0.0.0:8008"])
    #expect(configuration.admin.listen.description == "127.0.0.1:8009")
    #expect(configuration.redirectURI == "https://ics.example.org/callback")
    #expect(configuration.provider.scopes == ["openid"])
    #expect(configuration.sessions.store == .redis && configuration.sessions.redis?.port == 6379)
    #expect(configuration.sessions.redis?.user == "default" && configuration.sessions.redis?.database == 0)
    #expect(configuration.sessions.idle == .seconds(86_400) && configuration.sessions.absolute == .seconds(7 * 86_400))
    #expect(configuration.sessions.cookieLifetime == .persistent)
    #expect(configuration.cookieName == "__Host-intercom" && configuration.sessions.userClaim == "entryuuid")
    #expect(configuration.routes.isEmpty && configuration.origins.isEmpty)
    #expect(!configuration.compatibility.csrfCookie)
    #expect(configuration.compatibility.originPattern?.frameSources == ["https://*.example.org"])
    #expect(configuration.log.level == .info && configuration.log.file == nil)
    #expect(configuration.sessions.keys.map { $0.reveal() } == [try ServiceEnvironment.sealingKey(Fixture.secret)])
  }

  /// One variable, a value for it, and what it makes of the configuration.
  struct Row: Sendable, CustomTestStringConvertible {
    let name: String
    let value: String
    var others: [String: String?] = [:]
    let holds: @Sendable (Configuration) -> Bool
    var testDescription: String { "\(name)=\(value)" }
  }

  private static let nordeck: [String: String?] = [
    "NORDECK_URL": "https://bot.example.org/", "MATRIX_URL": "https://matrix.example.org", "MATRIX_SERVER_NAME": "example.org",
    "MATRIX_AS_SECRET": "as-token", "NORDECK_MODE": "live",
  ]
  private static func nordeck(_ changes: [String: String?]) -> [String: String?] {
    var all = nordeck
    for (name, value) in changes { all.updateValue(value, forKey: name) }
    return all
  }
  private static func matrix(_ configuration: Configuration) -> Configuration.Matrix? {
    guard case .matrix(let matrix)? = first(configuration, "nob")?.credential else { return nil }
    return matrix
  }
  private static func first(_ configuration: Configuration, _ name: String) -> Configuration.Route? {
    configuration.routes.first { $0.name == name }
  }
  private static func audience(_ configuration: Configuration, _ name: String) -> Identifier? {
    guard case .exchange(let exchange)? = first(configuration, name)?.credential else { return nil }
    return exchange.audience
  }

  static let rows: [Row] = [
    Row(name: "INTERCOM_URL", value: "https://other.example.org/") { $0.baseURL.text == "https://other.example.org" },
    Row(name: "BASE_URL", value: "https://base.example.org", others: ["INTERCOM_URL": nil]) {
      $0.baseURL.text == "https://base.example.org"
    },
    Row(name: "HOST", value: "::1") { $0.listen.map(\.description) == ["[::1]:8008"] },
    Row(name: "PORT", value: "9008") { $0.listen.map(\.description) == ["0.0.0.0:9008"] },
    Row(name: "ISSUER_BASE_URL", value: "https://id.example.org/auth/realms/x/") {
      $0.provider.issuer.text == "https://id.example.org/auth/realms/x"
    },
    Row(name: "KEYCLOAK_URL", value: "https://kc.example.org/", others: ["ISSUER_BASE_URL": nil, "REALM_NAME": "ucs"]) {
      $0.provider.issuer.text == "https://kc.example.org/auth/realms/ucs"
    },
    Row(name: "REALM_NAME", value: "ucs", others: ["ISSUER_BASE_URL": nil, "KEYCLOAK_URL": "https://kc.example.org"]) {
      $0.provider.issuer.text == "https://kc.example.org/auth/realms/ucs"
    },
    Row(name: "CLIENT_ID", value: "ics") { $0.provider.clientID == "ics" },
    Row(name: "CLIENT_SECRET", value: "another-secret-of-32-characters!") {
      $0.provider.clientSecret.reveal() == "another-secret-of-32-characters!"
    },
    Row(name: "SECRET", value: "short") { $0.sessions.keys.count == 1 && $0.sessions.keys[0].reveal().count == 32 },
    Row(name: "TOKEN_EXCHANGE_V2", value: "FALSE") { $0.provider.tokenExchange == .legacy },
    Row(name: "ORIGIN_REGEX", value: #"https://mail\.example\.com"#) {
      $0.compatibility.originPattern?.example == "https://mail.example.com"
    },
    Row(name: "NC_ORIGIN", value: "https://files.example.org/") { $0.origins.map(\.text) == ["https://files.example.org"] },
    Row(name: "OX_ORIGIN", value: "https://mail.example.org", others: ["NC_ORIGIN": "https://files.example.org"]) {
      $0.origins.map(\.text) == ["https://files.example.org", "https://mail.example.org"]
    },
    Row(name: "ENABLE_SESSION_COOKIE", value: "True") { $0.sessions.cookieLifetime == .transient },
    Row(name: "SESSION_ROLLING_DURATION", value: "3600") { $0.sessions.idle == .seconds(3600) },
    Row(name: "SESSION_COOKIE_NAME", value: "appSession") { $0.cookieName == "appSession" },
    Row(name: "USER_UNIQUE_MAPPER", value: "opendesk_useruuid") { $0.sessions.userClaim == "opendesk_useruuid" },
    Row(name: "USERNAME_CLAIM", value: "opendesk_username", others: ["PORTAL_URL": "https://portal.example.org", "PORTAL_API_KEY": "key"]) {
      guard case .basic(let claim, _)? = first($0, "navigation")?.credential else { return false }
      return claim == "opendesk_username"
    },
    Row(name: "REDIS_HOST", value: "redis.example.org") { $0.sessions.redis?.host == "redis.example.org" },
    Row(name: "REDIS_PORT", value: "6380") { $0.sessions.redis?.port == 6380 },
    Row(name: "REDIS_USER", value: "ics") { $0.sessions.redis?.user == "ics" },
    Row(name: "REDIS_PASSWORD", value: "pw") { $0.sessions.redis?.password?.reveal() == "pw" },
    Row(name: "REDIS_SSL", value: "TRUE") { $0.sessions.redis?.speaksTLS == true },
    Row(name: "REDIS_SERVERNAME", value: "redis.internal", others: ["REDIS_SSL": "true"]) {
      $0.sessions.redis?.serverName == "redis.internal"
    },
    Row(name: "NC_URL", value: "https://files.example.org/remote.php/") {
      guard let route = first($0, "fs") else { return false }
      return route.path == "/fs" && route.upstream.map(\.text) == ["https://files.example.org/remote.php"] && route.stripPrefix
        && route.methods == .webdav && route.encodedSlashes == .pass && route.csrf == .default && audience($0, "fs") == "ncoidc"
        && route.bearer == nil && !route.isPublic
    },
    Row(name: "NC_AUDIENCE", value: "files", others: ["NC_URL": "https://files.example.org"]) { audience($0, "fs") == "files" },
    Row(name: "NC_ENABLED", value: "False", others: ["NC_URL": "https://files.example.org"]) { $0.routes.isEmpty },
    Row(name: "XWIKI_URL", value: "https://wiki.example.org") {
      guard let route = first($0, "wiki") else { return false }
      return route.path == "/wiki" && route.stripPrefix && route.encodedSlashes == .pass && audience($0, "wiki") == "xwikioidc"
    },
    Row(name: "XWIKI_AUDIENCE", value: "wiki", others: ["XWIKI_URL": "https://wiki.example.org"]) { audience($0, "wiki") == "wiki" },
    Row(name: "XWIKI_ENABLED", value: "false", others: ["XWIKI_URL": "https://wiki.example.org"]) { $0.routes.isEmpty },
    Row(name: "NORDECK_URL", value: "http://matrix-meetings-bot/", others: nordeck) {
      guard let route = first($0, "nob") else { return false }
      return route.path == "/nob" && route.upstream.map(\.text) == ["http://matrix-meetings-bot"] && route.stripPrefix
        && route.csrf == .token
        && route.methods == .plain
    },
    Row(name: "NORDECK_MODE", value: "Live", others: nordeck) { matrix($0)?.mode == .openID },
    Row(name: "NORDECK_MODE", value: "TEST", others: nordeck) { matrix($0)?.mode == .accessToken },
    Row(name: "MATRIX_URL", value: "https://synapse.example.org/", others: nordeck) {
      matrix($0)?.homeserver.text == "https://synapse.example.org"
    },
    Row(name: "MATRIX_SERVER_NAME", value: "chat.example.org", others: nordeck) { matrix($0)?.serverName == "chat.example.org" },
    Row(name: "MATRIX_AS_SECRET", value: "another-token", others: nordeck) { matrix($0)?.asToken.reveal() == "another-token" },
    Row(name: "MATRIX_LOGIN_TYPE", value: "uk.half-shot.msc2778.login.application_service", others: nordeck) {
      matrix($0)?.loginType == "uk.half-shot.msc2778.login.application_service"
    },
    Row(name: "MATRIX_ENABLED", value: "false", others: nordeck) { $0.routes.isEmpty },
    Row(name: "PORTAL_URL", value: "https://portal.example.org/", others: ["PORTAL_API_KEY": "key"]) {
      guard let route = first($0, "navigation"), case .basic(let claim, let key) = route.credential else { return false }
      return route.path == "/navigation.json" && route.methods == .read && claim == "phoenixusername" && key.reveal() == "key"
        && route.upstream.map(\.text) == ["https://portal.example.org/univention/portal/navigation.json"] && route.stripPrefix
    },
    Row(name: "PORTAL_API_KEY", value: "0123456789", others: ["PORTAL_URL": "https://portal.example.org"]) {
      guard case .basic(_, let key)? = first($0, "navigation")?.credential else { return false }
      return key.reveal() == "0123456789"
    },
    Row(name: "LOG_LEVEL", value: "Warn") { $0.log.level == .warning },
    Row(name: "LOG_FILE", value: "/var/log/intercom.log") {
      $0.log.file == "/var/log/intercom.log" && $0.log.fileSize == 10 << 20 && $0.log.files == 3
    },
    Row(name: "PROXY", value: "false") { _ in true }, Row(name: "OX_AUDIENCE", value: "ox") { _ in true },
    Row(name: "ADMIN_HOST", value: "0.0.0.0") { $0.admin.listen.description == "0.0.0.0:8009" },
    Row(name: "ADMIN_PORT", value: "9009") { $0.admin.listen.description == "127.0.0.1:9009" },
  ]

  @Test("each variable means what it meant", arguments: rows)
  func variable(row: Row) throws {
    var changes = row.others
    changes[row.name] = row.value
    #expect(row.holds(try configuration(changes)))
  }

  @Test(
    "the log levels of the Intercom Service's library are ours",
    arguments: [
      ("error", "error"), ("warn", "warning"), ("info", "info"), ("http", "debug"), ("verbose", "debug"), ("debug", "debug"),
      ("silly", "trace"), ("trace", "trace"), ("WARNING", "warning"),
    ])
  func levels(name: String, expected: String) throws { #expect(try configuration(["LOG_LEVEL": name]).log.level.name == expected) }

  @Test("client certificates and further authorities are read from their files")
  func certificates() async throws {
    let authority = try await TestAuthority()
    let client = try await authority.issue("intercom", names: "DNS:intercom.internal", days: 90)
    let files = [
      "/certs/client-cert.pem": try TestAuthority.text(client.chain), "/certs/client-key.pem": try TestAuthority.text(client.key),
      "/certs/ca.pem": try TestAuthority.text(authority.path),
      ServiceEnvironment.certificateFolder + "/client-cert.pem": try TestAuthority.text(client.chain),
      ServiceEnvironment.certificateFolder + "/client-key.pem": try TestAuthority.text(client.key),
    ]
    let usual = try configuration(["REDIS_SSL": "true", "REDIS_MTLS": "true"], files: files)
    #expect(usual.sessions.redis?.identity != nil && usual.sessions.redis?.speaksTLS == true && usual.extraAuthorities == nil)
    let own = try configuration(
      ["REDIS_MTLS": "true", "REDIS_MTLS_FOLDER": "/certs", "NODE_EXTRA_CA_CERTS": "/certs/ca.pem"], files: files)
    #expect(own.sessions.redis?.identity != nil && own.sessions.redis?.speaksTLS == true)
    #expect(own.extraAuthorities?.file == "/certs/ca.pem" && own.sessions.redis?.authorities == nil)
  }

  @Test("everything that is wrong is told at once, by the variables' names")
  func faults() {
    let environment = [
      "BASE_URL": "https://ics.example.org/path", "KEYCLOAK_URL": "https://kc.example.org", "CLIENT_SECRET": " ", "SECRET": "",
      "ORIGIN_REGEX": "", "TOKEN_EXCHANGE_V2": "yes", "SESSION_ROLLING_DURATION": "1d", "PORT": "http", "NC_ENABLED": "true",
      "XWIKI_URL": "wiki.example.org", "NORDECK_URL": "http://bot", "NORDECK_MODE": "real", "MATRIX_URL": "matrix",
      "PORTAL_URL": "https://portal.example.org", "REDIS_PORT": "0", "REDIS_SSL": "on",
      "SESSION_COOKIE_NAME": "a b", "LOG_LEVEL": "loud", "NC_ORIGIN": "files.example.org",
    ]
    let reading = Fixture.read(environment)
    #expect(reading.configuration == nil)
    #expect(
      reading.errors.map(\.description) == [
        "BASE_URL: baseURL: 'https://ics.example.org/path' is more than scheme, host and port, or not in the form that browsers use; write https://ics.example.org",
        "CLIENT_ID: missing; set CLIENT_ID=intercom",
        "CLIENT_SECRET: is empty; set CLIENT_SECRET=<the secret of Keycloak's client>",
        "LOG_LEVEL: log.level: 'loud' is none of trace, debug, info, warning, error; write one of them",
        "MATRIX_AS_SECRET: missing, while NORDECK_URL is set; set MATRIX_AS_SECRET=<the as_token of the application service>",
        "MATRIX_SERVER_NAME: missing, while NORDECK_URL is set; set MATRIX_SERVER_NAME=example.org",
        "MATRIX_URL: routes.nob.credential.matrix.homeserver: 'matrix' is no http or https URL; write https://host/path",
        "NC_ORIGIN: origins[0]: 'files.example.org' is no http or https URL; write https://host/path",
        "NC_URL: missing, while NC_ENABLED is true; set NC_URL, or NC_ENABLED=false",
        "NORDECK_MODE: expected live or test, found 'real'; set NORDECK_MODE=live or NORDECK_MODE=test",
        #"ORIGIN_REGEX: is empty: it would take every origin; set ORIGIN_REGEX=https://([a-z0-9-]+\.)*example\.org, or unset it and list the apps in INTERCOM_CFG_ORIGINS"#,
        "PORT: 'http' is no port; set PORT=8008",
        "PORTAL_API_KEY: missing, while PORTAL_URL is set; set PORTAL_API_KEY=<the secret shared with the portal>",
        "REALM_NAME: missing, while KEYCLOAK_URL is set; set REALM_NAME, or ISSUER_BASE_URL instead of both",
        "REDIS_PORT: sessions.redis.port: 0 is out of range; write a number from 1 to 65535",
        "REDIS_SSL: expected true or false, found 'on'; set REDIS_SSL=true or REDIS_SSL=false",
        "SECRET: is empty: it seals sessions; set SECRET=<32 bytes or more, such as from: openssl rand -hex 32>",
        "SESSION_COOKIE_NAME: sessions.cookieName: 'a b' is no cookie name; write letters, digits, '-' and '_', at most 64",
        "SESSION_ROLLING_DURATION: '1d' is no number of seconds from 60 to 2592000; set SESSION_ROLLING_DURATION=86400",
        "TOKEN_EXCHANGE_V2: expected true or false, found 'yes'; set TOKEN_EXCHANGE_V2=true or TOKEN_EXCHANGE_V2=false",
        "XWIKI_URL: routes.wiki.upstream: 'wiki.example.org' is no http or https URL; write https://host/path",
      ])
  }

  @Test("without any variable the missing ones are named, and nothing else")
  func nothing() {
    #expect(
      Fixture.read([:]).errors.map(\.description) == [
        "CLIENT_ID: missing; set CLIENT_ID=intercom", "CLIENT_SECRET: missing; set CLIENT_SECRET=<the secret of Keycloak's client>",
        "INTERCOM_URL: missing, and BASE_URL too; set INTERCOM_URL=https://intercom.example.org, as browsers reach it",
        "ISSUER_BASE_URL: missing, and KEYCLOAK_URL with REALM_NAME too; set ISSUER_BASE_URL=https://id.example.org/realms/main",
        "SECRET: missing: it seals sessions; set SECRET=<32 bytes or more, such as from: openssl rand -hex 32>",
      ])
  }

  @Test(
    "what is weaker than our default is told, with the variable that mends it",
    arguments: [
      (["TOKEN_EXCHANGE_V2": "false"], "TOKEN_EXCHANGE_V2: warning: Keycloak's own form"),
      (["TOKEN_EXCHANGE_V2": nil], "and set TOKEN_EXCHANGE_V2=true"), (["SECRET": "0123456789"], "SECRET: warning: shorter than 32 bytes"),
      (["REDIS_HOST": "redis"], "the password; sessions themselves are sealed; set REDIS_SSL=true"),
      (["REDIS_HOST": "redis", "REDIS_SSL": "true"], "give Intercom an ACL user and set REDIS_PASSWORD="),
      (["SESSION_COOKIE_NAME": "appSession"], "SESSION_COOKIE_NAME: warning: sessions.cookieName: without the prefix __Host-"),
      ([:], "ORIGIN_REGEX: warning: compatibility.originPattern: an expression allows whole families of origins"),
      ([:], "set INTERCOM_CFG_ORIGINS=https://…,https://…"),
      (["ORIGIN_REGEX": #"https://a[ab]?[ab]?[ab]?[ab]?[ab]?[ab]?[ab]?\.example\.org"#], "only listed origins can frame /silent"),
      (["INTERCOM_CFG_TRUSTED_PROXIES": nil], "PORT: warning: listen: TLS ends in front of this listener"),
      (["INTERCOM_CFG_TRUSTED_PROXIES": nil], "set INTERCOM_CFG_TRUSTED_PROXIES="),
      (["INTERCOM_CFG_COMPATIBILITY__CSRF_COOKIE": "true"], "INTERCOM_CFG_COMPATIBILITY__CSRF_COOKIE: warning: compatibility.csrfCookie:"),
      (["INTERCOM_URL": "http://ics.example.org"], "INTERCOM_URL: warning: baseURL: http on the network"),
      (
        ["SESSION_ROLLING_DURATION": "1209600"],
        "SESSION_ROLLING_DURATION: warning: sessions.idle: longer than 24h, and absolute longer than 7d"
      ),
      (["ORIGIN_REGEX": nil], "ORIGIN_REGEX: warning: missing: no app may call Intercom"),
      (["BASE_URL": "https://other.example.org"], "BASE_URL: warning: differs from INTERCOM_URL"),
      (
        ["KEYCLOAK_URL": "https://kc.example.org", "REALM_NAME": "x"], "KEYCLOAK_URL: warning: no effect: ISSUER_BASE_URL names the issuer"
      ),
      ([:], "NC_URL: warning: missing, and XWIKI_URL"), (nordeck(["NORDECK_MODE": "test"]), "NORDECK_MODE: warning: the bot gets"),
      (nordeck(["NORDECK_MODE": nil]), "NORDECK_MODE: warning: missing: the bot gets an OpenID token"),
      (["MATRIX_ENABLED": "true"], "MATRIX_ENABLED: warning: no effect without NORDECK_URL"),
      (["PROXY": "true"], "PROXY: warning: accepted without effect"),
      (["OX_AUDIENCE": "ox"], "OX_AUDIENCE: warning: accepted without effect"),
      (["REDIS_SERVERNAME": "x"], "REDIS_SERVERNAME: warning: no effect without TLS"),
      (["REDIS_MTLS_FOLDER": "/x"], "REDIS_MTLS_FOLDER: warning: no effect without REDIS_MTLS"),
      (["ADMIN_HOST": "0.0.0.0"], "ADMIN_HOST: warning: admin.listen: metrics and health"),
    ] as [([String: String?], String)])
  func weak(changes: [String: String?], expected: String) {
    let reading = Fixture.with(changes)
    #expect(reading.errors.isEmpty, "\(reading.errors)")
    #expect(reading.warnings.contains { $0.description.contains(expected) }, "\(reading.warnings.map(\.description))")
  }

  @Test(
    "ORIGIN_REGEX is refused when it is empty, takes everything or nothing",
    arguments: [
      ("", "is empty"), ("  ", "is empty"), (".*", "takes origins of strangers too"), ("https://.*", "takes origins of strangers too"),
      ("example.org", #"for it and all below write https://([a-z0-9-]+\.)*example\.org"#), ("(", "a '(' without its ')'"),
    ])
  func originRegex(expression: String, expected: String) {
    let errors = Fixture.with(["ORIGIN_REGEX": expression]).errors.map(\.description)
    #expect(errors.count == 1 && errors[0].hasPrefix("ORIGIN_REGEX: ") && errors[0].contains(expected), "\(errors)")
  }

  @Test("what is set and right is told of nowhere: no warning without a reason")
  func quiet() {
    #expect(messages(["ORIGIN_REGEX": nil, "NC_ORIGIN": "https://a.example.org", "NC_URL": "https://a.example.org"]).isEmpty)
    let listed = [
      "ORIGIN_REGEX": nil, "INTERCOM_CFG_ORIGINS": "https://a.example.org", "BASE_URL": "https://ics.example.org/",
      "XWIKI_URL": "https://wiki.example.org",
    ]
    #expect(messages(listed).isEmpty)
  }

  @Test("settings without a variable are set over it; an unknown one is an error")
  func overlay() throws {
    let configuration = try configuration([
      "INTERCOM_CFG_PROVIDER__CLOCK_SKEW": "5s", "INTERCOM_CFG_COMPATIBILITY__CSRF_COOKIE": "true",
      "INTERCOM_CFG_ROUTES__FS__COOKIES": "drop",
      "NC_URL": "https://files.example.org", "INTERCOM_CFG_SESSIONS__REDIS__DATABASE": "3",
    ])
    #expect(configuration.provider.clockSkew == .seconds(5) && configuration.compatibility.csrfCookie)
    #expect(configuration.routes.first?.cookies == .drop && configuration.sessions.redis?.database == 3)
    #expect(
      Fixture.with(["INTERCOM_CFG_SESSIONS__IDEL": "5m"]).errors.map(\.description) == [
        "INTERCOM_CFG_SESSIONS__IDEL: unknown setting; did you mean INTERCOM_CFG_SESSIONS__IDLE?"
      ])
  }

  @Test(
    "what environment mode does not have cannot be laid over it either",
    arguments: [
      ("INTERCOM_CFG_SESSIONS__STORE", "memory", "sessions.store: without a file sessions are always in Redis"),
      ("INTERCOM_CFG_ROUTES__FS__BEARER", "files", "routes.fs.bearer: without a file no bearer tokens are taken"),
    ])
  func fixed(name: String, value: String, expected: String) {
    let errors = Fixture.with([name: value, "NC_URL": "https://files.example.org"]).errors.map(\.description)
    #expect(errors.contains { $0.hasPrefix("\(name): \(expected)") }, "\(errors)")
  }

  @Test("no message and no report shows a secret (S29)")
  func secrets() throws {
    let canary = "canary-canary-canary"
    let names = ["CLIENT_SECRET", "SECRET", "REDIS_PASSWORD", "PORTAL_API_KEY", "MATRIX_AS_SECRET"]
    for value in [canary, canary + " " + canary, canary + "\n" + canary] {
      var changes: [String: String?] = ["PORTAL_URL": "https://portal.example.org"]
      for name in names { changes[name] = value }
      let reading = Fixture.with(changes)
      let report = ConfigurationReport("environment", reading)
      #expect(!report.text.contains(canary) && !String(decoding: report.json, as: UTF8.self).contains(canary))
      #expect(!"\(reading)".contains(canary))
    }
  }

  // MARK: As a file

  static let whole: [String: String] = [
    "HOST": "127.0.0.1", "PORT": "9008", "NC_URL": "https://files.example.org", "XWIKI_URL": "https://wiki.example.org",
    "PORTAL_URL": "https://portal.example.org", "PORTAL_API_KEY": #"key with "quotes" and \ # : {"#,
    "NC_ORIGIN": "https://files.example.org",
    "OX_ORIGIN": "https://mail.example.org", "REDIS_PASSWORD": "redis-pw-canary", "REDIS_USER": "ics", "REDIS_SSL": "true",
    "LOG_FILE": "/var/log/a b.log", "LOG_LEVEL": "debug", "SESSION_COOKIE_NAME": "__Host-app", "SESSION_ROLLING_DURATION": "1209600",
    "NORDECK_URL": "https://bot.example.org", "NORDECK_MODE": "test", "MATRIX_URL": "https://matrix.example.org",
    "MATRIX_SERVER_NAME": "example.org:8448", "MATRIX_AS_SECRET": "as-token-canary",
    "ORIGIN_REGEX": #"^https://(a|b)\.[a-z]+\.example\.org$"#, "USER_UNIQUE_MAPPER": "true", "CLIENT_ID": "123",
  ]

  @Test("the file that from-env writes means the same, and holds no secret (S29)", arguments: [[:], whole])
  func roundTrip(changes: [String: String]) throws {
    let environment = Fixture.minimal.merging(changes) { _, new in new }
    let loader = Fixture.loader(environment)
    let direct = try #require(loader.loadEnvironment().configuration, "\(loader.loadEnvironment().errors)")
    let export = loader.exportEnvironment(secretFolder: "/run/secrets", workingFolder: "/work")
    for (_, _, secret) in export.secrets { #expect(!export.yaml.contains(secret.reveal())) }
    let files = Dictionary(export.secrets.map { ("/run/secrets/\($0.file)", $0.secret.reveal() + "\n") }) { first, _ in first }
    let overlay = environment.filter { $0.key.hasPrefix("INTERCOM_CFG_") }
    let reading = Fixture.loader(overlay, files).read(Array(export.yaml.utf8), file: "c.yaml")
    let written = try #require(reading.configuration, "\(reading.errors)\n\(export.yaml)")
    #expect(Configuration.changes(from: direct, to: written) == [], "\(export.yaml)")
  }

  @Test("docs/migrating-from-ics.md explains every variable")
  func documented() throws {
    let folder = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(3).joined(separator: "/")
    let text = try TestAuthority.text("\(folder)/docs/migrating-from-ics.md")
    let names = ServiceVariables.all.map(\.name) + ["ADMIN_HOST", "ADMIN_PORT"]
    for name in names { #expect(text.contains("`\(name)`"), "\(name)") }
    let tested = Set(Self.rows.map(\.name))
    let elsewhere: Set<String> = [
      "REDIS_MTLS", "REDIS_MTLS_FOLDER", "NODE_EXTRA_CA_CERTS",
    ]
    #expect(Set(names).subtracting(tested) == elsewhere)
  }
}
