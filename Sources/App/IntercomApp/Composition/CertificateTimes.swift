import OpenSSL
import Synchronization
import Telemetry

/// When each certificate of the listeners expires, for `/metrics`.
package final class CertificateTimes: Sendable {
  private let times = Mutex<[(label: String, value: Int)]>([])

  init(_ tls: Configuration.TLS?) { replace(tls) }

  /// After a reload.
  package func replace(_ tls: Configuration.TLS?) {
    let new = (tls?.certificates ?? []).compactMap { certificate in
      certificate.identity.chain.facts.map { (label: certificate.name, value: Int(clamping: $0.notAfter)) }
    }
    times.withLock { $0 = new }
  }

  func register(in registry: MetricRegistry) {
    registry.values(
      "certificate_expiry_timestamp_seconds", help: "When a listener's certificate expires, in seconds since 1970.", label: "certificate"
    ) { [self] in times.withLock { $0 } }
  }
}
