import Cryptography
import HTTP1
import HTTPMessage
import IntercomCore
import Policy
import ReverseProxy
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
    do throws(Stop) {
      let screened = try screen(try route(request, head), request, head)
      if let endpoint = screened.entry.own { return .stop(.own(try own(endpoint, screened, request, head, known))) }
      if screened.entry.route.isPublic { return .forward(try permitPublic(screened, request, head, known)) }
      if screened.entry.takesBearer, let order = try bearerOrder(screened, request, head, known) { return .forward(order) }
      let identified = try identify(screened, request, head, known)
      guard proves(identified, request, head) else {
        return .stop(.answer(screened.isUpgrade ? Self.upgradeUnproved(screened.cors) : Self.proofMissing(screened.cors)))
      }
      return .forward(try permitAndEquip(identified, request, head, known))
    } catch { return .stop(error) }
  }
}

/// A request whose Origin, method and path the route accepts.
struct Screened {
  let entry: RouteEntry
  let hasAllowedOrigin: Bool
  let response: ResponseRewrite
  /// It asks for a protocol that the route carries.
  var isUpgrade = false

  var cors: FieldLines { response.added }
}

/// A request with a live session.
struct Identified {
  let screened: Screened
  let session: SessionView
}

extension Gateway {
  // MARK: route

  private func route(_ request: borrowing CanonicalRequest, _ head: borrowing Span<UInt8>) throws(Stop) -> RouteEntry {
    let lookup = table.lookup(request, head)
    if case .found(let index) = lookup { return table.entries[index] }
    throw .answer(notRouted(lookup, request, head))
  }

  private func notRouted(
    _ lookup: RouteTable.Lookup, _ request: borrowing CanonicalRequest, _ head: borrowing Span<UInt8>
  ) -> GatewayAnswer {
    let method = request.method
    return switch lookup {
    // CONNECT names no path, and TRACE would show its own fields: 405 wherever they go, and no method would do there.
    case .notFound where method == .connect || method == .trace:
      unrouted(request, head, .methodNeverCarried, extra: ["Allow": ""])
    case .notFound where request.targetForm == .asterisk: serverOptions(request, head)
    case .found, .notFound:
      unrouted(
        request, head,
        Problem(404, "no_route", "No route of Intercom has this path. Check the address, or the routes in its configuration."))
    case .misdirected:
      unrouted(
        request, head,
        Problem(421, "unknown_host", "Intercom does not serve this host. Check the address, or the hosts in its configuration."))
    case .escapedPrefix:
      unrouted(request, head, Problem(400, "escaped_route", "The beginning of the path must be written without percent escapes."))
    }
  }

  /// An answer outside any route: a foreign Origin is refused here too, an allowed one may read why.
  private func unrouted(
    _ request: borrowing CanonicalRequest, _ head: borrowing Span<UInt8>, _ problem: Problem, extra: KeyValuePairs<String, String> = [:]
  ) -> GatewayAnswer {
    let match = table.fallbackCORS.match(request, head)
    if case .refused = match { return Self.originRefused() }
    return GatewayAnswer(problem, cors: table.fallbackCORS.lines(for: match, request, head), extra: extra)
  }

  /// `OPTIONS *` asks about Intercom as a whole (RFC 9110 §9.3.7): every method that some route takes.
  private func serverOptions(_ request: borrowing CanonicalRequest, _ head: borrowing Span<UInt8>) -> GatewayAnswer {
    let match = table.fallbackCORS.match(request, head)
    if case .refused = match { return Self.originRefused() }
    let methods = table.routes.reduce(MethodSet([])) { $0.union($1.methods) }.methods.map(\.name).joined(separator: ", ")
    var lines = table.fallbackCORS.lines(for: match, request, head)
    lines.append(FieldLines(trusted: ["Allow": methods]))
    return GatewayAnswer(status: 204, lines: lines, reason: "server_options")
  }

  static func originRefused() -> GatewayAnswer {
    GatewayAnswer(
      Problem(403, "origin_refused", "Pages of this origin may not use Intercom. An operator can list it under origins."),
      cors: CORSPolicy.vary)
  }

  // MARK: origin, preflight, method, path

  private func screen(
    _ entry: RouteEntry, _ request: borrowing CanonicalRequest, _ head: borrowing Span<UInt8>
  ) throws(Stop) -> Screened {
    let match = entry.route.ignoresOrigin ? .absent : entry.route.cors.match(request, head)
    if case .refused = match { throw .answer(Self.originRefused()) }
    let isAllowed = if case .absent = match { false } else { true }
    var screened = Screened(
      entry: entry, hasAllowedOrigin: isAllowed, response: entry.route.cors.rewrite(for: match, request, head))
    if isAllowed, request.hasAccessControlRequestMethod, request.method == .options {
      let lines = entry.route.cors.preflightLines(
        screened.cors, methods: entry.route.methods, requestedHeaders: request.accessControlRequestHeaders.bytes(in: head))
      throw .answer(GatewayAnswer(status: 204, lines: lines, reason: "preflight"))
    }
    guard entry.takenMethods.contains(request.method) else { throw .answer(Self.methodRefused(entry.route, screened.cors)) }
    if request.pathHasEncodedSlash, !entry.route.passesEncodedSlashes {
      throw .answer(
        GatewayAnswer(Problem(400, "encoded_slash", "This route takes no encoded slash (%2F) in its path."), cors: screened.cors))
    }
    if request.hasUpgrade, entry.own == nil { screened.isUpgrade = try isUpgrade(entry.route, request, head, screened.cors) }
    return screened
  }

  /// Whether the client asks for a protocol that the route carries. HTTP/2 without TLS is ignored, as RFC 9110 §7.8 allows: its requests would
  /// pass unseen. Other protocols are refused with what to do, for a client that gets a page instead of its tunnel is a puzzle.
  private func isUpgrade(
    _ route: Route, _ request: borrowing CanonicalRequest, _ head: borrowing Span<UInt8>, _ cors: FieldLines
  ) throws(Stop) -> Bool {
    let asked = UpgradeField.protocols(request.upgrade, head)
    if !asked.isEmpty, asked.allSatisfy({ $0 == Self.cleartextHTTP2 }) { return false }
    guard asked.contains(where: { route.upgrades.contains($0) }) else { throw .answer(Self.upgradeRefused(cors)) }
    let hasBody =
      switch request.framing {
      case .none, .length(0): false
      case .length, .chunked: true
      }
    guard request.method == .get, !hasBody else { throw .answer(Self.upgradeMalformed(cors)) }
    return true
  }

  private static let cleartextHTTP2 = Array("h2c".utf8)

  private static func upgradeRefused(_ cors: FieldLines) -> GatewayAnswer {
    GatewayAnswer(
      Problem(
        501, "upgrade_refused",
        "This route does not carry this protocol. An operator can name it under the route's upgrades, such as upgrades: [websocket]."),
      cors: cors)
  }

  private static func upgradeMalformed(_ cors: FieldLines) -> GatewayAnswer {
    GatewayAnswer(
      Problem(400, "bad_upgrade", "A request that asks for another protocol must be a GET without a body."), cors: cors)
  }

  private static func methodRefused(_ route: Route, _ cors: FieldLines) -> GatewayAnswer {
    let allowed = route.methods.methods.map(\.name).joined(separator: ", ")
    return GatewayAnswer(
      Problem(405, "method_refused", "This route takes only the methods of its Allow field."), cors: cors,
      extra: ["Allow": allowed])
  }

  /// Own endpoints look after sessions themselves, but for those that are session routes: these are asked like any other.
  private func own(
    _ endpoint: EndpointID, _ screened: Screened, _ request: borrowing CanonicalRequest, _ head: borrowing Span<UInt8>,
    _ known: borrowing Known
  ) throws(Stop) -> OwnCall {
    var call = OwnCall(
      endpoint: endpoint, route: screened.entry.index, presentedSession: cookies.session(request, head),
      intent: RequestIntent(request, head), hasAllowedOrigin: screened.hasAllowedOrigin, cors: screened.cors)
    switch screened.entry.route.sessionUse {
    case .own: break
    case .looked:
      if case .known(let view)? = cookies.presented(request, head, known.sessions) {
        call.lastUse = view.lastUse
        if view.isLive(at: known.now), known.isCopyGood { call.session = view.session }
      }
    case .needed, .watched:
      let identified = try identify(screened, request, head, known)
      guard proves(identified, request, head) else { throw .answer(Self.proofMissing(screened.cors)) }
      (call.session, call.lastUse, call.presentedSession) = (
        identified.session.session, identified.session.lastUse, identified.session.id
      )
      call.isUse = screened.entry.route.sessionUse == .needed
    }
    return call
  }

  private func permitPublic(
    _ screened: Screened, _ request: borrowing CanonicalRequest, _ head: borrowing Span<UInt8>, _ known: borrowing Known
  ) throws(Stop) -> ForwardOrder {
    let permit = try permit(screened, request, nil)
    var session: SessionView?
    // Nobody asks for the session here, so what this loop knows is all that is noted; what is over stays over.
    if case .known(let view) = cookies.presented(request, head, known.sessions), view.isLive(at: known.now) { session = view }
    return ForwardOrder(
      permit: permit, session: session, credential: screened.entry.bare, response: screened.response)
  }

  /// Policy's answer to this request.
  func permit(
    _ screened: Screened, _ request: borrowing CanonicalRequest, _ identity: Identity?
  ) throws(Stop) -> Permit {
    switch PolicyEnforcementPoint.decide(screened.entry.policy, method: request.method, identity: identity) {
    case .permit(let permit): return permit
    case .deny(let reason): throw .answer(Self.policyDenied(reason, screened.cors))
    }
  }

  static func policyDenied(_ reason: DenyReason, _ cors: FieldLines) -> GatewayAnswer {
    GatewayAnswer(Problem(403, reason.code, "The policy of this route does not allow this request."), cors: cors)
  }

  // MARK: identify

  private func identify(
    _ screened: Screened, _ request: borrowing CanonicalRequest, _ head: borrowing Span<UInt8>, _ known: borrowing Known
  ) throws(Stop) -> Identified {
    guard let presented = cookies.presented(request, head, known.sessions) else { throw sessionMissing(screened, request, head) }
    if case .sessionEnded = known.findings.credential { throw sessionMissing(screened, request, head, endedNow: true) }
    switch known.findings.session {
    case .none: throw sessionMissing(screened, request, head)
    case .storeUnavailable: throw .answer(Self.unavailable("session_store_unavailable", screened.cors))
    case .notAsked, .live: break
    }
    switch presented {
    case .known(let view):
      guard view.isLive(at: known.now), known.isCopyGood else { throw need(.session(view.id), screened, known) }
      return Identified(screened: screened, session: view)
    case .unknown(let id): throw need(.session(id), screened, known)
    }
  }

  func need(_ need: Need, _ screened: Screened, _ known: borrowing Known) -> Stop {
    known.findings.rounds < Self.maximumRounds ? .need(need) : .answer(Self.unavailable("too_many_rounds", screened.cors))
  }

  /// A navigation is sent to the provider and comes back; a script is told that it needs a session.
  /// When the session ended under this very request the cookie goes too; not otherwise, for a late answer could take a newer session's cookie.
  private func sessionMissing(
    _ screened: Screened, _ request: borrowing CanonicalRequest, _ head: borrowing Span<UInt8>, endedNow: Bool = false
  ) -> Stop {
    var lines = screened.cors
    if endedNow { lines.append(cookieDeletion) }
    let intent = RequestIntent(request, head)
    guard intent.isNavigation else {
      if screened.entry.takesBearer { lines.append(Self.bearerChallenge) }
      return .answer(GatewayAnswer(Self.sessionProblem, cors: lines, extra: Self.challenge))
    }
    var target = request.path.bytes(in: head)
    if request.hasQuery { target += [UInt8(ascii: "?")] + request.query.bytes(in: head) }
    if target.count > Self.maximumReturnBytes { target = [UInt8(ascii: "/")] }
    if let origin = screened.entry.route.hostOrigin { target = origin.bytes + target }
    return .own(
      OwnCall(
        endpoint: .login, route: screened.entry.index, presentedSession: nil, intent: intent,
        hasAllowedOrigin: screened.hasAllowedOrigin, cors: lines, returnTo: target))
  }

  static let sessionProblem = Problem(
    401, "session_required", "No live session: open /silent in a frame, or send the user to /login, then repeat the request.")

  /// Where a token would do as well.
  private static let bearerChallenge = FieldLines(trusted: ["WWW-Authenticate": "Bearer realm=\"intercom\""])

  /// RFC 9110 §15.5.2 demands a challenge of every 401. No registered scheme means a cookie, and browsers ask for a password when they know
  /// the scheme; this one nobody knows.
  private static var challenge: KeyValuePairs<String, String> { ["WWW-Authenticate": "Session realm=\"intercom\""] }

  static func unavailable(_ code: String, _ cors: FieldLines, retryAfter seconds: Int64 = 2) -> GatewayAnswer {
    GatewayAnswer(
      Problem(503, code, "A service that Intercom needs does not answer at the moment. Your session is kept; try again shortly."),
      cors: cors, extra: ["Retry-After": "\(seconds)"])
  }

  // MARK: prove

  private func proves(_ identified: Identified, _ request: borrowing CanonicalRequest, _ head: borrowing Span<UInt8>) -> Bool {
    let screened = identified.screened
    if case .anyProof = screened.entry.route.csrf {
      if screened.hasAllowedOrigin { return true }
      // Every page may open a WebSocket anywhere, with cookies and without asking: only the Origin tells whose page it is.
      if Self.reads(request), !screened.isUpgrade {
        let intent = RequestIntent(request, head)
        if intent.isSameOriginOrUser || intent.isTopLevel { return true }
      }
    }
    guard !request.csrfToken.isEmpty else {
      guard cookies.sharesCSRFToken, let token = Self.queryToken(request, head) else { return false }
      return csrf.verify(token, for: identified.session.id)
    }
    return csrf.verify(request.csrfToken.bytes(in: head), for: identified.session.id)
  }

  /// The query's field with the CSRF token; nil without one and with several. Tokens have no character that would need an escape.
  private static func queryToken(_ request: borrowing CanonicalRequest, _ head: borrowing Span<UInt8>) -> [UInt8]? {
    guard request.hasQuery else { return nil }
    let name = Array("\(OwnCookies.csrfName)=".utf8)
    let found = request.query.bytes(in: head).split(separator: UInt8(ascii: "&")).filter { $0.starts(with: name) }
    guard found.count == 1, let field = found.first else { return nil }
    return Array(field.dropFirst(name.count))
  }

  private static func reads(_ request: borrowing CanonicalRequest) -> Bool {
    switch request.method {
    case .get, .head: true
    default: false
    }
  }

  static func proofMissing(_ cors: FieldLines) -> GatewayAnswer { GatewayAnswer(proofProblem, cors: cors) }

  static let proofProblem = Problem(
    403, "csrf_proof_missing", "The request does not prove where it comes from: send the X-CSRF-Token that /silent gave.")

  static func upgradeUnproved(_ cors: FieldLines) -> GatewayAnswer {
    GatewayAnswer(
      Problem(
        403, "upgrade_origin_missing", "A WebSocket that uses a session must come from a page: its handshake needs an allowed Origin."),
      cors: cors)
  }

  // MARK: permit and equip

  private func permitAndEquip(
    _ identified: Identified, _ request: borrowing CanonicalRequest, _ head: borrowing Span<UInt8>, _ known: borrowing Known
  ) throws(Stop) -> ForwardOrder {
    let (screened, session) = (identified.screened, identified.session)
    let permit = try permit(screened, request, session.identity)
    let credential = screened.entry.needsCredential ? try credential(identified, request, head, known) : screened.entry.bare
    return ForwardOrder(permit: permit, session: session, credential: credential, response: screened.response)
  }

  @inline(__always) private func credential(
    _ identified: Identified, _ request: borrowing CanonicalRequest, _ head: borrowing Span<UInt8>, _ known: borrowing Known
  ) throws(Stop) -> CredentialView {
    if case .notAsked = known.findings.credential {
      if let view = identified.session.credential(route: identified.screened.entry.mark, now: known.now) { return view }
    }
    let need = Need.credential(session: identified.session.id, route: identified.screened.entry.index)
    return try foundCredential(identified.screened, need, request, head, known)
  }

  /// What the resolver found, or that it must be asked.
  func foundCredential(
    _ screened: Screened, _ need: Need, _ request: borrowing CanonicalRequest, _ head: borrowing Span<UInt8>, _ known: borrowing Known
  ) throws(Stop) -> CredentialView {
    switch known.findings.credential {
    case .ready(let view) where view.route === screened.entry.mark: return view
    case .ready, .notAsked: throw self.need(need, screened, known)
    case .refused:
      throw .answer(
        GatewayAnswer(
          Problem(403, "credential_refused", "The identity provider does not give this user access to this service."), cors: screened.cors))
    case .claimMissing:
      throw .answer(GatewayAnswer(Self.claimProblem, cors: screened.cors))
    case .claimUnusable:
      throw .answer(
        GatewayAnswer(
          Problem(
            403, "claim_unusable", "A claim of the sign-in has a value that this route cannot use; an operator finds its name in the log."),
          cors: screened.cors))
    case .invalidAnswer:
      throw .answer(
        GatewayAnswer(
          Problem(502, "credential_invalid", "The identity provider gave something else than the credential that was asked for."),
          cors: screened.cors))
    case .sessionEnded: throw sessionMissing(screened, request, head, endedNow: true)
    case .providerUnavailable: throw .answer(Self.unavailable("provider_unavailable", screened.cors))
    case .storeUnavailable: throw .answer(Self.unavailable("session_store_unavailable", screened.cors))
    case .matrix(let error): throw .answer(Self.matrixFailed(error, screened.cors))
    }
  }
}

extension Gateway {
  static let claimProblem = Problem(
    403, "claim_missing", "The sign-in lacks a claim that this route needs; an operator can add its mapper.")
}

extension EndpointID {
  package static let home: EndpointID = "home"
  package static let silent: EndpointID = "silent"
  package static let login: EndpointID = "login"
  package static let callback: EndpointID = "callback"
  package static let logout: EndpointID = "logout"
  package static let session: EndpointID = "session"
  package static let sessionEvents: EndpointID = "session-events"
  package static let uuid: EndpointID = "uuid"
  package static let backchannelLogout: EndpointID = "backchannel-logout"
}
