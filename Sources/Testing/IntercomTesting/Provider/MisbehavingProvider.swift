import DemoWorkplace
import HTTPMessage
import HTTPServer
import IntercomCore
import JOSE
import StrictJSON
import Synchronization

/// The demo's provider with a liar in front: everything it does is right but for the one lie that is set.
///
/// It publishes two keys of the same algorithm, so that a missing `kid` is ambiguous, and a third for encryption only.
package final class MisbehavingProvider: Sendable {
  package let provider: DemoProvider
  /// Signs everything: tests forge tokens with it.
  package let key: SigningKey
  /// Published with `use: enc`.
  let encryptionKey: SigningKey
  let time: any TimeSource
  /// The registrations' secret, for the forgery with HS256.
  let clientSecret: [UInt8]
  private let lie = Mutex<ProviderLie?>(nil)
  /// Keys that are published besides the first ones.
  private let rotated = Mutex<[SigningKey]>([])

  /// Throws when the keys cannot be made.
  package init(
    _ configuration: ProviderConfiguration, algorithm: Algorithm = .es256, time: any TimeSource, random: any RandomSource = SystemRandom(),
    transport: any HTTPTransport, observe: @escaping @Sendable (ProviderEvent) -> Void = { _ in }
  ) throws {
    key = try SigningKey.generate(algorithm, keyID: "key-1")
    encryptionKey = try SigningKey.generate(algorithm, keyID: "key-enc")
    clientSecret = Array((configuration.clients.first?.secret?.reveal() ?? "").utf8)
    let second = try SigningKey.generate(algorithm, keyID: "key-2")
    provider = try DemoProvider(
      configuration, keys: [key, second], time: time, random: random, transport: transport, observe: observe)
    self.time = time
  }

  /// From now on tell this lie; nil is the truth.
  package func tell(_ lie: ProviderLie?) { self.lie.withLock { $0 = lie } }

  /// From now on this key is published too: a rotation.
  package func publish(_ key: SigningKey) { rotated.withLock { $0.append(key) } }

  /// Where its redirects lead: the same port under another name, so that a test sees who follows.
  package var elsewhere: String {
    let authority = provider.urls.issuer.split(separator: "/", maxSplits: 2).last.map { $0.prefix { $0 != "/" } } ?? ""
    let port = authority.split(separator: ":").dropFirst().first.map { ":" + $0 } ?? ""
    return "http://elsewhere.localhost\(port)/elsewhere"
  }

  /// All paths of the provider's host.
  package var endpoint: Endpoint {
    let honest = provider.endpoint
    return { [self] request, body in
      let sent = try await body.collect(upTo: 1 << 20)
      var response = try await honest(request, RequestBody(bytes: sent))
      guard case .bytes(let bytes) = response.body else { return response }
      let path = Identifier(bytes: request.rawPath)
      if isPath(path, .keys) { response = try published(response, bytes) }
      guard let lie = lie.withLock({ $0 }) else { return response }
      return try await twist(response, lie, path: path, form: try? FormFields(parsing: sent))
    }
  }

  private func isPath(_ path: Identifier, _ name: ProviderPath) -> Bool { path == Identifier(provider.urls.path(name)) }

  /// The honest key set with the key for encryption and those that were published since.
  private func published(_ honest: Response, _ bytes: [UInt8]) throws -> Response {
    guard honest.status == 200 else { return honest }
    var set = try StrictJSON.object(bytes)
    var encryption = encryptionKey.publicJWK
    encryption["use"] = "enc"
    let more = rotated.withLock { $0 }.map { JSONValue.object($0.publicJWK) }
    set["keys"] = .array((set["keys"]?.array ?? []) + [.object(encryption)] + more)
    return replace(honest, set.serialized)
  }

  private func twist(_ honest: Response, _ lie: ProviderLie, path: Identifier, form: FormFields?) async throws -> Response {
    guard case .bytes(let bytes) = honest.body else { return honest }
    switch lie {
    case .answer(let call, let lie) where matches(call, path, form): return answer(honest, bytes, lie)
    case .refuses(let call, let status, let error) where matches(call, path, form):
      let body: JSONObject = ["error": .string(error), "error_description": "said by the test"]
      return Response(Status(status), ["Content-Type": "application/json", "Cache-Control": "no-store"], body.serialized)
    case .idToken(let lie) where isPath(path, .token) && honest.status == 200:
      return try edit(honest) { answer in
        guard let token = answer["id_token"]?.string else { return }
        answer["id_token"] = .string(try idToken(token, lie))
      }
    case .tokens(let lie) where isPath(path, .token) && grant(form) != .exchange: return try edit(honest) { try tokens(&$0, lie) }
    case .exchanged(let lie) where isPath(path, .token) && grant(form) == .exchange:
      return try edit(honest) { try exchanged(&$0, lie, subjectToken: form?.single("subject_token")) }
    case .metadata(let lie) where isPath(path, .discovery): return try edit(honest) { metadata(&$0, lie) }
    case .keys(let lie) where isPath(path, .keys): return try edit(honest) { try keys(&$0, lie) }
    case .authorization(let lie) where isPath(path, .authorize) || isPath(path, .signIn): return authorization(honest, lie)
    case .userInfoSubject where isPath(path, .userInfo): return try edit(honest) { $0["sub"] = "somebody-else" }
    default: return honest
    }
  }

  private func matches(_ call: ProviderCall, _ path: Identifier, _ form: FormFields?) -> Bool {
    switch call {
    case .discovery: isPath(path, .discovery)
    case .keys: isPath(path, .keys)
    case .token: isPath(path, .token)
    case .login, .refresh, .exchange: isPath(path, .token) && grant(form) == call
    }
  }

  private func grant(_ form: FormFields?) -> ProviderCall? {
    switch form?.single("grant_type").map({ Identifier($0) }) {
    case "authorization_code": .login
    case "refresh_token": .refresh
    case "urn:ietf:params:oauth:grant-type:token-exchange": .exchange
    default: nil
    }
  }

  /// The honest answer with its JSON changed.
  private func edit(_ honest: Response, _ change: (inout JSONObject) throws -> Void) throws -> Response {
    guard honest.status == 200, case .bytes(let bytes) = honest.body else { return honest }
    var object = try StrictJSON.object(bytes)
    try change(&object)
    return replace(honest, object.serialized)
  }

  func replace(_ honest: Response, _ bytes: [UInt8]) -> Response { Response(honest.status, honest.fields, bytes) }
}
