import Cryptography
import HTTP1
import HTTPMessage
import IntercomCore
import Matrix
import Sessions
import Telemetry

extension GatewayServices {
  /// A token of the session's user at a Matrix homeserver.
  func matrix(_ session: Session, _ rule: MatrixRule, _ route: Route, _ correlation: String?) async -> Resolved {
    guard homeservers.indices.contains(rule.homeserverIndex) else { return .credential(.failed(.invalidAnswer)) }
    let client = homeservers[rule.homeserverIndex]
    guard let value = session.claims[rule.userClaim], !value.isNull else {
      return .credential(.failed(finding(ClaimFault(.missing, rule.userClaim), route, correlation)))
    }
    guard let claim = value.string else {
      return .credential(.failed(finding(ClaimFault(.unusable, rule.userClaim), route, correlation)))
    }
    let began = time.monotonicNow()
    do throws(MatrixFailure) {
      let user = try Self.user(claim, rule, client)
      let (credential, newer) = try await matrixCredential(session, user, rule.mode, client)
      guard let credential else { return .credential(.failed(.invalidAnswer)) }
      step(
        .tokenExchanged, "Got a token of the user's own Matrix account",
        [.init(.route, route.name), .init(.audience, client.homeserver.serverName), .init(began.duration(to: time.monotonicNow()))],
        subject: session.displayName, correlation: correlation)
      return .credential(.ready(credential, newer))
    } catch { return matrixFailed(error, route, client, correlation) }
  }

  private static func user(
    _ claim: String, _ rule: MatrixRule, _ client: MatrixClient
  ) throws(MatrixFailure) -> MatrixUserID {
    do throws(MatrixUserID.Fault) { return try MatrixUserID(claim: claim, serverName: client.homeserver.serverName) } catch {
      throw .homeserver(MatrixError(error, claim: rule.userClaim))
    }
  }

  private func matrixCredential(
    _ session: Session, _ user: MatrixUserID, _ mode: MatrixRule.Mode, _ client: MatrixClient
  ) async throws(MatrixFailure) -> (Credential?, Session) {
    switch mode {
    case .accessToken:
      let grant = try await matrix.token(for: session, user, at: client)
      let until = grant.device.freshUntil(grant.session)
      return (Self.bearer(grant.device.accessToken).map { Credential(lines: $0, freshUntil: until) }, grant.session)
    case .openID:
      let grant = try await matrix.openIDToken(for: session, user, at: client)
      return (Self.identity(grant.token.json).map { Credential(lines: $0, freshUntil: grant.token.freshUntil) }, grant.session)
    }
  }

  /// `Authorization: MX-Identity` and the OpenID token's JSON in base64, as Nordeck's bot reads it.
  static func identity(_ json: Secret<[UInt8]>) -> FieldLines? {
    var lines = FieldLines()
    do throws(FieldLineError) {
      try lines.append("Authorization", Array("MX-Identity ".utf8) + Base64.encodedBytes(json.reveal()))
    } catch { return nil }
    return lines
  }

  /// The answer is plain; why the homeserver gave no token stands in the log, a few times for those that repeat.
  private func matrixFailed(_ failure: MatrixFailure, _ route: Route, _ client: MatrixClient, _ correlation: String?) -> Resolved {
    log.limited(
      by: repeats, now: time.monotonicNow(), key: "matrix \(route.name) \(failure.word)", .warning, "credential_failed",
      "No credential for a request: \(failure.sentence)",
      [
        "route": .string(route.name), "homeserver": .string(client.homeserver.serverName.description), "reason": .string(failure.word),
        "origin": LogValue(failure.faultOrigin), "request": .string(correlation ?? ""),
      ])
    switch failure {
    case .homeserver(let error): return .credential(.failed(.matrix(error)))
    case .sessionEnded: return .credential(.failed(.sessionEnded))
    case .overloaded: return .credential(.failed(.providerUnavailable))
    case .store: return .credential(.failed(.storeUnavailable))
    }
  }

  /// An upstream refused these lines, which were made of this session.
  func matrixRefused(_ lines: FieldLines, _ session: Session, _ rule: MatrixRule) async {
    guard homeservers.indices.contains(rule.homeserverIndex), let claim = session.claims[rule.userClaim]?.string,
      let user = try? Self.user(claim, rule, homeservers[rule.homeserverIndex])
    else { return }
    await matrix.invalidate(session, user) { sent in
      switch sent {
      case .accessToken(let token): Self.bearer(token)?.bytes == lines.bytes
      case .openIDToken(let json): Self.identity(json)?.bytes == lines.bytes
      }
    }
  }
}

extension Gateway {
  /// What an app is told when the homeserver gave no token. Nothing of it ends the session.
  static func matrixFailed(_ error: MatrixError, _ cors: FieldLines) -> GatewayAnswer {
    let code = error.code.rawValue
    switch error.code {
    case .accountMissing:
      return GatewayAnswer(
        Problem(403, code, "This user has no account at the Matrix homeserver yet. It may come with the first sign-in there."), cors: cors)
    case .accountRefused:
      return GatewayAnswer(Problem(403, code, "The Matrix homeserver does not let this user's account be used."), cors: cors)
    case .userInvalid:
      return GatewayAnswer(
        Problem(403, code, "The sign-in names the user by something that no Matrix account can be called."), cors: cors)
    case .loginRefused, .tokenUnknown, .answerInvalid:
      return GatewayAnswer(
        Problem(502, code, "The Matrix homeserver gave no token that can be used; an operator finds the reason in the log."), cors: cors)
    case .unavailable: return unavailable(code, cors, retryAfter: error.retryAfter.map { $0.components.seconds } ?? 2)
    }
  }
}
