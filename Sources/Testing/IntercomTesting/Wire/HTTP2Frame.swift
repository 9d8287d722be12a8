/// A frame of HTTP/2 ([RFC 9113 §4.1](https://www.rfc-editor.org/rfc/rfc9113#section-4.1)) as a test client sends and sees it.
package struct HTTP2Frame: Sendable, Equatable {
  package enum Kind: UInt8, Sendable {
    case data = 0
    case headers = 1
    case priority = 2
    case reset = 3
    case settings = 4
    case pushPromise = 5
    case ping = 6
    case goAway = 7
    case windowUpdate = 8
    case continuation = 9
  }
  package static let ack: UInt8 = 1
  package static let endStream: UInt8 = 1
  package static let endHeaders: UInt8 = 4

  package var type: UInt8
  package var flags: UInt8
  package var stream: Int32
  package var payload: [UInt8]

  package init(_ kind: Kind, flags: UInt8 = 0, stream: Int32 = 0, _ payload: [UInt8] = []) {
    self.init(type: kind.rawValue, flags: flags, stream: stream, payload: payload)
  }

  package init(type: UInt8, flags: UInt8, stream: Int32, payload: [UInt8]) {
    self.type = type
    self.flags = flags
    self.stream = stream
    self.payload = payload
  }

  package var kind: Kind? { Kind(rawValue: type) }
  /// As it goes over the wire.
  package var bytes: [UInt8] {
    let count = UInt32(payload.count)
    return [UInt8(count >> 16 & 0xff), UInt8(count >> 8 & 0xff), UInt8(count & 0xff), type, flags]
      + Self.number(UInt32(bitPattern: stream)) + payload
  }

  static func number(_ value: UInt32) -> [UInt8] { (0..<4).map { UInt8(truncatingIfNeeded: value >> (24 - 8 * $0)) } }
  /// The four bytes at `index` of the payload; 0 when there are none.
  package func number(at index: Int) -> UInt32 {
    guard index + 4 <= payload.count else { return 0 }
    return payload[index..<index + 4].reduce(0) { $0 << 8 | UInt32($1) }
  }

  // MARK: the ones that tests send

  package static func headers(_ stream: Int32, _ fields: [(String, String)], endsStream: Bool = true) -> HTTP2Frame {
    HTTP2Frame(.headers, flags: endHeaders | (endsStream ? endStream : 0), stream: stream, HPACKText.encode(fields))
  }
  /// The same in as many frames as it needs.
  package static func head(_ stream: Int32, _ fields: [(String, String)], endsStream: Bool = true) -> [HTTP2Frame] {
    let block = HPACKText.encode(fields)
    let starts = Array(stride(from: 0, to: max(1, block.count), by: 16_000))
    return starts.map { start in
      let flags = (start == starts.last ? endHeaders : 0) | (start == 0 && endsStream ? endStream : 0)
      return HTTP2Frame(start == 0 ? .headers : .continuation, flags: flags, stream: stream, Array(block[start...].prefix(16_000)))
    }
  }
  package static func data(_ stream: Int32, _ bytes: [UInt8], endsStream: Bool = false) -> HTTP2Frame {
    HTTP2Frame(.data, flags: endsStream ? endStream : 0, stream: stream, bytes)
  }
  package static func reset(_ stream: Int32, code: UInt32 = 8) -> HTTP2Frame { HTTP2Frame(.reset, stream: stream, number(code)) }
  package static func windowUpdate(_ stream: Int32, _ count: UInt32) -> HTTP2Frame {
    HTTP2Frame(.windowUpdate, stream: stream, number(count))
  }
  package static func ping(_ byte: UInt8 = 0) -> HTTP2Frame { HTTP2Frame(.ping, [UInt8](repeating: byte, count: 8)) }
  package static func settings(_ values: [(HTTP2Setting, UInt32)]) -> HTTP2Frame {
    HTTP2Frame(.settings, values.flatMap { [UInt8($0.rawValue >> 8), UInt8($0.rawValue & 0xff)] + number($1) })
  }
  package static func priority(_ stream: Int32) -> HTTP2Frame { HTTP2Frame(.priority, stream: stream, number(0) + [16]) }
  package static func goAway() -> HTTP2Frame { HTTP2Frame(.goAway, number(0) + number(0)) }
}

/// RFC 9113 §6.5.2, RFC 8441 §3
package enum HTTP2Setting: UInt16, Sendable {
  case headerTableSize = 1
  case enablePush = 2
  case maxConcurrentStreams = 3
  case initialWindowSize = 4
  case maxFrameSize = 5
  case maxHeaderListSize = 6
  case enableConnectProtocol = 8
}
