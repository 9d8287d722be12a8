import HTTP1
import HTTPServer

/// What one configuration makes of the gateway: the rules that decide, and all that requests are answered and forwarded by. A reload gives each
/// loop another one between two of its turns; requests that were forwarded or run by then end under the one that they began with.
package final class GatewayGeneration: Sendable {
  package let services: GatewayServices
  let routes: ForwardRoutes
  /// Endpoints of other features: the demo's.
  let endpoints: [EndpointID: Endpoint]
  /// Whether anybody hears of single requests, and of those that went well.
  let tellsStories: Bool
  let tellsSuccess: Bool

  /// Names that no trailer of a request may have.
  package var guardedFields: FieldNameSet { routes.guarded }

  package init(services: GatewayServices, routes: ForwardRoutes, endpoints: [EndpointID: Endpoint] = [:]) {
    self.services = services
    self.routes = routes
    self.endpoints = endpoints
    tellsStories = services.tellsStories
    tellsSuccess = services.log.writes(.trace)
  }
}
