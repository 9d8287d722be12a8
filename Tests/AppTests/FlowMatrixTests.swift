import Cryptography
import DemoWorkplace
import Gateway
import HTTPMessage
import HTTPServer
import IntercomApp
import IntercomCore
import IntercomTesting
import Matrix
import Sessions
import StrictJSON
import Testing

/// Routes `nob` (the user's access token, the CSRF token demanded) and `own` (an OpenID token) with a homeserver of memory behind a server.
private struct MatrixFlow: Sendable {
  let flow: FlowFixture
  let homeserver: HomeserverDouble
  let server: RecordingServer

  /// - Parameter claims: who signs in as `user-0`, `user-1` …: their claims `matrix_name`.
  static func run(
    claims: [JSONValue?] = [], _ body: @escaping @Sendable (MatrixFlow) async throws -> Void
  ) async throws {
    let homeserver = HomeserverDouble(time: SystemTime())
    let server = try RecordingServer(homeserver.endpoint)
    try await server.start()
    var options = FlowFixture.Options()
    options.provider = { configuration in
      configuration.users += claims.enumerated().map { index, claim in
        ProviderUser(
          subject: Identifier("user-\(index)-id"), username: Identifier("user-\(index)"), password: Secret(FlowFixture.password),
          name: "user-\(index)", email: "user@example.org", claims: claim.map { ["matrix_name": $0] } ?? [:])
      }
    }
    options.deployment = { deployment in
      deployment.homeservers = [
        HomeserverSetup(
          MatrixHomeserver(
            address: "http://127.0.0.1:\(server.port)", serverName: Identifier(homeserver.serverName), asToken: Secret(homeserver.asToken),
            loginType: "m.login.application_service"))
      ]
      let claim: Identifier = claims.isEmpty ? "preferred_username" : "matrix_name"
      for index in deployment.routes.indices {
        let mode: MatrixRule.Mode? = ["nob": .accessToken, "own": .openID][deployment.routes[index].name]
        guard let mode else { continue }
        deployment.routes[index].credential = .matrix(MatrixRule(userClaim: claim, homeserverIndex: 0, mode: mode))
      }
    }
    let result: Result<Void, any Error>
    do {
      try await FlowFixture.run(options) { flow in
        let place = MatrixFlow(flow: flow, homeserver: homeserver, server: server)
        try await body(place)
        place.expectNothingLeaked()
      }
      result = .success(())
    } catch { result = .failure(error) }
    await server.stop()
    try result.get()
  }

  /// Tokens are neither in the log nor in what backends of other routes got.
  func expectNothingLeaked() {
    let leaks = flow.sink.lines.filter { $0.contains("canary-") && ($0.contains("mx-") || $0.contains("as-token")) }
    #expect(leaks.isEmpty, "\(leaks.first ?? "")")
    #expect(flow.upstream.requests.allSatisfy { !$0.text.contains(homeserver.asToken) })
  }

  /// A request of an app to `/nob`, with the session's CSRF token.
  func ask(_ visitor: Visitor, _ method: String = "GET") async throws -> HTTPAnswer {
    try await flow.fetch(visitor, method, "/nob/v1/meeting", [("X-CSRF-Token", try await flow.csrfToken(visitor))])
  }

  /// Whose tokens the backend got, in order.
  var owners: [String?] {
    flow.upstream.requests.map { $0.field("authorization") }.map { field in
      guard let field, field.hasPrefix("Bearer ") else { return nil }
      return homeserver.owner(of: String(field.dropFirst("Bearer ".count)))
    }
  }

  func code(_ answer: HTTPAnswer) throws -> String? { try StrictJSON.object(answer.body)["code"]?.string }
}

@Suite("Flow: Matrix", .serialized)
struct FlowMatrixTests {
  @Test("a backend gets the access token of the user's own Matrix account: one login for all requests, whatever loop they come to")
  func accessToken() async throws {
    try await MatrixFlow.run { place in
      let (alice, bob) = (try await place.flow.signedIn(), try await place.flow.signedIn("bob"))
      for _ in 0..<8 {
        for visitor in [alice, bob] { #expect(try await place.ask(visitor).status == 200) }
      }
      #expect(place.owners == (0..<8).flatMap { _ in ["@alice:matrix.test", "@bob:matrix.test"] })
      #expect(Set(place.flow.upstream.requests.compactMap { $0.field("authorization") }).count == 2)
      #expect(place.homeserver.count(.login) == 2 && place.homeserver.devices(of: "@alice:matrix.test").count == 1)
      // The session stays what it is for everything else.
      #expect(try await place.flow.fetch(alice, "GET", "/fs/x").status == 200)
    }
  }

  @Test("without the CSRF token nothing is asked of the homeserver and nothing reaches the backend, from an allowed Origin too")
  func proof() async throws {
    try await MatrixFlow.run { place in
      let alice = try await place.flow.signedIn()
      for fields in [[], [("X-CSRF-Token", "")], [("X-CSRF-Token", "x")]] {
        #expect(try await place.flow.fetch(alice, "GET", "/nob/x", fields).status == 403)
      }
      #expect(place.flow.upstream.requests.isEmpty && place.server.requests.isEmpty)
    }
  }

  @Test("a backend that wants to know only who the user is gets an OpenID token, once for all requests")
  func openID() async throws {
    try await MatrixFlow.run { place in
      let alice = try await place.flow.signedIn()
      for _ in 0..<8 {
        #expect(try await place.flow.fetch(alice, "GET", "/own/x", [("Authorization", "MX-Identity forged")]).status == 200)
      }
      let sent = Set(place.flow.upstream.requests.map { $0.all("authorization") })
      #expect(sent.count == 1 && place.homeserver.count(.openid) == 1 && place.homeserver.count(.login) == 1)
      let field = try #require(sent.first?.first)
      #expect(field.hasPrefix("MX-Identity "))
      let json = try #require(Base64.decode(String(field.dropFirst("MX-Identity ".count))))
      let token = try StrictJSON.object(json)
      #expect(place.homeserver.openIDOwner(of: token["access_token"]?.string ?? "") == "@alice:matrix.test")
      #expect(token["matrix_server_name"]?.string == "matrix.test" && token["token_type"]?.string == "Bearer" && token.count == 4)
    }
  }

  @Test("an account that is not there yet is a 403 with its reason, asked for once; the session and the other routes go on")
  func accountMissing() async throws {
    try await MatrixFlow.run(claims: ["nobody", "refused"]) { place in
      place.homeserver.refuse(account: "refused")
      for (index, code) in ["matrix_account_missing", "matrix_account_refused"].enumerated() {
        let visitor = try await place.flow.signedIn("user-\(index)")
        for _ in 0..<5 {
          let answer = try await place.ask(visitor)
          #expect(answer.status == 403)
          #expect(try place.code(answer) == code && answer.field("content-type") == "application/problem+json")
          #expect(answer.field("access-control-allow-origin") == place.flow.app && answer.all("set-cookie").isEmpty)
        }
        #expect(try await place.flow.fetch(visitor, "GET", "/plain/x").status == 200)
        #expect(place.homeserver.count(.login) == index + 1)
      }
      #expect(place.flow.upstream.requests.allSatisfy { !$0.path.contains("nob") })
      let told = place.flow.sink.lines.filter { $0.contains("credential_failed") && $0.contains(#""reason":"matrix_account_missing""#) }
      #expect((1...5).contains(told.count) && told[0].contains("create the account"), "\(told)")
    }
  }

  @Test("a homeserver that is away, fails or limits is 503 with Retry-After, one that answers nonsense 502; nobody is signed out")
  func outages() async throws {
    try await MatrixFlow.run { place in
      let alice = try await place.flow.signedIn()
      for (fault, status, code, retry) in [
        (.answer(500, "<h1>Oops</h1>", fields: ["Content-Type": "text/html"]), 503, "matrix_unavailable", "2"),
        (.answer(429, #"{"errcode":"M_LIMIT_EXCEEDED","retry_after_ms":7000}"#), 503, "matrix_unavailable", "7"),
        (.answer(503, "", fields: ["Retry-After": "86400"]), 503, "matrix_unavailable", "30"),
        (.answer(200, "<h1>hello</h1>"), 502, "matrix_answer_invalid", nil),
        (.answer(200, #"{"access_token":"a","access_token":"b","user_id":"@alice:matrix.test"}"#), 502, "matrix_answer_invalid", nil),
        (.answer(200, #"{"user_id":"@bob:matrix.test","access_token":"mx-canary-of-bob"}"#), 502, "matrix_answer_invalid", nil),
        (.answer(401, #"{"errcode":"M_UNKNOWN_TOKEN"}"#), 502, "matrix_login_refused", nil),
      ] as [(HomeserverDouble.Fault, Int, String, String?)] {
        place.homeserver.fail(.login, fault)
        let answer = try await place.ask(alice)
        #expect(answer.status == status && answer.field("retry-after") == retry, "\(fault): \(answer.wholeText)")
        #expect(try place.code(answer) == code)
        place.flow.time.advance(by: .seconds(31))
      }
      await place.server.goAway()
      #expect(try await place.ask(alice).status == 503)
      place.flow.time.advance(by: .seconds(31))
      #expect(place.flow.upstream.requests.isEmpty)
      try await place.server.start()
      place.homeserver.fail(.login, nil)
      #expect(try await place.ask(alice).status == 200)
      #expect(place.owners == ["@alice:matrix.test"] && place.flow.codeCalls == 1)
    }
  }

  /// What a claim may be at an identity provider that is careless, or whose user chooses it.
  static let claims: [(claim: JSONValue?, code: String?)] = [
    ("ALICE", nil), ("@bob:matrix.test", "matrix_user_invalid"), ("bob:matrix.test", "matrix_user_invalid"),
    ("@bob", "matrix_user_invalid"),
    ("bob\u{0}", "matrix_user_invalid"), ("b\u{f6}b", "matrix_user_invalid"), ("\u{ff42}ob", "matrix_user_invalid"),
    ("bob\",\"password\":\"x", "matrix_user_invalid"), ("../bob", "matrix_account_missing"), ("", "matrix_user_invalid"),
    (.string(String(repeating: "b", count: 300)), "matrix_user_invalid"), (.int64(7), "claim_unusable"), (["bob"], "claim_unusable"),
    (.null, "claim_missing"), (nil, "claim_missing"),
  ]

  @Test("a claim never becomes another user's account, nor a request of another shape (S12)")
  func hostileClaims() async throws {
    try await MatrixFlow.run(claims: Self.claims.map(\.claim)) { place in
      for (index, row) in Self.claims.enumerated() {
        place.flow.upstream.forget()
        let visitor = try await place.flow.signedIn("user-\(index)")
        let answer = try await place.ask(visitor)
        if let code = row.code {
          #expect(answer.status == 403, "\(row)")
          #expect(try place.code(answer) == code, "\(row)")
          #expect(place.flow.upstream.requests.isEmpty, "\(row)")
        } else {
          #expect(answer.status == 200 && place.owners == ["@alice:matrix.test"], "\(row)")
        }
        #expect(try await place.flow.isAlive(visitor))
      }
      #expect(place.homeserver.devices(of: "@bob:matrix.test").isEmpty && place.homeserver.count(.login) == 2)
      for request in place.server.requests where request.path.hasSuffix("/login") {
        #expect(try StrictJSON.object(request.body).count == 5)
      }
    }
  }

  @Test("a backend's 401 is passed on and drops the token: the next request gets one of a new login of the same device")
  func refusedByBackend() async throws {
    try await MatrixFlow.run { place in
      let (alice, homeserver) = (try await place.flow.signedIn(), place.homeserver)
      place.flow.upstream.answer { request in
        guard request.path.contains("nob") else { return nil }
        let token = request.field("authorization")?.dropFirst("Bearer ".count) ?? ""
        return Response(homeserver.owner(of: String(token)) == nil ? 401 : 200)
      }
      #expect(try await place.ask(alice).status == 200)
      let devices = homeserver.devices(of: "@alice:matrix.test")
      homeserver.removeDevices()
      #expect(try await place.ask(alice).status == 401)
      try await waitUntilTrue("a new token") { try await place.ask(alice).status == 200 }
      for _ in 0..<8 { #expect(try await place.ask(alice).status == 200) }
      #expect(homeserver.count(.login) == 2 && homeserver.devices(of: "@alice:matrix.test") == devices)
    }
  }

  @Test("a backend that answers 401 to an OpenID token gets a new one with the next request")
  func refusedIdentity() async throws {
    try await MatrixFlow.run { place in
      let alice = try await place.flow.signedIn()
      place.flow.upstream.answer { request in request.path.contains("own") ? Response(401) : nil }
      #expect(try await place.flow.fetch(alice, "GET", "/own/x").status == 401)
      let homeserver = place.homeserver
      try await waitUntilTrue("a new OpenID token") {
        _ = try await place.flow.fetch(alice, "GET", "/own/x")
        return homeserver.count(.openid) > 1
      }
      #expect(homeserver.count(.login) == 1)
    }
  }

  @Test("signing out logs the device out beside the answer, however the homeserver is; another sign-in is another device")
  func signedOut() async throws {
    try await MatrixFlow.run { place in
      let (alice, homeserver) = (try await place.flow.signedIn(), place.homeserver)
      #expect(try await place.ask(alice).status == 200)
      let gate = Gate()
      place.server.answer { request in
        if request.path.hasSuffix("/logout") { await gate.pass() }
        return nil
      }
      let token = try await place.flow.csrfToken(alice)
      let answer = try await place.flow.fetch(alice, "POST", "/logout", [("X-CSRF-Token", token)])
      #expect(answer.status < 400, "\(answer.wholeText)")
      #expect(homeserver.devices(of: "@alice:matrix.test").count == 1)
      gate.open()
      #expect(await eventually { homeserver.devices(of: "@alice:matrix.test").isEmpty })
      try await place.flow.signIn(alice)
      #expect(try await place.ask(alice).status == 200)
      #expect(homeserver.count(.login) == 2 && homeserver.devices(of: "@alice:matrix.test").count == 1)
    }
  }
}
