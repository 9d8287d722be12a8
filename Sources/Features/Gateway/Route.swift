import HTTPMessage
import IntercomCore
import ReverseProxy
import Sessions
import Telemetry

/// The name of one of Intercom's own answers; `IntercomApp` fills the table from id to endpoint for those that are not the gateway's.
package struct EndpointID: Hashable, Sendable, ExpressibleByStringLiteral {
  package let name: Identifier
  package init(_ name: String) { self.name = Identifier(name) }
  package init(stringLiteral value: String) { self.init(value) }
}

/// The credential that a backend gets instead of the client's own (behaviour: "Nothing is ever forwarded without the credential that its
/// route demands").
package enum CredentialRule: Sendable, Hashable {
  /// None: the backend does not ask who it is.
  case none
  /// The session's own access token as a bearer.
  case accessToken
  /// An access token exchanged for this audience ([RFC 8693](https://www.rfc-editor.org/rfc/rfc8693)) as a bearer.
  case exchange(ExchangeTarget)
  /// Basic: the user name from a claim, the password a secret shared with the backend
  /// ([RFC 7617](https://www.rfc-editor.org/rfc/rfc7617)).
  case basic(usernameClaim: Identifier, passwordIndex: Int)
  /// Claims as header fields; the client's own fields of these names never arrive.
  case headers([ClaimHeader])
  /// A token of the user's own account at a Matrix homeserver.
  case matrix(MatrixRule)
}

/// Whose Matrix account, and what the backend gets of it.
package struct MatrixRule: Sendable, Hashable {
  package enum Mode: Sendable, Hashable {
    /// The user's access token as a bearer.
    case accessToken
    /// `MX-Identity` with an OpenID token.
    case openID
  }
  package var userClaim: Identifier
  /// Which of the homeservers.
  package var homeserverIndex: Int
  package var mode: Mode

  package init(userClaim: Identifier, homeserverIndex: Int, mode: Mode) {
    self.userClaim = userClaim
    self.homeserverIndex = homeserverIndex
    self.mode = mode
  }
}

/// One claim that becomes one header field.
package struct ClaimHeader: Sendable, Hashable {
  package var field: String
  package var claim: Identifier

  package init(field: String, claim: Identifier) {
    self.field = field
    self.claim = claim
  }
}

/// What an own endpoint has to do with the session that a request brings.
package enum SessionUse: Sendable, Hashable {
  /// It looks after it by itself.
  case own
  /// It is told of it, and a look is no use.
  case looked
  /// It is a session route: without a session, or without proof, it is not reached; a request is a use.
  case needed
  /// The same, but to watch a session is no use of it.
  case watched
}

/// What counts as proof that the request is not forged (behaviour: "CSRF proof").
package enum CSRFMode: Sendable, Hashable {
  /// A token, an allowed Origin, or for reading a same-origin or top-level request.
  case anyProof
  /// A valid token for every method, GET included.
  case token
}

/// One rule of where requests go and what they need.
package struct Route: Sendable {
  package enum Kind: Sendable {
    case proxy(UpstreamEndpoint)
    /// One of Intercom's own endpoints, or the demo's.
    case own(EndpointID)
  }

  /// The key of the configuration's map; also the prefix of isolated cookies and a metric's label.
  package var name: String
  /// Lower case, without port; nil for the base URL's host (and, without host routes, any host).
  package var host: Identifier?
  /// The origin of a host route: where a login comes back to.
  package var hostOrigin: Origin?
  package var path: RoutePath
  /// The request's path must be the route's itself.
  package var exact = false
  package var kind: Kind
  package var methods: MethodSet
  /// An explicit rule that this route needs no session. Credentials are impossible then.
  package var isPublic = false
  /// The audience of access tokens that are taken in place of a session; nil for none.
  package var bearer: Identifier?
  package var credential: CredentialRule = .none
  /// Of an own endpoint.
  package var sessionUse = SessionUse.own
  package var stripPrefix = false
  package var cookies: CookieMode = .isolate
  package var csrf: CSRFMode = .anyProof
  package var passesEncodedSlashes = false
  /// Ignores Origin altogether (only `/callback` and `/backchannel-logout`).
  package var ignoresOrigin = false
  package var cors: CORSPolicy
  package var timeouts = UpstreamTimeouts()
  /// Protocols to which its requests may switch (RFC 9110 §7.8), in lower case: `websocket`.
  package var upgrades: [[UInt8]] = []
  /// Further endpoints of the same service, and how requests are shared among all of them.
  package var otherEndpoints: [UpstreamEndpoint] = []
  package var balance = Balance.roundRobin
  /// How the endpoints are reached whose scheme is https; nil for http.
  package var upstreamTLS: UpstreamTLS?

  package init(name: String, host: Identifier? = nil, path: RoutePath, kind: Kind, methods: MethodSet, cors: CORSPolicy) {
    self.name = name
    self.host = host
    self.path = path
    self.kind = kind
    self.methods = methods
    self.cors = cors
  }

  /// Where its requests go; none for own endpoints.
  package var endpoints: [UpstreamEndpoint] {
    guard case .proxy(let first) = kind else { return [] }
    return [first] + otherEndpoints
  }

  /// What is told of its upstream; nil for own endpoints.
  package var observed: LastResults.Service? {
    guard case .proxy = kind else { return nil }
    return LastResults.Service("route \(name)", at: endpoints.map(\.label).joined(separator: ","))
  }

  /// Does it need a signed-in user? Own endpoints look after sessions themselves.
  package var needsSession: Bool {
    if isPublic { return false }
    if case .proxy = kind { return true }
    return false
  }
}
