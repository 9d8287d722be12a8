import HTTPMessage
import IntercomCore

/// What the gateway's own endpoints must know of the deployment.
package struct GatewaySettings: Sendable {
  /// Such as `https://ics.example.org/`: own URLs come only from here, never from Host.
  package var base: HTTPURL
  /// The origins that may embed `/silent` and that `returnTo` may name, the base URL's own included.
  package var allowedOrigins: AllowedOrigins
  /// The host routes' own origins: a login that began there goes back there.
  package var hostOrigins: [Origin]
  /// Whether `/logout` also ends the provider's session.
  package var logsOutAtProvider = true
  /// The claim that `/uuid` answers.
  package var userClaim: Identifier = "sub"

  package init(base: HTTPURL, allowedOrigins: AllowedOrigins, hostOrigins: [Origin] = []) {
    self.base = base
    self.allowedOrigins = allowedOrigins
    self.hostOrigins = hostOrigins
  }

  /// Where `returnTo` leads: a path of the base URL's, or a URL of an allowed origin.
  func returnTarget(_ wanted: [UInt8]) -> String {
    ReturnTarget.validate(wanted, base: base) { allowedOrigins.contains($0) || hostOrigins.contains($0) }
  }
  /// Scheme and authority, without a final slash.
  package var baseURL: String { base.origin.description }
}
