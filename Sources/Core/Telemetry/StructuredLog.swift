import IntercomCore
import Linux
import Synchronization

/// Writes JSON lines: `{"ts":"…","level":"…","event":"…","message":"…", fields…}`.
///
/// `event` is a stable word for programs (`session_ended`), which is why it must be a literal; `message` is a sentence for people. Field values
/// are `LogValue`s, so a `Secret` prints `<redacted>` whatever the caller does.
package struct StructuredLog: Sendable {
  private let sink: any LogSink
  private let threshold: LogThreshold
  private let microseconds: @Sendable () -> Int64
  private let common: [(name: String, value: LogValue)]

  /// - Parameter microseconds: the wall clock in µs since 1970 (`TimeSource` has whole seconds only).
  package init(
    to sink: any LogSink = StandardErrorSink(), minimum: LogLevel = .info,
    microseconds: @escaping @Sendable () -> Int64 = Linux.wallMicroseconds
  ) {
    self.init(sink: sink, threshold: LogThreshold(minimum), microseconds: microseconds, common: [])
  }

  private init(
    sink: any LogSink, threshold: LogThreshold, microseconds: @escaping @Sendable () -> Int64, common: [(name: String, value: LogValue)]
  ) {
    self.sink = sink
    self.threshold = threshold
    self.microseconds = microseconds
    self.common = common
  }

  /// A log that writes nothing.
  package static let none = StructuredLog(to: NoLog(), minimum: .error)

  /// The same log with fields on each of its lines.
  package func with(_ fields: KeyValuePairs<String, LogValue>) -> StructuredLog {
    StructuredLog(
      sink: sink, threshold: threshold, microseconds: microseconds, common: common + fields.map { (name: $0.key, value: $0.value) })
  }

  /// Would a line of this level be written? Ask before building costly fields.
  package func writes(_ level: LogLevel) -> Bool { level >= threshold.minimum }

  /// Lines of lower levels are not written from now on, by none of this log's copies.
  package func setMinimum(_ level: LogLevel) { threshold.minimum = level }

  /// Lines that could not be written since the start.
  package var dropped: Int { sink.dropped }

  /// Writes one line with the common fields before its own; below the minimum level `message` is not even built.
  package func log(
    _ level: LogLevel, _ event: StaticString, _ message: @autoclosure () -> String, _ fields: KeyValuePairs<String, LogValue> = [:]
  ) {
    guard writes(level) else { return }
    var line = LogLine(time: microseconds(), level: level, event: event, message: message())
    for field in common { line.append(field.name, field.value) }
    for field in fields { line.append(field.key, field.value) }
    sink.write(line.finish())
  }

  package func debug(_ event: StaticString, _ message: @autoclosure () -> String, _ fields: KeyValuePairs<String, LogValue> = [:]) {
    log(.debug, event, message(), fields)
  }
  package func info(_ event: StaticString, _ message: @autoclosure () -> String, _ fields: KeyValuePairs<String, LogValue> = [:]) {
    log(.info, event, message(), fields)
  }
  package func warning(_ event: StaticString, _ message: @autoclosure () -> String, _ fields: KeyValuePairs<String, LogValue> = [:]) {
    log(.warning, event, message(), fields)
  }
  package func error(_ event: StaticString, _ message: @autoclosure () -> String, _ fields: KeyValuePairs<String, LogValue> = [:]) {
    log(.error, event, message(), fields)
  }
}

/// The least level that a log and all its copies write.
private final class LogThreshold: Sendable {
  private let level: Atomic<UInt8>

  init(_ minimum: LogLevel) { level = Atomic(minimum.rawValue) }

  var minimum: LogLevel {
    get { LogLevel(rawValue: level.load(ordering: .relaxed)) ?? .info }
    set { level.store(newValue.rawValue, ordering: .relaxed) }
  }
}
