import HTTPMessage
import IntercomCore

/// What the gateway's own endpoints must know of the deployment.
package struct GatewaySettings: Sendable {
  /// Such as `https://ics.example.org/`: own URLs come only from here, never from Host.
  package var base: HTTPURL
  /// The origins that may embed `/silent` and that `returnTo` may name, the base URL's own included.
  package var allowedOrigins: [Origin]
  /// The claim that `/uuid` answers.
  package var uniqueIDClaim: Identifier
  /// Extra parameters and scope live in the relying party; this is whether `/logout` also ends the provider's session.
  package var logsOutAtProvider = true

  package init(base: HTTPURL, allowedOrigins: [Origin], uniqueIDClaim: Identifier = "sub") {
    self.base = base
    self.allowedOrigins = allowedOrigins
    self.uniqueIDClaim = uniqueIDClaim
  }

  /// Scheme and authority, without a final slash.
  package var baseURL: String { base.origin.description }
  package var redirectURI: String { baseURL + "/callback" }
}
