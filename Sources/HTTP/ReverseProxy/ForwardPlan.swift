import HTTP1
import HTTPMessage
import IntercomCore
import Policy

/// What is done to a request's head on its way to the upstream, beyond what its route fixes. Made once and used by many requests, so that
/// planning one copies a reference.
package final class RequestRewrite: Sendable, CustomReflectable {
  /// The credential and identity fields that Intercom adds. They come after everything of the client's was removed.
  package let added: FieldLines
  /// The same, for `HeadBuffer.append`.
  let piece: HeadPiece
  /// The client's own Authorization goes (behaviour: a session cookie alone decides when present). Only a route that asks for no identity
  /// may let it pass.
  package let dropsAuthorization: Bool

  package init(added: FieldLines = FieldLines(), dropsAuthorization: Bool = true) {
    self.added = added
    piece = added.piece
    self.dropsAuthorization = dropsAuthorization
  }

  /// Nothing of it is shown: the lines are credentials.
  package var customMirror: Mirror { Mirror(self, children: []) }
}

/// What is done to the answer's head on its way to the client, beyond what the route fixes. Made once, like `RequestRewrite`.
package final class ResponseRewrite: Sendable {
  /// CORS fields and `Vary: Origin`; the upstream's own CORS fields are dropped.
  package let added: FieldLines
  /// The same, for `HeadBuffer.append`, and with the end of the head.
  let piece: HeadPiece
  let end: HeadPiece

  package init(added: FieldLines = FieldLines()) {
    self.added = added
    piece = added.piece
    end = HeadPiece(added.bytes + [13, 10])
  }
}

/// The permission to forward one request, and how. Its only initialiser takes Policy's `Permit`, which only Policy makes: a request that
/// nobody authorised cannot be forwarded.
package struct ForwardPlan: Sendable {
  package let permit: Permit
  package let route: ForwardRoute
  package let request: RequestRewrite
  package let response: ResponseRewrite
  /// May be sent once more when a reused connection ends before any answer byte: see `mayRetry(_:)`.
  package let mayRetry: Bool

  /// nil when the permit was given for another route or method than this request's.
  package init?(
    permit: Permit, route: ForwardRoute, for head: borrowing CanonicalRequest, request: RequestRewrite,
    response: ResponseRewrite = ResponseRewrite()
  ) {
    guard permit.route == route.index, permit.method.rawValue == head.method.rawValue else { return nil }
    self.permit = permit
    self.route = route
    self.request = request
    self.response = response
    mayRetry = Self.mayRetry(head)
  }

  package var upstream: UpstreamEndpoint { route.upstream }
  package var timeouts: UpstreamTimeouts { route.timeouts }

  /// GET, HEAD, OPTIONS and PROPFIND without a body: twice is the same as once.
  static func mayRetry(_ head: borrowing CanonicalRequest) -> Bool {
    switch head.method {
    case .get, .head, .options, .propfind: break
    default: return false
    }
    switch head.framing {
    case .none, .length(0): return true
    default: return false
    }
  }
}

/// Why a permitted request cannot be written for its upstream.
package enum ForwardRefusal: UInt8, Error, Sendable, Hashable, CaseIterable {
  /// The path does not lie below the route's: the decision and the plan disagree.
  case pathOutsideRoute
  case encodedSlash
  /// What the upstream would get begins with `//`, which is a host to some readers.
  case ambiguousPath
  case badDestination, destinationOnOtherHost, destinationOutsideRoute
  /// An OPTIONS request's Max-Forwards is no number, or there is none left.
  case badMaxForwards

  package var status: Status {
    switch self {
    case .destinationOnOtherHost: 502
    case .destinationOutsideRoute: 403
    default: 400
    }
  }

  /// A short stable word for logs, metrics and `Problem.code`.
  package var code: String {
    switch self {
    case .pathOutsideRoute: "path_outside_route"
    case .encodedSlash: "encoded_slash"
    case .ambiguousPath: "ambiguous_path"
    case .badDestination: "bad_destination"
    case .destinationOnOtherHost: "destination_on_other_host"
    case .destinationOutsideRoute: "destination_outside_route"
    case .badMaxForwards: "bad_max_forwards"
    }
  }

  /// The answer to the client.
  package var problem: Problem {
    switch self {
    case .pathOutsideRoute, .encodedSlash, .ambiguousPath:
      Problem(status, code, "This route does not take a path of this form. Send the path without encoded or doubled slashes.")
    case .badDestination: Problem(status, code, "Destination must be an absolute URL or an absolute path.")
    case .destinationOnOtherHost: Problem(status, code, "Destination names another server; copying between servers is not offered.")
    case .destinationOutsideRoute: Problem(status, code, "Destination leaves the route of the request.")
    case .badMaxForwards: Problem(status, code, "Max-Forwards must be one number.")
    }
  }
}
