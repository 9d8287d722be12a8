import ConfigurationYAML
import HTTPMessage
import IntercomCore
import IntercomTesting
import Testing

@testable import IntercomApp

/// Listeners, certificates and proxies in front, as a configuration file names them. Files as `openssl` makes them.
@Suite("Configuration: listeners and certificates", .timeLimit(.minutes(2)))
struct ConfigurationListenerTests {
  private typealias Fixture = ConfigurationFixture

  /// One listener with TLS and one certificate.
  private static let secure = """
    listen: {address: "0.0.0.0:8443", tls: true}
    tls: {certificates: {main: {chain: main.pem, key: main.key}}}

    """

  private static func files(days: Int = 90, names: String = "DNS:intercom.example.org") async throws -> [String: String] {
    let authority = try await TestAuthority()
    let (main, other) = (
      try await authority.issue("main", names: names, days: days), try await authority.issue("other", names: "DNS:other.example", days: 90)
    )
    let folder = try TestFolder()
    try await TestAuthority.openssl(
      ["pkey", "-in", main.key, "-aes256", "-passout", "pass:secret", "-out", folder.file("locked.key")])
    try await TestAuthority.openssl([
      "req", "-x509", "-newkey", "rsa:1024", "-nodes", "-subj", "/CN=weak", "-addext", "subjectAltName=DNS:intercom.example.org", "-days",
      "90", "-keyout", folder.file("weak.key"), "-out", folder.file("weak.pem"),
    ])
    let text = TestAuthority.text
    return try [
      "main.pem": text(main.chain), "main.key": text(main.key), "other.pem": text(other.chain), "other.key": text(other.key),
      "locked.key": text(folder.file("locked.key")), "weak.pem": text(folder.file("weak.pem")), "weak.key": text(folder.file("weak.key")),
      "ca.pem": text(authority.path), "empty": "", "words": "hello",
      "broken.pem": "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
      "broken.key": "-----BEGIN PRIVATE KEY-----\nAAAA\n-----END PRIVATE KEY-----\n",
    ]
  }

  @Test("Listeners are an address, a map or a list of both, and have the defaults of the table")
  func forms() async throws {
    let files = try await Self.files()
    #expect(Fixture.read(Fixture.minimal).configuration?.listen.map(\.description) == ["127.0.0.1:8008"])
    let one = try #require(Fixture.read(Self.secure + Fixture.minimal, files: files).configuration)
    #expect(one.listen.map(\.description) == ["0.0.0.0:8443 (TLS)"])
    #expect(one.tls.minimumVersion == .tls12 && one.tls.speaksHTTP2 && one.tls.clientAuthorities == nil)
    #expect(one.trustedProxies.isEmpty && one.forwardedField == .xForwarded)
    let text = """
      listen:
        - 127.0.0.1:8008
        - {address: "[::1]:8009", proxyProtocol: true}
        - {address: "0.0.0.0:8443", tls: true, clientCertificates: required, proxyProtocol: true}
      tls:
        certificates:
          second: {chain: other.pem, key: other.key}
          first: {chain: main.pem, key: main.key}
        minimumVersion: 1.3
        http2: false
        clientAuthorities: ca.pem
      trustedProxies: [192.0.2.7, 10.0.0.0/8, "2001:db8::/32"]
      forwardedField: forwarded
      admin: {listen: "127.0.0.1:8010"}

      """
    let many = try #require(Fixture.read(text + Fixture.minimal, files: files).configuration)
    #expect(
      many.listen.map(\.description) == [
        "127.0.0.1:8008", "[::1]:8009 (PROXY header)", "0.0.0.0:8443 (TLS, client certificates required, PROXY header)",
      ])
    #expect(many.tls.certificates.map(\.name) == ["second", "first"] && many.tls.minimumVersion == .tls13 && !many.tls.speaksHTTP2)
    #expect(many.tls.clientAuthorities?.count == 1 && many.forwardedField == .forwarded)
    #expect(many.trustedProxies.map(\.description) == ["192.0.2.7", "10.0.0.0/8", "2001:db8::/32"])
    let setups = try Deployment.listeners(of: many)
    #expect(setups.map { $0.tls != nil } == [false, false, true] && setups.map { $0.proxies?.count } == [nil, 3, 3])
  }

  @Test("A variable stands over a key of a listener that is alone, and over those of certificates, not over items of a list")
  func variables() async throws {
    let files = try await Self.files()
    let variables = ["INTERCOM_CFG_LISTEN__ADDRESS": "0.0.0.0:9443", "INTERCOM_CFG_TLS__CERTIFICATES__MAIN__CHAIN": "main.pem"]
    let text = Self.secure.replacing("chain: main.pem", with: "chain: nowhere.pem") + Fixture.minimal
    #expect(Fixture.read(text, variables, files: files).configuration?.listen.map(\.description) == ["0.0.0.0:9443 (TLS)"])
    let list = "listen: [{address: \"127.0.0.1:1\"}, {address: \"127.0.0.1:2\"}]\n" + Fixture.minimal
    #expect(Fixture.errors(list, ["INTERCOM_CFG_LISTEN__ADDRESS": "127.0.0.1:3"]).count == 1)
    let plain = Fixture.read(Fixture.minimal, ["INTERCOM_CFG_LISTEN": "127.0.0.1:3,127.0.0.1:4", "INTERCOM_CFG_TRUSTED_PROXIES": "::1"])
    #expect(plain.configuration?.listen.map(\.description) == ["127.0.0.1:3", "127.0.0.1:4"])
    #expect(plain.configuration?.trustedProxies.map(\.description) == ["::1"])
  }

  /// What stands before the minimal file, and the errors that it has.
  private static let faults: [(String, [String])] = [
    (
      "listen: {address: 8443, tls: yes}\n",
      [
        "c.yaml:1:19: listen.address: '8443' has no address; write 127.0.0.1:8443 for this machine alone, 0.0.0.0:8443 for all",
        "c.yaml:1:30: listen.tls: expected true or false, found 'yes'; write true or false",
      ]
    ),
    (
      secure.replacing("true", with: "maybe"),
      ["c.yaml:1:40: listen.tls: expected true or false, found 'maybe'; write true or false"]
    ),
    (
      "listen: [{tls: true, port: 1}]\n",
      [
        "c.yaml:1:10: listen[0].address: missing; write 'address: 0.0.0.0:8443'",
        "c.yaml:1:22: listen[0].port: unknown key; known here: address, clientCertificates, proxyProtocol, tls",
      ]
    ),
    (
      "listen: [127.0.0.1:1, {address: \"127.0.0.1:1\", tls: true}]\n",
      ["c.yaml:1:23: listen[1]: stands in the list twice; keep one"]
    ),
    (
      "listen: {address: 127.0.0.1:8443, tls: true}\n",
      [
        "c.yaml:1:40: listen.tls: there is no certificate; write 'tls:' and below it 'certificates: {main: {chain: fullchain.pem, key: privkey.pem}}'"
      ]
    ),
    (
      "listen: {address: 127.0.0.1:8443, clientCertificates: required}\n",
      [
        "c.yaml:1:55: listen.clientCertificates: nobody is named whose certificates clients may show; write tls.clientAuthorities: clients-ca.pem",
        "c.yaml:1:55: listen.clientCertificates: only TLS asks clients for certificates; write 'tls: true' beside it, or remove the key",
      ]
    ),
    (
      "listen: {address: 127.0.0.1:8443, proxyProtocol: true}\n",
      [
        "c.yaml:1:50: listen.proxyProtocol: no proxy is trusted: every connection would be closed; name them in trustedProxies: [192.0.2.7]"
      ]
    ),
    (
      "trustedProxies: [proxy.example.org, 192.0.2.7/24, 10.0.0.0/33]\nforwardedField: x-forwarded-for\n",
      [
        "c.yaml:1:18: trustedProxies[0]: 'proxy.example.org' is no address; write 192.0.2.7, 192.0.2.0/24 or 2001:db8::/32",
        "c.yaml:1:37: trustedProxies[1]: '192.0.2.7/24' is no block: the prefix is too long, or the address has bits behind it; write the block's first address, as in 192.0.2.0/24",
        "c.yaml:1:51: trustedProxies[2]: '10.0.0.0/33' is no block: the prefix is too long, or the address has bits behind it; write the block's first address, as in 192.0.2.0/24",
        "c.yaml:2:17: forwardedField: 'x-forwarded-for' is none of xForwarded, forwarded; did you mean xForwarded?",
      ]
    ),
    (
      "listen: {address: 127.0.0.1:8443, tls: true}\ntls: {certificates: {a: {chain: nowhere, key: empty}, b: {chain: words}}, minimumVersion: 1.1, clientAuthorities: words}\n",
      [
        "c.yaml:2:33: tls.certificates.a.chain: cannot read 'nowhere': No such file or directory; name a PEM file that this process may read",
        "c.yaml:2:47: tls.certificates.a.key: 'empty' holds no private key; name a PEM file with '-----BEGIN PRIVATE KEY-----'",
        "c.yaml:2:55: tls.certificates.b.key: missing; write 'key: /etc/intercom/tls/privkey.pem'",
        "c.yaml:2:91: tls.minimumVersion: '1.1' is none of 1.2, 1.3; did you mean 1.2?",
        "c.yaml:2:115: tls.clientAuthorities: 'words' holds no certificate; name a PEM file with '-----BEGIN CERTIFICATE-----'",
      ]
    ),
    (
      secure.replacing("main.key", with: "other.key"),
      [
        "c.yaml:2:51: tls.certificates.main.key: 'other.key' is not the key of the first certificate in 'main.pem'; name the key that the certificate was asked for with, and put that certificate first"
      ]
    ),
    (
      secure.replacing("main.key", with: "locked.key"),
      [
        "c.yaml:2:51: tls.certificates.main.key: the key in 'locked.key' has a passphrase; take it off with: openssl pkey -in FILE -out FILE2, and chmod 600"
      ]
    ),
    (
      secure.replacing("main.key", with: "broken.key").replacing("main.pem", with: "broken.pem"),
      [
        "c.yaml:2:36: tls.certificates.main.chain: 'broken.pem' holds a certificate that cannot be read; name a PEM file with '-----BEGIN CERTIFICATE-----'",
        "c.yaml:2:53: tls.certificates.main.key: 'broken.key' holds a private key that cannot be read; name a PEM file with '-----BEGIN PRIVATE KEY-----'",
      ]
    ),
  ]

  @Test("What is wrong with listeners, certificates and keys is told all at once, with the place and the remedy (fault 58)")
  func faults() async throws {
    let files = try await Self.files()
    for (text, errors) in Self.faults { #expect(Fixture.errors(text + Fixture.minimal, files: files) == errors, "\(text)") }
    let weak = Fixture.errors(
      Self.secure.replacing("main.pem", with: "weak.pem").replacing("main.key", with: "weak.key") + Fixture.minimal, files: files)
    #expect(weak.count == 1 && weak.allSatisfy { $0.contains("OpenSSL does not accept this certificate") }, "\(weak)")
  }

  @Test("What is allowed but does not work as it looks is a warning: times, names, readable keys, settings without effect (fault 58)")
  func warnings() async throws {
    let files = try await Self.files()
    #expect(Fixture.warnings(Self.secure + Fixture.minimal, files: files) == [])
    let open = Fixture.read(Self.secure + Fixture.minimal, files: files, open: ["main.key"])
    #expect(
      open.warnings.map(\.description) == [
        "c.yaml:2:51: warning: tls.certificates.main.key: every user of this machine may read the private key; write: chmod 600 main.key"
      ])
    let rows: [(String, [String])] = [
      (
        Self.secure.replacing("main.", with: "other."),
        [
          "c.yaml:2:22: warning: tls.certificates.main: this certificate is for neither the base URL's host nor a route's: no browser takes it; remove it, or ask for one with these names: intercom.example.org",
          "c.yaml:3:10: warning: baseURL: no certificate is for intercom.example.org: browsers refuse it; add one with this name to tls.certificates",
        ]
      ),
      (
        Self.secure.replacing(", tls: true", with: ""),
        [
          "c.yaml:1:19: warning: listen.address: TLS ends in front of this listener, and no proxy is trusted: every request seems to come from there; write 'tls: true' with certificates, or name the proxy in trustedProxies",
          "c.yaml:2:1: warning: tls: no effect: no listener speaks TLS; write listen: {address: 0.0.0.0:8443, tls: true}, or remove it",
        ]
      ),
      (
        Self.secure.replacing("listen: {", with: "listen: [0.0.0.0:8008, {").replacing("true}", with: "true}]"),
        [
          "c.yaml:1:10: warning: listen[0]: TLS ends in front of this listener, and no proxy is trusted: every request seems to come from there; write 'tls: true' with certificates, or name the proxy in trustedProxies"
        ]
      ),
      (
        "trustedProxies: [0.0.0.0/0, \"::/0\"]\n",
        [
          "c.yaml:1:17: warning: trustedProxies: 0.0.0.0/0 is everybody: any client can claim any address; name the addresses of the proxies alone",
          "c.yaml:1:17: warning: trustedProxies: ::/0 is everybody: any client can claim any address; name the addresses of the proxies alone",
        ]
      ),
      (
        "forwardedField: forwarded\n",
        ["c.yaml:1:17: warning: forwardedField: no effect: no proxy is trusted; name them in trustedProxies, or remove the key"]
      ),
      (
        Self.secure.replacing("tls: {", with: "tls: {clientAuthorities: ca.pem, "),
        [
          "c.yaml:2:26: warning: tls.clientAuthorities: no effect: no listener asks for client certificates; write 'clientCertificates: required' at one, or remove it"
        ]
      ),
    ]
    for (text, warnings) in rows {
      let reading = Fixture.read(text + Fixture.minimal, files: files)
      #expect(reading.errors == [] && reading.warnings.map(\.description) == warnings, "\(text)")
    }
    let http = Self.secure + Fixture.minimal.replacing("https://intercom", with: "http://intercom")
    #expect(Fixture.warnings(http, files: files).contains { $0.contains("session cookies are not Secure") })
  }

  @Test(
    "A certificate that has expired, or is not good yet, is a warning and no fault: a restart takes nothing down that half works (fault 58)"
  )
  func times() async throws {
    for (days, shift, words) in [
      (90, Duration.zero, nil), (90, .seconds(77 * 86_400), "expires on"), (90, .seconds(91 * 86_400), "expired on"),
      (-1, .zero, "expired on"),
      (90, .seconds(-86_400 * 2), "is not valid before"),
    ] {
      let time = ShiftedTime()
      time.setWall(off: shift)
      let reading = Fixture.read(Self.secure + Fixture.minimal, files: try await Self.files(days: days), time: time)
      #expect(reading.configuration != nil && reading.errors == [])
      #expect(reading.warnings.map(\.description).count == (words == nil ? 0 : 1), "\(reading.warnings)")
      if let words { #expect(reading.warnings.allSatisfy { $0.problem.contains(words) && $0.path == "tls.certificates.main.chain" }) }
    }
  }

  @Test("config check prints each certificate's names and when it expires")
  func report() async throws {
    let files = try await Self.files(names: "DNS:intercom.example.org,DNS:*.apps.example.org,IP:192.0.2.1,IP:2001:db8::1")
    let reading = Fixture.read("trustedProxies: 192.0.2.7\n" + Self.secure + Fixture.minimal, files: files)
    let text = ConfigurationReport("c.yaml", reading).text
    #expect(text.contains("listen        0.0.0.0:8443 (TLS)\n"))
    #expect(
      text.contains("certificate   main: intercom.example.org *.apps.example.org 192.0.2.1 2001:db8::1; expires "), "\(text)")
    #expect(text.contains("TLS           1.2 and later, HTTP/2 and HTTP/1.1\n"))
    #expect(text.contains("behind        192.0.2.7, which name clients in X-Forwarded-For\n"))
  }
}
