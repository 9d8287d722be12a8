import HTTPMessage
import IntercomCore
import JOSE
import OIDC
import StrictJSON
import Synchronization

/// A provider without sockets: metadata, keys and a token endpoint whose answers a test sets, and tokens signed as the test wants them.
package final class ProviderDouble: Sendable {
  package struct Lies: Sendable {
    /// Members that replace those of the metadata; null removes.
    package var metadata: JSONObject = [:]
    /// Answers in place of the right ones.
    package var metadataAnswer: OutboundResponse?
    package var keysAnswer: OutboundResponse?
    package var failure: TransportError?
    package var keysFailure: TransportError?
    package init() {}
  }

  private struct State {
    var lies = Lies()
    var published: [SigningKey]
    var tokenAnswer = OutboundResponse.json(400, #"{"error":"invalid_request"}"#)
    var otherAnswer = OutboundResponse.json(404, "{}")
    var revocation: (@Sendable (String) -> OutboundResponse)?
  }

  package static let issuer = "https://id.example/realms/workplace"
  package static let clientID = "intercom"
  package let key: SigningKey
  package let time: ManualTime
  package let transport: ScriptedTransport
  private let state: Mutex<State>

  /// An elliptic-curve key by default: RSA keys take long to make.
  package init(_ algorithm: Algorithm = .es256, time: ManualTime = ManualTime()) throws {
    let key = try SigningKey.generate(algorithm, keyID: "key-1")
    self.key = key
    self.time = time
    state = Mutex(State(published: [key]))
    transport = ScriptedTransport { (_: OutboundRequest) throws(TransportError) in throw .unreachable("no script yet") }
    transport.answer { [weak self] (request: OutboundRequest) throws(TransportError) in
      guard let self else { throw .unreachable("the double is gone") }
      return try self.answer(request)
    }
  }

  package var lies: Lies {
    get { state.withLock { $0.lies } }
    set { state.withLock { $0.lies = newValue } }
  }
  package func publish(_ keys: [SigningKey]) { state.withLock { $0.published = keys } }
  package func tokenEndpointAnswers(_ answer: OutboundResponse) { state.withLock { $0.tokenAnswer = answer } }
  package func otherEndpointsAnswer(_ answer: OutboundResponse) { state.withLock { $0.otherAnswer = answer } }
  /// What the revocation endpoint answers to the body of a request.
  package func answerRevocations(_ answer: @escaping @Sendable (String) -> OutboundResponse) { state.withLock { $0.revocation = answer } }

  /// How many requests went to a URL that ends so.
  package func requests(to suffix: String) -> Int { transport.requests.count { $0.url.hasSuffix(suffix) } }
  /// The body of the last request to the token endpoint.
  package var lastTokenRequest: OutboundRequest? { transport.requests.last { $0.url.hasSuffix("/token") } }

  package func configuration(_ change: (inout ClientConfiguration) -> Void = { _ in }) throws -> ClientConfiguration {
    var client = try ClientConfiguration(
      issuer: Self.issuer, clientID: Self.clientID, clientSecret: Secret("s:ecret/ü"), redirectURI: "https://intercom.example/callback")
    change(&client)
    return client
  }

  /// A client of this provider that has not asked it anything yet.
  package func client(_ configuration: ClientConfiguration? = nil, timing: ProviderClient.Timing = .init()) throws -> ProviderClient {
    ProviderClient(try configuration ?? self.configuration(), transport: transport, time: time, random: SystemRandom(), timing: timing)
  }

  /// A relying party that knows its provider.
  package func relyingParty(_ configuration: ClientConfiguration? = nil) async throws -> RelyingParty {
    let client = try client(configuration)
    _ = await client.refresh()
    return RelyingParty(client, random: SystemRandom())
  }

  /// Claims of a right id_token; members of `changes` replace them, null removes.
  package func claims(_ changes: JSONObject = [:]) -> JSONObject {
    let now = time.wallNow().seconds
    let all: JSONObject = [
      "iss": .string(Self.issuer), "sub": "alice-id", "aud": .string(Self.clientID), "exp": .int64(now + 300), "iat": .int64(now),
      "sid": "session-1",
    ]
    return Self.changed(all, changes)
  }

  /// Claims of a right logout token.
  package func logoutClaims(_ changes: JSONObject = [:]) -> JSONObject {
    let now = time.wallNow().seconds
    let all: JSONObject = [
      "iss": .string(Self.issuer), "sub": "alice-id", "aud": .string(Self.clientID), "exp": .int64(now + 120), "iat": .int64(now),
      "jti": "logout-1", "sid": "session-1", "typ": "Logout",
      "events": .object(["http://schemas.openid.net/event/backchannel-logout": .object([:])]),
    ]
    return Self.changed(all, changes)
  }

  /// The body of a token response.
  package static func tokenAnswer(_ changes: JSONObject = [:]) -> OutboundResponse {
    let all: JSONObject = [
      "access_token": "access-1", "token_type": "Bearer", "expires_in": 300, "refresh_token": "refresh-1", "scope": "openid",
    ]
    return .json(200, String(decoding: changed(all, changes).serialized, as: UTF8.self))
  }

  private static func changed(_ object: JSONObject, _ changes: JSONObject) -> JSONObject {
    var object = object
    for member in changes.members { object[member.key] = member.value.isNull ? nil : member.value }
    return object
  }

  private func answer(_ request: OutboundRequest) throws(TransportError) -> OutboundResponse {
    let state = state.withLock { $0 }
    if let failure = state.lies.failure { throw failure }
    if request.url.hasSuffix("/.well-known/openid-configuration") {
      return state.lies.metadataAnswer ?? .json(200, String(decoding: metadata(state.lies.metadata).serialized, as: UTF8.self))
    }
    if request.url.hasSuffix("/certs") {
      if let failure = state.lies.keysFailure { throw failure }
      return state.lies.keysAnswer ?? .json(200, String(decoding: JSONWebKeySet.document(state.published), as: UTF8.self))
    }
    if request.url.hasSuffix("/revoke"), let revocation = state.revocation {
      return revocation(String(decoding: request.body, as: UTF8.self))
    }
    return request.url.hasSuffix("/token") ? state.tokenAnswer : state.otherAnswer
  }

  private func metadata(_ changes: JSONObject) -> JSONObject {
    let base = Self.issuer + "/protocol/openid-connect"
    return Self.changed(
      [
        "issuer": .string(Self.issuer), "authorization_endpoint": .string(base + "/auth"), "token_endpoint": .string(base + "/token"),
        "jwks_uri": .string(base + "/certs"), "userinfo_endpoint": .string(base + "/userinfo"),
        "end_session_endpoint": .string(base + "/logout"), "revocation_endpoint": .string(base + "/revoke"),
        "authorization_response_iss_parameter_supported": true, "backchannel_logout_supported": true,
        "backchannel_logout_session_supported": true, "id_token_signing_alg_values_supported": ["RS256", "ES256", "HS256"],
      ], changes)
  }
}
