import HTTP1
import HTTPMessage
import IntercomCore
import Matrix
import Policy
import ReverseProxy
import Sessions

/// What one loop knows of a live session: enough to decide a warm request without asking anybody. Confined to its loop.
///
/// It never outlives the store's own copy: ending a session drops it on every loop before the end is acknowledged.
package final class SessionView {
  package let id: SessionID
  let text: SessionText
  /// As last read or written.
  package private(set) var session: Session
  package let identity: Identity
  /// In seconds, like all times here: from this instant on the store must be read again before the session counts as idle.
  private var idleDeadline: Int64
  private let absoluteDeadline: Int64
  /// The latest use that this loop saw; written by `touch` once in a while.
  private var latestUse: Int64
  /// From here on a use must be written.
  private var touchDue: Int64
  private let idle: Int64
  private let touchInterval: Duration
  /// A touch is on its way to the store.
  var isTouching = false
  /// Since the table's hand passed last.
  var isUsed = false
  /// What is ready to be sent, by route.
  private var credentials: [CredentialView?] = []

  /// nil for an id that has no text, which none has.
  package init?(id: SessionID, session: Session, settings: SessionSettings, now: WallInstant) {
    guard let text = SessionText(id) else { return nil }
    self.id = id
    self.text = text
    self.session = session
    identity = Identity(issuer: session.issuer, subject: session.subject)
    idle = WallInstant(seconds: 0).advanced(by: settings.idle).seconds
    touchInterval = settings.touchInterval
    latestUse = max(session.lastUse, now).seconds
    idleDeadline = WallInstant(seconds: latestUse).advanced(by: settings.idle).seconds
    absoluteDeadline = min(session.absoluteExpiry, session.created.advanced(by: settings.absolute)).seconds
    touchDue = session.lastUse.advanced(by: touchInterval).seconds
  }

  package var lastUse: WallInstant { WallInstant(seconds: latestUse) }

  /// Not over by what this loop knows.
  func isLive(at now: WallInstant) -> Bool { now.seconds < idleDeadline && now.seconds < absoluteDeadline }

  /// Notes the use. True: the store must learn of it now, which `isTouching` says until it has.
  func use(at now: WallInstant) -> Bool {
    let seconds = now.seconds
    if seconds > latestUse {
      latestUse = seconds
      idleDeadline = seconds.addingReportingOverflow(idle).overflow ? .max : seconds &+ idle
    }
    return seconds >= touchDue && !isTouching
  }

  /// The credential of this route while it is fresh.
  package func credential(route: RouteMark, now: WallInstant) -> CredentialView? {
    guard let view = held(route), now.seconds < view.freshUntil.seconds else { return nil }
    return view
  }

  /// What is kept for this very route. One that a reload has made stands at the same place as another before it.
  @inline(__always) private func held(_ route: RouteMark) -> CredentialView? {
    let index = route.index
    guard index < credentials.count, let view = credentials[index], view.route === route else { return nil }
    return view
  }

  /// Takes a newer copy of the session. With new tokens come new claims: the credentials that were made of the old ones are dropped.
  package func renew(_ newer: Session) {
    guard newer.version >= session.version else { return }
    if newer.tokens.generation != session.tokens.generation { credentials = [] }
    session = newer
    touchDue = newer.lastUse.advanced(by: touchInterval).seconds
  }

  /// Where a route needs no credential: nothing, in this session's name.
  func nothing(route: RouteMark) -> CredentialView {
    if let view = held(route) { return view }
    let view = CredentialView(Credential(lines: FieldLines(), freshUntil: WallInstant(seconds: .max)), route: route, session: id)
    setCredential(view, route: route)
    return view
  }

  /// Keeps (or with nil drops) the credential of a route.
  package func setCredential(_ view: CredentialView?, route: RouteMark) {
    let route = route.index
    guard route < 4096 else { return }
    // Out of the property and back: an access within which nothing is called needs no check, when it reads either.
    var changed = credentials
    credentials = []
    while changed.count <= route { changed.append(nil) }
    changed[route] = view
    credentials = changed
  }
}

/// The field lines that a route's backend wants.
package struct Credential: Sendable {
  package let lines: FieldLines
  /// From this instant on it must be asked for again.
  package let freshUntil: WallInstant

  package init(lines: FieldLines, freshUntil: WallInstant) {
    self.lines = lines
    self.freshUntil = freshUntil
  }
}

/// A credential that is ready to be sent: one object for all requests of a session on a route. It is the equipment, not the permission:
/// policy is asked for each request.
package final class CredentialView: Sendable {
  /// Whose it is and where it goes; nobody's where a route needs none.
  let session: SessionID?
  /// Its key, for what must end with it.
  let key: SessionKey?
  /// Of the bearer token for which it was made.
  let bearer: SessionKey?
  let route: RouteMark
  let request: RequestRewrite
  let freshUntil: WallInstant

  package init(_ credential: Credential, route: RouteMark, session: SessionID?, bearer: SessionKey? = nil) {
    self.route = route
    self.bearer = bearer
    self.session = session
    key = session.map { SessionKey($0) }
    request = RequestRewrite(added: credential.lines)
    freshUntil = credential.freshUntil
  }

  var lines: FieldLines { request.added }
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
    /// It is there, with a value that the credential cannot hold.
    case claimUnusable
    /// The Matrix homeserver gave no token.
    case matrix(MatrixError)
  }
  package enum BearerFinding: Sendable {
    case notAsked, refused, unavailable
  }
  package var session: SessionFinding = .notAsked
  package var bearer: BearerFinding = .notAsked
  package var credential: CredentialFinding = .notAsked
  /// Rounds of `.need` so far; `Gateway.maximumRounds` ends them.
  package var rounds = 0

  package init() {}
}

/// Everything a decision may look at besides the request: a snapshot, no clock, no randomness, nothing that waits.
package struct Known {
  package let sessions: SessionTable
  package let findings: Findings
  package let now: WallInstant
  /// The table's copies may be used without asking the store (`CopyLease`).
  package let mayUseCopies: Bool

  package init(sessions: SessionTable, findings: Findings, now: WallInstant, mayUseCopies: Bool = true) {
    self.sessions = sessions
    self.findings = findings
    self.now = now
    self.mayUseCopies = mayUseCopies
  }

  /// The copy in the table is good for this request: by the store's word for all copies, or because it was read for this request.
  @inline(__always) var isCopyGood: Bool {
    if mayUseCopies { return true }
    if case .live = findings.session { return true }
    return false
  }
}
