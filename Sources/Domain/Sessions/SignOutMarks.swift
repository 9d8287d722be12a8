import IntercomCore

/// A login whose code is at the provider: it has no session yet that a logout could find.
package struct LoginWatch: Sendable {
  /// The version of a write that was made as the watch began: what the store is told later has a greater one.
  fileprivate let began: UInt64
}

// A logout leaves a mark in the store, by what it named (`sid` or `sub`), before it looks for sessions. A login looks for marks behind its
// session's making. So one of the two finds the other, on whatever replicas they are, as long as the store's clock does not go back between.
extension SessionManager {
  /// Longer than a login takes from its code to its session, whose calls to the provider all have their limits.
  private static let markLife = Duration.seconds(120)

  /// From now on ends are found by this login.
  package func watchLogin() async throws(SessionStoreError) -> LoginWatch {
    // As one of the pending logins: when they are too many, those that end soonest give way.
    let key = RecordKey(kind: .pendingLogin, naming: ["watch", Identifier(bytes: random.bytes(32))])
    let outcome = try await records.write(key, [], expiry: now().advanced(by: .seconds(1)), expecting: nil)
    guard case .written(let version) = outcome else { throw .contended }
    return LoginWatch(began: version)
  }

  /// Ends the session that `create` just made for this login when the provider has told its end meanwhile, which found no session (fault 27).
  /// To be asked before the browser gets the cookie. True: it is over. When the store fails the browser gets none, and the session is ended as soon
  /// as that works.
  package func endIfSignedOut(_ session: Session, _ watch: LoginWatch) async throws(SessionStoreError) -> Bool {
    do throws(SessionStoreError) {
      for index in session.indexes {
        guard let mark = try await records.store.read(Self.mark(index)), mark.version >= watch.began else { continue }
        _ = try await end(session.key, reason: .backChannelLogout)
        return true
      }
      return false
    } catch {
      abandon(session.key)
      throw error
    }
  }

  /// Between the tries to end a session whose cookie nobody got; a store that is away for longer keeps it for its idle time.
  private static let abandonPauses: [Duration] = [.zero, .seconds(1), .seconds(5), .seconds(15)]

  /// Ends a session whose login failed in the end, as well as it goes: nobody has its cookie, but the provider's session would seem to be in use
  /// here, and its tokens would not be revoked when others of it end.
  func abandon(_ key: SessionKey) {
    Task {
      for pause in Self.abandonPauses {
        if pause > .zero { try? await time.sleep(for: pause) }
        do throws(SessionStoreError) {
          _ = try await end(key, reason: .abandoned)
          return
        } catch { continue }
      }
    }
  }

  /// For the logins that are under way.
  func noteEnd(of index: IndexKey) async throws(SessionStoreError) {
    let until = now().advanced(by: Self.markLife)
    var seen: UInt64?
    for _ in 0..<Self.maximumAttempts {
      if case .written = try await records.write(Self.mark(index), [], expiry: until, expecting: seen) { return }
      let current = try await records.store.read(Self.mark(index))?.version
      // Another end of the same noted its own behind what this one saw: later than any login that this one must find.
      if let seen, let current, current != seen { return }
      seen = current
    }
    throw .contended
  }

  private static func mark(_ index: IndexKey) -> RecordKey {
    RecordKey(
      kind: .seenTokenID, naming: ["sign-out", Identifier(bytes: [index.kind.rawValue]), Identifier(bytes: index.bytes)])
  }
}
