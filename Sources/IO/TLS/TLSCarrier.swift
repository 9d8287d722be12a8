import EventLoop
import Linux
import OpenSSL

/// TLS over a connection's socket.
package final class TLSCarrier: ByteCarrier {
  private let channel: TLSChannel

  package init(_ channel: TLSChannel) { self.channel = channel }

  /// What was agreed upon in the handshake; nil when the client offered nothing.
  package var agreedProtocol: TLSProtocol? { channel.agreedProtocol }

  package func handshake() -> CarrierHandshake {
    switch channel.handshake() {
    case .done: .done
    case .waits: .waits
    case .failed(.certificate(let reason)): .failed(.identity(reason))
    case .failed(.handshake(let reason)): .failed(.protocolError(reason))
    }
  }

  package func receive(into buffer: ReceiveBuffer) -> Int { buffer.fill { channel.receive(into: $0) } }
  package var refusal: String? { channel.alert }
  package var isDrained: Bool { channel.isDrained }
  package func send(_ bytes: borrowing Span<UInt8>) -> Int { channel.send(bytes) }
  /// The kernel knows what is on its way; of OpenSSL's own buffers a record at most is missing.
  package var heldBytes: Int { 0 }
  package func endSending() { channel.endSending() }
  package func close(reset: Bool) { if !reset { channel.endSending() } }
}
