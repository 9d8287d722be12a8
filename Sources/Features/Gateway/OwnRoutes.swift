import HTTPMessage
import IntercomCore

/// The paths that are Intercom's own, as routes like any other, so that Origin, methods and paths are screened in one place.
package enum OwnRoutes {
  /// - Parameter cors: every allowed origin.
  package static func all(_ cors: CORSPolicy) -> [Route] {
    [
      make(.home, "/", MethodSet([.get, .head]), cors),
      make(.silent, "/silent", MethodSet([.get, .head]), cors),
      make(.login, "/login", MethodSet([.get, .head]), cors),
      make(.logout, "/logout", MethodSet([.get, .post]), cors),
      make(.session, "/session", MethodSet([.get, .head]), cors, .looked),
      make(.sessionEvents, "/session/events", MethodSet([.get]), cors, .watched),
      make(.uuid, "/uuid", MethodSet([.get, .head]), cors, .needed),
      make(.callback, "/callback", MethodSet([.get, .head]), cors, ignoresOrigin: true),
      make(.backchannelLogout, "/backchannel-logout", MethodSet([.post]), cors, ignoresOrigin: true),
    ].compactMap { $0 }
  }

  private static func make(
    _ id: EndpointID, _ path: String, _ methods: MethodSet, _ cors: CORSPolicy, _ use: SessionUse = .own, ignoresOrigin: Bool = false
  ) -> Route? {
    guard let path = RoutePath(path) else { return nil }
    var route = Route(name: id.name.description, path: path, kind: .own(id), methods: methods, cors: cors)
    route.exact = true
    route.ignoresOrigin = ignoresOrigin
    route.isPublic = true
    route.sessionUse = use
    return route
  }
}
