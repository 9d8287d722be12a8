import HTTP1
import HTTPMessage
import IntercomCore
import ReverseProxy
import Telemetry

/// What the forwarder reads of each route, made once from the table.
package struct ForwardRoutes: Sendable {
  /// By route index; nil for routes that are not forwarded.
  let routes: [ForwardRoute?]
  /// The fields by which any route's upstream is told who the user is: no client may send one, neither as a field nor as a trailer (S6).
  package let guarded: FieldNameSet

  /// - Parameter results: where it is noted how requests end.
  package init(_ table: RouteTable, base: HTTPURL, cookies: OwnCookies, results: LastResults = LastResults()) {
    let names = cookies.names
    // No route's upstream gets a field that any route's upstream trusts (S6).
    var guarded = FieldNameSet(
      table.routes.flatMap { route -> [FieldName] in
        guard case .headers(let headers) = route.credential else { return [] }
        return headers.map { FieldName($0.field) }
      })
    guarded.formUnion(ForwardRoute.deceiving)
    self.guarded = guarded
    let all = table.routes
    routes = all.indices.map { index -> ForwardRoute? in
      let route = all[index]
      guard case .proxy(let upstream) = route.kind else { return nil }
      let nested: [Route] = all.filter { other -> Bool in
        other.host == route.host && other.path.bytes.count > route.path.bytes.count
          && (route.path.bytes.isEmpty || other.path.bytes.starts(with: route.path.bytes + [UInt8(ascii: "/")]))
      }
      return ForwardRoute(
        index: index, name: route.name, path: route.path, nested: nested.map(\.path), upstream: upstream,
        others: route.otherEndpoints, balance: route.balance, baseURL: base,
        stripsPrefix: route.stripPrefix, passesEncodedSlashes: route.passesEncodedSlashes, isPrivate: route.needsSession,
        cookies: route.cookies, ownCookies: names, guarded: guarded, timeouts: route.timeouts, upgrades: route.upgrades,
        tls: route.upstreamTLS, result: route.observed.map { results[$0] } ?? LastResult())
    }
  }

  /// The plan of an order; nil when the route is none that is forwarded, or the permit is not this request's.
  @inline(__always) func plan(_ order: consuming ForwardOrder, _ request: borrowing CanonicalRequest) -> ForwardPlan? {
    let index = order.permit.route
    guard index < routes.count, let route = routes[index] else { return nil }
    return ForwardPlan(permit: order.permit, route: route, for: request, request: order.credential.request, response: order.response)
  }
}
