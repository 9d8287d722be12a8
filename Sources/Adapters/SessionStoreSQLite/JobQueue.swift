import IntercomCore
import Linux
import Sessions
import Synchronization

/// The caller of a store, waiting: answered once, by the thread that did the work or by the deadline, whichever is first.
final class Answer<Value: Sendable>: Overdue {
  private let continuation: Mutex<CheckedContinuation<Result<Value, SessionStoreError>, Never>?>
  let deadline: MonotonicInstant

  init(_ continuation: CheckedContinuation<Result<Value, SessionStoreError>, Never>, deadline: MonotonicInstant) {
    self.continuation = Mutex(continuation)
    self.deadline = deadline
  }

  /// Gives the answer, unless there was one, and says whether it did.
  @discardableResult
  func give(_ result: Result<Value, SessionStoreError>) -> Bool {
    let waiting = continuation.withLock { waiting in
      defer { waiting = nil }
      return waiting
    }
    waiting?.resume(returning: result)
    return waiting != nil
  }

  var isGiven: Bool { continuation.withLock { $0 == nil } }
  func refuse(_ error: SessionStoreError) -> Bool { give(.failure(error)) }
}

/// An answer as the watch over deadlines sees it.
protocol Overdue: Sendable {
  var deadline: MonotonicInstant { get }
  var isGiven: Bool { get }
  /// Answers with the error, unless there was an answer, and says whether it did.
  func refuse(_ error: SessionStoreError) -> Bool
}

/// Work for a thread of the store.
struct Job<Work: Sendable>: Sendable {
  let work: Work
  let answer: any Overdue
  /// Of its value, to bound what a queue holds.
  let bytes: Int
}

/// Work that waits for the threads of a store, bounded in number and bytes.
final class JobQueue<Work: Sendable>: Sendable {
  /// What a thread does next.
  enum Next: Sendable {
    case jobs([Job<Work>])
    /// Nothing else waits, or sweeping was put off often enough.
    case sweep
    /// The queue is closed and empty.
    case end
  }
  /// What became of a job.
  enum Admission: Sendable { case queued, overloaded, closed }

  private struct State {
    var jobs: [Job<Work>] = []
    var bytes = 0
    var isClosed = false
    var wantsSweep = false
    /// Groups that went before the wanted sweep.
    var before = 0
  }
  private let state = Monitor(State())
  private let limit: Int
  private let byteLimit: Int
  /// So many groups go before a step of sweeping: under steady load it takes a seventeenth of the writer's time.
  private static var patience: Int { 16 }

  init(limit: Int, byteLimit: Int) {
    self.limit = limit
    self.byteLimit = byteLimit
  }

  func append(_ job: Job<Work>) -> Admission {
    let admission = state.withLock { state -> Admission in
      guard !state.isClosed else { return .closed }
      guard state.jobs.count < limit, state.bytes + job.bytes <= byteLimit else { return .overloaded }
      state.jobs.append(job)
      state.bytes += job.bytes
      return .queued
    }
    state.signal()
    return admission
  }

  func requestSweep() {
    state.withLock { $0.wantsSweep = true }
    state.signal()
  }

  /// The oldest jobs, at most `count` with at most `bytes` together, but at least one; waits for them.
  func take(count: Int, bytes: Int = .max) -> Next {
    state.wait { state -> Next? in
      if state.wantsSweep, state.jobs.isEmpty || state.before >= Self.patience {
        if state.jobs.isEmpty, state.isClosed { return .end }
        state.wantsSweep = false
        state.before = 0
        return .sweep
      }
      guard !state.jobs.isEmpty else { return state.isClosed ? .end : nil }
      var taken = 0
      var size = 0
      for job in state.jobs.prefix(count) {
        guard taken == 0 || size + job.bytes <= bytes else { break }
        taken += 1
        size += job.bytes
      }
      let group = Array(state.jobs.prefix(taken))
      state.jobs.removeFirst(taken)
      state.bytes -= size
      if state.wantsSweep { state.before += 1 }
      return .jobs(group)
    }
  }

  /// Takes no more; what waits is still done.
  func close() {
    state.withLock { $0.isClosed = true }
    state.broadcast()
  }
}

/// Lets somebody wait until a number of threads have ended.
final class Countdown: Sendable {
  private struct State {
    var count: Int
    var waiting: [CheckedContinuation<Void, Never>] = []
  }
  private let state: Mutex<State>

  init(_ count: Int) { state = Mutex(State(count: count)) }

  func arrive() { leave(1) }

  /// Lets nobody wait any longer: the threads hang.
  func giveUp() { leave(.max) }

  private func leave(_ number: Int) {
    let waiting = state.withLock { state -> [CheckedContinuation<Void, Never>] in
      state.count = max(0, state.count - number)
      guard state.count <= 0 else { return [] }
      defer { state.waiting = [] }
      return state.waiting
    }
    for continuation in waiting { continuation.resume() }
  }

  func wait() async {
    await withCheckedContinuation { continuation in
      let isOver = state.withLock { state in
        if state.count > 0 { state.waiting.append(continuation) }
        return state.count <= 0
      }
      if isOver { continuation.resume() }
    }
  }
}
