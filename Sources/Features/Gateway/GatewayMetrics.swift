import HTTPMessage
import HTTPServer
import Telemetry

/// What the gateway counts, by route and status class; labels come from route tables alone, so their number is bounded.
package struct GatewayMetrics: Sendable {
  private static let classes = ["none", "1xx", "2xx", "3xx", "4xx", "5xx"]
  private let requests: MetricFamily<Counter>
  private let refusals: MetricFamily<Counter>
  private let durations: MetricFamily<Histogram>
  private let bytesIn: MetricFamily<Counter>
  private let bytesOut: MetricFamily<Counter>
  private let tunnels: MetricFamily<Gauge>
  private let tunnelsEnded: MetricFamily<Counter>
  private let turns: TurnMetrics
  /// By `place`; the first counts what no route took.
  private let names = MetricNames(["own"])

  /// Registers the metrics: before any loop's metrics are made.
  package init(registry: MetricRegistry) {
    let route = MetricLabel("route", names)
    requests = registry.counter(
      "requests_total", help: "Requests answered, by route and status class.", labels: [route, MetricLabel("status", Self.classes)])
    registry.loopSum("loop_requests_total", help: "Requests answered, by event loop.", of: requests)
    refusals = registry.counter(
      "refusals_total", help: "Requests that the decision refused, by status.",
      labels: [MetricLabel("status", Self.refusalStatuses.map(String.init) + ["other"])])
    durations = registry.histogram(
      "request_duration_seconds", help: "From a request's head to its answer's end, proxied routes.", bounds: MetricRegistry.requestBounds)
    bytesIn = registry.counter("request_bytes_total", help: "Bytes of request bodies.")
    bytesOut = registry.counter("response_bytes_total", help: "Bytes of answers.")
    tunnels = registry.gauge("tunnels", help: "Tunnels (WebSocket and other upgrades) that are open.")
    tunnelsEnded = registry.counter(
      "tunnels_ended_total", help: "Tunnels that have ended, by reason.",
      labels: [MetricLabel("reason", ExchangeSummary.Ending.allCases.map(\.rawValue))])
    turns = TurnMetrics(registry: registry)
  }

  /// Where a route is counted, which is the same for all routes of its name that there ever are.
  package func place(of route: Route) -> Int { names.place(of: (route.host.map { host in "\(host):" } ?? "") + route.name) }

  private static let refusalStatuses = [204, 400, 401, 403, 404, 405, 421, 501, 502, 503]

  package func loop(_ metrics: LoopMetrics) -> Loop { Loop(families: self, metrics: metrics) }

  /// One loop's counters. The series that every request counts in are looked up once.
  package struct Loop {
    let metrics: LoopMetrics
    private let families: GatewayMetrics
    /// By route and, within it, by status class.
    private let requests: [Counter]
    private let durations: Histogram
    private let bytesIn: Counter
    private let bytesOut: Counter

    init(families: GatewayMetrics, metrics: LoopMetrics) {
      self.metrics = metrics
      self.families = families
      requests = (0..<families.requests.cells.count / GatewayMetrics.classes.count).flatMap { route in
        GatewayMetrics.classes.indices.map { families.requests[route, $0] }
      }
      (durations, bytesIn, bytesOut) = (families.durations[], families.bytesIn[], families.bytesOut[])
    }

    /// - Parameter route: its place; nil when no route took the request.
    func exchangeEnded(_ summary: ExchangeSummary, route: Int?) {
      let classes = GatewayMetrics.classes.count
      let index = (route ?? 0) * classes + min(max(summary.status / 100, 0), classes - 1)
      if index < requests.count { metrics.add(requests[index]) }
      metrics.add(bytesIn, summary.bytesIn)
      metrics.add(bytesOut, summary.bytesOut)
      if summary.status == 101 { return tunnelEnded(summary.ending) }
      if route != nil { metrics.observe(durations, nanoseconds: summary.nanoseconds) }
    }

    func tunnelOpened() { metrics.add(families.tunnels[], 1) }

    private func tunnelEnded(_ ending: ExchangeSummary.Ending) {
      metrics.add(families.tunnels[], -1)
      metrics.add(families.tunnelsEnded[ExchangeSummary.Ending.allCases.firstIndex(of: ending) ?? 0])
    }

    func turnEnded(clients: Int, sessions: Int, took: Duration) {
      families.turns.note(metrics, clients: clients, sessions: sessions, took: took)
    }

    func refused(_ status: Status) {
      let index = GatewayMetrics.refusalStatuses.firstIndex(of: status.code) ?? GatewayMetrics.refusalStatuses.count
      metrics.add(families.refusals[index])
    }
  }
}
