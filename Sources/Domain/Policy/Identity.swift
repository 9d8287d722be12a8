import IntercomCore

/// Who a request comes from, as verified: made from a live session or a verified bearer token, never from a header of the client.
package struct Identity: Sendable, Hashable {
  /// `iss`: a subject means something only beside its issuer ([OIDC Core §2](https://openid.net/specs/openid-connect-core-1_0.html#IDToken)).
  package let issuer: Identifier
  package let subject: Identifier
  private let claims: [Identifier: [Identifier]]

  /// - Parameter claims: each claim as a list of texts: a string or number is a list of one, an array a list of its members.
  package init(issuer: Identifier, subject: Identifier, claims: [Identifier: [Identifier]] = [:]) {
    self.issuer = issuer
    self.subject = subject
    self.claims = claims
  }

  /// All values of a claim, empty when it is absent.
  package func values(of claim: Identifier) -> [Identifier] { claims[claim] ?? [] }

  /// The value of a claim that has exactly one: several are never silently one of them.
  package func single(_ claim: Identifier) -> Identifier? {
    let values = values(of: claim)
    return values.count == 1 ? values[0] : nil
  }
}
