import EventLoop
import HTTP1
import HTTPMessage
import HTTPServer
import IntercomCore

/// An answer's head and its parser: one serves all upstream connections of a loop, one whose head comes in pieces keeps it until the head is whole.
final class AnswerReader {
  var parser: ResponseHeadParser
  var head = ResponseHead()
  init(limits: HeadLimits) { parser = ResponseHeadParser(limits: limits) }
}

/// Sends permitted requests to their upstreams and the answers back; one per loop.
package final class Forwarder {
  package let loop: EventLoop
  /// Told before an upstream's 401 goes to the client: the credential that it got is no longer good.
  package var onCredentialRefused: ((Exchange) -> Void)?
  /// Told of each tunnel that stands.
  package var onTunnel: ((Exchange) -> Void)?

  let resolver: NameResolver
  private(set) var settings: ForwardSettings
  let pool: UpstreamPool
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
    _ plan: borrowing ForwardPlan, _ head: borrowing RequestHead, _ bytes: borrowing Span<UInt8>, _ exchange: Exchange
  ) {
    // The last recipient answers (RFC 9110 §7.6.2).
    if case .some(.none) = MaxForwards.read(head, bytes) {
      exchange.answerLines = plan.response.added.bytes
      return exchange.answer(204)
    }
    if head.request.hasUpgrade, upgrades(plan, head, bytes, exchange) { return }
    guard let connection = pool.takeUsual(plan.route) else { return begin(plan, head, bytes, exchange) }
    let flow = connection.takeFlow(for: plan.route) ?? ForwardFlow(forwarder: self, plan: plan, group: pool.group(of: plan.route))
    var written = flow.takeBuffer()
    if let problem = write(plan, head, bytes, exchange, &written) {
      flow.keep(consume written)
      connection.rest(flow)
      return refuse(problem, plan, exchange)
    }
    flow.start(plan, exchange)
    exchange.forward(to: flow)
    flow.attach(connection)
    let count = exchange.takeBody(behind: head, in: bytes)
    let headLength = head.request.headLength
    connection.send(written.storage.span.extracting(first: written.count), bytes.extracting(headLength..<headLength &+ count))
    flow.wasSent(head: consume written, isLast: exchange.isBodyDone, on: connection)
  }

  /// Without an idle connection to the usual endpoint: another one, or a new connection. The body waits until the way is clear.
  private func begin(
    _ plan: borrowing ForwardPlan, _ head: borrowing RequestHead, _ bytes: borrowing Span<UInt8>, _ exchange: Exchange,
    upgrade: UpgradeHandshake? = nil
  ) {
    let flow = ForwardFlow(forwarder: self, plan: plan, group: pool.group(of: plan.route), upgrade: upgrade)
    var written = flow.takeBuffer()
    if let problem = write(plan, head, bytes, exchange, &written) { return refuse(problem, plan, exchange) }
    upgrade?.write(into: &written)
    flow.start(plan, exchange)
    exchange.forward(to: flow)
    if flow.select() { flow.begin(head: written) }
  }

  /// Asks the upstream to switch, on a connection of its own. False: nothing that the route carries is asked for, and Upgrade is ignored
  /// (RFC 9110 §7.8).
  @inline(never)
  private func upgrades(
    _ plan: borrowing ForwardPlan, _ head: borrowing RequestHead, _ bytes: borrowing Span<UInt8>, _ exchange: Exchange
  ) -> Bool {
    let protocols = UpgradeField.asked(head.request, bytes, of: plan.route.upgrades)
    guard !protocols.isEmpty, exchange.isBodyDone else { return false }
    if let handshake = UpgradeHandshake(protocols, head, bytes) {
      begin(plan, head, bytes, exchange, upgrade: handshake)
    } else {
      refuse(UpgradeHandshake.badKey, plan, exchange)
    }
    return true
  }

  private func refuse(_ problem: Problem, _ plan: borrowing ForwardPlan, _ exchange: Exchange) {
    exchange.answerLines = plan.response.added.bytes
    exchange.answer(problem)
  }

  /// Writes the head for the upstream, or says why it cannot be.
  private func write(
    _ plan: borrowing ForwardPlan, _ head: borrowing RequestHead, _ bytes: borrowing Span<UInt8>, _ exchange: Exchange,
    _ out: inout HeadBuffer
  ) -> Problem? {
    var peer = exchange.peerLines
    if peer.isEmpty {
      let client = exchange.client(head, bytes)
      peer = RequestHeadWriter.peerLines(client.text, isAddress: client.isAddress)
      // Behind a proxy each request has its own.
      if !exchange.isBehindProxy { exchange.peerLines = peer }
    }
    return RequestHeadWriter.write(head, bytes, plan: plan, peer: peer, into: &out)?.problem
  }

  /// Other routes, by index, and settings are in force from now on; what is under way ends under those that it began with.
  package func replace(_ routes: [ForwardRoute?], settings: ForwardSettings) {
    self.settings = settings
    spareReader = nil
    pool.replace(routes, settings: settings)
  }

  func takeReader() -> AnswerReader { spareReader.take() ?? AnswerReader(limits: settings.answerLimits) }
  func giveBack(_ reader: AnswerReader) { spareReader = reader }
}
