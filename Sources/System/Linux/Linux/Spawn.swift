import CLinux
@preconcurrency import Glibc

/// A child process could not be started.
package struct SpawnError: Error, Sendable, CustomStringConvertible {
  /// The program that should have run.
  package let program: String
  /// errno of the call that failed.
  package let code: Int32

  package var description: String { "cannot start \(program): \(String(cString: strerror(code)))" }
}

/// How a child ended.
package enum ChildExit: Sendable, Equatable {
  case code(Int32)
  case signal(Int32)
}

/// Starts `program` (looked up in PATH when it holds no slash) as the leader of its own process group, so that it can be ended together with
/// everything that it starts.
///
/// Standard input is empty; standard output and standard error are appended to `logPath`. The child gets no other descriptor of this process,
/// and default signal dispositions and an empty mask: otherwise it would inherit what this process ignores or blocks.
package func spawn(program: String, arguments: [String], environment: [String], logPath: String) throws(SpawnError) -> Int32 {
  var actions = posix_spawn_file_actions_t()
  var attributes = posix_spawnattr_t()
  posix_spawn_file_actions_init(&actions)
  posix_spawnattr_init(&attributes)
  defer {
    posix_spawn_file_actions_destroy(&actions)
    posix_spawnattr_destroy(&attributes)
  }
  posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
  posix_spawn_file_actions_addopen(&actions, 1, logPath, O_WRONLY | O_CREAT | O_APPEND, 0o600)
  posix_spawn_file_actions_adddup2(&actions, 1, 2)
  posix_spawn_file_actions_addclosefrom_np(&actions, 3)
  var every = sigset_t()
  var none = sigset_t()
  sigfillset(&every)
  sigemptyset(&none)
  posix_spawnattr_setsigdefault(&attributes, &every)
  posix_spawnattr_setsigmask(&attributes, &none)
  posix_spawnattr_setpgroup(&attributes, 0)
  posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETPGROUP | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK))
  var child: pid_t = 0
  let code = withCStrings([program] + arguments) { argv in
    withCStrings(environment) { envp in posix_spawnp(&child, program, &actions, &attributes, argv, envp) }
  }
  guard code == 0 else { throw SpawnError(program: program, code: code) }
  return child
}

/// Nil while the child runs. Asks the kernel once and collects the child when it has ended: call it no more after an answer.
package func reap(_ child: Int32, wait: Bool = false) -> ChildExit? {
  var status: Int32 = 0
  while true {
    let got = waitpid(child, &status, wait ? 0 : WNOHANG)
    if got == 0 { return nil }
    if got == child { break }
    // ECHILD: somebody else collected it, so its status is lost.
    guard errno == EINTR else { return .code(-1) }
  }
  let signal = status & 0x7f
  return signal == 0 ? .code((status >> 8) & 0xff) : .signal(signal)
}

/// Sends a signal to a child and to everything in its process group. A group that is gone already is no error.
package func signalGroup(_ child: Int32, _ signal: Int32) { if child > 1 { _ = kill(-child, signal) } }

/// Sends a signal to a child alone.
package func signalProcess(_ child: Int32, _ signal: Int32) { if child > 1 { _ = kill(child, signal) } }

/// The numbers of the signals that tests send.
package enum Signal {
  package static let hangUp = SIGHUP
  package static let interrupt = SIGINT
  package static let terminate = SIGTERM
  package static let kill = SIGKILL
  package static let abort = SIGABRT
  package static let stop = SIGSTOP
  package static let resume = SIGCONT
  package static let segmentation = SIGSEGV
}

/// The environment of this process as `NAME=value` strings.
package func environmentStrings() -> [String] {
  var all: [String] = []
  var entry = environ
  while let variable = entry.pointee {
    all.append(String(cString: variable))
    entry += 1
  }
  return all
}

/// At most `maximum` bytes of a file from `offset` on; empty when it cannot be read or has no more.
package func readFile(_ path: String, from offset: Int, maximum: Int) -> [UInt8] {
  let descriptor = open(path, O_RDONLY | O_CLOEXEC)
  guard descriptor >= 0 else { return [] }
  defer { close(descriptor) }
  return [UInt8](unsafeUninitializedCapacity: max(0, maximum)) { buffer, count in
    count = 0
    while count < buffer.count, let base = buffer.baseAddress {
      let got = pread(descriptor, base + count, buffer.count - count, off_t(offset + count))
      if got > 0 { count += got } else if got == 0 || errno != EINTR { return }
    }
  }
}

/// Runs `body` with a null-terminated array of C strings that lives as long as the call.
func withCStrings<Result>(
  _ strings: [String], _ body: (UnsafeMutablePointer<UnsafeMutablePointer<CChar>?>) -> Result
) -> Result {
  var pointers: [UnsafeMutablePointer<CChar>?] = strings.map { strdup($0) }
  pointers.append(nil)
  defer { for pointer in pointers { free(pointer) } }
  return pointers.withUnsafeMutableBufferPointer { buffer in
    // Never empty: it holds at least the terminating nil.
    guard let base = buffer.baseAddress else { preconditionFailure("an array with one element has a base address") }
    return body(base)
  }
}

/// Whether this process may do what only the superuser may, such as mounting.
package var isSuperuser: Bool { geteuid() == 0 }
