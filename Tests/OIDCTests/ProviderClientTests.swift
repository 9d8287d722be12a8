import HTTPMessage
import IntercomCore
import IntercomTesting
import JOSE
import OIDC
import StrictJSON
import Testing

@Suite("The provider's metadata and keys", .timeLimit(.minutes(1)))
struct ProviderClientTests {
  private func code(_ lie: (inout ProviderDouble.Lies) -> Void) async throws -> OIDCError.Code? {
    let provider = try ProviderDouble()
    lie(&provider.lies)
    let client = try provider.client()
    _ = await client.refresh()
    #expect(!client.isReady)
    return await oidcError { try client.metadata() }?.code
  }

  @Test("Fault 22: before the first answer nothing is known; once the provider is there it recovers by itself")
  func absentAtStart() async throws {
    let provider = try ProviderDouble()
    provider.lies.failure = .unreachable("refused")
    let client = try provider.client()
    let party = RelyingParty(client, random: SystemRandom())
    let running = Task { await client.run() }
    while provider.time.sleeping == 0 { await Task.yield() }
    #expect(!party.isReady)
    #expect(await oidcError { try party.beginLogin() }?.code == .providerUnavailable)
    #expect(await oidcError { try await party.verifyLogoutToken(Secret([])) }?.code == .invalidLogoutToken)
    provider.lies.failure = nil
    provider.time.advance(by: .seconds(1))
    while !party.isReady { await Task.yield() }
    _ = try party.beginLogin()
    running.cancel()
    await running.value
  }

  @Test("Pauses after failures double up to a limit, and half of each is chance")
  func backOff() async throws {
    let provider = try ProviderDouble()
    provider.lies.failure = .timedOut
    let client = try provider.client()
    for full in [1, 2, 4, 8, 15, 15, 15] {
      let pause = await client.refresh()
      #expect(pause >= .seconds(full) / 2 && pause <= .seconds(full), "\(pause)")
    }
    provider.lies.failure = nil
    #expect(await client.refresh() == .seconds(600))
    provider.lies.failure = .timedOut
    #expect(await client.refresh() <= .seconds(1))
  }

  @Test("Fault 19: what is known stays while the provider fails or lies, until it is too old")
  func lastGood() async throws {
    let provider = try ProviderDouble()
    let client = try provider.client()
    _ = await client.refresh()
    let party = RelyingParty(client, random: SystemRandom())
    let lies: [(inout ProviderDouble.Lies) -> Void] = [
      { $0.failure = .timedOut }, { $0.metadataAnswer = .json(500, "{}") }, { $0.metadata = ["issuer": "https://evil.example"] },
      { $0.keysAnswer = .json(200, #"{"keys":[]}"#) }, { $0.keysFailure = .tooLarge }, { $0.metadata = ["token_endpoint": .null] },
    ]
    for lie in lies {
      provider.lies = ProviderDouble.Lies()
      lie(&provider.lies)
      _ = await client.refresh()
      provider.lies = ProviderDouble.Lies()
      provider.lies.keysFailure = .timedOut
      _ = try await provider.login(party: party)
    }
    provider.time.advance(by: .seconds(86_400))
    #expect(client.isReady)
    provider.time.advance(by: .seconds(1))
    #expect(!client.isReady)
    #expect(await oidcError { try await provider.login(party: party) }?.code == .providerUnavailable)
  }

  @Test("The keys' own max-age brings the next refresh forward, never below a minute")
  func maximumAge() async throws {
    let provider = try ProviderDouble()
    let client = try provider.client()
    for (field, pause) in [
      ("max-age=300", 240), ("public, max-age=10", 60), ("max-age=99999999", 600), ("no-store", 600), ("max-age=x", 600),
    ] {
      var answer = OutboundResponse.json(200, String(decoding: JSONWebKeySet.document([provider.key]), as: UTF8.self))
      answer.fields.append("Cache-Control", field)
      provider.lies.keysAnswer = answer
      #expect(await client.refresh() == .seconds(pause), "\(field)")
    }
  }

  @Test(
    "Metadata of another issuer is refused, byte for byte",
    arguments: [
      "https://id.example/realms/workplace/", "https://ID.example/realms/workplace", "https://id.example/realms/other", "",
      "http://id.example/realms/workplace",
    ])
  func issuer(_ issuer: String) async throws {
    #expect(try await code { $0.metadata = ["issuer": .string(issuer)] } == .providerUnavailable)
  }

  @Test("Both issuers are named where they differ, shortened and without what cannot be printed; and why is kept until it is over")
  func bothIssuers() async throws {
    let provider = try ProviderDouble()
    let client = try provider.client()
    #expect(client.trouble == nil)
    let long = "https://id.example/auth/realms/workplace\u{7}\u{e9}\n\"" + String(repeating: "x", count: 300)
    provider.lies.metadata = ["issuer": .string(long)]
    _ = await client.refresh()
    let trouble = try #require(client.trouble)
    #expect(trouble.contains("found \"https://id.example/auth/realms/workplace?????xxx"), "\(trouble)")
    #expect(trouble.contains("expected \"\(ProviderDouble.issuer)\"") && trouble.hasSuffix(" since 0 s"), "\(trouble)")
    #expect(trouble.utf8.count < 500 && trouble.utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7f }, "\(trouble)")
    provider.lies.metadata = ["issuer": .null]
    _ = await client.refresh()
    #expect(client.trouble?.contains("found none, expected") == true, "\(client.trouble ?? "-")")
    provider.lies.metadata = [:]
    _ = await client.refresh()
    #expect(client.trouble == nil && client.isReady)
  }

  @Test(
    "Fault 21: metadata that lies is refused",
    arguments: [
      OutboundResponse.json(200, "<html></html>", type: "text/html"), .json(200, "<html></html>"), .json(302, "{}"), .json(404, "{}"),
      .json(200, "[]"), .json(200, #"{"issuer":"\#(ProviderDouble.issuer)","issuer":"x"}"#), OutboundResponse(status: 200),
      .json(200, "{\"x\":\"" + String(repeating: "x", count: 300_000) + "\"}"), .json(200, String(repeating: "[", count: 100_000)),
    ])
  func metadata(_ answer: OutboundResponse) async throws {
    #expect(try await code { $0.metadataAnswer = answer } == .providerUnavailable)
    let provider = try ProviderDouble()
    #expect(await oidcError { try ProviderMetadata.parse(answer, provider.configuration()) }?.code == .invalidMetadata)
  }

  @Test(
    "Endpoints that are missing, no URLs or weaker than the issuer are refused",
    arguments: [
      ClaimChange("no token endpoint", ["token_endpoint": .null]), ClaimChange("no keys", ["jwks_uri": .null]),
      ClaimChange("no authorization endpoint", ["authorization_endpoint": .null]),
      ClaimChange("keys over http", ["jwks_uri": "http://id.example/certs"]),
      ClaimChange("token endpoint a file", ["token_endpoint": "file:///token"]),
      ClaimChange("user information", ["token_endpoint": "https://a:b@id.example/token"]),
      ClaimChange("fragment", ["authorization_endpoint": "https://id.example/auth#x"]),
      ClaimChange("script", ["end_session_endpoint": "javascript:alert(1)"]), ClaimChange("no host", ["token_endpoint": "https:///token"]),
      ClaimChange("line end", ["token_endpoint": "https://id.example/\r\ntoken"]), ClaimChange("number", ["userinfo_endpoint": 1]),
    ])
  func endpoints(_ change: ClaimChange) async throws {
    #expect(try await code { $0.metadata = change.changes } == .providerUnavailable)
    let provider = try ProviderDouble()
    provider.lies.metadata = change.changes
    let client = try provider.configuration()
    let answer = try await provider.transport.send(ProviderMetadata.request(client), deadline: provider.time.monotonicNow())
    #expect(change.explains(await oidcError { try ProviderMetadata.parse(answer, client) }))
  }

  @Test(
    "Fault 21: key sets that lie are refused",
    arguments: [
      OutboundResponse.json(200, "<html>", type: "text/html"), .json(302, "{}"), .json(200, #"{"keys":[],"keys":[]}"#), .json(200, "{}"),
      .json(200, #"{"keys":[{"kty":"oct","k":"AAAA"}]}"#), .json(200, #"{"keys":{}}"#),
      .json(200, "{\"x\":\"" + String(repeating: "x", count: 300_000) + "\"}"),
    ])
  func keys(_ answer: OutboundResponse) async throws {
    #expect(try await code { $0.keysAnswer = answer } == .providerUnavailable)
  }

  @Test("The sizes that may come are part of the calls")
  func sizes() async throws {
    let provider = try ProviderDouble()
    let party = try await provider.relyingParty()
    _ = try await provider.login(party: party)
    #expect(provider.transport.requests.map(\.maximumResponseBytes) == [262_144, 262_144, 1_048_576])
  }

  @Test("A new key is fetched when a token names it")
  func rotation() async throws {
    let provider = try ProviderDouble()
    let party = try await provider.relyingParty()
    let new = try SigningKey.generate(.es256, keyID: "key-2")
    provider.publish([provider.key, new])
    _ = try await provider.login(party: party, sign: { try new.sign($0) })
    #expect(provider.requests(to: "/certs") == 2)
  }

  @Test("Keys as a lever: ten thousand unknown keys cause one fetch per interval (S25, fault 18)")
  func unknownKeys() async throws {
    let provider = try ProviderDouble()
    let party = try await provider.relyingParty()
    let claims = provider.logoutClaims()
    let tokens = (0..<10_000).map { number in
      let input = CompactJWS.signingInput(header: ["alg": "ES256", "kid": .string("random-\(number)")], payload: claims.serialized)
      return Secret(Array(CompactJWS.join(input, signature: [UInt8](repeating: 1, count: 64)).utf8))
    }
    let before = provider.requests(to: "/certs")
    await withTaskGroup(of: Bool.self) { group in
      for part in 0..<8 {
        group.addTask {
          for token in tokens[(part * 1_250)..<((part + 1) * 1_250)] {
            guard await oidcError({ try await party.verifyLogoutToken(token) })?.code == .invalidLogoutToken else { return false }
          }
          return true
        }
      }
      for await refused in group { #expect(refused) }
    }
    #expect(provider.requests(to: "/certs") == before + 1)
    provider.time.advance(by: .seconds(30))
    _ = await oidcError { try await party.verifyLogoutToken(tokens[0]) }
    _ = await oidcError { try await party.verifyLogoutToken(tokens[1]) }
    #expect(provider.requests(to: "/certs") == before + 2)
  }

  @Test("A hundred tokens of a new key at once cause one fetch, and all are accepted")
  func singleFlight() async throws {
    let provider = try ProviderDouble()
    let party = try await provider.relyingParty()
    let new = try SigningKey.generate(.es256, keyID: "key-2")
    provider.publish([new])
    let token = Secret(Array(try new.sign(provider.logoutClaims(), type: "logout+jwt").utf8))
    await withTaskGroup(of: OIDCError?.self) { group in
      for _ in 0..<100 { group.addTask { await oidcError { try await party.verifyLogoutToken(token) } } }
      for await error in group { #expect(error == nil) }
    }
    #expect(provider.requests(to: "/certs") == 2)
  }

  @Test("An unknown key while the keys cannot be fetched is no verdict about the token, also while no fetch may be made")
  func unknownAndUnreachable() async throws {
    let provider = try ProviderDouble()
    let party = try await provider.relyingParty()
    provider.lies.keysFailure = .timedOut
    let new = try SigningKey.generate(.es256, keyID: "key-2")
    let before = provider.requests(to: "/certs")
    for _ in 0..<3 {
      #expect(await oidcError { try await provider.login(party: party, sign: { try new.sign($0) }) }?.code == .providerUnavailable)
    }
    #expect(provider.requests(to: "/certs") == before + 1)
    provider.time.advance(by: .seconds(30))
    provider.lies.keysFailure = .tooLarge
    for _ in 0..<2 {
      #expect(await oidcError { try await provider.login(party: party, sign: { try new.sign($0) }) }?.code == .invalidKeySet)
    }
    provider.time.advance(by: .seconds(30))
    provider.lies.keysFailure = nil
    for _ in 0..<2 {
      #expect(await oidcError { try await provider.login(party: party, sign: { try new.sign($0) }) }?.code == .invalidIDToken)
    }
  }

  @Test("Split addresses: calls go inside, the browser and the issuer check stay outside")
  func internalURL() async throws {
    let provider = try ProviderDouble()
    var client = try ClientConfiguration(
      issuer: ProviderDouble.issuer, clientID: "intercom", clientSecret: Secret("s"), redirectURI: "https://intercom.example/callback",
      internalURL: "http://keycloak.internal:8080/realms/workplace")
    client.authentication = .post
    let party = try await provider.relyingParty(client)
    let login = try party.beginLogin()
    #expect(login.url.hasPrefix("https://id.example/"))
    _ = try await provider.login(party: party)
    #expect(provider.transport.requests.allSatisfy { $0.url.hasPrefix("http://keycloak.internal:8080/realms/workplace/") })
    provider.lies.metadata = ["issuer": "http://keycloak.internal:8080/realms/workplace"]
    let lied = try provider.client(client)
    _ = await lied.refresh()
    #expect(!lied.isReady)
    // Keycloak may name its inner address for what is called from inside, but never for the browser.
    provider.lies.metadata = ["token_endpoint": "http://keycloak.internal:8080/realms/workplace/token"]
    _ = await lied.refresh()
    #expect(lied.isReady)
    provider.lies.metadata = ["authorization_endpoint": "http://keycloak.internal:8080/realms/workplace/auth"]
    let browser = try provider.client(client)
    _ = await browser.refresh()
    #expect(!browser.isReady)
  }

  @Test(
    "A configuration that cannot be used is said so",
    arguments: [
      ("id.example", "c", "https://a/", nil), ("https://id.example/?x", "c", "https://a/", nil),
      ("https://id.example", "", "https://a/", nil),
      ("https://id.example", "c", "/callback", nil), ("https://id.example#x", "c", "https://a/", nil),
      ("https://id.example", "c", "https://a/", "ftp://x"),
    ] as [(String, String, String, String?)])
  func configuration(_ issuer: String, _ id: String, _ redirect: String, _ inside: String?) {
    let error = #expect(throws: OIDCError.self) {
      try ClientConfiguration(issuer: issuer, clientID: id, clientSecret: Secret("s"), redirectURI: redirect, internalURL: inside)
    }
    #expect(error?.code == .invalidConfiguration)
    #expect(error?.origin == .gateway)
  }
}
