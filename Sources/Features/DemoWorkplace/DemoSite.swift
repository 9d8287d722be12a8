import HTTPMessage
import HTTPServer
import IntercomCore

/// One host of the demo and what it answers. The gateway mounts it as a host route under a rule that says it is public: the sites decide
/// themselves who may see what.
package struct DemoSite: Sendable {
  /// An endpoint with the methods and the paths that it takes.
  package struct Route: Sendable {
    /// Which paths a route takes, compared with the path as sent.
    package enum Path: Sendable, Hashable {
      case exactly(Identifier)
      /// Every path that begins with these bytes.
      case below(Identifier)

      func matches(_ path: [UInt8]) -> Bool {
        switch self {
        case .exactly(let whole): whole.bytes == path
        case .below(let prefix): path.starts(with: prefix.bytes)
        }
      }
    }
    package var methods: MethodSet
    package var path: Path
    package var endpoint: Endpoint

    package init(_ methods: MethodSet, _ path: Path, _ endpoint: @escaping Endpoint) {
      self.methods = methods
      self.path = path
      self.endpoint = endpoint
    }
  }

  /// What a request finds.
  package enum Match: Sendable {
    case found(Endpoint)
    /// The path is there, the method is not: 405 with these.
    case wrongMethod(MethodSet)
    case nothing
  }

  /// The host without its port, such as `mail.intercom.localhost`.
  package let host: Identifier
  package let routes: [Route]

  package init(host: Identifier, routes: [Route]) {
    self.host = host
    self.routes = routes
  }

  /// The first route of the table that takes path and method.
  package func match(_ method: Method, _ path: [UInt8]) -> Match {
    let fitting = routes.filter { $0.path.matches(path) }
    if let route = fitting.first(where: { $0.methods.contains(method) }) { return .found(route.endpoint) }
    guard !fitting.isEmpty else { return .nothing }
    return .wrongMethod(fitting.reduce(into: MethodSet()) { $0.formUnion($1.methods) })
  }

  /// The whole site as one endpoint.
  package var endpoint: Endpoint {
    { request, body in
      switch match(request.method, request.rawPath) {
      case .found(let endpoint): return try await endpoint(request, body)
      case .wrongMethod(let allowed):
        var response = Response(Problem(405, "method_not_allowed", "This address does not take that method."))
        response.fields.append("Allow", allowed.methods.map(\.name).joined(separator: ", "))
        return response
      case .nothing: return Response(Problem(404, "not_found", "There is nothing at this address."))
      }
    }
  }
}
