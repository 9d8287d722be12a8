import HTTP1
import HTTPMessage

/// Writes a request's head for its upstream from slices of the client's (RFC 9110 §7.6): first everything goes that is the connection's,
/// ours or forged, then what Intercom says is added, so nothing that the client names can remove or shadow it (S3–S6, fault 50).
package enum RequestHeadWriter {
  /// Never passed on, whoever the upstream is. Cookie, Destination and `chunked` are written anew.
  private static let dropped: FieldIDSet = FieldIDSet.hopByHop.union(.forwarding).union([
    .host, .cookie, .setCookie, .csrfToken, .destination,
  ])
  /// A name with odd characters is dropped when some reader could take it for one of these.
  private static let shadowed: FieldIDSet = dropped.union([.contentLength, .authorization, .expect, .via, .trailer, .origin])

  /// Appends the head to `out`; nil when it was written, else what `out` holds is to be thrown away. `peer` is the client's address as
  /// text, without its port.
  ///
  /// Framing is kept: a stated length stays, chunked stays chunked. An HTTP/1.0 request becomes HTTP/1.1.
  package static func write(
    _ head: borrowing RequestHead, _ bytes: borrowing Span<UInt8>, plan: borrowing ForwardPlan, peer: [UInt8], into out: inout HeadBuffer
  ) -> ForwardRefusal? {
    let route = plan.route
    out.append(bytes, head.request.methodRange)
    out.append(UInt8(ascii: " "))
    if let refusal = writeTarget(head.request, bytes, route, &out) { return refusal }
    out.append(route.hostLine)
    copyFields(head, bytes, plan, &out)
    switch MaxForwards.read(head, bytes) {
    case nil: break
    case .left(let hops):
      out.append(Text.maxForwards)
      out.append(decimal: hops &- 1)
      out.append(Text.lineEnd)
    case .some(.none), .malformed: return .badMaxForwards
    }
    if case .chunked = head.request.framing { out.append(Text.chunked) }
    if wantsTrailers(head, bytes) { out.append(Text.trailers) }
    if head.request.cookieCount > 0, head.fields.first(.cookie)?.isNamedByConnection == false {
      CookieRewrite.write(head.request, bytes, route, &out)
    }
    if head.request.hasDestination {
      switch Destination.map(head.request, bytes, route) {
      case .success(let mapped):
        out.append(Text.destination)
        out.append(mapped)
        out.append(Text.lineEnd)
      case .failure(let refusal): return refusal
      }
    }
    out.append(head.request.isHTTP10 ? route.fixedLinesHTTP10 : route.fixedLines)
    writeForwarded(head.request.authority, bytes, route, peer, &out)
    out.append(plan.request.piece)
    out.append(Text.lineEnd)
    return nil
  }

  /// The upstream's base path, what follows the route's path (or the whole path), the query. Bytes that were sent stay as they are.
  private static func writeTarget(
    _ request: borrowing CanonicalRequest, _ bytes: borrowing Span<UInt8>, _ route: ForwardRoute, _ out: inout HeadBuffer
  ) -> ForwardRefusal? {
    guard case .matched(let rest) = route.path.match(request, in: bytes) else { return .pathOutsideRoute }
    guard !request.pathHasEncodedSlash || route.passesEncodedSlashes else { return .encodedSlash }
    let kept = route.stripsPrefix ? rest : request.path
    if route.upstream.basePath.isEmpty {
      if kept.count > 1, bytes[kept.lower &+ 1] == UInt8(ascii: "/") { return .ambiguousPath }
      if kept.isEmpty { out.append(UInt8(ascii: "/")) }
    } else {
      out.append(route.upstream.basePath)
    }
    if request.hasQuery, request.query.lower == kept.upper &+ 1 {
      // The query stands behind the path and its `?`.
      out.append(bytes, kept.lower, request.query.upper)
      return nil
    }
    out.append(bytes, kept)
    if request.hasQuery {
      out.append(UInt8(ascii: "?"))
      out.append(bytes, request.query)
    }
    return nil
  }

  /// Copies the lines that stay; neighbours go in one piece.
  private static func copyFields(
    _ head: borrowing RequestHead, _ bytes: borrowing Span<UInt8>, _ plan: borrowing ForwardPlan, _ out: inout HeadBuffer
  ) {
    var drops = dropped
    if plan.request.dropsAuthorization { drops.insert(.authorization) }
    if !head.request.expectsContinue { drops.insert(.expect) }
    if head.request.method == .options { drops.insert(.maxForwards) }
    let guarded = plan.route.guarded
    var from = 0
    var to = 0
    for index in 0..<head.fields.count {
      let field = head.fields[index]
      // By `case`: `==` of another module's enumeration is a call through a witness.
      switch field.id {
      case .other:
        if field.isNamedByConnection || guarded.contains(bytes, field.name) { continue }
        if field.isUnusual, isTwin(bytes, field, guarded) { continue }
      // The framing, which nobody may take away.
      case .contentLength: break
      default: if field.isNamedByConnection || drops.contains(field.id) { continue }
      }
      if Int(field.start) != to {
        out.append(bytes, from, to)
        from = Int(field.start)
      }
      to = Int(field.end)
    }
    out.append(bytes, from, to)
  }

  private static func isTwin(_ bytes: borrowing Span<UInt8>, _ field: HeadField, _ guarded: FieldNameSet) -> Bool {
    let name = field.name
    if guarded.containsTwin(bytes, name) { return true }
    return shadowed.contains(FieldTwin.shadowed(bytes, name))
  }

  /// `X-Forwarded-For`, `X-Forwarded-Host` and `Forwarded` ([RFC 7239](https://www.rfc-editor.org/rfc/rfc7239)). What the client sent under
  /// these names is gone: no hop in front of us is trusted.
  private static func writeForwarded(
    _ authority: ByteRange, _ bytes: borrowing Span<UInt8>, _ route: ForwardRoute, _ peer: [UInt8], _ out: inout HeadBuffer
  ) {
    out.append(peer)
    out.append(Text.forwardedHost)
    out.append(bytes, authority)
    let isIPv6 = peer.contains(UInt8(ascii: ":"))
    out.append(isIPv6 ? Text.forwardedOpen6 : Text.forwardedOpen)
    out.append(peer)
    out.append(isIPv6 ? Text.forwardedMiddle6 : Text.forwardedMiddle)
    out.append(bytes, authority)
    out.append(route.forwardedEnd)
  }

  /// The client takes trailers (RFC 9110 §10.1.4), and they are passed to it: so the upstream may send them. Without its `Connection` option
  /// the field comes from somebody in between who did not know it.
  private static func wantsTrailers(_ head: borrowing RequestHead, _ bytes: borrowing Span<UInt8>) -> Bool {
    guard !head.request.isHTTP10, head.fields.present.contains(.te) else { return false }
    for index in 0..<head.fields.count where head.fields[index].id == .te && head.fields[index].isNamedByConnection {
      let codings = String(decoding: head.fields[index].value.bytes(in: bytes), as: UTF8.self).split(separator: ",")
      if codings.contains(where: { $0.split(whereSeparator: { " \t".contains($0) }).map { $0.lowercased() } == ["trailers"] }) {
        return true
      }
    }
    return false
  }

  private enum Text {
    static let trailers: HeadPiece = "TE: trailers\r\nConnection: TE\r\n"
    static let lineEnd: HeadPiece = "\r\n"
    static let maxForwards: HeadPiece = "Max-Forwards: "
    static let chunked: HeadPiece = "Transfer-Encoding: chunked\r\n"
    static let destination: HeadPiece = "Destination: "
    static let forwardedHost: HeadPiece = "\r\nX-Forwarded-Host: "
    static let forwardedOpen: HeadPiece = "\r\nForwarded: for=\""
    static let forwardedOpen6: HeadPiece = "\r\nForwarded: for=\"["
    static let forwardedMiddle: HeadPiece = "\";host=\""
    static let forwardedMiddle6: HeadPiece = "]\";host=\""
  }
}
