import CLinux
import Glibc

/// Threads of our own: loops and workers need a known stack size, which neither Dispatch nor the concurrency runtime gives.
package enum Threads {
  /// The calling thread, as a number to compare.
  package static var current: UInt { UInt(pthread_self()) }

  /// How many processors this process may keep busy, at least 1: those that its affinity names (`taskset`, cpusets), and no more than the quota of
  /// its control groups (CPU limits of containers), rounded up. Reads files: for the start of the process.
  package static var processors: Int {
    let affine = Int(clinux_affine_processors())
    let usable = affine > 0 ? affine : sysconf(Int32(_SC_NPROCESSORS_ONLN))
    return max(1, min(usable, ProcessorShare.limit { try? readNamedFile($0, limit: 65_536).bytes } ?? usable))
  }

  /// Blocks the calling thread for at least this long.
  package static func pause(milliseconds: Int) { usleep(UInt32(clamping: milliseconds * 1000)) }

  /// Starts a detached thread. `name` is cut to 15 bytes (pthread_setname_np).
  package static func spawn(name: String, stackBytes: Int = 2 << 20, _ body: @escaping @Sendable () -> Void) throws(SystemCallError) {
    var attributes = pthread_attr_t()
    var code = pthread_attr_init(&attributes)
    guard code == 0 else { throw SystemCallError("pthread_attr_init", code) }
    defer { pthread_attr_destroy(&attributes) }
    code = pthread_attr_setstacksize(&attributes, max(stackBytes, 1 << 20))
    guard code == 0 else { throw SystemCallError("pthread_attr_setstacksize", code) }
    code = pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    guard code == 0 else { throw SystemCallError("pthread_attr_setdetachstate", code) }
    let start = Unmanaged.passRetained(ThreadStart(name: name, body: body))
    var thread = pthread_t()
    code = pthread_create(&thread, &attributes, { runThread($0) }, start.toOpaque())
    guard code == 0 else {
      start.release()
      throw SystemCallError("pthread_create", code)
    }
  }
}

private final class ThreadStart: Sendable {
  let name: String
  let body: @Sendable () -> Void
  init(name: String, body: @escaping @Sendable () -> Void) {
    self.name = name
    self.body = body
  }
}

private func runThread(_ argument: UnsafeMutableRawPointer?) -> UnsafeMutableRawPointer? {
  guard let argument else { return nil }
  let start = Unmanaged<ThreadStart>.fromOpaque(argument).takeRetainedValue()
  pthread_setname_np(pthread_self(), String(start.name.prefix(15)))
  start.body()
  return nil
}

/// A value under a lock with a condition to wait for.
///
/// `@unchecked Sendable`: the pthread mutex orders every access to `state`, which the compiler cannot see.
package final class Monitor<State>: @unchecked Sendable {
  private let mutex: UnsafeMutablePointer<pthread_mutex_t>
  private let condition: UnsafeMutablePointer<pthread_cond_t>
  private var state: State

  package init(_ state: sending State) {
    self.state = state
    mutex = .allocate(capacity: 1)
    condition = .allocate(capacity: 1)
    mutex.initialize(to: pthread_mutex_t())
    condition.initialize(to: pthread_cond_t())
    pthread_mutex_init(mutex, nil)
    pthread_cond_init(condition, nil)
  }

  deinit {
    pthread_cond_destroy(condition)
    pthread_mutex_destroy(mutex)
    condition.deallocate()
    mutex.deallocate()
  }

  /// Runs `body` under the lock.
  package func withLock<Result, Failure: Error>(_ body: (inout State) throws(Failure) -> sending Result) throws(Failure) -> sending Result {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    return try body(&state)
  }

  /// Runs `body` under the lock again and again, sleeping in between until a signal, until it gives a value.
  package func wait<Result>(_ body: (inout State) -> sending Result?) -> sending Result {
    pthread_mutex_lock(mutex)
    defer { pthread_mutex_unlock(mutex) }
    while true {
      if let result = body(&state) { return result }
      pthread_cond_wait(condition, mutex)
    }
  }

  package func signal() { pthread_cond_signal(condition) }
  package func broadcast() { pthread_cond_broadcast(condition) }
}

/// What the allocator gave for an object, without what hangs on it; for tests of budgets.
package func allocatedBytes(of object: AnyObject) -> Int { Int(malloc_usable_size(Unmanaged.passUnretained(object).toOpaque())) }
