import CLinux
import Glibc

/// The environment variable of the Swift runtime that says how crash reports are written. Without it they are.
private let crashReportVariable = "SWIFT_BACKTRACE"

/// Whether the environment asks for crash reports in so many words (`enable=yes`).
package func wantsCrashReports() -> Bool {
  crashReportSwitch(environmentValue(crashReportVariable) ?? "").map { !["no", "off", "false"].contains($0) } ?? false
}

/// The value of the last `enable=` of a SWIFT_BACKTRACE; nil when there is none.
private func crashReportSwitch(_ value: String) -> String? {
  value.split(separator: ",").last { $0.hasPrefix("enable=") }.map { String($0.dropFirst(7)) }
}

private func environmentValue(_ name: String) -> String? { getenv(name).map { String(cString: $0) } }

/// Closes the ways on which the memory of this process could leave it; call it once, before a secret is read.
///
/// - No core dump: RLIMIT_CORE is 1, below the least that is written to a file, and also the one value that keeps the kernel from a
///   `core_pattern` that is a pipe (core(5) says that 0 does not).
/// - No other process of the same user may attach to this one or read its memory or environment (PR_SET_DUMPABLE 0, prctl(2)); root may.
///   Left out when crash reports are asked for: their writer is such a process.
///
/// Returns what could not be done, for a warning.
package func forbidMemoryDumps() -> [SystemCallError] {
  var failures: [SystemCallError] = []
  var limit = rlimit(rlim_cur: 1, rlim_max: 1)
  // A hard limit that is lower already stays: it cannot be raised, and nothing is written under it.
  var current = rlimit()
  if getrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &current) == 0, current.rlim_max < 1 { limit = current }
  if setrlimit(__rlimit_resource_t(RLIMIT_CORE.rawValue), &limit) != 0 { failures.append(.last("setrlimit RLIMIT_CORE")) }
  if !wantsCrashReports(), clinux_set_dumpable(0) != 0 { failures.append(.last("prctl PR_SET_DUMPABLE")) }
  return failures
}

/// Asks the runtime for crash reports without registers: a report shows the 16 bytes to which each register points, and in the middle of a
/// request these may be a token's.
///
/// The runtime reads its variable before `main`. Where it is linked in statically, `CStart` has set it before that; else the program begins anew
/// in the same process (execv(2)), once, which costs a third of the time to start. Call it first thing in `main`. Returns when there is nothing
/// to do, or when it cannot be done.
package func withholdRegistersFromCrashReports() {
  guard let safer = crashReportSetting(from: environmentValue(crashReportVariable)) else { return }
  setenv(crashReportVariable, safer, 1)
  let program = "/proc/self/exe"
  // By its own name: the kernel shows the last part of the path as the name of the process.
  let path = realpath(program, nil).map { resolved in
    defer { free(resolved) }
    return String(cString: resolved)
  }
  withCStrings(CommandLine.arguments) { arguments in
    if let path { execv(path, arguments) }
    execv(program, arguments)
  }
}

/// The value of SWIFT_BACKTRACE to use instead of `value` (nil: not set); nil when that is good already.
package func crashReportSetting(from value: String?) -> String? {
  var settings = (value ?? "").split(separator: ",").map(String.init)
  guard settings.last != "registers=none", !["no", "off", "false"].contains(crashReportSwitch(value ?? "")) else { return nil }
  settings.removeAll { $0.hasPrefix("registers=") }
  return (settings + ["registers=none"]).joined(separator: ",")
}
