import IntercomCore
import StrictJSON

/// The checks that id_tokens, logout tokens and access tokens share. Every failure is an error with `code`.
struct TokenClaims {
  let object: JSONObject
  private let code: OIDCError.Code

  /// Values of Keycloak's claim `typ` in tokens of other kinds.
  static let foreignKinds: Set<Identifier> = ["Bearer", "DPoP", "Refresh", "Offline"]
  /// A day: neither id_tokens nor logout tokens are kept so long before they are handed over. Access tokens are used until they end.
  static let longestAge: Duration = .seconds(86_400)

  init(_ object: JSONObject, _ code: OIDCError.Code) {
    self.object = object
    self.code = code
  }

  func refused(_ detail: String) -> OIDCError { OIDCError(code, detail) }

  /// A non-empty string of at most 1024 bytes; nil when absent.
  func name(_ claim: Identifier) throws(OIDCError) -> Identifier? {
    guard let value = object[claim] else { return nil }
    guard let name = value.identifier, !name.isEmpty, name.bytes.count <= 1_024 else { throw refused("\(claim) is not a name") }
    return name
  }

  /// NumericDate in whole seconds ([RFC 7519 §2](https://www.rfc-editor.org/rfc/rfc7519#section-2)); fractions are dropped; nil when absent.
  func seconds(_ claim: Identifier) throws(OIDCError) -> Int64? {
    guard let value = object[claim] else { return nil }
    guard let number = value.double, number >= 0, number < 253_402_300_800 else { throw refused("\(claim) is not a time") }
    return Int64(number)
  }

  func issuer() throws(OIDCError) -> Identifier {
    guard let found = object["iss"]?.identifier else { throw refused("iss is missing") }
    return found
  }

  func checkIssuer(_ issuer: Identifier) throws(OIDCError) {
    guard try self.issuer() == issuer else { throw refused("iss is another issuer") }
  }

  /// One name or several, ours among them.
  func checkAudience(_ client: Identifier) throws(OIDCError) -> [Identifier] {
    let audiences = try audiences()
    guard audiences.contains(client) else { throw refused("aud does not name this client") }
    return audiences
  }

  /// One name or several.
  func audiences() throws(OIDCError) -> [Identifier] {
    let audiences: [Identifier]
    switch object["aud"] {
    case .string(let one)?: audiences = [Identifier(one)]
    case .array(let many)?:
      audiences = many.compactMap(\.identifier)
      guard audiences.count == many.count else { throw refused("aud is not a list of names") }
    case nil: throw refused("aud is missing")
    default: throw refused("aud is not a name")
    }
    return audiences
  }

  /// `exp` in the future, `iat` not in the future and not longer ago than `oldest` (nil: however long), `nbf` past; each with the skew.
  func checkTimes(
    now: WallInstant, skew: Duration, oldest: Duration? = longestAge
  ) throws(OIDCError) -> (issued: WallInstant, expires: WallInstant) {
    guard let expires = try seconds("exp").map(WallInstant.init(seconds:)) else { throw refused("exp is missing") }
    guard let issued = try seconds("iat").map(WallInstant.init(seconds:)) else { throw refused("iat is missing") }
    guard now < expires.advanced(by: skew) else { throw refused("expired") }
    guard issued <= now.advanced(by: skew) else { throw refused("iat is in the future") }
    if let oldest, now > issued.advanced(by: oldest).advanced(by: skew) { throw refused("iat is long past") }
    if let begin = try seconds("nbf"), WallInstant(seconds: begin) > now.advanced(by: skew) { throw refused("not valid yet") }
    return (issued, expires)
  }
}
