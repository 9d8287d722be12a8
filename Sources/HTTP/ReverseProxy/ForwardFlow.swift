import EventLoop
import HTTP1
import HTTPMessage
import HTTPServer
import IntercomCore
import Linux
import OpenSSL

/// One request on its way: takes the client's body to the upstream and says what the upstream's connection does to the client. An idle
/// connection keeps that of its last request for the next one.
final class ForwardFlow: ExchangeSink {
  let route: ForwardRoute
  /// What the upstream is asked to switch to, of the few requests that ask.
  let upgrade: UpgradeHandshake?
  private(set) var method: Method
  private(set) var response: ResponseRewrite
  private var mayRetry: Bool
  /// Nil when the exchange is over.
  private(set) var exchange: Exchange?
  var answerLines: [UInt8] { response.added.bytes }
  private let forwarder: Forwarder
  private let group: UpstreamGroup
  /// The endpoint of the latest attempt.
  private var host: UpstreamHost?
  private var tried = EndpointSet()
  /// Whether this request finds out if the endpoint works again.
  private var isProbe = false
  private var upstream: UpstreamConnection?

  /// The rewritten head, kept while it may have to be sent (again); at other times the buffer waits for the next head.
  private var pendingHead: HeadBuffer?
  private var spareBuffer: HeadBuffer?
  /// A buffer that a head of unusual size has made larger is not kept.
  private static let mostKept = 8192
  private var addresses: [IPAddress] = []
  private var nextAddress = 0
  private var connectUntil = MonotonicInstant(nanoseconds: .max)
  private var lastConnectError: SystemCallError?
  private var lastCarrierFailure: CarrierFailure?
  /// Of the look-up that is waited for; 0 for none. Only its own result or time-out counts.
  private var lookUp: UInt32 = 0
  private var lookUps: UInt32 = 0
  private var hasRetried = false

  init(forwarder: Forwarder, plan: borrowing ForwardPlan, group: UpstreamGroup, upgrade: UpgradeHandshake? = nil) {
    self.forwarder = forwarder
    self.upgrade = upgrade
    self.group = group
    route = plan.route
    method = plan.permit.method
    response = plan.response
    mayRetry = plan.mayRetry
  }

  /// Begins with a request: the first, or the next after one that went well over a connection to the usual endpoint of the same route.
  func start(_ plan: borrowing ForwardPlan, _ exchange: Exchange) {
    method = plan.permit.method
    response = plan.response
    mayRetry = plan.mayRetry
    self.exchange = exchange
    tried = EndpointSet()
    isProbe = false
    hasRetried = false
    if lastConnectError != nil { lastConnectError = nil }
  }

  private var now: MonotonicInstant { forwarder.loop.now }

  // MARK: the endpoint

  /// Chooses the endpoint. False: none takes requests now, and the client has its answer.
  func select() -> Bool {
    if let usual = group.usual {
      host = usual
      tried.insert(0)
      return true
    }
    switch group.choose(tried: tried, now: now) {
    case .use(let index, let isProbe):
      take(index, isProbe)
      return true
    case .paused(let until):
      refuse(
        Problem(503, "upstream_unavailable", "The upstream did not answer lately and is given a pause. Try again in a moment."),
        retryAfter: now.duration(to: until))
    case .full, .none: refuse(Self.busy, retryAfter: .seconds(1))
    }
    return false
  }

  private static let busy = Problem(503, "upstream_busy", "Too many requests wait for this upstream. Try again in a moment.")

  /// These say nothing of the upstream.
  private static let ownShortages: Set<Identifier> = ["upstream_busy", "no_descriptors", "names_overloaded"]

  private static let noDescriptors = Problem(
    503, "no_descriptors", "Intercom has no connection left for this request. Try again in a moment.")

  private func take(_ index: Int, _ isProbe: Bool) {
    host = group[index]
    tried.insert(index)
    self.isProbe = isProbe
    if isProbe { host?.beginProbe() }
  }

  private func refuse(_ problem: Problem, retryAfter: Duration) {
    exchange?.answerLines += "Retry-After: \(max(1, retryAfter.components.seconds + 1))\r\n".utf8
    fail(problem)
  }

  /// The endpoint could not be reached. Nothing was sent, so that another may get the request, whatever its method.
  private func endpointFailed(_ problem: Problem) {
    host?.connectFailed(lastCarrierFailure.map(UpstreamFailure.init) ?? .unreachable, isProbe: isProbe, now: now)
    isProbe = false
    guard exchange != nil, tried.count < UpstreamGroup.mostAttempts,
      case .use(let index, let isProbe) = group.choose(tried: tried, now: now)
    else { return fail(problem) }
    take(index, isProbe)
    openOrReuse()
  }

  /// The answer has begun.
  func answered() {
    if let host, host.mindsAnswers { host.answered(now: now) }
    if !route.result.works { route.result.worked() }
    isProbe = false
  }

  /// No answer has begun in its time.
  func headTimedOut() {
    host?.timedOut(isProbe: isProbe, now: now)
    isProbe = false
  }

  private func endProbe() {
    guard isProbe else { return }
    isProbe = false
    host?.endProbe(now: now)
  }

  // MARK: the way there

  /// Uses an idle connection to the usual endpoint; the caller sends the head and then says so (`wasSent`).
  func attach(_ connection: UpstreamConnection) {
    if host !== connection.host { host = connection.host }
    tried.insert(0)
    upstream = connection
    connection.begin(self)
  }

  /// The head was sent, perhaps with the whole body. It is kept if a new connection may have to send it again.
  func wasSent(head: consuming HeadBuffer, isLast: Bool, on connection: UpstreamConnection) {
    if mayRetry { pendingHead = head } else { keep(head) }
    if isLast { connection.requestIsWhole() } else { bodyWasSent(isLast: false) }
  }

  /// Sends the request to the endpoint that was chosen. The body waits until there is a connection.
  func begin(head: consuming HeadBuffer) {
    pendingHead = head
    exchange?.pauseBody()
    openOrReuse()
  }

  /// A connection that may switch to another protocol is nobody else's, before or after.
  private func openOrReuse() {
    if upgrade == nil, let idle = host?.takeIdle() { send(on: idle, mayRetry: mayRetry) } else { open() }
  }

  /// An empty buffer for a head; the request's own is no longer needed when its answer is there.
  func takeBuffer() -> HeadBuffer {
    var buffer = pendingHead.take() ?? spareBuffer.take() ?? HeadBuffer(capacity: 2048)
    buffer.removeAll()
    return buffer
  }

  func keep(_ buffer: consuming HeadBuffer) { if buffer.storage.count <= Self.mostKept { spareBuffer = buffer } }

  private func forgetHead() { if let head = pendingHead.take() { keep(head) } }

  private func open() {
    guard let host, !host.isFull else { return refuse(Self.busy, retryAfter: .seconds(1)) }
    guard forwarder.loop.connections < forwarder.settings.loopConnections else {
      return refuse(Self.noDescriptors, retryAfter: .seconds(1))
    }
    connectUntil = now.advanced(by: route.timeouts.connect)
    lastConnectError = nil
    lastCarrierFailure = nil
    if let known = forwarder.resolver.known(host.name) { connect(to: known) } else { resolve(host.name) }
  }

  private func resolve(_ name: String) {
    guard let exchange else { return }
    lookUps &+= 1
    lookUp = lookUps
    let (id, resolver, number) = (exchange.exchangeID, forwarder.resolver, lookUp)
    // Whoever has older addresses keeps half of the time to use them.
    let limit = resolver.lastGood(name) == nil ? route.timeouts.connect : route.timeouts.connect / 2
    forwarder.loop.spawn { actor in
      let result: Result<[IPAddress], NameResolutionError>
      do throws(NameResolutionError) { result = .success(try await resolver.resolve(name)) } catch { result = .failure(error) }
      await actor.withLoop { loop in (loop.exchange(id)?.sink as? ForwardFlow)?.resolved(number, result) }
    }
    let time = forwarder.loop.configuration.time
    forwarder.loop.spawn { actor in
      try? await time.sleep(for: limit)
      await actor.withLoop { loop in (loop.exchange(id)?.sink as? ForwardFlow)?.resolved(number, nil) }
    }
  }

  /// Nil: the time is over.
  private func resolved(_ number: UInt32, _ result: Result<[IPAddress], NameResolutionError>?) {
    guard lookUp == number, let host else { return }
    lookUp = 0
    switch result {
    case .success(let found): connect(to: found)
    case .failure(.overloaded): fail(Problem(503, "names_overloaded", "Too many names are being looked up. Try again in a moment."))
    case .failure: endpointFailed(Problem(502, "upstream_unknown", "The upstream's name could not be resolved."))
    case nil:
      if let old = forwarder.resolver.lastGood(host.name) { return connect(to: old) }
      endpointFailed(Problem(504, "upstream_timeout", "The upstream's name could not be resolved in time."))
    }
  }

  private func connect(to found: [IPAddress]) {
    addresses = host?.addressOrder.ordered(found, now: now) ?? found
    nextAddress = 0
    connectNext()
  }

  private func connectNext() {
    guard exchange != nil, let host else { return }
    while nextAddress < addresses.count {
      let left = now.duration(to: connectUntil)
      guard left > .zero else {
        lastConnectError = .timedOut
        break
      }
      // Each address has its share, so that one that swallows packets leaves time for the others.
      let share = left / (addresses.count - nextAddress)
      let address = SocketAddress(addresses[nextAddress], port: UInt16(clamping: host.port))
      nextAddress += 1
      guard let connection = connection(to: address, of: host) else { continue }
      upstream = connection
      return connection.dial(for: self, timeOut: share)
    }
    if lastConnectError?.isOwnShortage == true { return refuse(Self.noDescriptors, retryAfter: .seconds(1)) }
    endpointFailed(connectProblem)
  }

  private func connection(to address: SocketAddress, of host: UpstreamHost) -> UpstreamConnection? {
    do throws(SystemCallError) {
      let descriptor = try Socket.connecting(to: address)
      do throws(OpenSSLError) {
        let carrier = try host.tls?.carrier(over: descriptor)
        return UpstreamConnection(descriptor: descriptor, host: host, forwarder: forwarder, carrier: carrier)
      } catch {
        Socket.close(descriptor)
        note(.protocolError(error.description))
      }
    } catch { lastConnectError = error }
    return nil
  }

  /// Why none of the endpoint's addresses could be used. What was learned from one that was reached says more than that others were not.
  private var connectProblem: Problem {
    switch lastCarrierFailure {
    case .identity:
      return Problem(
        502, "upstream_certificate",
        "The upstream could not prove that it is the right one, and nothing was sent to it. An operator finds the reason in Intercom's log."
      )
    case .protocolError: return Self.noTLS
    case nil: break
    }
    return lastConnectError?.isTimeOut == true
      ? Problem(504, "upstream_timeout", "The upstream did not accept the connection in time. Try again later.")
      : Problem(502, "upstream_unreachable", "The upstream cannot be reached. Try again later.")
  }

  private static let noTLS = Problem(
    502, "upstream_tls", "No TLS connection to the upstream came about. An operator finds the reason in Intercom's log.")

  func connectFailed(_ error: SystemCallError?) {
    lastConnectError = error ?? lastConnectError
    addressFailed()
  }

  /// The connection was there, TLS was not.
  func carrierFailed(_ failure: CarrierFailure) {
    note(failure)
    addressFailed()
  }

  private func addressFailed() {
    upstream = nil
    if let address = addressUnderWay { host?.addressOrder.failed(address, now: now) }
    connectNext()
  }

  private func note(_ failure: CarrierFailure) {
    lastCarrierFailure = failure
    host?.failed(failure, now: now)
  }

  /// The upstream ended TLS with an alert before it answered: with TLS 1.3 this is how it refuses a certificate of ours, or that there is none.
  func refused(_ reason: String) {
    note(.protocolError(reason))
    host?.connectFailed(.tls, isProbe: isProbe, now: now)
    isProbe = false
    fail(Self.noTLS)
  }

  private var addressUnderWay: IPAddress? { addresses.indices.contains(nextAddress - 1) ? addresses[nextAddress - 1] : nil }

  func connected(_ connection: UpstreamConnection) {
    host?.connected(now: now)
    if let address = addressUnderWay { host?.addressOrder.worked(address) }
    send(on: connection, mayRetry: false)
  }

  /// Sends the head that waits, and lets the body follow.
  private func send(on connection: UpstreamConnection, mayRetry: Bool) {
    guard let exchange else { return connection.close() }
    upstream = connection
    connection.begin(self)
    if let head = pendingHead.take() {
      connection.send(head.storage.span.extracting(first: head.count))
      if mayRetry { pendingHead = head } else { keep(head) }
    }
    bodyWasSent(isLast: exchange.isBodyDone)
    exchange.resumeBody()
  }

  /// The connection ended before any byte of an answer. True when the request is sent once more, on a new connection.
  func retries(_ connection: UpstreamConnection) -> Bool {
    guard connection.isReused, mayRetry, !hasRetried, exchange != nil, let head = pendingHead.take() else { return false }
    hasRetried = true
    upstream = nil
    host?.retried()
    pendingHead = head
    exchange?.pauseBody()
    open()
    return true
  }

  // MARK: the client's side

  func takeBody(_ bytes: borrowing Span<UInt8>, isLast: Bool) {
    guard let upstream else { return }
    upstream.send(bytes)
    bodyWasSent(isLast: isLast)
  }

  func bodyWasSent(isLast: Bool) {
    guard let upstream else { return }
    if isLast { return upstream.requestIsComplete() }
    if upstream.pendingBytes > forwarder.settings.waitingOutput { exchange?.pauseBody() }
  }

  func clientDrained() { upstream?.resumeReading() }

  func exchangeEnded() {
    exchange = nil
    lookUp = 0
    forgetHead()
    endProbe()
    if let connection = upstream.take() { connection.abandon() }
  }

  // MARK: the upstream's side

  func upstreamDrained() { exchange?.resumeBody() }

  /// The upstream's connection is free of this flow; the answer is complete.
  func complete() {
    upstream = nil
    endProbe()
    exchange?.endAnswer()
  }

  /// The upstream has switched protocols: the tunnel has the exchange and the connection from now on.
  func handOver() {
    upstream = nil
    exchange = nil
    forgetHead()
    endProbe()
  }

  /// Nothing (more) comes from the upstream.
  func fail(_ problem: Problem) {
    upstream = nil
    if !Self.ownShortages.contains(Identifier(problem.code)) { route.result.failed(problem.code, now: now) }
    endProbe()
    exchange?.failAnswer(problem)
  }
}
