import HTTPMessage

/// Between the paths that browsers see and those of the upstream: the route's path in front of the one, the base path in front of the
/// other.
struct PathMapping {
  private let routePath: [UInt8]
  private let basePath: [UInt8]
  private let strips: Bool

  init(_ route: ForwardRoute) {
    routePath = route.path.bytes
    basePath = route.upstream.basePath
    strips = route.stripsPrefix
  }

  private static let root = [UInt8(ascii: "/")]

  /// What follows `prefix` when `path` lies below it in whole segments.
  static func rest(_ path: [UInt8], below prefix: [UInt8]) -> [UInt8]? {
    guard path.starts(with: prefix), path.first == UInt8(ascii: "/") else { return nil }
    let rest = Array(path.dropFirst(prefix.count))
    return rest.isEmpty || rest.first == UInt8(ascii: "/") ? rest : nil
  }

  /// The path under which a browser reaches this path of the upstream; nil when it does not lie below the route.
  func publicPath(_ upstream: [UInt8]) -> [UInt8]? {
    guard let rest = Self.rest(upstream, below: basePath) else { return nil }
    if strips {
      // `//x` behind a root route would be a host to the browser.
      if routePath.isEmpty, rest.starts(with: [UInt8(ascii: "/"), UInt8(ascii: "/")]) { return nil }
      return routePath.isEmpty && rest.isEmpty ? Self.root : routePath + rest
    }
    guard Self.rest(rest, below: routePath) != nil, !rest.starts(with: [UInt8(ascii: "/"), UInt8(ascii: "/")]) else { return nil }
    return rest
  }

  /// The path of an upstream's cookie for the browser: below the route whatever the upstream says (RFC 6265 §5.2.4 takes what does not
  /// begin with `/` for absent).
  func cookiePath(_ upstream: [UInt8]) -> [UInt8] {
    let home = routePath.isEmpty ? Self.root : routePath
    guard upstream.first == UInt8(ascii: "/"), PathSyntax.scan(upstream.span, 0, upstream.count).end == upstream.count else { return home }
    var path = upstream
    while path.count > 1, path.last == UInt8(ascii: "/") { path.removeLast() }
    guard path != Self.root, let found = publicPath(path), Self.rest(found, below: routePath) != nil else { return home }
    return found
  }
}
