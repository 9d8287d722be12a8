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

  /// The name that was set, or `__Host-intercom` when the base URL is https, else `intercom`.
  package let sessionName: [UInt8]
  /// Binds pending logins to this browser.
  package let loginName: [UInt8]
  /// The names under which a session is looked for: the one that wins, and on http the other one.
  private let readNames: [[UInt8]]
  private let preferred: CookieName
  private let plain: CookieName
  private let isSecure: Bool
  private let sameSite: SameSite
  /// The session cookie stays when the browser is closed, and goes when the session can live no longer.
  private let isPersistent: Bool
  /// Pages may read the CSRF token in a cookie, and requests may carry it in their query: as the Intercom Service has it, off by default.
  let sharesCSRFToken: Bool

  /// Of the cookie and of the query field.
  static let csrfName = "_csrf_token"

  package init(
    isSecure: Bool, name: String? = nil, sameSite: SameSite = .lax, isPersistent: Bool = false, sharesCSRFToken: Bool = false
  ) {
    self.sharesCSRFToken = sharesCSRFToken
    let full = name ?? (isSecure ? "__Host-intercom" : "intercom")
    sessionName = Array(full.utf8)
    loginName = Array((full + "-login").utf8)
    readNames = (full.hasPrefix("__Host-") ? [full] : ["__Host-" + full, full]).map { Array($0.utf8) }
    preferred = CookieName(readNames[0])
    plain = readNames.count > 1 ? CookieName(readNames[1]) : .none
    self.isSecure = isSecure
    self.sameSite = sameSite
    self.isPersistent = isPersistent
  }

  /// What never goes upstream and no upstream may set: with and without the host prefix.
  package var names: OwnCookieNames {
    let prefix = "__Host-"
    return OwnCookieNames(
      [sessionName, loginName].map { String(decoding: $0, as: UTF8.self) }.flatMap { name in
        name.hasPrefix(prefix) ? [name, String(name.dropFirst(prefix.count))] : [name, prefix + name]
      } + (sharesCSRFToken ? [Self.csrfName] : []))
  }

  /// The session id that the client presents. With two cookies of the name the host-prefixed one wins, then the first that is well formed.
  package func session(_ request: borrowing CanonicalRequest, _ head: borrowing Span<UInt8>) -> SessionID? {
    var found: SessionID?
    // Names that would still win over what was found: those before its own.
    var better = readNames.count
    for index in 0..<min(request.cookieCount, request.cookies.count) {
      var scanner = CookieScanner(request.cookies[index])
      while better > 0, let cookie = scanner.next(in: head) {
        for rank in 0..<better where cookie.hasEquals && cookie.name.equals(readNames[rank], in: head) {
          guard let id = SessionID(cookieValue: head.extracting(cookie.value.lower..<cookie.value.upper)) else { break }
          (found, better) = (id, rank)
          break
        }
      }
    }
    return found
  }

  /// Whether a session cookie is there, whatever its value.
  func isPresented(_ request: borrowing CanonicalRequest, _ head: borrowing Span<UInt8>) -> Bool {
    for index in 0..<min(request.cookieCount, request.cookies.count) {
      var scanner = CookieScanner(request.cookies[index])
      while let cookie = scanner.next(in: head) {
        for name in readNames where cookie.hasEquals && cookie.name.equals(name, in: head) { return true }
      }
    }
    return false
  }

  /// The same for a loop that may know the session: then the field is walked once, by words, and nothing is read as an id. Whatever is not
  /// as browsers send it, or not known, goes the long way.
  func presented(
    _ request: borrowing CanonicalRequest, _ head: borrowing Span<UInt8>, _ sessions: SessionTable
  ) -> PresentedSession? {
    var known: SessionView?
    for index in 0..<min(request.cookieCount, request.cookies.count) {
      let line = request.cookies[index]
      guard line.upper <= head.count, head.count >= 8 else { continue }
      // Cookies begin with the field and behind each `;`. `marks` are those of the word before `next`.
      var (start, next, marks) = (line.lower, line.lower, UInt64(0))
      while start < line.upper {
        while start < line.upper, head[start] == UInt8(ascii: " ") || head[start] == 9 { start &+= 1 }
        let word = loadUpTo8(head, start)
        if preferred.begins(word), preferred.stands(start, line.upper, head) {
          guard let view = find(preferred, start, line.upper, head, sessions) else { return read(request, head, sessions) }
          return .known(view)
        }
        if plain.begins(word), known == nil, plain.stands(start, line.upper, head) {
          known = find(plain, start, line.upper, head, sessions)
          if known == nil { return read(request, head, sessions) }
        }
        while marks == 0, next < line.upper {
          marks = equalBytes(loadUpTo8(head, next), UInt8(ascii: ";"))
          next &+= 8
        }
        guard marks != 0 else { break }
        start = next &- 7 &+ (marks.trailingZeroBitCount &>> 3)
        marks &= marks &- 1
      }
    }
    return known.map { .known($0) }
  }

  private func read(
    _ request: borrowing CanonicalRequest, _ head: borrowing Span<UInt8>, _ sessions: SessionTable
  ) -> PresentedSession? {
    guard let id = session(request, head) else { return nil }
    return sessions[id].map { .known($0) } ?? .unknown(id)
  }

  /// The session of the cookie of this name at `start`, when `=`, the digits of a known session and the cookie's or the field's end follow.
  @inline(__always) private func find(
    _ name: CookieName, _ start: Int, _ lineEnd: Int, _ head: borrowing Span<UInt8>, _ sessions: SessionTable
  ) -> SessionView? {
    let value = start &+ name.count &+ 1
    let end = value &+ SessionText.digits
    guard end <= lineEnd, head[value &- 1] == UInt8(ascii: "="), end == lineEnd || head[end] == UInt8(ascii: ";"),
      let text = SessionText(head, ByteRange(value, end))
    else { return nil }
    return sessions.use(text)
  }

  /// - Parameter life: how long the session can live at most, in whole seconds.
  package func setSession(_ id: SessionID, life: Int) -> String {
    line(sessionName, String(decoding: id.cookieValue, as: UTF8.self), maximumAge: isPersistent ? max(1, life) : nil)
  }
  package func setLogin(_ value: String) -> String { line(loginName, value, maximumAge: 600) }
  package var deleteSession: String { line(sessionName, "", maximumAge: 0) }
  /// At a sign-out: of the session, and of its CSRF token where that is shared.
  var deleteAll: [String] { [deleteSession] + (sharesCSRFToken ? [Self.csrfLine("") + "; Max-Age=0"] : []) }
  /// Without HttpOnly: scripts are to read it. Nil when it is not shared.
  func setCSRF(_ token: String) -> String? { sharesCSRFToken ? Self.csrfLine(token) : nil }
  private static func csrfLine(_ token: String) -> String { "\(csrfName)=\(token); Path=/; SameSite=None; Secure" }
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
  let count: Int
  /// Its last eight bytes, when it has more than eight.
  private let last: UInt64
  /// Its first bytes, eight at most, and which those are.
  private let first: UInt64
  private let mask: UInt64

  init(_ bytes: [UInt8]) {
    count = bytes.count
    first = Self.word(bytes.prefix(8))
    last = Self.word(bytes.suffix(8))
    mask = bytes.count >= 8 ? .max : (1 << UInt64(8 * bytes.count)) - 1
  }

  /// Begins no word.
  static let none = CookieName()
  private init() { (count, last, first, mask) = (0, 0, 1, 0) }

  private static func word(_ bytes: ArraySlice<UInt8>) -> UInt64 { bytes.reversed().reduce(0) { $0 << 8 | UInt64($1) } }

  /// Whether its first bytes are those of `word`.
  @inline(__always) func begins(_ word: UInt64) -> Bool { word & mask == first }

  /// Whether a cookie that begins so has this name, not a longer one: `=` or white space ends it.
  @inline(__always) func stands(_ start: Int, _ lineEnd: Int, _ head: borrowing Span<UInt8>) -> Bool {
    let end = start &+ count
    guard end < lineEnd, count <= 8 || load8(head, end &- 8) == last else { return false }
    return head[end] == UInt8(ascii: "=") || head[end] == UInt8(ascii: " ") || head[end] == 9
  }
}
