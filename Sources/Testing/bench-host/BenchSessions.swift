import Cryptography
import IntercomApp
import IntercomCore
import Linux
import Sessions
import StrictJSON
import Telemetry

/// Sessions that a store is filled with, as large as those of a Keycloak with a few roles: 3.4 KB before sealing.
struct BenchSessions: Sendable {
  /// The sizes of a session's tokens, in bytes.
  private enum Size {
    static let accessToken = 750
    static let refreshToken = 750
    static let idToken = 950
  }
  /// Logins that are under way at once: as many as let a store group its commits.
  private static let width = 256

  let configuration: Configuration
  /// Whose they are all; nil: each a person's of its own.
  var subject: String?
  private let random = SystemRandom()

  init(configuration file: String) throws {
    let reading = ConfigurationLoader(environment: [:]).load(file)
    guard let configuration = reading.configuration else {
      throw BenchFault(description: reading.errors.map(\.description).joined(separator: "\n"))
    }
    self.configuration = configuration
  }

  /// Makes `count` sessions and prints the cookie of each.
  func fill(_ store: any SessionStore, keys: KeyRing, settings: SessionSettings, count: Int) async throws {
    let manager = SessionManager(store: store, keys: keys, settings: settings, time: SystemTime(), random: random)
    var made = 0
    while made < count {
      let next = min(count, made + Self.width)
      try await withThrowingTaskGroup(of: String.self) { group in
        for number in made..<next {
          group.addTask {
            let (id, _) = try await manager.create(from: login(number, now: manager.now()))
            return String(decoding: id.cookieValue, as: UTF8.self)
          }
        }
        for try await cookie in group { BenchHost.say(cookie) }
      }
      made = next
    }
  }

  /// The issuer is the provider's; the tokens are random text of the right length and shape, which no warm request ever looks at.
  private func login(_ number: Int, now: WallInstant) -> VerifiedLogin {
    let issuer = Identifier(configuration.provider.issuer.text)
    let subject = Identifier(subject ?? "user-\(number)")
    let claims: JSONObject = [
      "iss": .string(issuer.description), "sub": .string(subject.description), "aud": "intercom", "azp": "intercom",
      "preferred_username": .string("user\(number)"), "name": .string("User Number \(number)"), "given_name": "User",
      "family_name": .string("Number \(number)"), "email": .string("user\(number)@example.org"), "email_verified": true,
      "acr": "1", "groups": ["staff", "everyone", "mail-users", "files-users"], "locale": "en",
    ]
    let tokens = SessionTokens(
      accessToken: token(Size.accessToken), received: now, accessExpiry: now.advanced(by: .seconds(12 * 3600)),
      refreshToken: token(Size.refreshToken), refreshExpiry: now.advanced(by: .seconds(12 * 3600)), idToken: token(Size.idToken))
    return VerifiedLogin(issuer: issuer, subject: subject, sid: Identifier("sid-\(number)"), claims: claims, tokens: tokens)
  }

  private func token(_ length: Int) -> Secret<String> {
    var text = Base64URL.encode(random.bytes((length * 3 + 3) / 4))
    text.removeLast(text.utf8.count - length)
    return Secret(text)
  }
}

/// The store that a configuration names, with sessions in it.
enum SeededStore {
  static func write(configuration: String, sessions count: Int, subject: String?) async throws {
    var sessions = try BenchSessions(configuration: configuration)
    sessions.subject = subject
    let deployment = try Deployment(sessions.configuration, log: .none, random: SystemRandom())
    let storage = try await OpenStorage.open(deployment, MetricRegistry())
    try await sessions.fill(storage.store, keys: deployment.keys, settings: deployment.sessions, count: count)
    await storage.close()
    BenchHost.say("ready")
  }
}
