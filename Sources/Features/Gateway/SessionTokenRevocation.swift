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

  package func isNeeded(after remains: SessionRemains) -> Bool {
    guard !isLeft(remains), !tokens(of: remains).isEmpty else { return false }
    // What is not known yet may turn out well.
    return (try? canRevoke()) ?? true
  }

  package func sessionEnded(_ remains: SessionRemains) async -> AftercareOutcome {
    do throws(OIDCError) {
      guard try canRevoke() else { return .needless }
    } catch { return outcome(error) }
    if isLeft(remains) { return .needless }
    do throws(SessionStoreError) {
      if try await isShared(remains) { return .needless }
    } catch { return .again("the session store does not answer") }
    var outcome = AftercareOutcome.needless
    for (token, hint) in tokens(of: remains) {
      do throws(OIDCError) {
        try await provider.revoke(token, hint)
        outcome = outcome.and(.done)
      } catch {
        // The others are tried all the same, unless the provider does not even answer.
        outcome = outcome.and(self.outcome(error))
        if error.code == .timeout { break }
      }
    }
    return outcome
  }

  private func outcome(_ error: OIDCError) -> AftercareOutcome {
    error.isTemporary ? .again(error.description, after: error.retryAfter) : .failed(error.description)
  }

  /// Tells once of a provider that cannot.
  private func canRevoke() throws(OIDCError) -> Bool {
    if try provider.canRevoke() { return true }
    if !hasTold.exchange(true, ordering: .relaxed) {
      log.info("revocation_unsupported", "The provider has no revocation endpoint: tokens of sessions that end live on for their time.")
    }
    return false
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

  /// The refresh token first: it stands for the whole grant, and time may be over before the others had their turn.
  private func tokens(of remains: SessionRemains) -> [(Secret<String>, TokenRevocation.Hint)] {
    var all: [(Secret<String>, TokenRevocation.Hint)] = []
    if let own = remains.tokens {
      if let refreshToken = own.refreshToken {
        // One that the provider has just refused is none any more, and one that was answered with another person's is spent; what came for it was
        // given back at once. Access tokens go with their refresh token (RFC 7009 §2.1).
        if remains.reason != .refreshRefused, remains.reason != .identityChanged { all.append((refreshToken, .refreshToken)) }
      } else if own.isUsable(at: sessions.now()) {
        all.append((own.accessToken, .accessToken))
      }
    }
    return all + remains.backendTokens.map { ($0.accessToken, .accessToken) }
  }
}
