import IntercomCore

/// The cookies of a request for endpoints (RFC 6265 §4.2). The warm path has `CookieScanner` in HTTP1, which reads the same: a test
/// compares them.
package struct CookieHeader: Sendable {
  /// In the order sent; a nameless cookie has an empty name.
  package private(set) var all: [(name: [UInt8], value: Secret<[UInt8]>)] = []

  /// Reads every Cookie field.
  package init(_ fields: Fields) {
    for field in fields.values("Cookie") {
      for piece in field.split(separator: UInt8(ascii: ";")) {
        let pair = Self.trim(piece)
        guard !pair.isEmpty else { continue }
        guard let equals = pair.firstIndex(of: UInt8(ascii: "=")) else {
          all.append(([], Secret(Array(pair))))
          continue
        }
        all.append((Array(Self.trim(pair[..<equals])), Secret(Array(Self.trim(pair[(equals + 1)...])))))
      }
    }
  }

  /// All values of that exact name, in order: a sibling domain can plant a second one (S10), so callers look at each.
  package func values(_ name: String) -> [Secret<[UInt8]>] {
    let name = Array(name.utf8)
    return all.filter { $0.name == name }.map(\.value)
  }

  private static func trim(_ piece: ArraySlice<UInt8>) -> ArraySlice<UInt8> {
    let isBlank = { (byte: UInt8) in byte == 0x20 || byte == 0x09 }
    guard let first = piece.firstIndex(where: { !isBlank($0) }), let last = piece.lastIndex(where: { !isBlank($0) }) else { return [] }
    return piece[first...last]
  }
}

/// Why a cookie cannot be set: browsers would drop it silently, or it would not be what it says.
package enum SetCookieError: Error, Sendable, Hashable {
  case badName, badValue, badPath
  /// `__Host-` needs Secure and the path `/`; `__Secure-` needs Secure.
  case prefixRule
  /// `SameSite=None` and `Partitioned` need Secure.
  case needsSecure
}

/// A `Set-Cookie` value (RFC 6265bis §4.1). Never with a Domain: our cookies belong to one host.
package struct SetCookie: Sendable {
  package enum SameSite: String, Sendable, CaseIterable {
    case strict = "Strict"
    case lax = "Lax"
    case none = "None"
  }

  package let name: String
  package let value: Secret<String>
  package let path: String
  package let isSecure: Bool
  package let isHTTPOnly: Bool
  package let sameSite: SameSite
  package let isPartitioned: Bool
  /// Seconds; nil for a cookie that ends with the browser's session.
  package let maxAge: Int?

  package init(
    _ name: String, _ value: Secret<String>, path: String = "/", isSecure: Bool, isHTTPOnly: Bool = true, sameSite: SameSite = .lax,
    isPartitioned: Bool = false, maxAge: Int? = nil
  ) throws(SetCookieError) {
    guard Self.isName(name) else { throw .badName }
    guard value.reveal().utf8.allSatisfy(Self.isOctet) else { throw .badValue }
    guard path.utf8.first == UInt8(ascii: "/"), path.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: ";") }) else {
      throw .badPath
    }
    let prefix = name.lowercased()
    if prefix.hasPrefix("__host-") { guard isSecure, path.utf8.count == 1 else { throw .prefixRule } }
    if prefix.hasPrefix("__secure-") { guard isSecure else { throw .prefixRule } }
    if sameSite == .none || isPartitioned { guard isSecure else { throw .needsSecure } }
    self.name = name
    self.value = value
    self.path = path
    self.isSecure = isSecure
    self.isHTTPOnly = isHTTPOnly
    self.sameSite = sameSite
    self.isPartitioned = isPartitioned
    self.maxAge = maxAge
  }

  /// The field's value.
  package var headerValue: String { render(value.reveal(), maxAge) }

  /// The field's value that deletes this cookie: the same name, path and attributes, else browsers keep it (S11).
  package var deletion: String { render("", 0) }

  private func render(_ value: String, _ age: Int?) -> String {
    var out = "\(name)=\(value); Path=\(path)"
    if let age { out += "; Max-Age=\(age)" }
    if isSecure { out += "; Secure" }
    if isHTTPOnly { out += "; HttpOnly" }
    out += "; SameSite=\(sameSite.rawValue)"
    if isPartitioned { out += "; Partitioned" }
    return out
  }

  private static func isName(_ name: String) -> Bool {
    let separators = Array("()<>@,;:\\\"/[]?={}".utf8)
    return !name.utf8.isEmpty && name.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f && !separators.contains($0) }
  }

  /// cookie-octet: visible ASCII without `"`, `,`, `;`, `\`.
  private static func isOctet(_ byte: UInt8) -> Bool { byte > 0x20 && byte < 0x7f && ![0x22, 0x2c, 0x3b, 0x5c].contains(byte) }
}
