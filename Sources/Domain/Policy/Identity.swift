import IntercomCore

/// Who a request comes from, as verified: made from a live session or a verified bearer token, never from a header of the client.
package struct Identity: Sendable, Hashable {
  /// One object: a permit of every request names its identity, and copying it must cost nothing.
  private let content: Content
  private final class Content: Sendable {
    let issuer: Identifier
    let subject: Identifier
    let claims: [Identifier: [Identifier]]

    init(_ issuer: Identifier, _ subject: Identifier, _ claims: [Identifier: [Identifier]]) {
      self.issuer = issuer
      self.subject = subject
      self.claims = claims
    }
  }
  /// `iss`: a subject means something only beside its issuer ([OIDC Core §2](https://openid.net/specs/openid-connect-core-1_0.html#IDToken)).
  package var issuer: Identifier { content.issuer }
  package var subject: Identifier { content.subject }

  /// - Parameter claims: each claim as a list of texts: a string or number is a list of one, an array a list of its members.
  package init(issuer: Identifier, subject: Identifier, claims: [Identifier: [Identifier]] = [:]) {
    content = Content(issuer, subject, claims)
  }

  package static func == (left: Self, right: Self) -> Bool {
    left.issuer == right.issuer && left.subject == right.subject && left.content.claims == right.content.claims
  }
  package func hash(into hasher: inout Hasher) {
    hasher.combine(issuer)
    hasher.combine(subject)
  }

  /// All values of a claim, empty when it is absent.
  package func values(of claim: Identifier) -> [Identifier] { content.claims[claim] ?? [] }

  /// The value of a claim that has exactly one: several are never silently one of them.
  package func single(_ claim: Identifier) -> Identifier? {
    let values = values(of: claim)
    return values.count == 1 ? values[0] : nil
  }
}
