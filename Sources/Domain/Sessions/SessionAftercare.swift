import IntercomCore
import Synchronization
import Telemetry

/// What a session that is over leaves behind elsewhere: tokens at the provider and at backends.
package struct SessionRemains: Sendable {
  /// As it was read last.
  package let session: Session
  /// Nil: it ended some time before; only tokens are told of that came too late for it.
  package let reason: EndReason?
  /// The newest of its own that this process knows; nil when these are told of already.
  package let tokens: SessionTokens?
  /// Exchanged ones that this process holds.
  package let backendTokens: [BackendToken]

  package init(session: Session, reason: EndReason?, tokens: SessionTokens?, backendTokens: [BackendToken] = []) {
    self.session = session
    self.reason = reason
    self.tokens = tokens
    self.backendTokens = backendTokens
  }
}

/// Tokens that one process has beside the store.
package struct HeldTokens: Sendable {
  /// Newer than those in the store, which did not take them.
  package var own: SessionTokens?
  /// Exchanged ones, while they are good.
  package var backend: [BackendToken] = []

  package init() {}
}

/// Keeps tokens of sessions beside the store.
package protocol SessionTokenHolder: Sendable {
  /// Drops what it has of these sessions, which are over, and gives it to be revoked. Keeps none that arrives for them from now on.
  func giveUpTokens(of sessions: [SessionKey]) async -> [SessionKey: HeldTokens]
}

/// Who tidies up after sessions; the raw values are the words of logs and metrics.
package enum AftercareKind: String, Sendable, CaseIterable {
  /// Tokens at the provider ([RFC 7009](https://www.rfc-editor.org/rfc/rfc7009)).
  case revocation
  /// The device at the Matrix server.
  case matrix
}

/// What became of one try.
package enum AftercareOutcome: Sendable, Equatable {
  case done
  /// There was nothing to do.
  case needless
  /// It may work in a while. The text is for the log; `after` is what the other side asks for.
  case again(String, after: Duration? = nil)
  /// No other try would help.
  case failed(String)

  /// Of two parts of one try: `again` before `failed`, for what may still work is lost otherwise; then `done`. Of two pauses the longer one.
  package func and(_ other: AftercareOutcome) -> AftercareOutcome {
    if case .again(let why, let one) = self, case .again(_, let two) = other {
      return .again(why, after: [one, two].compactMap(\.self).max())
    }
    return other.weight > weight ? other : self
  }

  private var weight: Int {
    switch self {
    case .needless: 0
    case .done: 1
    case .failed: 2
    case .again: 3
    }
  }
}

/// Tidies up elsewhere after a session's end: best effort, beside the requests. The session itself is over before, whatever comes of this.
package protocol SessionAftercare: Sendable {
  var kind: AftercareKind { get }

  /// Whether it has anything to do after this end; else it takes no place among what waits.
  func isNeeded(after remains: SessionRemains) -> Bool

  /// One try, which may be repeated and is cancelled after `AftercareQueue.tryLimit`.
  func sessionEnded(_ remains: SessionRemains) async -> AftercareOutcome
}

extension SessionAftercare {
  package func isNeeded(after remains: SessionRemains) -> Bool { true }
}

/// Runs what is to be done after sessions' ends: a few at a time, each tried a few times, with a bound beyond which further ends are left to
/// the times of their tokens.
package final class AftercareQueue: Sendable {
  /// Jobs that wait, rest or are at work; more are dropped and counted. A job holds a session's record, about 10 KB.
  package static let capacity = 2_048
  /// Jobs at work at the same time.
  package static let width = 4
  /// How long one try may take.
  package static let tryLimit = Duration.seconds(15)
  /// The pauses before the further tries.
  package static let pauses: [Duration] = [.seconds(1), .seconds(5)]
  /// The longest pause that the other side may ask for.
  package static let longestPause = Duration.seconds(30)

  private struct Job: Sendable {
    let care: any SessionAftercare
    let remains: SessionRemains
    var tries = 0
  }
  private struct State {
    var cares: [any SessionAftercare] = []
    /// Nil where it was taken.
    var waiting: [Job?] = []
    /// Where the next one stands in `waiting`.
    var next = 0
    var atWork = 0
    /// Those that wait for their next try.
    var resting: [UInt64: Task<Void, Never>] = [:]
    var lastRest: UInt64 = 0
    var isDraining = false

    var isAnyoneWaiting: Bool { next < waiting.count }
    var count: Int { waiting.count - next + atWork + resting.count }

    mutating func take() -> Job? {
      guard isAnyoneWaiting else { return nil }
      let job = waiting[next].take()
      next += 1
      if next == waiting.count || next >= 256 {
        waiting.removeFirst(next)
        next = 0
      }
      return job
    }
  }
  private let state = Mutex(State())
  private let time: any TimeSource
  private let events: SessionEvents
  private let repeats = RepeatLimiter()

  init(time: any TimeSource, events: SessionEvents) {
    self.time = time
    self.events = events
  }

  /// From now on this one tidies up too.
  func add(_ care: any SessionAftercare) { state.withLock { $0.cares.append(care) } }

  /// Whether anybody wants to know what the sessions were that end.
  var isWanted: Bool { state.withLock { !$0.cares.isEmpty } }

  /// Jobs that are not done.
  package var count: Int { state.withLock { $0.count } }

  /// Tidies up after these, soon.
  ///
  /// - Parameter forgotten: how many more have ended, of which nobody remembers what they were.
  func put(_ remains: [SessionRemains], beyond forgotten: Int = 0) {
    guard !remains.isEmpty else { return }
    let cares = state.withLock { $0.cares }
    let jobs = remains.flatMap { remains in cares.filter { $0.isNeeded(after: remains) }.map { Job(care: $0, remains: remains) } }
    let dropped = state.withLock { state in
      var dropped = cares.flatMap { Array(repeating: $0.kind, count: forgotten) }
      for job in jobs {
        guard state.count < Self.capacity else {
          dropped.append(job.care.kind)
          continue
        }
        state.waiting.append(job)
        events.aftercareBegan()
      }
      return dropped
    }
    for kind in dropped { events.aftercareEnded(kind, .dropped) }
    if !dropped.isEmpty {
      events.log.limited(
        by: repeats, now: time.monotonicNow(), .warning, "session_aftercare_dropped",
        "Too many sessions have ended to tidy up after all of them: what is left of them ends by its own times.",
        ["count": LogValue(dropped.count)])
    }
    work()
  }

  /// Puts free hands to work.
  private func work() {
    let jobs = state.withLock { state in
      var jobs: [Job] = []
      while state.atWork < Self.width, let job = state.take() {
        state.atWork += 1
        jobs.append(job)
      }
      return jobs
    }
    for job in jobs { Task { await run(job) } }
  }

  private func run(_ first: Job) async {
    var job: Job? = first
    while let current = job {
      land(current, await attempt(current))
      job = state.withLock { state in
        let next = state.take()
        if next == nil { state.atWork -= 1 }
        return next
      }
    }
  }

  private func attempt(_ job: Job) async -> AftercareOutcome {
    await outcome(within: Self.tryLimit, time) { await job.care.sessionEnded(job.remains) } ?? .again("it took too long")
  }

  private func land(_ job: Job, _ outcome: AftercareOutcome) {
    let kind = job.care.kind
    switch outcome {
    case .done: events.aftercareEnded(kind, .done)
    case .needless: events.aftercareEnded(kind, .needless)
    case .failed(let why): giveUp(job, why)
    case .again(let why, let after): if !rest(job, after) { giveUp(job, why) }
    }
  }

  private func giveUp(_ job: Job, _ why: String) {
    events.aftercareEnded(job.care.kind, .givenUp)
    events.log.limited(
      by: repeats, now: time.monotonicNow(), key: job.care.kind.rawValue, .warning, "session_aftercare_given_up",
      "What a session has left behind elsewhere could not be ended: \(why)",
      [
        "care": .string(job.care.kind.rawValue), "reason": .string(job.remains.reason?.rawValue ?? "late"),
        "tries": LogValue(job.tries + 1),
      ])
  }

  /// Lets the job come back after a pause. False: it has been tried often enough.
  private func rest(_ job: Job, _ wanted: Duration?) -> Bool {
    guard job.tries < Self.pauses.count else { return false }
    let pause = min(max(wanted ?? .zero, Self.pauses[job.tries]), Self.longestPause)
    return state.withLock { state in
      guard !state.isDraining else { return false }
      state.lastRest &+= 1
      let id = state.lastRest
      // It cannot wake before it is noted: that takes the lock.
      state.resting[id] = Task {
        try? await time.sleep(for: pause)
        wake(id, job)
      }
      return true
    }
  }

  private func wake(_ id: UInt64, _ job: Job) {
    var job = job
    job.tries += 1
    state.withLock { state in
      state.resting[id] = nil
      state.waiting.append(job)
    }
    work()
  }

  /// Returns when everything is done, after `limit`, or when the task is cancelled; what rests is tried once more at once, and nothing again.
  /// False: something was left.
  package func drain(within limit: Duration) async -> Bool {
    let resting = state.withLock { state in
      state.isDraining = true
      return Array(state.resting.values)
    }
    for task in resting { task.cancel() }
    let end = time.monotonicNow().advanced(by: limit)
    while count > 0 {
      guard time.monotonicNow() < end, !Task.isCancelled else {
        events.log.warning(
          "session_aftercare_unfinished", "Intercom ends before everything was done that follows the end of sessions.",
          ["count": LogValue(count)])
        return false
      }
      try? await time.sleep(for: .milliseconds(10))
    }
    return true
  }
}
