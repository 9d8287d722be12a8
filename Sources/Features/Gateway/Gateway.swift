import Cryptography
import HTTP1
import HTTPMessage
import IntercomCore
import Policy
import Sessions

/// The gateway's rules: plain values, made once from the configuration, shared by all loops.
package struct Gateway: Sendable {
  package let table: RouteTable
  package let cookies: OwnCookies
  /// Checks CSRF tokens; every replica has the same keys.
  package let csrf: CSRFTokens
  /// Signs where to go after the provider's logout page.
  package let logoutKey: Secret<[UInt8]>
  /// For the answers that tell of a session's end.
  private let cookieDeletion: FieldLines

  /// More rounds of `.need` than this and the request is given up: a request needs a session, a refresh and a credential.
  package static let maximumRounds = 8
  /// A path and query longer than this are not come back to after a login.
  package static let maximumReturnBytes = 2048

  package init(table: RouteTable, cookies: OwnCookies, csrf: CSRFTokens, logoutKey: Secret<[UInt8]>) {
    self.table = table
    self.cookies = cookies
    self.csrf = csrf
    self.logoutKey = logoutKey
    cookieDeletion = FieldLines(trusted: ["Set-Cookie": cookies.deleteSession])
  }

  /// One pure function says what may happen to a request, from what is known: the same bytes and the same knowledge always give the same
  /// verdict. The order of the steps is that of `behaviour`: route → Origin and CORS → session → CSRF proof → policy → credential.
  package func decide(_ request: borrowing CanonicalRequest, _ head: borrowing Span<UInt8>, _ known: borrowing Known) -> Verdict {
    let routed: Routed
    switch route(request, head) {
    case .failure(let answer): return .answer(answer)
    case .success(let found): routed = found
    }
    let screened: Screened
    switch screen(routed, request, head) {
    case .failure(let answer): return .answer(answer)
    case .success(let passed): screened = passed
    }
    if case .own(let endpoint) = table.routes[routed.index].kind {
      return .own(
        OwnCall(
          endpoint: endpoint, route: routed.index, presentedSession: cookies.session(request, head), intent: screened.intent,
          hasAllowedOrigin: screened.hasAllowedOrigin, cors: screened.cors))
    }
    if table.routes[routed.index].isPublic { return permitPublic(screened, request, head) }
    switch identify(screened, request, head, known) {
    case .failure(let stop): return stop.verdict
    case .success(let identified):
      guard proves(identified, request, head) else { return .answer(Self.proofMissing(screened.cors)) }
      return permitAndEquip(identified, request, head, known)
    }
  }
}

/// A request whose route is known.
struct Routed {
  let index: Int
}

/// A request whose Origin, method and path the route accepts.
struct Screened {
  let index: Int
  let intent: RequestIntent
  let hasAllowedOrigin: Bool
  let cors: FieldLines
}

/// A request with a live session.
struct Identified {
  let screened: Screened
  let session: SessionView
}

/// A verdict as the failure of a step.
struct Stop: Error {
  let verdict: Verdict
}

extension GatewayAnswer: Error {}

extension Gateway {
  // MARK: route

  private func route(_ request: borrowing CanonicalRequest, _ head: borrowing Span<UInt8>) -> Result<Routed, GatewayAnswer> {
    let method = request.method
    switch table.lookup(request, head) {
    case .found(let index): return .success(Routed(index: index))
    // CONNECT names no path, and TRACE would show its own fields: 405 wherever they go, and no method would do there.
    case .notFound where method == .connect || method == .trace:
      return .failure(
        unrouted(request, head, Problem(405, "method_refused", "Intercom does not carry TRACE or CONNECT."), extra: ["Allow": ""]))
    case .notFound:
      return .failure(
        unrouted(
          request, head,
          Problem(404, "no_route", "No route of Intercom has this path. Check the address, or the routes in its configuration.")))
    case .misdirected:
      return .failure(
        unrouted(
          request, head,
          Problem(421, "unknown_host", "Intercom does not serve this host. Check the address, or the hosts in its configuration.")))
    case .escapedPrefix:
      return .failure(
        unrouted(request, head, Problem(400, "escaped_route", "The beginning of the path must be written without percent escapes.")))
    }
  }

  /// An answer outside any route: a foreign Origin is refused here too, an allowed one may read why.
  private func unrouted(
    _ request: borrowing CanonicalRequest, _ head: borrowing Span<UInt8>, _ problem: Problem, extra: KeyValuePairs<String, String> = [:]
  ) -> GatewayAnswer {
    let match = table.fallbackCORS.match(request, head)
    if case .refused = match { return Self.originRefused() }
    return GatewayAnswer(problem, cors: table.fallbackCORS.lines(for: match), extra: extra)
  }

  static func originRefused() -> GatewayAnswer {
    GatewayAnswer(
      Problem(403, "origin_refused", "Pages of this origin may not use Intercom. An operator can list it under origins."),
      cors: CORSPolicy.vary)
  }

  // MARK: origin, preflight, method, path

  private func screen(_ routed: Routed, _ request: borrowing CanonicalRequest, _ head: borrowing Span<UInt8>)
    -> Result<Screened, GatewayAnswer>
  {
    let route = table.routes[routed.index]
    let match = route.ignoresOrigin ? .absent : route.cors.match(request, head)
    if case .refused = match { return .failure(Self.originRefused()) }
    let cors = route.cors.lines(for: match)
    let isAllowed = if case .allowed = match { true } else { false }
    if request.method == .options, request.hasAccessControlRequestMethod, isAllowed {
      let lines = route.cors.preflightLines(
        for: match, methods: route.methods, requestedHeaders: request.accessControlRequestHeaders.bytes(in: head))
      return .failure(GatewayAnswer(status: 204, lines: lines, reason: "preflight"))
    }
    let method = request.method
    guard route.methods.contains(method), method != .trace, method != .connect else {
      return .failure(Self.methodRefused(route, cors))
    }
    if request.pathHasEncodedSlash, !route.passesEncodedSlashes {
      return .failure(
        GatewayAnswer(Problem(400, "encoded_slash", "This route takes no encoded slash (%2F) in its path."), cors: cors))
    }
    if request.hasUpgrade, case .proxy = route.kind {
      return .failure(GatewayAnswer(Problem(501, "upgrade_refused", "This route does not carry protocol upgrades."), cors: cors))
    }
    return .success(
      Screened(index: routed.index, intent: RequestIntent(request, head), hasAllowedOrigin: isAllowed, cors: cors))
  }

  private static func methodRefused(_ route: Route, _ cors: FieldLines) -> GatewayAnswer {
    let allowed = route.methods.methods.map(\.name).joined(separator: ", ")
    return GatewayAnswer(
      Problem(405, "method_refused", "This route takes only the methods of its Allow field."), cors: cors,
      extra: ["Allow": allowed])
  }

  private func permitPublic(
    _ screened: Screened, _ request: borrowing CanonicalRequest, _ head: borrowing Span<UInt8>
  ) -> Verdict {
    switch PolicyEnforcementPoint.decide(table.policies[screened.index], method: request.method, identity: nil) {
    case .permit(let permit):
      return .forward(
        ForwardOrder(
          permit: permit, route: screened.index, session: cookies.session(request, head), credential: FieldLines(), cors: screened.cors))
    case .deny(let reason): return .answer(Self.policyDenied(reason, screened.cors))
    }
  }

  static func policyDenied(_ reason: DenyReason, _ cors: FieldLines) -> GatewayAnswer {
    GatewayAnswer(Problem(403, reason.code, "The policy of this route does not allow this request."), cors: cors)
  }

  // MARK: identify

  private func identify(
    _ screened: Screened, _ request: borrowing CanonicalRequest, _ head: borrowing Span<UInt8>, _ known: borrowing Known
  ) -> Result<Identified, Stop> {
    guard let id = cookies.session(request, head) else { return .failure(sessionMissing(screened, request, head)) }
    if case .sessionEnded = known.findings.credential { return .failure(sessionMissing(screened, request, head, endedNow: true)) }
    switch known.findings.session {
    case .none: return .failure(sessionMissing(screened, request, head))
    case .storeUnavailable: return .failure(Stop(verdict: .answer(Self.unavailable("session_store_unavailable", screened.cors))))
    case .notAsked, .live:
      if let view = known.sessions[id], known.now < view.idleDeadline, known.now < view.absoluteDeadline {
        return .success(Identified(screened: screened, session: view))
      }
      return .failure(need(.session(id), screened, known))
    }
  }

  private func need(_ need: Need, _ screened: Screened, _ known: borrowing Known) -> Stop {
    guard known.findings.rounds < Self.maximumRounds else {
      return Stop(verdict: .answer(Self.unavailable("too_many_rounds", screened.cors)))
    }
    return Stop(verdict: .need(need))
  }

  /// A navigation is sent to the provider and comes back; a script is told that it needs a session.
  /// When the session ended under this very request the cookie goes too; not otherwise, for a late answer could take a newer session's cookie.
  private func sessionMissing(
    _ screened: Screened, _ request: borrowing CanonicalRequest, _ head: borrowing Span<UInt8>, endedNow: Bool = false
  ) -> Stop {
    var lines = screened.cors
    if endedNow { lines.append(cookieDeletion) }
    guard screened.intent.isNavigation else {
      return Stop(
        verdict: .answer(
          GatewayAnswer(
            Problem(
              401, "session_required", "No live session: open /silent in a frame, or send the user to /login, then repeat the request."),
            cors: lines, extra: Self.challenge)))
    }
    var target = request.path.bytes(in: head)
    if request.hasQuery { target += [UInt8(ascii: "?")] + request.query.bytes(in: head) }
    if target.count > Self.maximumReturnBytes { target = [UInt8(ascii: "/")] }
    if let origin = table.routes[screened.index].hostOrigin { target = origin.bytes + target }
    return Stop(
      verdict: .own(
        OwnCall(
          endpoint: .login, route: screened.index, presentedSession: nil, intent: screened.intent,
          hasAllowedOrigin: screened.hasAllowedOrigin, cors: lines, returnTo: target)))
  }

  /// RFC 9110 §15.5.2 demands a challenge of every 401. No registered scheme means a cookie, and browsers ask for a password when they know
  /// the scheme; this one nobody knows.
  private static var challenge: KeyValuePairs<String, String> { ["WWW-Authenticate": "Session realm=\"intercom\""] }

  static func unavailable(_ code: String, _ cors: FieldLines) -> GatewayAnswer {
    GatewayAnswer(
      Problem(503, code, "A service that Intercom needs does not answer at the moment. Your session is kept; try again shortly."),
      cors: cors, extra: ["Retry-After": "2"])
  }

  // MARK: prove

  private func proves(_ identified: Identified, _ request: borrowing CanonicalRequest, _ head: borrowing Span<UInt8>) -> Bool {
    let screened = identified.screened
    let mode = table.routes[screened.index].csrf
    if mode == .anyProof {
      if screened.hasAllowedOrigin { return true }
      let method = request.method
      let reads = method == .get || method == .head
      if reads, screened.intent.isSameOriginOrUser || screened.intent.isTopLevel { return true }
    }
    guard !request.csrfToken.isEmpty else { return false }
    return csrf.verify(request.csrfToken.bytes(in: head), for: identified.session.id)
  }

  static func proofMissing(_ cors: FieldLines) -> GatewayAnswer {
    GatewayAnswer(
      Problem(403, "csrf_proof_missing", "The request does not prove where it comes from: send the X-CSRF-Token that /silent gave."),
      cors: cors)
  }

  // MARK: permit and equip

  private func permitAndEquip(
    _ identified: Identified, _ request: borrowing CanonicalRequest, _ head: borrowing Span<UInt8>, _ known: borrowing Known
  ) -> Verdict {
    let (screened, session) = (identified.screened, identified.session)
    let permit: Permit
    switch PolicyEnforcementPoint.decide(table.policies[screened.index], method: request.method, identity: session.identity) {
    case .deny(let reason): return .answer(Self.policyDenied(reason, screened.cors))
    case .permit(let given): permit = given
    }
    func order(_ credential: FieldLines) -> Verdict {
      .forward(
        ForwardOrder(permit: permit, route: screened.index, session: session.id, credential: credential, cors: screened.cors))
    }
    if case .none = table.routes[screened.index].credential { return order(FieldLines()) }
    switch known.findings.credential {
    case .ready(let view): return order(view.lines)
    case .notAsked:
      if let view = session.credential(route: screened.index, now: known.now) { return order(view.lines) }
      return need(.credential(session: session.id, route: screened.index), screened, known).verdict
    case .refused:
      return .answer(
        GatewayAnswer(
          Problem(403, "credential_refused", "The identity provider does not give this user access to this service."), cors: screened.cors))
    case .claimMissing:
      return .answer(
        GatewayAnswer(
          Problem(403, "claim_missing", "The sign-in lacks a claim that this route needs; an operator can add its mapper."),
          cors: screened.cors))
    case .invalidAnswer:
      return .answer(
        GatewayAnswer(
          Problem(502, "credential_invalid", "The identity provider gave something else than the credential that was asked for."),
          cors: screened.cors))
    case .sessionEnded: return sessionMissing(screened, request, head, endedNow: true).verdict
    case .providerUnavailable: return .answer(Self.unavailable("provider_unavailable", screened.cors))
    case .storeUnavailable: return .answer(Self.unavailable("session_store_unavailable", screened.cors))
    }
  }
}

extension EndpointID {
  package static let home: EndpointID = "home"
  package static let silent: EndpointID = "silent"
  package static let login: EndpointID = "login"
  package static let callback: EndpointID = "callback"
  package static let logout: EndpointID = "logout"
  package static let backchannelLogout: EndpointID = "backchannel-logout"
}
