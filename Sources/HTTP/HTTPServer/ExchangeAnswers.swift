import EventLoop
import HTTP1
import HTTPMessage
import IntercomCore

/// How the body of an answer is delimited.
enum AnswerCoding: Equatable {
  /// No body follows (HEAD, 204, 304), or none was begun.
  case none
  /// This many bytes are still to come.
  case fixed(Int)
  case chunked
  /// HTTP/1.0 without a known length.
  case untilClose
  /// The forwarder delimits.
  case forwarded
}

extension Exchange {
  /// Bodies up to this size are copied behind their head and leave in one buffer; larger ones go beside it in the same system call.
  private static var smallBody: Int { 16_384 }

  /// Answers at once. `lines` are complete field lines, each with its CRLF, that the caller vouches for; Content-Length, Connection and Date
  /// are added. The request's body is swallowed within a limit, else the connection closes.
  package final func answer(_ status: Status, lines: [UInt8] = [], body bytes: [UInt8] = []) {
    guard mayAnswer else { return }
    let hasBody = beginHead(status, lines, length: bytes.count)
    if hasBody, bytes.count > Self.smallBody {
      sendScratch(and: bytes.span)
    } else {
      if hasBody { server.scratch += bytes }
      sendScratch()
    }
    completeAnswer()
  }

  /// Answers with a problem document (RFC 9457), not to be stored.
  ///
  /// A person gets the same as a page.
  package final func answer(_ problem: Problem, lines: [UInt8] = []) {
    if mayAnswer { problemCode = problem.code }
    if wantsPage, let page = server.settings.problemPage?(problem), let own = EndpointFieldLines.render(page.fields) {
      return answer(problem.status, lines: own + lines, body: page.body)
    }
    answer(problem.status, lines: Self.problemLines + lines, body: problem.json)
  }

  /// Whether a person looks at the answer of this request.
  package final func showsPages(_ isPerson: Bool) { wantsPage = isPerson }

  /// Answers with what an endpoint made; its body must be in memory. Fields that would break the head are a 500.
  package final func answer(_ response: Response) {
    guard case .bytes(let bytes) = response.body, let lines = EndpointFieldLines.render(response.fields) else {
      return answer(Problem(500, "bad_answer", "Intercom made an answer that cannot be sent."))
    }
    if wantsPage, let problem = response.problem, let others = EndpointFieldLines.render(response.fieldsBesideProblem) {
      return answer(problem, lines: others)
    }
    answer(response.status, lines: lines, body: bytes)
  }

  private static var problemLines: [UInt8] { Array("Content-Type: \(Problem.contentType)\r\nCache-Control: no-store\r\n".utf8) }

  private final var mayAnswer: Bool {
    !isClosing && !isAnswerStarted && (phase == .deciding || phase == .running || phase == .forwarding)
  }

  /// No further request on this connection after this answer.
  package final func closeAfterAnswer() { wantsKeepAlive = false }

  /// Whether the connection lives after this exchange; to be asked when the head of the answer is made, for it must say so. A body that will
  /// not be read makes it false.
  package final func decidesKeepAlive() -> Bool {
    if server.isDraining { wantsKeepAlive = false }
    if !body.isDone {
      // A client that waits for 100 may send its body or not: nobody knows what its next bytes are.
      if expectsContinue, body.received == 0 { wantsKeepAlive = false }
      // An upstream that answers early is closed, and so the rest of the body has no taker.
      if phase == .forwarding { wantsKeepAlive = false }
      if let remaining = body.remaining, remaining > server.settings.swallowedBody { wantsKeepAlive = false }
    }
    return wantsKeepAlive
  }

  /// Refuses what cannot be answered otherwise and closes. An answer that has begun is broken off.
  final func refuse(_ problem: Problem, _ ending: ExchangeSummary.Ending) {
    guard !isClosing else { return }
    guard !isAnswerStarted else { return breakOff(ending) }
    wantsKeepAlive = false
    if answerLines.isEmpty { answerLines = server.settings.refusalLines(nil) }
    problemCode = problem.code
    let bytes = problem.json
    if beginHead(problem.status, Self.problemLines, length: bytes.count) { server.scratch += bytes }
    sendScratch()
    endConnection(ending)
  }

  /// The same for a head that the parser refuses. What can be told of it is: an allowed Origin may read why, where the whole head is there, and the
  /// methods that are never carried are refused as such. The target and what is too long say nothing.
  final func refuse(_ refusal: HeadRefusal, _ method: Method, _ bytes: borrowing Span<UInt8>) {
    let origin = refusal.status == 431 || refusal.status == 414 ? nil : RefusedHead.origin(bytes, server.settings.headLimits)
    answerLines = server.settings.refusalLines(origin?.bytes(in: bytes))
    guard refusal.isOfTarget, method == .connect || method == .trace else { return refuse(refusal.problem, .refused) }
    answerLines += "Allow: \r\n".utf8
    refuse(.methodNeverCarried, .refused)
  }

  // MARK: streams

  /// Begins an answer whose body follows in pieces.
  final func beginStream(_ status: Status, _ lines: [UInt8], length: Int?) -> Bool {
    guard mayAnswer else { return false }
    _ = beginHead(status, lines, length: length)
    sendScratch()
    return true
  }

  /// The next piece of the body; false when more was written than was announced.
  final func sendPiece(_ bytes: [UInt8]) -> Bool {
    guard !isClosing, isAnswerStarted, !isAnswerDone else { return false }
    switch answerCoding {
    case .none: break
    case .fixed(let left):
      guard bytes.count <= left else { return false }
      answerCoding = .fixed(left - bytes.count)
      send(bytes.span)
    case .chunked:
      guard !bytes.isEmpty else { break }
      server.scratch.removeAll(keepingCapacity: true)
      server.scratch += String(bytes.count, radix: 16).utf8
      server.scratch += [13, 10]
      if bytes.count <= Self.smallBody {
        server.scratch += bytes
        server.scratch += [13, 10]
        sendScratch()
      } else {
        sendScratch(and: bytes.span)
        send(Self.lineEnd.span)
      }
    case .untilClose, .forwarded: send(bytes.span)
    }
    return true
  }

  /// The body is complete; false when less was written than was announced.
  final func endStream() -> Bool {
    guard !isClosing, isAnswerStarted, !isAnswerDone else { return false }
    if case .fixed(let left) = answerCoding, left > 0 { return false }
    if answerCoding == .chunked { send(Self.lastChunk.span) }
    completeAnswer()
    return true
  }

  private static let lineEnd: [UInt8] = [13, 10]
  private static let lastChunk = Array("0\r\n\r\n".utf8)

  /// The local constant only says how long the bytes must live: nothing is copied.
  private final func sendScratch() {
    let bytes = server.scratch
    send(bytes.span)
  }
  private final func sendScratch(and body: borrowing Span<UInt8>) {
    let bytes = server.scratch
    send(bytes.span, body)
  }

  final func completeAnswer() {
    isAnswerDone = true
    endIfDone()
  }

  /// Fills `scratch` with the head and decides the coding; whether a body follows.
  private final func beginHead(_ status: Status, _ lines: [UInt8], length: Int?) -> Bool {
    isAnswerStarted = true
    answerStatus = status.code
    let hasNoLength = status.code == 204 || status.code == 304 || status.code < 200
    let hasBody = !hasNoLength && method != .head
    answerCoding = !hasBody ? .none : length.map { .fixed($0) } ?? (isHTTP10 ? .untilClose : .chunked)
    if answerCoding == .untilClose { wantsKeepAlive = false }
    server.beginHead(status)
    server.scratch += lines
    server.scratch += answerLines
    if !hasNoLength {
      if let length {
        server.scratch += "Content-Length: ".utf8
        server.scratch += String(length).utf8
        server.scratch += [13, 10]
      } else if !isHTTP10 {
        server.scratch += "Transfer-Encoding: chunked\r\n".utf8
      }
    }
    server.scratch += Self.connectionLine(keepAlive: decidesKeepAlive(), isHTTP10: isHTTP10)
    server.scratch += [13, 10]
    return hasBody
  }

  /// The `Connection` line that an answer needs: keeping alive is the default of HTTP/1.1, closing that of HTTP/1.0 (RFC 9112 §9.3).
  package static func connectionLine(keepAlive: Bool, isHTTP10: Bool) -> [UInt8] {
    if !keepAlive { return closeLine }
    return isHTTP10 ? keepAliveLine : []
  }
  private static let closeLine = Array("Connection: close\r\n".utf8)
  private static let keepAliveLine = Array("Connection: keep-alive\r\n".utf8)

  /// `100 Continue`: the client may send its body now (RFC 9110 §10.1.1).
  final func sendContinueIfExpected() {
    guard expectsContinue, body.received == 0, !body.isDone, !isAnswerStarted, work?.hasSentContinue == false else { return }
    work?.hasSentContinue = true
    sendContinue()
  }
  final func sendContinue() { send(Self.continueHead.span) }
  private static let continueHead = Array("HTTP/1.1 100 Continue\r\n\r\n".utf8)
}

// MARK: for the forwarder

extension Exchange {
  /// An interim head (1xx) of the upstream, whole. HTTP/1.0 clients do not know those.
  package final func sendInterim(_ head: borrowing Span<UInt8>) {
    guard phase == .forwarding, !isAnswerStarted, !isHTTP10 else { return }
    send(head)
  }

  /// The answer's head, whole, and the first bytes of its body, in one write. The forwarder delimits the body: `endAnswer` ends it.
  package final func sendAnswer(_ status: Int, head: borrowing Span<UInt8>, body bytes: borrowing Span<UInt8>, endsByClosing: Bool) {
    guard phase == .forwarding, !isAnswerStarted else { return }
    isAnswerStarted = true
    answerStatus = status
    answerCoding = endsByClosing ? .untilClose : .forwarded
    if endsByClosing { wantsKeepAlive = false }
    send(head, bytes)
  }

  package final func sendAnswerBody(_ bytes: borrowing Span<UInt8>) {
    guard phase == .forwarding, isAnswerStarted, !isAnswerDone else { return }
    send(bytes)
  }

  /// The answer is complete. The sink is let go (`exchangeEnded`).
  package final func endAnswer() {
    guard phase == .forwarding, isAnswerStarted, !isAnswerDone else { return }
    completeAnswer()
  }

  /// The upstream broke off: the client gets `problem` when the answer has not begun, else a broken transfer, never a clean end.
  package final func failAnswer(_ problem: Problem) {
    guard phase == .forwarding, !isClosing else { return }
    if isAnswerStarted { return breakOff(.upstreamBroken) }
    answer(problem)
  }

  /// Producers stop above this and go on at `clientDrained`.
  package final var isOutputFull: Bool { pendingBytes > server.times.waitingOutput }
}
