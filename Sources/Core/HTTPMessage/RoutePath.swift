/// How a request's path relates to a route's.
package enum RouteMatch: Sendable, Hashable {
  case none
  /// The route's path is the beginning of the request's, byte for byte and in whole segments; `rest` is what follows: empty, or from `/`
  /// on.
  case matched(rest: ByteRange)
  /// Only a lenient reading would match: with escapes decoded, doubled slashes merged or `;` parameters dropped. Refuse it with 400,
  /// whatever other routes say: the server behind one of them could read it as this route, whose policy was not asked.
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

  /// Segments are compared whole: `/fs` matches `/fs` and `/fs/a`, never `/fsx`; `/fs;a` and `//fs` are disguises.
  package func match(_ request: CanonicalRequest, in head: borrowing Span<UInt8>) -> RouteMatch {
    match(request.path, in: head)
  }

  /// The same for a path that stands alone, such as that of a `Destination`.
  package func match(_ path: ByteRange, in head: borrowing Span<UInt8>) -> RouteMatch {
    guard path.upper <= head.count, !path.isEmpty, head[path.lower] == UInt8(ascii: "/") else { return .none }
    if matchesRaw(path, head) { return .matched(rest: ByteRange(path.lower &+ bytes.count, path.upper)) }
    return matchesLoosely(path, head) ? .disguised : .none
  }

  @inline(__always) private func matchesRaw(_ path: ByteRange, _ head: borrowing Span<UInt8>) -> Bool {
    guard path.count >= bytes.count else { return false }
    for offset in 0..<bytes.count where head[path.lower &+ offset] != bytes[offset] { return false }
    let end = path.lower &+ bytes.count
    return end == path.upper || head[end] == UInt8(ascii: "/")
  }

  /// The same as a lenient server reads it: escapes decoded once, slashes in a row one slash, parameters (`;x`) no part of their segment.
  private func matchesLoosely(_ path: ByteRange, _ head: borrowing Span<UInt8>) -> Bool {
    var at = path.lower
    var offset = 0
    var isBehindSlash = false
    var isInParameters = false
    while at < path.upper {
      var byte = head[at]
      at &+= 1
      if byte == UInt8(ascii: "%"), at &+ 1 < path.upper, let decoded = PercentCoding.byte(head[at], head[at &+ 1]) {
        byte = decoded
        at &+= 2
      }
      if byte == UInt8(ascii: "/") {
        isInParameters = false
        if isBehindSlash { continue }
        isBehindSlash = true
      } else {
        if byte == UInt8(ascii: ";") { isInParameters = true }
        if isInParameters { continue }
        isBehindSlash = false
      }
      if offset == bytes.count { return byte == UInt8(ascii: "/") }
      guard byte == bytes[offset] else { return false }
      offset &+= 1
    }
    return offset == bytes.count
  }
}
