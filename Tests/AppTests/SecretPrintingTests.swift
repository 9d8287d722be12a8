import Cryptography
import Gateway
import HTTP1
import HTTPMessage
import HTTPServer
import IntercomCore
import IntercomTesting
import JOSE
import Sessions
import Telemetry
import Testing

@testable import IntercomApp
@testable import Matrix
@testable import OIDC

/// Whatever holds a secret prints none of it, whoever prints it: interpolation, `dump`, a failed test, a crash report, a log line (S29).
@Suite("What holds a secret prints nothing of it")
struct SecretPrintingTests {
  private static let canary = "canary-of-every-type-0123456789-ABCDEFGHIJKLMNOPQRSTUVWXYZ"
  private static var secret: Secret<String> { Secret(canary) }
  private static var bytes: [UInt8] { Array(canary.utf8) }

  /// Every way in which Swift shows a value.
  private static func shown(_ value: Any) -> String {
    var dumped = ""
    dump(value, to: &dumped)
    let children = Mirror(reflecting: value).children.map { "\($0.label ?? ""): \($0.value)" }.joined(separator: "\n")
    return [
      "\(value)", String(describing: value), String(reflecting: value), String(describing: Optional(value)), "\([value])", dumped, children,
    ]
    .joined(separator: "\n")
  }

  /// One value of every type that holds a secret, with the canary as it.
  private static func values() async throws -> [(String, Any)] {
    let time = ManualTime()
    let client = try ClientConfiguration(
      issuer: "https://id.example", clientID: "intercom", clientSecret: secret, redirectURI: "https://ics.example/callback")
    let ring = try KeyRing([Secret(bytes)])
    let now = time.wallNow()
    var login = VerifiedLogin.example(now: now)
    login.tokens = SessionTokens(accessToken: secret, received: now, accessExpiry: nil, refreshToken: secret, idToken: secret)
    let manager = SessionManager(
      store: MemorySessionStore(time: time), keys: ring, settings: SessionSettings(), time: time, random: FixedRandom(bytes))
    let (id, session) = try await manager.create(from: login)
    let pending = OIDC.PendingLogin(
      state: secret, nonce: secret, codeVerifier: secret, issuer: "https://id.example", redirectURI: "x", created: now)
    let request = TokenRequest(.code(secret, verifier: secret, redirectURI: "https://ics.example/callback"), client)
    let path = try #require(RoutePath("/a"))
    let route = Route(name: "a", path: path, kind: .own("a"), methods: .read, cors: CORSPolicy(origins: []))
    let mark = RouteMark(0, route, place: 0)
    var lines = FieldLines()
    try lines.append("Authorization", Array("Bearer \(canary)".utf8))
    let form = try FormFields(parsing: Array("code=\(canary)".utf8))
    let jws = CompactJWS.join(CompactJWS.signingInput(header: ["alg": "ES256"], payload: bytes), signature: bytes)
    let stored = Sessions.PendingLogin(
      issuer: "i", nonce: secret, codeVerifier: secret, redirectURI: "r", returnTo: "/", isSilent: false, embedderOrigin: nil)
    let tokens = TokenSet(
      accessToken: secret, received: now, accessExpires: now, refreshToken: secret, refreshExpires: nil, idToken: secret)
    let sent = OutboundRequest(.post, "https://id.example/token?code=\(canary)", fields: ["Authorization": canary], body: bytes)
    return [
      ("Secret of text", secret), ("Secret of bytes", Secret(bytes)), ("ClientConfiguration", client), ("KeyRing", ring),
      ("KeyRing.Key", ring.keys[0]), ("CSRFTokens", try CSRFTokens(keys: ring, random: SystemRandom())), ("SessionID", id),
      ("BrowserBinding", BrowserBinding(random: FixedRandom(bytes))), ("SessionTokens", session.tokens), ("Session", session),
      ("VerifiedLogin", login), ("OIDC.PendingLogin", pending), ("Sessions.PendingLogin", stored), ("TokenRequest", request),
      ("TokenSet", tokens), ("TokenRequest.Grant", TokenRequest.Grant.refresh(secret)),
      ("TokenExchange", TokenExchange(subjectToken: secret, subject: "alice", audience: "files")),
      ("RefreshedTokens", RefreshedTokens(accessToken: secret, expiresIn: nil, refreshToken: secret)),
      ("ExchangedTokens", ExchangedTokens(accessToken: secret, expiresIn: nil)),
      ("AuthorizationResponse", try AuthorizationResponse.parse(Array("code=\(canary)&state=\(canary)".utf8))), ("OutboundRequest", sent),
      ("OutboundResponse", OutboundResponse(status: 200, fields: ["X": canary], body: bytes)), ("Fields", Fields(["Cookie": canary])),
      ("FormFields", form), ("Request", Request(method: .get, rawPath: [47], query: bytes, fields: ["Cookie": canary])),
      ("FieldLines", lines), ("Credential", Credential(lines: lines, freshUntil: now)),
      ("CredentialView", CredentialView(Credential(lines: lines, freshUntil: now), route: mark, session: nil)),
      ("UnverifiedJWS", try UnverifiedJWS.parse(jws)),
      ("LogValue", LogValue(secret)), ("OwnCookies", OwnCookies(isSecure: true)),
    ] + matrixValues(now)
  }

  private static func matrixValues(_ now: WallInstant) -> [(String, Any)] {
    let homeserver = MatrixHomeserver(address: "https://m", serverName: "m", asToken: secret, loginType: "x")
    let tokens = MatrixTokens(accessToken: secret, expiresIn: nil, refreshToken: secret, device: "d")
    let openID = MatrixOpenIDToken(json: Secret(bytes), expiresIn: .seconds(1))
    return [
      ("MatrixHomeserver", homeserver), ("HomeserverSetup", HomeserverSetup(homeserver)), ("MatrixTokens", tokens),
      ("MatrixDevice", MatrixDevice("@a:m", id: "d", tokens, received: now, generation: 1)), ("MatrixOpenIDToken", openID),
      ("HeldOpenIDToken", HeldOpenIDToken(openID, received: now)), ("MatrixSent", MatrixSent.accessToken(secret)),
    ]
  }

  @Test("Log leaks: no description, dump, mirror or interpolation of any type shows its secret (S29)")
  func nothingIsShown() async throws {
    var search = CanarySearch()
    try search.add("the canary", Self.canary)
    // Random values made of the canary's bytes show as their own encodings.
    try search.add("the canary's first bytes", Self.bytes.prefix(32))
    let values = try await Self.values()
    #expect(values.count > 25)
    for (name, value) in values {
      let finds = search.search(name, Self.shown(value))
      #expect(finds.isEmpty, "\(name): \(finds)")
    }
  }

  @Test("the look finds a secret that is not wrapped")
  func planted() throws {
    struct Careless { var token = SecretPrintingTests.canary }
    struct Bytes { var token = Array(SecretPrintingTests.canary.utf8) }
    var search = CanarySearch()
    try search.add("the canary", Self.canary)
    #expect(!search.search("x", Self.shown(Careless())).isEmpty)
    #expect(!search.search("x", Self.shown(Bytes())).isEmpty)
    #expect(!search.search("x", Self.shown([Careless()])).isEmpty)
  }

  @Test("a secret cannot be encoded: there is no conformance to go through")
  func notCodable() {
    #expect(!((Self.secret as Any) is any Encodable))
    #expect(!((Secret([1] as [UInt8]) as Any) is any Encodable))
  }
}

/// Gives these bytes again and again.
private struct FixedRandom: RandomSource {
  private let all: [UInt8]
  init(_ bytes: [UInt8]) { all = bytes }
  func bytes(_ count: Int) -> [UInt8] { (0..<count).map { all[$0 % all.count] } }
}
