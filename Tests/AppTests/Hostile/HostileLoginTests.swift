import IntercomTesting
import Testing

@Suite("Hostile provider: logins", .serialized)
struct HostileLoginTests {
  private func observe(
    _ section: HostilePage.Section, _ title: String, _ text: String, _ rows: [LoginLie], _ options: FlowFixture.Options = .init()
  ) async throws {
    try await FlowFixture.run(options) { flow in
      let observer = try await LoginObserver(flow)
      var page = HostilePage(section: section, title: title, text: text, columns: LoginObserver.columns)
      for row in rows { page.rows.append(try await observer.observe(row)) }
      // Nobody followed the URLs that lies hold, and the truth is still believed.
      #expect(flow.provider.requests.allSatisfy { $0.path != "/elsewhere" })
      try await flow.signIn(observer.page)
      #expect(try await flow.isAlive(observer.page))
      try page.settle()
    }
  }

  @Test("S13, algorithm confusion, none, and keys that the attacker chooses: nobody is signed in, nothing is fetched from elsewhere")
  func algorithmConfusion() async throws {
    try await observe(
      .signatures, "ID tokens: algorithm, key and signature",
      "Flaw classes S12, S13. The provider signs with ES256 and publishes two keys.",
      LoginLies.signatures)
  }

  @Test("S12, S14, S19: the token of another issuer, client, login or time, or of another kind, signs nobody in")
  func foreignTokens() async throws {
    try await observe(
      .claims, "ID tokens: issuer, audience, person, time, login, kind", "Flaw classes S12, S14, S19, S32. The signature is right.",
      LoginLies.claims)
  }

  @Test("S36, JSON read two ways: an ID token that two readers could read differently signs nobody in")
  func readTwoWays() async throws {
    try await observe(
      .spelling, "ID tokens: JSON read two ways, and other shapes",
      "Flaw classes S24, S36. The signature is right over exactly these bytes.",
      LoginLies.spelling)
  }

  @Test("Fault 21, S24, S26, S36: token answers that are oversized, endless, slow, redirected, read two ways or no answer at all")
  func tokenAnswers() async throws {
    var options = FlowFixture.Options()
    // Two rows wait for it, each in both flows.
    options.deployment = { $0.providerCall = .milliseconds(1_500) }
    try await observe(
      .tokenAnswers, "Answers of the token endpoint at a login", "Fault 21; flaw classes S24, S26, S36.", LoginLies.tokenAnswers, options)
  }

  @Test("S19, fault 23, mix-up: state, code and iss missing, empty, twice, oversized, of another login, of another provider")
  func authorizationResponses() async throws {
    try await observe(
      .authorization, "Answers through the browser",
      """
      Fault 23; flaw class S19, RFC 9207. A callback whose `state` is not one login's own cannot be told to be silent: it is the 400 page. A login
      stays open where the callback carries no single code or error for it.
      """, LoginLies.authorization)
  }

  @Test("docs/hostile-provider.md has its head and every section that is observed")
  func frame() { HostilePage.checkFrame() }
}
