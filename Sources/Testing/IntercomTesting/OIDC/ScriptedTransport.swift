import HTTPMessage
import IntercomCore
import Synchronization

/// An `HTTPTransport` whose answers are a function of the request; it notes every request.
package final class ScriptedTransport: HTTPTransport {
  package typealias Script = @Sendable (OutboundRequest) async throws(TransportError) -> OutboundResponse

  private struct State {
    var script: Script
    var requests: [OutboundRequest] = []
    var deadlines: [MonotonicInstant] = []
  }

  private let state: Mutex<State>

  package init(_ script: @escaping Script) { state = Mutex(State(script: script)) }

  /// All requests so far, in order.
  package var requests: [OutboundRequest] { state.withLock { $0.requests } }
  package var deadlines: [MonotonicInstant] { state.withLock { $0.deadlines } }

  /// Answers by another script from now on.
  package func answer(_ script: @escaping Script) { state.withLock { $0.script = script } }

  package func send(_ request: OutboundRequest, deadline: MonotonicInstant) async throws(TransportError) -> OutboundResponse {
    let script = state.withLock { state in
      state.requests.append(request)
      state.deadlines.append(deadline)
      return state.script
    }
    return try await script(request)
  }
}

extension OutboundResponse {
  /// A JSON answer.
  package static func json(_ status: Status = 200, _ text: String, type: String = "application/json") -> OutboundResponse {
    OutboundResponse(status: status, fields: Fields(["Content-Type": type]), body: Array(text.utf8))
  }
}
