import ConfigurationYAML
import IntercomTesting
import Testing

@testable import IntercomApp

@Suite("Configuration: secrets and garbage")
struct ConfigurationSecretsTests {
  private typealias Fixture = ConfigurationFixture

  private static let canary = "CANARYcanary0123456789CANARYcanary0123456789"
  /// Every place where a secret can stand.
  private static let text = """
    baseURL: https://intercom.example.org
    provider:
      issuer: https://id.example.org
      clientID: intercom
      clientSecret: \(canary)
    sessions:
      keys: [\(canary)]
    routes:
      portal:
        path: /portal
        upstream: http://127.0.0.1:9001
        credential:
          basic:
            usernameClaim: sub
            secret: \(canary)

    """

  private func expectNoCanary(_ reading: ConfigurationReading, _ what: String) {
    let report = ConfigurationReport("c.yaml", reading)
    var dumped = ""
    dump(reading, to: &dumped)
    for shown in [report.text, String(decoding: report.json, as: UTF8.self), dumped, "\(reading)", String(reflecting: reading)] {
      #expect(!shown.uppercased().contains("CANARY"), "\(what): \(shown.prefix(2000))")
    }
  }

  @Test("no secret of a right configuration is in its report, dump or description")
  func rightConfiguration() throws {
    let reading = Fixture.read(Self.text)
    #expect(reading.errors == [])
    #expect(reading.configuration?.provider.clientSecret.reveal() == Self.canary)
    expectNoCanary(reading, "right")
  }

  @Test(
    "a secret that is written in a wrong way is not shown",
    arguments: [
      ("clientSecret: CANARY", "clientsecret: CANARY"), ("clientSecret: CANARY", "clientSecret: [CANARY, CANARY]"),
      ("clientSecret: CANARY", "clientSecret: {CANARY}"),
      ("clientSecret: CANARY", "clientSecret: {CANARY: x, CANARYx: y}"), ("clientSecret: CANARY", "clientSecret: {fromFile: CANARY}"),
      ("clientSecret: CANARY", "clientSecret: {fromFile: x, CANARY: y}"),
      ("clientSecret: CANARY", "clientSecret: !tag CANARY"), ("clientSecret: CANARY", "clientSecret: &anchor CANARY"),
      ("clientSecret: CANARY", "clientSecret: \"CANARY\n  \""),
      ("clientSecret: CANARY", "clientSecret: |\n    CANARY\n    CANARY\n"), ("clientSecret: CANARY", "clientSecret: \"CANARY\\0\""),
      ("clientSecret: CANARY", "clientSecret: 'CANARY"),
      ("clientSecret: CANARY", "clientSecret CANARY"), ("clientSecret: CANARY", "clientSecret: @CANARY"),
      ("clientSecret: CANARY", "clientSecret: CANARY: x"),
      ("clientSecret: CANARY", "clientSecret: *CANARY"), ("keys: [CANARY]", "keys: [CANARY, CANARY]"),
      ("keys: [CANARY]", "keys: [CANARY!]"), ("keys: [CANARY]", "keys: {a: CANARY}"),
      ("keys: [CANARY]", "keys: [{CANARY: CANARY}]"), ("keys: [CANARY]", "key: [CANARY]"), ("secret: CANARY", "password: CANARY"),
      ("secret: CANARY", "secret:\n          - CANARY"),
      ("credential:\n", "credential: CANARY\n    basic:\n"),
      ("issuer: https://id.example.org", "issuer: https://alice:CANARY@id.example.org"),
      ("upstream: http://127.0.0.1:9001", "upstream: http://alice:CANARY@127.0.0.1:9001"),
      ("baseURL: https://intercom.example.org", "baseURL: https://CANARY@intercom.example.org"),
    ])
  func wrongConfiguration(part: String, replacement: String) {
    let text = Self.text.replacing(part.replacing("CANARY", with: Self.canary), with: replacement.replacing("CANARY", with: Self.canary))
    #expect(text != Self.text)
    let reading = Fixture.read(text)
    #expect(!reading.errors.isEmpty)
    expectNoCanary(reading, replacement)
  }

  @Test(
    "a secret of the environment is not shown",
    arguments: [
      "INTERCOM_CFG_PROVIDER__CLIENT_SECRET", "INTERCOM_CFG_PROVIDER__CLIENT_SECRET_FILE", "INTERCOM_CFG_PROVIDER__CLIENTSECRT",
      "INTERCOM_CFG_SESSIONS__KEYS",
      "INTERCOM_CFG_SESSIONS__KEYS_FILE", "INTERCOM_CFG_ROUTES__PORTAL__CREDENTIAL__BASIC__SECRET",
      "INTERCOM_CFG_ROUTES__PORTAL__CREDENTIAL", "INTERCOM_CFG_NONE",
    ])
  func environment(name: String) {
    expectNoCanary(Fixture.read(Self.text, [name: Self.canary]), name)
    expectNoCanary(Fixture.read(Self.text, [name: Self.canary + "\n" + Self.canary]), name)
    expectNoCanary(Fixture.read(Self.text, [name: "x"], files: ["x": Self.canary + "\n\n"]), name)
  }

  @Test("no cut and no changed byte of a file ends the process or shows a secret (S24, S29)")
  func garbage() {
    let bytes = Array(Self.text.utf8)
    var random = SplitMix64(state: 0x9E37_79B9_7F4A_7C15)
    var refused = 0
    for cut in 0..<bytes.count { refused += count(Array(bytes.prefix(cut))) }
    for _ in 0..<3000 {
      var changed = bytes
      for _ in 0...Int(random.next() % 4) {
        let index = Int(random.next() % UInt64(changed.count))
        switch random.next() % 4 {
        case 0: changed[index] = UInt8(truncatingIfNeeded: random.next())
        case 1: changed.remove(at: index)
        case 2: changed.insert(Self.interesting[Int(random.next() % UInt64(Self.interesting.count))], at: index)
        default: changed.removeSubrange(index..<min(changed.count, index + Int(random.next() % 40)))
        }
        guard !changed.isEmpty else { break }
      }
      refused += count(changed)
    }
    #expect(refused > 1000)
  }

  private static let interesting = Array("\n\t :-[]{}&*!|>'\"%@`#,?\\\u{0}".utf8)

  private func count(_ bytes: [UInt8]) -> Int {
    let loader = ConfigurationLoader(environment: [:]) { (name: String) throws(ConfigurationFileError) -> ConfigurationFile in
      throw ConfigurationFileError("no")
    }
    let reading = loader.read(bytes, file: "c.yaml")
    #expect(reading.errors.isEmpty == (reading.configuration != nil))
    return reading.errors.isEmpty ? 0 : 1
  }

  /// Named, so that a result does not print a megabyte.
  enum Hostile: String, CaseIterable, Sendable {
    case everyByte, zeros, letters, repeatedKeys, tenThousandRoutes

    var bytes: [UInt8] {
      switch self {
      case .everyByte: [UInt8](0...255)
      case .zeros: [UInt8](repeating: 0, count: 1 << 20)
      case .letters: [UInt8](repeating: 0x61, count: 2 << 20)
      case .repeatedKeys: Array(("routes:\n" + String(repeating: "  a: {path: /a}\n", count: 30_000)).utf8)
      case .tenThousandRoutes: Array(("routes:\n" + (0..<10_000).map { "  r\($0): {path: /a, pth: /\($0)}\n" }.joined()).utf8)
      }
    }
  }

  @Test("binary, giant and repeating files are refused within seconds", arguments: Hostile.allCases)
  func hostile(file: Hostile) {
    let clock = ContinuousClock()
    let time = clock.measure {
      let reading = ConfigurationLoader(environment: [:]).read(file.bytes, file: "c.yaml")
      #expect(reading.configuration == nil)
      #expect(!reading.errors.isEmpty)
    }
    #expect(time < .seconds(20), "\(time)")
  }
}
