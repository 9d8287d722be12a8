import HTTPMessage
import HTTPServer
import IntercomCore
import JOSE
import StrictJSON

/// How the file store verifies access tokens, without asking anybody about each one
/// ([RFC 6750](https://www.rfc-editor.org/rfc/rfc6750), [RFC 9068 §4](https://www.rfc-editor.org/rfc/rfc9068#section-4)).
package struct BearerAuthentication: Sendable {
  /// The provider's keys as they are now; throws when they cannot be had.
  package typealias Keys = @Sendable () async throws -> JSONWebKeySet

  /// Compared byte for byte with `iss`.
  package let issuer: Identifier
  /// Must be `aud`, or one of its values.
  package let audience: Identifier
  private let keys: Keys
  private let time: any TimeSource

  /// Clocks of two machines may differ; those of the demo do not, but the store does not know where its tokens come from.
  static let clockTolerance = Duration.seconds(5)
  static let maximumToken = 16_384

  package init(issuer: Identifier, audience: Identifier, time: any TimeSource, keys: @escaping Keys) {
    self.issuer = issuer
    self.audience = audience
    self.time = time
    self.keys = keys
  }

  /// Why a token is not taken; told to the client in one word and nothing of the token.
  package enum Refusal: String, Error, Sendable, CaseIterable {
    case notAToken, signature, type, issuer, expired, notYetValid, audience, user
  }

  /// For `FileStore`. Costs a signature check: run it off the loop.
  package func authenticate(_ request: Request) async -> FileStore.Authentication {
    let fields = request.fields.values("authorization")
    guard !fields.isEmpty else {
      return .refused(
        challenge: #"Bearer realm="\#(audience)""#, Problem(401, "token_required", "This store answers to access tokens only."))
    }
    guard fields.count == 1, let token = Self.token(in: fields[0]) else { return refusal(.notAToken) }
    guard let keys = try? await keys() else { return .unavailable }
    do { return .user(try verify(token, keys)) } catch { return refusal(error) }
  }

  /// The user that the token names, when everything about it is right.
  package func verify(_ token: [UInt8], _ keys: JSONWebKeySet) throws(Refusal) -> String {
    let unverified: UnverifiedJWS
    do { unverified = try UnverifiedJWS.parse(token, limit: Self.maximumToken) } catch { throw .notAToken }
    let verified: VerifiedJWS
    do { verified = try keys.verify(unverified) } catch { throw .signature }
    // A logout token is signed by the same keys and may name the same audience.
    guard verified.type == nil || verified.hasType("JWT") || verified.hasType("at+jwt") else { throw .type }
    let claims = verified.claims
    guard claims["iss"]?.identifier == issuer else { throw .issuer }
    let now = time.wallNow()
    guard let expiry = claims["exp"]?.int64, now < WallInstant(seconds: expiry).advanced(by: Self.clockTolerance) else { throw .expired }
    if let notBefore = claims["nbf"] {
      guard let seconds = notBefore.int64, now.advanced(by: Self.clockTolerance) >= WallInstant(seconds: seconds) else {
        throw .notYetValid
      }
    }
    guard isAudience(claims["aud"]) else { throw .audience }
    guard let user = claims["preferred_username"]?.string, UserFolders.isUserName(user) else { throw .user }
    return user
  }

  private func isAudience(_ value: JSONValue?) -> Bool {
    if let one = value?.identifier { return one == audience }
    return value?.array?.contains { $0.identifier == audience } ?? false
  }

  private func refusal(_ reason: Refusal) -> FileStore.Authentication {
    .refused(
      challenge: #"Bearer realm="\#(audience)", error="invalid_token", error_description="\#(reason.rawValue)""#,
      Problem(401, "invalid_token", "The access token is not one for this store: \(reason.rawValue)."))
  }

  /// `Bearer`, one or more spaces, and characters that a token may have ([RFC 6750 §2.1](https://www.rfc-editor.org/rfc/rfc6750#section-2.1)).
  private static func token(in value: [UInt8]) -> [UInt8]? {
    guard value.count <= maximumToken + 16, let space = value.firstIndex(of: 0x20) else { return nil }
    let scheme = value[..<space].map { $0 &- 65 < 26 ? $0 | 0x20 : $0 }
    guard scheme == Array("bearer".utf8) else { return nil }
    let token = Array(value[space...].drop { $0 == 0x20 })
    guard !token.isEmpty, !token.contains(0x20) else { return nil }
    return token
  }
}
