import EventLoop
import IntercomCore
import Telemetry

/// What went wrong with an endpoint: the label `cause` of what is counted.
enum UpstreamFailure: String, CaseIterable {
  case unreachable
  case hanging
  /// It could not prove who it is.
  case certificate
  /// No agreement upon TLS.
  case tls

  init(_ failure: CarrierFailure) {
    switch failure {
    case .identity: self = .certificate
    case .protocolError: self = .tls
    }
  }
}

/// What is counted of endpoints. Labels are endpoints and routes of the configuration, so their number is bounded.
package struct UpstreamMetrics: Sendable {
  private let endpoints: MetricNames
  let connections: MetricFamily<Gauge>
  let out: MetricFamily<Gauge>
  let failures: MetricFamily<Counter>
  let retries: MetricFamily<Counter>

  /// Registers the metrics: before any loop's metrics are made.
  package init(registry: MetricRegistry, endpoints all: [UpstreamEndpoint]) {
    var labels: [String] = []
    for endpoint in all where !labels.contains(endpoint.label) { labels.append(endpoint.label) }
    endpoints = MetricNames(labels)
    let label = MetricLabel("endpoint", endpoints)
    connections = registry.gauge("upstream_connections", help: "Open connections to an endpoint, idle ones included.", labels: [label])
    registry.loopSum("loop_upstream_connections", help: "Open connections to endpoints, by event loop.", of: connections)
    out = registry.gauge(
      "upstream_out_of_service", help: "Event loops, times routes, that have taken an endpoint out of service.", labels: [label])
    failures = registry.counter(
      "upstream_failures_total", help: "Connections that could not be opened, and requests whose answer did not begin in time.",
      labels: [label, MetricLabel("cause", UpstreamFailure.allCases.map(\.rawValue))])
    retries = registry.counter(
      "upstream_retries_total", help: "Requests sent once more because a kept connection had ended.", labels: [label])
  }
}

extension UpstreamMetrics {
  fileprivate func place(of endpoint: UpstreamEndpoint) -> Int { endpoints.place(of: endpoint.label) }
}

/// Counts and tells what happens to the endpoints of one loop.
package struct UpstreamTelemetry {
  private var metrics: (families: UpstreamMetrics, loop: LoopMetrics)?
  private var log = StructuredLog.none
  private var repeats = RepeatLimiter()

  /// Counts and tells nothing.
  package init() {}

  /// - Parameter repeats: one for all loops, which see the same outage and need not all tell of it.
  package init(_ families: UpstreamMetrics, _ loop: LoopMetrics, log: StructuredLog, repeats: RepeatLimiter) {
    metrics = (families, loop)
    self.log = log
    self.repeats = repeats
  }

  /// Where an endpoint stands in the metrics.
  func place(of endpoint: UpstreamEndpoint) -> Int? { metrics?.families.place(of: endpoint) }

  func connections(_ host: UpstreamHost, _ change: Int) {
    if let (families, loop) = metrics, let place = host.place { loop.add(families.connections[place], change) }
  }

  func failed(_ host: UpstreamHost, _ failure: UpstreamFailure) {
    guard let (families, loop) = metrics, let place = host.place else { return }
    loop.add(families.failures[place, UpstreamFailure.allCases.firstIndex(of: failure) ?? 0])
  }

  /// Tells why TLS with an endpoint did not come about: clients are told the word only.
  func failed(_ host: UpstreamHost, _ failure: CarrierFailure, now: MonotonicInstant) {
    let endpoint = LogValue.string(host.label)
    switch failure {
    case .identity(let reason):
      let name = host.tls.map { String(decoding: $0.name, as: UTF8.self) } ?? ""
      log.limited(
        by: repeats, now: now, key: "certificate " + host.label, .error, "upstream_certificate",
        "A backend's certificate was refused and nothing was sent to it.",
        ["endpoint": endpoint, "name": .string(name), "reason": .string(reason)])
    case .protocolError(let reason):
      log.limited(
        by: repeats, now: now, key: "tls " + host.label, .error, "upstream_tls", "No TLS connection to a backend came about.",
        ["endpoint": endpoint, "reason": .string(reason)])
    }
  }

  func retried(_ host: UpstreamHost) {
    if let (families, loop) = metrics, let place = host.place { loop.add(families.retries[place]) }
  }

  private func outages(_ host: UpstreamHost, _ change: Int) {
    if let (families, loop) = metrics, let place = host.place { loop.add(families.out[place], change) }
  }

  /// An endpoint that was out of service is nobody's any more.
  func forgot(_ host: UpstreamHost) { outages(host, -1) }

  func changed(_ host: UpstreamHost, _ change: EndpointHealth.Change, now: MonotonicInstant) {
    let endpoint = LogValue.string(host.label)
    switch change {
    case .wentOut(let cause, let pause):
      outages(host, 1)
      log.limited(
        by: repeats, now: now, key: host.label, .warning, "upstream_out",
        cause == .unreachable
          ? "A backend cannot be reached and is tried less often." : "A backend hangs and gets no requests for a while.",
        ["endpoint": endpoint, "cause": .string(cause.rawValue), "pause": LogValue(pause)])
    case .stayedOut(let cause, let pause):
      log.debug(
        "upstream_still_out", "A backend was tried and does not work yet.",
        ["endpoint": endpoint, "cause": .string(cause.rawValue), "pause": LogValue(pause)])
    case .cameBack(let cause):
      outages(host, -1)
      log.limited(
        by: repeats, now: now, key: host.label, .info, "upstream_back", "A backend works again.",
        ["endpoint": endpoint, "cause": .string(cause.rawValue)])
    }
  }
}
