import HTTPMessage

/// The target of COPY and MOVE ([RFC 4918 §10.3](https://www.rfc-editor.org/rfc/rfc4918#section-10.3)). It is held to what the request's
/// own path is held to: policy allowed this route, so nothing may be written through it elsewhere.
enum Destination {
  /// The URL for the upstream, or why there is none.
  static func map(
    _ request: borrowing CanonicalRequest, _ bytes: borrowing Span<UInt8>, _ route: ForwardRoute
  ) -> Result<[UInt8], ForwardRefusal> {
    let value = request.destination.bytes(in: bytes)
    if value.first == UInt8(ascii: "/"), !value.dropFirst().starts(with: [UInt8(ascii: "/")]) { return check(value, route) }
    return pathOfURL(value, request, bytes, route).flatMap { check($0, route) }
  }

  private static func check(_ path: [UInt8], _ route: ForwardRoute) -> Result<[UInt8], ForwardRefusal> {
    let scan = PathSyntax.scan(path.span, 0, path.count)
    switch scan.fault {
    case nil: break
    case .dotSegment, .backslash, .nul: return .failure(.destinationOutsideRoute)
    default: return .failure(.badDestination)
    }
    guard scan.end == path.count else { return .failure(.badDestination) }
    return target(path, scan, route)
  }

  /// The path of an absolute URL of ours. The scheme is not compared: behind a proxy that ends TLS it is the client's, not ours.
  private static func pathOfURL(
    _ value: [UInt8], _ request: borrowing CanonicalRequest, _ bytes: borrowing Span<UInt8>, _ route: ForwardRoute
  ) -> Result<[UInt8], ForwardRefusal> {
    guard let colon = value.firstIndex(of: UInt8(ascii: ":")), ["http", "https"].contains(lowercased(value[..<colon])),
      value.dropFirst(colon + 1).starts(with: "//".utf8)
    else { return .failure(.badDestination) }
    let start = colon + 3
    let end = value[start...].firstIndex { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "?") || $0 == UInt8(ascii: "#") } ?? value.count
    let authority = lowercased(value[start..<end])
    guard AuthoritySyntax.hostEnd(value.span, ByteRange(start, end)) != nil else { return .failure(.badDestination) }
    let ours = [lowercased(request.authority.bytes(in: bytes)[...]), route.baseURL.authority]
    guard ours.contains(where: { $0 == authority || $0 + ":80" == authority || $0 + ":443" == authority }) else {
      return .failure(.destinationOnOtherHost)
    }
    return .success(end < value.count ? Array(value[end...]) : [UInt8(ascii: "/")])
  }

  private static func target(_ path: [UInt8], _ scan: PathScan, _ route: ForwardRoute) -> Result<[UInt8], ForwardRefusal> {
    let range = ByteRange(0, path.count)
    guard case .matched(let rest) = route.path.match(range, in: path.span),
      !scan.hasEncodedSlash || route.passesEncodedSlashes
    else { return .failure(.destinationOutsideRoute) }
    for other in route.nested where other.match(range, in: path.span) != .none {
      return .failure(.destinationOutsideRoute)
    }
    let kept = route.stripsPrefix ? Array(path[rest.lower...]) : path
    guard !kept.starts(with: [UInt8(ascii: "/"), UInt8(ascii: "/")]) else { return .failure(.destinationOutsideRoute) }
    var url = Array("\(route.upstream.scheme.rawValue)://".utf8) + route.upstream.authority + route.upstream.basePath + kept
    if kept.isEmpty, route.upstream.basePath.isEmpty { url.append(UInt8(ascii: "/")) }
    return .success(url)
  }

  private static func lowercased(_ bytes: ArraySlice<UInt8>) -> String {
    String(decoding: bytes.map { $0 &- 65 < 26 ? $0 | 0x20 : $0 }, as: UTF8.self)
  }
}
