import IntercomCore
import StrictJSON
import Synchronization
import Telemetry

/// One refresh from begin to end, for one session. `RefreshCoordinator` sees to it that this process runs one at a time per session; a lease in
/// the store sees to it across replicas.
struct TokenRefresher: Sendable {
  enum Outcome {
    /// The session with new tokens, ours or a peer's.
    case fresh(Session)
    /// No new tokens, but the access token is good for a while.
    case kept(Session)
    case failed(TokenFailure)
  }

  let manager: SessionManager
  let source: any TokenSource
  let time: any TimeSource
  let events: SessionEvents
  /// Tokens that the store could not take: with rotation they are the only good ones, so they are written before anything else is tried.
  private let unsaved = UnsavedTokens()

  private let callLimit: Duration

  init(manager: SessionManager, source: any TokenSource, time: any TimeSource, callLimit: Duration, events: SessionEvents) {
    self.callLimit = callLimit
    self.manager = manager
    self.source = source
    self.time = time
    self.events = events
  }

  /// Between two tries to write tokens that the store did not take, and for how long.
  private static let savePause = Duration.milliseconds(250)
  private static let saveTries = 2_400

  func refresh(_ seen: Session) async -> Outcome {
    do throws(SessionStoreError) {
      let outcome = try await manager.takeTurn("refresh", of: seen.key, limit: callLimit) { turn in
        await refresh(seen, turn)
      } unless: { current in
        guard let current else { return .failed(.sessionEnded(nil)) }
        return isNewer(current, than: seen) ? .fresh(current) : nil
      }
      return outcome ?? keep(seen, or: .unavailable("another replica refreshes and did not finish"))
    } catch {
      return keep(seen, or: .store(error))
    }
  }

  /// The session ended: nothing of it is kept.
  func forget(_ key: SessionKey) { unsaved.forget(key) }

  /// What the store did not take so far.
  func unsavedTokens(of key: SessionKey) -> SessionTokens? { unsaved.tokens(of: key)?.tokens }

  /// How many sessions there are whose tokens the store did not take so far.
  var unsavedCount: Int { unsaved.count }

  private func refresh(_ seen: Session, _ turn: Turn) async -> TurnOutcome<Outcome> {
    do throws(SessionStoreError) {
      guard let current = try await manager.read(seen.key) else { return .done(.failed(.sessionEnded(nil))) }
      if isNewer(current, than: seen) { return .done(.fresh(current)) }
      if let fresh = unsaved.tokens(of: current.key), fresh.tokens.generation > current.tokens.generation {
        return await save(fresh, in: current)
      }
      guard let refreshToken = current.tokens.refreshToken else {
        return .done(current.tokens.isUsable(at: manager.now()) ? .kept(current) : try await end(current, .tokenExpired))
      }
      if let expiry = current.tokens.refreshExpiry, expiry <= manager.now() { return .done(try await end(current, .refreshRefused)) }
      // Whoever refreshes with a token that another has used up loses the grant for all.
      guard try await turn.isHeld() else { return .lost }
      let left = time.monotonicNow().duration(to: turn.end)
      guard left > .zero else { return .done(keep(current, or: .unavailable("the session store took all the time"))) }
      return try await call(current, refreshToken, within: left)
    } catch {
      return .done(keep(seen, or: .store(error)))
    }
  }

  private func call(
    _ current: Session, _ refreshToken: Secret<String>, within limit: Duration
  ) async throws(SessionStoreError) -> TurnOutcome<Outcome> {
    let request = RefreshRequest(
      refreshToken: refreshToken, issuer: current.issuer, subject: current.subject, claims: current.claims)
    let source = source
    let answer = await bounded(by: limit, time) { () async throws(TokenSourceError) in
      try await source.refresh(request)
    }
    switch answer {
    case .success(let fresh):
      if let identity = fresh.identity, identity.issuer != current.issuer || identity.subject != current.subject {
        events.token(.refresh, .identityChanged)
        return .done(try await end(current, .identityChanged))
      }
      events.token(.refresh, .done)
      return await save(FreshTokens(tokens: tokens(fresh, after: current), claims: fresh.identity?.claims), in: current)
    case .failure(let error):
      events.token(.refresh, error.result)
      if error == .identityChanged { return .done(try await end(current, .identityChanged)) }
      guard case .refused(let code, _) = error, Identifier(code) == "invalid_grant" else {
        return .done(keep(current, or: TokenFailure(error)))
      }
      return .done(try await refused(current))
    }
  }

  /// The token is no longer good. A peer with newer tokens may be the reason; otherwise the session is over.
  private func refused(_ current: Session) async throws(SessionStoreError) -> Outcome {
    guard let newest = try await manager.read(current.key) else { return .failed(.sessionEnded(nil)) }
    return isNewer(newest, than: current) ? .fresh(newest) : try await end(current, .refreshRefused)
  }

  private func tokens(_ fresh: RefreshedTokens, after current: Session) -> SessionTokens {
    let now = manager.now()
    var tokens = SessionTokens(
      accessToken: fresh.accessToken, received: now, accessExpiry: fresh.expiresIn.map { now.advanced(by: $0) },
      refreshToken: fresh.refreshToken ?? current.tokens.refreshToken,
      refreshExpiry: fresh.refreshExpiresIn.map { now.advanced(by: $0) }
        ?? (fresh.refreshToken == nil ? current.tokens.refreshExpiry : nil),
      idToken: fresh.identity?.idToken ?? current.tokens.idToken)
    tokens.generation = current.tokens.generation &+ 1
    return tokens
  }

  /// Writes by compare-and-swap: over a peer's touch, never over a peer's newer tokens, and never after a deletion (fault 27).
  private func save(_ fresh: FreshTokens, in current: Session) async -> TurnOutcome<Outcome> {
    do throws(SessionStoreError) { return .done(try await write(fresh, in: current)) } catch {
      if unsaved.keep(fresh, of: current.key) { Task { await saveLater(fresh, in: current) } }
      return .unwritten(keep(current, or: .store(error)))
    }
  }

  private func write(_ fresh: FreshTokens, in current: Session) async throws(SessionStoreError) -> Outcome {
    let saved = try await manager.update(current) { record in
      guard record.tokens.generation < fresh.tokens.generation else { return false }
      record.tokens = fresh.tokens
      if let claims = fresh.claims { record.claims = claims }
      return true
    }
    unsaved.forget(current.key)
    guard let saved else {
      manager.foundLate(current, fresh.tokens)
      return .failed(.sessionEnded(nil))
    }
    return .fresh(saved)
  }

  /// As soon as the store works again: before another replica refreshes with the token that was used up.
  private func saveLater(_ fresh: FreshTokens, in current: Session) async {
    for _ in 0..<Self.saveTries {
      do { try await time.sleep(for: Self.savePause) } catch { return }
      // Written meanwhile, or the session is over.
      guard unsaved.tokens(of: current.key)?.tokens.generation == fresh.tokens.generation else { return }
      do throws(SessionStoreError) {
        _ = try await write(fresh, in: current)
        return
      } catch { continue }
    }
  }

  private func end(_ session: Session, _ reason: EndReason) async throws(SessionStoreError) -> Outcome {
    _ = try await manager.end(session.key, reason: reason)
    return .failed(.sessionEnded(reason))
  }

  private func isNewer(_ session: Session, than seen: Session) -> Bool {
    session.tokens.generation > seen.tokens.generation && session.tokens.isUsable(at: manager.now())
  }

  private func keep(_ session: Session, or failure: TokenFailure) -> Outcome {
    session.tokens.isUsable(at: manager.now()) ? .kept(session) : .failed(failure)
  }
}

/// What a refresh brought.
private struct FreshTokens: Sendable {
  let tokens: SessionTokens
  /// Nil: as before.
  let claims: JSONObject?
}

/// Refreshed tokens that wait for the store.
private final class UnsavedTokens: Sendable {
  private let waiting = Mutex([SessionKey: FreshTokens]())
  /// An outage of the store with more refreshes than this loses some: those people sign in again.
  private static let maximum = 10_000

  func tokens(of key: SessionKey) -> FreshTokens? { waiting.withLock { $0[key] } }
  func forget(_ key: SessionKey) { waiting.withLock { $0[key] = nil } }
  var count: Int { waiting.withLock { $0.count } }
  /// True: they are kept since now.
  func keep(_ tokens: FreshTokens, of key: SessionKey) -> Bool {
    waiting.withLock { waiting in
      guard waiting.count < Self.maximum, waiting[key]?.tokens.generation != tokens.tokens.generation else { return false }
      waiting[key] = tokens
      return true
    }
  }
}
