import EventLoop
import HTTP1
import HTTPMessage
import IntercomCore
import Telemetry

/// An endpoint at work on an exchange: its task, the body that waits for it, and what it waits for. Confined to the loop.
final class EndpointWork {
  typealias Pulled = Result<[UInt8]?, BodyError>

  /// Bytes of the body without framing that nobody has pulled yet.
  var queue: [UInt8] = []
  private var queueStart = 0
  var task: Task<Void, Never>?
  var hasSentContinue = false
  private var pull: (max: Int, continuation: CheckedContinuation<Pulled, Never>)?
  private var writer: CheckedContinuation<Bool, Never>?
  private var isEnded = false

  var waitingBytes: Int { queue.count - queueStart }

  func take(_ max: Int) -> [UInt8] {
    let end = min(queue.count, queueStart + Swift.max(1, max))
    let piece = Array(queue[queueStart..<end])
    queueStart = end
    if queueStart == queue.count {
      queue = []
      queueStart = 0
    } else if queueStart > 65_536 {
      queue.removeFirst(queueStart)
      queueStart = 0
    }
    return piece
  }

  /// Gives what has come to the endpoint if it waits.
  func resumePull(isDone: Bool) {
    guard let waiting = pull, waitingBytes > 0 || isDone else { return }
    pull = nil
    waiting.continuation.resume(returning: .success(waitingBytes > 0 ? take(waiting.max) : nil))
  }

  func wait(for max: Int, _ continuation: CheckedContinuation<Pulled, Never>) {
    guard pull == nil, !isEnded else { return continuation.resume(returning: .failure(.incomplete)) }
    pull = (max, continuation)
  }

  func waitToWrite(_ continuation: CheckedContinuation<Bool, Never>) {
    guard writer == nil, !isEnded else { return continuation.resume(returning: false) }
    writer = continuation
  }

  func resumeWriter(isGone: Bool) {
    guard let waiting = writer else { return }
    writer = nil
    waiting.resume(returning: !isGone)
  }

  /// The exchange is over: whoever waits learns it, and the task is cancelled unless it is done.
  func end(isCancelled: Bool) {
    isEnded = true
    queue = []
    queueStart = 0
    pull?.continuation.resume(returning: .failure(.incomplete))
    pull = nil
    resumeWriter(isGone: true)
    if isCancelled { task?.cancel() }
  }
}

extension Exchange {
  /// Runs an endpoint as a task that prefers this loop; its answer becomes the exchange's. `answerLines` are added to it.
  package final func run(_ endpoint: @escaping Endpoint, _ request: Request) {
    guard phase == .deciding else { return }
    phase = .running
    let work = EndpointWork()
    self.work = work
    let id = exchangeID
    let hasBody = !isBodyDone
    let log = server.settings.log
    work.task = loop.spawn { actor in
      let body = hasBody ? RequestBody { (max) async throws(BodyError) in try await actor.pullBody(id, max).get() } : RequestBody.none
      await EndpointRun(actor: actor, id: id, log: log).run(endpoint, request, body)
    }
    if work.task == nil { refuse(Problem(503, "stopping", "Intercom is stopping. Try again."), .failed) }
  }

  /// The next piece of the body, nil at once when it must be waited for.
  final func nextPiece(_ max: Int) -> EndpointWork.Pulled? {
    guard let work else { return .failure(.incomplete) }
    if work.waitingBytes > 0 {
      let piece = work.take(max)
      if work.waitingBytes <= server.settings.waitingInput / 2 { resumeBody() }
      return .success(piece)
    }
    return body.isDone ? .success(nil) : nil
  }
}

extension RequestBody {
  /// No body.
  package static var none: RequestBody { RequestBody { (_) async throws(BodyError) in nil } }
}

// Entering a continuation may give the loop away for a moment, so what was seen before it is looked at again inside.
extension LoopActor {
  func pullBody(_ id: ExchangeID, _ max: Int) async -> EndpointWork.Pulled {
    guard let exchange = loop.exchange(id), exchange.work != nil else { return .failure(.incomplete) }
    if let ready = exchange.nextPiece(max) { return ready }
    exchange.sendContinueIfExpected()
    exchange.resumeBody()
    return await withCheckedContinuation { continuation in
      guard let exchange = loop.exchange(id), let work = exchange.work else { return continuation.resume(returning: .failure(.incomplete)) }
      if let ready = exchange.nextPiece(max) { return continuation.resume(returning: ready) }
      work.wait(for: max, continuation)
    }
  }

  /// Sends a piece; suspends while too much waits for the client. False when the client is gone or more was written than announced.
  func writePiece(_ id: ExchangeID, _ bytes: [UInt8]) async -> Bool {
    guard let exchange = loop.exchange(id), exchange.sendPiece(bytes) else { return false }
    guard exchange.isOutputFull else { return true }
    return await withCheckedContinuation { continuation in
      guard let exchange = loop.exchange(id), let work = exchange.work else { return continuation.resume(returning: false) }
      guard exchange.isOutputFull else { return continuation.resume(returning: true) }
      work.waitToWrite(continuation)
    }
  }
}

/// Calls an endpoint and carries its answer to the exchange, which may be gone by then.
private struct EndpointRun: Sendable {
  let actor: LoopActor
  let id: ExchangeID
  let log: StructuredLog

  func run(_ endpoint: Endpoint, _ request: Request, _ body: RequestBody) async {
    let response: Response
    do { response = try await endpoint(request, body) } catch { return await fail(error, request) }
    switch response.body {
    case .bytes: await actor.withLoop { loop in loop.exchange(id)?.answer(response) }
    case .stream(let length, let produce): await stream(response, length, produce, request)
    }
  }

  private func stream(
    _ response: Response, _ length: Int?, _ produce: @Sendable (any ResponseWriter) async throws -> Void, _ request: Request
  ) async {
    guard let lines = EndpointFieldLines.render(response.fields) else { return await fail(EndpointFault.badFields, request) }
    let begun = await actor.withLoop { loop in loop.exchange(id)?.beginStream(response.status, lines, length: length) ?? false }
    guard begun else { return }
    do {
      // A HEAD request gets the head alone.
      if request.method != .head { try await produce(StreamWriter(actor: actor, id: id)) }
      let isWhole = await actor.withLoop { loop in loop.exchange(id)?.endStream() ?? true }
      if !isWhole { throw EndpointFault.wrongLength }
    } catch {
      logFailure(error, request)
      await actor.withLoop { loop in loop.exchange(id)?.breakOff(.failed) }
    }
  }

  private func fail(_ error: any Error, _ request: Request) async {
    let problem: Problem
    switch error {
    case BodyError.tooLarge: problem = Problem(413, "body_too_large", "The request's body is larger than this resource takes.")
    case BodyError.incomplete: problem = Problem(400, "body_incomplete", "The request's body did not come whole.")
    default:
      logFailure(error, request)
      problem = Problem(500, "internal_error", "Something went wrong inside Intercom. It has been logged; try again later.")
    }
    await actor.withLoop { loop in loop.exchange(id)?.answer(problem) }
  }

  /// The kind of the error only: its text may hold what no log may.
  private func logFailure(_ error: any Error, _ request: Request) {
    if error is CancellationError || error is BodyError { return }
    log.error(
      "endpoint_failed", "An endpoint ended with an error",
      ["error": .string(String(reflecting: type(of: error))), "method": .string(request.method.name)])
  }
}

/// Mistakes of an endpoint in its own answer.
private enum EndpointFault: Error {
  case badFields
  case wrongLength
}

private struct StreamWriter: ResponseWriter {
  let actor: LoopActor
  let id: ExchangeID
  func write(_ bytes: [UInt8]) async throws(BodyError) {
    guard await actor.writePiece(id, bytes) else { throw .incomplete }
  }
}

extension Request {
  /// Copies a head out of its connection.
  package init(_ head: borrowing RequestHead, _ bytes: borrowing Span<UInt8>, peer: String) {
    var fields = Fields()
    for index in 0..<head.fields.count {
      let field = head.fields[index]
      fields.append(String(decoding: field.name.bytes(in: bytes), as: UTF8.self), bytes: field.value.bytes(in: bytes))
    }
    self.init(
      method: head.request.method, rawPath: head.request.path.bytes(in: bytes),
      query: head.request.hasQuery ? head.request.query.bytes(in: bytes) : nil,
      host: FieldName(bytes: head.request.host.bytes(in: bytes)).lowercased,
      authority: Identifier(bytes: head.request.authority.bytes(in: bytes)), fields: fields, peer: peer)
  }
}
