import Cryptography
import Gateway
import HTTPMessage
import IntercomCore
import IntercomTesting
import Sessions
import Testing

/// One entrance of the running instance: a route of the configuration or one of Intercom's own. Tests walk all of them, so that a route
/// which is added later cannot be missed (S35).
struct Door: Sendable, CustomStringConvertible {
  enum Kind: Sendable, Equatable {
    /// Needs a session.
    case session
    case open
    case own(String)
  }
  let route: Route
  let kind: Kind
  /// A path that this route takes.
  let target: String

  var description: String { target }
  var methods: [String] { route.methods.methods.map(\.name) }
  /// Does a backend of it get something that only the provider can give?
  var needsProvider: Bool {
    switch route.credential {
    case .accessToken, .exchange: true
    default: false
    }
  }

  init(_ route: Route) {
    self.route = route
    let path = String(decoding: route.path.bytes, as: UTF8.self)
    target = route.exact ? (path.isEmpty ? "/" : path) : path + "/door"
    if case .own(let id) = route.kind {
      kind = .own(id.name.description)
    } else {
      kind = route.isPublic ? .open : .session
    }
  }
}

extension FlowFixture {
  /// Every entrance, from the route table itself, but for the one whose answer to a session has no end: FlowSessionEventTests asks it.
  var doors: [Door] { routes.map(Door.init).filter { $0.kind != .own("session-events") } }
  var guardedDoors: [Door] { doors.filter { $0.kind == .session } }

  /// What a client may send to be taken for somebody else: each value has the word `forged` in it.
  static let forgedIdentity: [(String, String)] = [
    ("X-Remote-User", "forged"), ("x-remote-user", "forged"), ("X_Remote_User", "forged"), ("X-Groups", "forged"),
    ("Authorization", "Bearer forged"), ("Proxy-Authorization", "Basic forged"), ("X-Forwarded-For", "forged"),
    ("X-Forwarded-Host", "forged.example"), ("X-Forwarded-Proto", "forged"), ("X-Forwarded-Uri", "/forged"),
    ("X-Forwarded-Prefix", "/forged"), ("X-Forwarded-User", "forged"), ("Forwarded", "for=forged"), ("X-Real-IP", "forged"),
    ("X-Original-URL", "/forged"), ("X-Original-URI", "/forged"), ("X-Rewrite-URL", "/forged"), ("X-Envoy-Original-Path", "/forged"),
    ("True-Client-IP", "forged"), ("X-Client-IP", "forged"), ("X-CSRF-Token", "forged"),
    ("Connection", "X-Remote-User, X-Groups, Authorization, X-Forwarded-For, Forwarded, Via"),
  ]

  /// A session that nobody signed in for: as it would be after a login of this user. Its cookie's value.
  func plantedSession(
    subject: Identifier = "planted-id", sid: Identifier? = nil, keys: [UInt8]? = nil, claims: [String] = ["planted"],
    in other: (any SessionStore)? = nil
  ) async throws -> String {
    let ring = try KeyRing([Secret(keys ?? sealingKey)])
    let manager = SessionManager(store: other ?? store, keys: ring, time: time, random: SystemRandom())
    let tokens = SessionTokens(
      accessToken: Secret("planted-access-token"), received: time.wallNow(), accessExpiry: time.wallNow().advanced(by: .seconds(300)),
      refreshToken: Secret("planted-refresh-token"), idToken: Secret("planted-id-token"))
    let login = VerifiedLogin(
      issuer: Identifier(issuer), subject: subject, sid: sid,
      claims: ["sub": .string(subject.description), "preferred_username": .string(claims[0])], tokens: tokens)
    return String(decoding: try await manager.create(from: login).id.cookieValue, as: UTF8.self)
  }

  /// A request with exactly this session cookie, as an allowed page's script makes it; nil: none.
  func ask(_ method: String, _ target: String, cookie: String?, _ fields: [(String, String)]? = nil) async throws -> HTTPAnswer {
    let own = cookie.map { [("Cookie", "intercom=\($0)")] } ?? []
    let fields = fields ?? [("Origin", app), ("Sec-Fetch-Mode", "cors"), ("Sec-Fetch-Dest", "empty")]
    var address = try url("/")
    // As it is: no part of it is dropped.
    address.target = target
    return try await client.send(method, address, fields: own + fields, body: ["POST", "PUT", "PATCH"].contains(method) ? [] : nil)
  }
}
