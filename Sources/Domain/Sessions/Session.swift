import IntercomCore
import StrictJSON

/// The tokens of a session and their times.
package struct SessionTokens: Sendable {
  package var accessToken: Secret<String>
  /// When Intercom received it.
  package var received: WallInstant
  /// Nil: the provider gave no life; it is used until an upstream or the provider refuses it.
  package var accessExpiry: WallInstant?
  package var refreshToken: Secret<String>?
  /// Nil: unknown (RFC 6749 does not tell it).
  package var refreshExpiry: WallInstant?
  /// For `id_token_hint` at logout.
  package var idToken: Secret<String>
  /// Grows by one with each refresh: tells whose tokens are newer when two wrote.
  package internal(set) var generation: Int64 = 0

  package init(
    accessToken: Secret<String>, received: WallInstant, accessExpiry: WallInstant?, refreshToken: Secret<String>? = nil,
    refreshExpiry: WallInstant? = nil, idToken: Secret<String>
  ) {
    self.accessToken = accessToken
    self.received = received
    self.accessExpiry = accessExpiry
    self.refreshToken = refreshToken
    self.refreshExpiry = refreshExpiry
    self.idToken = idToken
  }

  /// May the access token still be sent?
  package func isUsable(at now: WallInstant) -> Bool { accessExpiry.map { now < $0 } ?? true }

  /// Is less than min(30 s, 20 % of its life) left, or nothing? (behaviour: "Tokens")
  package func isDue(at now: WallInstant) -> Bool {
    guard let accessExpiry else { return false }
    // A life below five seconds has no margin.
    return now >= accessExpiry || now.seconds(to: accessExpiry) < Self.margin(from: received, to: accessExpiry)
  }

  /// min(30 s, 20 % of the life), in whole seconds: when less is left of a token a new one is fetched.
  package static func margin(from start: WallInstant, to end: WallInstant) -> Int64 { min(30, max(0, start.seconds(to: end) / 5)) }
}

/// What a finished login hands over: verified, never taken from a request.
package struct VerifiedLogin: Sendable {
  package var issuer: Identifier
  package var subject: Identifier
  /// The provider's session, when its id_token has `sid`.
  package var sid: Identifier?
  package var claims: JSONObject
  package var tokens: SessionTokens

  package init(issuer: Identifier, subject: Identifier, sid: Identifier?, claims: JSONObject, tokens: SessionTokens) {
    self.issuer = issuer
    self.subject = subject
    self.sid = sid
    self.claims = claims
    self.tokens = tokens
  }
}

/// A live session as read from the store.
package struct Session: Sendable {
  package let key: SessionKey
  package let issuer: Identifier
  package let subject: Identifier
  package let sid: Identifier?
  /// Of the id_token and userinfo, verified; refreshed with the tokens.
  package internal(set) var claims: JSONObject
  package internal(set) var tokens: SessionTokens
  package let created: WallInstant
  /// As last written: the loops know later uses.
  package internal(set) var lastUse: WallInstant
  package let absoluteExpiry: WallInstant
  /// What other modules keep with the session, by a name of theirs: sealed, shared and deleted with it.
  package internal(set) var attachments: [Identifier: Secret<[UInt8]>] = [:]
  /// The store's; for compare-and-swap.
  package internal(set) var version: UInt64 = 0

  var indexes: [IndexKey] {
    [IndexKey(subject: subject, issuer: issuer)] + (sid.map { [IndexKey(sid: $0, issuer: issuer)] } ?? [])
  }
}

extension Session {
  /// Of the layout below. Another number is no session: people sign in anew.
  private static let schema: UInt8 = 1
  /// The same with attachments at its end. A session without them is written as before, so that an older Intercom beside this one, or after it,
  /// reads it.
  private static let schemaWithAttachments: UInt8 = 2
  private static let maximumAttachments = 64

  var encoded: [UInt8] {
    var writer = RecordWriter()
    writer.byte(attachments.isEmpty ? Self.schema : Self.schemaWithAttachments)
    writer.bytes(issuer.bytes)
    writer.bytes(subject.bytes)
    writer.optional(sid) { $0.bytes($1.bytes) }
    writer.bytes(claims.serialized)
    writer.text(tokens.accessToken.reveal())
    writer.integer(tokens.received.seconds)
    writer.optional(tokens.accessExpiry) { $0.integer($1.seconds) }
    writer.optional(tokens.refreshToken) { $0.text($1.reveal()) }
    writer.optional(tokens.refreshExpiry) { $0.integer($1.seconds) }
    writer.text(tokens.idToken.reveal())
    writer.integer(tokens.generation)
    writer.integer(created.seconds)
    writer.integer(lastUse.seconds)
    writer.integer(absoluteExpiry.seconds)
    guard !attachments.isEmpty else { return writer.out }
    writer.integer(Int64(attachments.count))
    for (name, value) in attachments.sorted(by: { $0.key < $1.key }) {
      writer.bytes(name.bytes)
      writer.bytes(value.reveal())
    }
    return writer.out
  }

  init(key: SessionKey, encoded: [UInt8], version: UInt64) throws(DamagedRecord) {
    var reader = RecordReader(encoded)
    let schema = try reader.byte()
    guard schema == Self.schema || schema == Self.schemaWithAttachments else { throw DamagedRecord() }
    self.key = key
    issuer = Identifier(bytes: try reader.bytes())
    subject = Identifier(bytes: try reader.bytes())
    sid = try reader.optional { (reader) throws(DamagedRecord) in Identifier(bytes: try reader.bytes()) }
    let claims = try reader.bytes()
    do { self.claims = try StrictJSON.object(claims, limit: StrictJSON.Limit(bytes: maximumRecordBytes)) } catch { throw DamagedRecord() }
    let accessToken = Secret(try reader.text())
    let received = WallInstant(seconds: try reader.integer())
    let accessExpiry = try reader.optional { (reader) throws(DamagedRecord) in WallInstant(seconds: try reader.integer()) }
    let refreshToken = try reader.optional { (reader) throws(DamagedRecord) in Secret(try reader.text()) }
    let refreshExpiry = try reader.optional { (reader) throws(DamagedRecord) in WallInstant(seconds: try reader.integer()) }
    tokens = SessionTokens(
      accessToken: accessToken, received: received, accessExpiry: accessExpiry, refreshToken: refreshToken, refreshExpiry: refreshExpiry,
      idToken: Secret(try reader.text()))
    tokens.generation = try reader.integer()
    created = WallInstant(seconds: try reader.integer())
    lastUse = WallInstant(seconds: try reader.integer())
    absoluteExpiry = WallInstant(seconds: try reader.integer())
    self.version = version
    if schema == Self.schemaWithAttachments { attachments = try Self.attachments(&reader) }
    try reader.end()
  }

  private static func attachments(_ reader: inout RecordReader) throws(DamagedRecord) -> [Identifier: Secret<[UInt8]>] {
    let count = try reader.integer()
    guard (1...Int64(maximumAttachments)).contains(count) else { throw DamagedRecord() }
    var attachments: [Identifier: Secret<[UInt8]>] = [:]
    for _ in 0..<count {
      let name = Identifier(bytes: try reader.bytes())
      guard attachments.updateValue(Secret(try reader.bytes()), forKey: name) == nil else { throw DamagedRecord() }
    }
    return attachments
  }

  /// Keeps this with the session. False: there are too many already.
  mutating func attach(_ value: [UInt8], as name: Identifier) -> Bool {
    guard attachments[name] != nil || attachments.count < Self.maximumAttachments else { return false }
    attachments[name] = Secret(value)
    return true
  }
}
