import DemoWorkplace
import HTTPMessage
import HTTPServer
import IntercomCore
import IntercomTesting
import OIDC
import Testing

/// Intercom's own relying party against the demo's provider, and against the liar: two pieces that were written from the standards alone.
@Suite("Relying party and embedded provider")
struct RelyingPartyTests {
  let time = ManualTime()
  let transport: InProcessTransport
  let provider: MisbehavingProvider
  let browser: ProviderBrowser

  init() throws {
    transport = InProcessTransport(time: time)
    provider = try MisbehavingProvider(ProviderFixture.configuration(), time: time, transport: transport)
    transport.serve(ProviderFixture.issuer, provider.endpoint)
    browser = ProviderBrowser(provider.endpoint, origin: ProviderFixture.issuer)
  }

  private func party(_ authentication: ClientConfiguration.Authentication = .basic) async throws -> RelyingParty {
    var configuration = try ClientConfiguration(
      issuer: ProviderFixture.issuer, clientID: "intercom", clientSecret: Secret("s3cret: with % and ü"),
      redirectURI: ProviderFixture.callback)
    configuration.authentication = authentication
    configuration.scopes = ["openid", "profile", "email"]
    let client = ProviderClient(configuration, transport: transport, time: time, random: SystemRandom())
    _ = await client.refresh()
    return RelyingParty(client, random: SystemRandom())
  }

  private func logIn(_ party: RelyingParty, lie: ProviderLie? = nil) async throws -> LoginResult {
    let request = try party.beginLogin()
    provider.tell(lie)
    defer { provider.tell(nil) }
    let landed = try await browser.signIn(request.url, "alice", "alice")
    return try await party.finishLogin(request.pending, query: landed?.query.map { Array($0.utf8) })
  }

  @Test("login, userinfo, refresh, exchange and sign-out work together", arguments: ClientConfiguration.Authentication.allCases)
  func together(authentication: ClientConfiguration.Authentication) async throws {
    let party = try await party(authentication)
    let login = try await logIn(party)
    #expect(login.identity.subject == "9a1f" && login.identity.sessionID != nil)
    let info = try await party.userInfo(accessToken: login.tokens.accessToken, subject: login.identity.subject)
    #expect(info.claims["email"] == "alice@example.org")
    time.advance(by: .seconds(250))
    let refreshToken = try #require(login.tokens.refreshToken)
    let refreshed = try await party.refresh(refreshToken, login.identity.binding)
    #expect(refreshed.identity?.sessionID == login.identity.sessionID)
    let exchanged = try await party.exchange(
      TokenExchange(subjectToken: refreshed.tokens.accessToken, subject: login.identity.subject, audience: "files"))
    #expect(exchanged.audience == "files")
    await #expect { try await party.refresh(refreshToken, login.identity.binding) } throws: { ($0 as? OIDCError)?.code == .refreshRefused }
  }

  @Test("signing out at the provider sends a logout token that the relying party accepts")
  func logout() async throws {
    let party = try await party()
    let login = try await logIn(party)
    let log = Received()
    transport.serve("http://intercom.localhost:8008") { _, body in
      await log.add(try await body.collect(upTo: 65_536))
      return Response(200)
    }
    let url = try party.logoutURL(idTokenHint: login.tokens.idToken, postLogoutRedirectURI: ProviderFixture.home, state: "s")
    let answer = try await browser.send(.get, url)
    #expect(answer.fields.single("location") == ProviderFixture.home + "&state=s")
    let body = try #require(await log.bodies.first)
    let verified = try await party.verifyLogoutToken(try LogoutForm.token(body))
    #expect(verified.sessionID == login.identity.sessionID && verified.subject == "9a1f")
  }

  @Test("prompt none is data, not a failure")
  func silent() async throws {
    let party = try await party()
    let request = try party.beginLogin(LoginOptions(prompt: LoginOptions.Prompt.none))
    let landed = try await browser.send(.get, request.url).fields.single("location").flatMap { SplitURL($0) }
    await #expect { try await party.finishLogin(request.pending, query: landed?.query.map { Array($0.utf8) }) } throws: {
      ($0 as? OIDCError)?.code == .loginRequired
    }
  }

  @Test(
    "every lie about a login is refused",
    arguments: [
      (ProviderLie.issuer, OIDCError.Code.invalidIDToken), (.audience, .invalidIDToken),
      (.idToken(.audienceOfSeveralWithoutParty), .invalidIDToken),
      (.idToken(.authorizedParty), .invalidIDToken), (.idToken(.expired), .invalidIDToken), (.idToken(.issuedInTheFuture), .invalidIDToken),
      (.nonce, .invalidIDToken),
      (.idToken(.nonceMissing), .invalidIDToken), (.idToken(.subjectMissing), .invalidIDToken), (.algorithmNone, .invalidIDToken),
      (.idToken(.algorithmHS256), .invalidIDToken), (.idToken(.keyIDMissing), .invalidIDToken), (.idToken(.keyIDUnknown), .invalidIDToken),
      (.signature, .invalidIDToken),
      (.idToken(.keyOfAttackerInHeader), .invalidIDToken), (.idToken(.accessTokenHash), .invalidIDToken),
      (.idToken(.duplicateClaim), .invalidIDToken),
      (.idTokenMissing, .invalidTokenResponse), (.tokens(.swapped), .invalidIDToken), (.answerIsHTML, .invalidTokenResponse),
      (.answerIsOversized, .invalidTokenResponse), (.answer(.token, .redirect), .invalidTokenResponse),
      (.answerHasDuplicateKeys, .invalidTokenResponse), (.answerIsTruncated, .invalidTokenResponse),
      (.tokens(.tokenTypeUnknown), .invalidTokenResponse), (.authorization(.issuer), .issuerMismatch),
      (.authorization(.state), .stateMismatch),
    ])
  func loginLies(lie: ProviderLie, code: OIDCError.Code) async throws {
    let party = try await party()
    await #expect { try await logIn(party, lie: lie) } throws: { error in
      let found = (error as? OIDCError)?.code
      if found != code { Issue.record("\(error)") }
      return found == code
    }
    // The truth still works afterwards.
    #expect(try await logIn(party).identity.subject == "9a1f")
  }

  @Test(
    "a provider that lies about itself is not used",
    arguments: [ProviderLie.discoveryIssuer, .answer(.discovery, .array), .answer(.keys, .html)])
  func discoveryLies(lie: ProviderLie) async throws {
    provider.tell(lie)
    let party = try await party()
    #expect(!party.isReady)
    #expect { try party.beginLogin() } throws: { ($0 as? OIDCError)?.code == .providerUnavailable }
  }

  @Test("userinfo about somebody else, a refresh into another person, and an exchange into another token are refused")
  func laterLies() async throws {
    let party = try await party()
    let login = try await logIn(party)
    func expect(_ lie: ProviderLie, _ code: OIDCError.Code, _ body: () async throws -> Void) async {
      provider.tell(lie)
      defer { provider.tell(nil) }
      do {
        try await body()
        Issue.record("\(lie) was believed")
      } catch { #expect((error as? OIDCError)?.code == code, "\(lie): \(error)") }
    }
    await expect(.userInfoSubject, .invalidUserInfo) {
      _ = try await party.userInfo(accessToken: login.tokens.accessToken, subject: login.identity.subject)
    }
    for lie in [ProviderLie.exchangedAudience, .exchangedIssuedTokenType, .exchangedSubject] {
      await expect(lie, .exchangeMismatch) {
        _ = try await party.exchange(
          TokenExchange(subjectToken: login.tokens.accessToken, subject: login.identity.subject, audience: "files"))
      }
    }
    let refreshToken = try #require(login.tokens.refreshToken)
    await expect(.subjectOfSomebodyElse, .identityChanged) { _ = try await party.refresh(refreshToken, login.identity.binding) }
  }

  private actor Received {
    var bodies: [[UInt8]] = []
    func add(_ body: [UInt8]) { bodies.append(body) }
  }
}
