import Cryptography
import IntercomCore
import Sessions

/// Gets Matrix tokens for requests: one login for each session and account on all replicas, once for all who wait, and never by a timer.
///
/// One per process; it does for homeservers what `RefreshCoordinator` does for the provider.
package actor MatrixDevices: SessionEndObserver {
  /// Whose token, and of which kind.
  struct Key: Hashable, Sendable {
    enum Kind { case access, openID }
    let session: SessionKey
    let user: Identifier
    let kind: Kind
  }

  private let manager: SessionManager
  private let time: any TimeSource
  let events: SessionEvents
  private let callLimit: Duration
  private let login: MatrixLogin
  private var logins = SingleFlight<Key, Result<MatrixGrant, MatrixFailure>>()
  private var openIDs = SingleFlight<Key, Result<MatrixOpenIDGrant, MatrixFailure>>()
  private var memory = MatrixMemory()

  package init(
    manager: SessionManager, keys: KeyRing, time: any TimeSource, events: SessionEvents = .none,
    callLimit: Duration = RefreshCoordinator.standardCallLimit
  ) throws(CryptographyError) {
    self.manager = manager
    self.time = time
    self.events = events
    self.callLimit = callLimit
    login = MatrixLogin(
      manager: manager, names: try MatrixDeviceNames(keys: keys), time: time, events: events, callLimit: callLimit)
    manager.add(self)
  }

  // MARK: Access tokens

  /// An access token of this account: the session's, or a new one when there is none, it is over or was refused.
  package func token(
    for session: Session, _ user: MatrixUserID, at client: MatrixClient
  ) async throws(MatrixFailure) -> MatrixGrant {
    let key = Key(session: session.key, user: user.text, kind: .access)
    let now = manager.now()
    if let device = MatrixDevice(in: session, of: user.text), device.isUsable(at: now), device.generation > memory.refused(key) {
      // Still good: nobody waits for the next one, not even while the homeserver hangs.
      if device.isDue(at: now), memory.failure(key, now: now) == nil, !logins.isUnderWay(key), case .start = logins.board(key) {
        _ = start(key, session, user, client)
      }
      return MatrixGrant(device: device, session: session)
    }
    if let failure = memory.failure(key, now: now) { throw .homeserver(failure) }
    switch logins.board(key) {
    case .full: throw .overloaded
    case .join(let task):
      events.token(.matrixLogin, .joined)
      return try await task.value.get()
    case .start: return try await start(key, session, user, client).value.get()
    }
  }

  /// A task of its own: a client that goes away must not cancel a login, whose device would be left alone.
  private func start(
    _ key: Key, _ session: Session, _ user: MatrixUserID, _ client: MatrixClient
  ) -> Task<Result<MatrixGrant, MatrixFailure>, Never> {
    logins.start(key) { id in
      let refused = memory.refused(key)
      let work = Task {
        let result = await login.run(session, user, client, newerThan: refused)
        return land(key, id, result)
      }
      return Task { [callLimit, time] in await result(of: work, within: callLimit, time) ?? .failure(.tooLate) }
    }
  }

  private func land(_ key: Key, _ id: UInt64, _ result: Result<MatrixGrant, MatrixFailure>) -> Result<MatrixGrant, MatrixFailure> {
    guard logins.land(key, id: id) else { return .failure(.sessionEnded) }
    switch result {
    case .success(let grant):
      memory.forgetFailure(key)
      manager.announceRefresh(of: grant.session)
    case .failure(let failure): remember(failure, key)
    }
    return result
  }

  private func remember(_ failure: MatrixFailure, _ key: Key) {
    if case .homeserver(let error) = failure { memory.note(error, key, now: manager.now()) }
  }

  /// Returns when no login or refresh is under way, after `limit`, or when the task is cancelled: what the homeserver answers to one is a device,
  /// which nobody would log out, or the only good refresh token. False: something was left.
  package func drain(within limit: Duration) async -> Bool { await isDone(within: limit, time) { logins.count == 0 } }

  // MARK: OpenID tokens

  /// An OpenID token of this account, from memory or asked for now.
  package func openIDToken(
    for session: Session, _ user: MatrixUserID, at client: MatrixClient
  ) async throws(MatrixFailure) -> MatrixOpenIDGrant {
    let key = Key(session: session.key, user: user.text, kind: .openID)
    let now = manager.now()
    if let held = memory.openID(key), now < held.expiry {
      events.token(.matrixOpenID, .cached)
      if now >= held.freshUntil, memory.failure(key, now: now) == nil, !openIDs.isUnderWay(key), case .start = openIDs.board(key) {
        _ = startOpenID(key, session, user, client)
      }
      return MatrixOpenIDGrant(token: held, session: session)
    }
    if let failure = memory.failure(key, now: now) { throw .homeserver(failure) }
    switch openIDs.board(key) {
    case .full: throw .overloaded
    case .join(let task):
      events.token(.matrixOpenID, .joined)
      return try await task.value.get()
    case .start: return try await startOpenID(key, session, user, client).value.get()
    }
  }

  private func startOpenID(
    _ key: Key, _ session: Session, _ user: MatrixUserID, _ client: MatrixClient
  ) -> Task<Result<MatrixOpenIDGrant, MatrixFailure>, Never> {
    openIDs.start(key) { id in
      let work = Task {
        let result: Result<MatrixOpenIDGrant, MatrixFailure>
        do throws(MatrixFailure) { result = .success(try await askOpenID(session, user, client)) } catch { result = .failure(error) }
        return landOpenID(key, id, result)
      }
      return Task { [callLimit, time] in await result(of: work, within: callLimit, time) ?? .failure(.tooLate) }
    }
  }

  private func askOpenID(
    _ session: Session, _ user: MatrixUserID, _ client: MatrixClient
  ) async throws(MatrixFailure) -> MatrixOpenIDGrant {
    var grant = try await token(for: session, user, at: client)
    for attempt in 0..<2 {
      do throws(MatrixError) {
        let token = try await client.openIDToken(of: user, grant.device.accessToken)
        events.token(.matrixOpenID, .done)
        return MatrixOpenIDGrant(token: HeldOpenIDToken(token, received: manager.now()), session: grant.session)
      } catch {
        events.token(.matrixOpenID, error.result)
        // The device was logged out behind our back: once, a new login.
        guard error.code == .tokenUnknown, attempt == 0 else { throw .homeserver(error) }
        memory.refuse(
          Key(session: session.key, user: user.text, kind: .access), grant.device.generation, byBackend: false, now: manager.now())
        grant = try await token(for: grant.session, user, at: client)
      }
    }
    throw .tooLate
  }

  private func landOpenID(
    _ key: Key, _ id: UInt64, _ result: Result<MatrixOpenIDGrant, MatrixFailure>
  ) -> Result<MatrixOpenIDGrant, MatrixFailure> {
    guard openIDs.land(key, id: id) else { return .failure(.sessionEnded) }
    switch result {
    case .success(let grant):
      memory.keep(grant.token, key)
      memory.forgetFailure(key)
    case .failure(let failure): remember(failure, key)
    }
    return result
  }

  // MARK: What ends them

  /// An upstream answered 401 to a token of this account: the next request gets a new one. A newer token than the refused one stays, and so does
  /// one that replaced another for this reason a moment ago.
  package func invalidate(
    _ session: Session, _ user: MatrixUserID, ifRefused isRefused: @Sendable (MatrixSent) -> Bool
  ) {
    let access = Key(session: session.key, user: user.text, kind: .access)
    if let device = MatrixDevice(in: session, of: user.text), isRefused(.accessToken(device.accessToken)) {
      memory.refuse(access, device.generation, byBackend: true, now: manager.now())
    }
    let openID = Key(session: session.key, user: user.text, kind: .openID)
    if let held = memory.openID(openID), isRefused(.openIDToken(held.json)) { memory.dropOpenID(openID) }
  }

  /// Drops what is held of ended sessions, and keeps nothing that arrives for them from now on.
  package func sessionsEnded(_ sessions: [EndedSession]) {
    let keys = Set(sessions.map(\.key))
    memory.forget(keys)
    logins.abandon { keys.contains($0.session) }
    openIDs.abandon { keys.contains($0.session) }
  }
}

/// What a request gets of a login.
package struct MatrixGrant: Sendable {
  package let device: MatrixDevice
  /// With the device in it.
  package let session: Session
}

/// What a request gets of a call for an OpenID token.
package struct MatrixOpenIDGrant: Sendable {
  package let token: HeldOpenIDToken
  package let session: Session
}

/// What a backend was sent.
package enum MatrixSent: Sendable {
  case accessToken(Secret<String>)
  case openIDToken(Secret<[UInt8]>)
}
