/// An IPv4 or IPv6 address as it is compared: 128 bits, an IPv4 address in its mapped form (RFC 4291 §2.5.5.2), so that both spellings of one
/// address are one.
package struct NetworkAddress: Sendable, Hashable {
  package let high: UInt64
  package let low: UInt64

  package init(high: UInt64, low: UInt64) {
    self.high = high
    self.low = low
  }

  /// In host byte order.
  package init(v4 bits: UInt32) { self.init(high: 0, low: 0xffff_0000_0000 | UInt64(bits)) }

  package var isV4: Bool { high == 0 && low &>> 32 == 0xffff }

  /// Four decimal parts, or RFC 4291 §2.2 without brackets and zone; nil for anything else, leading zeros in IPv4 too.
  package init?(_ text: borrowing Span<UInt8>, _ range: ByteRange) {
    if AuthoritySyntax.isIPv4(text, range) {
      self.init(v4: Self.v4(text, range))
    } else if AuthoritySyntax.isIPv6(text, range) {
      self = Self.v6(text, range)
    } else {
      return nil
    }
  }

  package init?(_ text: String) {
    let bytes = Array(text.utf8)
    self.init(bytes.span, ByteRange(0, bytes.count))
  }

  private static func v4(_ text: borrowing Span<UInt8>, _ range: ByteRange) -> UInt32 {
    var bits: UInt32 = 0
    var part: UInt32 = 0
    for at in range.lower..<range.upper {
      if text[at] == UInt8(ascii: ".") {
        bits = bits &<< 8 | part
        part = 0
      } else {
        part = part &* 10 &+ UInt32(text[at] &- 48)
      }
    }
    return bits &<< 8 | part
  }

  /// `text` is known to be well-formed.
  private static func v6(_ text: borrowing Span<UInt8>, _ range: ByteRange) -> NetworkAddress {
    // Groups before and behind `::`; without one all stand before it.
    var groups: [UInt16] = []
    var gap: Int?
    var at = range.lower
    while at < range.upper {
      if text[at] == UInt8(ascii: ":") {
        if at &+ 1 < range.upper, text[at &+ 1] == UInt8(ascii: ":") {
          gap = groups.count
          at &+= 1
        }
        at &+= 1
        continue
      }
      let start = at
      var value: UInt16 = 0
      while at < range.upper, text[at] != UInt8(ascii: ":"), text[at] != UInt8(ascii: ".") {
        let digit = text[at]
        value = value &<< 4 | UInt16(digit &- 48 < 10 ? digit &- 48 : (digit | 0x20) &- 87)
        at &+= 1
      }
      if at < range.upper, text[at] == UInt8(ascii: ".") {
        let bits = v4(text, ByteRange(start, range.upper))
        groups += [UInt16(bits &>> 16), UInt16(truncatingIfNeeded: bits)]
        at = range.upper
      } else {
        groups.append(value)
      }
    }
    if let gap { groups.insert(contentsOf: repeatElement(0, count: max(0, 8 - groups.count)), at: gap) }
    let halves = groups.prefix(8).enumerated().reduce(into: (UInt64(0), UInt64(0))) { halves, group in
      if group.offset < 4 { halves.0 = halves.0 &<< 16 | UInt64(group.element) } else { halves.1 = halves.1 &<< 16 | UInt64(group.element) }
    }
    return NetworkAddress(high: halves.0, low: halves.1)
  }
}

/// Addresses that begin with the same bits: `192.0.2.0/24`, `2001:db8::/32`, or a single address.
package struct NetworkBlock: Sendable, Hashable {
  package let first: NetworkAddress
  /// Of the 128 bits; an IPv4 block of /24 has 96 + 24.
  package let prefix: Int

  /// `address` or `address/bits`; nil for anything else, and when bits behind the prefix are set: whoever writes `192.0.2.7/24` means
  /// either one address or another block.
  package init?(_ text: String) {
    let parts = text.split(separator: "/", omittingEmptySubsequences: false)
    guard parts.count <= 2, let address = NetworkAddress(String(parts[0])) else { return nil }
    // `::ffff:192.0.2.0/120` counts its bits as IPv6 does.
    let isV4 = !parts[0].utf8.contains(UInt8(ascii: ":"))
    let most = isV4 ? 32 : 128
    var bits = most
    if parts.count == 2 {
      let digits = parts[1].utf8
      guard (1...3).contains(digits.count), digits.allSatisfy({ $0 &- 48 < 10 }), digits.count == 1 || digits.first != 48,
        let stated = Int(parts[1]), stated <= most
      else { return nil }
      bits = stated
    }
    first = address
    prefix = bits + (isV4 ? 96 : 0)
    let (high, low) = Self.mask(prefix)
    guard address.high & ~high == 0, address.low & ~low == 0 else { return nil }
  }

  /// Whether every address, at least every IPv4 address, is in it.
  package var isEverybody: Bool { prefix == 0 || (prefix == 96 && first.isV4) }

  package func contains(_ address: NetworkAddress) -> Bool {
    let (high, low) = Self.mask(prefix)
    return address.high & high == first.high && address.low & low == first.low
  }

  private static func mask(_ prefix: Int) -> (UInt64, UInt64) {
    // Smart shifts: 64 and more give 0.
    (prefix >= 64 ? .max : ~(UInt64.max >> UInt64(prefix)), prefix <= 64 ? 0 : ~(UInt64.max >> UInt64(prefix - 64)))
  }
}
