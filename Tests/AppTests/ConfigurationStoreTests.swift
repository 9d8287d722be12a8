import ConfigurationYAML
import IntercomTesting
import Testing

@testable import IntercomApp

@Suite("Configuration: where sessions live")
struct ConfigurationStoreTests {
  private typealias Fixture = ConfigurationFixture
  private static let key = "keys: [MDEyMzQ1Njc4OWFiY2RlZjAxMjM0NTY3ODlhYmNkZWY=]"

  /// With the default store: the fixture would name another one.
  private func read(_ settings: String, foresee: @escaping ForeseeStore = { _ in nil }) -> ConfigurationReading {
    Fixture.read(Fixture.minimal + settings, ["INTERCOM_CFG_SESSIONS__STORE": "sqlite"], foresee: foresee)
  }

  @Test("with a file sessions are kept in SQLite, at a place that survives, and the keys that seal them are demanded")
  func standard() throws {
    let loader = ConfigurationLoader(environment: [:])
    func errors(_ settings: String) -> [String] {
      loader.read(Array((Fixture.minimal + settings).utf8), file: "c.yaml").errors.map(\.description)
    }
    #expect(
      errors("") == [
        "c.yaml:1:1: sessions.keys: missing: stored sessions are sealed; write keys: [{fromFile: …}] with a key made by: openssl rand -base64 32 | tr '+/' '-_'"
      ])
    #expect(errors("sessions: {store: memory}\n") == [])
    let reading = loader.read(Array((Fixture.minimal + "sessions: {\(Self.key)}\n").utf8), file: "c.yaml")
    let sessions = try #require(reading.configuration).sessions
    #expect(sessions.store == .sqlite && sessions.path == "/var/lib/intercom/sessions.db" && sessions.keys.count == 1)
  }

  @Test("a relative path begins at the directory of the configuration file")
  func relative() throws {
    let text = Fixture.minimal + "sessions: {path: state/s.db, \(Self.key)}\n"
    let reading = ConfigurationLoader(environment: [:]).read(Array(text.utf8), file: "/etc/intercom/c.yaml")
    #expect(reading.configuration?.sessions.path == "/etc/intercom/state/s.db")
  }

  @Test("a path beside a store that has no file is reported, and a folder in its place is refused")
  func pathWithoutMeaning() {
    #expect(
      Fixture.warnings(Fixture.minimal + "sessions: {store: memory, path: /x/s.db}\n") == [
        "c.yaml:8:33: warning: sessions.path: no effect with the store 'memory'; remove it, or write store: sqlite"
      ])
    #expect(
      read("sessions: {path: /x/, \(Self.key)}\n").errors.map(\.description) == [
        "c.yaml:8:18: sessions.path: '/x/' is a folder; name the file in it, such as sessions.db"
      ])
  }

  @Test("what can be told about the database without opening it is a warning: the check may run elsewhere")
  func foreseen() {
    let reading = read("sessions: {path: /x/s.db, \(Self.key)}\n") { path in
      path == "/x/s.db" ? ("its folder does not exist", "create it") : nil
    }
    #expect(reading.errors == [])
    #expect(
      reading.warnings.map(\.description) == [
        "c.yaml:8:18: warning: sessions.path: the session database '/x/s.db': its folder does not exist; create it"
      ])
  }
}
