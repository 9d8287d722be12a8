import Cryptography
import IntercomCore
import StrictJSON
import Synchronization
import Telemetry

/// Times of sessions.
package struct SessionSettings: Sendable {
  /// A session that is not used for this long ends.
  package var idle: Duration { didSet { touchInterval = Self.touchInterval(idle) } }
  /// A session ends this long after its login, however much it is used.
  package var absolute: Duration

  package init(idle: Duration = .seconds(24 * 3600), absolute: Duration = .seconds(7 * 24 * 3600)) {
    self.idle = idle
    self.absolute = absolute
    touchInterval = Self.touchInterval(idle)
  }

  /// Use is written at most once in this time: min(60 s, idle ÷ 10), at least one second, the clock's unit.
  package private(set) var touchInterval: Duration
  private static func touchInterval(_ idle: Duration) -> Duration { max(.seconds(1), min(.seconds(60), idle / 10)) }
}

/// A session that ended, as told to observers.
package struct EndedSession: Sendable, Hashable {
  package let key: SessionKey
  package let reason: EndReason

  package init(key: SessionKey, reason: EndReason) {
    self.key = key
    self.reason = reason
  }
}

/// Hears of ends and drops what it holds of these sessions: each loop its cached copy, its tunnels and streams; the coordinator its tokens.
package protocol SessionEndObserver: Sendable {
  /// Returns when nothing of these sessions can be used any more where the observer stands. `SessionManager` waits for it, and the answer to a
  /// logout waits for that.
  func sessionsEnded(_ sessions: [EndedSession]) async

  /// The session has new tokens and perhaps other claims: what was made of the old ones is not used any more (S27). Nobody waits for it.
  func sessionRefreshed(_ session: Session) async
}

extension SessionEndObserver {
  package func sessionRefreshed(_ session: Session) async {}
}

/// What `load` found.
package enum SessionLookup: Sendable {
  case live(Session)
  /// No such session: never made, ended, or a damaged record. The same answer for all, for a client learns nothing from it.
  case none
  /// It was ended now, by its times.
  case ended(EndReason)
}

/// How a loop should treat the copy it holds.
package enum SessionFreshness: Sendable, Equatable {
  case live
  /// Its idle time seems over: another loop or replica may know a later use, so ask `load`.
  case readAgain
  case ended(EndReason)
}

/// Creates, loads, touches and ends sessions. One per process, shared by all loops.
package final class SessionManager: Sendable {
  let records: SealedRecords
  package let settings: SessionSettings
  private let clock: SteadyClock
  let time: any TimeSource
  let random: any RandomSource
  let turns: Turns
  private let events: SessionEvents
  private let observers = Mutex([any SessionEndObserver]())
  /// What is done elsewhere after sessions' ends.
  package let aftercare: AftercareQueue
  private let holder = Mutex<(any SessionTokenHolder)?>(nil)

  /// A late writer began before the end: a refresh takes 8 s at most, a replica's pause may be longer.
  static let tombstone = Duration.seconds(600)
  /// How often an update is tried when others keep writing the same record.
  static let maximumAttempts = 8
  /// How many sessions are looked for and deleted together: a store far away then takes few round trips.
  private static let page = 512
  /// How long an end waits for all who hold copies. A loop takes microseconds; one that is stuck must not hold up who signs out.
  static let acknowledgementLimit = Duration.seconds(5)

  package init(
    store: any SessionStore, keys: KeyRing, settings: SessionSettings = SessionSettings(), time: any TimeSource,
    random: any RandomSource, events: SessionEvents = .none
  ) {
    records = SealedRecords(store: store, keys: keys, events: events)
    self.settings = settings
    clock = SteadyClock(time)
    self.time = time
    self.random = random
    turns = Turns(random: random)
    self.events = events
    aftercare = AftercareQueue(time: time, events: events)
  }

  var store: any SessionStore { records.store }

  /// The wall clock that sessions live by; it never goes back.
  package func now() -> WallInstant { clock.now() }

  /// From now on the observer hears of every end.
  package func add(_ observer: any SessionEndObserver) { observers.withLock { $0.append(observer) } }

  /// From now on it tidies up after every end that happens here.
  package func add(aftercare care: any SessionAftercare) { aftercare.add(care) }

  /// Who keeps tokens beside the store.
  func setHolder(_ holder: any SessionTokenHolder) { self.holder.withLock { $0 = holder } }

  // MARK: Beginning

  /// A new session under a new id; whatever the browser presented before is dead, so an id planted before the login is worth nothing (S9).
  package func create(
    from login: VerifiedLogin, replacing old: SessionID? = nil
  ) async throws(SessionStoreError) -> (id: SessionID, session: Session) {
    var replaced: [SessionRemains] = []
    // Not before the new session stands: at the provider both may be one, which is not to be ended then.
    defer { aftercare.put(replaced) }
    if let key = old.map({ SessionKey($0) }) {
      let removed = await remove([key])
      replaced = remains(of: removed, .replaced)
      _ = try await acknowledge([key], .replaced, removed)
    }
    let id = SessionID(random: random)
    let now = clock.now()
    var session = Session(
      key: SessionKey(id), issuer: login.issuer, subject: login.subject, sid: login.sid, claims: login.claims, tokens: login.tokens,
      created: now, lastUse: now, absoluteExpiry: now.advanced(by: settings.absolute))
    let outcome: WriteOutcome
    do throws(SessionStoreError) { outcome = try await write(session, expecting: nil) } catch {
      // It may have been written all the same.
      if case .unavailable = error { abandon(session.key) }
      throw error
    }
    switch outcome {
    case .written(let version): session.version = version
    case .conflict, .deleted: throw .contended  // 256 random bits met before: the random source is broken
    }
    events.sessionCreated()
    return (id, session)
  }

  // MARK: Using

  /// Reads the session and ends it when its time is over. `noted` is the latest use that the caller knows and has not written.
  package func load(_ id: SessionID, noted: WallInstant? = nil) async throws(SessionStoreError) -> SessionLookup {
    try await load(SessionKey(id), noted: noted)
  }

  package func load(_ key: SessionKey, noted: WallInstant? = nil) async throws(SessionStoreError) -> SessionLookup {
    for _ in 0..<Self.maximumAttempts {
      guard let session = try await read(key) else { return .none }
      let reason: EndReason
      switch freshness(of: session, noted: noted) {
      case .live: return .live(session)
      case .readAgain: reason = .idle
      case .ended(let why): reason = why
      }
      // Only the record that was judged is ended: one touched meanwhile by another replica is read again.
      if try await records.store.delete(key.record, expecting: session.version, tombstone: Self.tombstone) {
        let held = await giveUpTokens(of: [key])
        let remains = [remains(of: session, held[key], reason)]
        _ = await announce([key], reason)
        aftercare.put(remains)
        return .ended(reason)
      }
    }
    throw .contended
  }

  /// Judges a copy without asking the store, for the loop's cache.
  package func freshness(of session: Session, noted: WallInstant? = nil) -> SessionFreshness {
    let now = clock.now()
    if now >= min(session.absoluteExpiry, session.created.advanced(by: settings.absolute)) { return .ended(.absolute) }
    return now < max(session.lastUse, noted ?? session.lastUse).advanced(by: settings.idle) ? .live : .readAgain
  }

  /// Must a use at `use` be written? At most once per `touchInterval`.
  package func needsTouch(_ session: Session, use: WallInstant) -> Bool {
    use >= session.lastUse.advanced(by: settings.touchInterval)
  }

  /// Writes the use when it is due. Nil: the session ended meanwhile.
  package func touch(_ session: Session, use: WallInstant) async throws(SessionStoreError) -> Session? {
    guard needsTouch(session, use: use) else { return session }
    return try await update(session) { current in
      guard current.lastUse < use else { return false }
      current.lastUse = use
      return true
    }
  }

  /// Changes the record by compare-and-swap: `change` sees the newest record (first the caller's copy) and returns false to leave it.
  /// Nil: the session ended, and nothing was written.
  func update(
    _ session: Session, _ change: @Sendable (inout Session) -> Bool
  ) async throws(SessionStoreError) -> Session? {
    var current = session
    for _ in 0..<Self.maximumAttempts {
      var changed = current
      guard change(&changed) else { return current }
      switch try await write(changed, expecting: current.version) {
      case .written(let version):
        changed.version = version
        return changed
      case .deleted: return nil
      case .conflict:
        guard let newer = try await read(session.key) else { return nil }
        current = newer
      }
    }
    throw .contended
  }

  /// The record as it stands in the store, whatever its times.
  package func read(_ key: SessionKey) async throws(SessionStoreError) -> Session? {
    guard let (plain, version) = try await records.read(key.record) else { return nil }
    do { return try Session(key: key, encoded: plain, version: version) } catch {
      try await records.discard(key.record, version: version)
      return nil
    }
  }

  /// Changes what another module keeps with the session under this name, as `update` does: `change` sees the newest value, and returns nil to
  /// leave it. Nil: the session ended.
  package func attach(
    to session: Session, as name: Identifier, _ change: @Sendable ([UInt8]?) -> [UInt8]?
  ) async throws(SessionStoreError) -> Session? {
    try await update(session) { current in
      guard let changed = change(current.attachments[name]?.reveal()) else { return false }
      return current.attach(changed, as: name)
    }
  }

  private func write(_ session: Session, expecting expected: UInt64?) async throws(SessionStoreError) -> WriteOutcome {
    // A little longer than the session, so that its end is found, told to observers and counted instead of silently happening in the store.
    let end = min(session.lastUse.advanced(by: settings.idle), session.absoluteExpiry)
    return try await records.write(
      session.key.record, session.encoded, indexes: session.indexes, expiry: end.advanced(by: settings.touchInterval), expecting: expected)
  }

  /// Tells all who hold copies of a session that it has new tokens.
  package func announceRefresh(of session: Session) {
    let listeners = observers.withLock { $0 }
    Task { for listener in listeners { await listener.sessionRefreshed(session) } }
  }

  // MARK: Ending

  /// Ends this session and returns when every loop has dropped it. False: there was none. Throws `unavailable` also when a loop did not
  /// confirm within five seconds: the session is gone from the store, but the end is not claimed.
  package func end(_ id: SessionID, reason: EndReason) async throws(SessionStoreError) -> Bool {
    try await end(SessionKey(id), reason: reason)
  }

  package func end(_ key: SessionKey, reason: EndReason) async throws(SessionStoreError) -> Bool {
    try await delete([key], reason) > 0
  }

  /// Ends every session of one session at the provider and says how many there were.
  package func end(issuer: Identifier, sid: Identifier, reason: EndReason) async throws(SessionStoreError) -> Int {
    try await endAll(IndexKey(sid: sid, issuer: issuer), reason)
  }

  /// Ends every session of a user and says how many there were.
  package func end(issuer: Identifier, subject: Identifier, reason: EndReason) async throws(SessionStoreError) -> Int {
    try await endAll(IndexKey(subject: subject, issuer: issuer), reason)
  }

  /// Returns when copies that other processes may have of a session are good for nothing any more, which the store has not now: another replica
  /// may have ended it a moment ago and wait for the same. Nobody is told and nothing is written: whoever makes up ids gets nothing but the pause.
  package func outlastCopies() async {
    let elsewhere = records.store.copiesLast
    if elsewhere > .zero { try? await time.sleep(for: elsewhere) }
  }

  private func endAll(_ index: IndexKey, _ reason: EndReason) async throws(SessionStoreError) -> Int {
    // Before the store is asked: a login that makes a session after that finds the end.
    try await noteEnd(of: index)
    var ended: [SessionKey] = []
    var removed = Removed()
    do throws(SessionStoreError) {
      // Each page deletes what it found; the bound is for a store whose index does not follow.
      while removed.failure == nil {
        let keys = try await records.store.find(index, limit: Self.page).map { SessionKey(word: $0.word) }
        guard !keys.isEmpty else { break }
        guard ended.count < 1_000 * Self.page else { throw .contended }
        ended += keys
        removed.add(await remove(keys))
      }
    } catch { removed.failure = error }
    return try await tidyAndAcknowledge(ended, reason, removed)
  }

  private func delete(_ keys: [SessionKey], _ reason: EndReason) async throws(SessionStoreError) -> Int {
    try await tidyAndAcknowledge(keys, reason, await remove(keys))
  }

  private func tidyAndAcknowledge(
    _ keys: [SessionKey], _ reason: EndReason, _ removed: Removed
  ) async throws(SessionStoreError) -> Int {
    // What was in many sessions is looked at while others drop their copies, which takes them longer.
    async let isTidied: Void = aftercare.put(remains(of: removed, reason), beyond: removed.forgotten)
    let result: Result<Int, SessionStoreError>
    do throws(SessionStoreError) { result = .success(try await acknowledge(keys, reason, removed)) } catch { result = .failure(error) }
    await isTidied
    return try result.get()
  }

  /// What became of deletions: how many were there, what they were when somebody wants to know, and why not all are sure.
  private struct Removed {
    var count = 0
    /// As the store had them, sealed; no more than can be tidied up after.
    var records: [(key: RecordKey, record: StoredRecord)] = []
    /// Those beyond.
    var forgotten = 0
    /// What this process held of them beside the store.
    var held: [SessionKey: HeldTokens] = [:]
    var failure: SessionStoreError?

    mutating func add(_ more: Removed) {
      count += more.count
      let room = max(0, AftercareQueue.capacity - records.count)
      records += more.records.prefix(room)
      forgotten += more.forgotten + max(0, more.records.count - room)
      held.merge(more.held) { old, _ in old }
      failure = failure ?? more.failure
    }
  }

  private func remove(_ keys: [SessionKey]) async -> Removed {
    let taken = await records.store.take(keys.map(\.record), tombstone: Self.tombstone)
    guard aftercare.isWanted else { return Removed(count: taken.count, failure: taken.failure) }
    let held = await giveUpTokens(of: taken.records.map { SessionKey(word: $0.key.word) })
    return Removed(count: taken.count, records: taken.records, held: held, failure: taken.failure)
  }

  private func giveUpTokens(of keys: [SessionKey]) async -> [SessionKey: HeldTokens] {
    guard !keys.isEmpty, aftercare.isWanted, let holder = holder.withLock({ $0 }) else { return [:] }
    return await holder.giveUpTokens(of: keys)
  }

  /// The copies go too, also when the store failed; then the error says that the end is not sure.
  private func acknowledge(
    _ keys: [SessionKey], _ reason: EndReason, _ removed: Removed
  ) async throws(SessionStoreError) -> Int {
    let isSure = await announce(keys, reason, count: removed.count)
    if let failure = removed.failure { throw failure }
    guard isSure else { throw .unavailable("an event loop did not confirm the end of a session in time") }
    return removed.count
  }

  /// What these leave behind. One that cannot be read is removed all the same.
  private func remains(of removed: Removed, _ reason: EndReason) -> [SessionRemains] {
    removed.records.compactMap { key, record in
      let key = SessionKey(word: key.word)
      guard let plain = records.open(key.record, record), let session = try? Session(key: key, encoded: plain, version: record.version)
      else { return nil }
      return remains(of: session, removed.held[key], reason)
    }
  }

  private func remains(of session: Session, _ held: HeldTokens?, _ reason: EndReason) -> SessionRemains {
    let own = held?.own.map { $0.generation > session.tokens.generation ? $0 : session.tokens } ?? session.tokens
    return SessionRemains(session: session, reason: reason, tokens: own, backendTokens: held?.backend ?? [])
  }

  /// Something came for a session that had ended meanwhile, and that would be kept with it: nobody gets it, and it is ended too.
  package func foundLate(_ session: Session, attached value: [UInt8], as name: Identifier) {
    var late = session
    late.attachments = [name: Secret(value)]
    foundLate(late, nil)
  }

  /// Tokens came for a session that had ended meanwhile: nobody gets them, and they are ended too.
  func foundLate(_ session: Session, _ tokens: SessionTokens?, _ backendTokens: [BackendToken] = []) {
    guard aftercare.isWanted else { return }
    aftercare.put([SessionRemains(session: session, reason: nil, tokens: tokens, backendTokens: backendTokens)])
  }

  /// Whether the store has this session, whatever its times.
  package func isThere(_ key: SessionKey) async throws(SessionStoreError) -> Bool { try await read(key) != nil }

  /// Whether a session lives that belongs to this session of the provider.
  package func hasSession(issuer: Identifier, sid: Identifier) async throws(SessionStoreError) -> Bool {
    try await !records.store.find(IndexKey(sid: sid, issuer: issuer), limit: 1).isEmpty
  }

  /// Tells all who hold copies. False: not all confirmed in time; they still hear of it.
  private func announce(_ keys: [SessionKey], _ reason: EndReason, count: Int = 1) async -> Bool {
    let ended = keys.map { EndedSession(key: $0, reason: reason) }
    let listeners = observers.withLock { $0 }
    let elsewhere = reason.isTold ? records.store.copiesLast : .zero
    let telling = Task { [time] in
      await withTaskGroup(of: Void.self) { group in
        // Other processes may hold copies, even when none of these sessions was left to end: another may be ending them at this moment.
        if elsewhere > .zero { group.addTask { try? await time.sleep(for: elsewhere) } }
        for listener in listeners where !ended.isEmpty { group.addTask { await listener.sessionsEnded(ended) } }
      }
    }
    let isSure = await result(of: telling, within: Self.acknowledgementLimit, time) != nil
    events.sessionEnded(reason, count: count)
    if !isSure { events.endUnacknowledged(reason) }
    return isSure
  }
}

/// What a back-channel logout did.
package enum LogoutOutcome: Sendable, Equatable {
  /// Done; zero is a success too ([Back-Channel Logout §2.8](https://openid.net/specs/openid-connect-backchannel-1_0.html#BCResponse)).
  case ended(Int)
  /// This `jti` was accepted before: nothing was done.
  case replayed
}

extension SessionManager {
  /// Obeys a verified logout token once: `sid` ends that session of the provider, without one all sessions of the subject.
  ///
  /// The `jti` is noted as begun before and as done after the sessions ended, so that the provider's next try after a store failure is
  /// obeyed (fault 30), while a replay of a token that was obeyed cannot end a newer session (fault 28).
  package func backChannelLogout(
    issuer: Identifier, subject: Identifier?, sid: Identifier?, tokenID: Identifier, expiry: WallInstant
  ) async throws(SessionStoreError) -> LogoutOutcome {
    let begun: [UInt8] = [0]
    let done: [UInt8] = [1]
    let key = RecordKey(kind: .seenTokenID, naming: [issuer, tokenID])
    // Kept two minutes longer than the token: its expiry was checked with a tolerance for clocks.
    let until = max(expiry, clock.now()).advanced(by: .seconds(120))
    let claim = try await records.write(key, begun, expiry: until, expecting: nil)
    var version: UInt64?
    if case .written(let written) = claim {
      version = written
    } else if let seen = try await records.read(key) {
      guard seen.plain == begun else { return .replayed }
      version = seen.version
    }
    var count = 0
    if let sid {
      count = try await end(issuer: issuer, sid: sid, reason: .backChannelLogout)
    } else if let subject {
      count = try await end(issuer: issuer, subject: subject, reason: .backChannelLogout)
    }
    _ = try await records.write(key, done, expiry: until, expecting: version)
    return .ended(count)
  }

  /// Notes a token id and says whether it is new; for tokens that are good for one use.
  package func acceptOnce(issuer: Identifier, tokenID: Identifier, expiry: WallInstant) async throws(SessionStoreError) -> Bool {
    let key = RecordKey(kind: .seenTokenID, naming: [issuer, tokenID])
    let until = max(expiry, clock.now()).advanced(by: .seconds(120))
    if case .written = try await records.write(key, [1], expiry: until, expecting: nil) { return true }
    return false
  }
}
