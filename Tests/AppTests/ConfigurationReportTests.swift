import ConfigurationYAML
import Cryptography
import IntercomTesting
import StrictJSON
import Testing

@testable import IntercomApp

@Suite("Configuration: what config check prints")
struct ConfigurationReportTests {
  private static let environment = EnvironmentFixture.minimal.merging([
    "REDIS_HOST": "redis.example.org", "REDIS_SSL": "true", "REDIS_MTLS": "true", "REDIS_MTLS_FOLDER": "/certs",
    "REDIS_SERVERNAME": "redis.internal",
    "REDIS_USER": "ics", "REDIS_PASSWORD": "canary-redis", "INTERCOM_CFG_SESSIONS__REDIS__CA_FILE": "/certs/redis-ca.pem",
    "USER_UNIQUE_MAPPER": "opendesk_useruuid", "USERNAME_CLAIM": "opendesk_username", "ENABLE_SESSION_COOKIE": "false",
    "SESSION_ROLLING_DURATION": "3600", "TOKEN_EXCHANGE_V2": "true", "NODE_EXTRA_CA_CERTS": "/certs/extra.pem",
    "NC_URL": "https://files.example.org",
    "PORTAL_URL": "https://portal.example.org", "PORTAL_API_KEY": "canary-portal", "CLIENT_SECRET": "canary-client-0123456789",
    "SECRET": "canary-secret-that-is-long-enough-for-32-bytes", "NORDECK_URL": "http://bot", "NORDECK_MODE": "live",
    "MATRIX_URL": "https://matrix.example.org", "MATRIX_SERVER_NAME": "example.org", "MATRIX_AS_SECRET": "canary-matrix-as-token",
    "MATRIX_LOGIN_TYPE": "uk.half-shot.msc2778.login.application_service", "INTERCOM_CFG_TIMEOUTS__CONNECT": "3s",
    "INTERCOM_CFG_LIMITS__STREAMS": "50",
  ]) { _, new in new }

  private func reading() async throws -> ConfigurationReading {
    let authority = try await TestAuthority()
    let client = try await authority.issue("intercom", names: "DNS:intercom.internal", days: 90)
    let ca = try TestAuthority.text(authority.path)
    return EnvironmentFixture.read(
      Self.environment,
      files: [
        "/certs/client-cert.pem": try TestAuthority.text(client.chain), "/certs/client-key.pem": try TestAuthority.text(client.key),
        "/certs/redis-ca.pem": ca, "/certs/extra.pem": ca,
      ])
  }

  @Test("the text has everything that the variables decide")
  func text() async throws {
    let text = ConfigurationReport("environment", try await reading()).text
    for line in [
      "provider      https://id.example.org/realms/opendesk, TLS verified by the system's authorities and those of /certs/extra.pem",
      "exchange      RFC 8693", "sessions      redis, 1 key, idle 1h, absolute 7d",
      "redis         redis.example.org:6379 (TLS) as ics, password <redacted>, TLS verified by /certs/redis-ca.pem, for redis.internal, showing /certs/client-cert.pem",
      "cookie        __Host-intercom, SameSite lax, kept for 7d", "user claim    opendesk_useruuid, which /uuid answers",
      "trust         /certs/extra.pem besides the system's authorities, wherever no other file is named", "time-outs     connect 3s",
      "limits        streams 50",
      "route         fs: /fs -> https://files.example.org; token for ncoidc; webdav; TLS verified by the system's authorities and those of /certs/extra.pem; prefix removed; encoded slashes pass",
      "; Basic with claim opendesk_username; read; TLS verified by the system's authorities and those of /certs/extra.pem",
      "Matrix OpenID token of @<opendesk_useruuid>:example.org by https://matrix.example.org, login uk.half-shot.msc2778.login.application_service, TLS verified by the system's authorities and those of /certs/extra.pem",
    ] {
      #expect(text.contains(line), "\(line)\n\(text)")
    }
  }

  @Test("the text and the JSON hold no secret (S29)")
  func secrets() async throws {
    let report = ConfigurationReport("environment", try await reading())
    let json = String(decoding: report.json, as: UTF8.self)
    for shown in [report.text, json] { #expect(shown.contains("<redacted>") && !shown.contains("canary")) }
    let keys = try #require(try await reading().configuration).sessions.keys
    for key in keys { #expect(!json.contains(Base64URL.encode(key.reveal()))) }
  }

  @Test("the JSON has every setting of the table, with its value")
  func json() async throws {
    let (environment, file) = (try await object(reading()), try await object(example()))
    // What is read of a file and kept in another form: certificates by their names, keys not at all.
    let elsewhere: Set<String> = [
      "tls.certificates.*.chain", "tls.certificates.*.key", "routes.*.upstreamTLS.key", "sessions.redis.key", "routes.*.credential.headers",
    ]
    for row in ConfigurationKeys.rows where !elsewhere.contains(row.path) {
      let path = row.path.split(separator: ".").map(String.init)
      let found = [environment, file].contains { Self.holds(.object($0), path[...]) }
      #expect(found, "\(row.path)")
    }
    #expect(environment["sessions"]?.object?["redis"]?.object?["chain"] == "/certs/client-cert.pem")
    #expect(environment["sessions"]?.object?["keys"] == ["<redacted>"] && environment["timeouts"]?.object?["connect"] == "3s")
    #expect(environment["limits"]?.object?["streams"] == 50 && environment["provider"]?.object?["tokenExchange"] == "rfc8693")
    #expect(environment["derived"]?.object?["frameSources"] == ["https://*.example.org"])
    #expect(file["routes"]?.object?["tasks"]?.object?["credential"]?.object?["headers"]?.object?["X-Remote-User"] == "preferred_username")
  }

  @Test("with a fault the JSON has no configuration: none is in force")
  func faulty() throws {
    let report = ConfigurationReport("environment", EnvironmentFixture.with(["PORT": "x"]))
    #expect(try StrictJSON.object(report.json)["configuration"] == nil)
  }

  private func object(_ reading: ConfigurationReading) throws -> JSONObject {
    let report = ConfigurationReport("x", reading)
    return try #require(try StrictJSON.object(report.json)["configuration"]?.object, "\(reading.errors)")
  }

  /// Every setting that the example writes.
  private func example() async throws -> ConfigurationReading {
    let documents = ConfigurationDocumentsTests()
    return ConfigurationFixture.read(try documents.read("Examples/intercom.yaml"), files: try await documents.files())
  }

  /// Lists stand for their items, and `*` for any name.
  private static func holds(_ value: JSONValue, _ path: ArraySlice<String>) -> Bool {
    guard let first = path.first else { return true }
    if let items = value.array { return items.contains { holds($0, path) } }
    guard let object = value.object else { return false }
    if first == "*" { return object.members.contains { holds($0.value, path.dropFirst()) } }
    return object.members.contains { $0.key.description == first && holds($0.value, path.dropFirst()) }
  }
}
