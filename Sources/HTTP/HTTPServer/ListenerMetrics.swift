import EventLoop
import Telemetry

/// What is counted of connections before their first request. All labels are fixed.
package struct ListenerMetrics: Sendable {
  /// What clients and Intercom speak with each other.
  enum Spoken: Int, CaseIterable {
    case http11, http2
    var label: String { self == .http11 ? "http/1.1" : "h2" }
  }

  /// How an agreement upon TLS ended.
  enum Handshake: String, CaseIterable {
    case done
    /// The client showed no certificate that is good, where it has to.
    case certificate
    /// No version, cipher or protocol in common, or no TLS at all.
    case incompatible
    /// The client went away: port scans and simple health checks do.
    case ended
    case timedOut = "timed_out"
  }

  /// Why a connection with a PROXY header was closed.
  enum ProxyRefusal: String, CaseIterable {
    /// It comes from nobody who may say whom it is for.
    case untrusted
    case malformed
    case ended
    case timedOut = "timed_out"
  }

  private let connections: MetricFamily<Counter>
  private let handshakes: MetricFamily<Counter>
  private let refusals: MetricFamily<Counter>
  /// One for all loops: connections are few beside requests.
  private let numbers: LoopMetrics

  /// Registers the metrics.
  package init(registry: MetricRegistry) {
    connections = registry.counter(
      "client_connections_total", help: "Connections of clients that were opened, by what is spoken.",
      labels: [MetricLabel("protocol", Spoken.allCases.map(\.label))])
    handshakes = registry.counter(
      "tls_handshakes_total", help: "Agreements with clients upon TLS, by how they ended.",
      labels: [MetricLabel("result", Handshake.allCases.map(\.rawValue))])
    refusals = registry.counter(
      "proxy_headers_refused_total", help: "Connections closed for want of a PROXY header that counts.",
      labels: [MetricLabel("cause", ProxyRefusal.allCases.map(\.rawValue))])
    numbers = registry.makeSharedMetrics()
  }

  func opened(_ spoken: Spoken) { numbers.add(connections[spoken.rawValue]) }
  func agreed(_ result: Handshake) { numbers.add(handshakes[Handshake.allCases.firstIndex(of: result) ?? 0]) }
  func refused(_ cause: ProxyRefusal) { numbers.add(refusals[ProxyRefusal.allCases.firstIndex(of: cause) ?? 0]) }
}
