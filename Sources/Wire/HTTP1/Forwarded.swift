import HTTPMessage

/// Who stands at an end of a hop, as `Forwarded` names it ([RFC 7239 §6](https://www.rfc-editor.org/rfc/rfc7239#section-6)).
package struct ForwardedNode: Sendable, Hashable {
  package enum Name: Sendable, Hashable {
    case address(NetworkAddress)
    /// The proxy does not know.
    case unknown
    /// The proxy does not say: `_` and letters, digits, `.`, `_`, `-`.
    case obfuscated([UInt8])
  }
  package var name: Name
  /// As written: digits, or obfuscated; nil when not stated.
  package var port: [UInt8]?

  package init(_ name: Name, port: [UInt8]? = nil) {
    self.name = name
    self.port = port
  }

  package var address: NetworkAddress? { if case .address(let address) = name { address } else { nil } }
}

/// What one proxy says of the request as it got it (RFC 7239 §4). Parameters that are not known are passed over.
package struct ForwardedElement: Sendable, Hashable {
  /// `for`: who asked that proxy.
  package var client: ForwardedNode?
  /// `by`: where that proxy was asked.
  package var proxy: ForwardedNode?
  /// `host`: a valid authority, as written.
  package var host: [UInt8]?
  /// `proto`: a scheme, lower case.
  package var scheme: [UInt8]?

  package init(client: ForwardedNode? = nil, proxy: ForwardedNode? = nil, host: [UInt8]? = nil, scheme: [UInt8]? = nil) {
    self.client = client
    self.proxy = proxy
    self.host = host
    self.scheme = scheme
  }
}

/// Reads `Forwarded` and its older sisters. What does not match the grammar to the last byte makes the whole list worthless (nil): a client
/// that can confuse its proxy's list must not choose what is read from it (S3).
package enum Forwarded {
  /// No chain of proxies is longer.
  package static let mostElements = 32

  /// The elements of all `Forwarded` lines of a head, in order: the last one was written by whoever asks us. Empty list elements are passed
  /// over (RFC 9110 §5.6.1).
  package static func elements(_ lines: [[UInt8]]) -> [ForwardedElement]? {
    var elements: [ForwardedElement] = []
    for line in lines {
      var reader = ForwardedReader(line)
      while !reader.isAtEnd {
        guard let element = reader.element() else { return nil }
        if let element {
          guard elements.count < mostElements else { return nil }
          elements.append(element)
        }
      }
    }
    return elements
  }

  /// The same of `X-Forwarded-For`, whose elements are addresses, bare, with a port, or in brackets. Commas part them whatever they hold, so one
  /// that is none is somebody unknown and makes no other worthless. The last ones count: no more than `mostElements` are given.
  package static func elements(xForwardedFor lines: [[UInt8]]) -> [ForwardedElement] {
    var elements: [ForwardedElement] = []
    for line in lines.reversed() {
      var end = line.count
      while elements.count < mostElements {
        let start = line[..<end].lastIndex(of: ASCII.comma).map { $0 + 1 } ?? 0
        let item = Array(line[start..<end].drop(while: isBlank).reversed().drop(while: isBlank).reversed())
        if !item.isEmpty { elements.append(ForwardedElement(client: looseNode(item) ?? ForwardedNode(.unknown))) }
        guard start > 0 else { break }
        end = start - 1
      }
    }
    return elements.reversed()
  }

  /// As `node`, and an IPv6 address without brackets, which cannot have a port.
  private static func looseNode(_ text: [UInt8]) -> ForwardedNode? {
    if let address = NetworkAddress(text.span, ByteRange(0, text.count)) { return ForwardedNode(.address(address)) }
    return node(text)
  }

  /// `nodename [ ":" node-port ]` (RFC 7239 §6), quotes taken off.
  static func node(_ text: [UInt8]) -> ForwardedNode? {
    let isLiteral = text.first == UInt8(ascii: "[")
    guard let end = isLiteral ? text.firstIndex(of: UInt8(ascii: "]")).map({ $0 + 1 }) : text.firstIndex(of: ASCII.colon) ?? text.count
    else { return nil }
    let name: ForwardedNode.Name
    if isLiteral {
      let range = ByteRange(1, end - 1)
      guard AuthoritySyntax.isIPv6(text.span, range), let address = NetworkAddress(text.span, range) else { return nil }
      name = .address(address)
    } else if AuthoritySyntax.isIPv4(text.span, ByteRange(0, end)), let address = NetworkAddress(text.span, ByteRange(0, end)) {
      name = .address(address)
    } else if equalsFolded(text.span, ByteRange(0, end), "unknown") {
      name = .unknown
    } else if isObfuscated(text[..<end]) {
      name = .obfuscated(Array(text[..<end]))
    } else {
      return nil
    }
    guard end < text.count else { return ForwardedNode(name) }
    let port = text[(end + 1)...]
    guard text[end] == ASCII.colon, isObfuscated(port) || (1...5).contains(port.count) && port.allSatisfy({ $0 &- 48 < 10 }) else {
      return nil
    }
    return ForwardedNode(name, port: Array(port))
  }

  private static func isObfuscated(_ text: ArraySlice<UInt8>) -> Bool {
    text.count > 1 && text.first == UInt8(ascii: "_")
      && text.allSatisfy { ($0 | 0x20) &- 97 < 26 || $0 &- 48 < 10 || $0 == ASCII.dot || $0 == 45 || $0 == 95 }
  }

  /// RFC 3986 §3.1
  static func isScheme(_ text: [UInt8]) -> Bool {
    guard let first = text.first, (first | 0x20) &- 97 < 26 else { return false }
    return text.allSatisfy { ($0 | 0x20) &- 97 < 26 || $0 &- 48 < 10 || $0 == 43 || $0 == 45 || $0 == ASCII.dot }
  }

  static func lowercased(_ text: [UInt8]) -> [UInt8] { text.map { lowercase($0) } }
}

/// Walks one line of `Forwarded`: `1#( [ pair ] *( ";" [ pair ] ) )`, a pair being `token "=" ( token / quoted-string )` without white space.
private struct ForwardedReader {
  private let bytes: [UInt8]
  private var at = 0

  init(_ line: [UInt8]) { bytes = line }

  var isAtEnd: Bool { at >= bytes.count }
  private var byte: UInt8? { at < bytes.count ? bytes[at] : nil }

  /// The element that begins here, up to behind its comma; `.some(nil)` where the list has none, nil when it is malformed.
  mutating func element() -> ForwardedElement?? {
    skipBlanks()
    if takeComma() { return .some(nil) }
    if isAtEnd { return .some(nil) }
    var element = ForwardedElement()
    var seen: Set<[UInt8]> = []
    while true {
      if let byte, byte != ASCII.semicolon, byte != ASCII.comma, !isBlank(byte) {
        guard let (name, value) = pair(), seen.insert(name).inserted, take(name, value, &element) else { return nil }
      }
      if byte == ASCII.semicolon {
        at += 1
        continue
      }
      skipBlanks()
      return isAtEnd || takeComma() ? .some(element) : nil
    }
  }

  private mutating func skipBlanks() { while let byte, isBlank(byte) { at += 1 } }

  private mutating func takeComma() -> Bool {
    guard byte == ASCII.comma else { return false }
    at += 1
    return true
  }

  private mutating func token() -> [UInt8]? {
    let start = at
    while let byte, isToken(byte) { at += 1 }
    return at > start ? Array(bytes[start..<at]) : nil
  }

  /// The name in lower case, and the value without its quotes.
  private mutating func pair() -> (name: [UInt8], value: [UInt8])? {
    guard let name = token(), byte == ASCII.equals else { return nil }
    at += 1
    guard byte == UInt8(ascii: "\"") else { return token().map { (Forwarded.lowercased(name), $0) } }
    at += 1
    var value: [UInt8] = []
    while let byte, byte != UInt8(ascii: "\"") {
      at += 1
      var taken = byte
      if byte == UInt8(ascii: "\\") {
        guard let escaped = self.byte else { return nil }
        taken = escaped
        at += 1
      }
      guard taken >= 0x20 && taken != 0x7f || taken == ASCII.tab else { return nil }
      value.append(taken)
    }
    guard byte != nil else { return nil }
    at += 1
    return (Forwarded.lowercased(name), value)
  }

  /// false when the value is none of its parameter's.
  private func take(_ name: [UInt8], _ value: [UInt8], _ element: inout ForwardedElement) -> Bool {
    switch name {
    case Array("for".utf8):
      element.client = Forwarded.node(value)
      return element.client != nil
    case Array("by".utf8):
      element.proxy = Forwarded.node(value)
      return element.proxy != nil
    case Array("host".utf8):
      element.host = value
      return AuthoritySyntax.hostEnd(value.span, ByteRange(0, value.count)) != nil
    case Array("proto".utf8):
      element.scheme = Forwarded.lowercased(value)
      return Forwarded.isScheme(value)
    default: return true
    }
  }
}
