import DemoWorkplace
import HTTPMessage
import HTTPServer
import IntercomCore
import IntercomTesting
import JOSE
import Sessions
import Synchronization
import Testing

/// A storm: sessions of two users whose tokens all expire at one moment, and for each of them 200 requests at once over three backends.
///
/// The provider takes 200 ms for each token, rotates refresh tokens and ends the session of one that comes twice. The backends answer with whom
/// their token names, so that each answer says whose token it was made with.
struct Storm: Sendable {
  /// At once, for each session.
  let requests: Int
  /// The routes, and whom their tokens are for.
  static let audiences = [("fs", "files"), ("fs2", "other-files"), ("own", "intercom")]
  static let tokenLife: Int64 = 20

  let flow: FlowFixture
  let watch: TokenWatch
  let people: [Person]
  /// One for each replica.
  private let volleys: [Volley]
  private let pass: @Sendable (Duration) async throws -> Void

  /// One session, as its browser has it.
  struct Person: Sendable {
    let subject: String
    let cookie: String
    /// The provider's name of the session, learnt from the first answer.
    let sid: String
  }

  static func options(_ store: StoreKind, _ folder: TestFolder) -> FlowFixture.Options {
    FlowFixture.Options(
      lifetimes: lifetimes,
      deployment: { deployment in
        // Every round takes 20 s off the clocks, and there are ten thousand.
        deployment.sessions = SessionSettings(idle: .seconds(1 << 30), absolute: .seconds(1 << 30))
        if store == .sqlite { deployment.store = .sqlite(path: folder.file("sessions.db")) }
      })
  }
  enum StoreKind: String, Sendable, CaseIterable { case memory, sqlite }

  private static var lifetimes: ProviderLifetimes {
    var lifetimes = ProviderLifetimes()
    lifetimes.accessToken = tokenLife
    lifetimes.idToken = tokenLife
    lifetimes.session = 1 << 30
    lifetimes.refreshToken = 1 << 30
    return lifetimes
  }

  /// Signs `sessions` browsers in, alice and bob in turn.
  ///
  /// - Parameters:
  ///   - ports: of the replicas that are asked in turn; nil: there is one.
  ///   - requests: at once, for each session.
  ///   - pause: how long the provider takes for a token.
  ///   - pass: lets the time pass after which all tokens have expired.
  init(
    _ flow: FlowFixture, sessions: Int, requests: Int = 200, ports: [Int]? = nil, pause: Duration = .milliseconds(200),
    pass: (@Sendable (Duration) async throws -> Void)? = nil
  ) async throws {
    self.flow = flow
    self.requests = requests
    self.pass = pass ?? { flow.time.advance(by: $0) }
    watch = TokenWatch()
    let watch = watch
    flow.upstream.answer { Self.backend($0) }
    flow.provider.answer { request in
      guard request.path.hasSuffix("/token"), watch.note(request) else { return nil }
      try await SystemTime().sleep(for: pause)
      return nil
    }
    var people: [Person] = []
    for number in 0..<sessions {
      let user = number.isMultiple(of: 2) ? "alice" : "bob"
      let visitor = try await flow.signedIn(user)
      let cookie = try #require(await visitor.jar["intercom"]?.value)
      let words = try await flow.fetch(visitor, "GET", "/own/first").text.split(separator: " ").map(String.init)
      people.append(Person(subject: "\(user)-id", cookie: cookie, sid: try #require(words.last)))
    }
    self.people = people
    let ports = ports ?? [flow.port]
    volleys = try ports.map { try Volley(count: sessions * requests / ports.count, port: $0, authority: "intercom.localhost:\($0)") }
  }

  /// Says whom the token of a request names: subject, audience, session.
  private static func backend(_ request: SeenRequest) -> Response? {
    guard let field = request.field("authorization"), let token = try? UnverifiedJWS.parse(String(field.dropFirst(7))),
      let claims = try? token.unverifiedClaims()
    else { return Response(500, [:], Array("no token".utf8)) }
    let text = "\(claims["sub"]?.string ?? "-") \(claims["aud"]?.string ?? "-") \(claims["sid"]?.string ?? "-")"
    return Response(200, ["Content-Type": "text/plain"], Array(text.utf8))
  }

  struct Outcome: Sendable {
    var answers = 0
    var refreshes = 0
    var exchanges = 0
    /// What was not as it must be, in words.
    var faults: [String] = []
  }

  /// All tokens expire, and every session asks 200 times at once, everything in a random order.
  func round(_ random: inout SplitMix64) async throws -> Outcome {
    try await pass(.seconds(Self.tokenLife + 1))
    watch.forget()
    flow.provider.forget()
    flow.upstream.forget()
    var order = people.indices.flatMap { person in (0..<requests).map { (person, Self.audiences[$0 % Self.audiences.count]) } }
    order.shuffle(using: &random)
    let app = flow.app
    let shots = order.map { person, route in
      Volley.Shot("/\(route.0)/x", ["Origin: \(app)", "Cookie: intercom=\(people[person].cookie)"])
    }
    let size = order.count / volleys.count
    let answers = try await withThrowingTaskGroup(of: (Int, [Volley.Answer]).self) { group in
      for (number, volley) in volleys.enumerated() {
        let part = Array(shots[(number * size)..<((number + 1) * size)])
        group.addTask { (number, try await volley.fire(part)) }
      }
      return try await group.reduce(into: []) { $0.append($1) }.sorted { $0.0 < $1.0 }.flatMap(\.1)
    }
    var outcome = Outcome()
    for ((person, route), answer) in zip(order, answers) {
      let wanted = "\(people[person].subject) \(route.1) \(people[person].sid)"
      if answer.status == 200, answer.body == wanted {
        outcome.answers += 1
      } else {
        outcome.faults.append("\(route.0) of session \(person): \(answer.status) \(answer.body), wanted \(wanted)")
      }
    }
    let calls = watch.calls
    outcome.refreshes = calls.filter { $0.key.hasPrefix("refresh") }.values.reduce(0, +)
    outcome.exchanges = calls.filter { $0.key.hasPrefix("exchange") }.values.reduce(0, +)
    // Each replica exchanges for itself; what is refreshed belongs to all.
    outcome.faults += calls.filter { $0.value > ($0.key.hasPrefix("exchange") ? volleys.count : 1) }
      .map { "\($0.key) was asked \($0.value) times" }
    if outcome.refreshes != people.count { outcome.faults.append("\(outcome.refreshes) refreshes for \(people.count) sessions") }
    let exchanges = people.count * (Self.audiences.count - 1)
    if !(exchanges...(exchanges * volleys.count)).contains(outcome.exchanges) {
      outcome.faults.append("\(outcome.exchanges) exchanges, wanted \(exchanges)")
    }
    return outcome
  }
}

/// Counts what the token endpoint is asked, by session and audience.
final class TokenWatch: Sendable {
  private let seen = Mutex([String: Int]())
  var calls: [String: Int] { seen.withLock { $0 } }
  func forget() { seen.withLock { $0 = [:] } }

  /// Notes a refresh or an exchange; false for another call.
  func note(_ request: SeenRequest) -> Bool {
    guard let form = try? FormFields(parsing: request.body), let grant = form.single("grant_type").map({ Identifier($0) }) else {
      return false
    }
    let key: String
    if grant == "refresh_token" {
      // The provider's refresh tokens begin with what all tokens of one sign-in have in common.
      key = "refresh " + (form.single("refresh_token") ?? "").prefix { $0 != "." }
    } else if grant == "urn:ietf:params:oauth:grant-type:token-exchange" {
      let claims = try? UnverifiedJWS.parse(form.single("subject_token") ?? "").unverifiedClaims()
      key = "exchange \(form.single("audience") ?? "-") \(claims?["sid"]?.string ?? "-")"
    } else {
      return false
    }
    seen.withLock { $0[key, default: 0] += 1 }
    return true
  }
}
