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
  private let readNames: [[UInt8]]
  private let isSecure: Bool
  private let sameSite: SameSite
  /// Seconds that the session cookie outlives the browser; nil for a cookie that ends with it.
  private let maximumAge: Int?

  package init(isSecure: Bool, name: String = "intercom", sameSite: SameSite = .lax, maximumAge: Int? = nil) {
    let isPrefixed = name.utf8.starts(with: "__Host-".utf8)
    let full = isSecure && !isPrefixed && name == "intercom" ? "__Host-" + name : name
    sessionName = Array(full.utf8)
    loginName = Array((full + "-login").utf8)
    readNames = full.hasPrefix("__Host-") ? [sessionName] : [Array(("__Host-" + full).utf8), sessionName]
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
    var found: SessionID?
    // Names that would still win over what was found: those before its own.
    var better = readNames.count
    forEachCookie(request, head) { cookie, bytes in
      for rank in 0..<better where cookie.name.equals(readNames[rank], in: bytes) {
        guard let id = SessionID(cookieValue: bytes.extracting(cookie.value.lower..<cookie.value.upper)) else { return }
        (found, better) = (id, rank)
        return
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
