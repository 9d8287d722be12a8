import Cryptography
import IntercomCore

/// A login that went to the provider and has not come back.
package struct PendingLogin: Sendable {
  /// Of the provider that was asked: its answers and no other's are taken (RFC 9207).
  package var issuer: Identifier
  package var nonce: Secret<String>
  /// [RFC 7636 §4.1](https://www.rfc-editor.org/rfc/rfc7636#section-4.1)
  package var codeVerifier: Secret<String>
  /// As sent in the request: the token request repeats it.
  package var redirectURI: String
  /// Where the browser goes afterwards; checked when the login began.
  package var returnTo: String
  /// `prompt=none` in a frame: every end is the 200 page.
  package var isSilent: Bool
  /// The origin of the page that embeds `/silent`, when it is known and allowed.
  package var embedderOrigin: Identifier?
  /// Set by `PendingLogins.begin`.
  package internal(set) var created = WallInstant(seconds: 0)
  /// The binding that it was begun under, as `PendingLogins.take` found it among those that were presented.
  package internal(set) var browser: BrowserBinding?

  package init(
    issuer: Identifier, nonce: Secret<String>, codeVerifier: Secret<String>, redirectURI: String, returnTo: String, isSilent: Bool,
    embedderOrigin: Identifier? = nil
  ) {
    self.issuer = issuer
    self.nonce = nonce
    self.codeVerifier = codeVerifier
    self.redirectURI = redirectURI
    self.returnTo = returnTo
    self.isSilent = isSilent
    self.embedderOrigin = embedderOrigin
  }

  private static let schema: UInt8 = 1

  func encoded(browser: Word256) -> [UInt8] {
    var writer = RecordWriter()
    writer.byte(Self.schema)
    writer.bytes(browser.bytes)
    writer.bytes(issuer.bytes)
    writer.text(nonce.reveal())
    writer.text(codeVerifier.reveal())
    writer.text(redirectURI)
    writer.text(returnTo)
    writer.byte(isSilent ? 1 : 0)
    writer.optional(embedderOrigin) { $0.bytes($1.bytes) }
    writer.integer(created.seconds)
    return writer.out
  }

  /// The login and the hash of its browser's binding.
  static func decode(_ encoded: [UInt8]) throws(DamagedRecord) -> (login: PendingLogin, browser: [UInt8]) {
    var reader = RecordReader(encoded)
    guard try reader.byte() == schema else { throw DamagedRecord() }
    let browser = try reader.bytes()
    let issuer = Identifier(bytes: try reader.bytes())
    let nonce = Secret(try reader.text())
    let verifier = Secret(try reader.text())
    let redirectURI = try reader.text()
    let returnTo = try reader.text()
    let isSilent = try reader.flag()
    let embedder = try reader.optional { (reader) throws(DamagedRecord) in Identifier(bytes: try reader.bytes()) }
    var login = PendingLogin(
      issuer: issuer, nonce: nonce, codeVerifier: verifier, redirectURI: redirectURI, returnTo: returnTo, isSilent: isSilent,
      embedderOrigin: embedder)
    login.created = WallInstant(seconds: try reader.integer())
    try reader.end()
    return (login, browser)
  }
}

/// What a callback's `state` belongs to.
package enum PendingTake: Sendable {
  /// It is this browser's, and from now on used up.
  case taken(PendingLogin)
  /// Never begun, used up, or pushed out by newer ones.
  case unknown
  /// Another browser began it. It stays for that one.
  case foreign(isSilent: Bool, returnTo: String)
  /// It took longer than ten minutes; used up. The person may begin anew with the same `returnTo`.
  case expired(PendingLogin)
}

/// The logins under way: each single use by compare-and-swap, bound to the browser, few per browser and bounded in all.
package struct PendingLogins: Sendable {
  /// Behaviour: "Sign-in and sign-out".
  package static let lifetime = Duration.seconds(600)
  ///
  /// Silent ones are counted apart: the hidden frames of many tabs must not push out the form that a person fills in.
  package static let perBrowser = 5
  /// Bindings that are looked at in one callback: a browser has one, the rest was planted.
  package static let maximumBindings = 16
  /// Kept a while longer, to tell "too late" from "unknown".
  private static let grace = Duration.seconds(600)

  private let records: SealedRecords
  private let clock: SteadyClock
  private let random: any RandomSource

  package init(
    store: any SessionStore, keys: KeyRing, time: any TimeSource, random: any RandomSource, events: SessionEvents = .none
  ) {
    records = SealedRecords(store: store, keys: keys, events: events)
    clock = SteadyClock(time)
    self.random = random
  }

  /// A `state` for the provider: 43 digits of base64url, 256 random bits.
  package func newState() -> Secret<String> { Secret(String(decoding: Word256(random: random).text, as: UTF8.self)) }

  /// Keeps the login under a state of `newState`. The browser's oldest logins of the kind beyond five are dropped, so a thousand open tabs
  /// leave five (fault 24).
  package func begin(_ login: PendingLogin, browser: BrowserBinding, state: Secret<String>) async throws(SessionStoreError) {
    let digits = Array(state.reveal().utf8)
    guard let state = Word256(text: digits.span) else { throw .contended }
    var login = login
    login.created = clock.now()
    let binding = browser.hash
    let index = IndexKey(kind: .browser, word: login.isSilent ? Word256(hashOf: Array("silent".utf8) + binding.bytes) : binding)
    let outcome = try await records.write(
      Self.key(state), login.encoded(browser: binding), indexes: [index],
      expiry: login.created.advanced(by: Self.lifetime + Self.grace), expecting: nil)
    guard case .written(let version) = outcome else { throw .contended }
    try await trim(index, keeping: version)
  }

  /// The same under a state drawn here.
  package func begin(_ login: PendingLogin, browser: BrowserBinding) async throws(SessionStoreError) -> Secret<String> {
    let state = newState()
    try await begin(login, browser: browser, state: state)
    return state
  }

  /// Uses the login up when `browser` began it. Of parallel callers with the same state exactly one gets `taken`.
  package func take(state: [UInt8], browser: BrowserBinding?) async throws(SessionStoreError) -> PendingTake {
    try await take(state: state, browsers: browser.map { [$0] } ?? [])
  }

  /// The same for a request that presents several bindings: one of them must be the right one.
  package func take(state: [UInt8], browsers: [BrowserBinding]) async throws(SessionStoreError) -> PendingTake {
    guard let word = Word256(text: state.span) else { return .unknown }
    let key = Self.key(word)
    guard let (plain, version) = try await records.read(key) else { return .unknown }
    guard let (login, binding) = try? PendingLogin.decode(plain) else {
      try await records.discard(key, version: version)
      return .unknown
    }
    var presented: BrowserBinding?
    for browser in browsers.prefix(Self.maximumBindings) where constantTimeEqual(browser.hash.bytes, binding) { presented = browser }
    guard let presented else { return .foreign(isSilent: login.isSilent, returnTo: login.returnTo) }
    guard try await records.store.delete(key, expecting: version, tombstone: .zero) else { return .unknown }
    var taken = login
    taken.browser = presented
    return clock.now() < login.created.advanced(by: Self.lifetime) ? .taken(taken) : .expired(taken)
  }

  /// Only the hash of a state is stored.
  private static func key(_ state: Word256) -> RecordKey {
    RecordKey(kind: .pendingLogin, naming: [Identifier(bytes: state.bytes)])
  }

  /// Versions grow with every write, so they tell the oldest without opening a record.
  private func trim(_ index: IndexKey, keeping newest: UInt64) async throws(SessionStoreError) {
    let keys = try await records.store.find(index, limit: 64)
    guard keys.count > Self.perBrowser else { return }
    var found: [(key: RecordKey, expiry: WallInstant, version: UInt64)] = []
    for key in keys {
      if let stored = try await records.store.read(key), stored.version != newest {
        found.append((key, stored.expiry, stored.version))
      }
    }
    found.sort { ($0.expiry, $0.version) < ($1.expiry, $1.version) }
    for old in found.dropLast(Self.perBrowser - 1) {
      _ = try await records.store.delete(old.key, expecting: old.version, tombstone: .zero)
    }
  }
}
