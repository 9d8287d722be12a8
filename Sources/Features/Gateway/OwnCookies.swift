import HTTP1
import HTTPMessage
import IntercomCore
import Sessions

/// Intercom's own cookies: their names, how they are read, set and deleted (behaviour: "Cookies",
/// [RFC 6265bis §4.1.3](https://datatracker.ietf.org/doc/html/draft-ietf-httpbis-rfc6265bis#section-4.1.3)).
package struct OwnCookies: Sendable {
  package enum SameSite: String, Sendable {
    case lax = "Lax"
    case none = "None"
    case strict = "Strict"
  }

  /// `__Host-intercom` when the base URL is https, else `intercom`.
  package let sessionName: [UInt8]
  /// Binds pending logins to this browser.
  package let loginName: [UInt8]
  /// The names under which a session is looked for, the host-prefixed one first.
  private let readNames: [CookieName]
  private let isSecure: Bool
  private let sameSite: SameSite
  /// Seconds that the session cookie outlives the browser; nil for a cookie that ends with it.
  private let maximumAge: Int?

  package init(isSecure: Bool, name: String = "intercom", sameSite: SameSite = .lax, maximumAge: Int? = nil) {
    let isPrefixed = name.utf8.starts(with: "__Host-".utf8)
    let full = isSecure && !isPrefixed && name == "intercom" ? "__Host-" + name : name
    sessionName = Array(full.utf8)
    loginName = Array((full + "-login").utf8)
    readNames = (full.hasPrefix("__Host-") ? [full] : ["__Host-" + full, full]).map { CookieName(Array($0.utf8)) }
    self.isSecure = isSecure
    self.sameSite = sameSite
    self.maximumAge = maximumAge
  }

  /// What never goes upstream and no upstream may set: with and without the host prefix.
  package var names: OwnCookieNames {
    let prefix = "__Host-"
    return OwnCookieNames(
      [sessionName, loginName].map { String(decoding: $0, as: UTF8.self) }.flatMap { name in
        name.hasPrefix(prefix) ? [name, String(name.dropFirst(prefix.count))] : [name, prefix + name]
      })
  }

  /// The session id that the client presents. With two cookies of the name the host-prefixed one wins, then the first that is well formed.
  package func session(_ request: borrowing CanonicalRequest, _ head: borrowing Span<UInt8>) -> SessionID? {
    first(request, head) { bytes, value in SessionID(cookieValue: bytes.extracting(value.lower..<value.upper)) }
  }

  /// The same for a loop that may know the session: then nothing is read as an id.
  func presented(
    _ request: borrowing CanonicalRequest, _ head: borrowing Span<UInt8>, _ sessions: SessionTable
  ) -> PresentedSession? {
    first(request, head) { bytes, value in
      if let text = SessionText(bytes, value), let view = sessions.use(text) { return .known(view) }
      return SessionID(cookieValue: bytes.extracting(value.lower..<value.upper)).map { .unknown($0) }
    }
  }

  /// What `read` makes of the cookie that wins; it says nil for a value that is not well formed.
  @inline(__always) private func first<Value>(
    _ request: borrowing CanonicalRequest, _ head: borrowing Span<UInt8>, _ read: (borrowing Span<UInt8>, ByteRange) -> Value?
  ) -> Value? {
    var found: Value?
    // Names that would still win over what was found: those before its own.
    var better = readNames.count
    for index in 0..<min(request.cookieCount, request.cookies.count) {
      let line = request.cookies[index]
      guard line.upper <= head.count else { continue }
      var at = line.lower
      while at < line.upper, better > 0 {
        let byte = head[at]
        if byte == UInt8(ascii: " ") || byte == UInt8(ascii: ";") || byte == 9 {
          at &+= 1
          continue
        }
        let end = find(UInt8(ascii: ";"), head, at, line.upper)
        for rank in 0..<better {
          guard let value = readNames[rank].value(at, end, head) else { continue }
          guard let made = read(head, value) else { break }
          (found, better) = (made, rank)
          break
        }
        at = end &+ 1
      }
    }
    return found
  }

  package func setSession(_ id: SessionID) -> String {
    line(sessionName, String(decoding: id.cookieValue, as: UTF8.self), maximumAge: maximumAge)
  }
  package func setLogin(_ value: String) -> String { line(loginName, value, maximumAge: 600) }
  package var deleteSession: String { line(sessionName, "", maximumAge: 0) }
  /// Setting and deleting use the same attributes, or browsers keep the old one
  /// ([CVE-2025-55162](https://nvd.nist.gov/vuln/detail/CVE-2025-55162)).
  private func line(_ name: [UInt8], _ value: String, maximumAge: Int?) -> String {
    var out = String(decoding: name, as: UTF8.self) + "=" + value + "; Path=/; HttpOnly; SameSite=" + sameSite.rawValue
    if isSecure { out += "; Secure" }
    if let maximumAge { out += "; Max-Age=\(maximumAge)" }
    return out
  }
}

/// A live session's copy, or an id that this loop does not know.
enum PresentedSession {
  case known(SessionView)
  case unknown(SessionID)
}

/// The name of a cookie that is looked for in every request.
private struct CookieName: Sendable {
  private let bytes: [UInt8]
  /// Its first bytes, eight at most, and which those are.
  private let word: UInt64
  private let mask: UInt64

  init(_ bytes: [UInt8]) {
    self.bytes = bytes
    word = bytes.prefix(8).reversed().reduce(0) { $0 << 8 | UInt64($1) }
    mask = bytes.count >= 8 ? .max : (1 << UInt64(8 * bytes.count)) - 1
  }

  /// The value of the cookie `head[start ..< end]` when it has exactly this name; white space may stand at its end.
  @inline(__always) func value(_ start: Int, _ end: Int, _ head: borrowing Span<UInt8>) -> ByteRange? {
    guard end &- start > bytes.count, start &+ 8 <= head.count, load8(head, start) & mask == word else { return nil }
    return rest(start, end, head)
  }

  private func rest(_ start: Int, _ end: Int, _ head: borrowing Span<UInt8>) -> ByteRange? {
    var at = 8
    while at < bytes.count {
      if head[start &+ at] != bytes[at] { return nil }
      at &+= 1
    }
    at = start &+ bytes.count
    while at < end, Self.isBlank(head[at]) { at &+= 1 }
    guard at < end, head[at] == UInt8(ascii: "=") else { return nil }
    at &+= 1
    while at < end, Self.isBlank(head[at]) { at &+= 1 }
    var end = end
    while end > at, Self.isBlank(head[end &- 1]) { end &-= 1 }
    return ByteRange(at, end)
  }

  private static func isBlank(_ byte: UInt8) -> Bool { byte == UInt8(ascii: " ") || byte == 9 }
}
