import EventLoop
import HTTP1
import HTTPMessage
import HTTPServer
import IntercomCore

/// Sends permitted requests to their upstreams and the answers back; one per loop.
package final class Forwarder {
  package let loop: EventLoop
  /// Told before an upstream's 401 goes to the client: the credential that it got is no longer good.
  package var onCredentialRefused: ((Exchange) -> Void)?

  let resolver: NameResolver
  let settings: ForwardSettings
  let pool: UpstreamPool
  /// Where heads are written; each is taken out, filled, sent, and given back.
  private var spareBuffers: [HeadBuffer] = []
  /// One head serves all upstream connections: it is taken while an answer's is dealt with, and its table is used again.
  private var spareHead: ResponseHead?

  private static let mostSpareBuffers = 64
  /// Buffers that a head of unusual size has made larger are not kept.
  private static let spareBufferSize = 8192

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
    _ plan: borrowing ForwardPlan, _ head: borrowing RequestHead, _ bytes: borrowing Span<UInt8>, _ exchange: Exchange
  ) {
    // The last recipient answers (RFC 9110 §7.6.2).
    if case .some(.none) = MaxForwards.read(head, bytes) {
      exchange.answerLines = plan.response.added.bytes
      return exchange.answer(204)
    }
    var written = takeBuffer()
    if let problem = write(plan, head, bytes, exchange, &written) {
      giveBack(written)
      exchange.answerLines = plan.response.added.bytes
      return exchange.answer(problem)
    }
    let group = pool.group(of: plan.route)
    guard let connection = group.usual?.takeIdle() else { return begin(plan, group, exchange, head: written) }
    let flow: ForwardFlow
    if let resting = connection.takeFlow() {
      flow = resting
      flow.renew(plan, exchange)
    } else {
      flow = ForwardFlow(forwarder: self, plan: plan, group: group, exchange: exchange)
    }
    exchange.forward(to: flow)
    flow.attach(connection)
    let count = exchange.takeBody(behind: head, in: bytes)
    let headLength = head.request.headLength
    connection.send(written.storage.span.extracting(first: written.count), bytes.extracting(headLength..<headLength &+ count))
    flow.wasSent(head: written, isLast: exchange.isBodyDone)
  }

  /// Without an idle connection to the usual endpoint: another one, or a new connection. The body waits until the way is clear.
  private func begin(_ plan: borrowing ForwardPlan, _ group: UpstreamGroup, _ exchange: Exchange, head: consuming HeadBuffer) {
    let flow = ForwardFlow(forwarder: self, plan: plan, group: group, exchange: exchange)
    exchange.forward(to: flow)
    if flow.select() { flow.begin(head: head) } else { giveBack(head) }
  }

  /// Writes the head for the upstream, or says why it cannot be.
  private func write(
    _ plan: borrowing ForwardPlan, _ head: borrowing RequestHead, _ bytes: borrowing Span<UInt8>, _ exchange: Exchange,
    _ out: inout HeadBuffer
  ) -> Problem? {
    if exchange.peerLines.isEmpty { exchange.peerLines = RequestHeadWriter.peerLines(exchange.peer.ip.description) }
    if let refusal = RequestHeadWriter.write(head, bytes, plan: plan, peer: exchange.peerLines, into: &out) { return refusal.problem }
    if plan.route.isPlain { return nil }
    return Problem(502, "upstream_scheme", "This upstream asks for TLS, which Intercom does not offer towards upstreams yet.")
  }

  // MARK: things that are used again

  /// An empty buffer for a head.
  func takeBuffer() -> HeadBuffer {
    // Out of the property and back, so that no access to it is open while the array is changed.
    var spares = spareBuffers
    spareBuffers = []
    let buffer = spares.popLast()
    spareBuffers = spares
    return buffer ?? HeadBuffer()
  }

  func giveBack(_ buffer: consuming HeadBuffer) {
    guard buffer.storage.count <= Self.spareBufferSize else { return }
    buffer.removeAll()
    var spares = spareBuffers
    spareBuffers = []
    if spares.count < Self.mostSpareBuffers { spares.append(buffer) }
    spareBuffers = spares
  }

  func takeHead() -> ResponseHead { spareHead.take() ?? ResponseHead() }
  func giveBack(_ head: consuming ResponseHead) { spareHead = head }
}
