import Cryptography
import HTTPMessage
import IntercomCore
import JOSE
import StrictJSON

/// The provider's own session: a person who signed in with one browser.
struct ProviderSession {
  let id: Identifier
  /// SHA-256 of the cookie's value.
  var cookieHash: Identifier
  let subject: Identifier
  var authenticatedAt: WallInstant
  let end: WallInstant
  /// The clients that got tokens: they are told when it ends.
  var clients: Set<Identifier> = []
}

/// What an authorization code stands for. It stays known after its use, so that a second use is noticed.
struct AuthorizationCode {
  let client: Identifier
  let redirectURI: Identifier
  let scope: [Identifier]
  let nonce: String?
  let challenge: Identifier?
  let session: Identifier
  var redeemedAs: Identifier?
}

/// All tokens that descend from one authorization code.
struct TokenFamily {
  let client: Identifier
  let subject: Identifier
  let session: Identifier
  let scope: [Identifier]
  let authenticatedAt: WallInstant
  /// SHA-256 of the only refresh token that is good now.
  var refreshHash: [UInt8]
  var survivesSession: Bool { scope.contains("offline_access") }
}

/// The embedded provider without clocks and sockets: what it issues and what it checks. Each method is one event, given the time.
struct ProviderCore {
  let configuration: ProviderConfiguration
  let urls: ProviderURLs
  /// The first one signs; all are published.
  let keys: [SigningKey]
  let signingKey: SigningKey
  let keySet: JSONWebKeySet
  let random: any RandomSource
  /// Seals the request that waits on the sign-in page; bound to the visitor's browser, so that nobody signs a victim in as somebody else.
  let ring: KeyRing

  var sessions: ExpiringTable<ProviderSession>
  var sessionsByCookie: ExpiringTable<Identifier>
  var codes: ExpiringTable<AuthorizationCode>
  var families: ExpiringTable<TokenFamily>
  /// `jti` of access tokens that were revoked one by one.
  var revoked: ExpiringTable<Bool>
  /// Taken by the driver after every event.
  var events: [ProviderEvent] = []

  /// Throws when a key cannot be published or no key is given.
  init(_ configuration: ProviderConfiguration, keys: [SigningKey], random: any RandomSource) throws {
    guard let first = keys.first else { throw ProviderFault(.serverError, "a provider needs a signing key") }
    self.configuration = configuration
    self.keys = keys
    self.random = random
    urls = ProviderURLs(issuer: configuration.issuer)
    signingKey = first
    keySet = try JSONWebKeySet.parse(JSONWebKeySet.document(keys))
    ring = try KeyRing([Secret(random.bytes(32))], random: random)
    sessions = ExpiringTable(capacity: configuration.capacity)
    sessionsByCookie = ExpiringTable(capacity: configuration.capacity)
    codes = ExpiringTable(capacity: configuration.capacity)
    families = ExpiringTable(capacity: configuration.capacity)
    revoked = ExpiringTable(capacity: configuration.capacity)
  }

  /// A value nobody can guess, as base64url.
  func token(bytes count: Int = 32) -> String { Base64URL.encode(random.bytes(count)) }

  static func hash(_ text: String) -> Identifier { Identifier(bytes: sha256(Array(text.utf8))) }

  func client(_ id: Identifier?) -> ProviderClient? { configuration.clients.first { $0.id == id } }
  func user(subject: Identifier) -> ProviderUser? { configuration.users.first { $0.subject == subject } }

  // MARK: Sessions

  /// The session of a browser; a cookie may come more than once, and those that fit nothing are skipped.
  func session(cookies: [String], now: WallInstant) -> ProviderSession? {
    for cookie in cookies {
      guard let id = sessionsByCookie.value(Self.hash(cookie), now: now), let session = sessions.value(id, now: now) else { continue }
      return session
    }
    return nil
  }

  /// Signs a person in under a new cookie, which is returned. The same person keeps the session; somebody else's ends first.
  mutating func startSession(_ user: ProviderUser, replacing old: ProviderSession?, now: WallInstant) -> (ProviderSession, cookie: String) {
    let cookie = token()
    let hash = Self.hash(cookie)
    if let old { sessionsByCookie.remove(old.cookieHash) }
    if var session = old, session.subject == user.subject {
      session.cookieHash = hash
      session.authenticatedAt = now
      sessions.set(session.id, session, until: session.end, now: now)
      sessionsByCookie.set(hash, session.id, until: session.end, now: now)
      return (session, cookie)
    }
    let end = now.advanced(by: .seconds(configuration.lifetimes.session))
    let session = ProviderSession(
      id: Identifier(token(bytes: 16)), cookieHash: hash, subject: user.subject, authenticatedAt: now, end: end)
    sessions.set(session.id, session, until: end, now: now)
    sessionsByCookie.set(hash, session.id, until: end, now: now)
    return (session, cookie)
  }

  /// Ends a session and gives what must be told to whom.
  mutating func endSession(_ id: Identifier, now: WallInstant) -> [LogoutDelivery] {
    guard let session = sessions.remove(id) else { return [] }
    sessionsByCookie.remove(session.cookieHash)
    events.append(.signedOut(user: user(subject: session.subject)?.username.description ?? "somebody"))
    return session.clients.sorted().compactMap { logoutDelivery(to: $0, session, now: now) }
  }

  /// Ends all sessions of a person.
  mutating func endSessions(of username: Identifier, now: WallInstant) -> [LogoutDelivery] {
    guard let user = configuration.users.first(where: { $0.username == username }) else { return [] }
    let ids = sessions.keys(where: { $0.subject == user.subject })
    var deliveries: [LogoutDelivery] = []
    for id in ids { deliveries += endSession(id, now: now) }
    return deliveries
  }

  // MARK: Clients

  /// Client authentication ([RFC 6749 §2.3](https://www.rfc-editor.org/rfc/rfc6749#section-2.3)): `client_secret_basic`,
  /// `client_secret_post`, or none for public clients; never two ways at once.
  func authenticate(_ form: ProviderParameters, authorization: String?) throws(ProviderFault) -> ProviderClient {
    let failed = ProviderFault(.invalidClient, "client authentication failed")
    var id = form.identifier("client_id")
    var secret = form["client_secret"]
    if let authorization {
      guard secret == nil else { throw ProviderFault(.invalidRequest, "more than one way of client authentication") }
      guard let basic = Self.basic(authorization), id == nil || id == Identifier(basic.user) else { throw failed }
      (id, secret) = (Identifier(basic.user), basic.password)
    }
    // An unknown client costs the same comparison, so that the time does not tell who is registered.
    let client = self.client(id)
    let expected = client?.secret?.reveal() ?? ""
    let matches = constantTimeEqual(sha256(Array((secret ?? "").utf8)), sha256(Array(expected.utf8)))
    guard let client else { throw failed }
    guard client.secret != nil else {
      guard secret == nil else { throw failed }
      return client
    }
    guard matches, secret != nil else { throw failed }
    return client
  }

  /// User and password of `Authorization: Basic`, each form-encoded as OAuth demands.
  static func basic(_ authorization: String) -> (user: String, password: String)? {
    let parts = authorization.utf8.split(separator: UInt8(ascii: " "))
    guard parts.count == 2, parts[0].map({ $0 | 0x20 }) == Array("basic".utf8), let bytes = Base64.decode(Array(parts[1])),
      let colon = bytes.firstIndex(of: UInt8(ascii: ":")), let user = PercentCoding.decode(bytes[..<colon], plusIsSpace: true),
      let password = PercentCoding.decode(bytes[(colon + 1)...], plusIsSpace: true)
    else { return nil }
    return (String(decoding: user, as: UTF8.self), String(decoding: password, as: UTF8.self))
  }

  /// The token of `Authorization: Bearer` ([RFC 6750 §2.1](https://www.rfc-editor.org/rfc/rfc6750#section-2.1)).
  static func bearer(_ authorization: String?) -> String? {
    let parts = (authorization ?? "").utf8.split(separator: UInt8(ascii: " "))
    guard parts.count == 2, parts[0].map({ $0 | 0x20 }) == Array("bearer".utf8) else { return nil }
    return String(decoding: Array(parts[1]), as: UTF8.self)
  }
}

/// A logout token on its way to a client.
struct LogoutDelivery: Sendable {
  let client: Identifier
  let url: String
  let token: Secret<String>
}

/// Where the provider's endpoints are, below its issuer.
package struct ProviderURLs: Sendable {
  package let issuer: String
  /// The issuer's path: "" for an issuer that is an origin.
  package let pathPrefix: String
  package let isSecure: Bool

  package init(issuer: String) {
    self.issuer = issuer
    isSecure = issuer.utf8.starts(with: "https:".utf8)
    let rest = issuer.drop { $0 != "/" }.drop { $0 == "/" }
    pathPrefix = String(rest.drop { $0 != "/" })
  }

  /// The path of an endpoint as it stands in a request.
  package func path(_ endpoint: ProviderPath) -> String { pathPrefix + endpoint.rawValue }
  package func url(_ endpoint: ProviderPath) -> String { issuer + endpoint.rawValue }
}

/// The provider's endpoints, by their path below the issuer.
package enum ProviderPath: String, Sendable, CaseIterable {
  case discovery = "/.well-known/openid-configuration"
  case keys = "/jwks"
  case authorize = "/authorize"
  case signIn = "/sign-in"
  case token = "/token"
  case userInfo = "/userinfo"
  case revoke = "/revoke"
  case endSession = "/end-session"
  case confirmSignOut = "/sign-out"
}
