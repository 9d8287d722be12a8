import EventLoop
import HTTP1
import HTTPMessage
import HTTPServer
import IntercomCore

/// A connection to an upstream: idle, or at work for one flow.
///
/// `package`, because Swift 6.3.1 makes an endlessly recursive stub of the inherited initialiser for an internal class here.
package final class UpstreamConnection: TCPConnection {
  let host: UpstreamHost
  private let forwarder: Forwarder
  private var flow: ForwardFlow?
  /// Once it has switched protocols: then there is no flow.
  private var tunnel: UpgradeTunnel?
  /// Behind this one among the idle connections of its host.
  var nextIdle: UpstreamConnection?
  /// That of the last request, to be used again for the next one.
  private var restingFlow: ForwardFlow?
  /// It has carried an answer before: the upstream may close it at any moment.
  private(set) var isReused = false

  private var partial: AnswerReader?
  private var buffered: [UInt8] = []
  private var hasAnswered = false
  private var isHeadDone = false
  private var isRequestDone = false
  private var mayBeReused = false
  private var body = AnswerBody(.none)
  /// While a chunked body comes.
  private var chunks: ChunkedScanner?
  private var decodes = false
  private var interims = 0
  private var sentAtCheck = 0

  /// The rest of a body that is at least this long goes from socket to socket within the kernel; below, copying costs no more.
  private static let leastRelay = 262_144

  /// More interim answers than this to one request are no information any more.
  private static let mostInterims = 100

  init(descriptor: Int32, host: UpstreamHost, forwarder: Forwarder, carrier: (any ByteCarrier)?) {
    self.host = host
    self.forwarder = forwarder
    super.init(descriptor: descriptor, loop: forwarder.loop, isConnecting: true, carrier: carrier)
  }

  // MARK: for the flow

  /// A flow of this route that is at work for nobody.
  func takeFlow(for route: ForwardRoute) -> ForwardFlow? {
    guard let flow = restingFlow.take(), flow.route === route else { return nil }
    return flow
  }

  /// Waits among the idle ones for the next request.
  func rest(_ flow: ForwardFlow) {
    host.giveBack(self)
    if !isClosed { restingFlow = flow }
  }

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
    setDeadline(afterNanoseconds: flow.route.headTime)
  }

  /// The whole request was given at once with its head, so that `begin` has set the deadline just now.
  func requestIsWhole() { isRequestDone = true }

  /// The whole request was given: from now on the upstream alone is waited for.
  func requestIsComplete() {
    isRequestDone = true
    if !isHeadDone, let flow { setDeadline(afterNanoseconds: flow.route.headTime) }
  }

  /// The flow is over before the answer's end.
  func abandon() {
    flow = nil
    tunnel = nil
    close()
  }

  // MARK: events

  package override func onConnected() {
    // After a failure it is closed, and `onClosed` has told of it.
    guard let flow, !isClosed else { return close() }
    flow.connected(self)
  }

  package override func onData(_ bytes: borrowing Span<UInt8>) {
    guard let flow else {
      // Bytes on an idle connection belong to nobody: the next user must not get them.
      return tunnel?.upstreamSent(bytes) ?? close()
    }
    hasAnswered = true
    if buffered.isEmpty { return readAnswer(bytes, flow) }
    var all = buffered
    buffered = []
    all.append(copying: bytes)
    readAnswer(all.span, flow)
  }

  package override func onDrained() { flow?.upstreamDrained() ?? tunnel?.upstreamDrained() ?? () }

  package override func onPeerEnd() {
    if let tunnel { return tunnel.upstreamEnded() }
    if let flow, isHeadDone, body.endsByClosing {
      self.flow = nil
      close()
      return flow.complete()
    }
    close()
  }

  package override func onClosed() {
    host.closed(self)
    partial = nil
    chunks = nil
    restingFlow = nil
    buffered = []
    if let tunnel = tunnel.take() { return tunnel.upstreamClosed() }
    guard let flow else { return }
    self.flow = nil
    if let connectError { return flow.connectFailed(connectError) }
    if let carrierFailure { return flow.carrierFailed(carrierFailure) }
    if !hasAnswered, flow.retries(self) { return }
    if !hasAnswered, let carrierRefusal { return flow.refused(carrierRefusal) }
    flow.fail(Problem(502, "upstream_broken", "The upstream ended the connection before its answer was complete."))
  }

  package override func onTimeOut() {
    guard let flow else { return tunnel?.timedOut() ?? close() }
    let waitsForClient = isHeadDone ? isReadingPaused || isRelayBlocked : !isRequestDone && (pendingBytes == 0 || sentBytes != sentAtCheck)
    if waitsForClient {
      sentAtCheck = sentBytes
      return setDeadline(after: isHeadDone ? flow.route.timeouts.idle : flow.route.timeouts.head)
    }
    if !isHeadDone { flow.headTimedOut() }
    end(flow, Problem(504, "upstream_timeout", "The upstream did not answer in time. Try again later."))
  }

  package override func onRelayed() { if let flow { setDeadline(afterNanoseconds: flow.route.idleTime) } }

  package override func onRelayEnd(isClean: Bool) {
    guard let flow, let exchange = flow.exchange, let rest = body.unseenRest else { return close() }
    _ = body.take(rest)
    afterBody(surplus: isClean ? 0 : 1, flow, exchange)
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
      let rest = bytes.extracting(at...)
      guard let used = readHead(rest, flow) else { return }
      at &+= used
    }
  }

  /// The length of the interim head that stood at the beginning; nil when nothing more is to be read here.
  private func readHead(_ bytes: borrowing Span<UInt8>, _ flow: ForwardFlow) -> Int? {
    let reader = partial.take() ?? forwarder.takeReader()
    // The parser by itself, so that one access is open while it works, not two.
    var parser = reader.parser
    let result = parser.parse(bytes, method: flow.method, upgradeAsked: flow.upgrade != nil, into: &reader.head)
    reader.parser = parser
    switch result {
    case .incomplete:
      partial = reader
      buffered = [UInt8](copying: bytes)
      return nil
    case .refused:
      forwarder.giveBack(reader)
      end(flow, Self.badAnswer)
      return nil
    case .complete:
      let used = headCame(reader.head, bytes, flow)
      forwarder.giveBack(reader)
      return used
    }
  }

  private func headCame(_ head: borrowing ResponseHead, _ bytes: borrowing Span<UInt8>, _ flow: ForwardFlow) -> Int? {
    if head.isUnaskedSwitch || interims > Self.mostInterims {
      end(flow, Self.badAnswer)
      return nil
    }
    guard head.isInterim else {
      if head.status == 101 { switchProtocols(head, bytes, flow) } else { answer(head, bytes, flow) }
      return nil
    }
    interim(head, bytes, flow)
    return self.flow == nil ? nil : head.headLength
  }

  private static let badAnswer = Problem(502, "upstream_bad_answer", "The upstream's answer is not valid HTTP.")

  private func interim(_ head: borrowing ResponseHead, _ bytes: borrowing Span<UInt8>, _ flow: ForwardFlow) {
    interims += 1
    setDeadline(afterNanoseconds: flow.route.headTime)
    var written = flow.takeBuffer()
    ResponseHeadWriter.writeInterim(head, bytes, into: &written)
    flow.exchange?.sendInterim(written.storage.span.extracting(first: written.count))
    flow.keep(consume written)
  }

  /// The final head is there, and perhaps the beginning of the body behind it.
  private func answer(_ head: borrowing ResponseHead, _ bytes: borrowing Span<UInt8>, _ flow: ForwardFlow) {
    guard let exchange = flow.exchange else { return }
    isHeadDone = true
    flow.answered()
    body = AnswerBody(head.framing)
    if body.isChunked { chunks = ChunkedScanner(guarded: ConnectionOptions.named(by: head.fields, in: bytes)) }
    mayBeReused = head.keepAlive && !body.endsByClosing && flow.upgrade == nil
    if head.status == 401 { forwarder.onCredentialRefused?(exchange) }
    var written = flow.takeBuffer()
    let framing = ResponseHeadWriter.write(
      head, bytes, route: flow.route, rewrite: flow.response, isOldClient: exchange.isOldClient, keepAlive: exchange.decidesKeepAlive(),
      date: exchange.server.currentDateLine, into: &written)
    let rest = bytes.extracting(head.headLength...)
    if case .decodedUntilClose = framing {
      decodes = true
      exchange.sendAnswer(
        head.status, head: written.storage.span.extracting(first: written.count), body: rest.extracting(first: 0), endsByClosing: true)
      flow.keep(consume written)
      return deliver(rest, flow)
    }
    let count = scan(rest)
    exchange.sendAnswer(
      head.status, head: written.storage.span.extracting(first: written.count), body: rest.extracting(first: count),
      endsByClosing: body.endsByClosing)
    flow.keep(consume written)
    afterBody(surplus: rest.count &- count, flow, exchange)
  }

  /// The upstream has switched to what was asked for: both connections leave HTTP.
  private func switchProtocols(_ head: borrowing ResponseHead, _ bytes: borrowing Span<UInt8>, _ flow: ForwardFlow) {
    guard let exchange = flow.exchange, let name = flow.upgrade?.agreed(head, bytes) else { return end(flow, Self.badSwitch) }
    isHeadDone = true
    flow.answered()
    var written = flow.takeBuffer()
    _ = ResponseHeadWriter.write(
      head, bytes, route: flow.route, rewrite: flow.response, isOldClient: false, keepAlive: true,
      date: exchange.server.currentDateLine, into: &written)
    UpgradeHandshake.write([name], into: &written)
    let tunnel = UpgradeTunnel(exchange, self, flow.route.timeouts, waitingOutput: forwarder.settings.waitingOutput)
    self.flow = nil
    self.tunnel = tunnel
    flow.handOver()
    tunnel.begin(head: written.storage.span.extracting(first: written.count), early: bytes.extracting(head.headLength...))
    if !exchange.isClosing { forwarder.onTunnel?(exchange) }
  }

  private static let badSwitch = Problem(502, "upstream_bad_switch", "The upstream switched to a protocol in a way that was not asked for.")

  private func deliver(_ bytes: borrowing Span<UInt8>, _ flow: ForwardFlow) {
    guard let exchange = flow.exchange else { return }
    let count: Int
    if decodes {
      var payload: [UInt8] = []
      count = decode(bytes, into: &payload)
      exchange.sendAnswerBody(payload.span)
    } else {
      count = scan(bytes)
      exchange.sendAnswerBody(bytes.extracting(first: count))
    }
    afterBody(surplus: bytes.count &- count, flow, exchange)
  }

  /// How many of these bytes belong to the body.
  private func scan(_ bytes: borrowing Span<UInt8>) -> Int {
    body.isChunked ? scanChunks(bytes) : body.take(bytes.count)
  }

  @inline(never) private func scanChunks(_ bytes: borrowing Span<UInt8>) -> Int {
    guard var scanner = chunks.take() else { return 0 }
    let count = scanner.scan(bytes)
    keep(scanner)
    return count
  }

  /// Like `scan` for a chunked body, and appends the payload to `out`: for clients that do not know chunks.
  private func decode(_ bytes: borrowing Span<UInt8>, into out: inout [UInt8]) -> Int {
    guard var scanner = chunks.take() else { return 0 }
    let count = scanner.decode(bytes) { out.append(copying: $0) }
    keep(scanner)
    return count
  }

  private func keep(_ scanner: consuming ChunkedScanner) {
    let (isDone, isBroken) = (scanner.isDone, scanner.failure != nil)
    body.scanned(isDone: isDone, isBroken: isBroken)
    if !isDone { chunks = scanner }
  }

  private func afterBody(surplus: Int, _ flow: ForwardFlow, _ exchange: Exchange) {
    if body.isBroken { return end(flow, Self.badAnswer) }
    guard body.isDone else {
      setDeadline(afterNanoseconds: flow.route.idleTime)
      if exchange.pendingBytes > 0 {
        pauseReading()
      } else if let rest = body.unseenRest, rest >= Self.leastRelay, !decodes {
        _ = relay(rest, to: exchange)
      }
      return
    }
    self.flow = nil
    isReused = true
    // A connection whose state is not surely clean is never used again: the next user could get what is left.
    if mayBeReused, surplus == 0, isRequestDone, pendingBytes == 0, !peerHasEnded, !isClosing {
      resumeReading()
      rest(flow)
    } else {
      close()
    }
    flow.complete()
  }
}
