import Cryptography
import IntercomCore

/// What the browser holds: 256 random bits, as 43 digits of base64url in the session cookie. It is a secret and prints as `<redacted>`.
package struct SessionID: Hashable, Sendable, CustomStringConvertible, CustomReflectable {
  private let word: Word256

  /// A new id.
  package init(random: any RandomSource) { word = Word256(random: random) }

  /// The id of a cookie's value, without an allocation. Nil for everything that is not the one spelling of 32 bytes: such a value means no
  /// session and is not looked up.
  package init?(cookieValue: borrowing Span<UInt8>) {
    guard let word = Word256(text: cookieValue) else { return nil }
    self.word = word
  }
  package init?(cookieValue: [UInt8]) { self.init(cookieValue: cookieValue.span) }

  /// The value to set as cookie. Never log it.
  package var cookieValue: [UInt8] { word.text }
  /// The 32 bytes, for what is bound to the session by a MAC.
  var bytes: [UInt8] { word.bytes }

  package var description: String { "<redacted>" }
  package var customMirror: Mirror { Mirror(self, children: []) }
}

/// What the store holds instead of the id: its SHA-256, so that who reads the store cannot become a user.
package struct SessionKey: Hashable, Sendable {
  let word: Word256

  package init(_ id: SessionID) { word = Word256(hashOf: id.bytes) }
  init(word: Word256) { self.word = word }
  /// A bearer token has no session; what is kept for it is kept under its digest, which is that of no session's id.
  package init(bearer token: [UInt8]) { word = Word256(hashOf: Array("intercom bearer ".utf8) + token) }
  /// The session that this record is of; nil when it is of another kind.
  package init?(record: RecordKey) {
    guard record.kind == .session else { return nil }
    word = record.word
  }

  /// Where the store keeps it.
  package var record: RecordKey { RecordKey(kind: .session, word: word) }
}

/// The browser that began a login: 32 random bytes in a cookie of its own, so that a callback of another browser changes nothing.
package struct BrowserBinding: Hashable, Sendable, CustomStringConvertible, CustomReflectable {
  private let word: Word256

  package init(random: any RandomSource) { word = Word256(random: random) }

  /// Nil for everything that is not 43 digits of base64url.
  package init?(cookieValue: borrowing Span<UInt8>) {
    guard let word = Word256(text: cookieValue) else { return nil }
    self.word = word
  }
  package init?(cookieValue: [UInt8]) { self.init(cookieValue: cookieValue.span) }

  package var cookieValue: [UInt8] { word.text }
  /// What is stored.
  var hash: Word256 { Word256(hashOf: Array("intercom browser binding".utf8) + word.bytes) }

  package var description: String { "<redacted>" }
  package var customMirror: Mirror { Mirror(self, children: []) }
}
