import HTTPMessage

/// `method SP request-target SP HTTP-version` (RFC 9112 §3).
enum RequestLine {
  /// Longest method name that is taken; the longest registered one has 17 letters.
  static let longestMethod = 32

  /// Reads the line whose LF is at `lineFeed`; nil when it is good.
  static func read(
    _ bytes: borrowing Span<UInt8>, _ start: Int, _ lineFeed: Int, _ longestTarget: Int, _ request: inout CanonicalRequest
  ) -> HeadRefusal? {
    guard lineFeed > start, bytes[lineFeed &- 1] == ASCII.cr else { return .badLineEnding }
    let end = lineFeed &- 1
    var at = start
    while at < end, isToken(bytes[at]) { at &+= 1 }
    guard at > start, at &- start <= longestMethod else { return .badMethod }
    guard at < end, bytes[at] == ASCII.space else { return .badRequestLine }
    request.methodRange = ByteRange(start, at)
    request.method = method(bytes, start, at &- start)
    let target = at &+ 1
    let targetEnd = end &- 9
    guard targetEnd > target, bytes[targetEnd] == ASCII.space else { return .badRequestLine }
    switch load8(bytes, targetEnd &+ 1) {
    case 0x312e_312f_5054_5448: break  // HTTP/1.1
    case 0x302e_312f_5054_5448:  // HTTP/1.0
      request.isHTTP10 = true
      request.keepAlive = false
    default: return isVersion(bytes, targetEnd &+ 1) ? .unsupportedVersion : .badVersion
    }
    guard targetEnd &- target <= longestTarget else { return .targetTooLong }
    return RequestTarget.read(bytes, target, targetEnd, &request)
  }

  /// `HTTP/` digit `.` digit
  private static func isVersion(_ bytes: borrowing Span<UInt8>, _ at: Int) -> Bool {
    load4(bytes, at) == 0x5054_5448 && bytes[at &+ 4] == ASCII.slash && bytes[at &+ 5] &- 48 < 10 && bytes[at &+ 6] == ASCII.dot
      && bytes[at &+ 7] &- 48 < 10
  }

  /// The method by its bytes as little-endian words; case-sensitive (RFC 9110 §9.1). `WireTests` checks every one.
  private static func method(_ bytes: borrowing Span<UInt8>, _ start: Int, _ length: Int) -> Method {
    // A request line is longer than any method by more than eight bytes, so the load stays inside; the guard says so to the compiler.
    guard length > 2, length <= 10, start &+ length &+ 8 <= bytes.count else { return .other }
    let word = load8(bytes, start)
    if length > 8 {
      if length == 9 { return word == 0x4354_4150_504f_5250 && bytes[start &+ 8] == 0x48 ? .proppatch : .other }
      return word == 0x444e_454c_4143_4b4d && load2(bytes, start &+ 8) == 0x5241 ? .mkcalendar : .other
    }
    switch word & (UInt64.max &>> UInt64(64 &- length &* 8)) {
    case 0x5445_47: return .get
    case 0x5455_50: return .put
    case 0x4c43_41: return .acl
    case 0x4441_4548: return .head
    case 0x5453_4f50: return .post
    case 0x5950_4f43: return .copy
    case 0x4556_4f4d: return .move
    case 0x4b43_4f4c: return .lock
    case 0x4843_5441_50: return .patch
    case 0x4543_4152_54: return .trace
    case 0x4c4f_434b_4d: return .mkcol
    case 0x4554_454c_4544: return .delete
    case 0x4b43_4f4c_4e55: return .unlock
    case 0x5452_4f50_4552: return .report
    case 0x4843_5241_4553: return .search
    case 0x534e_4f49_5450_4f: return .options
    case 0x5443_454e_4e4f_43: return .connect
    case 0x444e_4946_504f_5250: return .propfind
    default: return .other
    }
  }
}
