import Cryptography
import HTTPMessage
import HTTPServer
import IntercomCore
import OIDC
import Sessions
import Telemetry

extension GatewayServices {
  /// `GET` or `POST /logout`: the local session first, then the provider's
  /// ([RP-Initiated Logout 1.0](https://openid.net/specs/openid-connect-rpinitiated-1_0.html)).
  func logout(_ request: Request, _ call: OwnCall) async -> Response {
    if request.method == .post {
      guard provesLogout(request, call) else { return Response(Gateway.logoutRefused) }
    } else if !call.intent.isTopLevel {
      return Response(Gateway.logoutRefused)
    }
    let wanted = request.queryValue("returnTo")
    let target = settings.returnTarget(wanted)
    guard let id = call.presentedSession else { return .redirect(to: target, cookies: gateway.cookies.deleteAll) }
    let session: Session
    do {
      switch try await sessions.load(id) {
      case .live(let found): session = found
      case .none:
        // Another click may have ended it just now, at another replica: this answer says no less than that one's.
        await sessions.outlastCopies()
        fallthrough
      case .ended: return .redirect(to: target, cookies: gateway.cookies.deleteAll)
      }
      _ = try await sessions.end(id, reason: .loggedOut)
    } catch {
      // The end is not sure, so it is not claimed, and the cookie stays: the user can try again.
      let reference = newReference()
      log.error("logout_failed", "The session store fails; a sign-out was refused: \(error)", ["reference": .string(reference)])
      let page = MessagePage(
        title: "Signing out is not possible at the moment",
        text: "Sessions cannot be changed at the moment. You are still signed in; please try again in a minute.",
        link: (settings.baseURL + "/logout", "Try again"), code: "store_unavailable", reference: reference)
      return unavailable(page, isScript: !call.intent.isNavigation)
    }
    step(.loggedOut, "Signed out: the session is gone from the server", subject: session.displayName)
    var destination = target
    if settings.logsOutAtProvider {
      let state = LogoutState.seal(target, key: gateway.logoutKey)
      // A provider that is not known yet, or has no such endpoint, does not keep anybody signed in here.
      destination =
        (try? provider.logoutURL(
          idTokenHint: session.tokens.idToken, logoutHint: session.sid ?? session.subject, postLogoutRedirectURI: settings.baseURL + "/",
          state: state)) ?? target
    }
    return .redirect(to: destination, cookies: gateway.cookies.deleteAll)
  }

  /// A top-level POST from our own or an allowed page, or with the session's token.
  private func provesLogout(_ request: Request, _ call: OwnCall) -> Bool {
    call.hasAllowedOrigin || hasSessionToken(request, call)
  }

  /// Whether the request brings the token of the session that it names.
  func hasSessionToken(_ request: Request, _ call: OwnCall) -> Bool {
    guard let id = call.presentedSession, let token = request.fields.single("x-csrf-token"), !token.isEmpty else { return false }
    return gateway.csrf.verify(Array(token.utf8), for: id)
  }

  /// `GET /`: for monitoring, no session and no upstream. After a sign-out the provider sends the browser here, and it goes on to where the
  /// sign-out began.
  func home(_ request: Request) -> Response {
    if request.query != nil, let target = LogoutState.open(request.queryValue("state"), key: gateway.logoutKey) {
      return .redirect(to: settings.returnTarget(Array(target.utf8)))
    }
    let body =
      "<!doctype html>\n<html lang=\"en\"><head><meta charset=\"utf-8\"><title>Intercom</title></head><body><p>Hello</p></body></html>\n"
    return Response(
      200,
      [
        "Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store",
        "Content-Security-Policy": "default-src 'none'; frame-ancestors 'none'", "X-Content-Type-Options": "nosniff",
      ], Array(body.utf8))
  }

  // MARK: back channel

  /// `POST /backchannel-logout` ([Back-Channel Logout 1.0 §2.5](https://openid.net/specs/openid-connect-backchannel-1_0.html#BCRequest)):
  /// 200 when the sessions are gone everywhere, 400 with the reason when the token is refused, 503 when the store does not answer, so that
  /// the provider tries again.
  func backchannelLogout(_ request: Request, _ body: RequestBody) async -> Response {
    let token: Secret<[UInt8]>
    do throws(LogoutForm.Failure) {
      try LogoutForm.checkType(request.fields)
      token = try LogoutForm.token(try await collect(body))
    } catch { return refusedLogout(error.status, error.rawValue, error.sentence) }
    do {
      let verified = try await withTaskExecutorPreference(workers) { () async throws(OIDCError) in
        try await provider.verifyLogoutToken(token)
      }
      let outcome = try await sessions.backChannelLogout(
        issuer: verified.issuer, subject: verified.subject, sid: verified.sessionID, tokenID: verified.identifier, expiry: verified.expires)
      switch outcome {
      case .replayed: return refusedLogout(400, "replayed", "This logout token was used before.")
      case .ended(let count):
        log.info("backchannel_logout", "The provider ended sessions.", ["count": LogValue(count)])
        step(.backChannelLogout, "The provider signed the user out; Intercom ended its sessions", [.init(.count, count)])
        return Response(200, ["Cache-Control": "no-store"])
      }
    } catch let error as OIDCError {
      // The token may be right: the provider is to try again, whether its keys do not come or are none.
      if error.isTemporary || error.code == .invalidKeySet {
        log.warning("logout_token_unchecked", error.detail, ["reason": .string(error.code.rawValue)])
        return Self.backchannel(503, "temporarily_unavailable", "The provider's keys cannot be fetched.")
      }
      return refusedLogout(400, error.code.rawValue, error.detail)
    } catch {
      log.limited(
        by: repeats, now: time.monotonicNow(), .error, "backchannel_logout_failed",
        "The session store fails; the provider's sign-out was refused and will be tried again by it: \(error)")
      return Self.backchannel(503, "temporarily_unavailable", "The session store does not answer.")
    }
  }

  private func collect(_ body: RequestBody) async throws(LogoutForm.Failure) -> [UInt8] {
    do throws(BodyError) { return try await body.collect(upTo: LogoutForm.maximumBytes) } catch {
      throw error == .tooLarge ? .tooLarge : .malformed
    }
  }

  private func refusedLogout(_ status: Status, _ reason: String, _ detail: String) -> Response {
    log.warning("logout_token_refused", detail, ["reason": .string(reason)])
    return Self.backchannel(status, "invalid_request", detail)
  }

  private static func backchannel(_ status: Status, _ error: String, _ description: String) -> Response {
    var body = Array(#"{"error":"#.utf8)
    Problem.appendString(error, to: &body)
    body += Array(#","error_description":"#.utf8)
    Problem.appendString(description, to: &body)
    body.append(UInt8(ascii: "}"))
    var response = Response(status, ["Content-Type": "application/json", "Cache-Control": "no-store"], body)
    if status == 503 { response.fields.append("Retry-After", "5") }
    return response
  }
}

extension Gateway {
  static let logoutRefused = Problem(
    403, "logout_refused", "Signing out needs a click: open /logout as a page, or POST it with the X-CSRF-Token that /silent gave.")
}

/// Where to go after the provider's logout page, carried as its `state`: sealed by a MAC, so that nobody else can send a browser on from `/`.
enum LogoutState {
  /// Longer targets are not carried: the provider's URL must stay short.
  private static let maximumBytes = 1024

  static func seal(_ target: String, key: Secret<[UInt8]>) -> String? {
    let bytes = Array(target.utf8)
    guard bytes.count <= maximumBytes, target.utf8.count > 1 else { return nil }
    let tag = hmacSHA256(key: key.reveal(), bytes)
    return Base64URL.encode(bytes) + "." + Base64URL.encode(tag)
  }

  static func open(_ state: [UInt8], key: Secret<[UInt8]>) -> String? {
    let parts = state.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
    guard parts.count == 2, state.count < 2 * maximumBytes, let bytes = Base64URL.decode(Array(parts[0])),
      let tag = Base64URL.decode(Array(parts[1])), constantTimeEqual(hmacSHA256(key: key.reveal(), bytes), tag)
    else { return nil }
    return String(validating: bytes, as: UTF8.self)
  }
}
