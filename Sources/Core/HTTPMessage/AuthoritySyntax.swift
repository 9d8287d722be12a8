/// `uri-host [ ":" port ]` as Intercom accepts it (RFC 9110 §4.2.3, RFC 3986 §3.2): letters, digits, `-`, `.`, `_`, `~` in a name, an IPv6
/// address in brackets, a port of 1 … 65535. No user info, no escapes, no empty parts.
package enum AuthoritySyntax {
  /// The host's end in `bytes[range]`, or nil when the whole is not an authority. The port's digits, when there are any, begin one behind.
  package static func hostEnd(_ bytes: borrowing Span<UInt8>, _ range: ByteRange) -> Int? {
    guard range.upper <= bytes.count, !range.isEmpty else { return nil }
    var at = range.lower
    if bytes[at] == UInt8(ascii: "[") {
      at &+= 1
      let start = at
      while at < range.upper, bytes[at] != UInt8(ascii: "]") { at &+= 1 }
      guard at < range.upper, isIPv6(bytes, ByteRange(start, at)) else { return nil }
      at &+= 1
    } else {
      at = skipName(bytes, at, range.upper)
      // 253 is the longest name that DNS can ask for, and one final dot.
      guard at > range.lower, at &- range.lower <= 254 else { return nil }
    }
    let hostEnd = at
    if at == range.upper { return hostEnd }
    guard bytes[at] == UInt8(ascii: ":"), port(bytes, ByteRange(at &+ 1, range.upper)) != nil else { return nil }
    return hostEnd
  }

  /// 1 … 65535 in one to five digits.
  package static func port(_ bytes: borrowing Span<UInt8>, _ range: ByteRange) -> Int? {
    guard (1...5).contains(range.count), range.upper <= bytes.count else { return nil }
    var value = 0
    for index in range.lower..<range.upper {
      let digit = bytes[index] &- 48
      guard digit < 10 else { return nil }
      value = value &* 10 &+ Int(digit)
    }
    return (1...65535).contains(value) ? value : nil
  }

  /// The first byte in `from ..< end` that no name may have, or `end`.
  @inline(__always) private static func skipName(_ bytes: borrowing Span<UInt8>, _ from: Int, _ end: Int) -> Int {
    var at = from
    while at < end {
      if hasBytes(bytes, at, 8) {
        let word = load8(bytes, at)
        let seven = word & ByteWord.sevens
        let usual =
          ByteWord.within(seven | ByteWord.all(0x20), 0x61, 0x7a) | ByteWord.within(seven, 0x30, 0x39) | ByteWord.within(seven, 0x2d, 0x2e)
        let marks = (~usual | word) & ByteWord.highs
        guard marks != 0 else {
          at &+= 8
          continue
        }
        at &+= ByteWord.index(marks)
        guard at < end else { break }
      }
      guard isName(bytes[at]) else { return at }
      at &+= 1
    }
    return end
  }

  @inline(__always) private static func isName(_ byte: UInt8) -> Bool {
    (byte | 0x20) &- 97 < 26 || byte &- 48 < 10 || byte == 45 || byte == 46 || byte == 95 || byte == 126
  }

  /// RFC 4291 §2.2: up to eight groups of up to four hexadecimal digits, one `::`, the last 32 bits perhaps as an IPv4 address.
  package static func isIPv6(_ bytes: borrowing Span<UInt8>, _ range: ByteRange) -> Bool {
    guard (2...45).contains(range.count), range.upper <= bytes.count else { return false }
    var at = range.lower
    var groups = 0
    var compressed = false
    if bytes[at] == UInt8(ascii: ":") {
      guard bytes[at &+ 1] == UInt8(ascii: ":") else { return false }
      compressed = true
      at &+= 2
    }
    while at < range.upper {
      let start = at
      while at < range.upper, isHex(bytes[at]) { at &+= 1 }
      if at < range.upper, bytes[at] == UInt8(ascii: ".") {
        guard isIPv4(bytes, ByteRange(start, range.upper)) else { return false }
        groups &+= 2
        break
      }
      guard (1...4).contains(at &- start) else { return false }
      groups &+= 1
      if at == range.upper { break }
      guard bytes[at] == UInt8(ascii: ":") else { return false }
      at &+= 1
      if at < range.upper, bytes[at] == UInt8(ascii: ":") {
        guard !compressed else { return false }
        compressed = true
        at &+= 1
      } else if at == range.upper {
        return false
      }
    }
    return compressed ? groups < 8 : groups == 8
  }

  /// Four numbers of 0 … 255 without leading zeros.
  package static func isIPv4(_ bytes: borrowing Span<UInt8>, _ range: ByteRange) -> Bool {
    guard (7...15).contains(range.count), range.upper <= bytes.count else { return false }
    var parts = 0
    var at = range.lower
    while at < range.upper {
      let start = at
      var value = 0
      while at < range.upper, bytes[at] &- 48 < 10, at &- start < 3 {
        value = value &* 10 &+ Int(bytes[at] &- 48)
        at &+= 1
      }
      guard at > start, value <= 255, at &- start == 1 || bytes[start] != 48 else { return false }
      parts &+= 1
      if at == range.upper { break }
      guard bytes[at] == UInt8(ascii: "."), at &+ 1 < range.upper else { return false }
      at &+= 1
    }
    return parts == 4
  }

  @inline(__always) private static func isHex(_ byte: UInt8) -> Bool { byte &- 48 < 10 || (byte | 0x20) &- 97 < 6 }
}
