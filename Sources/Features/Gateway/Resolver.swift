import Cryptography
import HTTP1
import IntercomCore
import OIDC
import Policy
import Sessions
import StrictJSON
import Telemetry

/// What the resolver brings back to the loop.
package enum Resolved: Sendable {
  case session(SessionOutcome)
  case credential(CredentialOutcome)
  case bearer(BearerOutcome)
  case bearerCredential(BearerCredentialOutcome)

  package enum SessionOutcome: Sendable {
    case live(Session)
    case none
    case unavailable
  }
  package enum BearerOutcome: Sendable {
    case verified(PresentedBearer, VerifiedAccessToken)
    case refused, unavailable
  }
  package enum BearerCredentialOutcome: Sendable {
    case ready(Credential)
    case failed(Findings.CredentialFinding)
  }
  package enum CredentialOutcome: Sendable {
    /// The session may have newer tokens now.
    case ready(Credential, Session)
    case failed(Findings.CredentialFinding)
  }
}

/// A claim of which no credential can be made.
struct ClaimFault: Error, Equatable {
  /// The raw values are the codes of answers.
  enum Kind: String {
    case missing = "claim_missing"
    case unusable = "claim_unusable"
  }
  let kind: Kind
  let claim: Identifier

  init(_ kind: Kind, _ claim: Identifier) {
    self.kind = kind
    self.claim = claim
  }
}

extension GatewayServices {
  /// The session of this id from the store. A store that does not answer is no missing session.
  func resolveSession(_ id: SessionID, noted: WallInstant?, _ correlation: String?) async -> Resolved {
    do throws(SessionStoreError) {
      guard case .live(let session) = try await sessions.load(id, noted: noted) else {
        log.log(.trace, "session_missing", "A cookie names no live session.", ["request": .string(correlation ?? "")])
        return .session(.none)
      }
      log.log(.trace, "session_found", "A session was read from the store.", ["request": .string(correlation ?? "")])
      step(.sessionFound, "Found the session that belongs to the browser's cookie", subject: session.displayName, correlation: correlation)
      return .session(.live(session))
    } catch {
      log.limited(
        by: repeats, now: time.monotonicNow(), .error, "session_lookup_failed", "A session could not be looked up: \(error)",
        ["request": .string(correlation ?? "")])
      return .session(.unavailable)
    }
  }

  /// The credential of a route for a session: never the session's own token in place of an exchanged one.
  func resolveCredential(_ session: Session, route: Route, _ correlation: String?) async -> Resolved {
    switch route.credential {
    case .none: return .credential(.ready(Credential(lines: FieldLines(), freshUntil: session.absoluteExpiry), session))
    case .accessToken: return await ownToken(session, route, correlation)
    case .exchange(let target): return await exchanged(session, target, route, correlation)
    case .basic(let claim, let password):
      return made(session, route, correlation) { () throws(ClaimFault) in try basicLines(session.claims, claim, password) }
    case .headers(let headers):
      return made(session, route, correlation) { () throws(ClaimFault) in try claimLines(session.claims, headers) }
    case .matrix(let rule): return await matrix(session, rule, route, correlation)
    }
  }

  private func ownToken(_ session: Session, _ route: Route, _ correlation: String?) async -> Resolved {
    do throws(TokenFailure) {
      let fresh = try await tokens.session(session)
      let until = Self.freshUntil(fresh.tokens.received, fresh.tokens.accessExpiry ?? fresh.absoluteExpiry)
      guard let lines = Self.bearer(fresh.tokens.accessToken) else { return .credential(.failed(.refused)) }
      return .credential(.ready(Credential(lines: lines, freshUntil: until), fresh))
    } catch { return failed(error, route, nil, correlation) }
  }

  private func exchanged(_ session: Session, _ target: ExchangeTarget, _ route: Route, _ correlation: String?) async -> Resolved {
    let began = time.monotonicNow()
    do throws(TokenFailure) {
      let exchanged = try await tokens.token(for: session, target)
      let token = exchanged.token
      guard let lines = Self.bearer(token.accessToken) else { return .credential(.failed(.refused)) }
      let audience = target.audience?.description ?? "(default)"
      step(
        .tokenExchanged, "Exchanged the user's token for one that only \(audience) accepts",
        [.init(.route, route.name), .init(.audience, audience), .init(began.duration(to: time.monotonicNow()))],
        subject: session.displayName, correlation: correlation)
      let view = Credential(lines: lines, freshUntil: Self.freshUntil(token.received, token.expiry))
      return .credential(.ready(view, exchanged.session))
    } catch { return failed(error, route, target.audience, correlation) }
  }

  /// The answer is plain; why the provider gave no token stands in the log.
  private func failed(_ failure: TokenFailure, _ route: Route, _ audience: Identifier?, _ correlation: String?) -> Resolved {
    .credential(.failed(finding(failure, route, audience, correlation)))
  }

  func finding(
    _ failure: TokenFailure, _ route: Route, _ audience: Identifier?, _ correlation: String?
  ) -> Findings.CredentialFinding {
    let finding: Findings.CredentialFinding
    switch failure {
    case .sessionEnded: finding = .sessionEnded
    case .unavailable, .overloaded: finding = .providerUnavailable
    case .refused: finding = .refused
    case .invalidAnswer: finding = .invalidAnswer
    case .store: finding = .storeUnavailable
    }
    log.warning(
      "credential_failed", "No credential for a request: \(failure.sentence)",
      [
        "route": .string(route.name), "audience": .string(audience?.description ?? "-"), "reason": .string(failure.word),
        "origin": LogValue(failure.faultOrigin), "request": .string(correlation ?? ""),
      ])
    return finding
  }

  /// The lines that `make` makes of a session's claims.
  private func made(
    _ session: Session, _ route: Route, _ correlation: String?, _ make: () throws(ClaimFault) -> FieldLines
  ) -> Resolved {
    do throws(ClaimFault) {
      return .credential(.ready(Credential(lines: try make(), freshUntil: session.absoluteExpiry), session))
    } catch { return .credential(.failed(finding(error, route, correlation))) }
  }

  /// What is wrong with which claim stands in the log, never its value.
  func finding(_ fault: ClaimFault, _ route: Route, _ correlation: String?) -> Findings.CredentialFinding {
    log.limited(
      by: repeats, now: time.monotonicNow(), key: "claim \(route.name) \(fault.kind.rawValue)", .warning, "credential_failed",
      "No credential for a request: the sign-in \(fault.kind == .missing ? "lacks a claim" : "has a claim that this credential cannot hold")",
      [
        "route": .string(route.name), "claim": .string(fault.claim.description), "reason": .string(fault.kind.rawValue),
        "request": .string(correlation ?? ""),
      ])
    return fault.kind == .missing ? .claimMissing : .claimUnusable
  }

  /// `Authorization: Basic …` with the claim as user. A colon would end the name, and control characters are not allowed
  /// ([RFC 7617 §2](https://www.rfc-editor.org/rfc/rfc7617#section-2)).
  func basicLines(_ claims: JSONObject, _ claim: Identifier, _ index: Int) throws(ClaimFault) -> FieldLines {
    guard let value = claims[claim], !value.isNull, value != .string("") else { throw ClaimFault(.missing, claim) }
    guard passwords.indices.contains(index), let name = value.string,
      name.utf8.allSatisfy({ $0 >= 0x20 && $0 != 0x7f && $0 != UInt8(ascii: ":") })
    else { throw ClaimFault(.unusable, claim) }
    let pair = Array((name + ":" + passwords[index].reveal()).utf8)
    var lines = FieldLines()
    do throws(FieldLineError) { try lines.append("Authorization", Array("Basic ".utf8) + Base64.encodedBytes(pair)) } catch {
      throw ClaimFault(.unusable, claim)
    }
    return lines
  }

  /// A field for each claim.
  func claimLines(_ claims: JSONObject, _ headers: [ClaimHeader]) throws(ClaimFault) -> FieldLines {
    var lines = FieldLines()
    for header in headers {
      guard let claim = claims[header.claim], !claim.isNull else { throw ClaimFault(.missing, header.claim) }
      guard let value = Self.fieldValue(claim) else { throw ClaimFault(.unusable, header.claim) }
      do throws(FieldLineError) { try lines.append(header.field, value) } catch { throw ClaimFault(.unusable, header.claim) }
    }
    return lines
  }

  /// A claim as a field value: text and numbers as they are, a list joined by commas; nothing that could end the line.
  private static func fieldValue(_ claim: JSONValue) -> [UInt8]? {
    let texts: [String]
    switch claim {
    case .string(let text): texts = [text]
    case .int64(let number): texts = [String(number)]
    case .bool(let flag): texts = [flag ? "true" : "false"]
    case .array(let items):
      texts = items.compactMap(\.string)
      guard texts.count == items.count else { return nil }
      guard !texts.contains(where: { $0.utf8.contains(UInt8(ascii: ",")) }) else { return nil }
    default: return nil
    }
    let value = Array(texts.joined(separator: ",").utf8)
    guard value.count <= 8192, value.allSatisfy({ $0 >= 0x20 && $0 != 0x7f }) else { return nil }
    return value
  }

  /// `Authorization: Bearer …` when the token is one that may stand in a field ([RFC 6750 §2.1](https://www.rfc-editor.org/rfc/rfc6750#section-2.1)).
  static func bearer(_ token: Secret<String>) -> FieldLines? {
    let bytes = Array(token.reveal().utf8)
    guard !bytes.isEmpty, bytes.count <= 16_384, bytes.allSatisfy({ $0 > 0x20 && $0 < 0x7f }) else { return nil }
    var lines = FieldLines()
    do throws(FieldLineError) { try lines.append("Authorization", Array("Bearer ".utf8) + bytes) } catch { return nil }
    return lines
  }

  /// From here on it is asked for anew.
  static func freshUntil(_ from: WallInstant, _ end: WallInstant) -> WallInstant {
    end.advanced(by: .seconds(-SessionTokens.margin(from: from, to: end)))
  }
}
