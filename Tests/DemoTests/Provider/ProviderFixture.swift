import Cryptography
import DemoWorkplace
import HTTPMessage
import HTTPServer
import IntercomCore
import IntercomTesting
import JOSE
import StrictJSON
import Synchronization
import Testing

/// A provider with two people and three clients, a clock that stands still, and a browser in front of it.
struct ProviderFixture {
  static let issuer = "http://id.intercom.localhost:8008"
  static let callback = "http://intercom.localhost:8008/callback"
  static let home = "http://intercom.localhost:8008/?bye=1"

  let time = ManualTime()
  let transport: InProcessTransport
  let provider: DemoProvider
  let browser: ProviderBrowser
  let endpoint: Endpoint
  let events = EventLog()

  final class EventLog: Sendable {
    private let list = Mutex<[ProviderEvent]>([])
    var all: [ProviderEvent] { list.withLock { $0 } }
    func add(_ event: ProviderEvent) { list.withLock { $0.append(event) } }
  }

  static func configuration(_ change: (inout ProviderConfiguration) -> Void = { _ in }) -> ProviderConfiguration {
    let alice = ProviderUser(
      subject: "9a1f", username: "alice", password: Secret("alice"), name: "Alice Ähre", email: "alice@example.org",
      claims: ["groups": ["staff"]])
    let bob = ProviderUser(subject: "77b0", username: "bob", password: Secret("bob"), name: "Bob", email: "bob@example.org")
    let gateway = ProviderClient(
      id: "intercom", secret: Secret("s3cret: with % and ü"), name: "Intercom", redirectURIs: [callback], postLogoutRedirectURIs: [home],
      backChannelLogoutURI: "http://intercom.localhost:8008/backchannel-logout", allowedAudiences: ["files", "mail"])
    let other = ProviderClient(
      id: "portal", secret: Secret("other"), name: "Portal", redirectURIs: ["http://portal/cb"],
      backChannelLogoutURI: "http://portal/logout", allowedAudiences: ["files"])
    let spa = ProviderClient(id: "spa", secret: nil, name: "Page", redirectURIs: ["http://spa/cb"], allowedAudiences: ["files"])
    var configuration = ProviderConfiguration(issuer: issuer, clients: [gateway, other, spa], users: [alice, bob], hint: "Try <alice>.")
    change(&configuration)
    return configuration
  }

  init(_ algorithm: Algorithm = .es256, _ change: (inout ProviderConfiguration) -> Void = { _ in }) throws {
    transport = InProcessTransport(time: time)
    let events = events
    provider = try DemoProvider(
      Self.configuration(change), keys: [SigningKey.generate(algorithm, keyID: "k1")], time: time, random: SystemRandom(),
      transport: transport, observe: { events.add($0) })
    endpoint = provider.endpoint
    browser = ProviderBrowser(endpoint, origin: Self.issuer)
  }

  static func authorizationURL(_ change: KeyValuePairs<String, String?> = [:]) -> String {
    var pairs: [(String, String)] = [
      ("client_id", "intercom"), ("redirect_uri", callback), ("response_type", "code"), ("scope", "openid profile email"),
      ("state", "st&te ü"), ("nonce", "n-1"), ("code_challenge", PKCEExample.challenge), ("code_challenge_method", "S256"),
    ]
    for (name, value) in change {
      pairs.removeAll { $0.0 == name }
      if let value { pairs.append((name, value)) }
    }
    return "\(issuer)/authorize?\(SplitURL.encode(pairs))"
  }

  /// Where the browser is sent by the authorization endpoint without a page between; nil for a page.
  func authorize(_ change: KeyValuePairs<String, String?> = [:]) async throws -> SplitURL? {
    try await browser.send(.get, Self.authorizationURL(change)).fields.single("location").flatMap { SplitURL($0) }
  }

  func signIn(_ name: String = "alice", _ change: KeyValuePairs<String, String?> = [:]) async throws -> SplitURL? {
    try await browser.signIn(Self.authorizationURL(change), name, name)
  }

  static func basic(_ id: String = "intercom", _ secret: String = "s3cret: with % and ü") -> Fields {
    func encode(_ text: String) -> String { String(SplitURL.encode([(text, "")]).dropLast()) }
    return Fields(["Authorization": "Basic \(Base64.encode(Array("\(encode(id)):\(encode(secret))".utf8)))"])
  }

  /// A request of a client itself, without the browser's cookies.
  func post(
    _ path: String, _ pairs: [(String, String)], _ fields: Fields = ProviderFixture.basic()
  ) async throws -> (status: Int, json: JSONObject, response: Response) {
    let client = ProviderBrowser(endpoint, origin: Self.issuer)
    let response = try await client.send(.post, path, form: pairs, fields: fields)
    let bytes = try await response.collectedBody()
    return (response.status.code, bytes.isEmpty ? [:] : try StrictJSON.object(bytes), response)
  }

  func redeem(_ code: String?, _ change: KeyValuePairs<String, String?> = [:], _ fields: Fields = ProviderFixture.basic()) async throws -> (
    status: Int, json: JSONObject, response: Response
  ) {
    var pairs = [
      ("grant_type", "authorization_code"), ("code", code ?? ""), ("redirect_uri", Self.callback), ("code_verifier", PKCEExample.verifier),
    ]
    for (name, value) in change {
      pairs.removeAll { $0.0 == name }
      if let value { pairs.append((name, value)) }
    }
    return try await post("/token", pairs, fields)
  }

  /// Signs in and redeems the code.
  func tokens(_ name: String = "alice", scope: String = "openid profile email") async throws -> JSONObject {
    let landed = try await signIn(name, ["scope": scope])
    let answer = try await redeem(landed?.parameters["code"])
    try #require(answer.status == 200, "\(answer.json)")
    return answer.json
  }

  func refresh(_ token: JSONValue?, scope: String? = nil) async throws -> (status: Int, json: JSONObject, response: Response) {
    try await post(
      "/token", [("grant_type", "refresh_token"), ("refresh_token", token?.string ?? "")] + (scope.map { [("scope", $0)] } ?? []))
  }

  func exchange(
    _ subject: JSONValue?, _ change: KeyValuePairs<String, String?> = [:], _ fields: Fields = ProviderFixture.basic()
  ) async throws -> (status: Int, json: JSONObject, response: Response) {
    var pairs = [
      ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"), ("subject_token", subject?.string ?? ""),
      ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"), ("audience", "files"),
    ]
    for (name, value) in change {
      pairs.removeAll { $0.0 == name }
      if let value { pairs.append((name, value)) }
    }
    return try await post("/token", pairs, fields)
  }

  func userInfo(_ token: JSONValue?) async throws -> (status: Int, json: JSONObject) {
    let response = try await browser.send(.get, "/userinfo", fields: Fields(["Authorization": "Bearer \(token?.string ?? "")"]))
    return (response.status.code, try StrictJSON.object(try await response.collectedBody()))
  }

  /// The claims of a token whose signature the published keys verify.
  func claims(_ token: JSONValue?) async throws -> VerifiedJWS {
    let response = try await browser.send(.get, "/jwks")
    let keys = try JSONWebKeySet.parse(try await response.collectedBody())
    return try keys.verify(UnverifiedJWS.parse(token?.string ?? ""))
  }
}
