import ConfigurationYAML
import IntercomCore
import Testing

@testable import IntercomApp

/// What `config check` says of values that would not start, and of settings weaker than their defaults.
@Suite("Configuration: faulty values and weak settings")
struct ConfigurationWeaknessTests {
  private typealias Fixture = ConfigurationFixture

  private static let key = "keys: [MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=]"
  private func redis(_ host: String) -> ConfigurationReading {
    Fixture.read(Fixture.minimal + "sessions: {store: redis, \(Self.key), redis: {host: \"\(host)\"}}\n")
  }

  // MARK: Faulty values

  @Test(
    "a Redis host with a scheme, a port or a user is refused, with the settings that it is made of",
    arguments: [
      ("redis:6379", "'redis:6379' is more than a name or an address; set REDIS_HOST=redis, set REDIS_PORT=6379"),
      ("redis://x", "'redis://x' is more than a name or an address; set REDIS_HOST=x"),
      (
        "rediss://u:canary@x:1/0",
        "this is more than a name or an address; set REDIS_HOST=x, set REDIS_PORT=1, set REDIS_SSL=true"
      ),
      ("[::1]:6379", "'[::1]:6379' is more than a name or an address; set REDIS_HOST=::1, set REDIS_PORT=6379"),
      ("/run/redis.sock", "'/run/redis.sock' is more than a name or an address; write the server's name or address alone"),
      ("a..b", "'a..b' is more than a name or an address; write the server's name or address alone"),
    ])
  func redisHost(host: String, expected: String) {
    #expect(
      EnvironmentFixture.with(["REDIS_HOST": host]).errors.map(\.description) == ["REDIS_HOST: sessions.redis.host: " + expected])
  }

  @Test("the same in a file; an address in brackets is the address")
  func redisHostInFile() throws {
    let errors = redis("redis:6379").errors.map(\.description)
    #expect(errors.count == 1 && errors[0].hasSuffix("is more than a name or an address; write host: redis, port: 6379"), "\(errors)")
    #expect(redis("[::1]").configuration?.sessions.redis?.host == "::1")
    for host in ["redis", "redis-intercom_1.example.org", "::1", "127.0.0.1", "redis.example.org."] {
      #expect(redis(host).configuration?.sessions.redis?.host.description == host)
    }
    let name = EnvironmentFixture.with(["REDIS_SSL": "true", "REDIS_SERVERNAME": "redis:6379"]).errors.map(\.description)
    #expect(
      name == ["REDIS_SERVERNAME: sessions.redis.serverName: 'redis:6379' is more than a name or an address; set REDIS_SERVERNAME=redis"])
  }

  @Test(
    "two listeners that take the same connections are refused",
    arguments: [
      (["ADMIN_PORT": "8008"], "ADMIN_PORT: admin.listen: 127.0.0.1:8008 and the main listener 0.0.0.0:8008 take the same connections"),
      (["PORT": "8009"], "ADMIN_PORT: admin.listen: missing: its usual 127.0.0.1:8009 lies within the main listener's 0.0.0.0:8009"),
      (["PORT": "8009"], "set ADMIN_PORT=8010"), (["PORT": "0"], "PORT: '0' is no port; set PORT=8008"),
      (["HOST": "127.0.0.1", "ADMIN_PORT": "8008"], "127.0.0.1:8008 is the main listener's address too"),
    ] as [([String: String?], String)])
  func overlaps(changes: [String: String?], expected: String) {
    let errors = EnvironmentFixture.with(changes).errors.map(\.description)
    #expect(errors.count == 1 && errors[0].contains(expected), "\(errors)")
  }

  @Test("the same in a file; families do not overlap, and a free port of the kernel's is no fault")
  func overlapsInFile() {
    func errors(_ listen: String, _ admin: String = "127.0.0.1:8009") -> [String] {
      Fixture.errors(Fixture.minimal + "listen: [\(listen)]\nadmin: {listen: \"\(admin)\"}\n")
    }
    let two = errors(#""0.0.0.0:8008", "127.0.0.1:8008""#)
    #expect(two.count == 1 && two[0].contains("127.0.0.1:8008 and the listener 0.0.0.0:8008 take the same connections"), "\(two)")
    #expect(errors(#""[::]:8443""#, "[::1]:8443").count == 1)
    #expect(errors(#""127.0.0.1:8008""#, "0.0.0.0:8008").count == 1)
    #expect(errors(#""0.0.0.0:8008", "[::]:8008", "127.0.0.1:8007""#) == [])
    #expect(errors(#""127.0.0.1:0""#, "127.0.0.1:0") == [])
    #expect(Fixture.errors(Fixture.minimal, ["ADMIN_PORT": "8008"]).count == 1)
  }

  @Test("a log file that cannot be written is a fault where the check runs for this process, and a folder in its place everywhere")
  func logFile() {
    func read(_ file: Bool, isFolder: Bool) -> ConfigurationReading {
      var environment = file ? ["INTERCOM_CFG_SESSIONS__STORE": "memory"] : EnvironmentFixture.minimal
      environment[file ? "INTERCOM_CFG_LOG__FILE" : "LOG_FILE"] = "/x/y"
      let loader = ConfigurationLoader(environment: environment, foreseeLog: { _ in ("it says why", isFolder) })
      return file ? loader.read(Array(Fixture.minimal.utf8), file: "c.yaml") : loader.loadEnvironment()
    }
    let text = "log.file: the log file '/x/y' cannot be written: it says why; name one in a folder that this process may write to"
    #expect(read(false, isFolder: false).errors.map(\.description) == ["LOG_FILE: " + text])
    #expect(read(false, isFolder: true).errors.count == 1 && read(true, isFolder: true).errors.count == 1)
    let warned = read(true, isFolder: false)
    #expect(warned.errors == [] && warned.warnings.map(\.description) == ["INTERCOM_CFG_LOG__FILE: warning: " + text])
  }

  @Test(
    "a KEYCLOAK_URL that ends with /auth gets no second one, and that is told",
    arguments: ["https://id.example/auth", "https://id.example/auth/"])
  func keycloak(url: String) {
    let reading = EnvironmentFixture.with(["ISSUER_BASE_URL": nil, "KEYCLOAK_URL": url, "REALM_NAME": "r"])
    #expect(reading.configuration?.provider.issuer.text == "https://id.example/auth/realms/r")
    #expect(
      reading.warnings.map(\.description).contains(
        "KEYCLOAK_URL: warning: ends with /auth, which is added to it anyway: the issuer is 'https://id.example/auth/realms/r'; set KEYCLOAK_URL=https://id.example"
      ))
  }

  @Test(
    "an alternative of ORIGIN_REGEX that takes no origin is named",
    arguments: [
      (#"https://mail\.example\.org|example\.org"#, [#"example\.org"#]),
      (#"^(https://mail\.example\.org|example\.org|b\.example)$"#, [#"example\.org"#, #"b\.example"#]),
      (#"https://(mail|files)\.example\.org"#, []), (#"https://mail\.example\.org|https://files\.example\.org"#, []),
      (#"https://[a|b]\.example\.org"#, []), (#"https://a\.example\.org|http://a\.example\.org"#, [#"http://a\.example\.org"#]),
      (#"(https://a|https://b)\.example\.org(:8443|)"#, []),
    ])
  func alternatives(expression: String, idle: [String]) {
    let found = EnvironmentFixture.with(["ORIGIN_REGEX": expression]).warnings.map(\.description).filter { $0.contains("its alternative") }
    #expect(found.count == idle.count, "\(found)")
    for text in idle {
      let expected = "ORIGIN_REGEX: warning: compatibility.originPattern: its alternative '\(text)' takes no origin"
      #expect(found.contains { $0.hasPrefix(expected) }, "\(found)")
    }
  }

  // MARK: Weak settings

  @Test(
    "an expression that ends with a suffix of strangers is told",
    arguments: [
      (#"https://[a-z0-9-]+\.co\.uk"#, "co.uk"), (#"https://([a-z0-9-]+\.)*github\.io(:[0-9]+)?"#, "github.io"),
      (#"https://[a-z0-9-]+\.example\.co\.uk"#, nil), (#"https://mail\.example\.org"#, nil), (#"https://me\.github\.io"#, nil),
    ])
  func suffixes(expression: String, suffix: String?) {
    let reading = EnvironmentFixture.with(["ORIGIN_REGEX": expression])
    let found = (reading.errors + reading.warnings).map(\.description).filter { $0.contains("strangers") }
    #expect(found.count == (suffix == nil ? 0 : 1), "\(found)")
    if let suffix { #expect(found.first?.contains("below \(suffix), where strangers can register theirs") == true, "\(found)") }
  }

  private static let nob: [String: String?] = [
    "NORDECK_URL": "https://bot.example.org", "NORDECK_MODE": "live", "MATRIX_URL": "https://matrix.example.org",
    "MATRIX_SERVER_NAME": "example.org", "MATRIX_AS_SECRET": "a-secret-of-32-bytes-or-more-0123",
  ]

  @Test(
    "in the environment, with the variable that mends it",
    arguments: [
      (
        ["NC_URL": "https://a.example", "INTERCOM_CFG_ROUTES__FS__COOKIES": "pass"], "INTERCOM_CFG_ROUTES__FS__COOKIES",
        "set INTERCOM_CFG_ROUTES__FS__COOKIES=isolate"
      ),
      (["INTERCOM_CFG_SESSIONS__SAME_SITE": "none"], "INTERCOM_CFG_SESSIONS__SAME_SITE", "set INTERCOM_CFG_SESSIONS__SAME_SITE=lax"),
      (["INTERCOM_CFG_SESSIONS__ABSOLUTE": "8d"], "INTERCOM_CFG_SESSIONS__ABSOLUTE", "set INTERCOM_CFG_SESSIONS__ABSOLUTE=7d"),
      (["SESSION_ROLLING_DURATION": "90000"], "SESSION_ROLLING_DURATION", "set SESSION_ROLLING_DURATION=86400"),
      (["SESSION_COOKIE_NAME": "__Secure-x"], "SESSION_COOKIE_NAME", "set SESSION_COOKIE_NAME=__Host-x"),
      (["PORTAL_URL": "https://p.example", "PORTAL_API_KEY": "0123456789abcde"], "PORTAL_API_KEY", "one of 32 characters or more"),
      (
        ["NC_URL": "http://nc", "XWIKI_URL": "http://127.0.0.1:1", "PORTAL_URL": "http://p", "PORTAL_API_KEY": "0123456789abcdef"],
        "NC_URL", "tokens and passwords for fs (NC_URL), navigation (PORTAL_URL); write https"
      ),
      (nob.merging(["INTERCOM_CFG_ROUTES__NOB__CSRF": "default"]) { $1 }, "INTERCOM_CFG_ROUTES__NOB__CSRF", "__CSRF=token"),
      (nob.merging(["MATRIX_AS_SECRET": "short"]) { $1 }, "MATRIX_AS_SECRET", "the secret is short"),
      (nob.merging(["MATRIX_URL": "http://m.example"]) { $1 }, "MATRIX_URL", "set MATRIX_URL=https://"),
      (["ADMIN_HOST": "0.0.0.0", "ADMIN_PORT": "9009"], "ADMIN_HOST", "metrics and health can be read"),
    ] as [([String: String?], String, String)])
  func weakInEnvironment(changes: [String: String?], variable: String, expected: String) {
    let quiet = ["ORIGIN_REGEX": nil, "NC_ORIGIN": "https://a.example.org", "XWIKI_URL": "https://wiki.example.org"] as [String: String?]
    #expect(EnvironmentFixture.with(quiet).warnings == [])
    let reading = EnvironmentFixture.with(quiet.merging(changes) { $1 })
    let found = reading.warnings.map(\.description)
    #expect(reading.errors == [] && found.count == 1, "\(reading.errors) \(found)")
    #expect(found.first?.hasPrefix("\(variable): warning: ") == true && found.first?.contains(expected) == true, "\(found)")
  }

  @Test(
    "in a file, with what to write",
    arguments: [
      (
        Fixture.route(#"a: {path: /a, upstream: "http://a", credential: none, cookies: pass}"#), "routes.a.cookies",
        "write cookies: isolate"
      ),
      (Fixture.minimal + "sessions: {sameSite: none}\n", "sessions.sameSite", "write sameSite: lax"),
      (Fixture.minimal + "sessions: {idle: 2d}\n", "sessions.idle", "longer than 24h: so long"),
      (Fixture.minimal + "sessions: {idle: 2d, absolute: 8d}\n", "sessions.idle", "longer than 24h, and absolute longer than 7d: so long"),
      (Fixture.minimal + "sessions: {absolute: 8d}\n", "sessions.absolute", "write absolute: 7d"),
      (
        Fixture.route(
          #"{a: {path: /a, upstream: "http://a", credential: accessToken}, b: {path: /b, upstream: "http://b", credential: none}}"#),
        "routes.a.upstream", "tokens and passwords for a; write https"
      ),
      (
        Fixture.route(#"a: {path: /a, upstream: "https://a", credential: {basic: {usernameClaim: sub, secret: short}}}"#),
        "routes.a.credential.basic.secret", "the password is short"
      ),
    ])
  func weakInFile(text: String, key: String, expected: String) {
    let reading = Fixture.read(text)
    let found = reading.warnings.map(\.description)
    #expect(reading.errors == [] && found.count == 1, "\(reading.errors) \(found)")
    #expect(found.first?.contains("warning: \(key): ") == true && found.first?.contains(expected) == true, "\(found)")
  }
}
