import HTTP1
import HTTPMessage

/// Paths with or without a query: every reader of the house takes the same ones, nothing in an accepted path can be normalised away, and no
/// spelling reaches a route whose policy was not asked (S1, fault 51).
enum PathProperty {
  static let routes = ["/", "/fs", "/wiki", "/fs/admin"].compactMap { RoutePath($0) }

  static func check(_ bytes: [UInt8]) throws(Broken) {
    let scan = PathSyntax.scan(bytes.span, 0, bytes.count)
    try hold((0...bytes.count).contains(scan.end), "ends at \(scan.end) of \(bytes.count)")
    var isTarget = scan.fault == nil
    if isTarget, scan.end < bytes.count {
      try hold(bytes[scan.end] == UInt8(ascii: "?"), "ends before a byte that is no ?")
      isTarget = PathSyntax.queryFault(bytes.span, scan.end + 1, bytes.count) == nil
    }
    try readersAgree(bytes, isTarget ? scan.end : nil)
    guard scan.fault == nil else { return }
    let path = Array(bytes[..<scan.end])
    try hold(path.first == UInt8(ascii: "/"), "does not begin with /")
    try hold(scan.hasEscapes == path.contains(UInt8(ascii: "%")), "escapes are overlooked")
    guard let decoded = PercentCoding.decode(path) else { throw Broken("accepted with a broken escape") }
    try hold(!decoded.contains(0) && !decoded.contains(UInt8(ascii: "\\")), "NUL or backslash")
    let slashes = { (bytes: [UInt8]) in bytes.count { $0 == UInt8(ascii: "/") } }
    try hold(scan.hasEncodedSlash == (slashes(decoded) > slashes(path)), "an encoded slash is overlooked, or none is there")
    try nothingToRemove(path)
    try routing(path)
  }

  /// The request parser (as origin and as absolute form) and `HTTPURL` take exactly what `PathSyntax` takes, and read the same out of it.
  /// `end` is where the path ends, nil when it is refused.
  private static func readersAgree(_ bytes: [UInt8], _ end: Int?) throws(Broken) {
    // White space and control bytes would cut the request line elsewhere; longer targets are refused for their length.
    guard bytes.first == UInt8(ascii: "/"), bytes.count < 4096 else { return }
    let url = HTTPURL(bytes: Array("http://h".utf8) + bytes)
    try hold((url != nil) == (end != nil), "as URL \(url != nil), as path \(end != nil)")
    if let url, let end {
      try hold(url.path == Array(bytes[..<end]), "the URL has another path")
      try hold(url.query == (end < bytes.count ? Array(bytes[(end + 1)...]) : nil), "the URL has another query")
    }
    guard bytes.allSatisfy({ $0 > 0x20 && $0 != 0x7f }) else { return }
    for start in ["GET ", "GET http://h"] {
      let head = Array(start.utf8) + bytes + Array(" HTTP/1.1\r\nHost: h\r\n\r\n".utf8)
      let parsed = ParsedRequest(head)
      try hold((parsed.result == .complete) == (end != nil), "as target \(parsed.result), as path \(end != nil)")
      guard let end else { continue }
      let request = parsed.head.request
      try hold(request.path.bytes(in: head.span) == Array(bytes[..<end]), "the target has another path")
      try hold(request.hasQuery == (end < bytes.count), "the query is overlooked")
      if request.hasQuery { try hold(request.query.bytes(in: head.span) == Array(bytes[(end + 1)...]), "the target has another query") }
    }
  }

  /// No reader finds a dot segment, so removing them (RFC 3986 §5.2.4) changes nothing; the normal form of §6.2.2 is accepted too, and its
  /// own normal form.
  private static func nothingToRemove(_ path: [UInt8]) throws(Broken) {
    for reader in PathReader.all {
      guard let read = reader.resource(path) else { throw Broken("a reader refuses an accepted path") }
      var pieces = path
      if reader.decodes > 0 { pieces = PercentCoding.decode(path) ?? [] }
      let segments = pieces.split(separator: UInt8(ascii: "/"), omittingEmptySubsequences: reader.mergesSlashes)
      try hold(read.count == segments.count - (reader.mergesSlashes ? 0 : 1), "a reader removes segments")
    }
    let normal = normalised(path)
    try hold(normalised(normal) == normal, "normalising is not idempotent")
    try hold(PathSyntax.scan(normal.span, 0, normal.count).fault == nil, "its normal form is refused")
  }

  /// RFC 3986 §6.2.2: unreserved characters decoded, hexadecimal digits in upper case.
  static func normalised(_ path: [UInt8]) -> [UInt8] {
    var out: [UInt8] = []
    var at = 0
    while at < path.count {
      if path[at] == UInt8(ascii: "%"), at + 2 < path.count, let byte = PercentCoding.byte(path[at + 1], path[at + 2]) {
        out += PercentCoding.encode([byte])
        at += 3
      } else {
        out.append(path[at])
        at += 1
      }
    }
    return out
  }

  private static func routing(_ path: [UInt8]) throws(Broken) {
    let normal = normalised(path)
    for route in routes {
      let segments = route.bytes.split(separator: UInt8(ascii: "/")).map(Array.init)
      let found = route.match(ByteRange(0, path.count), in: path.span)
      let foundNormal = route.match(ByteRange(0, normal.count), in: normal.span)
      switch found {
      case .matched(let rest):
        try hold(route.bytes + rest.bytes(in: path.span) == path, "policy saw another path than the upstream gets")
        for reader in PathReader.all {
          // Whatever the upstream's reading, it stays below the base path, and below the route without stripping.
          let behindBase = reader.resource(Array("/base".utf8) + rest.bytes(in: path.span))
          try hold(behindBase?.first == Array("base".utf8), "leaves the upstream's base path")
          try hold(reader.resource(path)?.starts(with: segments) == true, "leaves the route")
        }
        if case .matched = foundNormal { continue }
        throw Broken("\(route) matches, but not the normal form")
      case .disguised: try hold(foundNormal != .none, "\(route) is disguised, its normal form is not")
      case .none:
        try hold(foundNormal == .none, "\(route) matches the normal form only")
        for reader in PathReader.all {
          try hold(reader.resource(path)?.starts(with: segments) == false, "some reader takes it for \(route)")
        }
      }
    }
  }
}
