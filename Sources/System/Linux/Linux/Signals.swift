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

/// Writing to a closed socket or pipe becomes an error for the calling thread, whatever the process does about SIGPIPE.
package func blockBrokenPipeSignal() {
  var set = sigset_t()
  sigemptyset(&set)
  sigaddset(&set, SIGPIPE)
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
package func serverSignals() throws(SystemCallError) -> AsyncStream<ServerSignal> {
  let (stream, continuation) = AsyncStream.makeStream(of: ServerSignal.self)
  try Threads.spawn(name: "signals", stackBytes: 1 << 18) {
    while true { if case .terminated = continuation.yield(waitForServerSignal()) { return } }
  }
  return stream
}

/// Waits for ever, blocking its thread.
package func parkThread() -> Never {
  while true { pause() }
}
