import HTTPMessage

/// A Location that points at the upstream itself, at whichever of its endpoints, leads the browser back below the route (RFC 9110 §10.2.2); every other is passed on as it
/// is, and none is ever followed (S26).
enum LocationRewrite {
  /// The new value, a path with its query and fragment; nil when the old one stays.
  static func map(_ value: [UInt8], _ route: ForwardRoute) -> [UInt8]? {
    let hash = value.firstIndex(of: UInt8(ascii: "#")) ?? value.count
    var resource = Array(value[..<hash])
    if resource.starts(with: "//".utf8) { resource = Array("\(route.upstream.scheme.rawValue):".utf8) + resource }
    let path: [UInt8]
    let query: [UInt8]
    if resource.first == UInt8(ascii: "/") {
      let scan = PathSyntax.scan(resource.span, 0, resource.count)
      guard scan.fault == nil else { return nil }
      path = Array(resource[..<scan.end])
      query = Array(resource[scan.end...])
    } else {
      guard let url = HTTPURL(bytes: resource),
        route.endpoints.contains(where: { $0.scheme == url.scheme && $0.host == url.host && $0.port == url.port })
      else { return nil }
      path = url.path
      query = url.query.map { [UInt8(ascii: "?")] + $0 } ?? []
    }
    guard let mapped = PathMapping(route).publicPath(path) else { return nil }
    return mapped + query + value[hash...]
  }
}
