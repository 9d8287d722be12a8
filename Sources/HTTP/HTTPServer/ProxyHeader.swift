import Linux

/// The header that a proxy puts before a connection to say who is behind it: the PROXY protocol, versions 1 and 2
/// (haproxy.org, proxy-protocol.txt). Read from the socket to its last byte and no further: TLS may follow.
enum ProxyHeader {
  enum Result: Equatable {
    case waits
    /// The client that the proxy names; nil when it speaks for itself (a health check) or for an address that is none.
    case client(SocketAddress?)
    case refused
    /// The other side has gone away.
    case ended
  }

  /// Version 1 has at most 107 bytes; of version 2 we take this much, extensions (TLVs) included.
  private static let mostBytes = 2048

  static func take(from descriptor: Int32) -> Result {
    var bytes = [UInt8](repeating: 0, count: mostBytes)
    let count = Socket.peek(descriptor, into: &bytes)
    if count == Socket.wouldBlock { return .waits }
    guard count > 0 else { return .ended }
    switch read(Array(bytes.prefix(count))) {
    case .whole(let length, let client):
      // The bytes are there: they have just been seen.
      return Socket.discard(descriptor, length) ? .client(client) : .refused
    // Peeking would see the same bytes again at once; a proxy sends its header in one piece, so a partial one is rare and waits for more.
    case .short: return count == mostBytes ? .refused : .waits
    case .wrong: return .refused
    }
  }

  enum Reading: Equatable {
    case whole(Int, SocketAddress?)
    case short
    case wrong
  }

  /// What these first bytes of a connection are.
  static func read(_ bytes: [UInt8]) -> Reading {
    let common = min(bytes.count, signature.count)
    if bytes.prefix(common).elementsEqual(signature.prefix(common)) { return common < signature.count ? .short : readBinary(bytes) }
    let start = Array("PROXY ".utf8)
    let shared = min(bytes.count, start.count)
    guard bytes.prefix(shared).elementsEqual(start.prefix(shared)) else { return .wrong }
    return shared < start.count ? .short : readText(bytes)
  }

  private static let signature: [UInt8] = [0x0d, 0x0a, 0x0d, 0x0a, 0x00, 0x0d, 0x0a, 0x51, 0x55, 0x49, 0x54, 0x0a]

  private static func readText(_ bytes: [UInt8]) -> Reading {
    let line = bytes.prefix(107)
    guard let end = line.firstIndex(of: 0x0a) else { return bytes.count < 107 ? .short : .wrong }
    guard end > 0, line[end - 1] == 0x0d else { return .wrong }
    let words = line[..<(end - 1)].split(separator: 0x20, omittingEmptySubsequences: false).map { String(decoding: $0, as: UTF8.self) }
    if words.count >= 2, words[1] == "UNKNOWN" { return .whole(end + 1, nil) }
    guard words.count == 6, let source = address(words[1], words[2], words[4]), address(words[1], words[3], words[5]) != nil else {
      return .wrong
    }
    return .whole(end + 1, source)
  }

  private static func address(_ family: String, _ literal: String, _ port: String) -> SocketAddress? {
    guard let ip = IPAddress(literal), port.utf8.count <= 5, port.utf8.allSatisfy({ $0 >= 0x30 && $0 <= 0x39 }), let number = UInt16(port)
    else { return nil }
    switch (family, ip) {
    case ("TCP4", .v4), ("TCP6", .v6): return SocketAddress(ip, port: number)
    default: return nil
    }
  }

  private static func readBinary(_ bytes: [UInt8]) -> Reading {
    guard bytes.count >= 16 else { return .short }
    let length = Int(bytes[14]) << 8 | Int(bytes[15])
    guard bytes[12] >> 4 == 2, length <= mostBytes - 16 else { return .wrong }
    guard bytes.count >= 16 + length else { return .short }
    switch (bytes[12] & 15, bytes[13]) {
    // LOCAL: the proxy itself.
    case (0, _): return .whole(16 + length, nil)
    case (1, 0x11):
      guard length >= 12 else { return .wrong }
      return .whole(16 + length, SocketAddress(.v4(UInt32(truncatingIfNeeded: number(bytes, 16, 4))), port: UInt16(number(bytes, 24, 2))))
    case (1, 0x21):
      guard length >= 36 else { return .wrong }
      return .whole(
        16 + length, SocketAddress(.v6(number(bytes, 16, 8), number(bytes, 24, 8), zone: 0), port: UInt16(number(bytes, 48, 2))))
    case (1, 0x00): return .whole(16 + length, nil)
    default: return .wrong
    }
  }

  private static func number(_ bytes: [UInt8], _ start: Int, _ count: Int) -> UInt64 {
    bytes[start..<(start + count)].reduce(0) { $0 << 8 | UInt64($1) }
  }
}
