import ConfigurationYAML
import IntercomTesting
import Linux
import Testing

@testable import IntercomApp

@Suite("Configuration: documents")
struct ConfigurationDocumentsTests {
  /// The package's folder: this file is in Tests/AppTests.
  func read(_ path: String) throws -> String {
    let folder = #filePath.split(separator: "/", omittingEmptySubsequences: false).dropLast(3).joined(separator: "/")
    return String(decoding: try readNamedFile("\(folder)/\(path)", limit: 1 << 20).bytes, as: UTF8.self)
  }

  /// The secrets and certificates that the example names.
  private static let files = [
    "client-secret": "0123456789abcdef0123456789abcdef\n", "session-key": "MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=\n",
    "portal-key": "0123456789abcdef0123456789abcdef\n", "matrix-as-token": "0123456789abcdef0123456789abcdef\n",
    "ca.pem": "-----BEGIN CERTIFICATE-----\n",
  ]

  /// The same with certificates.
  func files() async throws -> [String: String] {
    let authority = try await TestAuthority()
    let main = try await authority.issue("main", names: "DNS:intercom.example.org,DNS:tasks.example.org", days: 90)
    let client = try await authority.issue("intercom", names: "DNS:intercom.internal", days: 90)
    return Self.files.merging(
      try [
        "fullchain.pem": TestAuthority.text(main.chain), "privkey.pem": TestAuthority.text(main.key),
        "clients-ca.pem": TestAuthority.text(authority.path), "calendar-ca.pem": TestAuthority.text(authority.path),
        "extra-ca.pem": TestAuthority.text(authority.path),
        "intercom.pem": TestAuthority.text(client.chain), "intercom.key": TestAuthority.text(client.key),
      ]
    ) { first, _ in first }
  }

  private func reader(_ text: String) -> ConfigurationReader {
    ConfigurationReader(file: "intercom.yaml", bytes: Array(text.utf8)) {
      (name: String) throws(ConfigurationFileError) -> ConfigurationFile in
      guard let content = Self.files[name] else { throw ConfigurationFileError("No such file or directory") }
      return ConfigurationFile(Array(content.utf8))
    }
  }

  @Test("docs/configuration.md says what the code says: write it anew with 'intercom config reference'")
  func reference() throws {
    #expect(try read("docs/configuration.md") == ConfigurationReference.markdown)
  }

  @Test("Examples/intercom.yaml is right, without a warning, and writes every setting")
  func example() async throws {
    let text = try read("Examples/intercom.yaml")
    let reading = ConfigurationFixture.read(text, files: try await files())
    #expect(reading.errors == [])
    #expect(reading.warnings == [])
    let written = text.split(separator: "\n").map { line in String(line.drop { " -#".contains($0) }) }
    for row in ConfigurationKeys.rows {
      let key = String(row.path.split(separator: ".").last ?? "")
      #expect(written.contains { $0.hasPrefix(key + ":") }, "\(row.path) is not in the example")
    }
  }

  @Test("the example's values that are called default are the defaults")
  func exampleDefaults() async throws {
    let text = try read("Examples/intercom.yaml")
    let whole = try #require(ConfigurationFixture.read(text, files: try await files()).configuration)
    let plain = try #require(ConfigurationFixture.read(ConfigurationFixture.minimal).configuration)
    #expect("\(whole.timeouts)" == "\(plain.timeouts)")
    #expect("\(whole.limits)" == "\(plain.limits)")
    #expect(whole.listen.first == plain.listen.first && whole.forwardedField == plain.forwardedField)
    #expect(whole.tls.minimumVersion == plain.tls.minimumVersion && whole.tls.speaksHTTP2 == plain.tls.speaksHTTP2)
    #expect(whole.admin.listen == plain.admin.listen && "\(whole.log)" == "\(plain.log)")
    #expect(whole.compatibility.csrfCookie == plain.compatibility.csrfCookie)
    #expect(whole.sessions.idle == plain.sessions.idle && whole.sessions.absolute == plain.sessions.absolute)
    #expect(whole.cookieName == plain.cookieName && whole.sessions.sameSite == plain.sessions.sameSite)
    #expect(whole.provider.clockSkew == plain.provider.clockSkew && whole.provider.scopes == plain.provider.scopes)
  }

  @Test("the code asks for exactly the settings of the table")
  func tableIsWhole() throws {
    let reader = reader(try read("Examples/intercom.yaml"))
    _ = ConfigurationDraft(reader)
    let sections: Set<String> = [
      "tls", "tls.certificates", "tls.certificates.*", "provider", "sessions", "sessions.redis", "routes", "routes.*", "admin", "timeouts",
      "limits", "log", "compatibility",
    ]
    #expect(reader.askedPaths.subtracting(sections) == Set(ConfigurationKeys.rows.map(\.path)))
    #expect(Set(ConfigurationKeys.rows.map(\.path)).count == ConfigurationKeys.rows.count)
  }

  @Test("every setting says what it means, and every secret is marked")
  func rows() {
    for row in ConfigurationKeys.rows { #expect(row.summary.count > 10 && !row.type.isEmpty && !row.absence.isEmpty, "\(row.path)") }
    #expect(
      ConfigurationKeys.rows.filter(\.isSecret).map(\.path) == [
        "provider.clientSecret", "sessions.keys", "sessions.redis.password", "routes.*.credential.basic.secret",
        "routes.*.credential.matrix.asToken",
      ])
  }
}
