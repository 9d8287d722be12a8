import Telemetry

/// What an operator watches of the way to Redis.
struct RedisMetrics: Sendable {
  private enum Outcome: String, CaseIterable {
    case done, refused, unanswered
    case notConnected = "not_connected"
    case overloaded
  }
  private let metrics: LoopMetrics?
  private let connected: MetricFamily<Gauge>?
  private let connections: MetricFamily<Counter>?
  private let calls: MetricFamily<Counter>?

  /// Registers its series; without a registry it counts nothing.
  init(_ registry: MetricRegistry?) {
    connected = registry?.gauge("redis_connected", help: "1 while the connection to Redis works.")
    connections = registry?.counter("redis_connections_total", help: "Connections to Redis that were made.")
    calls = registry?.counter(
      "redis_calls_total", help: "Calls to Redis, by how they ended.", labels: [MetricLabel("result", Outcome.allCases.map(\.rawValue))])
    metrics = registry?.makeSharedMetrics()
  }

  func changed(isConnected: Bool) {
    guard let metrics, let connected, let connections else { return }
    metrics.set(connected[], to: isConnected ? 1 : 0)
    if isConnected { metrics.add(connections[]) }
  }

  func ended(_ result: Result<[RESP3Value], RedisFailure>) {
    guard let metrics, let calls else { return }
    let outcome: Outcome =
      switch result {
      case .success(let answers): answers.contains { $0.errorCode != nil } ? .refused : .done
      case .failure(.unanswered): .unanswered
      case .failure(.notConnected): .notConnected
      case .failure(.overloaded): .overloaded
      }
    metrics.add(calls[Outcome.allCases.firstIndex(of: outcome) ?? 0])
  }
}
