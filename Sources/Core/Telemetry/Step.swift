import IntercomCore

/// One thing that Intercom did, told to people: the demo's side panel and, later, traces. Never holds a token, cookie, code or id of a session.
package struct Step: Sendable {
  package enum Kind: String, Sendable, CaseIterable {
    case login, silentLogin, loginRefused
    case sessionCreated, sessionFound, sessionMissing, sessionEnded
    case tokenRefreshed, tokenExchanged, tokenFromCache
    case policyPermitted, forwarded, refused
    case loggedOut, backChannelLogout
    case providerUnavailable
  }

  /// A small fact with a fixed key.
  package struct Fact: Sendable, Hashable {
    package enum Key: String, Sendable, CaseIterable {
      case route, method, path, status, upstream, origin, audience, scope, credential, reason, issuer, count
      /// Whole microseconds.
      case duration
    }
    package let key: Key
    package let value: String

    /// Longer values are cut at 200 characters: a panel line, not a dump.
    package init(_ key: Key, _ value: String) {
      self.key = key
      self.value = String(value.prefix(200))
    }
    package init(_ key: Key, _ value: Int) { self.init(key, String(value)) }
    package init(_ key: Key, _ value: Identifier) { self.init(key, value.description) }
    package init(_ duration: Duration) { self.init(.duration, String(duration.wholeNanoseconds / 1_000)) }
  }

  package var kind: Kind
  /// Plain words: "Alice's token was exchanged for one that only the file store accepts".
  package var title: String
  package var facts: [Fact]
  package var time: WallInstant
  /// A name to show (`preferred_username`), not an identifier to decide by.
  package var subjectName: String?
  /// Binds the steps of one request together.
  package var correlation: String?

  package init(
    _ kind: Kind, _ title: String, _ facts: [Fact] = [], time: WallInstant, subjectName: String? = nil, correlation: String? = nil
  ) {
    self.kind = kind
    self.title = title
    self.facts = facts
    self.time = time
    self.subjectName = subjectName
    self.correlation = correlation
  }
}

/// Hears what Intercom did. Called on event loops: it must return at once.
package protocol StepObserver: Sendable {
  /// False lets callers skip building steps.
  var wantsSteps: Bool { get }
  func observe(_ step: Step)
}

extension StepObserver {
  package var wantsSteps: Bool { true }
}

/// Hears nothing: every configuration but the demo's.
package struct NoSteps: StepObserver {
  package init() {}
  package var wantsSteps: Bool { false }
  package func observe(_ step: Step) {}
}
