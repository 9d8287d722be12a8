import EventLoop
import HTTP1
import HTTPMessage
import HTTPServer
import IntercomCore

/// A connection to an upstream: idle, or at work for one flow.
///
/// `package`, because Swift 6.3.1 makes an endlessly recursive stub of the inherited initialiser for an internal class here.
package final class UpstreamConnection: TCPConnection {
  private let host: UpstreamHost
  private let forwarder: Forwarder
  private var flow: ForwardFlow?
  /// It has carried an answer before: the upstream may close it at any moment.
  private(set) var isReused = false

  private var partial: AnswerReader?
  private var buffered: [UInt8] = []
  private var hasAnswered = false
  private var isHeadDone = false
  private var isRequestDone = false
  private var mayBeReused = false
  private var body = AnswerBody(.none)
  private var decodes = false
  private var interims = 0
  private var sentAtCheck = 0

  /// More interim answers than this to one request are no information any more.
  private static let mostInterims = 100

  init(descriptor: Int32, host: UpstreamHost, forwarder: Forwarder) {
    self.host = host
    self.forwarder = forwarder
    super.init(descriptor: descriptor, loop: forwarder.loop, isConnecting: true)
  }

  // MARK: for the flow

  /// Waits for the connection that was started. A failure is told in the next turn at the earliest.
  func dial(for flow: ForwardFlow, timeOut: Duration) {
    self.flow = flow
    host.opened()
    do { try startConnecting(timeOut: timeOut) } catch {
      host.closed(self)
      self.flow = nil
      flow.connectFailed(nil)
    }
  }

  /// Begins to work for `flow`, which sends the request now.
  func begin(_ flow: ForwardFlow) {
    self.flow = flow
    hasAnswered = false
    isHeadDone = false
    isRequestDone = false
    mayBeReused = false
    decodes = false
    interims = 0
    sentAtCheck = sentBytes
    setDeadline(after: flow.plan.timeouts.head)
  }

  /// The whole request was given: from now on the upstream alone is waited for.
  func requestIsComplete() {
    isRequestDone = true
    if !isHeadDone, let flow { setDeadline(after: flow.plan.timeouts.head) }
  }

  /// The flow is over before the answer's end.
  func abandon() {
    flow = nil
    close()
  }

  // MARK: events

  package override func onConnected() {
    guard let flow else { return close() }
    guard connectError == nil else { return }
    flow.connected(self)
  }

  package override func onData(_ bytes: borrowing Span<UInt8>) {
    // Bytes on an idle connection belong to nobody: the next user must not get them.
    guard let flow else { return close() }
    hasAnswered = true
    if buffered.isEmpty { return readAnswer(bytes, flow) }
    buffered.append(copying: bytes)
    let all = buffered
    buffered = []
    readAnswer(all.span, flow)
  }

  package override func onDrained() { flow?.upstreamDrained() }

  package override func onPeerEnd() {
    if let flow, isHeadDone, body.endsByClosing {
      self.flow = nil
      close()
      return flow.complete()
    }
    close()
  }

  package override func onClosed() {
    host.closed(self)
    if let reader = partial { forwarder.giveBack(reader) }
    partial = nil
    buffered = []
    guard let flow else { return }
    self.flow = nil
    if let connectError { return flow.connectFailed(connectError) }
    if !hasAnswered, flow.retries(self) { return }
    flow.fail(Problem(502, "upstream_broken", "The upstream ended the connection before its answer was complete."))
  }

  package override func onTimeOut() {
    guard let flow else { return close() }
    let waitsForClient = isHeadDone ? isReadingPaused : !isRequestDone && (pendingBytes == 0 || sentBytes != sentAtCheck)
    if waitsForClient {
      sentAtCheck = sentBytes
      return setDeadline(after: isHeadDone ? flow.plan.timeouts.idle : flow.plan.timeouts.head)
    }
    if !isHeadDone { flow.headTimedOut() }
    end(flow, Problem(504, "upstream_timeout", "The upstream did not answer in time. Try again later."))
  }

  private func end(_ flow: ForwardFlow, _ problem: Problem) {
    self.flow = nil
    close()
    flow.fail(problem)
  }

  // MARK: the answer

  private func readAnswer(_ bytes: borrowing Span<UInt8>, _ flow: ForwardFlow) {
    if isHeadDone { return deliver(bytes, flow) }
    var at = 0
    while at < bytes.count {
      let reader = partial ?? forwarder.takeReader()
      let rest = bytes.extracting(at...)
      switch reader.parser.parse(rest, method: flow.plan.permit.method, into: &reader.head) {
      case .incomplete:
        partial = reader
        buffered = [UInt8](copying: rest)
        return
      case .refused:
        partial = nil
        forwarder.giveBack(reader)
        return end(flow, Self.badAnswer)
      case .complete:
        partial = nil
        let isFinal = !reader.head.isInterim
        at &+= reader.head.headLength
        if reader.head.isUnaskedSwitch || interims > Self.mostInterims {
          forwarder.giveBack(reader)
          return end(flow, Self.badAnswer)
        }
        if isFinal { answer(reader.head, rest, flow) } else { interim(reader.head, rest, flow) }
        forwarder.giveBack(reader)
        if isFinal || self.flow == nil { return }
      }
    }
  }

  private static let badAnswer = Problem(502, "upstream_bad_answer", "The upstream's answer is not valid HTTP.")

  private func interim(_ head: ResponseHead, _ bytes: borrowing Span<UInt8>, _ flow: ForwardFlow) {
    interims += 1
    setDeadline(after: flow.plan.timeouts.head)
    forwarder.buffer.removeAll()
    ResponseHeadWriter.writeInterim(head, bytes, plan: flow.plan, into: &forwarder.buffer)
    let written = forwarder.buffer.storage
    flow.exchange?.sendInterim(written.span.extracting(first: forwarder.buffer.count))
  }

  /// The final head is there, and perhaps the beginning of the body behind it.
  private func answer(_ head: ResponseHead, _ bytes: borrowing Span<UInt8>, _ flow: ForwardFlow) {
    guard let exchange = flow.exchange else { return }
    isHeadDone = true
    flow.answered()
    mayBeReused = head.keepAlive && head.framing != .untilClose
    body = AnswerBody(head.framing, guarded: ConnectionOptions.named(by: head.fields, in: bytes))
    forwarder.onUpstreamAnswer?(exchange, head.status)
    var client = CanonicalRequest()
    client.isHTTP10 = exchange.isHTTP10
    forwarder.buffer.removeAll()
    let framing = ResponseHeadWriter.write(
      head, bytes, plan: flow.plan, client: client, keepAlive: exchange.decidesKeepAlive(),
      date: exchange.server.currentDateLine, into: &forwarder.buffer)
    decodes = framing == .decodedUntilClose
    let written = forwarder.buffer.storage
    let headBytes = written.span.extracting(first: forwarder.buffer.count)
    let rest = bytes.extracting(head.headLength...)
    let endsByClosing = decodes || framing == .untilClose
    if decodes {
      exchange.sendAnswer(head.status, head: headBytes, body: rest.extracting(first: 0), endsByClosing: true)
      return deliver(rest, flow)
    }
    let count = body.scan(rest)
    exchange.sendAnswer(head.status, head: headBytes, body: rest.extracting(first: count), endsByClosing: endsByClosing)
    afterBody(surplus: rest.count &- count, flow, exchange)
  }

  private func deliver(_ bytes: borrowing Span<UInt8>, _ flow: ForwardFlow) {
    guard let exchange = flow.exchange else { return }
    let count: Int
    if decodes {
      var payload: [UInt8] = []
      count = body.decode(bytes, into: &payload)
      exchange.sendAnswerBody(payload.span)
    } else {
      count = body.scan(bytes)
      exchange.sendAnswerBody(bytes.extracting(first: count))
    }
    afterBody(surplus: bytes.count &- count, flow, exchange)
  }

  private func afterBody(surplus: Int, _ flow: ForwardFlow, _ exchange: Exchange) {
    if body.isBroken { return end(flow, Self.badAnswer) }
    guard body.isDone else {
      setDeadline(after: flow.plan.timeouts.idle)
      if exchange.isOutputFull { pauseReading() }
      return
    }
    self.flow = nil
    isReused = true
    // A connection whose state is not surely clean is never used again: the next user could get what is left.
    if mayBeReused, surplus == 0, isRequestDone, pendingBytes == 0, !peerHasEnded, !isClosing {
      resumeReading()
      host.giveBack(self)
    } else {
      close()
    }
    flow.complete()
  }
}
