import Glibc

/// The signals that ask a server for something.
package enum ServerSignal: Sendable, CaseIterable {
  /// SIGTERM: finish what is under way and end.
  case terminate
  /// SIGINT: the same from a terminal.
  case interrupt
  /// SIGHUP: read configuration and certificates again.
  case hangup

  var number: Int32 {
    switch self {
    case .terminate: SIGTERM
    case .interrupt: SIGINT
    case .hangup: SIGHUP
    }
  }
}

/// Blocks the server's signals for the calling thread and all that it starts later, so that only `waitForServerSignal` sees them; writing to
/// a closed socket becomes an error instead of a death. Call it first thing in `main`.
package func prepareServerSignals() {
  signal(SIGPIPE, SIG_IGN)
  var set = serverSignalSet()
  pthread_sigmask(SIG_BLOCK, &set, nil)
}

/// Waits, blocking its thread, for the next of the server's signals.
package func waitForServerSignal() -> ServerSignal {
  var set = serverSignalSet()
  while true {
    var number: Int32 = 0
    guard sigwait(&set, &number) == 0 else { continue }
    if let signal = ServerSignal.allCases.first(where: { $0.number == number }) { return signal }
  }
}

private func serverSignalSet() -> sigset_t {
  var set = sigset_t()
  sigemptyset(&set)
  for signal in ServerSignal.allCases { sigaddset(&set, signal.number) }
  return set
}

/// The server's signals one after the other, from a thread of their own.
package func serverSignals() -> AsyncStream<ServerSignal> {
  AsyncStream { continuation in
    startThread {
      while true { if case .terminated = continuation.yield(waitForServerSignal()) { return } }
    }
  }
}

/// Starts a detached thread with a stack of 1 MiB (threads that decode JSON need that much).
package func startThread(_ body: @escaping @Sendable () -> Void) {
  final class Box: Sendable {
    let body: @Sendable () -> Void
    init(_ body: @escaping @Sendable () -> Void) { self.body = body }
  }
  var attributes = pthread_attr_t()
  pthread_attr_init(&attributes)
  pthread_attr_setstacksize(&attributes, 1 << 20)
  pthread_attr_setdetachstate(&attributes, Int32(PTHREAD_CREATE_DETACHED))
  var thread = pthread_t()
  let box = Unmanaged.passRetained(Box(body)).toOpaque()
  let result = pthread_create(
    &thread, &attributes,
    { argument in
      guard let argument else { return nil }
      Unmanaged<Box>.fromOpaque(argument).takeRetainedValue().body()
      return nil
    }, box)
  pthread_attr_destroy(&attributes)
  precondition(result == 0, "the system gives no thread (\(result)): raise its limit of processes")
}
