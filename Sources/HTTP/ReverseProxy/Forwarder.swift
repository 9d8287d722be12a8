import EventLoop
import HTTP1
import HTTPMessage
import HTTPServer
import IntercomCore

/// A parser of answers and its head: one serves all upstream connections of a loop, one whose head comes in pieces keeps it until it is whole.
final class AnswerReader {
  var parser: ResponseHeadParser
  var head = ResponseHead()
  init(limits: HeadLimits) { parser = ResponseHeadParser(limits: limits) }
}

/// Sends permitted requests to their upstreams and the answers back; one per loop.
package final class Forwarder {
  package let loop: EventLoop
  /// Told of each final answer's status before it goes to the client: a 401 means that the credential is no longer good.
  package var onUpstreamAnswer: ((Exchange, Int) -> Void)?

  let resolver: NameResolver
  let settings: ForwardSettings
  let pool: UpstreamPool
  /// For heads: written and sent within one call.
  var buffer = HeadBuffer()
  private var spareReader: AnswerReader?

  package init(
    loop: EventLoop, resolver: NameResolver, settings: ForwardSettings = ForwardSettings(),
    telemetry: UpstreamTelemetry = UpstreamTelemetry()
  ) {
    self.loop = loop
    self.resolver = resolver
    self.settings = settings
    pool = UpstreamPool(settings: settings, telemetry: telemetry)
  }

  /// Forwards the request that `exchange`'s handler is being asked about. Whatever happens, the exchange gets its answer: the upstream's, or a
  /// problem (502, 503, 504, or the refusal of a request that cannot be written for its upstream), with the plan's CORS lines.
  package func forward(
    _ plan: ForwardPlan, _ head: borrowing RequestHead, _ bytes: borrowing Span<UInt8>, _ exchange: Exchange
  ) {
    exchange.answerLines = plan.response.added.bytes
    // The last recipient answers (RFC 9110 §7.6.2).
    if case .some(.none) = MaxForwards.read(head, bytes) { return exchange.answer(204) }
    buffer.removeAll()
    if let refusal = RequestHeadWriter.write(copy head, bytes, plan: plan, peer: exchange.peerText, into: &buffer) {
      return exchange.answer(refusal.problem)
    }
    guard plan.upstream.scheme == .http else {
      return exchange.answer(
        Problem(502, "upstream_scheme", "This upstream asks for TLS, which Intercom does not offer towards upstreams yet."))
    }
    let flow = ForwardFlow(forwarder: self, plan: plan, group: pool.group(of: plan.route), exchange: exchange)
    exchange.forward(to: flow)
    guard flow.select() else { return }
    guard let connection = flow.takeIdle() else { return flow.begin(head: buffer.bytes) }
    flow.attach(connection, retryHead: plan.mayRetry ? buffer.bytes : [])
    let count = exchange.takeBody(behind: head, in: bytes)
    let headLength = head.request.headLength
    let written = buffer.storage
    connection.send(written.span.extracting(first: buffer.count), bytes.extracting(headLength..<headLength &+ count))
    flow.bodyWasSent(isLast: exchange.isBodyDone)
  }

  func takeReader() -> AnswerReader {
    guard let reader = spareReader else { return AnswerReader(limits: settings.answerLimits) }
    spareReader = nil
    return reader
  }

  func giveBack(_ reader: AnswerReader) {
    guard spareReader == nil else { return }
    reader.parser.reset()
    spareReader = reader
  }
}
