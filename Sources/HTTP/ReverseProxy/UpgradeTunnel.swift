import EventLoop
import HTTPMessage
import HTTPServer
import IntercomCore

/// A client's connection and an upstream's that have switched to another protocol: bytes go through both ways, unseen. Each side's reading waits
/// while the other has too much to send; the end of one direction is passed on; silence ends both (docs/decisions/0023).
final class UpgradeTunnel: ExchangeSink {
  /// Nil when it is over.
  private var exchange: Exchange?
  private var upstream: UpstreamConnection?
  /// Nanoseconds without a byte in either direction; and when one direction has ended.
  private let silence: Int64
  private let silenceAfterEnd: Int64
  private let waitingOutput: Int
  private var clientHasEnded = false
  private var upstreamHasEnded = false

  /// An answer of Intercom's own cannot be given any more.
  var answerLines: [UInt8] { [] }

  init(_ exchange: Exchange, _ upstream: UpstreamConnection, _ timeouts: UpstreamTimeouts, waitingOutput: Int) {
    self.exchange = exchange
    self.upstream = upstream
    self.waitingOutput = waitingOutput
    silence = timeouts.tunnel.wholeNanoseconds
    silenceAfterEnd = min(timeouts.tunnel, timeouts.idle).wholeNanoseconds
  }

  func begin(head: borrowing Span<UInt8>, early bytes: borrowing Span<UInt8>) {
    moved()
    exchange?.beginTunnel(head: head, early: bytes, to: self)
    holdUpstreamWhileFull()
  }

  private func moved() {
    upstream?.setDeadline(afterNanoseconds: clientHasEnded || upstreamHasEnded ? silenceAfterEnd : silence)
  }

  // MARK: the client's side

  func takeBody(_ bytes: borrowing Span<UInt8>, isLast: Bool) {
    guard let upstream else { return }
    upstream.send(bytes)
    moved()
    if upstream.pendingBytes > waitingOutput { exchange?.pauseBody() }
  }

  func clientDrained() {
    moved()
    upstream?.resumeReading()
    if upstreamHasEnded { exchange?.endSending() }
  }

  func clientEnded() {
    guard !clientHasEnded else { return }
    clientHasEnded = true
    moved()
    // What still waits for it goes first.
    upstream?.endSending()
    endIfBothHave()
  }

  func exchangeEnded() {
    exchange = nil
    if let connection = upstream.take() { connection.abandon() }
  }

  // MARK: the upstream's side

  func upstreamSent(_ bytes: borrowing Span<UInt8>) {
    exchange?.sendAnswerBody(bytes)
    moved()
    holdUpstreamWhileFull()
  }

  private func holdUpstreamWhileFull() {
    guard let exchange, exchange.pendingBytes > 0 else { return }
    upstream?.pauseReading()
    exchange.watchPace()
  }

  func upstreamDrained() {
    moved()
    guard clientHasEnded else { return exchange?.resumeBody() ?? () }
    upstream?.endSending()
    endIfBothHave()
  }

  func upstreamEnded() {
    guard !upstreamHasEnded else { return }
    upstreamHasEnded = true
    moved()
    exchange?.endSending()
    endIfBothHave()
  }

  /// The connection is closed: after its own end in good order, or broken.
  func upstreamClosed() {
    upstream = nil
    if upstreamHasEnded {
      exchange?.endAnswer()
    } else {
      exchange?.failAnswer(Problem(502, "upstream_broken", "The upstream ended the connection."))
    }
  }

  /// When both have said their last, the client gets what still waits for it and is let go.
  private func endIfBothHave() {
    if clientHasEnded, upstreamHasEnded, upstream?.pendingBytes ?? 0 == 0 { exchange?.endAnswer() }
  }

  /// Nothing has moved for too long.
  func timedOut() { exchange?.cut(.timedOut) }
}
