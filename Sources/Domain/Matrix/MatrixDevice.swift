import Cryptography
import IntercomCore
import Sessions

/// The device that a session is at a homeserver, and its tokens. It lies in the session's record, so that all replicas use one.
package struct MatrixDevice: Sendable {
  package let user: Identifier
  package let id: Identifier
  package let accessToken: Secret<String>
  let received: WallInstant
  /// Nil: the homeserver named no end.
  let expiry: WallInstant?
  let refreshToken: Secret<String>?
  /// Grows by one with each login and refresh: tells whose tokens are newer when two wrote.
  let generation: Int64

  init(_ user: Identifier, id: Identifier, _ tokens: MatrixTokens, received: WallInstant, generation: Int64) {
    self.user = user
    self.id = id
    accessToken = tokens.accessToken
    self.received = received
    expiry = tokens.expiresIn.map { received.advanced(by: $0) }
    refreshToken = tokens.refreshToken
    self.generation = generation
  }

  /// May the token still be sent?
  func isUsable(at now: WallInstant) -> Bool { expiry.map { now < $0 } ?? true }

  /// Is so little left of it that a new one is fetched?
  func isDue(at now: WallInstant) -> Bool {
    guard let expiry else { return false }
    return now >= expiry || now.seconds(to: expiry) < SessionTokens.margin(from: received, to: expiry)
  }

  /// From here on it is asked for anew.
  package func freshUntil(_ session: Session) -> WallInstant {
    guard let expiry else { return session.absoluteExpiry }
    return expiry.advanced(by: .seconds(-SessionTokens.margin(from: received, to: expiry)))
  }
}

// MARK: In the session's record

extension MatrixDevice {
  private static let schema: UInt8 = 1
  private static let prefix = Array("matrix ".utf8)

  /// Under which name a session keeps the device of this user.
  static func name(_ user: Identifier) -> Identifier { Identifier(bytes: prefix + user.bytes) }

  /// Nil: the session has none, or one that this version does not know.
  init?(in session: Session, of user: Identifier) {
    guard let bytes = session.attachments[Self.name(user)]?.reveal() else { return nil }
    self.init(encoded: bytes, user)
  }

  init?(encoded: [UInt8], _ user: Identifier) {
    var reader = RecordReader(encoded)
    do {
      guard try reader.byte() == Self.schema else { return nil }
      self.user = user
      id = Identifier(bytes: try reader.bytes())
      accessToken = Secret(try reader.text())
      received = WallInstant(seconds: try reader.integer())
      expiry = try reader.optional { (reader) throws(DamagedRecord) in WallInstant(seconds: try reader.integer()) }
      refreshToken = try reader.optional { (reader) throws(DamagedRecord) in Secret(try reader.text()) }
      generation = try reader.integer()
      // There is a next one.
      guard (0..<Int64.max).contains(generation) else { return nil }
      try reader.end()
    } catch { return nil }
  }

  var encoded: [UInt8] {
    var writer = RecordWriter()
    writer.byte(Self.schema)
    writer.bytes(id.bytes)
    writer.text(accessToken.reveal())
    writer.integer(received.seconds)
    writer.optional(expiry) { $0.integer($1.seconds) }
    writer.optional(refreshToken) { $0.text($1.reveal()) }
    writer.integer(generation)
    return writer.out
  }

  /// Does the session keep a device?
  static func isAny(in session: Session) -> Bool { session.attachments.keys.contains { $0.bytes.starts(with: prefix) } }

  /// All devices of a session.
  static func all(of session: Session) -> [MatrixDevice] {
    session.attachments.compactMap { name, value in
      guard name.bytes.starts(with: prefix) else { return nil }
      return MatrixDevice(encoded: value.reveal(), Identifier(bytes: name.bytes.dropFirst(prefix.count)))
    }
  }
}

/// Names devices: the same for the same session and user, so that a login that is made twice does not leave two.
struct MatrixDeviceNames: Sendable {
  private let key: Secret<[UInt8]>

  init(keys: KeyRing) throws(CryptographyError) { key = try keys.subkeys("matrix device").first ?? Secret([]) }

  /// Tells nothing about the session.
  func name(_ session: SessionKey, _ user: MatrixUserID) -> Identifier {
    let code = hmacSHA256(key: key.reveal(), session.record.bytes + user.text.bytes)
    return Identifier("INTERCOM-" + Base64URL.encode(Array(code.prefix(16))))
  }
}
