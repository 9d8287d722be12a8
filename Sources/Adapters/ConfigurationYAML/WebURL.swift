/// An http or https URL without user information, query and fragment, as configurations name providers and upstreams.
///
/// [RFC 3986 §3](https://www.rfc-editor.org/rfc/rfc3986#section-3), narrowed: what two readers could understand differently is refused.
package struct WebURL: Sendable, Hashable, CustomStringConvertible {
  package enum Scheme: String, Sendable, Hashable {
    case http
    case https
    package var defaultPort: Int { self == .http ? 80 : 443 }
  }

  package let scheme: Scheme
  /// Lower case; an IPv6 address without brackets.
  package let host: String
  package let port: Int
  /// As written: empty, or beginning with `/`.
  package let path: String
  /// As written, byte for byte (an issuer is compared that way).
  package let text: String

  package var description: String { text }

  /// An address literal, if the host is one.
  package var address: AddressLiteral? { AddressLiteral(host) }

  /// The host as it stands in a URL: an IPv6 address in brackets.
  package var bracketedHost: String { host.contains(":") ? "[\(host)]" : host }

  /// [RFC 6454 §6.2](https://www.rfc-editor.org/rfc/rfc6454#section-6.2): as browsers send it in `Origin`, default port left out.
  package var origin: String { "\(scheme.rawValue)://\(bracketedHost)" + (port == scheme.defaultPort ? "" : ":\(port)") }

  /// Whether the host is this machine by name or address ([RFC 6761 §6.3](https://www.rfc-editor.org/rfc/rfc6761#section-6.3)).
  package var isLoopback: Bool { host == "localhost" || host.hasSuffix(".localhost") || address?.isLoopback == true }

  package init(_ text: String) throws(ValueFault) {
    guard text.utf8.count <= 2048, text.utf8.allSatisfy({ (0x21...0x7E).contains($0) && $0 != UInt8(ascii: "\\") }) else {
      throw ValueFault(
        "not a URL: it holds spaces, a backslash or other characters than ASCII, or is longer than 2048", "write https://host/path")
    }
    // User information is refused without showing the text: it may hold a password.
    guard !text.contains("@") else {
      throw ValueFault("a URL with '@' (user information)", "write https://host/path without user and password")
    }
    guard let separator = text.firstRange(of: "://"), let scheme = Scheme(rawValue: text[..<separator.lowerBound].lowercased()) else {
      throw ValueFault("\(quoted(text)) is no http or https URL", "write https://host/path")
    }
    guard !text.contains("?"), !text.contains("#") else {
      throw ValueFault("a URL with '?' or '#'", "write https://host/path without query and fragment")
    }
    let rest = text[separator.upperBound...]
    let slash = rest.firstIndex(of: "/") ?? rest.endIndex
    let authority = try HostAndPort(rest[..<slash])
    self.scheme = scheme
    host = authority.host
    port = authority.port ?? scheme.defaultPort
    path = String(rest[slash...])
    self.text = text
    guard port > 0 else { throw ValueFault("port 0", "write a port from 1 to 65535") }
    try Self.check(path: path)
  }

  private static func check(path: String) throws(ValueFault) {
    let segments = path.split(separator: "/", omittingEmptySubsequences: false).dropFirst()
    for (index, segment) in segments.enumerated() {
      guard !(segment.isEmpty && index < segments.count - 1), segment != ".", segment != ".." else {
        throw ValueFault("the path \(quoted(path)) holds an empty segment, '.' or '..'", "write /a/b")
      }
    }
    guard isPercentEncoded(path) else {
      throw ValueFault("the path \(quoted(path)) holds a '%' without two hexadecimal digits", "write %25 for a '%'")
    }
  }

}

/// Has every `%` two hexadecimal digits after it?
package func isPercentEncoded(_ text: String) -> Bool {
  let bytes = Array(text.utf8)
  return bytes.indices.allSatisfy { index in
    bytes[index] != UInt8(ascii: "%")
      || (index + 2 < bytes.count && bytes[(index + 1)...(index + 2)].allSatisfy { Character(Unicode.Scalar($0)).isHexDigit })
  }
}

/// `host[:port]`: a name of letters, digits, `-` and `.`, or an address (IPv6 in brackets).
package struct HostAndPort: Sendable, Hashable {
  /// Lower case; an IPv6 address canonical and without brackets.
  package let host: String
  package let port: Int?

  package init(_ text: some StringProtocol) throws(ValueFault) {
    var name = String(text)
    var portText: String?
    if name.hasPrefix("["), let close = name.firstIndex(of: "]") {
      let after = name[name.index(after: close)...]
      guard after.isEmpty || after.hasPrefix(":") else { throw Self.unreadable(name) }
      portText = after.isEmpty ? nil : String(after.dropFirst())
      name = String(name[name.index(after: name.startIndex)..<close])
      guard let address = AddressLiteral(name), address.isV6 else {
        throw ValueFault("\(quoted(name)) is no IPv6 address", "write [::1] or a name")
      }
      host = address.text
    } else {
      let parts = name.split(separator: ":", maxSplits: 1, omittingEmptySubsequences: false)
      portText = parts.count == 2 ? String(parts[1]) : nil
      host = try Self.checkedName(String(parts.first ?? ""))
    }
    guard let portText else {
      port = nil
      return
    }
    guard let number = wholeNumber(portText), number <= 65535 else {
      throw ValueFault("\(quoted(portText)) is no port", "write a number from 1 to 65535 after the ':'")
    }
    port = number
  }

  private static func unreadable(_ text: String) -> ValueFault { ValueFault("\(quoted(text)) is no host", "write a name or an address") }

  /// [RFC 1123 §2.1](https://www.rfc-editor.org/rfc/rfc1123#section-2.1). Browsers read a name whose last label is a number as an IPv4
  /// address.
  private static func checkedName(_ name: String) throws(ValueFault) -> String {
    guard !name.isEmpty else { throw ValueFault("the host is missing", "write a name or an address") }
    guard name.utf8.allSatisfy({ $0 < 0x80 }) else {
      throw ValueFault("the host \(quoted(name)) holds letters outside ASCII", "write its Punycode form (xn--…)")
    }
    let labels = name.lowercased().split(separator: ".", omittingEmptySubsequences: false)
    let fits = labels.allSatisfy { label in
      (1...63).contains(label.utf8.count) && !label.hasPrefix("-") && !label.hasSuffix("-")
        && label.utf8.allSatisfy {
          ("a"..."z").contains(Character(Unicode.Scalar($0))) || ("0"..."9").contains(Character(Unicode.Scalar($0)))
            || $0 == UInt8(ascii: "-")
        }
    }
    guard fits, name.utf8.count <= 253 else {
      throw ValueFault("\(quoted(name)) is no host name", "write letters, digits and '-' between dots, without a dot at the end")
    }
    if let last = labels.last, last.utf8.allSatisfy({ (UInt8(ascii: "0")...UInt8(ascii: "9")).contains($0) }), AddressLiteral(name) == nil {
      throw ValueFault("\(quoted(name)) is no IPv4 address", "write four numbers from 0 to 255 without leading zeros, or a name")
    }
    return name.lowercased()
  }
}

/// An origin exactly as browsers send it: `https://host[:port]`, lower case, no default port, no path.
///
/// Origins are compared byte for byte, so another spelling would never match; it is refused with the right one in the message.
package struct WebOrigin: Sendable, Hashable, CustomStringConvertible {
  package let url: WebURL
  package var text: String { url.text }
  package var description: String { text }

  package init(_ text: String) throws(ValueFault) {
    guard !text.contains("*") else { throw ValueFault("\(quoted(text)) holds a '*'", "list every origin by its full name") }
    guard !text.utf8.elementsEqual("null".utf8) else { throw ValueFault("the origin 'null' belongs to everybody", "write https://host") }
    let url = try WebURL(text)
    guard url.origin.utf8.elementsEqual(text.utf8) else {
      throw ValueFault("\(quoted(text)) is not how browsers write an origin", "write \(url.origin)")
    }
    self.url = url
  }
}

/// Where a listener binds: an address literal and a port.
package struct ListenAddress: Sendable, Hashable, CustomStringConvertible {
  package let address: AddressLiteral
  /// 0 lets the kernel choose.
  package let port: Int

  package var description: String { address.isV6 ? "[\(address.text)]:\(port)" : "\(address.text):\(port)" }

  /// Whether a connection to one could be a connection to the other. Listeners of IPv6 take no IPv4 (`IPV6_V6ONLY`).
  package func overlaps(_ other: ListenAddress) -> Bool {
    guard port == other.port, port != 0, address.isV6 == other.address.isV6 else { return false }
    return address == other.address || address.isAny || other.address.isAny
  }

  package init(address: AddressLiteral, port: Int) {
    self.address = address
    self.port = port
  }

  package init(_ text: String) throws(ValueFault) {
    if let port = wholeNumber(text.hasPrefix(":") || text.hasPrefix("*:") ? String(text.drop { $0 != ":" }.dropFirst()) : text) {
      throw ValueFault("\(quoted(text)) has no address", "write 127.0.0.1:\(port) for this machine alone, 0.0.0.0:\(port) for all")
    }
    let parts = try HostAndPort(text)
    guard let address = AddressLiteral(parts.host) else {
      throw ValueFault("\(quoted(parts.host)) is a name, not an address", "write 127.0.0.1 for this machine alone, 0.0.0.0 for all")
    }
    guard let port = parts.port else {
      throw ValueFault("\(quoted(text)) has no port", "write \(quoted(text).dropFirst().dropLast()):8008")
    }
    self.address = address
    self.port = port
  }
}

extension ValueShape where Value == WebURL {
  package static var url: ValueShape {
    scalar(type: "URL", range: "http, https", example: "https://host/path") { (text: String) throws(ValueFault) -> WebURL in
      try WebURL(text)
    }
  }
}

extension ValueShape where Value == WebOrigin {
  package static var origin: ValueShape {
    scalar(type: "origin", example: "https://host") { (text: String) throws(ValueFault) -> WebOrigin in try WebOrigin(text) }
  }
}

extension ValueShape where Value == ListenAddress {
  package static var listenAddress: ValueShape {
    scalar(type: "address:port", example: "127.0.0.1:8008") { (text: String) throws(ValueFault) -> ListenAddress in try ListenAddress(text)
    }
  }
}
