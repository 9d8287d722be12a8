import IntercomCore

/// Sign-ins of one browser that end at the same time, as those of its open tabs and hidden frames do. A browser has one session cookie: were each
/// of them a session of its own, the last would win, and the CSRF tokens that the other pages were given would be good for nothing.
extension SessionManager {
  /// A session, and the id that the browser has it under.
  package typealias Standing = (id: SessionID, session: Session)

  /// For how long a finished sign-in is found by the browser's other ones.
  private static let joinable = Duration.seconds(60)

  /// The live session that this browser has from the same session at the provider: the one that it presents, or the one that another of its
  /// sign-ins has just made. Its id stays, for nobody else has become somebody.
  package func standing(
    _ login: VerifiedLogin, presented: SessionID?, by browser: BrowserBinding?
  ) async throws(SessionStoreError) -> Standing? {
    if let presented, let session = try await live(presented), session.isOf(login) { return (presented, session) }
    guard let browser, let id = try await noted(browser)?.id, let session = try await live(id), session.isOf(login) else { return nil }
    // Whoever it was before is not behind this browser any more.
    if let presented { _ = try await end(presented, reason: .replaced) }
    return (id, session)
  }

  /// Notes the session that a sign-in of this browser made, for the others. When one of them was faster, `joins` gives its session back, and
  /// the given one is ended. Without it the given one is what holds. A store that fails changes nothing: the session is there.
  package func settle(_ own: Standing, of login: VerifiedLogin, by browser: BrowserBinding?, joins: Bool) async -> Standing {
    guard let browser else { return own }
    let until = now().advanced(by: Self.joinable)
    var seen: UInt64?
    for _ in 0..<Self.maximumAttempts {
      guard let outcome = try? await records.write(Self.key(browser), own.id.cookieValue, expiry: until, expecting: seen) else {
        return own
      }
      if case .written = outcome { return own }
      let faster = (try? await noted(browser)) ?? nil
      if joins, let id = faster?.id, let session = (try? await live(id)) ?? nil, session.isOf(login) {
        _ = try? await end(own.session.key, reason: .replaced)
        return (id, session)
      }
      seen = faster?.version
    }
    return own
  }

  private func live(_ id: SessionID) async throws(SessionStoreError) -> Session? {
    guard case .live(let session) = try await load(id) else { return nil }
    return session
  }

  private func noted(_ browser: BrowserBinding) async throws(SessionStoreError) -> (id: SessionID?, version: UInt64)? {
    guard let (plain, version) = try await records.read(Self.key(browser)) else { return nil }
    return (SessionID(cookieValue: plain), version)
  }

  /// As one of the pending logins: when they are too many, those that end soonest give way.
  private static func key(_ browser: BrowserBinding) -> RecordKey {
    RecordKey(kind: .pendingLogin, naming: ["signed in", Identifier(bytes: browser.hash.bytes)])
  }
}

extension Session {
  /// Of the same person and the same session at the same provider.
  fileprivate func isOf(_ login: VerifiedLogin) -> Bool { issuer == login.issuer && subject == login.subject && sid == login.sid }
}
