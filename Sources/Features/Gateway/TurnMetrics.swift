import IntercomCore
import Telemetry

/// What each event loop shows of itself, under the label `loop`. Written at the end of its turns, so that no request pays for it.
package struct TurnMetrics: Sendable {
  /// Up to 5 ms nobody notices; a loop that works for a second at a stretch holds all its connections up for as long.
  static let lagBounds: [Duration] = [
    .microseconds(100), .microseconds(200), .microseconds(500), .milliseconds(1), .milliseconds(2), .milliseconds(5), .milliseconds(10),
    .milliseconds(20), .milliseconds(50), .milliseconds(100), .milliseconds(200), .milliseconds(500), .seconds(1),
  ]
  private let connections: Gauge
  private let sessions: Gauge
  private let lag: Histogram
  private let longestLag: Longest

  init(registry: MetricRegistry) {
    connections = registry.loopGauge("loop_connections", help: "Open connections of clients, by event loop.")
    sessions = registry.loopGauge("loop_sessions", help: "Sessions of which the event loop holds a copy.")
    lag = registry.loopHistogram(
      "loop_lag_seconds", help: "How long a turn of the event loop worked, its wait left out: until then its other connections waited.",
      bounds: Self.lagBounds)
    longestLag = registry.loopLongest("loop_longest_lag_seconds", help: "The longest turn since the last scrape, by event loop.")
  }

  func note(_ metrics: LoopMetrics, clients: Int, sessions held: Int, took: Duration) {
    metrics.set(connections, to: clients)
    metrics.set(sessions, to: held)
    metrics.observe(lag, took)
    metrics.observe(longestLag, took)
  }
}
