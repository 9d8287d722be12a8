import IntercomCore
import Linux

/// Threads for what would hold a loop up: signatures, large JSON, files, name resolution. A task executor: work goes there by
/// `withTaskExecutorPreference(workers)`, or by `run`, which refuses when too much waits already.
package final class Workers: TaskExecutor {
  private struct State {
    var jobs: [UnownedJob] = []
    var head = 0
    var waitingRuns = 0
    var stopping = false
    var threads = 0
  }

  private enum Next: Sendable {
    case job(UnownedJob)
    case end
  }

  private let state = Monitor(State())
  private let name: String
  private let stackBytes: Int
  private let queueLimit: Int

  /// - Parameters:
  ///   - queueLimit: how many `run` calls may wait at once; more are refused.
  ///   - stackBytes: at least 1 MB, because decoding JSON 511 levels deep needs it.
  package init(name: String = "worker", threads: Int, queueLimit: Int = 4096, stackBytes: Int = 2 << 20) throws(WorkersError) {
    self.name = name
    self.stackBytes = stackBytes
    self.queueLimit = max(1, queueLimit)
    for number in 0..<max(1, threads) {
      do { try Threads.spawn(name: "\(name)-\(number)", stackBytes: stackBytes) { self.work() } } catch {
        stop()
        throw .thread(error)
      }
      state.withLock { $0.threads += 1 }
    }
  }

  /// Takes a job of the concurrency runtime; those cannot be refused.
  package func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    let alone = state.withLock { state in
      state.jobs.append(job)
      return state.stopping && state.threads == 0
    }
    state.signal()
    // After `stop` a job may still come (a task that was suspended); it must run, else its waiter waits for ever.
    if alone { try? Threads.spawn(name: "\(name)-late", stackBytes: stackBytes) { self.work() } }
  }

  /// Runs `body` on one of the threads. Throws `overloaded` when `queueLimit` calls wait already.
  package func run<Value: Sendable>(_ body: @escaping @Sendable () -> Value) async throws(WorkersError) -> Value {
    let admitted = state.withLock { state in
      guard state.waitingRuns < queueLimit else { return false }
      state.waitingRuns += 1
      return true
    }
    guard admitted else { throw .overloaded }
    return await withTaskExecutorPreference(self) {
      state.withLock { $0.waitingRuns -= 1 }
      return body()
    }
  }

  /// Lets the threads end when nothing waits any more.
  package func stop() {
    state.withLock { $0.stopping = true }
    state.broadcast()
  }

  private func work() {
    let executor = asUnownedTaskExecutor()
    while true {
      let next = state.wait { state -> Next? in
        if state.head < state.jobs.count {
          let job = state.jobs[state.head]
          state.head += 1
          if state.head == state.jobs.count {
            state.jobs.removeAll(keepingCapacity: state.head <= 1024)
            state.head = 0
          }
          return .job(job)
        }
        guard state.stopping else { return nil }
        state.threads = max(0, state.threads - 1)
        return .end
      }
      guard case .job(let job) = next else { return }
      job.runSynchronously(on: executor)
    }
  }
}

/// Why the workers did not take something.
package enum WorkersError: Error, Sendable, Equatable {
  /// As much work waits as may wait: answer 503.
  case overloaded
  case thread(SystemCallError)

  package var origin: FaultOrigin { .gateway }
}
