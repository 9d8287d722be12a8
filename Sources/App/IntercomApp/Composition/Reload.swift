import ConfigurationYAML
import IntercomCore
import Linux
import Synchronization
import Telemetry

/// A configuration, and how its file is read once more.
package struct ServedConfiguration: Sendable {
  package let configuration: Configuration
  /// What somebody should know of it.
  package let warnings: [ConfigurationFault]
  package let readAgain: @Sendable () -> ConfigurationReading

  package init(
    _ configuration: Configuration, warnings: [ConfigurationFault], readAgain: @escaping @Sendable () -> ConfigurationReading
  ) {
    self.configuration = configuration
    self.warnings = warnings
    self.readAgain = readAgain
  }
}

extension StructuredLog {
  /// One line for each fault or warning, with its place (a variable's name, or file, line and column) and its key.
  func tell(_ faults: [ConfigurationFault]) {
    for fault in faults {
      let message = (fault.path.isEmpty ? "" : fault.path + ": ") + "\(fault.problem); \(fault.remedy)"
      let place = LogValue.string(fault.place.description)
      if fault.severity == .warning {
        warning("configuration_warning", message, ["place": place, "key": .string(fault.path)])
      } else {
        error("configuration_fault", message, ["place": place, "key": .string(fault.path)])
      }
    }
  }
}

/// How often the configuration was read again.
package final class ReloadMetrics: Sendable {
  private let applied = Atomic<Int>(0)
  private let refused = Atomic<Int>(0)
  private let isCurrent = Atomic<Bool>(true)

  init(_ registry: MetricRegistry) {
    registry.value("config_reloads_total", help: "Configurations that SIGHUP has put in force.", isCounter: true) { [self] in
      applied.load(ordering: .relaxed)
    }
    registry.value(
      "config_reloads_refused_total", help: "Configurations that SIGHUP found faulty or in need of a restart.", isCounter: true
    ) { [self] in refused.load(ordering: .relaxed) }
    registry.value("config_last_reload_successful", help: "0: the file has been refused; what was read before is in force.") { [self] in
      isCurrent.load(ordering: .relaxed) ? 1 : 0
    }
  }

  func note(isApplied: Bool) {
    if isApplied { applied.wrappingAdd(1, ordering: .relaxed) } else { refused.wrappingAdd(1, ordering: .relaxed) }
    isCurrent.store(isApplied, ordering: .relaxed)
  }
}

/// Puts configurations into force that are read while Intercom runs: a whole one or nothing of it (docs/decisions/0024).
struct Reload {
  let served: ServedConfiguration
  let running: RunningIntercom
  let log: StructuredLog

  /// Reads the file again. The configuration that is in force afterwards.
  func run(from current: Configuration) async -> Configuration {
    let reading = served.readAgain()
    log.tell(reading.warnings)
    guard let next = reading.configuration else {
      log.tell(reading.errors)
      return refuse(current, "The configuration has faults. The one that was read before stays in force.", [])
    }
    let changes = Configuration.changes(from: current, to: next)
    let fixed = changes.filter(\.needsRestart)
    guard fixed.isEmpty else {
      return refuse(
        current, "Some of the settings that have changed take effect at a start only: restart to apply. Nothing was changed.", fixed)
    }
    do {
      let deployment = try Deployment(next, log: log, random: SystemRandom())
      // First: the loops ask who hears of their requests.
      log.setMinimum(next.log.level)
      try await running.reload(deployment)
      running.certificateTimes.replace(next.tls)
    } catch {
      log.setMinimum(current.log.level)
      return refuse(current, "The configuration cannot be used: \(error). The one that was read before stays in force.", [])
    }
    running.reloads.note(isApplied: true)
    log.info(
      "reloaded", changes.isEmpty ? "The configuration was read again; nothing has changed." : "The new configuration is in force.",
      ["changed": Self.keys(changes)])
    return next
  }

  private func refuse(_ current: Configuration, _ message: String, _ keys: [ConfigurationChange]) -> Configuration {
    running.reloads.note(isApplied: false)
    log.error("reload_refused", message, keys.isEmpty ? [:] : ["restart": Self.keys(keys)])
    return current
  }

  private static func keys(_ changes: [ConfigurationChange]) -> LogValue { .string(changes.map(\.key).joined(separator: " ")) }
}

/// The server's signals, taken one after the other. Those that come meanwhile wait: of SIGHUP one at most, for one reading sees all that was
/// changed before it.
final class SignalInbox: Sendable {
  private struct State {
    var isReloadWanted = false
    var ends = 0
    var waiting: CheckedContinuation<ServerSignal, Never>?
  }
  private let state = Mutex(State())

  init(_ signals: AsyncStream<ServerSignal>) {
    Task { [weak self] in for await signal in signals { self?.put(signal) } }
  }

  private func put(_ signal: ServerSignal) {
    let waiting = state.withLock { state in
      if let waiting = state.waiting.take() { return Optional(waiting) }
      if signal == .hangup { state.isReloadWanted = true } else { state.ends += 1 }
      return nil
    }
    waiting?.resume(returning: signal)
  }

  /// The next one; an end before a reload. One caller at a time.
  func next() async -> ServerSignal {
    await withCheckedContinuation { continuation in
      let signal = state.withLock { state -> ServerSignal? in
        if state.ends > 0 {
          state.ends -= 1
          return .terminate
        }
        if state.isReloadWanted {
          state.isReloadWanted = false
          return .hangup
        }
        state.waiting = continuation
        return nil
      }
      if let signal { continuation.resume(returning: signal) }
    }
  }

  /// Returns at the next signal that asks for the end; others are passed over.
  func end() async { while await next() == .hangup {} }
}
