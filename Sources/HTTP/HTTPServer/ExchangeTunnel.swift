import EventLoop
import HTTP1

/// Exchanges that become tunnels, and those that end because their session has, or the server.
extension Exchange {
  /// Client and upstream have switched to another protocol.
  package final var isTunnel: Bool { isTunnelling }
  /// The client has got something of its final answer.
  package final var hasAnswerBegun: Bool { isAnswerStarted }

  /// The upstream has switched protocols (RFC 9110 §7.8): sends the head of its 101 and the first bytes behind it. From now on the connection
  /// carries bytes that are not HTTP: the client's go to `sink` by `takeBody`, those for the client come by `sendAnswerBody`, and after
  /// `endAnswer` the connection closes. What the client has sent behind its head waited until now.
  package final func beginTunnel(head: borrowing Span<UInt8>, early bytes: borrowing Span<UInt8>, to sink: any ExchangeSink) {
    guard phase == .forwarding, !isAnswerStarted, body.isDone else { return sink.exchangeEnded() }
    sinkAtWork = sink
    isTunnelling = true
    isAnswerStarted = true
    answerStatus = 101
    answerCoding = .untilClose
    wantsKeepAlive = false
    // A body without an end.
    body = RequestBodyState(.length(.max))
    clearDeadline()
    sentAtLook = nil
    send(head, bytes)
    watchPace()
    resumeInput()
    // It may have ended its direction before there was a tunnel.
    if peerHasEnded, !isClosing { clientEnded() }
  }

  /// The client must read what waits for it, as fast as any other (`ServerSettings.paceWindow`).
  package final func watchPace() {
    if pendingBytes > 0, !isDeadlineSet { setDeadline(afterNanoseconds: server.times.paceCheck) }
  }

  /// Ends an exchange whose answer goes on: the client must not get more, nor take what it has for the whole.
  package final func cut(_ ending: ExchangeSummary.Ending) {
    guard !isClosed, phase != .idle, phase != .closing else { return }
    let looksWhole = !isTunnelling && answerCoding == .untilClose
    let isQuiet = pendingBytes == 0 && !looksWhole
    finish(ending)
    phase = .closing
    forgetInput()
    if isQuiet { close() } else { abort() }
  }
}
