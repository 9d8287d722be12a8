import Cryptography
import HTTPMessage
import IntercomCore
import IntercomTesting
import JOSE
import StrictJSON
import Testing

/// A logout token with one rule broken.
struct LogoutLie: Sendable {
  typealias Forge = @Sendable (MisbehavingProvider, JSONObject) throws -> String
  var says: String
  var cause: String
  var forge: Forge

  init(_ says: String, _ cause: String, _ forge: @escaping Forge) { (self.says, self.cause, self.forge) = (says, cause, forge) }

  /// Right but for these claims; null takes one away.
  static func claims(_ says: String, _ cause: String, _ change: @escaping @Sendable (inout JSONObject) -> Void) -> LogoutLie {
    LogoutLie(says, cause) { liar, claims in
      var claims = claims
      change(&claims)
      return try liar.key.sign(claims, type: "logout+jwt")
    }
  }

  /// The right claims in other bytes.
  static func payload(_ says: String, _ change: @escaping @Sendable ([UInt8]) -> [UInt8]) -> LogoutLie {
    LogoutLie(says, "the claims are not sound JSON") { liar, claims in
      try liar.key.sign(payload: change(claims.serialized), type: "logout+jwt")
    }
  }
}

enum LogoutLies {
  static let event: Identifier = "http://schemas.openid.net/event/backchannel-logout"

  static let all: [LogoutLie] = issuerAndAudience + times + contents + kinds + signatures + spelling

  private static let issuerAndAudience: [LogoutLie] = [
    .claims("of another issuer", "iss is another issuer") { $0["iss"] = "http://evil.example" },
    .claims("of the issuer with a slash more", "iss is another issuer") { $0["iss"] = .string(($0["iss"]?.string ?? "") + "/") },
    .claims("without `iss`", "iss is missing") { $0["iss"] = nil },
    .claims("for another client", "aud does not name this client") { $0["aud"] = "somebody-else" },
    .claims("for several other clients", "aud does not name this client") { $0["aud"] = ["a", "b"] },
    .claims("with an empty `aud`", "aud does not name this client") { $0["aud"] = [] },
    .claims("with a number in `aud`", "aud is not a list of names") { $0["aud"] = ["intercom", 7] },
    .claims("without `aud`", "aud is missing") { $0["aud"] = nil },
  ]

  private static func moved(_ claim: Identifier, by seconds: Int64) -> @Sendable (inout JSONObject) -> Void {
    { $0[claim] = .int64(($0["iat"]?.int64 ?? 0) + seconds) }
  }

  private static let times: [LogoutLie] = [
    .claims("without `iat`", "iat is missing") { $0["iat"] = nil },
    .claims("issued in ten minutes", "iat is in the future") {
      let now = $0["iat"]?.int64 ?? 0
      ($0["iat"], $0["exp"]) = (.int64(now + 600), .int64(now + 700))
    },
    .claims("issued two days ago", "iat is long past") { $0["iat"] = .int64(($0["iat"]?.int64 ?? 0) - 172_800) },
    .claims("with `iat` as text", "iat is not a time") { $0["iat"] = .string("\($0["iat"]?.int64 ?? 0)") },
    .claims("without `exp`", "exp is missing") { $0["exp"] = nil },
    .claims("that has expired", "expired", moved("exp", by: -61)),
    .claims("good for a year", "exp is too far away", moved("exp", by: 31_536_000)),
    .claims("with a negative `exp`", "exp is not a time") { $0["exp"] = -1 },
    .claims("that is not valid yet (`nbf`)", "not valid yet", moved("nbf", by: 600)),
  ]

  private static let contents: [LogoutLie] = [
    .claims("without `jti`", "jti is missing") { $0["jti"] = nil }, .claims("with an empty `jti`", "jti is not a name") { $0["jti"] = "" },
    .claims("with a number as `jti`", "jti is not a name") { $0["jti"] = 7 },
    .claims("with a `jti` of 2,000 bytes", "jti is not a name") { $0["jti"] = .string(String(repeating: "a", count: 2_000)) },
    .claims("without `events`", "events does not say logout") { $0["events"] = nil },
    .claims("with another event", "events does not say logout") {
      $0["events"] = .object(["http://schemas.openid.net/event/other": .object([:])])
    },
    .claims("with its event as text", "events does not say logout") { $0["events"] = .string(event.description) },
    .claims("with its event in a list", "events does not say logout") { $0["events"] = .array([.string(event.description)]) },
    .claims("whose event is no object", "events does not say logout") { $0["events"] = .object([event: true]) },
    .claims("whose event is null", "events does not say logout") { $0["events"] = .object([event: .null]) },
    .claims("without `sub` and `sid`", "neither sub nor sid is there") { ($0["sub"], $0["sid"]) = (nil, nil) },
    .claims("with an empty `sub`", "sub is not a name") { $0["sub"] = "" },
    .claims("with a number as `sub`", "sub is not a name") { $0["sub"] = 7 },
    .claims("with an empty `sid`", "sid is not a name") { $0["sid"] = "" },
    .claims("with a list as `sid`", "sid is not a name") { $0["sid"] = ["a"] },
  ]

  private static let kinds: [LogoutLie] = [
    .claims("with a `nonce`", "nonce has no place") { $0["nonce"] = "n" },
    .claims("with an empty `nonce`", "nonce has no place") { $0["nonce"] = "" },
    .claims("with `at_hash`: an ID token", "at_hash has no place") { $0["at_hash"] = "aaaa" },
    .claims("with `scope`: an access token", "scope has no place") { $0["scope"] = "openid" },
    .claims("that calls itself an ID token (claim `typ`)", "the claim typ") { $0["typ"] = "ID" },
    .claims("that calls itself an access token (claim `typ`)", "the claim typ") { $0["typ"] = "Bearer" },
    .claims("that calls itself a refresh token (claim `typ`)", "the claim typ") { $0["typ"] = "Refresh" },
    LogoutLie("with `typ: JWT`", "typ is not logout+jwt") { try $0.key.sign($1, type: "JWT") },
    LogoutLie("with `typ: at+jwt`", "typ is not logout+jwt") { try $0.key.sign($1, type: "at+jwt") },
    LogoutLie("with `typ: secevent+jwt`", "typ is not logout+jwt") { try $0.key.sign($1, type: "secevent+jwt") },
  ]

  private static func input(_ algorithm: String, _ claims: JSONObject) -> [UInt8] {
    CompactJWS.signingInput(header: ["alg": .string(algorithm), "kid": "key-1", "typ": "logout+jwt"], payload: claims.serialized)
  }
  private static func attacker(_ liar: MisbehavingProvider, kid: Identifier? = nil) throws -> SigningKey {
    try SigningKey.generate(liar.key.algorithm, keyID: kid ?? liar.key.keyID)
  }

  private static let signatures: [LogoutLie] = [
    LogoutLie("with `alg: none`", "alg is none, for a shared secret, or unknown") { CompactJWS.join(input("none", $1), signature: []) },
    LogoutLie("with HS256 and the public key", "alg is none, for a shared secret, or unknown") { liar, claims in
      let input = input("HS256", claims)
      return CompactJWS.join(input, signature: hmacSHA256(key: liar.key.publicJWK.serialized, input))
    },
    LogoutLie("with HS256 and the client's secret", "alg is none, for a shared secret, or unknown") { _, claims in
      let input = input("HS256", claims)
      return CompactJWS.join(input, signature: hmacSHA256(key: Array(FlowFixture.clientSecret.utf8), input))
    },
    LogoutLie("with `alg: RS256` for an ES256 key", "the key is not for this alg") {
      CompactJWS.join(input("RS256", $1), signature: [UInt8](repeating: 1, count: 256))
    },
    LogoutLie("of a foreign key of the same name", "the signature is wrong") { try attacker($0).sign($1, type: "logout+jwt") },
    LogoutLie("of a key that nobody knows", "no key has the name") { try attacker($0, kid: "key-9").sign($1, type: "logout+jwt") },
    LogoutLie("with the attacker's key in the header (`jwk`)", "the signature is wrong") {
      let key = try attacker($0)
      return try key.sign($1, type: "logout+jwt", header: ["jwk": .object(key.publicJWK)])
    },
    LogoutLie("with a URL of keys in the header (`jku`)", "the signature is wrong") {
      try attacker($0).sign($1, type: "logout+jwt", header: ["jku": .string($0.elsewhere)])
    },
    LogoutLie("without a signature", "the signature is wrong") { CompactJWS.join(input("ES256", $1), signature: []) },
    LogoutLie("signed with zeros", "the signature is wrong") {
      CompactJWS.join(input("ES256", $1), signature: [UInt8](repeating: 0, count: 64))
    },
    LogoutLie("that names no key where two fit", "no key is named and several fit") {
      try $0.key.sign($1, type: "logout+jwt", header: ["kid": .null])
    },
    LogoutLie("with `crit`", "the header demands an extension") {
      try $0.key.sign($1, type: "logout+jwt", header: ["crit": ["x"], "x": 1])
    },
    LogoutLie("with an empty `crit`", "the header demands an extension") { try $0.key.sign($1, type: "logout+jwt", header: ["crit": []]) },
    LogoutLie("with `b64`", "the header demands an extension") { try $0.key.sign($1, type: "logout+jwt", header: ["b64": false]) },
  ]

  private static let spelling: [LogoutLie] = [
    .payload("that writes `sub` twice") { Array(#"{"sub":"another","#.utf8) + $0.dropFirst() },
    .payload("with a trailing comma") { $0.dropLast() + Array(",}".utf8) },
    .payload("with a byte-order mark") { [0xef, 0xbb, 0xbf] + $0 }, .payload("in UTF-16") { $0.flatMap { [$0, 0] } },
    .payload("10,000 levels deep") {
      let (open, close) = ([UInt8](repeating: 0x5b, count: 10_000), [UInt8](repeating: 0x5d, count: 10_000))
      return Array(#"{"deep":"#.utf8) + open + close + Array(",".utf8) + $0.dropFirst()
    },
    .payload("in a list") { Array("[".utf8) + $0 + Array("]".utf8) },
    LogoutLie("that is no token", "not a signed token") { _, _ in "hello" },
    LogoutLie("of five parts (encrypted)", "not a signed token") { _, _ in
      "eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ.AAAA.AAAA.AAAA.AAAA"
    },
    LogoutLie("with padded base64", "not a signed token") { try $0.key.sign($1, type: "logout+jwt") + "=" },
  ]
}

@Suite("Hostile provider: logout tokens", .serialized)
struct HostileLogoutTests {
  private static let form = ("Content-Type", "application/x-www-form-urlencoded")

  private func claims(_ flow: FlowFixture) -> JSONObject {
    let now = flow.time.wallNow().seconds
    return [
      "iss": .string(flow.issuer), "aud": "intercom", "iat": .int64(now), "exp": .int64(now + 120),
      "jti": .string(Base64URL.encode(SystemRandom().bytes(12))), "sub": "alice-id", "events": .object([LogoutLies.event: .object([:])]),
    ]
  }

  private func post(
    _ flow: FlowFixture, _ body: String, method: String = "POST", _ fields: [(String, String)] = [form], query: String = ""
  ) async throws -> HTTPAnswer {
    try await flow.client.send(method, flow.url("/backchannel-logout" + query), fields: fields, body: body.isEmpty ? nil : Array(body.utf8))
  }

  /// The cells of one refusal, checked: the session lives, the answer and the log hold nothing of the token.
  private func refused(
    _ says: String, _ answer: HTTPAnswer, _ status: Int, _ flow: FlowFixture, _ visitor: Visitor, since mark: Int, cause: String,
    token: String = ""
  ) async throws -> [String] {
    let events = flow.events(["logout_token_refused"], since: mark)
    let lives = try await flow.isAlive(visitor)
    #expect(answer.status == status && lives, "\(says): \(answer.wholeText)")
    let isLogged = status == 405 ? events.isEmpty : events.count == 1 && events.first?.message.contains(cause) == true
    #expect(isLogged, "\(says): \(events)")
    if status != 405 {
      #expect(answer.field("content-type") == "application/json" && answer.field("cache-control") == "no-store", "\(says)")
      #expect(try StrictJSON.object(answer.body)["error"]?.string == "invalid_request", "\(says)")
    }
    #expect(token.utf8.count < 20 || !answer.text.contains(token), "\(says)")
    #expect(
      token.utf8.count < 20 || !flow.sink.lines.dropFirst(max(0, mark - flow.sink.dropped)).contains { $0.contains(token) }, "\(says)")
    return [says, "\(answer.status)", events.map(\.cell).joined(separator: "; "), lives ? "lives" : "ENDED"]
  }

  @Test("S18, fault 29: each rule of a logout token broken alone is 400, and the session lives; the right token ends it")
  func rules() async throws {
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      var page = HostilePage(
        section: .logoutTokens, title: "Logout tokens",
        text: "Faults 28, 29; flaw classes S13, S18, S36. Everything else in the token is right; it names a person with a session.",
        columns: ["A logout token", "Answer", "Log", "Session"])
      for row in LogoutLies.all {
        let token = try row.forge(flow.liar, claims(flow))
        let mark = flow.logged
        let answer = try await post(flow, "logout_token=\(FormText.escape(token))")
        page.rows.append(try await refused(row.says, answer, 400, flow, visitor, since: mark, cause: row.cause, token: token))
      }
      try await otherTokens(flow, visitor, &page)
      #expect(flow.provider.requests.allSatisfy { $0.path != "/elsewhere" })
      // The audience may be a list that names us, and unknown claims are no fault.
      var right = claims(flow)
      (right["aud"], right["trace_id"]) = (["somebody-else", "intercom"], "x")
      let good = try flow.liar.key.sign(right, type: "logout+jwt")
      #expect(try await post(flow, "logout_token=\(good)").status == 200)
      #expect(try await flow.isAlive(visitor) == false)
      try await flow.signIn(visitor)
      let mark = flow.logged
      let again = try await post(flow, "logout_token=\(good)")
      page.rows.append(
        try await refused("that was obeyed before (`jti`)", again, 400, flow, visitor, since: mark, cause: "used before", token: good))
      try page.settle()
    }
  }

  /// Tokens of this very session, as the provider gave them.
  private func otherTokens(_ flow: FlowFixture, _ visitor: Visitor, _ page: inout HostilePage) async throws {
    flow.upstream.forget()
    _ = try await flow.fetch(visitor, "GET", "/own/token")
    let access = String((flow.upstream.requests.last?.field("authorization") ?? "").dropFirst(7))
    let other = try await flow.signedIn()
    let signOut = try await flow.send(other, "GET", "/logout", FlowFixture.navigation)
    let query = String((signOut.field("location") ?? "").drop { $0 != "?" }.dropFirst())
    let identity = FormText.value("id_token_hint", in: query) ?? ""
    try #require(access.hasPrefix("ey") && identity.hasPrefix("ey"))
    for (says, token) in [("that is the session's access token", access), ("that is an ID token", identity)] {
      let mark = flow.logged
      let answer = try await post(flow, "logout_token=\(token)")
      page.rows.append(
        try await refused(says, answer, 400, flow, visitor, since: mark, cause: "typ is not logout+jwt", token: token))
    }
  }

  @Test("S18, S19, fault 32: a right logout token in a wrong request ends nothing: repeated fields, other types, sizes and methods")
  func forms() async throws {
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      let good = try flow.liar.key.sign(claims(flow), type: "logout+jwt")
      let token = "logout_token=\(good)"
      var page = HostilePage(
        section: .logoutForms, title: "Logout requests", text: "Fault 32; flaw classes S18, S19. The logout token is right.",
        columns: ["A request", "Answer", "Log", "Session"])
      func row(_ says: String, _ status: Int, _ cause: String, _ answer: HTTPAnswer, since mark: Int) async throws {
        page.rows.append(try await refused(says, answer, status, flow, visitor, since: mark, cause: cause, token: good))
      }
      let bodies: [(String, Int, String, String)] = [
        ("with the token twice", 400, "more than once", "\(token)&\(token)"),
        ("with the token and an empty one", 400, "more than once", "\(token)&logout_token="),
        ("with the token under an escaped name too", 400, "more than once", "\(token)&logout%5Ftoken=x"),
        ("with an empty token", 400, "no logout_token", "logout_token="),
        ("with the token under another name", 400, "no logout_token", "token=\(good)"),
        ("with a broken escape", 400, "cannot be read", "\(token)&x=%zz"), ("without a body", 400, "no logout_token", ""),
        ("with a hundred fields", 400, "cannot be read", token + String(repeating: "&x=1", count: 100)),
        ("of 70 KB", 413, "larger than 64 KiB", "\(token)&x=" + String(repeating: "a", count: 70_000)),
        ("of 1 MB", 413, "larger than 64 KiB", "\(token)&x=" + String(repeating: "a", count: 1_000_000)),
      ]
      for (says, status, cause, body) in bodies {
        let mark = flow.logged
        try await row(says, status, cause, post(flow, body), since: mark)
      }
      for type in ["application/json", "text/plain", "multipart/form-data; boundary=x", "application/x-www-form-urlencoded-not", ""] {
        let mark = flow.logged
        let answer = try await post(flow, token, [("Content-Type", type)])
        try await row("of type `\(type.isEmpty ? " " : type)`", 415, "not a form", answer, since: mark)
      }
      var mark = flow.logged
      try await row("without a type", 415, "not a form", post(flow, token, []), since: mark)
      mark = flow.logged
      try await row("of two types", 415, "not a form", post(flow, token, [Self.form, ("Content-Type", "text/plain")]), since: mark)
      mark = flow.logged
      try await row("with the token in the query", 400, "no logout_token", post(flow, "x=1", query: "?\(token)"), since: mark)
      for method in ["GET", "HEAD", "PUT", "DELETE", "PATCH", "OPTIONS"] {
        mark = flow.logged
        let answer = try await post(flow, method == "PUT" || method == "PATCH" ? token : "", method: method, query: "?\(token)")
        #expect(answer.field("allow") == "POST", "\(method)")
        try await row("by \(method)", 405, "", answer, since: mark)
      }
      #expect(try await post(flow, token).status == 200)
      #expect(try await flow.isAlive(visitor) == false)
      try page.settle()
    }
  }
}
