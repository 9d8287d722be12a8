import HTTP1
import HTTPMessage

/// How the body of an answer goes to the client.
package enum ClientFraming: Sendable, Hashable {
  case none
  case length(Int)
  /// The upstream's chunks pass untouched.
  case chunked
  /// The upstream's chunks are decoded, because an HTTP/1.0 client cannot; the end is the connection's.
  case decodedUntilClose
  /// As it comes, up to the end of both connections.
  case untilClose

  var endsWithConnection: Bool {
    switch self {
    case .untilClose, .decodedUntilClose: true
    case .none, .length, .chunked: false
    }
  }
}

/// Writes an answer's head for the client from slices of the upstream's: the connection's fields and the upstream's CORS fields go, cookies
/// are isolated, a Location on the upstream leads back to the route, ours are added.
package enum ResponseHeadWriter {
  /// `Clear-Site-Data` would end our session and those of other backends, `Alt-Svc` would move the whole host.
  private static let dropped: FieldIDSet = FieldIDSet.hopByHop.union([
    .setCookie, .accessControlOther, .accessControlRequestMethod, .accessControlRequestHeaders, .location, .clearSiteData, .altSvc,
  ])

  /// Appends the head to `out`. `isOldClient`: the client speaks HTTP/1.0. `keepAlive`: its connection shall live on; it cannot where the body
  /// ends with it, which the returned framing says. `date`: a `Date` line with its CRLF for an answer that has none (RFC 9110 §6.6.1).
  package static func write(
    _ head: borrowing ResponseHead, _ bytes: borrowing Span<UInt8>, route: ForwardRoute, rewrite: ResponseRewrite, isOldClient: Bool,
    keepAlive: Bool, date: @autoclosure () -> [UInt8], into out: inout HeadBuffer
  ) -> ClientFraming {
    writeBeginning(head, bytes, &out)
    let rare: FieldIDSet = [.setCookie, .location]
    if head.fields.present.bits & rare.bits != 0 { writeRare(head, bytes, route, &out) }
    if !head.fields.present.contains(.date) { out.append(date()) }
    let framing = framing(head.framing, isOldClient)
    writeEnd(head, bytes, isPrivate: route.isPrivate, rewrite, framing, isOldClient, keepAlive, &out)
    return framing
  }

  /// What Intercom adds: after everything of the upstream's.
  private static func writeEnd(
    _ head: borrowing ResponseHead, _ bytes: borrowing Span<UInt8>, isPrivate: Bool, _ rewrite: ResponseRewrite, _ framing: ClientFraming,
    _ isOldClient: Bool, _ keepAlive: Bool, _ out: inout HeadBuffer
  ) {
    out.reserve(rewrite.piece.count &+ 192)
    var end = out.count
    var span = out.storage.mutableSpan
    var target = span.mutableBytes
    if isPrivate {
      switch caching(head, bytes) {
      case .silent: target.put(Text.privateAndAsked, at: &end)
      case .ofItself: target.put(Text.privateToo, at: &end)
      case .ofShared: break
      }
    }
    if case .chunked = framing { target.put(Text.chunked, at: &end) }
    if keepAlive, !isOldClient, !framing.endsWithConnection {
      target.put(rewrite.end, at: &end)
    } else {
      target.put(rewrite.piece, at: &end)
      target.put(keepAlive && !framing.endsWithConnection ? Text.keepAlive : Text.close, at: &end)
      target.put(Text.lineEnd, at: &end)
    }
    out.count = end
  }

  /// Appends an interim answer (100, 102, 103; RFC 9110 §15.2). Not for HTTP/1.0 clients, which do not know them.
  package static func writeInterim(
    _ head: borrowing ResponseHead, _ bytes: borrowing Span<UInt8>, into out: inout HeadBuffer
  ) {
    writeStatusLine(head, bytes, &out)
    for index in 0..<head.fields.count {
      let field = head.fields[index]
      if case .contentLength = field.id { continue }
      // Links are what 103 is for; cookies and the rest wait for the final answer.
      if !dropped.contains(field.id), !field.isNamedByConnection { out.append(bytes, field.line) }
    }
    out.append(Text.lineEnd)
  }

  /// The status line and the upstream's fields that stay.
  private static func writeBeginning(_ head: borrowing ResponseHead, _ bytes: borrowing Span<UInt8>, _ out: inout HeadBuffer) {
    // `HTTP/1.1 `, code, reason and line end stand before the first field, as they are wanted.
    let isWhole = !head.reason.isEmpty && bytes[7] == UInt8(ascii: "1")
    if !isWhole { writeStatusLine(head, bytes, &out) }
    // Each byte of the upstream's head is copied at most once.
    out.reserve(head.headLength)
    var end = out.count
    var span = out.storage.mutableSpan
    var target = span.mutableBytes
    putFields(head, bytes, to: isWhole ? head.reason.upper &+ 2 : 0, &target, &end)
    out.count = end
  }

  private static func writeStatusLine(_ head: borrowing ResponseHead, _ bytes: borrowing Span<UInt8>, _ out: inout HeadBuffer) {
    out.append(Text.version)
    if !head.reason.isEmpty {
      // Code, reason and line end stand behind `HTTP/1.x `.
      out.append(bytes, 9, head.reason.upper &+ 2)
      return
    }
    out.append(decimal: head.status)
    out.append(Text.emptyReason)
  }

  /// Copies what stands before `first`, and the lines that stay; neighbours go in one piece.
  private static func putFields(
    _ head: borrowing ResponseHead, _ bytes: borrowing Span<UInt8>, to first: Int, _ target: inout MutableRawSpan,
    _ end: inout Int
  ) {
    let drops = dropped
    // HEAD and 304 tell the length that a GET would have; 1xx and 204 must not (RFC 9110 §8.6).
    let keepsLength = head.status >= 200 && head.status != 204
    var from = 0
    var to = first
    for index in 0..<head.fields.count {
      let field = head.fields[index]
      // By `case`: `==` of another module's enumeration is a call through a witness.
      switch field.id {
      case .contentLength: if !keepsLength { continue }
      case .other: if field.isNamedByConnection { continue }
      default: if field.isNamedByConnection || drops.contains(field.id) { continue }
      }
      if Int(field.start) != to {
        target.put(bytes, from, to, at: &end)
        from = Int(field.start)
      }
      to = Int(field.end)
    }
    target.put(bytes, from, to, at: &end)
  }

  private static func writeRare(
    _ head: borrowing ResponseHead, _ bytes: borrowing Span<UInt8>, _ route: ForwardRoute, _ out: inout HeadBuffer
  ) {
    for index in 0..<head.fields.count {
      let field = head.fields[index]
      if field.isNamedByConnection { continue }
      switch field.id {
      case .setCookie: CookieRewrite.writeSet(bytes, field, route, &out)
      case .location:
        guard let mapped = LocationRewrite.map(field.value.bytes(in: bytes), route) else {
          out.append(bytes, field.line)
          continue
        }
        out.append(Text.location)
        out.append(mapped)
        out.append(Text.lineEnd)
      default: continue
      }
    }
  }

  /// The upstream was asked with an Authorization, which alone keeps shared caches from its answer
  /// ([RFC 9111 §3.5](https://www.rfc-editor.org/rfc/rfc9111#section-3.5)); the client sent a cookie, which does not. And without a word
  /// of the upstream a browser shows an answer again for as long as it guesses
  /// ([§4.2.2](https://www.rfc-editor.org/rfc/rfc9111#section-4.2.2)), after a sign-out and to the next person too. What the upstream says
  /// of its own accord stands, except that it has not spoken of shared caches unless it names them.
  private static func caching(_ head: borrowing ResponseHead, _ bytes: borrowing Span<UInt8>) -> Caching {
    guard head.fields.present.contains(.cacheControl) else { return .silent }
    var speaks = Caching.silent
    for index in 0..<head.fields.count {
      let field = head.fields[index]
      guard case .cacheControl = field.id, !field.isNamedByConnection else { continue }
      if namesSharedCaches(bytes, field.value) { return .ofShared }
      speaks = .ofItself
    }
    return speaks
  }

  /// What an upstream says of caches: nothing, something, or something of shared ones.
  private enum Caching { case silent, ofItself, ofShared }

  /// Does this value have one of the directives by which an upstream speaks of shared caches, or forbids all?
  private static func namesSharedCaches(_ bytes: borrowing Span<UInt8>, _ value: ByteRange) -> Bool {
    var at = value.lower
    while at < value.upper {
      while at < value.upper, bytes[at] == 0x20 || bytes[at] == 0x09 { at &+= 1 }
      let start = at
      while at < value.upper, bytes[at] != UInt8(ascii: ","), bytes[at] != UInt8(ascii: "="), bytes[at] != 0x20, bytes[at] != 0x09 {
        at &+= 1
      }
      if isSharedDirective(bytes, ByteRange(start, at)) { return true }
      while at < value.upper, bytes[at] != UInt8(ascii: ",") { at &+= 1 }
      at &+= 1
    }
    return false
  }

  private static func isSharedDirective(_ bytes: borrowing Span<UInt8>, _ name: ByteRange) -> Bool {
    switch name.count {
    case 6: isWord(bytes, name, "public")
    case 7: isWord(bytes, name, "private")
    case 8: isWord(bytes, name, "no-store") || isWord(bytes, name, "s-maxage")
    default: false
    }
  }

  /// Whether `name` is this lower-case word of the same length. Folding makes a hyphen of a carriage return too, which no value holds.
  @inline(__always) private static func isWord(_ bytes: borrowing Span<UInt8>, _ name: ByteRange, _ word: StaticString) -> Bool {
    var at = name.lower
    return word.withUTF8Buffer { letters in
      for letter in letters {
        if bytes[at] | 0x20 != letter { return false }
        at &+= 1
      }
      return true
    }
  }

  private static func framing(_ framing: ResponseFraming, _ isOldClient: Bool) -> ClientFraming {
    switch framing {
    case .none: .none
    case .length(let length): .length(length)
    case .chunked: isOldClient ? .decodedUntilClose : .chunked
    case .untilClose: .untilClose
    }
  }

  private enum Text {
    static let version: HeadPiece = "HTTP/1.1 "
    static let lineEnd: HeadPiece = "\r\n"
    static let emptyReason: HeadPiece = " \r\n"
    static let chunked: HeadPiece = "Transfer-Encoding: chunked\r\n"
    static let location: HeadPiece = "Location: "
    static let privateAndAsked: HeadPiece = "Cache-Control: private, no-cache\r\n"
    static let privateToo: HeadPiece = "Cache-Control: private\r\n"
    static let close: HeadPiece = "Connection: close\r\n"
    static let keepAlive: HeadPiece = "Connection: keep-alive\r\n"
  }
}
