import EventLoop
import HTTP1
import HTTPMessage
import HTTPServer
import IntercomCore
import Synchronization

/// Answers every request of a listener with one endpoint, whatever its method and path.
package final class SingleEndpointHandler: RequestHandler {
  private let endpoint: Endpoint
  package init(_ endpoint: @escaping Endpoint) { self.endpoint = endpoint }

  package func handle(
    _ head: borrowing RequestHead, _ bytes: borrowing Span<UInt8>, _ exchange: ServerConnection<SingleEndpointHandler>
  ) {
    exchange.run(endpoint, Request(head, bytes, peer: exchange.client(head, bytes).text))
  }
}

/// A request as a server of a test saw it.
package struct SeenRequest: Sendable {
  package var method: Method
  /// As it came.
  package var path: String
  package var query: String?
  package var fields: Fields
  package var body: [UInt8]

  package func field(_ name: FieldName) -> String? { fields.single(name) }
  package func all(_ name: FieldName) -> [String] { fields.values(name).map { String(decoding: $0, as: UTF8.self) } }
  /// Everything of it as one text, to look for what must not be there.
  package var text: String {
    let lines = fields.all.map { "\($0.name): \(String(decoding: $0.value, as: UTF8.self))\n" }.joined()
    return "\(method.name) \(path)?\(query ?? "")\n\(lines)\n\(String(decoding: body, as: UTF8.self))"
  }
}

/// A server on a reserved port that notes what it is asked, can go away and come back, and answers as the test says: a backend, or a provider.
package final class RecordingServer: Sendable {
  package typealias Answer = @Sendable (SeenRequest) async throws -> Response?

  private struct State {
    var seen: [SeenRequest] = []
    var answer: Answer?
    var endpoint: Endpoint
    var server: HTTPServer<SingleEndpointHandler>?
  }
  private let state: Mutex<State>
  private let group: EventLoopGroup
  private let reservation: PortReservation

  /// The usual answer: 200, text, and the request's body, or `hello` when it has none.
  private static let echo: Endpoint = { _, body in
    let bytes = try await body.collect(upTo: 8 << 20)
    return Response(200, ["Content-Type": "text/plain"], bytes.isEmpty ? Array("hello".utf8) : bytes)
  }

  /// Reserves the port; nobody listens yet. Without an endpoint it echoes.
  package init(_ endpoint: Endpoint? = nil) throws {
    reservation = try PortReservation()
    group = try EventLoopGroup(count: 1, configuration: LoopConfiguration(tick: .milliseconds(5)))
    state = Mutex(State(endpoint: endpoint ?? Self.echo))
  }

  package var port: Int { reservation.port }
  /// What came so far, in order.
  package var requests: [SeenRequest] { state.withLock { $0.seen } }
  package func forget() { state.withLock { $0.seen = [] } }
  /// Answers so from now on where the closure gives an answer; nil: as usual.
  package func answer(_ answer: Answer?) { state.withLock { $0.answer = answer } }
  /// The endpoint that gives the usual answers.
  package func serve(_ endpoint: @escaping Endpoint) { state.withLock { $0.endpoint = endpoint } }

  /// Listens.
  package func start() async throws {
    let server = try await HTTPServer.start(on: [reservation.address], loops: group.loops) { [self] _ in
      SingleEndpointHandler { [self] request, body in try await respond(request, body) }
    }
    state.withLock { $0.server = server }
  }

  /// Closes everything: who connects is refused.
  package func goAway() async {
    let server = state.withLock { state in
      defer { state.server = nil }
      return state.server
    }
    await server?.stop()
  }

  /// The end of the test.
  package func stop() async {
    await goAway()
    await group.stop()
  }

  private func respond(_ request: Request, _ body: RequestBody) async throws -> Response {
    let bytes = try await body.collect(upTo: 8 << 20)
    let seen = SeenRequest(
      method: request.method, path: String(decoding: request.rawPath, as: UTF8.self),
      query: request.query.map { String(decoding: $0, as: UTF8.self) }, fields: request.fields, body: bytes)
    let (answer, endpoint) = state.withLock { state in
      state.seen.append(seen)
      return (state.answer, state.endpoint)
    }
    if let given = try await answer?(seen) { return given }
    return try await endpoint(request, RequestBody(bytes: bytes))
  }
}
