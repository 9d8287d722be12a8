import IntercomCore
import OIDC
import Sessions
import StrictJSON
import Workers

/// Refreshes and exchanges through the relying party, on the workers: the one place where Sessions meets OIDC.
package struct ProviderTokens: TokenSource {
  private let provider: RelyingParty
  private let workers: Workers

  package init(_ provider: RelyingParty, workers: Workers) {
    self.provider = provider
    self.workers = workers
  }

  package func refresh(_ request: RefreshRequest) async throws(TokenSourceError) -> RefreshedTokens {
    let binding = IDTokenBinding(
      issuer: request.issuer, subject: request.subject, sessionID: request.claims["sid"]?.identifier, claims: request.claims)
    let result: RefreshResult
    do throws(OIDCError) {
      result = try await withTaskExecutorPreference(workers) { () async throws(OIDCError) in
        try await provider.refresh(request.refreshToken, binding)
      }
    } catch { throw Self.translate(error) }
    let tokens = result.tokens
    var identity: RefreshedTokens.NewIdentity?
    if let verified = result.identity, let idToken = tokens.idToken {
      identity = .init(idToken: idToken, issuer: verified.issuer, subject: verified.subject, claims: verified.claims)
    }
    return RefreshedTokens(
      accessToken: tokens.accessToken, expiresIn: Self.life(tokens.received, tokens.accessExpires), refreshToken: tokens.refreshToken,
      refreshExpiresIn: tokens.refreshExpires.map { Self.life(tokens.received, $0) }, identity: identity)
  }

  package func exchange(_ request: ExchangeRequest) async throws(TokenSourceError) -> ExchangedTokens {
    let exchange = TokenExchange(
      subjectToken: request.subjectToken, subject: request.subject, sessionID: request.sessionID, audience: request.target.audience,
      scope: request.target.scope?.description, resource: request.target.resource?.description, alsoFor: request.target.alsoFor)
    do throws(OIDCError) {
      let result = try await withTaskExecutorPreference(workers) { () async throws(OIDCError) in try await provider.exchange(exchange) }
      return ExchangedTokens(accessToken: result.token, expiresIn: Self.life(result.received, result.expires))
    } catch { throw Self.translate(error) }
  }

  private static func life(_ from: WallInstant, _ to: WallInstant) -> Duration { .seconds(max(0, to.seconds &- from.seconds)) }

  /// Only what the provider itself refused ends or denies anything. A provider that does not answer may do so in a moment (`unavailable`,
  /// 503); one whose answer cannot be used has answered (`invalidAnswer`, 502).
  private static func translate(_ error: OIDCError) -> TokenSourceError {
    switch error.code {
    case .refreshRefused: .refused(code: "invalid_grant")
    case .identityChanged: .identityChanged
    case .exchangeRefused: .refused(code: error.word ?? error.code.rawValue, detail: error.detail)
    case _ where error.isTemporary: .unavailable(error.description)
    default: .invalidAnswer(error.detail)
    }
  }
}
