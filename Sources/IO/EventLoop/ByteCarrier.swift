import Linux

/// What carries a connection's bytes when that is not a plain socket: TLS over the socket, or a stream within another connection. It answers
/// as the socket would: `Socket.wouldBlock`, `Socket.broken`, 0 at the peer's end. Confined to the loop.
package protocol ByteCarrier: AnyObject {
  /// Both sides agree how they speak; called when the socket has something or takes something, until it is done.
  func handshake() -> CarrierHandshake
  /// Puts what has come into the loop's buffer and says how much it is.
  func receive(into buffer: ReceiveBuffer) -> Int
  /// After `receive`: there is nothing more until the next event.
  var isDrained: Bool { get }
  /// Takes bytes, possibly fewer than given. What was not taken is given again first.
  func send(_ bytes: borrowing Span<UInt8>) -> Int
  /// Bytes that were taken and have not reached the peer, as far as the carrier knows.
  var heldBytes: Int { get }
  /// After `Socket.broken`: why the other side ended the connection, when it said so. For logs.
  var refusal: String? { get }
  /// Our direction is over, in good order.
  func endSending()
  /// The connection is closed. With `reset` the peer must not take what it has for complete.
  func close(reset: Bool)
}

/// How far two sides are with agreeing.
package enum CarrierHandshake {
  case done
  case waits
  case failed(CarrierFailure)
}

/// Why two sides do not agree. The texts are for logs.
package enum CarrierFailure: Error, Sendable, Hashable {
  /// The other side is not who it should be.
  case identity(String)
  case protocolError(String)

  /// The other side went away before it was done.
  package static let ended = CarrierFailure.protocolError("the connection ended")
}

extension ByteCarrier {
  package var refusal: String? { nil }
}

extension TCPConnection {
  /// Pieces that leave together through a carrier are put together up to this size: a record of TLS.
  static var joined: Int { 16_384 }
}
