import HTTPMessage

/// A head as a reader sees it that splits at CRLF and at the first colon, and knows nothing else. Whatever the parsers accept, this reader
/// must find the same lines in it.
struct NaiveHead {
  var firstLine: [UInt8]
  var fields: [(name: [UInt8], value: [UInt8])] = []

  /// nil for what no accepted head may be: a line end that is not CRLF, a control byte, a name that is no token.
  init?(_ head: some Collection<UInt8>) {
    var lines: [[UInt8]] = []
    var line: [UInt8] = []
    var sawCR = false
    for byte in head {
      if sawCR {
        guard byte == 0x0a else { return nil }
        lines.append(line)
        line = []
        sawCR = false
      } else if byte == 0x0d {
        sawCR = true
      } else {
        guard byte >= 0x20 && byte != 0x7f || byte == 0x09 else { return nil }
        line.append(byte)
      }
    }
    guard !sawCR, line.isEmpty, lines.count >= 2, lines.removeLast().isEmpty else { return nil }
    // One empty line before a request (RFC 9112 §2.2).
    if lines[0].isEmpty { lines.removeFirst() }
    guard let first = lines.first, !first.isEmpty else { return nil }
    firstLine = first
    for line in lines.dropFirst() {
      guard let colon = line.firstIndex(of: UInt8(ascii: ":")), colon > 0, line[..<colon].allSatisfy(isTokenByte) else { return nil }
      fields.append((Array(line[..<colon]), Self.trim(line[(colon + 1)...])))
    }
  }

  static func trim(_ bytes: some BidirectionalCollection<UInt8>) -> [UInt8] {
    let isBlank = { (byte: UInt8) in byte == 0x20 || byte == 0x09 }
    return Array(bytes.drop(while: isBlank).reversed().drop(while: isBlank).reversed())
  }

  static func lowercased(_ bytes: some Sequence<UInt8>) -> [UInt8] { bytes.map { $0 &- 65 < 26 ? $0 | 0x20 : $0 } }

  /// The values of a name given in lower case.
  func values(_ name: String) -> [[UInt8]] { fields.filter { Self.lowercased($0.name) == Array(name.utf8) }.map(\.value) }

  /// The elements of a list field, lower case, empty ones left out (RFC 9110 §5.6.1).
  func list(_ name: String) -> [[UInt8]] {
    values(name).flatMap { $0.split(separator: UInt8(ascii: ",")).map { Self.lowercased(Self.trim($0)) } }.filter { !$0.isEmpty }
  }

  /// RFC 9112 §9.3
  func keepsAlive(isHTTP10: Bool) -> Bool {
    let options = list("connection")
    if options.contains(Array("close".utf8)) { return false }
    return !isHTTP10 || options.contains(Array("keep-alive".utf8))
  }

  /// The head written in the one plain way: a space behind each colon, nothing else.
  var canonical: [UInt8] {
    var out = firstLine + [0x0d, 0x0a]
    for (name, value) in fields { out += name + Array(": ".utf8) + value + [0x0d, 0x0a] }
    return out + [0x0d, 0x0a]
  }
}
