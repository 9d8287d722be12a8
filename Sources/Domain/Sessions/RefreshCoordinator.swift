import IntercomCore
import Telemetry

/// Gets tokens for requests: refreshes and exchanges once for all who wait, never for a session that ended, never by a timer.
///
/// One per process. It tells a refused refresh (the session ends) from an unreachable provider (503, nothing ends).
package actor RefreshCoordinator: SessionEndObserver {
  private let manager: SessionManager
  private let refresher: TokenRefresher
  private let source: any TokenSource
  private let time: any TimeSource
  private let events: SessionEvents
  private let callLimit: Duration
  private var refreshes = SingleFlight<SessionKey, Result<Session, TokenFailure>>()
  private var exchanges = SingleFlight<ExchangeKey, Result<ExchangeOutcome, TokenFailure>>()
  private var bearerExchanges = SingleFlight<ExchangeKey, Result<BackendToken, TokenFailure>>()
  private var cache: ExchangeCache
  /// Sessions whose refresh ahead of time failed: the next try waits, since the token is still good.
  private var resting: [SessionKey: WallInstant] = [:]
  private var restingExchanges: [ExchangeKey: WallInstant] = [:]
  private var isEnding = false

  /// Behaviour: "Times": one refresh or exchange.
  package static let standardCallLimit = Duration.seconds(8)
  /// How long a refused exchange is answered from memory, so that an app that repeats does not beat on the provider.
  private static let refusalKept = Duration.seconds(5)
  private static let rest = Duration.seconds(5)
  private static let maximumResting = 10_000

  package init(
    manager: SessionManager, source: any TokenSource, time: any TimeSource, events: SessionEvents = .none,
    callLimit: Duration = RefreshCoordinator.standardCallLimit, maximumCachedSessions: Int = 50_000
  ) {
    self.callLimit = callLimit
    self.manager = manager
    self.source = source
    self.time = time
    self.events = events
    refresher = TokenRefresher(manager: manager, source: source, time: time, callLimit: callLimit, events: events)
    cache = ExchangeCache(maximumSessions: maximumCachedSessions)
    manager.add(self)
    manager.setHolder(self)
  }

  // MARK: The session's own token

  /// The session with an access token that may be sent now: refreshed first when it is expired; when it is only due, a refresh begins and the
  /// token that is still good is used.
  package func session(_ session: Session) async throws(TokenFailure) -> Session {
    let now = manager.now()
    guard session.tokens.isDue(at: now) else { return session }
    guard session.tokens.isUsable(at: now) else { return try await refresh(session) }
    guard !isEnding, !refreshes.isUnderWay(session.key), resting[session.key].map({ $0 <= now }) ?? true else { return session }
    // Another loop may have refreshed already: its copy is in the store.
    let newest: Session?
    do { newest = try await manager.read(session.key) } catch { return session }
    guard let newest else { throw .sessionEnded(nil) }
    guard newest.tokens.isDue(at: now), newest.tokens.isUsable(at: now) else { return newest.tokens.isUsable(at: now) ? newest : session }
    if newest.tokens.refreshToken != nil, case .start = refreshes.board(session.key) { _ = startRefresh(newest) }
    return newest
  }

  /// Is a refresh of this session under way in this process?
  package func isRefreshing(_ key: SessionKey) -> Bool { refreshes.isUnderWay(key) }

  /// Is an exchange of this session for this backend under way in this process?
  package func isExchanging(_ key: SessionKey, _ target: ExchangeTarget) -> Bool {
    exchanges.isUnderWay(ExchangeKey(session: key, target: target))
  }

  private func refresh(_ session: Session) async throws(TokenFailure) -> Session {
    switch refreshes.board(session.key) {
    case .full: throw .overloaded
    case .join(let task):
      events.token(.refresh, .joined)
      return try await task.value.get()
    case .start: return try await startRefresh(session).value.get()
    }
  }

  /// A task of its own: a client that goes away must not cancel a refresh, for its answer may hold the only refresh token. For the same reason
  /// it goes on when those who wait are given up on.
  private func startRefresh(_ session: Session) -> Task<Result<Session, TokenFailure>, Never> {
    refreshes.start(session.key) { id in
      let work = Task {
        let outcome = await refresher.refresh(session)
        return landRefresh(session.key, id, outcome)
      }
      return Task { [callLimit, time] in await result(of: work, within: callLimit, time) ?? .failure(Self.tooLate) }
    }
  }

  private static let tooLate = TokenFailure.unavailable("no token came in time")

  private func landRefresh(_ key: SessionKey, _ id: UInt64, _ outcome: TokenRefresher.Outcome) -> Result<Session, TokenFailure> {
    let isKept = refreshes.land(key, id: id)
    switch outcome {
    case .fresh(let session):
      resting[key] = nil
      if isKept { manager.announceRefresh(of: session) }
      return isKept ? .success(session) : .failure(.sessionEnded(nil))
    case .kept(let session):
      if resting.count >= Self.maximumResting { resting.removeAll() }
      resting[key] = manager.now().advanced(by: Self.rest)
      return isKept ? .success(session) : .failure(.sessionEnded(nil))
    case .failed(let failure): return .failure(failure)
    }
  }

  // MARK: The end

  /// From now on no refresh begins ahead of its time: what a request needs is done still, what only later ones need is left to other processes.
  package func willEnd() { isEnding = true }

  /// Returns when no refresh is under way and the store has all tokens, after `limit`, or when the task is cancelled. A refresh's answer may hold the
  /// only good refresh token, whether or not anybody waits for it. False: something was left.
  package func drain(within limit: Duration) async -> Bool {
    if await isDone(within: limit, time, { refreshes.count + refresher.unsavedCount == 0 }) { return true }
    events.log.warning(
      "token_refresh_unfinished",
      "Intercom ends while tokens are being refreshed or wait for the session store: where the provider rotates refresh tokens, these users sign in anew.",
      ["count": LogValue(refreshes.count + refresher.unsavedCount)])
    return false
  }

  // MARK: Tokens for backends

  /// A token of this session's user for that backend, from the cache or exchanged now; and the session, with newer tokens when the exchange
  /// needed them.
  package func token(for session: Session, _ target: ExchangeTarget) async throws(TokenFailure) -> ExchangeOutcome {
    let key = ExchangeKey(session: session.key, target: target)
    let now = manager.now()
    switch cache.entry(key, now: now) {
    case .token(let token) where !token.isDue(at: now):
      events.token(.exchange, .cached)
      return ExchangeOutcome(token: token, session: session)
    case .token(let token):
      // Still good: nobody waits for the next one, not even while the provider hangs.
      let isResting = restingExchanges[key].map { $0 > now } ?? false
      if !isResting, !exchanges.isUnderWay(key), case .start = exchanges.board(key) { _ = startExchange(key, session) }
      return ExchangeOutcome(token: token, session: session)
    case .refused(let code, let detail, _): throw .refused(code: code, detail: detail)
    case nil: break
    }
    switch exchanges.board(key) {
    case .full: throw .overloaded
    case .join(let task):
      events.token(.exchange, .joined)
      return try await task.value.get()
    case .start: return try await startExchange(key, session).value.get()
    }
  }

  private func startExchange(_ key: ExchangeKey, _ session: Session) -> Task<Result<ExchangeOutcome, TokenFailure>, Never> {
    exchanges.start(key) { id in
      let work = Task {
        let result = await exchange(session, key.target)
        return landExchange(key, session, id, result)
      }
      return Task { [callLimit, time] in await result(of: work, within: callLimit, time) ?? .failure(Self.tooLate) }
    }
  }

  private func exchange(_ session: Session, _ target: ExchangeTarget) async -> Result<ExchangeOutcome, TokenFailure> {
    do throws(TokenFailure) {
      let session = try await self.session(session)
      let request = ExchangeRequest(
        subjectToken: session.tokens.accessToken, target: target, issuer: session.issuer, subject: session.subject,
        sessionID: session.claims["sid"]?.identifier)
      return .success(ExchangeOutcome(token: try await exchange(request).get(), session: session))
    } catch {
      return .failure(error)
    }
  }

  private func landExchange(
    _ key: ExchangeKey, _ session: Session, _ id: UInt64, _ result: Result<ExchangeOutcome, TokenFailure>
  ) -> Result<ExchangeOutcome, TokenFailure> {
    guard exchanges.land(key, id: id) else {
      if case .success(let late) = result { manager.foundLate(session, nil, [late.token]) }
      return .failure(.sessionEnded(nil))
    }
    keep(result.map(\.token), for: key)
    switch result {
    case .success: restingExchanges[key] = nil
    case .failure(.refused): break
    case .failure:
      let now = manager.now()
      // A token that is still good is used on; the next try waits.
      if restingExchanges.count >= Self.maximumResting { restingExchanges.removeAll() }
      if cache.entry(key, now: now) != nil { restingExchanges[key] = now.advanced(by: Self.rest) }
    }
    return result
  }

  /// The same for a bearer token that a client brought, by which nothing is refreshed.
  package func token(for bearer: BearerSubject, _ target: ExchangeTarget) async throws(TokenFailure) -> BackendToken {
    let key = ExchangeKey(session: bearer.key, target: target)
    let now = manager.now()
    switch cache.entry(key, now: now) {
    case .token(let token) where !token.isDue(at: now):
      events.token(.exchange, .cached)
      return token
    case .refused(let code, let detail, _): throw .refused(code: code, detail: detail)
    case .token, nil: break
    }
    switch bearerExchanges.board(key) {
    case .full: throw .overloaded
    case .join(let task):
      events.token(.exchange, .joined)
      return try await task.value.get()
    case .start: return try await startExchange(key, bearer).value.get()
    }
  }

  private func startExchange(_ key: ExchangeKey, _ bearer: BearerSubject) -> Task<Result<BackendToken, TokenFailure>, Never> {
    bearerExchanges.start(key) { id in
      let request = ExchangeRequest(
        subjectToken: bearer.token, target: key.target, issuer: bearer.issuer, subject: bearer.subject, sessionID: bearer.sessionID)
      let work = Task {
        let result = await exchange(request)
        _ = bearerExchanges.land(key, id: id)
        keep(result, for: key)
        return result
      }
      return Task { [callLimit, time] in await result(of: work, within: callLimit, time) ?? .failure(Self.tooLate) }
    }
  }

  private func exchange(_ request: ExchangeRequest) async -> Result<BackendToken, TokenFailure> {
    let source = source
    switch await bounded(by: callLimit, time, { () async throws(TokenSourceError) in try await source.exchange(request) }) {
    case .success(let tokens):
      events.token(.exchange, .done)
      let now = manager.now()
      return .success(
        BackendToken(accessToken: tokens.accessToken, received: now, expiry: now.advanced(by: tokens.expiresIn ?? .seconds(60))))
    case .failure(let error):
      events.token(.exchange, error.result)
      return .failure(TokenFailure(error))
    }
  }

  /// Keeps tokens, and refusals for a short while.
  private func keep(_ result: Result<BackendToken, TokenFailure>, for key: ExchangeKey) {
    let now = manager.now()
    switch result {
    case .success(let token): cache.insert(.token(token), for: key, now: now)
    case .failure(.refused(let code, let detail)):
      cache.insert(.refused(code: code, detail: detail, until: now.advanced(by: Self.refusalKept)), for: key, now: now)
    case .failure: break
    }
  }

  /// An upstream answered 401 to this token: the next request exchanges anew. Of answers to requests that were under way together only the
  /// first finds the token that it refused; a newer one stays.
  package func invalidate(_ session: SessionKey, _ target: ExchangeTarget, ifRefused isRefused: @Sendable (BackendToken) -> Bool) {
    let key = ExchangeKey(session: session, target: target)
    guard case .token(let token) = cache.entry(key, now: manager.now()), isRefused(token) else { return }
    cache.remove(key)
  }

  /// Drops the tokens of ended sessions, and keeps none that arrives for them from now on.
  package func sessionsEnded(_ sessions: [EndedSession]) { drop(Set(sessions.map(\.key))) }

  private func drop(_ keys: Set<SessionKey>) {
    for key in keys {
      cache.removeAll(of: key)
      resting[key] = nil
      refresher.forget(key)
    }
    exchanges.abandon { keys.contains($0.session) }
    refreshes.abandon { keys.contains($0) }
  }
}

extension RefreshCoordinator: SessionTokenHolder {
  package func giveUpTokens(of sessions: [SessionKey]) -> [SessionKey: HeldTokens] {
    let now = manager.now()
    var given: [SessionKey: HeldTokens] = [:]
    for key in sessions {
      var held = HeldTokens()
      held.own = refresher.unsavedTokens(of: key)
      held.backend = cache.tokens(of: key, now: now)
      given[key] = held
    }
    drop(Set(sessions))
    return given
  }
}

/// A verified bearer token, as what is exchanged for a backend.
package struct BearerSubject: Sendable {
  /// Of the token itself: what is kept for it never meets what is kept for another.
  package let key: SessionKey
  package let token: Secret<String>
  package let issuer: Identifier
  package let subject: Identifier
  package let sessionID: Identifier?

  package init(key: SessionKey, token: Secret<String>, issuer: Identifier, subject: Identifier, sessionID: Identifier?) {
    self.key = key
    self.token = token
    self.issuer = issuer
    self.subject = subject
    self.sessionID = sessionID
  }
}

/// What a request gets of an exchange.
package struct ExchangeOutcome: Sendable {
  package let token: BackendToken
  package let session: Session
}

/// Runs `call` for at most `limit` and cancels it then.
func bounded<Value: Sendable>(
  by limit: Duration, _ time: any TimeSource, _ call: @escaping @Sendable () async throws(TokenSourceError) -> Value
) async -> Result<Value, TokenSourceError> {
  let first = await outcome(within: limit, time) { () -> Result<Value, TokenSourceError> in
    do throws(TokenSourceError) { return .success(try await call()) } catch { return .failure(error) }
  }
  return first ?? .failure(.unavailable("the provider did not answer in time"))
}

extension TokenFailure {
  init(_ error: TokenSourceError) {
    switch error {
    case .refused(let code, let detail): self = .refused(code: code, detail: detail)
    case .identityChanged: self = .sessionEnded(.identityChanged)
    case .unavailable(let what): self = .unavailable(what)
    case .invalidAnswer(let what): self = .invalidAnswer(what)
    }
  }
}

extension TokenSourceError {
  var result: SessionEvents.TokenResult {
    switch self {
    case .refused: .refused
    case .identityChanged: .identityChanged
    case .unavailable: .unavailable
    case .invalidAnswer: .invalid
    }
  }
}
