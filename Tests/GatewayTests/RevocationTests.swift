import Cryptography
import Gateway
import HTTPMessage
import IntercomCore
import IntercomTesting
import OIDC
import Sessions
import Synchronization
import Telemetry
import Testing

@Suite("Tokens of ended sessions are revoked")
struct RevocationTests {
  private let provider: ProviderDouble
  private let manager: SessionManager
  private let sink = MemorySink()

  init() throws {
    provider = try ProviderDouble()
    provider.otherEndpointsAnswer(OutboundResponse(status: 200))
    manager = SessionManager(
      store: MemorySessionStore(time: provider.time), keys: try KeyRing([Secret([UInt8](repeating: 7, count: 32))]), time: provider.time,
      random: SystemRandom())
  }

  private func revocation() async throws -> SessionTokenRevocation {
    SessionTokenRevocation(try await provider.relyingParty(), manager, log: StructuredLog(to: sink, minimum: .info))
  }

  /// Of a session that is over.
  private func remains(
    _ reason: EndReason? = .loggedOut, sid: Identifier? = "sid-1", refreshToken: String? = "refresh-0", backend: [String] = []
  ) async throws -> SessionRemains {
    let made = try await manager.create(from: .example(sid: sid, now: manager.now(), refreshToken: refreshToken))
    _ = try await manager.end(made.id, reason: .loggedOut)
    let now = manager.now()
    return SessionRemains(
      session: made.session, reason: reason, tokens: made.session.tokens,
      backendTokens: backend.map { BackendToken(accessToken: Secret($0), received: now, expiry: now.advanced(by: .seconds(60))) })
  }

  private var revoked: [String] {
    provider.transport.requests.filter { $0.url.hasSuffix("/revoke") }.map { String(decoding: $0.body, as: UTF8.self) }
  }

  @Test("the refresh token first, then the exchanged ones, each with its kind; the client proves itself")
  func order() async throws {
    #expect(try await revocation().sessionEnded(remains(backend: ["files-token"])) == .done)
    #expect(revoked == ["token=refresh-0&token_type_hint=refresh_token", "token=files-token&token_type_hint=access_token"])
    #expect(provider.transport.requests.last?.fields.single("authorization")?.hasPrefix("Basic ") == true)
  }

  @Test("without a refresh token the access token is revoked while it is good; a refresh token that was just refused is none")
  func which() async throws {
    let care = try await revocation()
    #expect(try await care.sessionEnded(remains(refreshToken: nil)) == .done)
    #expect(revoked == ["token=access-0&token_type_hint=access_token"])
    for reason in [EndReason.refreshRefused, .identityChanged] { #expect(try await care.sessionEnded(remains(reason)) == .needless) }
    let old = try await remains(.tokenExpired, refreshToken: nil)
    provider.time.advance(by: .seconds(300))
    #expect(await care.sessionEnded(old) == .needless)
    #expect(revoked.count == 1)
  }

  @Test("a session whose time is over leaves the provider's alone; with offline access its grant is revoked, for nobody else would end it")
  func timesOver() async throws {
    for reason in [EndReason.idle, .absolute] {
      #expect(try await revocation().sessionEnded(remains(reason, backend: ["files-token"])) == .needless)
    }
    #expect(revoked.isEmpty)
    let offline = try await provider.relyingParty(provider.configuration { $0.scopes = ["openid", "offline_access"] })
    #expect(try await SessionTokenRevocation(offline, manager, log: .none).sessionEnded(remains(.idle)) == .done)
    #expect(revoked.count == 1)
  }

  @Test("nothing is revoked while another session here belongs to the same session of the provider")
  func shared() async throws {
    let remains = try await remains()
    let other = try await manager.create(from: .example(now: manager.now()))
    let care = try await revocation()
    #expect(await care.sessionEnded(remains) == .needless)
    _ = try await manager.end(other.id, reason: .loggedOut)
    #expect(await care.sessionEnded(remains) == .done)
    #expect(revoked.count == 1)
  }

  @Test(
    "what the provider's answer means",
    arguments: [
      (OutboundResponse.json(400, #"{"error":"unsupported_token_type"}"#), "done"),
      (.json(400, #"{"error":"invalid_token"}"#), "done"), (OutboundResponse(status: 204), "done"),
      (.json(400, #"{"error":"invalid_request"}"#), "failed"), (.json(400, #"{"error":"invalid_client"}"#), "failed"),
      (OutboundResponse(status: 401), "failed"), (OutboundResponse(status: 302), "failed"), (OutboundResponse(status: 404), "failed"),
      (OutboundResponse(status: 500), "again"), (OutboundResponse(status: 429), "again"),
      (OutboundResponse(status: 503, fields: Fields(["Retry-After": "7"]), body: []), "again 7"),
      (OutboundResponse(status: 503, fields: Fields(["Retry-After": "-7"]), body: []), "again"),
      (OutboundResponse(status: 503, fields: Fields(["Retry-After": "99999999999999999999"]), body: []), "again"),
    ])
  func answers(_ answer: OutboundResponse, _ expected: String) async throws {
    provider.otherEndpointsAnswer(answer)
    let outcome =
      switch try await revocation().sessionEnded(remains()) {
      case .done: "done"
      case .needless: "needless"
      case .failed: "failed"
      case .again(_, let after): "again" + (after.map { " \($0.components.seconds)" } ?? "")
      }
    #expect(outcome == expected)
  }

  @Test("a provider that does not answer, or is not known yet, is asked again (fault 15)")
  func away() async throws {
    let care = try await revocation()
    var lies = provider.lies
    lies.failure = .unreachable("down")
    provider.lies = lies
    guard case .again = try await care.sessionEnded(remains()) else { return #expect(Bool(false), "not again") }
    let unknown = RelyingParty(try provider.client(), random: SystemRandom())
    guard case .again = try await SessionTokenRevocation(unknown, manager, log: .none).sessionEnded(remains()) else {
      return #expect(Bool(false), "not again")
    }
  }

  @Test("a provider without such an endpoint is told of once, and never asked")
  func unsupported() async throws {
    provider.lies.metadata = ["revocation_endpoint": .null]
    let care = try await revocation()
    for _ in 0..<3 { #expect(try await care.sessionEnded(remains()) == .needless) }
    #expect(sink.lines.filter { $0.contains("revocation_unsupported") }.count == 1)
    #expect(revoked.isEmpty)
  }

  @Test("a token that the provider refuses keeps no other from being revoked; what may work later is tried again")
  func each() async throws {
    let care = try await revocation()
    let remains = try await remains(backend: ["bad-token", "files-token"])
    provider.answerRevocations { token in
      if token.contains("bad-token") { OutboundResponse.json(400, #"{"error":"invalid_request"}"#) } else { OutboundResponse(status: 200) }
    }
    guard case .failed = await care.sessionEnded(remains) else { return #expect(Bool(false), "not failed") }
    #expect(revoked.count == 3 && revoked.contains { $0.contains("refresh-0") } && revoked.contains { $0.contains("files-token") })
    provider.answerRevocations { token in
      if token.contains("bad-token") { return OutboundResponse(status: 403) }
      return OutboundResponse(
        status: 503, fields: Fields(["Retry-After": token.contains("refresh-0") ? "7" : "9"]), body: [])
    }
    guard case .again(_, after: .seconds(9)) = await care.sessionEnded(remains) else { return #expect(Bool(false), "not again") }
    #expect(revoked.count == 6)
  }

  @Test("a job that would do nothing takes no place: no end asks for it, there is no token, the provider cannot")
  func needed() async throws {
    let care = try await revocation()
    #expect(try await care.isNeeded(after: remains()))
    #expect(try await care.isNeeded(after: remains(refreshToken: nil)))
    #expect(try await care.isNeeded(after: remains(.refreshRefused, backend: ["files-token"])))
    for reason in [EndReason.idle, .absolute, .refreshRefused, .identityChanged] {
      #expect(try await !care.isNeeded(after: remains(reason)))
    }
    let offline = try await provider.relyingParty(provider.configuration { $0.scopes = ["openid", "offline_access"] })
    #expect(try await SessionTokenRevocation(offline, manager, log: .none).isNeeded(after: remains(.idle)))
    // What is not known yet may turn out to be needed.
    let unknown = RelyingParty(try provider.client(), random: SystemRandom())
    #expect(try await SessionTokenRevocation(unknown, manager, log: .none).isNeeded(after: remains()))
    provider.lies.metadata = ["revocation_endpoint": .null]
    let unable = try await revocation()
    for _ in 0..<3 { #expect(try await !unable.isNeeded(after: remains())) }
    #expect(sink.lines.filter { $0.contains("revocation_unsupported") }.count == 1 && revoked.isEmpty)
  }

  @Test("thousands of sessions that end at once: revocations with nothing to do take no Matrix device's place")
  func places() async throws {
    provider.lies.metadata = ["revocation_endpoint": .null]
    let (gate, devices) = (Gate(), CountingCare())
    manager.add(aftercare: try await revocation())
    manager.add(aftercare: devices)
    devices.hold(at: gate)
    for _ in 0..<AftercareQueue.capacity { _ = try await manager.create(from: .example(now: manager.now())) }
    #expect(try await manager.end(issuer: "https://id.example", sid: "sid-1", reason: .backChannelLogout) == AftercareQueue.capacity)
    gate.open()
    let aftercare = manager.aftercare
    #expect(await eventually { aftercare.count == 0 })
    #expect(devices.told == AftercareQueue.capacity)
  }
}

/// Stands for the Matrix devices of sessions.
private final class CountingCare: SessionAftercare {
  let kind = AftercareKind.matrix
  private let state = Mutex((told: 0, gate: Gate?.none))

  var told: Int { state.withLock { $0.told } }
  func hold(at gate: Gate) { state.withLock { $0.gate = gate } }

  func sessionEnded(_ remains: SessionRemains) async -> AftercareOutcome {
    let gate = state.withLock { state in
      state.told += 1
      return state.gate
    }
    await gate?.pass()
    return .done
  }
}
