import HTTP1
import HTTPMessage
import IntercomCore
import OIDC
import Policy
import Sessions

// Requests that bring an access token in place of a session (behaviour: "Tokens", docs/decisions/0032).
extension Gateway {
  /// The order for a request with a bearer token; nil when it brings none, or a session cookie, which alone decides then.
  func bearerOrder(
    _ screened: Screened, _ request: borrowing CanonicalRequest, _ head: borrowing Span<UInt8>, _ known: borrowing Known
  ) throws(Stop) -> ForwardOrder? {
    guard request.hasAuthorization, let audience = screened.entry.route.bearer, !cookies.isPresented(request, head),
      let presented = PresentedBearer(request.authorization, head)
    else { return nil }
    switch known.findings.bearer {
    case .refused: throw .answer(Self.bearerRefused(screened.cors))
    case .unavailable: throw .answer(Self.unavailable("provider_unavailable", screened.cors))
    case .notAsked: break
    }
    guard let view = known.sessions.bearers[presented.key], view.isGood(at: known.now) else {
      throw need(.bearer(presented), screened, known)
    }
    guard view.verified.audiences.contains(audience) else { throw .answer(Self.bearerRefused(screened.cors)) }
    guard !screened.isUpgrade else { throw .answer(Self.upgradeUnproved(screened.cors)) }
    let permit = try permit(screened, request, view.identity)
    var credential = screened.entry.bare
    if screened.entry.needsCredential {
      if case .notAsked = known.findings.credential, let held = view.credential(route: screened.entry.mark, now: known.now) {
        credential = held
      } else {
        credential = try foundCredential(screened, .bearerCredential(presented, route: screened.entry.index), request, head, known)
      }
    }
    return ForwardOrder(permit: permit, session: nil, credential: credential, response: screened.response)
  }

  /// One answer for all that is wrong with a token ([RFC 6750 §3.1](https://www.rfc-editor.org/rfc/rfc6750#section-3.1)); why stands in the log.
  static func bearerRefused(_ cors: FieldLines) -> GatewayAnswer {
    GatewayAnswer(
      Problem(401, "invalid_token", "The access token is not good here: it is over, for somebody else, or no access token."), cors: cors,
      extra: ["WWW-Authenticate": "Bearer realm=\"intercom\", error=\"invalid_token\""])
  }
}

extension GatewayServices {
  /// Verifies a bearer token; it is known from then on until it is over.
  func resolveBearer(_ presented: PresentedBearer, _ correlation: String?) async -> Resolved {
    do throws(OIDCError) {
      let verified = try await withTaskExecutorPreference(workers) { () async throws(OIDCError) in
        try await provider.verifyAccessToken(presented.text)
      }
      return .bearer(.verified(presented, verified))
    } catch {
      let isTemporary = error.isTemporary || error.code == .invalidKeySet
      log.limited(
        by: repeats, now: time.monotonicNow(), isTemporary ? .warning : .info, "bearer_refused",
        isTemporary ? "A bearer token could not be checked: \(error.detail)" : "A bearer token was refused: \(error.detail)",
        ["request": .string(correlation ?? "")])
      return .bearer(isTemporary ? .unavailable : .refused)
    }
  }

  /// The credential of a route for whom a bearer token names.
  func resolveCredential(
    _ bearer: BearerSubject, _ verified: VerifiedAccessToken, route: Route, _ correlation: String?
  ) async -> Resolved {
    switch route.credential {
    case .none: return .bearerCredential(.ready(Credential(lines: FieldLines(), freshUntil: verified.expires)))
    case .accessToken:
      guard let lines = Self.bearer(bearer.token) else { return .bearerCredential(.failed(.refused)) }
      return .bearerCredential(.ready(Credential(lines: lines, freshUntil: verified.expires)))
    case .exchange(let target):
      do throws(TokenFailure) {
        let token = try await tokens.token(for: bearer, target)
        guard let lines = Self.bearer(token.accessToken) else { return .bearerCredential(.failed(.refused)) }
        return .bearerCredential(.ready(Credential(lines: lines, freshUntil: Self.freshUntil(token.received, token.expiry))))
      } catch { return .bearerCredential(.failed(finding(error, route, target.audience, correlation))) }
    case .basic(let claim, let password):
      return made(verified, route, correlation) { () throws(ClaimFault) in try basicLines(verified.claims, claim, password) }
    case .headers(let headers):
      return made(verified, route, correlation) { () throws(ClaimFault) in try claimLines(verified.claims, headers) }
    // A device is a session's; the configuration takes no such route.
    case .matrix: return .bearerCredential(.failed(.refused))
    }
  }

  /// The lines that `make` makes of a token's claims.
  private func made(
    _ verified: VerifiedAccessToken, _ route: Route, _ correlation: String?, _ make: () throws(ClaimFault) -> FieldLines
  ) -> Resolved {
    do throws(ClaimFault) { return .bearerCredential(.ready(Credential(lines: try make(), freshUntil: verified.expires))) } catch {
      return .bearerCredential(.failed(finding(error, route, correlation)))
    }
  }
}
