import Cryptography
import HTTPMessage
import HTTPServer
import IntercomCore
import Sessions
import StrictJSON

// What applications ask about the session itself (docs/apps.md, docs/decisions/0032).
extension GatewayServices {
  /// `GET /session`: whether somebody is signed in, and for how long. It is no use of the session, and the provider is not asked.
  func sessionState(_ request: Request, _ call: OwnCall) async -> Response {
    // Before the session is looked for: who may not ask learns nothing, not even by the status.
    guard mayAsk(request, call) else { return Response(Gateway.proofProblem) }
    guard let id = call.presentedSession else { return Self.state(.none) }
    if let session = call.session { return Self.state(.signedIn(session, lastUse: call.lastUse, sessions)) }
    do {
      switch try await sessions.load(id, noted: call.lastUse) {
      case .live(let session): return Self.state(.signedIn(session, lastUse: call.lastUse, sessions))
      case .none: return Self.state(.ended)
      case .ended(let reason): return Self.state(.signedOut(reason.rawValue))
      }
    } catch {
      var response = Response(
        Problem(503, "session_store_unavailable", "Nobody can say at the moment whether there is a session. Try again shortly."))
      response.fields.append("Retry-After", "2")
      return response
    }
  }

  /// The rules of session routes for a read, also where there is no session.
  private func mayAsk(_ request: Request, _ call: OwnCall) -> Bool {
    call.hasAllowedOrigin || call.intent.isSameOriginOrUser || call.intent.isTopLevel || hasSessionToken(request, call)
  }

  private static func state(_ state: SessionState) -> Response {
    Response(
      200, ["Content-Type": "application/json", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"], state.json)
  }

  /// `GET /session/events`: tells an open tab of its session's end.
  func sessionEvents(_ call: OwnCall) -> Response {
    guard let session = call.session else { return Response(Gateway.sessionProblem) }
    guard watch.hasRoom(session.key) else {
      var response = Response(
        Problem(503, "too_many_watchers", "Too many tabs listen already. Ask /session now and then instead, or close some."))
      response.fields.append("Retry-After", "30")
      return response
    }
    let fields: Fields = [
      "Content-Type": "text/event-stream", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff",
      // nginx in front holds answers back otherwise.
      "X-Accel-Buffering": "no",
    ]
    return Response(200, fields, stream: watch.stream(of: session))
  }

  /// `GET /uuid`: the value of the claim that names the user to applications.
  func userName(_ call: OwnCall) -> Response {
    guard let session = call.session else { return Response(Gateway.sessionProblem) }
    let text: String?
    switch session.claims[settings.userClaim] {
    case .string(let value)?: text = value
    case .int64(let value)?: text = String(value)
    default: text = nil
    }
    guard let text, !text.isEmpty else {
      log.limited(
        by: repeats, now: time.monotonicNow(), .warning, "claim_missing", "A sign-in lacks the claim that /uuid answers.",
        ["claim": .string(settings.userClaim.description)])
      return Response(Gateway.claimProblem)
    }
    return Response(
      200, ["Content-Type": "text/plain; charset=utf-8", "Cache-Control": "no-store", "X-Content-Type-Options": "nosniff"],
      Array(text.utf8))
  }
}
