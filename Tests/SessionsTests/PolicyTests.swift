import HTTPMessage
import IntercomCore
import Policy
import Testing

@Suite("Policy")
struct PolicyTests {
  static let alice = Identity(issuer: "https://id", subject: "alice", claims: ["groups": ["staff", "mail"], "name": ["Alice"]])
  static let groups = AccessRule.claim(name: "staff only", claim: "groups", anyOf: ["staff", "board"])

  struct Case: Sendable, CustomTestStringConvertible {
    var testDescription: String
    var rule: AccessRule
    var method: Method
    var identity: Identity?
    var expected: String
  }

  static let cases: [Case] = [
    Case(testDescription: "public, nobody", rule: .publicRoute, method: .get, identity: nil, expected: "permit"),
    Case(testDescription: "public, wrong method", rule: .publicRoute, method: .put, identity: nil, expected: "method_not_allowed"),
    Case(testDescription: "session needed, nobody", rule: .identified, method: .get, identity: nil, expected: "session_required"),
    Case(testDescription: "session needed, alice", rule: .identified, method: .get, identity: alice, expected: "permit"),
    Case(testDescription: "method comes first", rule: .identified, method: .put, identity: nil, expected: "method_not_allowed"),
    Case(testDescription: "TRACE never", rule: .publicRoute, method: .trace, identity: alice, expected: "method_not_allowed"),
    Case(testDescription: "CONNECT never", rule: .publicRoute, method: .connect, identity: alice, expected: "method_not_allowed"),
    Case(testDescription: "unknown never", rule: .publicRoute, method: .other, identity: alice, expected: "method_not_allowed"),
    Case(testDescription: "claim met", rule: groups, method: .get, identity: alice, expected: "permit"),
    Case(testDescription: "claim, nobody", rule: groups, method: .get, identity: nil, expected: "session_required"),
    Case(
      testDescription: "claim not met", rule: groups, method: .get, identity: Identity(issuer: "https://id", subject: "bob"),
      expected: "forbidden"),
  ]

  @Test("the route's rule and methods decide, and nothing else", arguments: cases)
  func table(_ row: Case) {
    let methods = MethodSet([.get, .head, .trace, .connect, .other])
    let decision = PolicyEnforcementPoint.decide(
      RoutePolicy(route: 7, methods: methods, rule: row.rule), method: row.method, identity: row.identity)
    switch decision {
    case .permit(let permit):
      #expect(row.expected == "permit")
      #expect(permit.route == 7 && permit.method == row.method)
    case .deny(let reason):
      #expect(reason.code == row.expected)
      if case .methodNotAllowed(let allowed) = reason { #expect(allowed == MethodSet([.get, .head])) }
    }
  }

  @Test("identifiers that are not equal: two spellings of é are two subjects and two claim values (S37)")
  func canonicalEquivalence() {
    let composed = Identity(issuer: "i", subject: Identifier("jos\u{e9}"), claims: ["groups": [Identifier("caf\u{e9}")]])
    let decomposed = Identity(issuer: "i", subject: Identifier("jose\u{301}"), claims: ["groups": [Identifier("cafe\u{301}")]])
    #expect(composed.subject != decomposed.subject)
    let policy = RoutePolicy(
      route: 0, methods: .plain, rule: .claim(name: "café", claim: "groups", anyOf: [Identifier("caf\u{e9}")]))
    #expect(PolicyEnforcementPoint.decide(policy, method: .get, identity: decomposed) == .deny(.forbidden(rule: "café")))
  }

  @Test("a claim with two values has no single value")
  func singleClaim() {
    #expect(Self.alice.single("groups") == nil && Self.alice.single("name") == "Alice" && Self.alice.single("none") == nil)
  }
}
