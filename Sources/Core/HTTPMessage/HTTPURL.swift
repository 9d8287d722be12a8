import IntercomCore

/// An absolute http or https URL, read strictly (RFC 9110 §4.2): no user info, no fragment, no escapes in the host, a path without tricks
/// (`PathSyntax`). What is not exactly that is nil, never repaired.
package struct HTTPURL: Sendable, Hashable, CustomStringConvertible {
  package enum Scheme: String, Sendable, Hashable {
    case http, https
    package var defaultPort: Int { self == .http ? 80 : 443 }
  }

  package let scheme: Scheme
  /// Lower case; an IPv6 address keeps its brackets.
  package let host: Identifier
  /// The stated port or the scheme's own.
  package let port: Int
  /// As written, escapes kept; `/` when it was empty.
  package let path: [UInt8]
  /// As written, without the `?`; nil when there is none.
  package let query: [UInt8]?

  /// Longer URLs are refused.
  package static let mostBytes = 8 << 10

  package init?(_ string: String) { self.init(bytes: Array(string.utf8)) }

  package init?(bytes: [UInt8]) {
    guard bytes.count <= Self.mostBytes, let colon = bytes.firstIndex(of: UInt8(ascii: ":")) else { return nil }
    let name = String(decoding: bytes[..<colon], as: UTF8.self).lowercased()
    guard let scheme = Scheme(rawValue: name), bytes.dropFirst(colon + 1).starts(with: "//".utf8) else { return nil }
    let start = colon + 3
    let authorityEnd = bytes[start...].firstIndex { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "?") } ?? bytes.count
    let authority = ByteRange(start, authorityEnd)
    guard let hostEnd = AuthoritySyntax.hostEnd(bytes.span, authority) else { return nil }
    self.scheme = scheme
    host = Identifier(bytes: bytes[start..<hostEnd].map { $0 &- 65 < 26 ? $0 | 0x20 : $0 })
    port =
      hostEnd < authorityEnd
      ? AuthoritySyntax.port(bytes.span, ByteRange(hostEnd + 1, authorityEnd)) ?? scheme.defaultPort : scheme.defaultPort
    var pathEnd = authorityEnd
    if authorityEnd < bytes.count, bytes[authorityEnd] == UInt8(ascii: "/") {
      let scan = PathSyntax.scan(bytes.span, authorityEnd, bytes.count)
      guard scan.fault == nil else { return nil }
      pathEnd = scan.end
      path = Array(bytes[authorityEnd..<pathEnd])
    } else {
      path = [UInt8(ascii: "/")]
    }
    if pathEnd < bytes.count {
      guard PathSyntax.queryFault(bytes.span, pathEnd + 1, bytes.count) == nil else { return nil }
      query = Array(bytes[(pathEnd + 1)...])
    } else {
      query = nil
    }
  }

  package var origin: Origin { Origin(self) }
  package var isSecure: Bool { if case .https = scheme { true } else { false } }

  /// Host and, unless it is the scheme's own, port: what stands in a Host field.
  package var authority: String { port == scheme.defaultPort ? host.description : "\(host):\(port)" }

  /// Path and query as they stand in a request line.
  package var target: [UInt8] { query.map { path + [UInt8(ascii: "?")] + $0 } ?? path }

  /// Scheme and host lower case, default port left out, the rest as written.
  package var description: String { "\(scheme.rawValue)://\(authority)\(String(decoding: target, as: UTF8.self))" }
}

/// A serialised origin as browsers send it (RFC 6454 §6.2): lower case, without the scheme's own port. Compared byte for byte.
package struct Origin: Sendable, Hashable, CustomStringConvertible {
  package let bytes: [UInt8]

  /// The origin of a URL.
  package init(_ url: HTTPURL) { bytes = Array("\(url.scheme.rawValue)://\(url.authority)".utf8) }

  /// Only what is already in serialised form: no path, no upper case, no default port, not `null`.
  package init?(serialized text: String) {
    let bytes = Array(text.utf8)
    guard let url = HTTPURL(bytes: bytes), Origin(url).bytes == bytes else { return nil }
    self.bytes = bytes
  }

  package var description: String { String(decoding: bytes, as: UTF8.self) }

  /// Whether an Origin field's value is this origin.
  package func matches(_ value: ByteRange, in head: borrowing Span<UInt8>) -> Bool { value.equals(bytes, in: head) }
}
