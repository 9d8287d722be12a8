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
      if a.path.bytes.count != b.path.bytes.count { return a.path.bytes.count > b.path.bytes.count }
      if a.exact != b.exact { return a.exact }
      return left < right
    }
    hostless = order.filter { routes[$0].host == nil }
    byHost = Dictionary(grouping: order.filter { routes[$0].host != nil }) { routes[$0].host ?? "" }
  }

  package enum Lookup: Sendable, Hashable {
    /// The index of the route.
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
    for index in candidates {
      switch routes[index].path.match(request, in: head) {
      case .none: continue
      // The rest of an exact route is nothing, or the one slash of `/`.
      case .matched(let rest):
        guard routes[index].exact, rest.count > (routes[index].path.bytes.isEmpty ? 1 : 0) else { return .found(index) }
      case .disguised:
        guard routes[index].path.bytes.isEmpty else { return .escapedPrefix }
      }
    }
    return .notFound
  }

  private func lowercased(_ range: ByteRange, _ head: borrowing Span<UInt8>) -> [UInt8] {
    range.bytes(in: head).map { $0 &- 65 < 26 ? $0 | 0x20 : $0 }
  }
}
