import EventLoop
import IntercomCore
import Linux

/// One connection to the server: greets, then carries calls one behind the other without waiting for answers. Confined to its loop.
///
/// `package`, because Swift 6.3.1 makes an endlessly recursive stub of the inherited initialiser for an internal class here.
package final class RedisConnection: TCPConnection {
  private let link: RedisLink
  private(set) var isReady = false
  private var parser = RESP3Parser()
  /// In the order of their sending: so come the answers.
  private var calls: [RedisCall] = []
  private var firstCall = 0
  private var outbox: [UInt8] = []
  private var endReason = "the server closed the connection"
  /// It was ended here, for a reason that was found.
  private var isGivenUp = false
  private var hasHeard = false
  private let until: MonotonicInstant

  /// A server that answers nothing for this long behind a call's time is given up.
  private static let patience = Duration.seconds(1)

  /// - Parameter until: when it must have greeted.
  init(descriptor: Int32, link: RedisLink, loop: EventLoop, carrier: (any ByteCarrier)?, until: MonotonicInstant) {
    self.link = link
    self.until = until
    super.init(descriptor: descriptor, loop: loop, isConnecting: true, carrier: carrier)
  }

  /// Calls that have no answer yet, and bytes that the server has not taken.
  var waiting: Int { calls.count - firstCall }
  var waitingBytes: Int { outbox.count + pendingBytes }

  /// Sends a call at the end of the turn, together with the others of the turn: one system call for all.
  func send(_ call: RedisCall) {
    if outbox.isEmpty { continueSoon() }
    outbox += call.send()
    calls.append(call)
  }

  /// Ends calls whose time is over; a server that hangs is given up.
  func checkTimes(_ now: MonotonicInstant) {
    // Times are nearly in the order of the calls: looking on behind the first one that still has time would cost more than it brings.
    var at = firstCall
    while at < calls.count, calls[at].until <= now {
      calls[at].fail(.unanswered)
      at += 1
    }
    if firstCall < calls.count, calls[firstCall].until.advanced(by: Self.patience) <= now { giveUp("the server does not answer") }
  }

  /// Closes the connection for a reason that is told to whoever waits.
  func giveUp(_ reason: String) {
    endReason = reason
    isGivenUp = true
    close()
  }

  // MARK: events

  package override func onConnected() {
    guard connectError == nil, carrierFailure == nil else { return }
    send(RedisCall(link.greeting, .greeting, until: until) { [weak self] in self?.greeted($0) })
    setDeadline(after: max(.milliseconds(1), loop.now.duration(to: until)))
  }

  private func greeted(_ result: Result<[RESP3Value], RedisFailure>) {
    guard case .success(var answers) = result else { return }
    // Who may not have client tracking, or a server that knows none, is served without copies.
    let tracking = answers.popLast()?.errorCode
    let isTracking = tracking == nil
    if let code = answers.lazy.compactMap(\.errorCode).first ?? (["NOPERM", "ERR"].contains(tracking) ? nil : tracking) {
      return giveUp("the server refuses: \(code)")
    }
    // A replica may not know yet of sessions that ended, and a Sentinel keeps none.
    switch answers.first?.field("role")?.bytes {
    case nil, Array("master".utf8)?: break
    case let role?: return giveUp("the server is a \(String(decoding: role.prefix(16), as: UTF8.self)), not the master")
    }
    if answers.first?.field("mode")?.bytes == Array("sentinel".utf8) { return giveUp("the server is a Sentinel, which is not spoken to") }
    isReady = true
    clearDeadline()
    link.connected(self, isTracking: isTracking)
  }

  package override func onData(_ bytes: borrowing Span<UInt8>) {
    hasHeard = true
    parser.append(bytes)
    do throws(RESP3Error) {
      while !isClosed, let value = try parser.next() {
        if case .push(let elements) = value { link.told(elements) } else { answered(value) }
      }
    } catch { giveUp("the server's answer cannot be read") }
  }

  private func answered(_ value: RESP3Value) {
    guard firstCall < calls.count else { return giveUp("the server answered what was not asked") }
    let call = calls[firstCall]
    if call.missing <= 1 {
      firstCall += 1
      if firstCall == calls.count || firstCall > 1024 {
        calls.removeFirst(firstCall)
        firstCall = 0
      }
    }
    call.answered(value)
    // The server is on its way up, down or to being a replica: another connection may meet another one. What it says to the greeting is
    // looked at when all of it is there.
    guard isReady else { return }
    switch value.errorCode {
    case "READONLY", "MASTERDOWN", "LOADING", "NOAUTH": giveUp("the server says \(value.errorCode ?? "")")
    default: break
    }
  }

  package override func afterTurn() {
    guard !outbox.isEmpty, !isClosed, !isConnecting else { return }
    let bytes = outbox
    outbox.removeAll(keepingCapacity: outbox.capacity <= 262_144)
    send(bytes.span)
  }

  package override func onTimeOut() { giveUp("the server did not greet in time") }

  package override func onClosed() {
    isReady = false
    let left = Array(calls[firstCall...])
    calls = []
    firstCall = 0
    outbox = []
    let (reason, reach) = end
    link.closed(self, left, reason, reach)
  }

  private var end: (String, RedisReach) {
    if let connectError { return (connectError.isTimeOut ? "the server cannot be reached in time" : "\(connectError)", .address) }
    switch carrierFailure {
    case .identity(let reason): return ("the server's certificate is not acceptable: \(reason)", .server)
    case .protocolError(let reason): return ("TLS: \(reason)", .server)
    case nil: break
    }
    if isGivenUp || hasHeard { return (endReason, .conversation) }
    // With TLS 1.3 a server refuses a certificate, or that there is none, when the client takes the handshake for done; its alert may be lost.
    guard link.settings.tls != nil else { return (endReason, .conversation) }
    let alert = carrierRefusal.map { " (\($0))" } ?? ""
    let advice =
      link.settings.showsCertificate ? "does it accept the certificate that Intercom shows?" : "does it demand a client certificate?"
    return ("the server closed the connection right after the TLS handshake\(alert): \(advice)", .conversation)
  }
}
