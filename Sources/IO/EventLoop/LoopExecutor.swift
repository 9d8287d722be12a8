import Linux
import Synchronization

/// A loop's thread as an executor: of the loop's actor (serial) and of tasks that prefer the loop.
package final class LoopExecutor: SerialExecutor, TaskExecutor {
  private struct State {
    var jobs: [UnownedJob] = []
    var ended = false
  }

  let wakeup: Wakeup
  private let state = Mutex(State())
  private let thread = Atomic<UInt>(0)
  private let hasJobs = Atomic<Bool>(false)
  private let tasks = Atomic<Int>(0)

  package init() throws(EventLoopError) {
    do { wakeup = try Wakeup() } catch { throw .system(error) }
  }

  deinit { wakeup.close() }

  /// Whether the caller runs on this loop's thread.
  package var isCurrent: Bool { thread.load(ordering: .relaxed) == Threads.current }

  package func enqueue(_ job: consuming ExecutorJob) {
    let job = UnownedJob(job)
    let (first, ended) = state.withLock { state in
      state.jobs.append(job)
      return (state.jobs.count == 1, state.ended)
    }
    hasJobs.store(true, ordering: .releasing)
    guard first else { return }
    if ended {
      // The loop is gone, but a suspended task may still be resumed: it must run, else its waiter waits for ever.
      try? Threads.spawn(name: "loop-late") { self.runLate() }
    } else if !isCurrent {
      wakeup.signal()
    }
  }

  package func asUnownedSerialExecutor() -> UnownedSerialExecutor { UnownedSerialExecutor(ordinary: self) }
  package func asUnownedTaskExecutor() -> UnownedTaskExecutor { UnownedTaskExecutor(ordinary: self) }
  package func checkIsolated() { precondition(isCurrent, "not on the loop's thread") }
  package func isIsolatingCurrentContext() -> Bool? { isCurrent }

  /// Called by the loop's thread before anything else.
  func bind() { thread.store(Threads.current, ordering: .releasing) }

  var isWaiting: Bool { hasJobs.load(ordering: .acquiring) }

  /// Runs the jobs that wait now, not those that they start: a task that hops without end must not starve the sockets.
  func drainOnce() {
    guard hasJobs.load(ordering: .acquiring) else { return }
    hasJobs.store(false, ordering: .relaxed)
    let jobs = state.withLock { state in
      let jobs = state.jobs
      state.jobs = []
      return jobs
    }
    // Without naming the task executor too: naming it makes every await of the actor on itself a real hop (612 ns instead of 24).
    for job in jobs { job.runSynchronously(on: asUnownedSerialExecutor()) }
  }

  /// How many tasks the loop has started that have not ended.
  var runningTasks: Int { tasks.load(ordering: .acquiring) }
  func taskStarted() { tasks.add(1, ordering: .acquiringAndReleasing) }
  func taskEnded() { tasks.subtract(1, ordering: .acquiringAndReleasing) }

  /// The loop's thread is about to end. True when nothing waits; otherwise drain and ask again.
  func end() -> Bool {
    state.withLock { state in
      state.ended = state.jobs.isEmpty
      return state.ended
    }
  }

  private func runLate() {
    state.withLock { $0.ended = false }
    bind()
    repeat { drainOnce() } while !end()
  }
}
