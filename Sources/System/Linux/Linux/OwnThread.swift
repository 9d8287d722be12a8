/// Runs a blocking call on a thread of its own and resumes with what it gives.
///
/// For tests and rare long waits: a blocked thread of the concurrency pool (one per core) could be the one that the awaited thing needs.
/// Starting the thread costs about 30 µs.
package func onOwnThread<Result: Sendable>(_ body: @escaping @Sendable () -> Result) async -> Result {
  await withCheckedContinuation { continuation in
    do throws(SystemCallError) {
      try Threads.spawn(name: "blocking", stackBytes: 1 << 20) { continuation.resume(returning: body()) }
    } catch {
      // No thread to be had: blocking this one is slower, losing the caller would be worse.
      continuation.resume(returning: body())
    }
  }
}
