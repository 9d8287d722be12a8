import HTTPMessage
import HTTPServer
import IntercomCore
import Synchronization
import Telemetry
import Workers

/// One thing that must work before Intercom is ready; a dead backend is none of them.
struct ReadinessCheck: Sendable {
  enum State: Sendable, Equatable {
    case works
    /// Requests are served, but something does not work; for an operator.
    case limited(String)
    /// The same of something that others run.
    case failing(String)
    /// Nothing can be served before this works.
    case missing(String)
  }
  var name: String
  var state: @Sendable () async -> State
}

/// Something that has happened.
final class Flag: Sendable {
  private let raised = Atomic<Bool>(false)
  var isRaised: Bool { raised.load(ordering: .relaxed) }
  func raise() { raised.store(true, ordering: .relaxed) }
}

/// The administrative listener: alive, ready, metrics. It is never reachable through the main listener (S7).
enum AdminEndpoints {
  /// - Parameters:
  ///   - services: what is told of backends beside the checks, one line each; it decides nothing, and nobody calls them for its sake.
  ///   - workers: write the metrics, which takes long where there are many routes and loops.
  static func table(
    checks: [ReadinessCheck], services: @escaping @Sendable () -> [(name: String, text: String)] = { [] }, isDraining: Flag = Flag(),
    registry: MetricRegistry, workers: Workers
  ) -> EndpointTable {
    var table = EndpointTable()
    table.add(.get, "/livez") { _, _ in text(200, "alive\n") }
    table.add(.get, "/readyz") { _, _ in
      isDraining.isRaised ? text(503, "not ready\nasked to end: nobody new gets in\n") : await ready(checks, services())
    }
    table.add(.get, "/metrics") { _, _ in
      let text = await withTaskExecutorPreference(workers) { registry.render() }
      return Response(200, ["Content-Type": MetricRegistry.contentType, "Cache-Control": "no-store"], text)
    }
    return table
  }

  private static func ready(_ checks: [ReadinessCheck], _ services: [(name: String, text: String)]) async -> Response {
    var lines = ""
    var isReady = true
    for check in checks {
      let line: String
      switch await check.state() {
      case .works: line = "ok"
      case .limited(let problem): line = "limited: \(problem)"
      case .failing(let problem): line = "failing: \(problem)"
      case .missing(let problem):
        isReady = false
        line = problem
      }
      lines += "\(check.name): \(line)\n"
    }
    for service in services { lines += "\(service.name): \(service.text)\n" }
    return text(isReady ? 200 : 503, (isReady ? "ready\n" : "not ready\n") + lines)
  }

  private static func text(_ status: Status, _ body: String) -> Response {
    Response(status, ["Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store"], Array(body.utf8))
  }
}
