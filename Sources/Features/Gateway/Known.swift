import HTTP1
import HTTPMessage
import IntercomCore
import Policy
import Sessions

/// What one loop knows of a live session: enough to decide a warm request without asking anybody. Confined to its loop.
///
/// It never outlives the store's own copy: ending a session drops it on every loop before the end is acknowledged.
package final class SessionView {
  package let id: SessionID
  /// As last read or written.
  package var session: Session
  package let identity: Identity
  /// From this instant on the store must be read again before the session counts as idle.
  package var idleDeadline: WallInstant
  package let absoluteDeadline: WallInstant
  /// The latest use that this loop saw; written by `touch` once in a while.
  package var lastUse: WallInstant
  /// A touch is on its way to the store.
  package var isTouching = false
  /// Ready field lines, by route.
  private var credentials: [CredentialView?] = []

  package init(id: SessionID, session: Session, identity: Identity, idle: Duration, now: WallInstant) {
    self.id = id
    self.session = session
    self.identity = identity
    lastUse = max(session.lastUse, now)
    idleDeadline = lastUse.advanced(by: idle)
    absoluteDeadline = session.absoluteExpiry
  }

  /// The credential of this route while it is fresh.
  package func credential(route: Int, now: WallInstant) -> CredentialView? {
    guard credentials.indices.contains(route), let view = credentials[route], now < view.freshUntil else { return nil }
    return view
  }

  /// Takes a newer copy of the session. With new tokens come new claims: the credentials that were made of the old ones are dropped.
  package func renew(_ newer: Session) {
    guard newer.version >= session.version else { return }
    if newer.tokens.generation != session.tokens.generation { credentials.removeAll(keepingCapacity: true) }
    session = newer
  }

  /// Keeps (or with nil drops) the credential of a route.
  package func setCredential(_ view: CredentialView?, route: Int) {
    guard route >= 0, route < 4096 else { return }
    while credentials.count <= route { credentials.append(nil) }
    credentials[route] = view
  }
}

/// A credential that is ready to be sent.
package struct CredentialView: Sendable {
  package let lines: FieldLines
  /// From this instant on it must be asked for again.
  package let freshUntil: WallInstant

  package init(lines: FieldLines, freshUntil: WallInstant) {
    self.lines = lines
    self.freshUntil = freshUntil
  }
}

/// What the resolver found out for this one request, round by round.
package struct Findings: Sendable {
  package enum SessionFinding: Sendable {
    case notAsked
    /// It lives and is in the loop's table now.
    case live
    case none
    case storeUnavailable
  }
  package enum CredentialFinding: Sendable {
    case notAsked
    case ready(CredentialView)
    /// The provider refuses this user this audience.
    case refused
    /// The provider refused to go on: the session is over.
    case sessionEnded
    case providerUnavailable
    case storeUnavailable
    /// The provider answered with something that is not the token asked for.
    case invalidAnswer
    /// A claim that the credential needs is not in the session.
    case claimMissing
  }
  package var session: SessionFinding = .notAsked
  package var credential: CredentialFinding = .notAsked
  /// Rounds of `.need` so far; `Gateway.maximumRounds` ends them.
  package var rounds = 0

  package init() {}
}

/// The loop's copies of live sessions.
package final class SessionTable {
  package var cache: SessionCache<SessionView>
  package init(capacity: Int = 20_000) { cache = SessionCache(capacity: capacity) }
  package subscript(id: SessionID) -> SessionView? { cache.use(id) }
}

/// Everything a decision may look at besides the request: a snapshot, no clock, no randomness, nothing that waits.
package struct Known {
  package let sessions: SessionTable
  package let findings: Findings
  package let now: WallInstant

  package init(sessions: SessionTable, findings: Findings, now: WallInstant) {
    self.sessions = sessions
    self.findings = findings
    self.now = now
  }
}
