/// A name in XML with its namespace resolved; compared byte by byte.
package struct XMLName: Hashable, Sendable {
  package var namespace: [UInt8]
  package var local: [UInt8]

  package init(namespace: [UInt8], local: [UInt8]) {
    self.namespace = namespace
    self.local = local
  }
  /// A name of the namespace `DAV:`.
  package static func dav(_ local: String) -> XMLName { XMLName(namespace: Array("DAV:".utf8), local: Array(local.utf8)) }
}

/// An element and the elements in it. Text is checked and dropped: no request of this store says anything in text.
package struct XMLElement: Sendable {
  package var name: XMLName
  package var children: [XMLElement] = []

  package func first(_ local: String) -> XMLElement? { children.first { $0.name == .dav(local) } }
}

/// The body is no document that this store reads: not well-formed, with a document type, or larger than the limits.
package struct XMLError: Error, Sendable {}

/// Reads the small XML bodies of WebDAV ([RFC 4918 §17](https://www.rfc-editor.org/rfc/rfc4918#section-17)).
///
/// A document type is refused, so there are no entities to expand; depth, elements and attributes are bounded.
package struct XMLReader {
  static let maximumDepth = 16
  static let maximumElements = 512
  static let maximumAttributes = 32

  private let bytes: [UInt8]
  private var position = 0
  private var elements = 0

  private init(_ bytes: [UInt8]) { self.bytes = bytes }

  /// The root element.
  package static func read(_ bytes: [UInt8]) throws(XMLError) -> XMLElement {
    guard String(validating: bytes, as: UTF8.self) != nil else { throw XMLError() }
    var reader = XMLReader(bytes)
    // A byte order mark may stand before the declaration.
    if bytes.starts(with: [0xef, 0xbb, 0xbf]) { reader.position = 3 }
    return try reader.document()
  }

  private mutating func document() throws(XMLError) -> XMLElement {
    try skipMiscellany()
    guard peek() == UInt8(ascii: "<") else { throw XMLError() }
    let root = try element(
      scope: [Array("xml".utf8): Array("http://www.w3.org/XML/1998/namespace".utf8)], depth: 0)
    try skipMiscellany()
    guard position == bytes.count else { throw XMLError() }
    return root
  }

  /// Prefix to namespace, as bytes; the default namespace has the empty prefix.
  private typealias Scope = [[UInt8]: [UInt8]]

  private mutating func element(scope outer: Scope, depth: Int) throws(XMLError) -> XMLElement {
    elements += 1
    guard depth < Self.maximumDepth, elements <= Self.maximumElements else { throw XMLError() }
    try expect("<")
    let tag = try name()
    var scope = outer
    var seen: Set<[UInt8]> = []
    var prefixes: [[UInt8]] = []
    while true {
      let hadSpace = skipSpace()
      if take("/>") { return XMLElement(name: try resolve(tag, in: try checked(scope, prefixes))) }
      if take(">") { break }
      guard hadSpace, seen.count < Self.maximumAttributes else { throw XMLError() }
      let attribute = try name()
      guard seen.insert(attribute).inserted else { throw XMLError() }
      skipSpace()
      try expect("=")
      skipSpace()
      let value = try attributeValue()
      try declare(attribute, value, in: &scope, prefixes: &prefixes)
    }
    scope = try checked(scope, prefixes)
    var found = XMLElement(name: try resolve(tag, in: scope))
    try content(of: &found, tag: tag, scope: scope, depth: depth)
    return found
  }

  private mutating func content(of element: inout XMLElement, tag: [UInt8], scope: Scope, depth: Int) throws(XMLError) {
    while let byte = peek() {
      if take("</") {
        guard try name() == tag else { throw XMLError() }
        skipSpace()
        return try expect(">")
      }
      if take("<!--") {
        try skipComment()
      } else if take("<?") {
        try skip(past: "?>")
      } else if take("<![CDATA[") {
        try skip(past: "]]>")
      } else if byte == UInt8(ascii: "<") {
        element.children.append(try self.element(scope: scope, depth: depth + 1))
      } else if byte == UInt8(ascii: "&") {
        _ = try reference()
      } else {
        guard isCharacter(byte) else { throw XMLError() }
        position += 1
      }
    }
    throw XMLError()
  }

  // MARK: - Namespaces

  private func declare(
    _ attribute: [UInt8], _ value: [UInt8], in scope: inout Scope, prefixes: inout [[UInt8]]
  ) throws(XMLError) {
    if attribute == Array("xmlns".utf8) {
      scope[[]] = value
    } else if attribute.starts(with: "xmlns:".utf8) {
      // An empty namespace cannot be given a prefix (Namespaces in XML 1.0 §2.2), and no prefix may be re-used for `xml`.
      let prefix = Array(attribute.dropFirst(6))
      guard !value.isEmpty, !prefix.isEmpty, prefix != Array("xml".utf8), prefix != Array("xmlns".utf8) else { throw XMLError() }
      scope[prefix] = value
    } else if let colon = attribute.firstIndex(of: UInt8(ascii: ":")) {
      prefixes.append(Array(attribute[..<colon]))
    }
  }

  /// Attributes' prefixes can only be looked up when the whole tag was read.
  private func checked(_ scope: Scope, _ prefixes: [[UInt8]]) throws(XMLError) -> Scope {
    guard prefixes.allSatisfy({ scope[$0] != nil }) else { throw XMLError() }
    return scope
  }

  private func resolve(_ tag: [UInt8], in scope: Scope) throws(XMLError) -> XMLName {
    let parts = tag.split(separator: UInt8(ascii: ":"), omittingEmptySubsequences: false)
    guard parts.count <= 2, let local = parts.last, parts.allSatisfy({ $0.first.map { isNameByte($0, first: true) } ?? false }) else {
      throw XMLError()
    }
    guard parts.count == 2 else { return XMLName(namespace: scope[[]] ?? [], local: Array(local)) }
    guard let namespace = scope[Array(parts[0])] else { throw XMLError() }
    return XMLName(namespace: namespace, local: Array(local))
  }

  // MARK: - Tokens

  private func peek() -> UInt8? { position < bytes.count ? bytes[position] : nil }

  private mutating func take(_ text: StaticString) -> Bool {
    let wanted = text.withUTF8Buffer { Array($0) }
    guard bytes[position...].starts(with: wanted) else { return false }
    position += wanted.count
    return true
  }

  private mutating func expect(_ text: StaticString) throws(XMLError) {
    guard take(text) else { throw XMLError() }
  }

  @discardableResult
  private mutating func skipSpace() -> Bool {
    let start = position
    while let byte = peek(), byte == 0x20 || byte == 0x09 || byte == 0x0a || byte == 0x0d { position += 1 }
    return position > start
  }

  private mutating func skipMiscellany() throws(XMLError) {
    while true {
      skipSpace()
      if take("<!--") { try skipComment() } else if take("<?") { try skip(past: "?>") } else { return }
    }
  }

  private mutating func skipComment() throws(XMLError) {
    try skip(past: "--")
    try expect(">")
  }

  private mutating func skip(past end: StaticString) throws(XMLError) {
    while position < bytes.count {
      if take(end) { return }
      guard isCharacter(bytes[position]) else { throw XMLError() }
      position += 1
    }
    throw XMLError()
  }

  private mutating func name() throws(XMLError) -> [UInt8] {
    let start = position
    while let byte = peek(), isNameByte(byte, first: position == start) { position += 1 }
    guard position > start, position - start <= 256 else { throw XMLError() }
    return Array(bytes[start..<position])
  }

  private mutating func attributeValue() throws(XMLError) -> [UInt8] {
    guard let quote = peek(), quote == UInt8(ascii: "\"") || quote == UInt8(ascii: "'") else { throw XMLError() }
    position += 1
    var value: [UInt8] = []
    while let byte = peek() {
      if byte == quote {
        position += 1
        return value
      }
      if byte == UInt8(ascii: "&") {
        value += try reference()
      } else {
        guard byte != UInt8(ascii: "<"), isCharacter(byte) else { throw XMLError() }
        value.append(byte)
        position += 1
      }
    }
    throw XMLError()
  }

  /// One of the five predefined entities or a character reference; there can be no others without a document type.
  private mutating func reference() throws(XMLError) -> [UInt8] {
    for (text, value) in [("&lt;", "<"), ("&gt;", ">"), ("&amp;", "&"), ("&apos;", "'"), ("&quot;", "\"")]
    where bytes[position...].starts(with: text.utf8) {
      position += text.utf8.count
      return Array(value.utf8)
    }
    guard take("&#") else { throw XMLError() }
    let radix = take("x") ? 16 : 10
    let start = position
    while let byte = peek(), byte != UInt8(ascii: ";"), position - start < 8 { position += 1 }
    let digits = String(decoding: bytes[start..<position], as: UTF8.self)
    try expect(";")
    guard !digits.hasPrefix("+"), !digits.hasPrefix("-"), let value = UInt32(digits, radix: radix), let scalar = Unicode.Scalar(value),
      value >= 0x20 || value == 9 || value == 10 || value == 13
    else { throw XMLError() }
    return Array(String(Character(scalar)).utf8)
  }

  private func isCharacter(_ byte: UInt8) -> Bool { byte >= 0x20 || byte == 0x09 || byte == 0x0a || byte == 0x0d }

  private func isNameByte(_ byte: UInt8, first: Bool) -> Bool {
    switch byte {
    case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "_"), UInt8(ascii: ":"), 0x80...0xff:
      true
    case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "."): !first
    default: false
    }
  }
}
