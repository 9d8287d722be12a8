import Cryptography
import IntercomCore

/// Proof Key for Code Exchange, method S256 ([RFC 7636](https://www.rfc-editor.org/rfc/rfc7636)); `plain` is never used.
package struct ProofKey: Sendable {
  /// 43 characters from 32 random bytes ([RFC 7636 §4.1](https://www.rfc-editor.org/rfc/rfc7636#section-4.1)).
  package let verifier: Secret<String>

  package init(_ random: any RandomSource) { verifier = Secret(Base64URL.encode(random.bytes(32))) }
  package init(verifier: Secret<String>) { self.verifier = verifier }

  /// [RFC 7636 §4.2](https://www.rfc-editor.org/rfc/rfc7636#section-4.2)
  package var challenge: String { Base64URL.encode(sha256(Array(verifier.reveal().utf8))) }
}
