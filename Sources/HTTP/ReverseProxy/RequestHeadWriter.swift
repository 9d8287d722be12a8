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

  /// Appends the head to `out`; nil when it was written, else what `out` holds is to be thrown away. `peer`: `peerLines` of the client.
  ///
  /// Framing is kept: a stated length stays, chunked stays chunked. An HTTP/1.0 request becomes HTTP/1.1.
  package static func write(
    _ head: borrowing RequestHead, _ bytes: borrowing Span<UInt8>, plan: borrowing ForwardPlan, peer: [UInt8], into out: inout HeadBuffer
  ) -> ForwardRefusal? {
    if let refusal = writeBeginning(head, bytes, plan, &out) { return refusal }
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
    if head.request.cookieCount > 0, !head.fields.hasNamedByConnection || head.fields.first(.cookie)?.isNamedByConnection == false {
      CookieRewrite.write(head.request, bytes, plan.route, &out)
    }
    if head.request.hasDestination {
      switch Destination.map(head.request, bytes, plan.route) {
      case .success(let mapped):
        out.append(Text.destination)
        out.append(mapped)
        out.append(Text.lineEnd)
      case .failure(let refusal): return refusal
      }
    }
    writeEnd(head.request, bytes, plan, peer, &out)
    return nil
  }

  /// The request line, `Host` and the client's fields that stay.
  private static func writeBeginning(
    _ head: borrowing RequestHead, _ bytes: borrowing Span<UInt8>, _ plan: borrowing ForwardPlan, _ out: inout HeadBuffer
  ) -> ForwardRefusal? {
    let route = plan.route
    // Each byte of the client's head is copied at most once.
    out.reserve(head.request.headLength &+ route.upstream.basePath.count &+ route.hostLine.count &+ 2)
    var end = out.count
    var span = out.storage.mutableSpan
    var target = span.mutableBytes
    // The method, and the one space that stands behind it.
    target.put(bytes, head.request.methodRange.lower, head.request.methodRange.upper &+ 1, at: &end)
    if let refusal = putTarget(head.request, bytes, route, &target, &end) { return refusal }
    target.put(route.hostLine, at: &end)
    putFields(head, bytes, plan, &target, &end)
    out.count = end
    return nil
  }

  /// What Intercom adds: after everything of the client's.
  private static func writeEnd(
    _ request: borrowing CanonicalRequest, _ bytes: borrowing Span<UInt8>, _ plan: borrowing ForwardPlan, _ peer: [UInt8],
    _ out: inout HeadBuffer
  ) {
    let route = plan.route
    let fixed = request.isHTTP10 ? route.fixedLinesHTTP10 : route.fixedLines
    let rewrite = plan.request
    let authority = request.authority
    out.reserve(fixed.count &+ 2 &* authority.count &+ peer.count &+ route.forwardedEnd.count &+ rewrite.piece.count)
    var end = out.count
    var span = out.storage.mutableSpan
    var target = span.mutableBytes
    target.put(rewrite.piece, at: &end)
    target.put(fixed, at: &end)
    // X-Forwarded-Host, then X-Forwarded-For and Forwarded (RFC 7239). What the client sent under these names is gone; what of it a trusted proxy
    // wrote is in `peer`.
    target.put(bytes, authority.lower, authority.upper, at: &end)
    target.put(peer.span, 0, peer.count, at: &end)
    target.put(bytes, authority.lower, authority.upper, at: &end)
    target.put(route.forwardedEnd, at: &end)
    out.count = end
  }

  /// `X-Forwarded-For` and the beginning of `Forwarded` ([RFC 7239](https://www.rfc-editor.org/rfc/rfc7239)) for a client, behind the value of
  /// `X-Forwarded-Host`: the same for all requests of a connection, unless a trusted proxy names the client of each.
  ///
  /// One element: whoever reads it, from the left or from the right, finds the client.
  ///
  /// - Parameter isAddress: false for `unknown` or an obfuscated identifier (RFC 7239 §6.2, §6.3).
  package static func peerLines(_ client: String, isAddress: Bool = true) -> [UInt8] {
    let node = client.utf8.contains(UInt8(ascii: ":")) ? "[\(client)]" : client
    return Array("\r\nX-Forwarded-For: \(isAddress ? client : "unknown")\r\nForwarded: for=\"\(node)\";host=\"".utf8)
  }

  /// The upstream's base path, what follows the route's path (or the whole path), the query. Bytes that were sent stay as they are.
  private static func putTarget(
    _ request: borrowing CanonicalRequest, _ bytes: borrowing Span<UInt8>, _ route: ForwardRoute, _ target: inout MutableRawSpan,
    _ end: inout Int
  ) -> ForwardRefusal? {
    guard case .matched(let rest) = route.path.match(request, in: bytes) else { return .pathOutsideRoute }
    guard !request.pathHasEncodedSlash || route.passesEncodedSlashes else { return .encodedSlash }
    let kept = route.stripsPrefix ? rest : request.path
    if route.upstream.basePath.isEmpty {
      if kept.count > 1, bytes[kept.lower &+ 1] == UInt8(ascii: "/") { return .ambiguousPath }
      if kept.isEmpty { target.put(Text.slash, at: &end) }
    } else {
      let basePath = route.upstream.basePath
      target.put(basePath.span, 0, basePath.count, at: &end)
    }
    if request.hasQuery, request.query.lower == kept.upper &+ 1 {
      // The query stands behind the path and its `?`.
      target.put(bytes, kept.lower, request.query.upper, at: &end)
      return nil
    }
    target.put(bytes, kept.lower, kept.upper, at: &end)
    if request.hasQuery {
      target.put(Text.question, at: &end)
      target.put(bytes, request.query.lower, request.query.upper, at: &end)
    }
    return nil
  }

  /// Copies the lines that stay; neighbours go in one piece.
  private static func putFields(
    _ head: borrowing RequestHead, _ bytes: borrowing Span<UInt8>, _ plan: borrowing ForwardPlan, _ target: inout MutableRawSpan,
    _ end: inout Int
  ) {
    var drops = dropped
    if plan.request.dropsAuthorization { drops.insert(.authorization) }
    if !head.request.expectsContinue { drops.insert(.expect) }
    if case .options = head.request.method { drops.insert(.maxForwards) }
    let route = plan.route
    var from = 0
    var to = 0
    for index in 0..<head.fields.count {
      let field = head.fields[index]
      switch field.id {
      case .other:
        if field.isNamedByConnection || route.guarded.contains(bytes, field.name) { continue }
        if field.isUnusual, isTwin(bytes, field, route.guarded) { continue }
      // The framing, which nobody may take away.
      case .contentLength: break
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

  private static func isTwin(_ bytes: borrowing Span<UInt8>, _ field: HeadField, _ guarded: FieldNameSet) -> Bool {
    let name = field.name
    if guarded.containsTwin(bytes, name) { return true }
    return shadowed.contains(FieldTwin.shadowed(bytes, name))
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
    static let slash: HeadPiece = "/"
    static let question: HeadPiece = "?"
  }
}
