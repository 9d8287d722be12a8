import HTTPMessage

/// `method SP request-target SP HTTP-version` (RFC 9112 §3).
enum RequestLine {
  /// Longest method name that is taken; the longest registered one has 17 letters.
  static let longestMethod = 32

  /// Reads the line at `start` when it is a usual one: a known method of up to eight letters, a target without a space, HTTP/1.1. Its end, or nil
  /// when `read` must judge; `request` is then as it was.
  @inline(__always)
  static func readUsual(_ bytes: borrowing Span<UInt8>, _ limits: HeadLimits, _ start: Int, _ request: inout CanonicalRequest) -> Int? {
    guard hasBytes(bytes, start, 16) else { return nil }
    let word = load8(bytes, start)
    let marks = ByteWord.zeros(word ^ ByteWord.all(ASCII.space))
    let method = shortMethod(marks == 0 ? word : word & ByteWord.before(marks))
    let methodEnd = marks == 0 ? start &+ 8 : start &+ ByteWord.index(marks)
    guard method != .other, bytes[methodEnd] == ASCII.space else { return nil }
    let target = methodEnd &+ 1
    let targetEnd = find(ASCII.space, bytes, target, bytes.count)
    guard targetEnd > target, targetEnd &- target <= limits.target, hasBytes(bytes, targetEnd, 11) else { return nil }
    let next = targetEnd &+ 11
    guard load8(bytes, targetEnd &+ 1) == 0x312e_312f_5054_5448, load2(bytes, targetEnd &+ 9) == 0x0a0d, next <= limits.head else {
      return nil
    }
    request.methodRange = ByteRange(start, methodEnd)
    request.method = method
    if RequestTarget.read(bytes, target, targetEnd, &request) == nil { return next }
    request = CanonicalRequest()
    return nil
  }

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
    return shortMethod(word & (UInt64.max &>> UInt64(64 &- length &* 8)))
  }

  /// The method of at most eight letters, zeros behind them.
  @inline(__always) private static func shortMethod(_ name: UInt64) -> Method {
    switch name {
    case 0x5445_47: .get
    case 0x5455_50: .put
    case 0x4c43_41: .acl
    case 0x4441_4548: .head
    case 0x5453_4f50: .post
    case 0x5950_4f43: .copy
    case 0x4556_4f4d: .move
    case 0x4b43_4f4c: .lock
    case 0x4843_5441_50: .patch
    case 0x4543_4152_54: .trace
    case 0x4c4f_434b_4d: .mkcol
    case 0x4554_454c_4544: .delete
    case 0x4b43_4f4c_4e55: .unlock
    case 0x5452_4f50_4552: .report
    case 0x4843_5241_4553: .search
    case 0x534e_4f49_5450_4f: .options
    case 0x5443_454e_4e4f_43: .connect
    case 0x444e_4946_504f_5250: .propfind
    default: .other
    }
  }
}
