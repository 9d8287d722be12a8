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
}

/// Writes an answer's head for the client from slices of the upstream's: the connection's fields and the upstream's CORS fields go, cookies
/// are isolated, a Location on the upstream leads back to the route, ours are added.
package enum ResponseHeadWriter {
  /// `Clear-Site-Data` would end our session and those of other backends, `Alt-Svc` would move the whole host.
  private static let dropped: FieldIDSet = FieldIDSet.hopByHop.union([
    .setCookie, .accessControlOther, .accessControlRequestMethod, .accessControlRequestHeaders, .location, .clearSiteData, .altSvc,
  ])

  /// Appends the head to `out`. `keepAlive`: the client's connection shall live on; it cannot where the body ends with it, which the
  /// returned framing says. `date`: a `Date` line with its CRLF for an answer that has none (RFC 9110 §6.6.1).
  package static func write(
    _ head: ResponseHead, _ bytes: borrowing Span<UInt8>, plan: borrowing ForwardPlan, client: CanonicalRequest, keepAlive: Bool,
    date: @autoclosure () -> [UInt8], into out: inout HeadBuffer
  ) -> ClientFraming {
    writeStatusLine(head, bytes, &out)
    copyFields(head, bytes, plan.route, &out)
    if !head.fields.present.contains(.date) { out.append(date()) }
    if plan.route.isPrivate { writeCaching(head, bytes, &out) }
    let framing = writeFraming(head, client, &out)
    out.append(plan.response.added.piece)
    let endsWithConnection = framing == .untilClose || framing == .decodedUntilClose
    if !keepAlive || endsWithConnection {
      out.append(Text.close)
    } else if client.isHTTP10 {
      out.append(Text.keepAlive)
    }
    out.append(Text.lineEnd)
    return framing
  }

  /// Appends an interim answer (100, 102, 103; RFC 9110 §15.2). Not for HTTP/1.0 clients, which do not know them.
  package static func writeInterim(
    _ head: ResponseHead, _ bytes: borrowing Span<UInt8>, plan: borrowing ForwardPlan, into out: inout HeadBuffer
  ) {
    writeStatusLine(head, bytes, &out)
    for index in 0..<head.fields.count {
      let field = head.fields[index]
      // Links are what 103 is for; cookies and the rest wait for the final answer.
      if !dropped.contains(field.id), field.id != .contentLength, !field.isNamedByConnection { out.append(bytes, field.line) }
    }
    out.append(Text.lineEnd)
  }

  private static func writeStatusLine(_ head: ResponseHead, _ bytes: borrowing Span<UInt8>, _ out: inout HeadBuffer) {
    out.append(Text.version)
    if !head.reason.isEmpty {
      // Code, reason and line end stand behind `HTTP/1.x `.
      out.append(bytes, 9, head.reason.upper &+ 2)
      return
    }
    out.append(decimal: head.status)
    out.append(Text.emptyReason)
  }

  private static func copyFields(_ head: ResponseHead, _ bytes: borrowing Span<UInt8>, _ route: ForwardRoute, _ out: inout HeadBuffer) {
    let drops = dropped
    // HEAD and 304 tell the length that a GET would have; 1xx and 204 must not (RFC 9110 §8.6).
    let keepsLength = head.status >= 200 && head.status != 204
    var from = 0
    var to = 0
    for index in 0..<head.fields.count {
      let field = head.fields[index]
      if field.id == .contentLength {
        if !keepsLength { continue }
      } else if drops.contains(field.id) || field.isNamedByConnection {
        continue
      }
      if Int(field.start) != to {
        out.append(bytes, from, to)
        from = Int(field.start)
      }
      to = Int(field.end)
    }
    out.append(bytes, from, to)
    let rare: FieldIDSet = [.setCookie, .location]
    if head.fields.present.bits & rare.bits != 0 { writeRare(head, bytes, route, &out) }
  }

  private static func writeRare(_ head: ResponseHead, _ bytes: borrowing Span<UInt8>, _ route: ForwardRoute, _ out: inout HeadBuffer) {
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
  private static func writeCaching(_ head: ResponseHead, _ bytes: borrowing Span<UInt8>, _ out: inout HeadBuffer) {
    var speaks = false
    if head.fields.present.contains(.cacheControl) {
      for index in 0..<head.fields.count {
        let field = head.fields[index]
        guard field.id == .cacheControl, !field.isNamedByConnection else { continue }
        if namesSharedCaches(bytes, field.value) { return }
        speaks = true
      }
    }
    out.append(speaks ? Text.privateToo : Text.privateAndAsked)
  }

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
    candidates: for directive in sharedDirectives where directive.count == name.count {
      for offset in 0..<name.count where bytes[name.lower &+ offset] | 0x20 != directive[offset] { continue candidates }
      return true
    }
    return false
  }

  private static let sharedDirectives = ["private", "no-store", "public", "s-maxage"].map { Array($0.utf8) }

  private static func writeFraming(_ head: ResponseHead, _ client: CanonicalRequest, _ out: inout HeadBuffer) -> ClientFraming {
    switch head.framing {
    case .none: return .none
    case .length(let length): return .length(length)
    case .chunked:
      if client.isHTTP10 { return .decodedUntilClose }
      out.append(Text.chunked)
      return .chunked
    case .untilClose: return .untilClose
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
