import HTTPMessage

/// The request target (RFC 9112 §3.2, RFC 3986 §3.3). A path that two readers could take for two different ones is refused here, before any
/// route is looked at (S1): dot segments raw, encoded or before `;`, behind `/` or `%2F`; backslash; NUL; broken escapes; fragments.
enum RequestTarget {
  static func read(_ bytes: borrowing Span<UInt8>, _ start: Int, _ end: Int, _ request: inout CanonicalRequest) -> HeadRefusal? {
    if request.method == .connect { return authorityForm(bytes, start, end, &request) }
    switch bytes[start] {
    case ASCII.slash: return path(bytes, start, end, &request)
    case UInt8(ascii: "*"):
      guard end == start &+ 1, request.method == .options else { return .badTarget }
      request.targetForm = .asterisk
      request.path = ByteRange(start, end)
      return nil
    default: return absoluteForm(bytes, start, end, &request)
    }
  }

  private static func authorityForm(
    _ bytes: borrowing Span<UInt8>, _ start: Int, _ end: Int, _ request: inout CanonicalRequest
  ) -> HeadRefusal? {
    let range = ByteRange(start, end)
    guard let hostEnd = AuthoritySyntax.hostEnd(bytes, range), hostEnd < end else { return .badTarget }
    request.targetForm = .authority
    request.authority = range
    request.host = ByteRange(start, hostEnd)
    return nil
  }

  private static func absoluteForm(
    _ bytes: borrowing Span<UInt8>, _ start: Int, _ end: Int, _ request: inout CanonicalRequest
  ) -> HeadRefusal? {
    let colon = find(ASCII.colon, bytes, start, end)
    let scheme = ByteRange(start, colon)
    guard equalsFolded(bytes, scheme, "http") || equalsFolded(bytes, scheme, "https"), colon &+ 3 < end,
      bytes[colon &+ 1] == ASCII.slash, bytes[colon &+ 2] == ASCII.slash
    else { return .badAbsoluteTarget }
    let authorityStart = colon &+ 3
    var at = authorityStart
    while at < end, bytes[at] != ASCII.slash, bytes[at] != ASCII.question { at &+= 1 }
    let authority = ByteRange(authorityStart, at)
    guard let hostEnd = AuthoritySyntax.hostEnd(bytes, authority) else { return .badAbsoluteTarget }
    request.targetForm = .absolute
    request.authority = authority
    request.host = ByteRange(authorityStart, hostEnd)
    if at < end, bytes[at] == ASCII.slash { return path(bytes, at, end, &request) }
    // `http://host` and `http://host?q` mean the path `/` (RFC 9110 §4.2.3): the scheme's second slash lends its byte.
    request.path = ByteRange(colon &+ 2, colon &+ 3)
    return at < end ? query(bytes, at &+ 1, end, &request) : nil
  }

  private static func path(_ bytes: borrowing Span<UInt8>, _ start: Int, _ end: Int, _ request: inout CanonicalRequest) -> HeadRefusal? {
    var at = start
    while at < end {
      let byte = bytes[at]
      if isPath(byte) {
        at &+= 1
        continue
      }
      switch byte {
      case ASCII.slash:
        at &+= 1
        if beginsDotSegment(bytes, at, end) { return .dotSegment }
      case ASCII.percent:
        guard at &+ 2 < end, let high = hexValue(bytes[at &+ 1]), let low = hexValue(bytes[at &+ 2]) else { return .badEscape }
        at &+= 3
        request.pathHasEscapes = true
        switch high &<< 4 | low {
        case 0: return .nulInPath
        case 0x5c: return .backslash
        case 0x2f:
          request.pathHasEncodedSlash = true
          if beginsDotSegment(bytes, at, end) { return .dotSegment }
        default: break
        }
      case ASCII.question:
        request.path = ByteRange(start, at)
        return query(bytes, at &+ 1, end, &request)
      case UInt8(ascii: "\\"): return .backslash
      case UInt8(ascii: "#"): return .fragment
      default: return .badTarget
      }
    }
    request.path = ByteRange(start, end)
    return nil
  }

  /// The query is passed on as it is and never read by the engine, so it may hold whatever browsers leave bare: any visible ASCII but `#`.
  private static func query(_ bytes: borrowing Span<UInt8>, _ start: Int, _ end: Int, _ request: inout CanonicalRequest) -> HeadRefusal? {
    for at in start..<end {
      let byte = bytes[at]
      if byte &- 0x21 > 0x5d { return .badTarget }
      if byte == UInt8(ascii: "#") { return .fragment }
    }
    request.hasQuery = true
    request.query = ByteRange(start, end)
    return nil
  }

  /// pchar of RFC 3986 but `%`, and `[ ] ^ |`, which browsers send bare.
  @inline(__always) private static func isPath(_ byte: UInt8) -> Bool {
    let low: UInt64 = 0x2fff_7fd2_0000_0000
    let high: UInt64 = 0x57ff_fffe_efff_ffff
    return byte < 128 && ((byte < 64 ? low : high) &>> UInt64(byte & 63)) & 1 == 1
  }

  /// Whether the segment at `at` is `.` or `..` once its escapes are decoded, alone or before a `;`.
  @inline(__always) private static func beginsDotSegment(_ bytes: borrowing Span<UInt8>, _ at: Int, _ end: Int) -> Bool {
    guard at < end, bytes[at] == ASCII.dot || bytes[at] == ASCII.percent else { return false }
    return isDotSegment(bytes, at, end)
  }

  private static func isDotSegment(_ bytes: borrowing Span<UInt8>, _ from: Int, _ end: Int) -> Bool {
    var at = from
    var dots = 0
    while at < end {
      var byte = bytes[at]
      at &+= 1
      if byte == ASCII.percent {
        // A broken escape is refused by the caller, which comes to it next.
        guard at &+ 1 < end, let high = hexValue(bytes[at]), let low = hexValue(bytes[at &+ 1]) else { return false }
        byte = UInt8(truncatingIfNeeded: high &<< 4 | low)
        at &+= 2
      }
      switch byte {
      case ASCII.dot: dots &+= 1
      case ASCII.slash, ASCII.semicolon, ASCII.question, UInt8(ascii: "\\"): return dots == 1 || dots == 2
      default: return false
      }
      if dots > 2 { return false }
    }
    return dots == 1 || dots == 2
  }
}
