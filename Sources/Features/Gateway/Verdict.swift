import HTTP1
import HTTPMessage
import IntercomCore
import Policy
import ReverseProxy
import Sessions

/// What `Gateway.decide` says of a request. It is handed on, never copied: one decision, one request.
package enum Verdict: ~Copyable {
  /// Send it on. Only a request with a permit gets here.
  case forward(ForwardOrder)
  case stop(Stop)
}

/// Why a request does not pass now: what the steps of the decision throw.
package indirect enum Stop: Error {
  /// Answer now; nothing reached an upstream.
  case answer(GatewayAnswer)
  /// One of Intercom's own endpoints (or the demo's) answers.
  case own(OwnCall)
  /// Something must be fetched first; then the decision runs again.
  case need(Need)
}

/// What must be fetched before the decision can go on.
package enum Need: Sendable, Hashable {
  /// The session of this id, from the store.
  case session(SessionID)
  /// The credential that the route of this index demands for this session.
  case credential(session: SessionID, route: Int)
  /// Whose access token this is, if it is one.
  case bearer(PresentedBearer)
  /// The credential that the route demands for whom this token names.
  case bearerCredential(PresentedBearer, route: Int)
}

/// All that the forwarder must know of a request that may pass: references to what was made ready before it came.
package struct ForwardOrder: ~Copyable {
  /// It names the route.
  package let permit: Permit
  /// The live session that the client presented; on a public route it may be one that this loop does not know, and then it is nil.
  let session: SessionView?
  /// The route's credential; `RouteEntry.bare` for none.
  let credential: CredentialView
  /// The CORS and Vary lines for the answer.
  let response: ResponseRewrite
}

/// A call of one of Intercom's own endpoints with what the decision found out for it.
package struct OwnCall: Sendable {
  package let endpoint: EndpointID
  package let route: Int
  /// The well-formed session id that the client sent; not looked up.
  package internal(set) var presentedSession: SessionID?
  package let intent: RequestIntent
  /// The request came with an allowed Origin.
  package let hasAllowedOrigin: Bool
  package let cors: FieldLines
  /// Where a navigation without a session wanted to go: the path and query of a login that begins by itself.
  package var returnTo: [UInt8]?
  /// The live session of an endpoint that is a session route; for one that looks at the session, the loop's copy while that is good.
  package var session: Session?
  /// The latest use that the loop knows.
  package var lastUse: WallInstant?
  /// The session is used by this.
  package var isUse = false
}

/// An answer of the gateway itself: status, ready field lines, body.
package struct GatewayAnswer: Sendable {
  package var status: Status
  /// Without Content-Length, Connection and Date.
  package var lines: FieldLines
  package var body: [UInt8]
  /// Why, for logs and metrics: a stable word.
  package var reason: String
  /// What the body says, when it is a problem, and the lines beside its own.
  private(set) var problem: (document: Problem, lines: FieldLines)?

  package init(status: Status, lines: FieldLines, body: [UInt8] = [], reason: String) {
    self.status = status
    self.lines = lines
    self.body = body
    self.reason = reason
  }

  /// A problem (RFC 9457) with the CORS lines of its request.
  package init(_ problem: Problem, cors: FieldLines, extra: KeyValuePairs<String, String> = [:]) {
    var others = cors
    others.append(FieldLines(trusted: extra))
    var lines = FieldLines(trusted: ["Content-Type": Problem.contentType, "Cache-Control": "no-store"])
    lines.append(others)
    self.init(status: problem.status, lines: lines, body: problem.json, reason: problem.code)
    self.problem = (problem, others)
  }
}
