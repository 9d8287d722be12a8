import Cryptography
import HTTP1
import HTTPMessage

/// What one request asks its upstream to switch to, and how the upstream's 101 must look
/// ([RFC 9110 §7.8](https://www.rfc-editor.org/rfc/rfc9110#section-7.8), [RFC 6455 §4](https://www.rfc-editor.org/rfc/rfc6455#section-4)).
final class UpgradeHandshake {
  /// In lower case.
  private let protocols: [[UInt8]]
  /// The value of Sec-WebSocket-Accept, when a WebSocket is asked for.
  private let accept: [UInt8]

  private static let webSocket = Array("websocket".utf8)

  /// Nil for a WebSocket without its one key of sixteen bytes.
  init?(_ protocols: [[UInt8]], _ head: borrowing RequestHead, _ bytes: borrowing Span<UInt8>) {
    self.protocols = protocols
    guard protocols.contains(Self.webSocket) else {
      accept = []
      return
    }
    guard let key = head.fields.only("sec-websocket-key", in: bytes)?.bytes(in: bytes), key.count == 24,
      let decoded = Base64.decode(String(decoding: key, as: UTF8.self)), decoded.count == 16
    else { return nil }
    accept = webSocketAccept(key: key)
  }

  static let badKey = Problem(400, "bad_websocket_key", "A WebSocket's handshake has one Sec-WebSocket-Key: sixteen bytes in base64.")

  /// The protocol to which this 101 switches; nil when it was not asked for, or does not prove that the upstream read the key.
  func agreed(_ head: borrowing ResponseHead, _ bytes: borrowing Span<UInt8>) -> [UInt8]? {
    guard head.fields.hasUpgradeOption, let value = head.fields.only("upgrade", in: bytes) else { return nil }
    let named = UpgradeField.protocols(value, bytes)
    guard named.count == 1, let name = named.first, protocols.contains(name) else { return nil }
    guard name == Self.webSocket else { return name }
    guard let proof = head.fields.only("sec-websocket-accept", in: bytes), proof.equals(accept, in: bytes) else { return nil }
    return name
  }

  /// Asks for the protocols at the end of a request's head that is whole.
  func write(into head: inout HeadBuffer) { Self.write(protocols, into: &head) }

  /// Puts `Connection` and `Upgrade` at the end of a head that is whole.
  static func write(_ protocols: [[UInt8]], into head: inout HeadBuffer) {
    head.removeLast(2)
    head.append(beginning)
    head.append(Array(protocols.joined(separator: separator)))
    head.append(end)
  }

  private static let separator = Array(", ".utf8)
  private static let beginning: HeadPiece = "Connection: Upgrade\r\nUpgrade: "
  private static let end: HeadPiece = "\r\n\r\n"
}
