import EventLoop
import HTTP1
import HTTPMessage
import HTTPServer
import IntercomCore
import Linux

/// One request on its way: takes the client's body to the upstream and says what the upstream's connection does to the client.
final class ForwardFlow: ExchangeSink {
  let plan: ForwardPlan
  /// Nil when the exchange is over.
  private(set) var exchange: Exchange?
  private let forwarder: Forwarder
  private let host: UpstreamHost
  private var upstream: UpstreamConnection?

  /// The rewritten head, kept while it may have to be sent (again).
  private var pendingHead: [UInt8] = []
  private var addresses: [IPAddress] = []
  private var nextAddress = 0
  private var connectUntil = MonotonicInstant(nanoseconds: .max)
  private var lastConnectError: SystemCallError?
  private var isResolving = false
  private var hasRetried = false

  init(forwarder: Forwarder, plan: ForwardPlan, host: UpstreamHost, exchange: Exchange) {
    self.forwarder = forwarder
    self.plan = plan
    self.host = host
    self.exchange = exchange
  }

  // MARK: the way there

  /// Uses a connection that is open. `retryHead` is what a new connection would have to send, empty when the request must not be sent twice.
  func attach(_ connection: UpstreamConnection, retryHead: [UInt8]) {
    pendingHead = retryHead
    upstream = connection
    connection.begin(self)
  }

  /// Opens a connection. The body waits until it is there.
  func begin(head: [UInt8]) {
    pendingHead = head
    exchange?.pauseBody()
    connectUntil = forwarder.loop.now.advanced(by: plan.timeouts.connect)
    guard !host.isFull else {
      return fail(Problem(503, "upstream_busy", "Too many requests wait for this upstream. Try again in a moment."))
    }
    if let known = forwarder.resolver.known(host.host.description) { connect(to: known) } else { resolve() }
  }

  private func resolve() {
    guard let exchange else { return }
    isResolving = true
    let (id, resolver, name, limit) = (exchange.exchangeID, forwarder.resolver, host.host.description, plan.timeouts.connect)
    forwarder.loop.spawn { actor in
      let result: Result<[IPAddress], NameResolutionError>
      do throws(NameResolutionError) { result = .success(try await resolver.resolve(name)) } catch { result = .failure(error) }
      await actor.withLoop { loop in (loop.exchange(id)?.sink as? ForwardFlow)?.resolved(result) }
    }
    let time = forwarder.loop.configuration.time
    forwarder.loop.spawn { actor in
      try? await time.sleep(for: limit)
      await actor.withLoop { loop in (loop.exchange(id)?.sink as? ForwardFlow)?.resolved(nil) }
    }
  }

  /// Nil: the time is over.
  private func resolved(_ result: Result<[IPAddress], NameResolutionError>?) {
    guard isResolving else { return }
    isResolving = false
    switch result {
    case .success(let found): connect(to: found)
    case .failure: fail(Problem(502, "upstream_unknown", "The upstream's name could not be resolved."))
    case nil: fail(Problem(504, "upstream_timeout", "The upstream's name could not be resolved in time."))
    }
  }

  private func connect(to found: [IPAddress]) {
    addresses = found
    nextAddress = 0
    connectNext()
  }

  private func connectNext() {
    guard exchange != nil else { return }
    while nextAddress < addresses.count {
      let left = forwarder.loop.now.duration(to: connectUntil)
      guard left > .zero else {
        lastConnectError = .timedOut
        break
      }
      let address = SocketAddress(addresses[nextAddress], port: UInt16(clamping: host.port))
      nextAddress += 1
      do throws(SystemCallError) {
        let connection = UpstreamConnection(
          descriptor: try Socket.connecting(to: address), host: host, forwarder: forwarder)
        upstream = connection
        connection.dial(for: self, timeOut: left)
        return
      } catch { lastConnectError = error }
    }
    let timedOut = lastConnectError?.isTimeOut ?? false
    fail(
      timedOut
        ? Problem(504, "upstream_timeout", "The upstream did not accept the connection in time. Try again later.")
        : Problem(502, "upstream_unreachable", "The upstream cannot be reached. Try again later."))
  }

  func connectFailed(_ error: SystemCallError?) {
    upstream = nil
    lastConnectError = error ?? lastConnectError
    connectNext()
  }

  func connected(_ connection: UpstreamConnection) {
    guard let exchange else { return connection.close() }
    connection.begin(self)
    let head = pendingHead
    pendingHead = []
    connection.send(head.span)
    bodyWasSent(isLast: exchange.isBodyDone)
    exchange.resumeBody()
  }

  /// The connection ended before any byte of an answer. True when the request is sent once more, on a new connection.
  func retries(_ connection: UpstreamConnection) -> Bool {
    guard connection.isReused, plan.mayRetry, !hasRetried, !pendingHead.isEmpty, exchange != nil else { return false }
    hasRetried = true
    upstream = nil
    begin(head: pendingHead)
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
    isResolving = false
    pendingHead = []
    let connection = upstream
    upstream = nil
    connection?.abandon()
  }

  // MARK: the upstream's side

  func upstreamDrained() { exchange?.resumeBody() }

  /// The upstream's connection is free of this flow; the answer is complete.
  func complete() {
    upstream = nil
    exchange?.endAnswer()
  }

  /// Nothing (more) comes from the upstream.
  func fail(_ problem: Problem) {
    upstream = nil
    exchange?.failAnswer(problem)
  }
}
