import Cryptography
import Linux

/// Reads frames of WebSocket ([RFC 6455 §5.2](https://www.rfc-editor.org/rfc/rfc6455#section-5.2)) as they come in pieces, unmasked.
package struct WebSocketFrames {
  package enum Part {
    /// A frame begins: its first byte (FIN and opcode) and the length of its payload.
    case header(first: UInt8, length: Int)
    case payload([UInt8])
    /// The payload is whole.
    case end
  }
  private var head: [UInt8] = []
  private var mask: [UInt8] = []
  private var masked = 0
  private var left = 0
  private var isInPayload = false

  package init() {}

  package mutating func take(_ bytes: borrowing Span<UInt8>, _ body: (Part) -> Void) {
    var at = 0
    while at < bytes.count {
      guard isInPayload else {
        head.append(bytes[at])
        at += 1
        beginIfWhole(body)
        continue
      }
      let count = min(left, bytes.count - at)
      body(.payload(unmasked(bytes.extracting(at..<at + count))))
      at += count
      left -= count
      endIfWhole(body)
    }
  }

  private mutating func beginIfWhole(_ body: (Part) -> Void) {
    guard head.count >= 2 else { return }
    let short = Int(head[1] & 0x7f)
    let extended = short == 126 ? 2 : short == 127 ? 8 : 0
    let hasMask = head[1] & 0x80 != 0
    guard head.count == 2 + extended + (hasMask ? 4 : 0) else { return }
    left = extended == 0 ? short : head[2..<2 + extended].reduce(0) { $0 << 8 | Int($1) }
    mask = hasMask ? Array(head.suffix(4)) : []
    // What is masked with zeros is as it was.
    if mask.allSatisfy({ $0 == 0 }) { mask = [] }
    masked = 0
    isInPayload = true
    body(.header(first: head[0], length: left))
    head = []
    endIfWhole(body)
  }

  private mutating func endIfWhole(_ body: (Part) -> Void) {
    guard left == 0 else { return }
    isInPayload = false
    body(.end)
  }

  private mutating func unmasked(_ bytes: borrowing Span<UInt8>) -> [UInt8] {
    var out = [UInt8](copying: bytes)
    guard !mask.isEmpty else { return out }
    for index in out.indices { out[index] ^= mask[(masked + index) % 4] }
    masked += out.count
    return out
  }

  /// A frame's header. `mask`: nil from a server.
  package static func header(first: UInt8, length: Int, mask: [UInt8]? = nil) -> [UInt8] {
    let flag: UInt8 = mask == nil ? 0 : 0x80
    var out = [first]
    if length < 126 {
      out.append(flag | UInt8(length))
    } else if length < 65_536 {
      out += [flag | 126, UInt8(length >> 8), UInt8(length & 0xff)]
    } else {
      out.append(flag | 127)
      for shift in stride(from: 56, through: 0, by: -8) { out.append(UInt8(truncatingIfNeeded: length >> shift)) }
    }
    return out + (mask ?? [])
  }
}

/// A client of WebSocket over a connection in the test's own hands.
package final class WebSocketClient: Sendable {
  package static let key = "dGhlIHNhbXBsZSBub25jZQ=="
  package let socket: RawSocket

  package init(_ socket: RawSocket) { self.socket = socket }

  /// A handshake's head. `fields`: further lines, or others than the usual ones; an empty value leaves one out.
  package static func request(_ target: String, host: String, _ fields: [(String, String)] = []) -> String {
    var lines = [
      ("Host", host), ("Connection", "Upgrade"), ("Upgrade", "websocket"), ("Sec-WebSocket-Version", "13"), ("Sec-WebSocket-Key", key),
    ]
    for (name, value) in fields {
      if let place = lines.firstIndex(where: { $0.0 == name }) { lines[place].1 = value } else { lines.append((name, value)) }
    }
    let text = lines.filter { !$0.1.isEmpty }.map { "\($0.0): \($0.1)\r\n" }.joined()
    return "GET \(target) HTTP/1.1\r\n\(text)\r\n"
  }

  /// Asks and returns the answer's head; 101: the tunnel stands.
  package func open(_ target: String, host: String, _ fields: [(String, String)] = []) throws -> RawResponse {
    try socket.send(Self.request(target, host: host, fields))
    return try socket.readResponse()
  }

  package func send(_ text: String, first: UInt8 = 0x81) throws {
    let bytes = Array(text.utf8)
    let mask: [UInt8] = [1, 2, 3, 4]
    let masked = bytes.indices.map { bytes[$0] ^ mask[$0 % 4] }
    try socket.send(bytes: WebSocketFrames.header(first: first, length: bytes.count, mask: mask) + masked)
  }

  /// The next frame of less than 64 KiB: its first byte and its payload.
  package func receive() throws -> (first: UInt8, text: String) {
    let head = try socket.receive(exactly: 2)
    var length = Int(head[1] & 0x7f)
    if length == 126 { length = try socket.receive(exactly: 2).reduce(0) { $0 << 8 | Int($1) } }
    return (head[0], String(decoding: length == 0 ? [] : try socket.receive(exactly: length), as: UTF8.self))
  }

  /// Sends a text and expects it back.
  package func echoes(_ text: String) throws -> Bool {
    try send(text)
    let (first, echo) = try receive()
    return first == 0x81 && echo == text
  }
}
