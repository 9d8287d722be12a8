import HTTPMessage
import HTTPServer
import IntercomCore
import IntercomTesting
import JOSE
import StrictJSON
import Synchronization

/// A backend that looks closely: it takes only tokens that the provider signed for its audience, and notes whose they were.
final class TokenWitness: Sendable {
  /// A request whose token is good.
  struct Seen: Sendable, Hashable {
    let path: String
    let subject: Identifier
    let sessionID: Identifier
    let party: Identifier
    let scopes: [Identifier]
    let tokenID: Identifier
  }

  let audience: Identifier
  let server: RecordingServer
  private let issuer: Identifier
  private let keys: JSONWebKeySet
  private let alsoFor: Set<Identifier>
  private let refusing = Atomic(false)

  /// Answers 401 to good tokens too.
  var isRefusing: Bool {
    get { refusing.load(ordering: .relaxed) }
    set { refusing.store(newValue, ordering: .relaxed) }
  }

  /// - Parameter alsoFor: audiences that a token may have besides.
  init(_ audience: Identifier, _ services: Services, alsoFor: Set<Identifier> = []) async throws {
    self.audience = audience
    self.alsoFor = alsoFor
    issuer = Identifier(services.issuer)
    keys = try JSONWebKeySet.parse(try await RawHTTPClient().get(services.issuer + "/protocol/openid-connect/certs").body)
    server = try RecordingServer()
    server.answer { [weak self] request in
      guard let self else { return nil }
      do {
        _ = try read(request)
        guard !isRefusing else { throw WitnessFault(fault: "not today") }
        return Response(200, ["Content-Type": "text/plain"], Array("\(self.audience) \(request.path)".utf8))
      } catch { return Response(401, ["WWW-Authenticate": "Bearer", "Content-Type": "text/plain"], Array("\(error)".utf8)) }
    }
    try await server.start()
  }

  /// All requests so far; throws when one of them came without a token that is good here.
  func seen() throws -> [Seen] { try server.requests.map { try read($0) } }

  private func read(_ request: SeenRequest) throws -> Seen {
    guard let field = request.field("authorization"), field.hasPrefix("Bearer ") else { throw WitnessFault(fault: "no bearer token") }
    let claims = try keys.verify(try UnverifiedJWS.parse(String(field.dropFirst(7)))).claims
    guard claims["iss"]?.identifier == issuer else { throw WitnessFault(fault: "another issuer") }
    let audiences: [Identifier?] = claims["aud"]?.array?.map(\.identifier) ?? [claims["aud"]?.identifier]
    guard audiences.contains(audience) else { throw WitnessFault(fault: "not for \(audience)") }
    guard audiences.allSatisfy({ $0 == audience || $0.map(alsoFor.contains) == true }) else { throw WitnessFault(fault: "for others too") }
    guard let subject = claims["sub"]?.identifier, let session = claims["sid"]?.identifier, let party = claims["azp"]?.identifier,
      let tokenID = claims["jti"]?.identifier, let scope = claims["scope"]?.string
    else { throw WitnessFault(fault: "a claim is missing") }
    return Seen(
      path: request.path, subject: subject, sessionID: session, party: party,
      scopes: scope.split(separator: " ").map { Identifier(String($0)) }, tokenID: tokenID)
  }
}

struct WitnessFault: Error, CustomStringConvertible {
  let fault: String
  var description: String { fault }
}
