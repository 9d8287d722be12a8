import HTTPMessage
import IntercomCore

/// A request as Intercom's own endpoints see it: copied out of the connection, so it may cross awaits.
package struct Request: Sendable, PrintsNothing {
  package var method: Method
  /// As sent, escapes kept, beginning with `/`.
  package var rawPath: [UInt8]
  /// Without the `?`; nil when the target has none.
  package var query: [UInt8]?
  /// The authority without its port, lower case.
  package var host: Identifier
  /// The authority as sent (with its port when there is one).
  package var authority: Identifier
  package var fields: Fields
  /// The client's address as text, without its port.
  package var peer: String

  package init(
    method: Method, rawPath: [UInt8], query: [UInt8]? = nil, host: Identifier = "", authority: Identifier = "", fields: Fields = Fields(),
    peer: String = "127.0.0.1"
  ) {
    self.method = method
    self.rawPath = rawPath
    self.query = query
    self.host = host
    self.authority = authority
    self.fields = fields
    self.peer = peer
  }
}

/// Why a body could not be read to its end.
package enum BodyError: Error, Sendable, Equatable {
  /// More than the endpoint takes: 413.
  case tooLarge
  /// The client is gone, too slow, or its framing is broken.
  case incomplete
}

/// A request's body, pulled by the endpoint: pulling is what resumes the reading of the client's socket.
///
/// What is not pulled is drained within a limit or the connection closes.
package struct RequestBody: Sendable {
  private let pull: @Sendable (Int) async throws(BodyError) -> [UInt8]?

  /// `pull(max)` gives at most `max` bytes, nil at the end.
  package init(_ pull: @escaping @Sendable (Int) async throws(BodyError) -> [UInt8]?) { self.pull = pull }

  /// A body that is in memory already.
  package init(bytes: [UInt8]) {
    let rest = RemainingBytes(bytes)
    self.init { (max: Int) async throws(BodyError) -> [UInt8]? in await rest.take(max) }
  }

  /// The next piece of at most `max` bytes, or nil at the end.
  package func next(max: Int = 65_536) async throws(BodyError) -> [UInt8]? { try await pull(max) }

  /// The whole body, or `tooLarge` when it is longer than `limit` bytes.
  package func collect(upTo limit: Int) async throws(BodyError) -> [UInt8] {
    var all: [UInt8] = []
    while let piece = try await next(max: 65_536) {
      guard all.count + piece.count <= limit else { throw .tooLarge }
      all += piece
    }
    return all
  }
}

private actor RemainingBytes {
  private var bytes: ArraySlice<UInt8>
  init(_ bytes: [UInt8]) { self.bytes = bytes[...] }
  func take(_ max: Int) -> [UInt8]? {
    guard !bytes.isEmpty else { return nil }
    let piece = bytes.prefix(Swift.max(1, max))
    bytes = bytes.dropFirst(piece.count)
    return Array(piece)
  }
}

/// Takes the body of a streamed response. `write` suspends while more than 256 KiB wait for the client and throws when the client is gone.
package protocol ResponseWriter: Sendable {
  func write(_ bytes: [UInt8]) async throws(BodyError)
}

/// What an endpoint answers.
package struct Response: Sendable {
  package enum Body: Sendable {
    case bytes([UInt8])
    /// `length` bytes when known (sent as Content-Length), else chunked.
    case stream(length: Int?, @Sendable (any ResponseWriter) async throws -> Void)
  }
  package var status: Status
  /// Without Content-Length, Transfer-Encoding, Connection and Date: the connection adds those.
  package var fields: Fields
  package var body: Body
  /// What it says, when it is a problem document: a person is shown a page instead.
  package private(set) var problem: Problem?

  package init(_ status: Status, _ fields: Fields = Fields(), _ body: [UInt8] = []) {
    self.status = status
    self.fields = fields
    self.body = .bytes(body)
  }

  package init(_ status: Status, _ fields: Fields = Fields(), stream: Body) {
    self.status = status
    self.fields = fields
    self.body = stream
  }

  /// The problem as RFC 9457 JSON, not to be stored.
  package init(_ problem: Problem) {
    self.init(problem.status, ["Content-Type": Problem.contentType, "Cache-Control": "no-store"], problem.json)
    self.problem = problem
  }

  /// What stands in the head beside what every problem document has.
  var fieldsBesideProblem: Fields {
    var others = Fields()
    for field in fields.all where !["content-type", "cache-control"].contains(FieldName(field.name)) {
      others.append(field.name, bytes: field.value)
    }
    return others
  }
}

/// One of Intercom's own answers: an async function that runs as a task on the connection's loop. A client that is gone cancels the task.
/// What it throws becomes a plain 500 and a log line.
package typealias Endpoint = @Sendable (Request, RequestBody) async throws -> Response
