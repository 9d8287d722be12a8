import IntercomCore

/// A token for one backend, with its times.
package struct BackendToken: Sendable {
  package let accessToken: Secret<String>
  package let received: WallInstant
  package let expiry: WallInstant

  package init(accessToken: Secret<String>, received: WallInstant, expiry: WallInstant) {
    self.accessToken = accessToken
    self.received = received
    self.expiry = expiry
  }

  /// May it still be sent?
  package func isUsable(at now: WallInstant) -> Bool { now < expiry }

  /// Is less than min(30 s, 20 % of its life) left, so that a new one is fetched?
  package func isDue(at now: WallInstant) -> Bool { now.seconds(to: expiry) < SessionTokens.margin(from: received, to: expiry) }
}

/// Whose token for what: a token never crosses sessions, so it never crosses users.
struct ExchangeKey: Hashable, Sendable {
  let session: SessionKey
  let target: ExchangeTarget
}

/// Exchanged tokens of this process, and refusals for a short while.
struct ExchangeCache {
  enum Entry {
    case token(BackendToken)
    case refused(code: String, detail: String, until: WallInstant)
  }

  private var sessions: [SessionKey: [ExchangeTarget: Entry]] = [:]
  private let maximumSessions: Int
  /// Targets come from the configuration; this bounds a mistake.
  private static let maximumTargets = 256

  init(maximumSessions: Int = 50_000) { self.maximumSessions = maximumSessions }

  /// What is known and not over.
  func entry(_ key: ExchangeKey, now: WallInstant) -> Entry? {
    guard let entry = sessions[key.session]?[key.target] else { return nil }
    switch entry {
    case .token(let token): return token.isUsable(at: now) ? entry : nil
    case .refused(_, _, let until): return now < until ? entry : nil
    }
  }

  mutating func insert(_ entry: Entry, for key: ExchangeKey, now: WallInstant) {
    if sessions[key.session] == nil, sessions.count >= maximumSessions { makeRoom(now) }
    if sessions[key.session]?.count ?? 0 >= Self.maximumTargets { sessions[key.session] = nil }
    sessions[key.session, default: [:]][key.target] = entry
  }

  mutating func remove(_ key: ExchangeKey) {
    sessions[key.session]?[key.target] = nil
    if sessions[key.session]?.isEmpty == true { sessions[key.session] = nil }
  }

  /// The tokens of a session that are good.
  func tokens(of session: SessionKey, now: WallInstant) -> [BackendToken] {
    (sessions[session] ?? [:]).values.compactMap { entry in
      if case .token(let token) = entry, token.isUsable(at: now) { token } else { nil }
    }
  }

  mutating func removeAll(of session: SessionKey) { sessions[session] = nil }

  var count: Int { sessions.count }

  /// Drops what is over; when that frees nothing, half of the rest: it is fetched again when needed.
  private mutating func makeRoom(_ now: WallInstant) {
    for (session, targets) in sessions where targets.values.allSatisfy({ Self.isOver($0, now) }) { sessions[session] = nil }
    guard sessions.count >= maximumSessions else { return }
    for session in sessions.keys.prefix(maximumSessions / 2 + 1) { sessions[session] = nil }
  }

  private static func isOver(_ entry: Entry, _ now: WallInstant) -> Bool {
    switch entry {
    case .token(let token): !token.isUsable(at: now)
    case .refused(_, _, let until): until <= now
    }
  }
}
