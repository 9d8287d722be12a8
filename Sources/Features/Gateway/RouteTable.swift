import HTTPMessage
import IntercomCore
import Policy

/// All routes in the order in which they are tried: the host's own, longest prefix first.
package struct RouteTable: Sendable {
  package let routes: [Route]
  /// The access rule of each route, at the same index.
  package let policies: [RoutePolicy]
  /// For requests that no route takes: every origin that some route allows may read the refusal.
  package let fallbackCORS: CORSPolicy
  /// Indices into `routes` per host route's host.
  private let byHost: [Identifier: [Int]]
  private let hostless: [Int]
  private let baseHost: Identifier

  /// - Parameter baseHost: the base URL's host, lower case; with host routes it is the only other host that is served.
  package init(_ routes: [Route], baseHost: Identifier) {
    self.routes = routes
    self.baseHost = baseHost
    policies = routes.indices.map { index in
      RoutePolicy(route: index, methods: routes[index].methods, rule: routes[index].needsSession ? .identified : .publicRoute)
    }
    fallbackCORS = CORSPolicy(origins: routes.flatMap(\.cors.origins))
    let order = routes.indices.sorted { left, right in
      let (a, b) = (routes[left], routes[right])
      // Exact before prefix of the same length, longer before shorter, then as configured.
      if a.prefix.count != b.prefix.count { return a.prefix.count > b.prefix.count }
      if a.exact != b.exact { return a.exact }
      return left < right
    }
    hostless = order.filter { routes[$0].host == nil }
    byHost = Dictionary(grouping: order.filter { routes[$0].host != nil }) { routes[$0].host ?? "" }
  }

  package enum Lookup: Sendable, Hashable {
    /// The index of the route and how many bytes of the raw path its prefix takes.
    case found(Int)
    case notFound
    /// 421: host routes are configured and this host is none of them nor the base URL's.
    case misdirected
    /// The decoded path belongs to a route whose prefix is not written literally: no spelling reaches a route but its canonical one.
    case escapedPrefix
  }

  /// The route of this request, by host, then by the longest literal prefix in whole segments.
  package func lookup(_ request: borrowing CanonicalRequest, _ head: borrowing Span<UInt8>) -> Lookup {
    let candidates: [Int]
    if byHost.isEmpty {
      candidates = hostless
    } else {
      let host = Identifier(bytes: lowercased(request.host, head))
      if let own = byHost[host] { candidates = own } else if host == baseHost { candidates = hostless } else { return .misdirected }
    }
    let decoded = request.pathHasEscapes ? Self.decodedPath(request.path, head) : []
    for index in candidates {
      if Self.matches(routes[index], request.path, head) { return .found(index) }
      if request.pathHasEscapes, Self.matches(routes[index], ByteRange(0, decoded.count), decoded.span) { return .escapedPrefix }
    }
    return .notFound
  }

  private func lowercased(_ range: ByteRange, _ head: borrowing Span<UInt8>) -> [UInt8] {
    range.bytes(in: head).map { $0 &- 65 < 26 ? $0 | 0x20 : $0 }
  }

  /// Whole segments only: `/fs` takes `/fs` and `/fs/x`, never `/fsx`.
  private static func matches(_ route: Route, _ path: ByteRange, _ head: borrowing Span<UInt8>) -> Bool {
    let prefix = route.prefix
    guard path.count >= prefix.count, path.upper <= head.count else { return false }
    for index in prefix.indices where head[path.lower &+ index] != prefix[index] { return false }
    if path.count == prefix.count { return true }
    return !route.exact && head[path.lower &+ prefix.count] == UInt8(ascii: "/")
  }

  /// The path with each escape decoded once, but for an escaped slash, which never becomes a separator.
  private static func decodedPath(_ path: ByteRange, _ head: borrowing Span<UInt8>) -> [UInt8] {
    var out: [UInt8] = []
    let raw = path.bytes(in: head)
    var index = 0
    while index < raw.count {
      if raw[index] == UInt8(ascii: "%"), index + 2 < raw.count, let high = hexValue(raw[index + 1]), let low = hexValue(raw[index + 2]) {
        let byte = high << 4 | low
        if byte == UInt8(ascii: "/") { out += raw[index...index + 2] } else { out.append(byte) }
        index += 3
      } else {
        out.append(raw[index])
        index += 1
      }
    }
    return out
  }
}

private func hexValue(_ byte: UInt8) -> UInt8? {
  switch byte {
  case UInt8(ascii: "0")...UInt8(ascii: "9"): byte &- UInt8(ascii: "0")
  case UInt8(ascii: "a")...UInt8(ascii: "f"): byte &- UInt8(ascii: "a") &+ 10
  case UInt8(ascii: "A")...UInt8(ascii: "F"): byte &- UInt8(ascii: "A") &+ 10
  default: nil
  }
}
