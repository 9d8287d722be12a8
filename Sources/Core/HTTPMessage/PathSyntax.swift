/// Why a path may stand for two different ones, or for none (S1).
package enum PathFault: UInt8, Error, Sendable, Hashable, CaseIterable {
  case badByte, badEscape, nul, backslash, dotSegment, fragment
}

/// What one pass over a path found.
package struct PathScan: Sendable, Hashable {
  /// Behind the path's last byte: at its `?` or at the end.
  package var end: Int
  package var hasEscapes: Bool
  package var hasEncodedSlash: Bool
  package var fault: PathFault?
}

/// The one reading of a path (RFC 3986 §3.3): of request targets, Destination, configured and returned URLs alike.
///
/// A path that two readers could take for two different ones is a fault: dot segments raw, encoded or before `;`, behind `/` or `%2F`;
/// backslash; NUL; broken escapes; a fragment.
package enum PathSyntax {
  /// Reads from `start`, where a `/` stands, up to `end` or to a `?`.
  package static func scan(_ bytes: borrowing Span<UInt8>, _ start: Int, _ end: Int) -> PathScan {
    var scan = PathScan(end: start, hasEscapes: false, hasEncodedSlash: false, fault: nil)
    let end = min(end, bytes.count)
    guard start >= 0, start < end, bytes[start] == UInt8(ascii: "/") else {
      scan.fault = .badByte
      return scan
    }
    var at = start
    while true {
      at = skipUsual(bytes, at, end)
      guard at < end else { break }
      let byte = bytes[at]
      switch byte {
      case UInt8(ascii: "."):
        if bytes[at &- 1] == UInt8(ascii: "/"), isDotSegment(bytes, at, end) { scan.fault = .dotSegment }
        at &+= 1
      case UInt8(ascii: "%"):
        if bytes[at &- 1] == UInt8(ascii: "/"), isDotSegment(bytes, at, end) {
          scan.fault = .dotSegment
        } else {
          scan.fault = escape(bytes, &at, end, &scan)
        }
      case UInt8(ascii: "?"):
        scan.end = at
        return scan
      case UInt8(ascii: "\\"): scan.fault = .backslash
      case UInt8(ascii: "#"): scan.fault = .fragment
      default: if isPlain(byte) { at &+= 1 } else { scan.fault = .badByte }
      }
      if scan.fault != nil { return scan }
    }
    scan.end = end
    return scan
  }

  /// The first byte in `from ..< end` that needs a look, or `end`: letters, digits, `-`, `/`, `:` and `;` need none.
  @inline(__always) private static func skipUsual(_ bytes: borrowing Span<UInt8>, _ from: Int, _ end: Int) -> Int {
    var at = from
    while at < end, hasBytes(bytes, at, 8) {
      let word = load8(bytes, at)
      let seven = word & ByteWord.sevens
      // `-` to `;` but `.`, which may begin a dot segment.
      let others = ByteWord.within(seven, 0x2d, 0x3b) & ~ByteWord.within(seven, 0x2e, 0x2e)
      let usual = ByteWord.within(seven | ByteWord.all(0x20), 0x61, 0x7a) | others
      let marks = (~usual | word) & ByteWord.highs
      if marks != 0 { return min(at &+ ByteWord.index(marks), end) }
      at &+= 8
    }
    return min(at, end)
  }

  private static func escape(_ bytes: borrowing Span<UInt8>, _ at: inout Int, _ end: Int, _ scan: inout PathScan) -> PathFault? {
    guard at &+ 2 < end, let byte = PercentCoding.byte(bytes[at &+ 1], bytes[at &+ 2]) else { return .badEscape }
    at &+= 3
    scan.hasEscapes = true
    switch byte {
    case 0: return .nul
    case UInt8(ascii: "\\"): return .backslash
    case UInt8(ascii: "/"):
      scan.hasEncodedSlash = true
      return beginsDotSegment(bytes, at, end) ? .dotSegment : nil
    default: return nil
    }
  }

  /// `/`, pchar of RFC 3986 but `%`, and `[ ] ^ |`, which browsers send bare.
  @inline(__always) private static func isPlain(_ byte: UInt8) -> Bool {
    let low: UInt64 = 0x2fff_ffd2_0000_0000
    let high: UInt64 = 0x57ff_fffe_efff_ffff
    return byte < 128 && ((byte < 64 ? low : high) &>> UInt64(byte & 63)) & 1 == 1
  }

  /// Whether the segment at `at` is `.` or `..` once its escapes are decoded, alone or before a `;`.
  @inline(__always) private static func beginsDotSegment(_ bytes: borrowing Span<UInt8>, _ at: Int, _ end: Int) -> Bool {
    guard at < end, bytes[at] == UInt8(ascii: ".") || bytes[at] == UInt8(ascii: "%") else { return false }
    return isDotSegment(bytes, at, end)
  }

  private static func isDotSegment(_ bytes: borrowing Span<UInt8>, _ from: Int, _ end: Int) -> Bool {
    var at = from
    var dots = 0
    while at < end {
      var byte = bytes[at]
      at &+= 1
      if byte == UInt8(ascii: "%") {
        // A broken escape is refused by the caller, which comes to it next.
        guard at &+ 1 < end, let decoded = PercentCoding.byte(bytes[at], bytes[at &+ 1]) else { return false }
        byte = decoded
        at &+= 2
      }
      switch byte {
      case UInt8(ascii: "."): dots &+= 1
      case UInt8(ascii: "/"), UInt8(ascii: ";"), UInt8(ascii: "?"), UInt8(ascii: "\\"): return dots == 1 || dots == 2
      default: return false
      }
      if dots > 2 { return false }
    }
    return dots == 1 || dots == 2
  }

  /// Whether `bytes[start ..< end]` may stand behind a `?`: visible ASCII but `#`. Queries are passed on as they are, so they may hold
  /// whatever browsers leave bare.
  package static func queryFault(_ bytes: borrowing Span<UInt8>, _ start: Int, _ end: Int) -> PathFault? {
    guard start >= 0, start <= end, end <= bytes.count else { return .badByte }
    var at = start
    while at < end {
      if hasBytes(bytes, at, 8) {
        let word = load8(bytes, at)
        let seven = word & ByteWord.sevens
        let good = ByteWord.within(seven, 0x21, 0x7e) & ~ByteWord.within(seven, 0x23, 0x23)
        let marks = (~good | word) & ByteWord.highs
        guard marks != 0 else {
          at &+= 8
          continue
        }
        at &+= ByteWord.index(marks)
        guard at < end else { break }
      }
      let byte = bytes[at]
      if byte &- 0x21 > 0x5d { return .badByte }
      if byte == UInt8(ascii: "#") { return .fragment }
      at &+= 1
    }
    return nil
  }
}
