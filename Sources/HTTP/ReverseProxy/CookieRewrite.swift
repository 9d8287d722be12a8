import HTTP1
import HTTPMessage

/// Cookies on their way through (behaviour: "Cookies"): ours never go upstream and no upstream sets ours; upstreams' are isolated per
/// route.
enum CookieRewrite {
  private static let name: HeadPiece = "Cookie: "
  private static let separator: HeadPiece = "; "
  private static let lineEnd: HeadPiece = "\r\n"

  /// One Cookie line with those that this upstream may see, or none at all.
  static func write(_ request: borrowing CanonicalRequest, _ bytes: borrowing Span<UInt8>, _ route: ForwardRoute, _ out: inout HeadBuffer) {
    let prefix: [UInt8]
    switch route.cookies {
    case .isolate: prefix = route.cookiePrefix
    case .pass: prefix = []
    case .drop: return
    }
    var isFirst = true
    for index in 0..<min(request.cookieCount, request.cookies.count) {
      // Most requests carry no cookie of a backend, and then the pairs need not be read once more.
      if !prefix.isEmpty, !holdsTilde(bytes, request.cookies[index]) { continue }
      var scanner = CookieScanner(request.cookies[index])
      while let pair = scanner.nextPair(in: bytes) {
        guard begins(bytes, pair, prefix) else { continue }
        let cookie = CookieScanner.split(bytes, pair)
        guard !route.ownCookies.claims(cookie, in: bytes) else { continue }
        // Isolated cookies were set by us with a name: `fs~=x` or a bare `fs~` were not.
        if !prefix.isEmpty, !cookie.hasEquals || cookie.name.count <= prefix.count { continue }
        out.append(isFirst ? name : separator)
        out.append(bytes, cookie.pair.lower &+ prefix.count, cookie.pair.upper)
        isFirst = false
      }
    }
    if !isFirst { out.append(lineEnd) }
  }

  /// Whether a `~`, with which the prefix ends, stands anywhere in the range; 32 bytes at a time.
  private static func holdsTilde(_ bytes: borrowing Span<UInt8>, _ range: ByteRange) -> Bool {
    let (tilde, end) = (UInt8(ascii: "~"), range.upper)
    guard end <= bytes.count else { return false }
    let tildes = SIMD4(repeating: ByteWord.all(tilde))
    let (ones, highs) = (SIMD4(repeating: ByteWord.ones), SIMD4(repeating: ByteWord.highs))
    var at = range.lower
    while at &+ 32 <= end {
      let words = bytes.bytes.unsafeLoadUnaligned(fromByteOffset: at, as: SIMD4<UInt64>.self) ^ tildes
      // Bytes of zeros: exact in that there is one, if not in which.
      let marks = (words &- ones) & ~words & highs
      let both = marks.lowHalf | marks.highHalf
      if both[0] | both[1] != 0 { return true }
      at &+= 32
    }
    return find(tilde, bytes, at, end) < end
  }

  @inline(__always) private static func begins(_ bytes: borrowing Span<UInt8>, _ range: ByteRange, _ prefix: [UInt8]) -> Bool {
    guard range.count >= prefix.count else { return false }
    for offset in 0..<prefix.count where bytes[range.lower &+ offset] != prefix[offset] { return false }
    return true
  }

  /// Appends the Set-Cookie line that the browser gets for one of the upstream's, or nothing.
  static func writeSet(_ bytes: borrowing Span<UInt8>, _ field: HeadField, _ route: ForwardRoute, _ out: inout HeadBuffer) {
    guard route.cookies != .drop else { return }
    var scanner = CookieScanner(field.value)
    guard let cookie = scanner.next(in: bytes) else { return }
    if route.cookies == .pass {
      if !route.ownCookies.claims(cookie, in: bytes) { out.append(bytes, field.line) }
      return
    }
    guard cookie.hasEquals, !cookie.name.isEmpty else { return }
    out.append(setName)
    out.append(route.cookiePrefix)
    out.append(bytes, cookie.pair)
    var path: ByteRange?
    while let attribute = scanner.next(in: bytes) {
      let name = attribute.hasEquals ? attribute.name : attribute.pair
      if equals(bytes, name, "path") {
        path = attribute.hasEquals ? attribute.value : nil
      } else if keeps(bytes, name, attribute.value, route) {
        out.append(separator)
        out.append(bytes, attribute.pair)
      }
    }
    out.append(pathName)
    out.append(PathMapping(route).cookiePath(path.map { $0.bytes(in: bytes) } ?? []))
    if route.isSecure { out.append(secure) }
    out.append(lineEnd)
  }

  private static let setName: HeadPiece = "Set-Cookie: "
  private static let pathName: HeadPiece = "; Path="
  private static let secure: HeadPiece = "; Secure"

  /// Domain goes, Secure follows the base URL; on http browsers refuse what asks for Secure, so those attributes go as well.
  private static func keeps(_ bytes: borrowing Span<UInt8>, _ name: ByteRange, _ value: ByteRange, _ route: ForwardRoute) -> Bool {
    if equals(bytes, name, "domain") || equals(bytes, name, "secure") { return false }
    if route.isSecure { return true }
    return !equals(bytes, name, "partitioned") && !(equals(bytes, name, "samesite") && equals(bytes, value, "none"))
  }

  private static func equals(_ bytes: borrowing Span<UInt8>, _ range: ByteRange, _ lower: String) -> Bool {
    let word = lower.utf8
    guard range.count == word.count, range.upper <= bytes.count else { return false }
    var at = range.lower
    for byte in word {
      if bytes[at] &- 65 < 26 ? bytes[at] | 0x20 != byte : bytes[at] != byte { return false }
      at &+= 1
    }
    return true
  }
}
