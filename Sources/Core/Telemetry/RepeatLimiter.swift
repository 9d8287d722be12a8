import IntercomCore
import Synchronization

/// Lets a line through that repeats, at most `burst` times per `interval` and key, and counts the rest: one client or one dead backend must
/// not fill the disk.
package final class RepeatLimiter: Sendable {
  /// What to do with a line.
  package enum Admission: Sendable, Equatable {
    /// Write it; `suppressed` like it were swallowed since the last one.
    case write(suppressed: Int)
    case suppress
  }

  private struct Window {
    var start: MonotonicInstant
    var written = 0
    var suppressed = 0
  }
  private let windows = Mutex([String: Window]())
  private let interval: Duration
  private let burst: Int
  /// Keys beyond this share one window: keys may be built from input.
  private static let maximumKeys = 1024

  package init(interval: Duration = .seconds(10), burst: Int = 5) {
    self.interval = interval
    self.burst = max(1, burst)
  }

  /// May a line with this key be written at `now`, and how many were held back since the last one?
  package func admit(_ key: String, now: MonotonicInstant) -> Admission {
    windows.withLock { windows in
      let key = windows[key] != nil || windows.count < Self.maximumKeys ? key : ""
      var window = windows[key] ?? Window(start: now)
      defer { windows[key] = window }
      var carried = 0
      if window.start.duration(to: now) >= interval {
        carried = window.suppressed
        window = Window(start: now)
      }
      guard window.written < burst else {
        window.suppressed &+= 1
        return .suppress
      }
      window.written += 1
      return .write(suppressed: carried)
    }
  }
}

extension StructuredLog {
  /// Writes the line unless `limiter` has seen too many of this event (and `key`); the next written line says how many were swallowed.
  package func limited(
    by limiter: RepeatLimiter, now: MonotonicInstant, key: String = "", _ level: LogLevel, _ event: StaticString,
    _ message: @autoclosure () -> String, _ fields: KeyValuePairs<String, LogValue> = [:]
  ) {
    guard writes(level) else { return }
    switch limiter.admit(key.isEmpty ? event.description : "\(event) \(key)", now: now) {
    case .suppress: return
    case .write(0): log(level, event, message(), fields)
    case .write(let suppressed): with(["suppressed": LogValue(suppressed)]).log(level, event, message(), fields)
    }
  }
}
