import HTTPMessage
import IntercomCore

/// The proof that policy allowed this request: nothing is forwarded without one, and only this module can make one.
///
/// Its only initialiser is the synthesised one, which is internal: "forgot to authorise" does not compile.
/// It says for which route and method it was given, so that a plan for another route cannot use it.
package struct Permit: Sendable, Hashable {
  /// Why the request may pass.
  package enum Grounds: Sendable, Hashable {
    /// The route is public by an explicit rule.
    case publicRoute
    /// This one met the route's rule.
    case identity(Identity)
  }

  /// The route's position in the route table.
  package let route: Int
  package let method: Method
  package let grounds: Grounds
}

/// Why policy refuses.
package enum DenyReason: Sendable, Hashable {
  /// 405 with `Allow`.
  case methodNotAllowed(MethodSet)
  /// 401, or the redirect to the provider.
  case identityRequired
  /// 403: the identity lacks what the rule asks; the name is the rule's, for the log.
  case forbidden(rule: String)

  /// A stable word for logs, metrics and problem details.
  package var code: String {
    switch self {
    case .methodNotAllowed: "method_not_allowed"
    case .identityRequired: "session_required"
    case .forbidden: "forbidden"
    }
  }
}

/// What policy says to one request. There is no third answer and no default.
package enum Decision: Sendable, Hashable {
  case permit(Permit)
  case deny(DenyReason)
}
