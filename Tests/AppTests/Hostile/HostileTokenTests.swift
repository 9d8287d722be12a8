import HTTPMessage
import IntercomCore
import IntercomTesting
import Testing

/// One lie about a credential for a request, and what must come of it.
struct CredentialLie: Sendable {
  var says: String
  var lie: ProviderLie
  var cause: String
  var status: Int
  var word: String
  var endsSession: Bool

  init(_ says: String, _ lie: ProviderLie, _ cause: String, _ status: Int, _ word: String, endsSession: Bool = false) {
    (self.says, self.lie, self.cause, self.status, self.word, self.endsSession) = (says, lie, cause, status, word, endsSession)
  }

  /// An answer that cannot be used.
  static func invalid(_ says: String, _ lie: ProviderLie, _ cause: String) -> CredentialLie {
    CredentialLie(says, lie, cause, 502, "credential_invalid")
  }
  static func absent(_ says: String, _ lie: ProviderLie, _ cause: String) -> CredentialLie {
    CredentialLie(says, lie, cause, 503, "provider_unavailable")
  }

  /// The session is over.
  static func ending(_ says: String, _ lie: ProviderLie, _ reason: String) -> CredentialLie {
    CredentialLie(says, lie, reason, 401, "session_required", endsSession: true)
  }

  /// Whole answers, alike for both calls.
  static func answers(_ call: ProviderCall) -> [CredentialLie] {
    let wrong: [(String, AnswerLie, String)] = [
      ("answers with a page", .html, "is not application/json"), ("calls its JSON text/plain", .wrongType, "is not application/json"),
      ("answers 4 MiB", .oversized, "the answer is too large"), ("answers without an end", .endless, "the answer is too large"),
      ("answers a gzip bomb that nobody asked for", .gzipBomb, "the answer is too large"),
      ("redirects to another host", .redirect, "the provider answered 307"), ("writes members twice", .duplicateKeys, "duplicateKey"),
      ("cuts the JSON off", .truncated, "not sound JSON"), ("begins with a byte-order mark", .byteOrderMark, "not sound JSON"),
      ("answers in UTF-16", .utf16, "not sound JSON"), ("ends with a comma", .trailingComma, "not sound JSON"),
      ("nests arrays 10,000 deep", .deep, "tooDeep"), ("answers 204", .status(204), "the provider answered 204"),
      ("answers 403 with a page", .status(403), "403 without an OAuth error"),
      ("answers 404 with a page", .status(404), "404 without an OAuth error"),
    ]
    let missing: [(String, AnswerLie, String)] = [
      ("answers 429", .status(429), "the provider answered 429"), ("answers 500", .status(500), "the provider answered 500"),
      ("answers 503", .status(503), "the provider answered 503"), ("breaks off", .brokenOff, "the answer broke off"),
      ("never answers", .silence, "no answer in time"), ("answers one byte in 50 ms", .slowBytes, "no answer in time"),
    ]
    return wrong.map { .invalid($0.0, .answer(call, $0.1), $0.2) } + missing.map { .absent($0.0, .answer(call, $0.1), $0.2) }
  }
}

enum CredentialLies {
  static let exchange: [CredentialLie] =
    [
      .invalid("gives the token for another backend", .exchanged(.audience), "aud is not the audience that was asked for"),
      .invalid("gives a token for this and another backend", .exchanged(.audienceBroader), "aud is broader than was asked for"),
      .invalid("leaves `aud` out", .exchanged(.audienceMissing), "aud is not the audience"),
      .invalid("gives somebody else's token", .exchanged(.subject), "sub is another person"),
      .invalid("gives a token of another session of the same person", .exchanged(.session), "sid is another session"),
      .invalid("gives the token of another issuer", .exchanged(.issuer), "iss is another issuer"),
      .invalid("gives the token of another client (`azp`)", .exchanged(.party), "azp is another client"),
      .invalid("gives a token that has expired", .exchanged(.expired), "the token has expired already"),
      .invalid("gives a refresh token (`issued_token_type`)", .exchanged(.issuedTokenType), "issued_token_type is another"),
      .invalid("leaves `issued_token_type` out", .exchanged(.issuedTokenTypeMissing), "issued_token_type is missing"),
      .invalid("gives the session's own token back", .exchanged(.sameToken), "own token came back"),
      .invalid("gives something that is no access token (`N_A`)", .exchanged(.tokenTypeNotApplicable), "token_type is not Bearer"),
      CredentialLie(
        "refuses the audience", .refuses(.exchange, status: 400, error: "invalid_target"), "invalid_target", 403, "credential_refused"),
      CredentialLie(
        "refuses the exchange", .refuses(.exchange, status: 403, error: "access_denied"), "access_denied", 403, "credential_refused"),
      .invalid("does not accept the client", .refuses(.exchange, status: 401, error: "invalid_client"), "invalid_client"),
      .absent("has trouble of its own", .refuses(.exchange, status: 400, error: "temporarily_unavailable"), "temporarily_unavailable"),
    ] + CredentialLie.answers(.exchange)

  static let refresh: [CredentialLie] =
    [
      .ending("gives the ID token of somebody else", .idToken(.subjectOfSomebodyElse), "identity_changed"),
      .ending("gives a `sub` that only looks the same (ë in two bytes or three)", .idToken(.subjectDecomposed), "identity_changed"),
      .ending("gives the ID token of another session of the provider", .idToken(.sessionOfSomebodyElse), "identity_changed"),
      .ending("gives the ID token of another issuer", .idToken(.issuer), "identity_changed"),
      .invalid("gives the ID token of another client", .idToken(.audience), "aud does not name this client"),
      .invalid("names one audience more than at the login", .idToken(.audienceOfSeveral), "other audiences than at the login"),
      .invalid("gives an ID token that was issued to another client (`azp`)", .idToken(.authorizedParty), "azp is another client"),
      .invalid("gives another `nonce` than at the login", .idToken(.nonce), "another nonce than at the login"),
      .invalid("gives an ID token that has expired", .idToken(.expired), "expired"),
      .invalid("gives an ID token from the future", .idToken(.issuedInTheFuture), "iat is in the future"),
      .invalid("gives an ID token without `sub`", .idToken(.subjectMissing), "sub is missing"),
      .invalid("signs with `alg: none`", .idToken(.algorithmNone), "alg is none, for a shared secret, or unknown"),
      .invalid("signs with HS256 and its public key", .idToken(.algorithmHS256), "alg is none, for a shared secret, or unknown"),
      .invalid("signs with a key that it does not publish", .idToken(.signature), "the signature is wrong"),
      .invalid("names a key that nobody knows", .idToken(.keyIDUnknown), "no key has the name"),
      .invalid("writes `sub` twice", .idToken(.duplicateClaim), "the claims are not sound JSON"),
      .invalid("gives somebody's access token with it (`at_hash`)", .idToken(.accessTokenHash), "at_hash is not that of the access token"),
      .invalid("swaps `id_token` and `access_token`", .tokens(.swapped), "typ is not that of an id_token"),
      .invalid("leaves `access_token` out", .tokens(.accessTokenMissing), "access_token is missing"),
      .invalid("puts a line end into `access_token`", .tokens(.accessTokenWithLineFeed), "access_token is not a token"),
      .invalid("gives a `token_type` other than Bearer", .tokens(.tokenTypeUnknown), "token_type is not Bearer"),
      .ending("refuses the refresh token", .refuses(.refresh, status: 400, error: "invalid_grant"), "refresh_refused"),
      .invalid("does not accept the client", .refuses(.refresh, status: 401, error: "invalid_client"), "invalid_client"),
      .invalid("says an error that nobody knows", .refuses(.refresh, status: 400, error: "out_of_cheese"), "out_of_cheese"),
      .absent("has trouble of its own", .refuses(.refresh, status: 400, error: "temporarily_unavailable"), "temporarily_unavailable"),
    ] + CredentialLie.answers(.refresh)
}

@Suite("Hostile provider: exchange and refresh", .serialized)
struct HostileTokenTests {
  private static var options: FlowFixture.Options {
    var options = FlowFixture.Options()
    // With rotation the honest half of a lie would spend the refresh token; fault 17 is another test's.
    options.provider = { configuration in
      configuration.rotatesRefreshTokens = false
      configuration.users[0].subject = "zo\u{eb}-id"
    }
    options.deployment = { $0.providerCall = .milliseconds(1_500) }
    return options
  }

  /// One request with a lie on its way: the cells, checked.
  private func observe(_ row: CredentialLie, _ flow: FlowFixture, _ visitor: Visitor, _ target: String) async throws -> [String] {
    flow.upstream.forget()
    flow.liar.tell(row.lie)
    let mark = flow.logged
    let answer = try await flow.fetch(visitor, "GET", target)
    flow.liar.tell(nil)
    let events = flow.events(["credential_failed", "session_ended"], since: mark)
    #expect(answer.status == row.status && answer.word == row.word, "\(row.says): \(answer.wholeText)")
    #expect(answer.status != 503 || answer.field("retry-after") != nil, "\(row.says)")
    #expect(answer.field("access-control-allow-origin") == flow.app, "\(row.says)")
    #expect(events.contains { $0.message.contains(row.cause) || $0.reason == row.cause }, "\(row.says): \(events)")
    #expect(events.contains { $0.event == "session_ended" } == row.endsSession, "\(row.says): \(events)")
    let forwarded = flow.upstream.requests.count
    #expect(forwarded == 0, "\(row.says)")
    let lives = try await flow.isAlive(visitor)
    #expect(lives != row.endsSession, "\(row.says)")
    // What came of the lie is not used later: the next request asks anew, after the few seconds for which a refusal is remembered.
    flow.time.advance(by: .seconds(6))
    let next = try await flow.fetch(visitor, "GET", target).status
    #expect(next == (row.endsSession ? 401 : 200), "\(row.says)")
    return [
      row.says, "\(answer.status) `\(answer.word)`", events.map(\.cell).joined(separator: "; "), forwarded == 0 ? "nothing" : "A REQUEST",
      lives ? "lives" : "ended", "\(next)",
    ]
  }

  private static let columns = ["The provider", "Answer", "Log", "Backend gets", "Session", "Next request, told the truth"]

  @Test(
    "S14, S15, S17, fault 21, fault 25: an exchanged token of another audience, person or kind reaches no backend; nor does the user's own")
  func exchange() async throws {
    try await FlowFixture.run(Self.options) { flow in
      let visitor = try await flow.signedIn()
      var page = HostilePage(
        section: .exchange, title: "Token exchange",
        text: "Faults 21, 25; flaw classes S14, S17, S24, S26, S36. A request to a route with a token of its own.",
        columns: Self.columns)
      for row in CredentialLies.exchange {
        try await flow.signIn(visitor)
        page.rows.append(try await observe(row, flow, visitor, "/fs/x"))
      }
      #expect(flow.provider.requests.allSatisfy { $0.path != "/elsewhere" })
      try page.settle()
    }
  }

  @Test(
    "S12, S16, S37, fault 15, fault 16, fault 21: a refresh that lies gives no token and keeps the session; a refusal or another person ends it"
  )
  func refresh() async throws {
    try await FlowFixture.run(Self.options) { flow in
      let visitor = try await flow.signedIn()
      var page = HostilePage(
        section: .refresh, title: "Refresh",
        text:
          "Faults 15, 16, 21; flaw classes S12, S16, S24, S36, S37. The access token has expired; the provider does not rotate refresh tokens.",
        columns: Self.columns)
      for row in CredentialLies.refresh {
        try await flow.signIn(visitor)
        flow.time.advance(by: .seconds(310))
        page.rows.append(try await observe(row, flow, visitor, "/own/x"))
      }
      #expect(flow.provider.requests.allSatisfy { $0.path != "/elsewhere" })
      try page.settle()
    }
  }
}
