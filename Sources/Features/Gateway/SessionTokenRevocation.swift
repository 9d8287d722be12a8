import IntercomCore
import OIDC
import Sessions
import Synchronization
import Telemetry

/// Gives the tokens of ended sessions back to the provider (docs/decisions/0031).
package final class SessionTokenRevocation: SessionAftercare {
  package let kind = AftercareKind.revocation
  private let provider: RelyingParty
  private let sessions: SessionManager
  private let log: StructuredLog
  private let hasTold = Atomic<Bool>(false)

  package init(_ provider: RelyingParty, _ sessions: SessionManager, log: StructuredLog) {
    self.provider = provider
    self.sessions = sessions
    self.log = log
  }

  package func sessionEnded(_ remains: SessionRemains) async -> AftercareOutcome {
    do {
      guard try provider.canRevoke() else {
        if !hasTold.exchange(true, ordering: .relaxed) {
          log.info("revocation_unsupported", "The provider has no revocation endpoint: tokens of sessions that end live on for their time.")
        }
        return .needless
      }
      if isLeft(remains) { return .needless }
      if try await isShared(remains) { return .needless }
      let tokens = tokens(of: remains)
      for (token, hint) in tokens { try await provider.revoke(token, hint) }
      return tokens.isEmpty ? .needless : .done
    } catch let error as OIDCError {
      return error.isTemporary ? .again(error.description, after: error.retryAfter) : .failed(error.description)
    } catch { return .again("the session store does not answer") }
  }

  /// A session whose time is over says nothing against the person's session at the provider, which Keycloak ends when the last client's token is
  /// revoked: who comes back would have to type a password. With offline access the grant has a life of its own, and nobody would end it.
  private func isLeft(_ remains: SessionRemains) -> Bool {
    switch remains.reason {
    case .idle, .absolute: !provider.asksForOfflineAccess
    default: false
    }
  }

  /// At Keycloak a refresh token stands for what the client has of the provider's whole session: revoking it would end a newer session here that
  /// belongs to the same one, such as that of a browser that lost its cookie and signed in again.
  private func isShared(_ remains: SessionRemains) async throws(SessionStoreError) -> Bool {
    guard let sid = remains.session.sid else { return false }
    return try await sessions.hasSession(issuer: remains.session.issuer, sid: sid)
  }

  /// The exchanged ones first: with the refresh token the provider may forget whose they are.
  private func tokens(of remains: SessionRemains) -> [(Secret<String>, TokenRevocation.Hint)] {
    var all = remains.backendTokens.map { ($0.accessToken, TokenRevocation.Hint.accessToken) }
    guard let own = remains.tokens else { return all }
    if let refreshToken = own.refreshToken {
      // One that the provider has just refused is none any more, and one that was answered with another person's is spent; what came for it was
      // given back at once. Access tokens go with their refresh token (RFC 7009 §2.1).
      if remains.reason != .refreshRefused, remains.reason != .identityChanged { all.append((refreshToken, .refreshToken)) }
    } else if own.isUsable(at: sessions.now()) {
      all.append((own.accessToken, .accessToken))
    }
    return all
  }
}
