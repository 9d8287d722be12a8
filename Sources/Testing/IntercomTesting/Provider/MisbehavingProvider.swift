import Cryptography
import DemoWorkplace
import HTTPMessage
import HTTPServer
import IntercomCore
import JOSE
import StrictJSON
import Synchronization

/// One thing that a provider gets wrong, or an attacker in its place.
package enum ProviderLie: Sendable, CaseIterable, Hashable {
  // The ID token.
  case issuer, audience, audienceOfSeveralWithoutParty, authorizedParty, expired, issuedInTheFuture, nonce, nonceMissing
  case subjectMissing, subjectOfSomebodyElse
  case algorithmNone, algorithmHS256, keyIDMissing, keyIDUnknown, signature, keyOfAttackerInHeader, accessTokenHash, duplicateClaim
  // The token answer.
  case idTokenMissing, tokensSwapped, answerIsHTML, answerIsOversized, answerIsRedirect, answerHasDuplicateKeys, answerIsSlow
  case answerIsTruncated, tokenTypeUnknown
  // Userinfo.
  case userInfoSubject
  // Token exchange.
  case exchangedAudience, exchangedIssuedTokenType, exchangedSubject
  // Discovery and keys.
  case discoveryIssuer, discoveryIsArray, keysAreHTML
  // The authorization response.
  case responseIssuer, responseState
}

/// The demo's provider with a liar in front: everything it does is right but for the one lie that is set.
///
/// It publishes two keys of the same algorithm, so that a missing `kid` is ambiguous.
package final class MisbehavingProvider: Sendable {
  package let provider: DemoProvider
  /// Signs everything: tests forge tokens with it.
  package let key: SigningKey
  private let time: any TimeSource
  private let lie = Mutex<ProviderLie?>(nil)

  /// Throws when the keys cannot be made.
  package init(
    _ configuration: ProviderConfiguration, algorithm: Algorithm = .es256, time: any TimeSource, random: any RandomSource = SystemRandom(),
    transport: any HTTPTransport, observe: @escaping @Sendable (ProviderEvent) -> Void = { _ in }
  ) throws {
    key = try SigningKey.generate(algorithm, keyID: "key-1")
    let second = try SigningKey.generate(algorithm, keyID: "key-2")
    provider = try DemoProvider(
      configuration, keys: [key, second], time: time, random: random, transport: transport, observe: observe)
    self.time = time
  }

  /// From now on tell this lie; nil is the truth.
  package func tell(_ lie: ProviderLie?) { self.lie.withLock { $0 = lie } }

  /// All paths of the provider's host.
  package var endpoint: Endpoint {
    let honest = provider.endpoint
    return { [self] request, body in
      let response = try await honest(request, body)
      guard let lie = lie.withLock({ $0 }), case .bytes(let bytes) = response.body else { return response }
      return try await twist(response, bytes, lie, path: Identifier(bytes: request.rawPath))
    }
  }

  private func twist(_ honest: Response, _ bytes: [UInt8], _ lie: ProviderLie, path: Identifier) async throws -> Response {
    func isPath(_ name: ProviderPath) -> Bool { path == Identifier(provider.urls.path(name)) }
    if isPath(.token), honest.status == 200 { return try await twistTokens(honest, bytes, lie) }
    switch lie {
    case .userInfoSubject where isPath(.userInfo): return try edit(honest, bytes) { $0["sub"] = "somebody-else" }
    case .discoveryIssuer where isPath(.discovery): return try edit(honest, bytes) { $0["issuer"] = "https://evil.example" }
    case .discoveryIsArray where isPath(.discovery): return replace(honest, Array("[".utf8) + bytes + Array("]".utf8))
    case .keysAreHTML where isPath(.keys): return html(honest)
    case .responseIssuer, .responseState:
      guard let location = honest.fields.single("location"), isPath(.authorize) || isPath(.signIn) else { return honest }
      var response = honest
      let field = lie == .responseIssuer ? "iss=" : "state="
      let parts = location.split(separator: "&", omittingEmptySubsequences: false).map { $0.hasPrefix(field) ? field + "evil" : String($0) }
      response.fields.set("Location", parts.joined(separator: "&"))
      return response
    default: return honest
    }
  }

  // MARK: The token answer

  private func twistTokens(_ honest: Response, _ bytes: [UInt8], _ lie: ProviderLie) async throws -> Response {
    var answer = try StrictJSON.object(bytes)
    switch lie {
    case .answerIsHTML: return html(honest)
    case .answerIsRedirect: return Response(302, ["Location": "http://evil.example/token"], [])
    case .answerIsOversized:
      return replace(honest, Array(#"{"padding":""#.utf8) + [UInt8](repeating: UInt8(ascii: "a"), count: 4 << 20) + Array("\"}".utf8))
    case .answerHasDuplicateKeys: return replace(honest, Array(#"{"access_token":"other","#.utf8) + bytes.dropFirst())
    case .answerIsTruncated: return replace(honest, Array(bytes.dropLast()))
    case .answerIsSlow:
      try await time.sleep(for: .seconds(3_600))
      return honest
    case .tokenTypeUnknown: answer["token_type"] = "mac"
    case .idTokenMissing: answer["id_token"] = nil
    case .tokensSwapped:
      let (id, access) = (answer["id_token"], answer["access_token"])
      if let id, let access { (answer["id_token"], answer["access_token"]) = (access, id) }
    case .exchangedIssuedTokenType where answer["issued_token_type"] != nil:
      answer["issued_token_type"] = "urn:ietf:params:oauth:token-type:refresh_token"
    case .exchangedAudience where answer["issued_token_type"] != nil:
      answer["access_token"] = try resigned(answer["access_token"]) { $0["aud"] = "somebody-elses-backend" }
    case .exchangedSubject where answer["issued_token_type"] != nil:
      answer["access_token"] = try resigned(answer["access_token"]) { $0["sub"] = "somebody-else" }
    default: if let token = answer["id_token"]?.string { answer["id_token"] = .string(try twistIDToken(token, lie)) }
    }
    return replace(honest, answer.serialized)
  }

  private func twistIDToken(_ token: String, _ lie: ProviderLie) throws -> String {
    let honest = try UnverifiedJWS.parse(token)
    var claims = try honest.unverifiedClaims()
    let now = time.wallNow().seconds
    switch lie {
    case .issuer: claims["iss"] = "https://evil.example"
    case .audience: claims["aud"] = "somebody-else"
    case .audienceOfSeveralWithoutParty:
      claims["aud"] = .array([claims["aud"] ?? .null, "somebody-else"])
      claims["azp"] = nil
    case .authorizedParty: claims["azp"] = "somebody-else"
    case .expired: claims["exp"] = .int64(now - 3_600)
    case .issuedInTheFuture: claims["iat"] = .int64(now + 3_600)
    case .nonce: claims["nonce"] = "another"
    case .nonceMissing: claims["nonce"] = nil
    case .subjectMissing: claims["sub"] = nil
    case .subjectOfSomebodyElse: claims["sub"] = "somebody-else"
    case .accessTokenHash: claims["at_hash"] = .string(key.algorithm.leftHalfHash(of: Array("another token".utf8)))
    case .keyIDMissing: return try key.sign(claims, header: ["kid": .null])
    case .keyIDUnknown: return try key.sign(claims, header: ["kid": "key-9"])
    case .signature: return try SigningKey.generate(key.algorithm, keyID: key.keyID).sign(claims)
    case .keyOfAttackerInHeader:
      let attacker = try SigningKey.generate(key.algorithm, keyID: key.keyID)
      return try attacker.sign(claims, header: ["jwk": .object(attacker.publicJWK)])
    case .algorithmNone: return CompactJWS.join(input("none", claims.serialized), signature: [])
    case .algorithmHS256:
      let input = input("HS256", claims.serialized)
      return CompactJWS.join(input, signature: hmacSHA256(key: key.publicJWK.serialized, input))
    case .duplicateClaim: return try key.sign(payload: Array(#"{"sub":"somebody-else","#.utf8) + claims.serialized.dropFirst())
    default: return token
    }
    return try key.sign(claims)
  }

  private func input(_ algorithm: String, _ payload: [UInt8]) -> [UInt8] {
    CompactJWS.signingInput(
      header: ["alg": .string(algorithm), "kid": .string(key.keyID.description), "typ": "JWT"], payload: payload)
  }

  private func resigned(_ token: JSONValue?, _ change: (inout JSONObject) -> Void) throws -> JSONValue {
    let honest = try UnverifiedJWS.parse(token?.string ?? "")
    var claims = try honest.unverifiedClaims()
    change(&claims)
    return .string(try key.sign(claims, type: honest.type?.description ?? "JWT"))
  }

  // MARK: Answers

  private func edit(_ honest: Response, _ bytes: [UInt8], _ change: (inout JSONObject) -> Void) throws -> Response {
    guard honest.status == 200 else { return honest }
    var object = try StrictJSON.object(bytes)
    change(&object)
    return replace(honest, object.serialized)
  }

  private func replace(_ honest: Response, _ bytes: [UInt8]) -> Response { Response(honest.status, honest.fields, bytes) }

  private func html(_ honest: Response) -> Response {
    Response(200, ["Content-Type": "text/html"], Array("<!doctype html><title>Proxy</title>".utf8))
  }
}
