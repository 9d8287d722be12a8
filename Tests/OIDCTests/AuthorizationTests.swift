import Cryptography
import HTTPMessage
import IntercomCore
import IntercomTesting
import OIDC
import Testing

@Suite("Authorization request and response")
struct AuthorizationTests {
  private func begin(
    _ options: LoginOptions = LoginOptions(), _ change: (inout ClientConfiguration) -> Void = { _ in }
  ) async throws -> (ProviderDouble, RelyingParty, AuthorizationRequest) {
    let provider = try ProviderDouble()
    let party = try await provider.relyingParty(provider.configuration(change))
    return (provider, party, try party.beginLogin(options))
  }

  private func parameters(_ url: String) throws -> [String: String] {
    let fields = try FormFields(parsing: Array(url.utf8.drop { $0 != UInt8(ascii: "?") }.dropFirst()))
    #expect(!fields.hasRepeatedNames)
    return Dictionary(
      fields.all.map { (String(decoding: $0.name, as: UTF8.self), String(decoding: $0.value, as: UTF8.self)) },
      uniquingKeysWith: { first, _ in first })
  }

  /// The code a browser would get `checked` for this query.
  private func outcome(_ query: String, metadata: Bool = true) async throws -> OIDCError.Code? {
    let (provider, party, request) = try await begin()
    if !metadata { provider.lies.metadata = ["authorization_response_iss_parameter_supported": false] }
    let client = try provider.client()
    _ = await client.refresh()
    _ = party
    let text = query.replacing("STATE", with: request.pending.state.reveal()).replacing(
      "ISS", with: PercentCoding.encode(ProviderDouble.issuer))
    do {
      let response = try AuthorizationResponse.parse(Array(text.utf8))
      _ = try response.check(request.pending, client.metadata())
      return nil
    } catch { return error.code }
  }

  @Test("The request has PKCE S256, state, nonce and the registered redirect URI, each drawn anew")
  func request() async throws {
    let (_, party, request) = try await begin(
      LoginOptions(prompt: LoginOptions.Prompt.none, maximumAge: 60, extra: [("ui_locales", "de en")]))
    let sent = try parameters(request.url)
    #expect(request.url.hasPrefix(ProviderDouble.issuer + "/protocol/openid-connect/auth?"))
    #expect(sent["response_type"] == "code")
    #expect(sent["client_id"] == "intercom")
    #expect(sent["redirect_uri"] == "https://intercom.example/callback")
    #expect(sent["scope"] == "openid")
    #expect(sent["code_challenge_method"] == "S256")
    #expect(sent["code_challenge"] == Base64URL.encode(sha256(Array(request.pending.codeVerifier.reveal().utf8))))
    #expect(request.pending.codeVerifier.reveal().utf8.count == 43)
    #expect(sent["state"] == request.pending.state.reveal())
    #expect(sent["nonce"] == request.pending.nonce.reveal())
    #expect(sent["prompt"] == "none")
    #expect(sent["max_age"] == "60")
    #expect(sent["ui_locales"] == "de en")
    let other = try party.beginLogin()
    #expect(other.pending.state.reveal() != request.pending.state.reveal())
    #expect(other.pending.nonce.reveal() != request.pending.nonce.reveal())
    #expect(other.pending.codeVerifier.reveal() != request.pending.codeVerifier.reveal())
    #expect(!request.url.contains(request.pending.codeVerifier.reveal()))
  }

  @Test("The example of RFC 7636 Appendix B gives its challenge")
  func proofKey() {
    let proof = ProofKey(verifier: Secret("dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"))
    #expect(proof.challenge == "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM")
  }

  @Test("Extra parameters cannot replace those of the protocol, and openid is always asked for")
  func extras() async throws {
    let extra = [("redirect_uri", "https://evil.example/"), ("state", "x"), ("scope", "admin"), ("request_uri", "https://evil.example/")]
    let (_, _, request) = try await begin(LoginOptions(extra: extra.map { (name: $0.0, value: $0.1) })) { $0.scopes = ["profile"] }
    let sent = try parameters(request.url)
    #expect(sent["redirect_uri"] == "https://intercom.example/callback")
    #expect(sent["scope"] == "openid profile")
    #expect(sent["state"] == request.pending.state.reveal())
    #expect(sent["request_uri"] == nil)
  }

  @Test(
    "A response is refused when a parameter is missing, empty, repeated or oversized",
    arguments: [
      "", "code=c&iss=ISS", "state=STATE&iss=ISS", "code=&state=STATE&iss=ISS", "code=c&state=&iss=ISS", "code=c&state=STATE&iss=",
      "code=c&code=d&state=STATE&iss=ISS", "code=c&state=STATE&state=STATE&iss=ISS", "code=c&state=STATE&iss=ISS&iss=ISS",
      "code=c&error=login_required&state=STATE&iss=ISS", "error=&state=STATE&iss=ISS", "code=%zz&state=STATE&iss=ISS",
      "code=%0d%0a&state=STATE&iss=ISS", "code=%ff&state=STATE&iss=ISS", "error=a&error=b&state=STATE&iss=ISS",
      "code=" + String(repeating: "c", count: 4_097) + "&state=STATE&iss=ISS",
      "code=c&state=" + String(repeating: "s", count: 513) + "&iss=ISS",
      "code=c&state=STATE&iss=ISS&x=" + String(repeating: "x", count: 9_000),
      "code=c&state=STATE&iss=ISS" + String(repeating: "&a=b", count: 100),
    ])
  func malformed(_ query: String) async throws {
    #expect(try await outcome(query) == .invalidResponse)
  }

  @Test("A missing query is refused")
  func noQuery() { #expect(throws: OIDCError.self) { try AuthorizationResponse.parse(nil) } }

  @Test(
    "Mix-up: a response from another issuer, or without one where it is announced, is refused before the code is used",
    arguments: [
      ("code=c&state=STATE&iss=ISS", true, nil), ("code=c&state=STATE", true, .issuerMismatch),
      ("code=c&state=STATE&iss=https%3A%2F%2Fevil.example", true, .issuerMismatch),
      ("code=c&state=STATE&iss=ISS%2F", true, .issuerMismatch),
      ("code=c&state=STATE", false, nil), ("code=c&state=STATE&iss=https%3A%2F%2Fevil.example", false, .issuerMismatch),
      ("error=login_required&state=STATE&iss=https%3A%2F%2Fevil.example", true, .issuerMismatch),
      ("code=c&state=other&iss=ISS", true, .stateMismatch), ("code=c&state=STATEx&iss=ISS", true, .stateMismatch),
    ] as [(String, Bool, OIDCError.Code?)])
  func issuer(_ query: String, _ announced: Bool, _ expected: OIDCError.Code?) async throws {
    #expect(try await outcome(query, metadata: announced) == expected)
  }

  @Test(
    "Errors of prompt=none are data",
    arguments: [
      ("login_required", .loginRequired), ("interaction_required", .interactionRequired), ("consent_required", .consentRequired),
      ("account_selection_required", .interactionRequired), ("access_denied", .accessDenied),
      ("temporarily_unavailable", .providerUnavailable), ("server_error", .providerUnavailable), ("whatever", .authorizationFailed),
    ] as [(String, OIDCError.Code)])
  func errors(_ word: String, _ expected: OIDCError.Code) async throws {
    #expect(try await outcome("error=\(word)&error_description=x%20y&state=STATE&iss=ISS") == expected)
  }

  @Test("A response with a wrong issuer never reaches the token endpoint")
  func codeUnused() async throws {
    let (provider, party, request) = try await begin()
    let query = "code=c&state=\(request.pending.state.reveal())&iss=https%3A%2F%2Fevil.example"
    await #expect(throws: OIDCError.self) { try await party.finishLogin(request.pending, query: Array(query.utf8)) }
    #expect(provider.requests(to: "/token") == 0)
  }

  @Test("Forms are written with every byte escaped that could be read in two ways")
  func forms() {
    #expect(FormURLEncoded.encode([("a b", "+c&d=é~"), ("e", "")]) == "a%20b=%2Bc%26d%3D%C3%A9~&e=")
    #expect(FormURLEncoded.append([("a", "b")], to: "https://x/y?z") == "https://x/y?z&a=b")
  }
}
