import IntercomCore
import Sessions
import Synchronization

/// A session store that fails on command, in front of a real one.
package final class FaultySessionStore: SessionStore {
  package enum Operation: Sendable, Hashable, CaseIterable { case read, write, delete, find }

  private struct State {
    var failing: Set<Operation> = []
    var calls: [Operation: Int] = [:]
    var written = 0
    var kept: Set<RecordKey> = []
    var before: [Operation: @Sendable () async -> Void] = [:]
    var behindRead: (@Sendable () async -> Void)?
    var losesLease = false
  }
  private let inner: any SessionStore
  private let state = Mutex(State())

  package init(_ inner: any SessionStore) { self.inner = inner }

  /// These operations fail from now on; none when empty.
  package func fail(_ operations: Set<Operation>) { state.withLock { $0.failing = operations } }
  package var copiesLast: Duration { inner.copiesLast }
  package func count(of operation: Operation) -> Int { state.withLock { $0.calls[operation] ?? 0 } }
  /// The records of a kind that were written and not deleted since, expired ones among them.
  package func keys(of kind: RecordKind) -> Set<RecordKey> { state.withLock { $0.kept.filter { $0.kind == kind } } }
  /// Writes that are done.
  package var written: Int { state.withLock { $0.written } }
  /// Runs once, right before the next such operation reaches the real store: puts a rival where a race needs it.
  package func once(before operation: Operation, _ action: @escaping @Sendable () async -> Void) {
    state.withLock { $0.before[operation] = action }
  }
  /// Runs once, behind the next read and before whoever asked hears of it.
  package func onceRead(_ action: @escaping @Sendable () async -> Void) { state.withLock { $0.behindRead = action } }
  /// The next write of a lease is done, and its answer is lost.
  package func loseNextLease() { state.withLock { $0.losesLease = true } }

  package func read(_ key: RecordKey) async throws(SessionStoreError) -> StoredRecord? {
    guard key.kind != .lease else { return try await inner.read(key) }
    try await pass(.read)
    let record = try await inner.read(key)
    await state.withLock { $0.behindRead.take() }?()
    return record
  }
  package func write(
    _ key: RecordKey, _ value: [UInt8], indexes: [IndexKey], expiry: WallInstant, expecting expected: UInt64?
  ) async throws(SessionStoreError) -> WriteOutcome {
    if key.kind != .lease { try await pass(.write) }
    let outcome = try await inner.write(key, value, indexes: indexes, expiry: expiry, expecting: expected)
    state.withLock { state in
      state.written += 1
      if case .written = outcome { state.kept.insert(key) }
    }
    let isLost = state.withLock { state in
      guard key.kind == .lease, state.losesLease else { return false }
      state.losesLease = false
      return true
    }
    if isLost {
      throw .unavailable("the answer was lost, the test says")
    }
    return outcome
  }
  package func delete(_ key: RecordKey, expecting expected: UInt64?, tombstone: Duration) async throws(SessionStoreError) -> Bool {
    if key.kind != .lease { try await pass(.delete) }
    let isDone = try await inner.delete(key, expecting: expected, tombstone: tombstone)
    if isDone { state.withLock { _ = $0.kept.remove(key) } }
    return isDone
  }
  package func find(_ index: IndexKey, limit: Int) async throws(SessionStoreError) -> [RecordKey] {
    try await pass(.find)
    return try await inner.find(index, limit: limit)
  }

  private func pass(_ operation: Operation) async throws(SessionStoreError) {
    let (fails, action) = state.withLock { state in
      state.calls[operation, default: 0] += 1
      return (state.failing.contains(operation), state.before.removeValue(forKey: operation))
    }
    await action?()
    if fails { throw .unavailable("the test says so") }
  }
}

/// A provider's token endpoint with rotation and reuse detection: a refresh token that was used before revokes the family. Each exchanged token
/// names its user and target, so that a test sees a mix-up.
package final class ScriptedTokenSource: TokenSource {
  private struct State {
    var refreshes = 0
    var exchanges: [ExchangeTarget: Int] = [:]
    var valid: Set<String>
    var isRevoked = false
    var failure: TokenSourceError?
    var identity: RefreshedTokens.NewIdentity?
    var gate: Gate?
    var life = Duration.seconds(300)
    var exchangeLife: Duration? = .seconds(300)
  }
  private let state: Mutex<State>
  private let rotates: Bool

  package init(valid: Set<String> = ["refresh-0"], rotates: Bool = true) {
    state = Mutex(State(valid: valid))
    self.rotates = rotates
  }

  package var refreshes: Int { state.withLock { $0.refreshes } }
  package var exchanges: Int { state.withLock { $0.exchanges.values.reduce(0, +) } }
  package func exchanges(for target: ExchangeTarget) -> Int { state.withLock { $0.exchanges[target] ?? 0 } }
  /// Every call fails so; nil: calls succeed.
  package func fail(_ failure: TokenSourceError?) { state.withLock { $0.failure = failure } }
  /// The next refreshes name this identity.
  package func name(_ identity: RefreshedTokens.NewIdentity?) { state.withLock { $0.identity = identity } }
  /// Calls wait here before they answer; nil: they do not wait.
  package func hold(at gate: Gate?) { state.withLock { $0.gate = gate } }
  package func setExchangeLife(_ life: Duration?) { state.withLock { $0.exchangeLife = life } }

  package func refresh(_ request: RefreshRequest) async throws(TokenSourceError) -> RefreshedTokens {
    let (gate, number) = state.withLock { state in
      state.refreshes += 1
      return (state.gate, state.refreshes)
    }
    await gate?.pass()
    let result: Result<RefreshedTokens, TokenSourceError> = state.withLock { state in
      if let failure = state.failure { return .failure(failure) }
      let token = request.refreshToken.reveal()
      guard !state.isRevoked, state.valid.contains(token) else {
        state.isRevoked = true
        return .failure(.refused(code: "invalid_grant"))
      }
      let next = rotates ? "refresh-\(number)" : nil
      if let next {
        state.valid.remove(token)
        state.valid.insert(next)
      }
      return .success(
        RefreshedTokens(
          accessToken: Secret("access-\(number) of \(request.subject)"), expiresIn: state.life, refreshToken: next.map { Secret($0) },
          identity: state.identity))
    }
    return try result.get()
  }

  package func exchange(_ request: ExchangeRequest) async throws(TokenSourceError) -> ExchangedTokens {
    let (gate, failure, life) = state.withLock { state in
      state.exchanges[request.target, default: 0] += 1
      return (state.gate, state.failure, state.exchangeLife)
    }
    await gate?.pass()
    if let failure { throw failure }
    let target = request.target
    return ExchangedTokens(
      accessToken: Secret("\(request.subject) for \(target.audience ?? "-") \(target.scope ?? "-") \(target.resource ?? "-")"),
      expiresIn: life)
  }
}

/// Holds tasks until it is opened. A cancelled task goes through at once.
package final class Gate: Sendable {
  private struct State {
    var isOpen = false
    var waiting: [Int: CheckedContinuation<Void, Never>] = [:]
    var arrived = 0
  }
  private let state = Mutex(State())

  package init() {}

  /// How many came so far.
  package var arrived: Int { state.withLock { $0.arrived } }

  /// Returns when the gate is open, or the task is cancelled.
  package func pass() async {
    let id = state.withLock { state in
      state.arrived += 1
      return state.arrived
    }
    await withTaskCancellationHandler {
      await withCheckedContinuation { continuation in
        let goes = state.withLock { state in
          if state.isOpen || Task.isCancelled { return true }
          state.waiting[id] = continuation
          return false
        }
        if goes { continuation.resume() }
      }
    } onCancel: {
      state.withLock { $0.waiting.removeValue(forKey: id) }?.resume()
    }
  }

  /// Lets everybody through, now and later.
  package func open() {
    let waiting = state.withLock { state in
      state.isOpen = true
      defer { state.waiting = [:] }
      return state.waiting
    }
    for continuation in waiting.values { continuation.resume() }
  }
}

/// Notes the ends that it hears of, and may be slow to acknowledge them.
package final class RecordingEndObserver: SessionEndObserver {
  private let heard = Mutex([EndedSession]())
  private let gate: Gate?

  package init(gate: Gate? = nil) { self.gate = gate }
  package var ended: [EndedSession] { heard.withLock { $0 } }
  package func sessionsEnded(_ sessions: [EndedSession]) async {
    await gate?.pass()
    heard.withLock { $0 += sessions }
  }
}
