import HTTPMessage

/// The request target (RFC 9112 §3.2). Its path is read by `PathSyntax`: what two readers could take for two paths is refused here, before
/// any route is looked at (S1).
enum RequestTarget {
  static func read(_ bytes: borrowing Span<UInt8>, _ start: Int, _ end: Int, _ request: inout CanonicalRequest) -> HeadRefusal? {
    if request.method == .connect { return authorityForm(bytes, start, end, &request) }
    switch bytes[start] {
    case ASCII.slash: return path(bytes, start, end, &request)
    case UInt8(ascii: "*"):
      guard end == start &+ 1, request.method == .options else { return .badTarget }
      request.targetForm = .asterisk
      request.path = ByteRange(start, end)
      return nil
    default: return absoluteForm(bytes, start, end, &request)
    }
  }

  private static func authorityForm(
    _ bytes: borrowing Span<UInt8>, _ start: Int, _ end: Int, _ request: inout CanonicalRequest
  ) -> HeadRefusal? {
    let range = ByteRange(start, end)
    guard let hostEnd = AuthoritySyntax.hostEnd(bytes, range), hostEnd < end else { return .badTarget }
    request.targetForm = .authority
    request.authority = range
    request.host = ByteRange(start, hostEnd)
    return nil
  }

  private static func absoluteForm(
    _ bytes: borrowing Span<UInt8>, _ start: Int, _ end: Int, _ request: inout CanonicalRequest
  ) -> HeadRefusal? {
    let colon = find(ASCII.colon, bytes, start, end)
    let scheme = ByteRange(start, colon)
    guard equalsFolded(bytes, scheme, "http") || equalsFolded(bytes, scheme, "https"), colon &+ 3 < end,
      bytes[colon &+ 1] == ASCII.slash, bytes[colon &+ 2] == ASCII.slash
    else { return .badAbsoluteTarget }
    let authorityStart = colon &+ 3
    var at = authorityStart
    while at < end, bytes[at] != ASCII.slash, bytes[at] != ASCII.question { at &+= 1 }
    let authority = ByteRange(authorityStart, at)
    guard let hostEnd = AuthoritySyntax.hostEnd(bytes, authority) else { return .badAbsoluteTarget }
    request.targetForm = .absolute
    request.authority = authority
    request.host = ByteRange(authorityStart, hostEnd)
    if at < end, bytes[at] == ASCII.slash { return path(bytes, at, end, &request) }
    // `http://host` and `http://host?q` mean the path `/` (RFC 9110 §4.2.3): the scheme's second slash lends its byte.
    request.path = ByteRange(colon &+ 2, colon &+ 3)
    return at < end ? query(bytes, at, end, &request) : nil
  }

  private static func path(_ bytes: borrowing Span<UInt8>, _ start: Int, _ end: Int, _ request: inout CanonicalRequest) -> HeadRefusal? {
    let scan = PathSyntax.scan(bytes, start, end)
    if let fault = scan.fault { return refusal(fault) }
    request.path = ByteRange(start, scan.end)
    request.pathHasEscapes = scan.hasEscapes
    request.pathHasEncodedSlash = scan.hasEncodedSlash
    return scan.end < end ? query(bytes, scan.end, end, &request) : nil
  }

  /// `mark` is where the `?` stands.
  private static func query(_ bytes: borrowing Span<UInt8>, _ mark: Int, _ end: Int, _ request: inout CanonicalRequest) -> HeadRefusal? {
    if let fault = PathSyntax.queryFault(bytes, mark &+ 1, end) { return refusal(fault) }
    request.hasQuery = true
    request.query = ByteRange(mark &+ 1, end)
    return nil
  }

  private static func refusal(_ fault: PathFault) -> HeadRefusal {
    switch fault {
    case .badByte: .badTarget
    case .badEscape: .badEscape
    case .nul: .nulInPath
    case .backslash: .backslash
    case .dotSegment: .dotSegment
    case .fragment: .fragment
    }
  }
}
