import HTTPMessage
import IntercomCore

/// Who may use a route. A route without a rule cannot be configured: there is no implicit public.
package enum AccessRule: Sendable, Hashable {
  /// Anybody, on purpose.
  case publicRoute
  /// Anybody with a live session or an accepted bearer token.
  case identified
  /// An identity one of whose values of `claim` is in `anyOf`; `name` is what the log calls the rule.
  case claim(name: String, claim: Identifier, anyOf: Set<Identifier>)
}

/// What policy knows of a route: compiled once from the configuration.
///
/// An object, so that asking it copies nothing.
package final class RoutePolicy: Sendable {
  /// The route's position in the route table.
  package let route: Int
  package let methods: MethodSet
  package let rule: AccessRule
  /// `methods` without those that never pass: TRACE, CONNECT and unknown ones (behaviour: "Requests and paths").
  let passing: MethodSet

  package init(route: Int, methods: MethodSet, rule: AccessRule) {
    self.route = route
    self.methods = methods
    self.rule = rule
    passing = methods.subtracting(MethodSet([.trace, .connect, .other]))
  }
}

/// Answers by a route's rule: pure, without clock, randomness or log.
package enum PolicyDecisionPoint {
  /// The grounds on which `identity` meets `rule`, or why it does not.
  static func grounds(_ rule: AccessRule, identity: Identity?) -> Result<Permit.Grounds, Refusal> {
    switch rule {
    case .publicRoute: return .success(.publicRoute)
    case .identified:
      guard let identity else { return .failure(Refusal(reason: .identityRequired)) }
      return .success(.identity(identity))
    case .claim(let name, let claim, let anyOf):
      guard let identity else { return .failure(Refusal(reason: .identityRequired)) }
      guard identity.values(of: claim).contains(where: anyOf.contains) else {
        return .failure(Refusal(reason: .forbidden(rule: name)))
      }
      return .success(.identity(identity))
    }
  }

  struct Refusal: Error { let reason: DenyReason }
}

/// The one place where permits are made.
package enum PolicyEnforcementPoint {
  /// Methods first: a method that a route does not know is 405 whoever asks.
  package static func decide(_ policy: RoutePolicy, method: Method, identity: Identity?) -> Decision {
    guard policy.passing.contains(method) else { return .deny(.methodNotAllowed(policy.passing)) }
    // What nearly all routes ask, without the detour over a result.
    if case .identified = policy.rule, let identity {
      return .permit(Permit(route: policy.route, method: method, grounds: .identity(identity)))
    }
    switch PolicyDecisionPoint.grounds(policy.rule, identity: identity) {
    case .success(let grounds): return .permit(Permit(route: policy.route, method: method, grounds: grounds))
    case .failure(let refusal): return .deny(refusal.reason)
    }
  }
}
