/// How a request's path relates to a route's.
package enum RouteMatch: Sendable, Hashable {
  case none
  /// The route's path is the beginning of the request's, byte for byte and in whole segments; `rest` is what follows: empty, or from `/`
  /// on.
  case matched(rest: ByteRange)
  /// Only after its escapes are decoded would the path match: refuse it with 400, whatever other routes say. Some server behind could
  /// read it as this route.
  case disguised
}

/// The path of a route: a prefix of whole segments, written without escapes.
package struct RoutePath: Sendable, Hashable, CustomStringConvertible {
  /// Without a trailing slash: `/fs`; empty for `/`.
  package let bytes: [UInt8]

  /// nil unless it begins with `/` and is made of plain segments: no escapes, dot or empty segments, no `;`, no query.
  package init?(_ text: String) {
    var bytes = Array(text.utf8)
    let scan = PathSyntax.scan(bytes.span, 0, bytes.count)
    guard scan.fault == nil, scan.end == bytes.count, !scan.hasEscapes, !bytes.contains(UInt8(ascii: ";")) else { return nil }
    if bytes.last == UInt8(ascii: "/") { bytes.removeLast() }
    guard bytes.isEmpty || !bytes.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: false).dropFirst().contains([]) else {
      return nil
    }
    self.bytes = bytes
  }

  package var description: String { bytes.isEmpty ? "/" : String(decoding: bytes, as: UTF8.self) }

  /// Segments are compared whole: `/fs` matches `/fs` and `/fs/a`, never `/fsx` or `/fs;a`.
  package func match(_ request: CanonicalRequest, in head: borrowing Span<UInt8>) -> RouteMatch {
    match(request.path, hasEscapes: request.pathHasEscapes, in: head)
  }

  package func match(_ path: ByteRange, hasEscapes: Bool, in head: borrowing Span<UInt8>) -> RouteMatch {
    guard path.upper <= head.count, !path.isEmpty, head[path.lower] == UInt8(ascii: "/") else { return .none }
    if matchesRaw(path, head) { return .matched(rest: ByteRange(path.lower &+ bytes.count, path.upper)) }
    return hasEscapes && matchesDecoded(path, head) ? .disguised : .none
  }

  @inline(__always) private func matchesRaw(_ path: ByteRange, _ head: borrowing Span<UInt8>) -> Bool {
    guard path.count >= bytes.count else { return false }
    for offset in 0..<bytes.count where head[path.lower &+ offset] != bytes[offset] { return false }
    let end = path.lower &+ bytes.count
    return end == path.upper || head[end] == UInt8(ascii: "/")
  }

  /// The same with every escape decoded once, `%2F` and `;` ending a segment.
  private func matchesDecoded(_ path: ByteRange, _ head: borrowing Span<UInt8>) -> Bool {
    var at = path.lower
    var offset = 0
    while at < path.upper {
      var byte = head[at]
      at &+= 1
      if byte == UInt8(ascii: "%"), at &+ 1 < path.upper, let decoded = PercentCoding.byte(head[at], head[at &+ 1]) {
        byte = decoded
        at &+= 2
      }
      if offset == bytes.count { return byte == UInt8(ascii: "/") || byte == UInt8(ascii: ";") }
      guard byte == bytes[offset] else { return false }
      offset &+= 1
    }
    return offset == bytes.count
  }
}
