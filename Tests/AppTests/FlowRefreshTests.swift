import HTTPMessage
import HTTPServer
import IntercomApp
import IntercomCore
import IntercomTesting
import Sessions
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
}
