import DemoWorkplace
import HTTPMessage
import HTTPServer
import IntercomCore
import IntercomTesting
import JOSE
import StrictJSON
import Testing

/// A double that lies must really lie, and only when it is told to: else the tests that lean on it prove nothing.
@Suite("Misbehaving provider")
struct MisbehavingProviderTests {
  let time = ManualTime()
  let provider: MisbehavingProvider
  let browser: ProviderBrowser

  init() throws {
    provider = try MisbehavingProvider(
      ProviderFixture.configuration(), time: time, transport: InProcessTransport(time: time))
    browser = ProviderBrowser(provider.endpoint, origin: ProviderFixture.issuer)
  }

  private func post(_ pairs: [(String, String)]) async throws -> Response {
    let client = ProviderBrowser(provider.endpoint, origin: ProviderFixture.issuer)
    return try await client.send(.post, "/token", form: pairs, fields: ProviderFixture.basic())
  }

  /// What a relying party can see of one sign-in, as text: it differs from the truth for every lie.
  private func observe(_ lie: ProviderLie?) async throws -> [String] {
    provider.tell(nil)
    let code = try await browser.signIn(ProviderFixture.authorizationURL(), "alice", "alice")?.parameters["code"] ?? ""
    provider.tell(lie)
    defer { provider.tell(nil) }
    var seen: [String] = []
    for path in ["/.well-known/openid-configuration", "/jwks"] {
      seen.append(String(decoding: try await browser.send(.get, path).collectedBody(), as: UTF8.self))
    }
    let landed = try await browser.send(.get, ProviderFixture.authorizationURL()).fields.single("location").flatMap { SplitURL($0) }
    // Codes differ each time: of them only the length shows.
    let query = (landed?.query ?? "").split(separator: "&").map { $0.hasPrefix("code=") ? "code of \($0.utf8.count)" : String($0) }
    seen.append("\(query.sorted())")
    let answer = try await post([
      ("grant_type", "authorization_code"), ("code", code), ("redirect_uri", ProviderFixture.callback),
      ("code_verifier", PKCEExample.verifier),
    ])
    let bytes = try await answer.collectedBody()
    guard answer.status == 200, bytes.count < 100_000, let json = try? StrictJSON.object(bytes) else {
      return seen + ["\(answer.status.code) \(bytes.count)"]
    }
    let keys = try? JSONWebKeySet.parse(try await browser.send(.get, "/jwks").collectedBody())
    let type = answer.fields.single("content-type") ?? "-"
    seen.append("\(json.members.map(\.key)) \(json["token_type"] ?? .null) \(type) \(answer.fields.all.count)")
    seen.append("\(json["expires_in"] ?? .null) \(json["refresh_token"]?.string != nil)")
    for name: Identifier in ["id_token", "access_token"] {
      seen.append(describe(json[name]?.string, keys, access: json["access_token"]))
    }
    let info = try await browser.send(
      .get, "/userinfo", fields: Fields(["Authorization": "Bearer \(json["access_token"]?.string ?? "")"]))
    seen.append(String(decoding: try await info.collectedBody(), as: UTF8.self))
    let exchanged = try await post([
      ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"), ("subject_token", json["access_token"]?.string ?? ""),
      ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"), ("audience", "files"),
    ])
    let exchange = try StrictJSON.object(try await exchanged.collectedBody())
    seen.append("\(exchange["issued_token_type"] ?? .null) \(exchange["token_type"] ?? .null)")
    seen.append(describe(exchange["access_token"]?.string, keys, access: nil))
    return seen
  }

  private func describe(_ token: String?, _ keys: JSONWebKeySet?, access: JSONValue?) -> String {
    guard let token, let parsed = try? UnverifiedJWS.parse(token), var claims = try? parsed.unverifiedClaims() else { return "unreadable" }
    let matches = claims["at_hash"]?.string == Algorithm.es256.leftHalfHash(of: Array((access?.string ?? "").utf8))
    for name: Identifier in ["jti", "at_hash"] { claims[name] = nil }
    let verified = (try? keys?.verify(parsed)) != nil
    let text = String(decoding: claims.serialized, as: UTF8.self)
    return "\(parsed.type?.description ?? "-") \(parsed.algorithmName) \(parsed.keyID?.description ?? "-") \(verified) \(matches) \(text)"
  }

  @Test("tells the truth when nothing else is asked")
  func truth() async throws {
    let seen = try await observe(nil)
    #expect(seen == (try await observe(nil)))
    #expect(seen[5].hasPrefix("JWT ES256 key-1 true true "))
  }

  /// Those that show in what a relying party sees here, and come to an end.
  static let visible = ProviderLie.all.filter { lie in
    if case .answer(_, let answer) = lie { return answer.ends && answer != .brokenOff }
    // No subject of these tests has a letter that decomposes.
    return lie != .idToken(.subjectDecomposed)
  }

  @Test("tells each lie", arguments: visible)
  func lies(lie: ProviderLie) async throws {
    let truth = try await observe(nil)
    let seen = try await observe(lie)
    #expect(seen != truth)
  }

  @Test("an answer can be slow beyond every deadline")
  func slow() async throws {
    let transport = InProcessTransport(time: time)
    transport.serve(ProviderFixture.issuer, provider.endpoint)
    let code = try await browser.signIn(ProviderFixture.authorizationURL(), "alice", "alice")?.parameters["code"] ?? ""
    provider.tell(.answerIsSlow)
    var fields = ProviderFixture.basic()
    fields.append("Content-Type", "application/x-www-form-urlencoded")
    let body = SplitURL.encode([
      ("grant_type", "authorization_code"), ("code", code), ("redirect_uri", ProviderFixture.callback),
      ("code_verifier", PKCEExample.verifier),
    ])
    let request = OutboundRequest(.post, ProviderFixture.issuer + "/token", fields: fields, body: Array(body.utf8))
    let deadline = time.monotonicNow().advanced(by: .seconds(5))
    let answer = Task { try await transport.send(request, deadline: deadline) }
    while time.sleeping < 2 { await Task.yield() }
    time.advance(by: .seconds(5))
    await #expect(throws: TransportError.timedOut) { try await answer.value }
  }
}
