import HTTPMessage
import HTTPServer
import IntercomApp
import IntercomCore
import IntercomTesting
import JOSE
import Sessions
import StrictJSON
import Testing

@Suite("Flow: refresh", .serialized)
struct FlowRefreshTests {
  @Test(
    "Refreshed token of somebody else: the session ends with its reason, nothing of it is used, and the new grant is revoked (S16)",
    arguments: [ProviderLie.subjectOfSomebodyElse, .issuer])
  func changedIdentity(_ lie: ProviderLie) async throws {
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      flow.time.advance(by: .seconds(400))
      flow.liar.tell(lie)
      let answer = try await flow.fetch(visitor, "GET", "/fs/x")
      #expect(answer.status == 401 && answer.all("set-cookie").contains { $0.hasPrefix("intercom=;") })
      #expect(flow.upstream.requests.isEmpty && flow.exchanges == 0 && flow.refreshes == 1)
      #expect(flow.sink.lines.contains { $0.contains("session_ended") && $0.contains(#""reason":"identity_changed""#) })
      let provider = flow.provider
      #expect(await eventually { provider.requests.count { $0.path == "/revoke" } == 1 })
      flow.liar.tell(nil)
      try await flow.signIn(visitor)
      #expect(try await flow.fetch(visitor, "GET", "/fs/x").status == 200)
    }
  }

  @Test(
    "A refresh whose answer is unusable is 502, keeps the session and reaches no backend (S16)",
    arguments: [ProviderLie.audience, .authorizedParty, .signature, .algorithmNone, .expired, .tokensSwapped, .answerIsHTML])
  func unusableRefresh(_ lie: ProviderLie) async throws {
    try await FlowFixture.run(FlowFixture.Options(provider: { $0.rotatesRefreshTokens = false })) { flow in
      let visitor = try await flow.signedIn()
      flow.time.advance(by: .seconds(400))
      flow.liar.tell(lie)
      let answer = try await flow.fetch(visitor, "GET", "/own/x")
      #expect(answer.status == 502 && answer.all("set-cookie").isEmpty, "\(answer.text)")
      #expect(flow.upstream.requests.isEmpty)
      flow.liar.tell(nil)
      #expect(try await flow.isAlive(visitor))
      #expect(try await flow.fetch(visitor, "GET", "/own/x").status == 200)
    }
  }

  enum Outage: CaseIterable { case refused, blackHole, serverError, unavailable }

  @Test(
    "Fault 15: the provider is away at a refresh: good tokens are used at once, expired ones are 503 within their time, nobody is signed out",
    arguments: Outage.allCases)
  func outage(_ outage: Outage) async throws {
    let options = FlowFixture.Options(deployment: { ($0.providerCall, $0.tokenOperation) = (.seconds(2), .seconds(3)) })
    try await FlowFixture.run(options) { flow in
      let visitor = try await flow.signedIn()
      for route in ["own", "fs"] { #expect(try await flow.fetch(visitor, "GET", "/\(route)/x").status == 200) }
      let gate = Gate()
      switch outage {
      case .refused: await flow.provider.goAway()
      case .blackHole:
        flow.provider.answer { _ in
          await gate.pass()
          return Response(503)
        }
      case .serverError: flow.provider.answer { _ in Response(500, ["Content-Type": "text/html"], Array("<h1>Oops</h1>".utf8)) }
      case .unavailable: flow.provider.answer { _ in Response(503, ["Retry-After": "60"]) }
      }
      flow.time.advance(by: .seconds(280))
      var began = SystemTime().monotonicNow()
      for route in ["own", "fs", "own", "fs"] { #expect(try await flow.fetch(visitor, "GET", "/\(route)/x").status == 200) }
      #expect(began.duration(to: SystemTime().monotonicNow()) < .seconds(2), "a good token was not used at once")
      flow.time.advance(by: .seconds(120))
      flow.upstream.forget()
      for route in ["own", "fs"] {
        began = SystemTime().monotonicNow()
        let answer = try await flow.fetch(visitor, "GET", "/\(route)/x")
        #expect(answer.status == 503 && answer.field("retry-after") != nil && answer.all("set-cookie").isEmpty, "\(answer.text)")
        #expect(began.duration(to: SystemTime().monotonicNow()) < .seconds(8))
      }
      #expect(flow.upstream.requests.isEmpty)
      #expect(try await flow.isAlive(visitor))
      flow.provider.answer(nil)
      gate.open()
      if outage == .refused { try await flow.provider.start() }
      for route in ["own", "fs"] { #expect(try await flow.fetch(visitor, "GET", "/\(route)/x").status == 200) }
      #expect(flow.codeCalls == 1)
    }
  }

  /// From now on the provider does what a refresh asks, and its answer is lost on the way.
  private func loseRefreshAnswers(_ flow: FlowFixture) {
    let honest = flow.liar.endpoint
    flow.provider.serve { request, body in
      let bytes = try await body.collect(upTo: 65_536)
      let response = try await honest(request, RequestBody(bytes: bytes))
      guard String(decoding: bytes, as: UTF8.self).contains("grant_type=refresh_token") else { return response }
      // Cut off in the middle of its body.
      return Response(
        200, response.fields,
        stream: .stream(length: 10_000) { writer in
          try await writer.write(Array("{".utf8))
          throw Lost()
        })
    }
  }
  private struct Lost: Error {}

  @Test(
    "Fault 17: a refresh answer lost after rotation: one more try at most, then the login, which works, and no loop",
    arguments: [true, false])
  func lostAnswer(rotates: Bool) async throws {
    try await FlowFixture.run(FlowFixture.Options(provider: { $0.rotatesRefreshTokens = rotates })) { flow in
      let visitor = try await flow.signedIn()
      flow.time.advance(by: .seconds(400))
      loseRefreshAnswers(flow)
      let first = try await flow.fetch(visitor, "GET", "/own/x")
      #expect(first.status == 503 && first.field("retry-after") != nil, "\(first.status) \(first.text)")
      #expect(flow.refreshes == 1)
      flow.provider.serve(flow.liar.endpoint)
      let second = try await flow.fetch(visitor, "GET", "/own/x")
      #expect(second.status == (rotates ? 401 : 200) && flow.refreshes == 2)
      if rotates {
        for _ in 0..<3 { #expect(try await flow.fetch(visitor, "GET", "/own/x").status == 401) }
        #expect(flow.refreshes == 2)
        try await flow.signIn(visitor)
        #expect(try await flow.fetch(visitor, "GET", "/own/x").status == 200)
      }
    }
  }

  @Test("Stale authorisation: a group taken away at the provider is gone at the backends with the next refresh, on every loop (S27)")
  func claimsAnew() async throws {
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      for _ in 0..<16 { #expect(try await flow.fetch(visitor, "GET", "/headers/x").status == 200) }
      #expect(flow.upstream.requests.allSatisfy { $0.all("x-groups") == ["staff,friends-of-alice"] })
      let (honest, key) = (flow.liar.endpoint, flow.liar.key)
      flow.provider.serve { request, body in
        let response = try await honest(request, body)
        guard request.rawPath == Array("/token".utf8), case .bytes(let bytes) = response.body else { return response }
        var answer = try StrictJSON.object(bytes)
        var claims = try UnverifiedJWS.parse(answer["id_token"]?.string ?? "").unverifiedClaims()
        claims["groups"] = ["guests"]
        answer["id_token"] = .string(try key.sign(claims))
        return Response(response.status, response.fields, answer.serialized)
      }
      flow.time.advance(by: .seconds(400))
      #expect(try await flow.fetch(visitor, "GET", "/own/x").status == 200)
      #expect(flow.refreshes == 1)
      // All loops hear of it beside the request.
      try await waitUntilTrue("the new groups on every loop") {
        flow.upstream.forget()
        for _ in 0..<16 { _ = try await flow.fetch(visitor, "GET", "/headers/x") }
        return flow.upstream.requests.allSatisfy { $0.all("x-groups") == ["guests"] }
      }
    }
  }
}
