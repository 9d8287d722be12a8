import IntercomCore
import Synchronization

/// What came of work that only one replica may do at a time.
package enum TurnOutcome<Value: Sendable>: Sendable {
  /// It is over: the next one may begin.
  case done(Value)
  /// What it brought is not written yet. The lease is kept to its end, so that no other replica does it again from what it had before; this process may.
  case unwritten(Value)
  /// The turn was lost before anything was done that must not be done twice: another has it, or had it.
  case lost
}

/// The turn of one replica to do something for a session, while it does.
package final class Turn: Sendable {
  private struct State {
    var lease: Lease
    /// From before the lease was asked for, by both clocks: one of them stands still while the machine sleeps, the other may be set.
    var since: MonotonicInstant
    var sinceWall: WallInstant
  }
  private let state: Mutex<State>
  private let manager: SessionManager
  private let length: Duration
  /// When its calls to others must be over.
  let end: MonotonicInstant

  fileprivate init(_ lease: Lease, since: MonotonicInstant, _ sinceWall: WallInstant, limit: Duration, _ manager: SessionManager) {
    state = Mutex(State(lease: lease, since: since, sinceWall: sinceWall))
    length = limit + SessionManager.turnMargin
    end = since.advanced(by: limit)
    self.manager = manager
  }

  fileprivate var lease: Lease { state.withLock { $0.lease } }

  /// How old a lease may be when a call begins that must not be made twice.
  static let freshness = Duration.seconds(3)
  private static let maximumTries = 3

  /// To be asked right before what must not be done twice: makes sure that there is time enough left to do it and to write it down, with a
  /// new lease when the old one has grown old: the store was slow, or the process was paused. False: the turn is lost.
  package func isHeld() async throws(SessionStoreError) -> Bool {
    for _ in 0..<Self.maximumTries {
      let (time, wall) = (manager.time.monotonicNow(), manager.now())
      let (lease, age) = state.withLock { ($0.lease, max($0.since.duration(to: time), .seconds($0.sinceWall.seconds(to: wall)))) }
      guard age > Self.freshness else { return true }
      guard let renewed = try await manager.store.renew(lease, lasting: length, now: wall) else { return false }
      state.withLock { $0 = State(lease: renewed, since: time, sinceWall: wall) }
    }
    return false
  }
}

/// The turns that one process has at this moment.
final class Turns: Sendable {
  let owner: LeaseOwner
  private let names = Mutex(Set<Identifier>())

  init(random: any RandomSource) { owner = LeaseOwner(random: random) }

  /// False: this process has it already.
  func begin(_ name: Identifier) -> Bool { names.withLock { $0.insert(name).inserted } }
  func end(_ name: Identifier) { names.withLock { _ = $0.remove(name) } }
}

extension SessionManager {
  /// The longest that a store takes for one call.
  package static let storeDeadline = Duration.seconds(2)

  /// By how much a lease is longer than the time for the calls that it guards, which begins when it is asked for. What they bring is in the store
  /// one deadline behind their end, three when another wrote to the session meanwhile. The rest is for seconds that are cut off, and for replicas
  /// whose clocks run ahead: they see the lease end that much earlier.
  package static let turnMargin = storeDeadline * 4

  /// How long to wait before the lease is asked for again: a peer is mostly done at once, one that died holds it for seconds.
  private static let firstPause = Duration.milliseconds(50)
  private static let longestPause = Duration.milliseconds(400)

  /// Does what only one replica may do for a session at a time. While a peer does it, its result is waited for: `unless` looks at the newest
  /// record (nil: the session ended) and says what it is. Nil: the peer did not finish within `limit`.
  ///
  /// - Parameters:
  ///   - limit: the calls to others in `work` must be over so long after the lease was asked for (`Turn.end`), so that a holder that lives does not lose
  ///     the lease, which is longer by `turnMargin`, and its peers find it free soon.
  ///   - work: asks `Turn.isHeld` right before what must not be done twice.
  package func takeTurn<Value: Sendable>(
    _ purpose: String, of key: SessionKey, limit: Duration, _ work: (Turn) async -> TurnOutcome<Value>, unless: (Session?) -> Value?
  ) async throws(SessionStoreError) -> Value? {
    let name = Identifier(bytes: Array("\(purpose) ".utf8) + key.word.bytes)
    let start = time.monotonicNow()
    var pause = Self.firstPause
    repeat {
      if turns.begin(name) {
        defer { turns.end(name) }
        if let turn = try await turn(name, limit) {
          switch await work(turn) {
          case .done(let value):
            _ = try? await store.release(turn.lease)
            return value
          case .unwritten(let value): return value
          case .lost: _ = try? await store.release(turn.lease)
          }
        }
      }
      // That a peer wins is no failure.
      try? await time.sleep(for: pause)
      pause = min(pause * 2, Self.longestPause)
      if let value = unless(try await read(key)) { return value }
    } while start.duration(to: time.monotonicNow()) < limit
    return nil
  }

  /// The same for what does no harm when it is done twice.
  package func inTurn<Value: Sendable>(
    _ purpose: String, of key: SessionKey, limit: Duration, _ work: (_ end: MonotonicInstant) async -> Value, unless: (Session?) -> Value?
  ) async throws(SessionStoreError) -> Value? {
    try await takeTurn(purpose, of: key, limit: limit) { turn in
      .done(await work(turn.end))
    } unless: {
      unless($0)
    }
  }

  private func turn(_ name: Identifier, _ limit: Duration) async throws(SessionStoreError) -> Turn? {
    let (since, now) = (time.monotonicNow(), now())
    guard let lease = try await store.acquireLease(name, for: turns.owner, lasting: limit + Self.turnMargin, now: now) else { return nil }
    return Turn(lease, since: since, now, limit: limit, self)
  }
}
