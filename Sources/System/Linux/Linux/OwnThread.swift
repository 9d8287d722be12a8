import Glibc

/// Runs a blocking call on a thread of its own and resumes with what it gives.
///
/// For tests and rare long waits: a blocked thread of the concurrency pool (one per core) could be the one that the awaited thing needs.
/// Starting the thread costs about 30 µs.
package func onOwnThread<Result: Sendable>(_ body: @escaping @Sendable () -> Result) async -> Result {
  await withCheckedContinuation { continuation in
    let job = ThreadJob { continuation.resume(returning: body()) }
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
    pthread_attr_setstacksize(&attributes, 1 << 20)
    defer { pthread_attr_destroy(&attributes) }
    var thread = pthread_t()
    let pointer = Unmanaged.passRetained(job).toOpaque()
    let code = pthread_create(
      &thread, &attributes,
      { argument in
        if let argument { Unmanaged<ThreadJob>.fromOpaque(argument).takeRetainedValue().run() }
        return nil
      }, pointer)
    if code != 0 {
      // No thread to be had: blocking this one is slower, losing the caller would be worse.
      Unmanaged<ThreadJob>.fromOpaque(pointer).takeRetainedValue().run()
    }
  }
}

private final class ThreadJob: Sendable {
  let run: @Sendable () -> Void
  init(run: @escaping @Sendable () -> Void) { self.run = run }
}
