import Cryptography
import HTTPMessage
import HTTPServer
import IntercomCore
import OIDC
import Sessions
import Telemetry

/// How a login begins and what its ends look like.
struct LoginKind: Sendable {
  var isSilent: Bool
  var returnTo: String
  var embedder: Identifier?
  /// A script asks: it gets problem details where a person gets a page.
  var isScript = false
  /// How often the page of a silent sign-in has asked again by itself.
  var round = 0
}

extension GatewayServices {
  /// `GET /login?returnTo=…`, and navigations without a session: to the provider and back.
  func login(_ request: Request, _ call: OwnCall) async -> Response {
    let wanted = call.returnTo ?? request.queryValue("returnTo")
    let target = settings.returnTarget(wanted)
    return await beginLogin(LoginKind(isSilent: false, returnTo: target, isScript: !call.intent.isNavigation), request)
  }

  /// `GET /silent`: a live session answers at once; without one the provider is asked anew every time.
  func silent(_ request: Request, _ call: OwnCall) async -> Response {
    let round = Self.round(of: request)
    let embedder = embedderOrigin(request, round)
    if let id = call.presentedSession {
      do {
        if case .live(let session) = try await sessions.load(id) {
          step(.silentLogin, "A live session answers the silent sign-in", subject: session.displayName)
          // Asking is using: the idle time begins anew. What the store does not take now, the next request writes.
          _ = try? await sessions.touch(session, use: sessions.now())
          return signedInPage(id, session, embedder)
        }
      } catch { return silentPage(signedOut("store_unavailable"), embedder) }
    }
    return await beginLogin(LoginKind(isSilent: true, returnTo: "/", embedder: embedder, round: round), request)
  }

  /// How often the page of a silent sign-in asks again by itself. Frames that begin together without a cookie get one each, and the browser
  /// keeps the last: those that began under another find theirs foreign, and the next time all have the same.
  private static let mostRounds = 2

  private static func round(of request: Request) -> Int {
    guard let digit = request.queryValue("again").first, request.queryValue("again").count == 1 else { return 0 }
    return min(max(0, Int(digit) - 48), mostRounds)
  }

  private func beginLogin(_ kind: LoginKind, _ request: Request) async -> Response {
    let browser = presentedBrowsers(request).first ?? BrowserBinding(random: random)
    do {
      let state = pending.newState()
      let sent = Secret(state.reveal() + (kind.isSilent ? Self.silentMark(kind.round) : ""))
      let begun = try provider.beginLogin(LoginOptions(prompt: kind.isSilent ? LoginOptions.Prompt.none : nil), state: sent)
      let login = Sessions.PendingLogin(
        issuer: begun.pending.issuer, nonce: begun.pending.nonce, codeVerifier: begun.pending.codeVerifier,
        redirectURI: begun.pending.redirectURI, returnTo: kind.returnTo, isSilent: kind.isSilent, embedderOrigin: kind.embedder)
      try await pending.begin(login, browser: browser, state: state)
      log.debug("login_begun", "A browser was sent to the provider.", ["silent": .boolean(kind.isSilent)])
      step(
        kind.isSilent ? .silentLogin : .login, kind.isSilent ? "Asked the provider silently who this is" : "Sent the user to the provider")
      return .redirect(to: begun.url, cookies: [gateway.cookies.setLogin(String(decoding: browser.cookieValue, as: UTF8.self))])
    } catch let error as OIDCError {
      return loginFailed(error.code.rawValue, error.detail, kind, temporary: error.isTemporary)
    } catch {
      return loginFailed("store_unavailable", "the session store fails: \(error)", kind, temporary: true)
    }
  }

  /// The bindings that this browser presents, in order. Without the prefix `__Host-` a parent domain can put cookies of this name in front of
  /// ours: they must not hide it (S10).
  private func presentedBrowsers(_ request: Request) -> [BrowserBinding] {
    let values = request.cookies(gateway.cookies.loginName)
    return values.lazy.compactMap { BrowserBinding(cookieValue: $0) }.prefix(PendingLogins.maximumBindings).map { $0 }
  }

  /// What the `state` of a silent flow ends with: a replayed or foreign callback is told apart without any memory of it. It decides only
  /// which page shows the refusal, and whether that page asks again.
  static func silentMark(_ round: Int = 0) -> String { (round == 0 ? "" : ".\(round)") + ".s" }

  /// The round of a silent flow, and what its mark is; nil unless every `state` of this query, however broken the rest is, carries the same.
  private func silentRound(_ query: [UInt8]?) -> (round: Int, mark: String)? {
    let fields = query.flatMap { try? FormFields(parsing: $0) }
    let states = (fields?.all ?? []).filter { $0.name == Array("state".utf8) }.map(\.value)
    guard !states.isEmpty else { return nil }
    // The longest mark first: each ends as the one without a round.
    return (0...Self.mostRounds).reversed().lazy.map { ($0, Self.silentMark($0)) }.first { _, mark in
      states.allSatisfy { $0.suffix(mark.utf8.count).elementsEqual(mark.utf8) }
    }
  }

  // MARK: callback

  /// `GET /callback`: the provider's answer. A replayed or foreign one changes nothing.
  func callback(_ request: Request, _ call: OwnCall) async -> Response {
    let response: AuthorizationResponse
    let silent = silentRound(request.query)
    var kind = LoginKind(
      isSilent: silent != nil, returnTo: "/", isScript: !call.intent.isNavigation, round: silent?.round ?? 0)
    do { response = try AuthorizationResponse.parse(request.query) } catch {
      return refused(error.code.rawValue, error.detail, kind)
    }
    var state = Array(response.state.reveal().utf8)
    if let silent { state.removeLast(min(state.count, silent.mark.utf8.count)) }
    let taken: PendingTake
    do { taken = try await pending.take(state: state, browsers: presentedBrowsers(request)) } catch {
      return loginFailed("store_unavailable", "the session store fails: \(error)", kind, temporary: true)
    }
    switch taken {
    case .unknown: return refusedHere("login_unknown", "This sign-in was used already or is not known here.", kind, request)
    case .foreign(_, let returnTo):
      kind.returnTo = returnTo
      // A changed cookie is answered like another browser's, whatever is wrong with it (S20).
      let hasCookie = !request.cookies(gateway.cookies.loginName).isEmpty
      guard hasCookie else { return refused("cookies_blocked", "This sign-in was begun in another browser.", kind) }
      return refusedHere("login_foreign", "This sign-in was begun in another browser.", kind, request)
    case .expired(let login):
      kind.returnTo = login.returnTo
      return refused("timeout", "This sign-in took longer than ten minutes.", kind)
    case .taken(let login):
      kind = LoginKind(
        isSilent: login.isSilent, returnTo: login.returnTo, embedder: login.embedderOrigin, isScript: kind.isScript)
      return await finish(response, login, kind, replacing: call.presentedSession)
    }
  }

  private func finish(
    _ response: AuthorizationResponse, _ login: Sessions.PendingLogin, _ kind: LoginKind, replacing old: SessionID?
  ) async -> Response {
    do {
      let watch = try await sessions.watchLogin()
      let begun = OIDC.PendingLogin(
        state: response.state, nonce: login.nonce, codeVerifier: login.codeVerifier, issuer: login.issuer, redirectURI: login.redirectURI,
        created: login.created)
      let result = try await withTaskExecutorPreference(workers) { () async throws(OIDCError) in
        try await provider.finishLogin(begun, response)
      }
      let verified = VerifiedLogin(result)
      // A frame that finds what another tab began has become nobody new. What the provider gave for it is dropped: to revoke it would end what
      // the session has.
      if kind.isSilent, let standing = try await sessions.standing(verified, presented: old, by: login.browser) {
        return silentlySignedIn(standing, kind)
      }
      let made = try await sessions.create(from: verified, replacing: old)
      if try await sessions.endIfSignedOut(made.session, watch) {
        return refused("signed_out", "The provider signed the user out while this sign-in was under way.", kind)
      }
      let (id, session) = await sessions.settle(made, of: verified, by: login.browser, joins: kind.isSilent)
      log.info("signed_in", "A user signed in.", ["silent": .boolean(kind.isSilent)])
      step(.sessionCreated, "Signed in; the session stays on the server", [.init(.issuer, session.issuer)], subject: session.displayName)
      return kind.isSilent
        ? silentlySignedIn((id, session), kind) : .redirect(to: kind.returnTo, cookies: [sessionCookie((id, session))])
    } catch let error as OIDCError {
      guard error.origin == .client else { return loginFailed(error.code.rawValue, error.detail, kind, temporary: error.isTemporary) }
      return refused(error.code.rawValue, error.detail, kind)
    } catch {
      return loginFailed("store_unavailable", "the session store fails: \(error)", kind, temporary: true)
    }
  }

  private func sessionCookie(_ standing: SessionManager.Standing) -> String {
    gateway.cookies.setSession(
      standing.id, life: Int(clamping: standing.session.absoluteExpiry.seconds &- sessions.now().seconds))
  }

  private func silentlySignedIn(_ standing: SessionManager.Standing, _ kind: LoginKind) -> Response {
    var page = signedInPage(standing.id, standing.session, kind.embedder)
    page.fields.append("Set-Cookie", sessionCookie(standing))
    return page
  }

  // MARK: ends

  /// A login that could not begin or end for reasons outside this request: 503 for what may pass, 502 else.
  private func loginFailed(_ reason: String, _ detail: String, _ kind: LoginKind, temporary: Bool) -> Response {
    let reference = note(reason, detail, kind)
    if kind.isSilent { return silentPage(signedOut(reason), kind.embedder) }
    let page = MessagePage(
      title: temporary ? "Signing in is not possible at the moment" : "Signing in failed",
      text: temporary
        ? "A service that Intercom needs does not answer. Nothing is lost; please try again in a minute."
        : "The identity provider gave an answer that Intercom cannot accept. Please try again; if it happens again, tell your administrator.",
      link: (retryLink(kind), "Try again"), code: reason, reference: reference)
    return temporary ? unavailable(page, isScript: kind.isScript) : Response(page.response(502))
  }

  /// 503 with a time to try again: the page for a person, the same words as problem details for a script.
  func unavailable(_ page: MessagePage, isScript: Bool) -> Response {
    let detail = "\(page.title). \(page.text)" + (page.reference.map { " (Reference: \($0))" } ?? "")
    var response = isScript ? Response(Problem(503, page.code ?? "unavailable", detail)) : Response(page.response(503))
    response.fields.append("Retry-After", "5")
    return response
  }

  /// A callback that does not belong to a login of this browser, or that the provider refused.
  private func refused(_ reason: String, _ detail: String, _ kind: LoginKind) -> Response {
    let reference = note(reason, detail, kind)
    if kind.isSilent { return silentPage(signedOut(reason), kind.embedder) }
    return Response(
      MessagePage(
        title: "This sign-in could not be completed",
        text: Self.refusalText(reason),
        link: (retryLink(kind), "Sign in again"), code: reason, reference: reference
      ).response(400))
  }

  /// A callback that belongs to no login of this browser. Another tab or frame of the same browser may be why: a silent page asks again.
  private func refusedHere(_ reason: String, _ detail: String, _ kind: LoginKind, _ request: Request) -> Response {
    guard kind.isSilent, kind.round < Self.mostRounds else { return refused(reason, detail, kind) }
    _ = note(reason, detail, kind)
    let embedder = embedderOrigin(request, kind.round)
    let again = "/silent?again=\(kind.round + 1)" + (embedder.map { "&for=" + PercentCoding.encode($0.description) } ?? "")
    return silentPage(signedOut(reason), embedder, again: again)
  }

  private static func refusalText(_ reason: String) -> String {
    switch reason {
    case "access_denied":
      "The identity provider did not let you in, or signing in was cancelled there. Please sign in again; if you are refused again, tell your "
        + "administrator."
    case "code_refused":
      "The identity provider did not accept the end of this sign-in: it took too long, or the page was loaded twice. Please sign in again."
    case "login_required", "interaction_required", "consent_required":
      "The identity provider wants you to sign in, or to agree to something, once more. Please sign in again."
    case "timeout": "It took longer than ten minutes. Please sign in again."
    case "cookies_blocked":
      "Your browser did not send the cookie with which it began: it blocks cookies, or you began in another browser. Allow cookies for this "
        + "address, then sign in again."
    case "login_foreign": "It was begun in another browser or window. Please sign in again in this one."
    case "signed_out": "You were signed out at the identity provider meanwhile. Please sign in again."
    case "login_unknown": "It was used already, or is not known here any more. Please sign in again."
    default: "The answer that your browser brought from the identity provider does not fit. Please sign in again."
    }
  }

  /// One line for a sign-in that did not work, found by the reference that its page shows.
  private func note(_ reason: String, _ detail: String, _ kind: LoginKind) -> String {
    let reference = newReference()
    // A silent sign-in without a session at the provider is everyday.
    let everyday =
      kind.isSilent && ["login_required", "interaction_required", "consent_required"].contains { Identifier($0) == Identifier(reason) }
    if everyday {
      log.debug("silent_login_ended", "Nobody is signed in.", ["reason": .string(reason)])
    } else {
      log.warning("login_failed", detail, ["reason": .string(reason), "silent": .boolean(kind.isSilent), "reference": .string(reference)])
    }
    step(.loginRefused, kind.isSilent ? "The silent sign-in found nobody signed in" : "The sign-in ended", [.init(.reason, reason)])
    return reference
  }

  private func retryLink(_ kind: LoginKind) -> String {
    settings.baseURL + "/login?returnTo=" + PercentCoding.encode(kind.returnTo)
  }

  func silentPage(_ outcome: SilentOutcome, _ embedder: Identifier?, again: String? = nil) -> Response {
    Response(SilentPage.response(outcome, embedder: embedder, allowed: settings.allowedOrigins, again: again))
  }

  private func signedInPage(_ id: SessionID, _ session: Session, _ embedder: Identifier?) -> Response {
    let outcome = signedIn(id, session)
    var page = silentPage(outcome, embedder)
    if let cookie = gateway.cookies.setCSRF(outcome.csrfToken) { page.fields.append("Set-Cookie", cookie) }
    return page
  }

  private func signedIn(_ id: SessionID, _ session: Session) -> SilentOutcome {
    let now = sessions.now()
    let end = min(session.absoluteExpiry, now.advanced(by: sessions.settings.idle))
    return SilentOutcome(
      isLoggedIn: true, csrfToken: String(decoding: gateway.csrf.token(for: id), as: UTF8.self),
      expiresIn: Int(clamping: max(0, end.seconds &- now.seconds)))
  }

  private func signedOut(_ reason: String) -> SilentOutcome {
    SilentOutcome(isLoggedIn: false, csrfToken: String(decoding: gateway.csrf.randomToken(), as: UTF8.self), reason: reason)
  }

  /// The origin of the page that embeds `/silent`, when Referer names an allowed one. A page that asks again is its own referrer: it says in
  /// `for` what it knew. Who lies there frames a page that no browser shows to it.
  private func embedderOrigin(_ request: Request, _ round: Int) -> Identifier? {
    let known = round > 0 ? String(validating: request.queryValue("for"), as: UTF8.self) : nil
    guard let text = known.flatMap({ $0.isEmpty ? nil : $0 }) ?? (round > 0 ? nil : request.fields.single("referer")),
      let origin = HTTPURL(text)?.origin
    else { return nil }
    return settings.allowedOrigins.contains(origin) ? Identifier(bytes: origin.bytes) : nil
  }
}

extension VerifiedLogin {
  /// What a finished login leaves in the session.
  init(_ result: LoginResult) {
    self.init(
      issuer: result.identity.issuer, subject: result.identity.subject, sid: result.identity.sessionID, claims: result.identity.claims,
      tokens: SessionTokens(result.tokens))
  }
}

extension SessionTokens {
  init(_ tokens: TokenSet) {
    self.init(
      accessToken: tokens.accessToken, received: tokens.received, accessExpiry: tokens.accessExpires, refreshToken: tokens.refreshToken,
      refreshExpiry: tokens.refreshExpires, idToken: tokens.idToken ?? Secret(""))
  }
}
