import Gateway
import IntercomCore
import OIDC
import Synchronization
import Telemetry

/// The last results of the services of the configuration that is in force.
final class CurrentResults: Sendable {
  private let results: Mutex<LastResults>
  init(_ results: LastResults) { self.results = Mutex(results) }

  var current: LastResults { results.withLock { $0 } }
  func replace(_ newer: LastResults) { results.withLock { $0 = newer } }
  func lines(_ now: MonotonicInstant) -> [(name: String, text: String)] { current.lines(now) }
}

extension Deployment {
  /// Whose last results are told: each route that is forwarded, and the Matrix homeservers.
  var observed: [LastResults.Service] { routes.compactMap(\.observed) + homeservers.map(\.observed) }
}

extension HomeserverSetup {
  var observed: LastResults.Service { LastResults.Service("matrix \(homeserver.serverName)", at: homeserver.address) }
}

extension ReadinessCheck {
  /// Without metadata and keys nothing can be served. With them a provider that does not answer is told of, and changes nothing here: sessions whose
  /// tokens are fresh go on.
  static func provider(_ provider: RelyingParty) -> ReadinessCheck {
    ReadinessCheck(name: "provider") {
      let trouble = provider.trouble
      if provider.isReady { return trouble.map { .failing($0) } ?? .works }
      return .missing("its metadata or keys could not be fetched yet" + (trouble.map { ": \($0)" } ?? ""))
    }
  }
}
