import Linux

/// Whether a client is still there that has ended its direction (docs/decisions/0016-clients-that-end-their-direction.md).
extension Exchange {
  /// The client has ended its direction while its request is with an upstream: it may still read, or be gone. What reaches one that is gone
  /// comes back as a reset, which ends the exchange; so, if no answer comes at once, an interim one is sent, which every client of HTTP/1.1 skips
  /// (RFC 9110 §15.2). Once the answer has begun only its own bytes can be sent, so it must not pause.
  final func lookForClient() {
    guard phase == .forwarding, sentAtLook == nil else { return }
    sentAtLook = sentBytes
    setDeadline(afterNanoseconds: isAnswerStarted ? server.times.clientLook : server.times.clientAsk)
  }

  /// Asks a client that waits for its answer, once; closes the connection when nothing of an answer that has begun was sent since the last look.
  final func lookAgain() {
    if phase == .forwarding, isAnswerStarted, sentBytes == sentAtLook { return close() }
    if phase == .forwarding, !isAnswerStarted, !isHTTP10, !wasAsked {
      wasAsked = true
      sendContinue()
    }
    sentAtLook = sentBytes
    setDeadline(afterNanoseconds: server.times.clientLook)
  }
}

extension Exchange {
  /// No further request on this connection, but for one that is here already, or that a client has connected for.
  final func drain() {
    guard isIdle, pendingBytes == 0 else {
      // Nothing is owed to a client that has everything: waiting for its end would let a sleeping one hold the whole drain up.
      return phase == .closing && pendingBytes == 0 ? close() : ()
    }
    var byte: [UInt8] = [0]
    guard descriptor >= 0, isFresh || Socket.peek(descriptor, into: &byte) > 0 else { return close() }
    setDeadline(afterNanoseconds: ServerLoop.lastWord)
  }
}
