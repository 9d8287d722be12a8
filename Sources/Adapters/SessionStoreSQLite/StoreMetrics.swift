import SQLite
import Telemetry

/// What an operator watches of the database: whether it works, and what failed.
struct StoreMetrics: Sendable {
  enum Work: String, Sendable, CaseIterable { case read, write }

  private let metrics: LoopMetrics?
  private let failures: MetricFamily<Counter>?
  private let failing: MetricFamily<Gauge>?
  private static let causes = SQLiteError.Cause.allCases

  /// Registers its series; without a registry it counts nothing.
  init(_ registry: MetricRegistry?) {
    let work = MetricLabel("work", Work.allCases.map(\.rawValue))
    failures = registry?.counter(
      "session_store_failures_total", help: "Calls of the session database that failed, by cause; slow: no answer in time.",
      labels: [work, MetricLabel("cause", Self.causes.map(Self.name) + ["slow"])])
    failing = registry?.gauge("session_store_failing", help: "1 while the session database cannot be read or written.", labels: [work])
    metrics = registry?.makeSharedMetrics()
  }

  /// As logs and metrics write it.
  static func name(of cause: SQLiteError.Cause) -> String {
    switch cause {
    case .full: "full"
    case .readOnly: "read_only"
    case .damaged: "damaged"
    case .busy: "busy"
    case .interrupted: "interrupted"
    case .cannotOpen: "cannot_open"
    case .moved: "moved"
    case .inputOutput: "input_output"
    case .other: "other"
    }
  }

  /// A nil cause: it did not answer in time.
  func failed(_ work: Work, _ cause: SQLiteError.Cause?) {
    guard let metrics, let failures, let failing else { return }
    let position = cause.flatMap { Self.causes.firstIndex(of: $0) } ?? Self.causes.count
    metrics.add(failures[Self.index(work), position])
    metrics.set(failing[Self.index(work)], to: 1)
  }

  func worked(_ work: Work) {
    if let metrics, let failing { metrics.set(failing[Self.index(work)], to: 0) }
  }

  private static func index(_ work: Work) -> Int { work == .read ? 0 : 1 }
}
