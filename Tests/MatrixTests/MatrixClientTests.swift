import HTTPMessage
import IntercomCore
import IntercomTesting
import Matrix
import StrictJSON
import Testing

@Suite("Matrix: calls to a homeserver")
struct MatrixClientTests {
  private static let time = ManualTime()
  private static let asToken = "as-token-canary-0123456789"
  private let transport = ScriptedTransport { _ throws(TransportError) in throw TransportError.unreachable("no script") }

  private func client(address: String = "https://matrix.test/base/") -> MatrixClient {
    MatrixClient(
      MatrixHomeserver(
        address: address, serverName: "matrix.test", asToken: Secret(Self.asToken), loginType: "m.login.application_service"),
      transport: transport, time: Self.time)
  }
  private func answer(_ status: Status, _ text: String, type: String = "application/json") {
    transport.answer { _ throws(TransportError) in OutboundResponse.json(status, text, type: type) }
  }
  private func alice() throws -> MatrixUserID { try MatrixUserID(claim: "ali/ce", serverName: "matrix.test") }
  private func failure<Value>(_ call: () async throws(MatrixError) -> Value) async -> MatrixError? {
    do throws(MatrixError) {
      _ = try await call()
      return nil
    } catch { return error }
  }

  private static let login =
    #"{"user_id":"@ali/ce:matrix.test","access_token":"a","device_id":"D","refresh_token":"r","expires_in_ms":300999,"home_server":"x"}"#

  @Test("a login asks for the local name as this device, with the secret in the field alone, and takes what it is answered")
  func loggedIn() async throws {
    answer(200, Self.login)
    let tokens = try await client().login(alice(), device: "INTERCOM-1")
    #expect(tokens.accessToken.reveal() == "a" && tokens.refreshToken?.reveal() == "r")
    #expect(tokens.expiresIn == .seconds(300) && tokens.device == "D")
    let request = try #require(transport.requests.first)
    #expect(request.url == "https://matrix.test/base/_matrix/client/v3/login" && request.method == .post && !request.isRepeatable)
    #expect(request.fields.single("authorization") == "Bearer " + Self.asToken)
    #expect(
      try StrictJSON.object(request.body) == [
        "type": "m.login.application_service", "identifier": ["type": "m.id.user", "user": "ali/ce"], "device_id": "INTERCOM-1",
        "initial_device_display_name": "Intercom", "refresh_token": .bool(true),
      ])
    #expect(transport.deadlines == [Self.time.monotonicNow().advanced(by: .seconds(5))])
  }

  @Test("a homeserver that gives no times and no refresh token is taken at its word")
  func plainLogin() async throws {
    answer(200, #"{"user_id":"@ali/ce:matrix.test","access_token":"a"}"#)
    let tokens = try await client().login(alice(), device: "INTERCOM-1")
    #expect(tokens.expiresIn == nil && tokens.refreshToken == nil && tokens.device == "INTERCOM-1")
  }

  @Test(
    "an answer that names somebody else is refused, and what it gave is handed back (S14)",
    arguments: ["@bob:matrix.test", "@ali/ce:evil.test", "@Ali/ce:matrix.test", "ali/ce", "", "@ali/ce:matrix.test "])
  func somebodyElse(_ user: String) async throws {
    answer(200, #"{"user_id":"\#(user)","access_token":"token-of-another"}"#)
    let (client, alice) = (client(), try alice())
    let error = await failure { () async throws(MatrixError) in try await client.login(alice, device: "D") }
    #expect(error?.code == .answerInvalid && error?.detail.contains("another user") == true)
    let transport = transport
    #expect(await eventually { transport.requests.count == 2 })
    #expect(transport.requests.map { String($0.url.suffix(7)) } == ["3/login", "/logout"])
    #expect(transport.requests.last?.fields.single("authorization") == "Bearer token-of-another")
    #expect(error?.detail.contains("token-of-another") == false)
  }

  static let refusals: [(Status, String, MatrixError.Code)] = [
    (404, "M_NOT_FOUND", .accountMissing), (404, "M_UNKNOWN", .accountMissing), (404, "M_UNRECOGNIZED", .loginRefused),
    (403, "M_FORBIDDEN", .accountRefused), (400, "M_EXCLUSIVE", .accountRefused), (403, "M_USER_DEACTIVATED", .accountRefused),
    (401, "M_USER_LOCKED", .accountRefused), (400, "M_INVALID_USERNAME", .accountRefused), (401, "M_UNKNOWN_TOKEN", .loginRefused),
    (401, "M_MISSING_TOKEN", .loginRefused), (400, "M_UNKNOWN", .loginRefused), (400, "M_APPSERVICE_LOGIN_UNSUPPORTED", .loginRefused),
    (405, "M_UNRECOGNIZED", .loginRefused), (429, "M_LIMIT_EXCEEDED", .unavailable), (500, "M_UNKNOWN", .unavailable),
    (503, "M_UNKNOWN", .unavailable), (408, "M_UNKNOWN", .unavailable), (302, "M_UNKNOWN", .answerInvalid), (204, "", .answerInvalid),
  ]

  @Test("each refusal of a login has its reason; what may pass refuses nobody", arguments: refusals)
  func refusal(_ status: Status, _ code: String, _ expected: MatrixError.Code) async throws {
    answer(status, #"{"errcode":"\#(code)","error":"x"}"#)
    let (client, alice) = (client(), try alice())
    let error = await failure { () async throws(MatrixError) in try await client.login(alice, device: "D") }
    #expect(error?.code == expected, "\(String(describing: error))")
  }

  @Test("a refusal that is no Matrix error, such as a proxy's page, says nothing about the account, and nothing of it is shown")
  func foreignRefusals() async throws {
    let (client, alice) = (client(), try alice())
    for (status, text, type) in [
      (404, "<h1>not here</h1>", "text/html"), (403, "", ""), (404, #"{"errcode":"M_NOT_FOUND"}"#, "text/plain"),
      (404, #"{"errcode":"M_NOT_FOUND","errcode":"M_NOT_FOUND"}"#, "application/json"), (403, #"{"errcode":7}"#, "application/json"),
      (401, #"{"errcode":"secret-canary token"}"#, "application/json"),
    ] as [(Status, String, String)] {
      answer(status, text, type: type)
      let error = await failure { () async throws(MatrixError) in try await client.login(alice, device: "D") }
      #expect(error?.code == .loginRefused && error?.detail.contains("canary") == false, "\(status) \(text)")
    }
  }

  @Test("when to come back is read from the field or the body, within bounds")
  func retryAfter() async throws {
    let (client, alice) = (client(), try alice())
    for (fields, body, expected) in [
      (["Retry-After": "7"], "{}", 7), ([:], #"{"retry_after_ms":2500}"#, 2), ([:], #"{"retry_after_ms":1}"#, 1),
      (["Retry-After": "99999999999"], "{}", 30), (["Retry-After": "99999999999999999999"], "{}", nil), (["Retry-After": "-5"], "{}", nil),
      (["Retry-After": "Wed, 21 Oct 2026 07:28:00 GMT"], "{}", nil), ([:], #"{"retry_after_ms":-1}"#, nil), ([:], "", nil),
      ([:], #"{"retry_after_ms":9223372036854775807}"#, 30),
    ] as [([String: String], String, Int?)] {
      transport.answer { _ throws(TransportError) in
        var response = OutboundResponse.json(429, body)
        for (name, value) in fields { response.fields.append(name, value) }
        return response
      }
      let error = await failure { () async throws(MatrixError) in try await client.login(alice, device: "D") }
      #expect(error?.code == .unavailable)
      #expect(error?.retryAfter.map { Int($0.components.seconds) } == expected, "\(fields) \(body)")
    }
  }

  static let nonsense: [String] = [
    "", "null", "[]", "hello", "{", #"{"user_id":"@ali/ce:matrix.test"}"#, #"{"user_id":"@ali/ce:matrix.test","access_token":""}"#,
    #"{"user_id":"@ali/ce:matrix.test","access_token":7}"#, #"{"user_id":"@ali/ce:matrix.test","access_token":"a b"}"#,
    #"{"user_id":"@ali/ce:matrix.test","access_token":"a\r\nX: y"}"#, #"{"user_id":"@ali/ce:matrix.test","access_token":"ä"}"#,
    #"{"user_id":"@ali/ce:matrix.test","access_token":"a","access_token":"b"}"#,
    #"{"user_id":"@ali/ce:matrix.test","access_token":"a","expires_in_ms":0}"#,
    #"{"user_id":"@ali/ce:matrix.test","access_token":"a","expires_in_ms":"5"}"#,
    #"{"user_id":"@ali/ce:matrix.test","access_token":"a","refresh_token":[]}"#,
    #"{"user_id":"@ali/ce:matrix.test","access_token":"a","device_id":""}"#,
    #"{"user_id":"@ali/ce:matrix.test","access_token":"a",}"#, #"{"user_id":"@ali/ce:matrix.test","access_token":"a"} x"#,
  ]

  @Test("an answer that is not sound is no login (S12)", arguments: nonsense)
  func unsound(_ text: String) async throws {
    answer(200, text)
    let (client, alice) = (client(), try alice())
    #expect(await failure { () async throws(MatrixError) in try await client.login(alice, device: "D") }?.code == .answerInvalid)
  }

  @Test("an oversized token, another media type and a transport that fails are told apart")
  func transportFaults() async throws {
    let (client, alice) = (client(), try alice())
    func code() async -> MatrixError.Code? {
      await failure { () async throws(MatrixError) in try await client.login(alice, device: "D") }?.code
    }
    answer(200, #"{"user_id":"@ali/ce:matrix.test","access_token":"\#(String(repeating: "a", count: 8_193))"}"#)
    #expect(await code() == .answerInvalid)
    answer(200, Self.login, type: "text/html")
    #expect(await code() == .answerInvalid)
    for (error, expected) in [
      (.unreachable("x"), .unavailable), (.tls("x"), .unavailable), (.timedOut, .unavailable), (.broken("x"), .unavailable),
      (.cancelled, .unavailable), (.tooLarge, .answerInvalid), (.badURL, .answerInvalid), (.badField, .answerInvalid),
    ] as [(TransportError, MatrixError.Code)] {
      transport.answer { _ throws(TransportError) in throw error }
      #expect(await code() == expected, "\(error)")
    }
  }

  @Test("a refresh keeps the old refresh token when it gets none, and every refusal means that the device is gone")
  func refreshed() async throws {
    let client = client()
    answer(200, #"{"access_token":"b","expires_in_ms":60000}"#)
    let tokens = try await client.refresh(Secret("r-1"))
    #expect(tokens.accessToken.reveal() == "b" && tokens.refreshToken?.reveal() == "r-1" && tokens.expiresIn == .seconds(60))
    let request = try #require(transport.requests.first)
    #expect(request.url.hasSuffix("/_matrix/client/v3/refresh") && request.fields.values("authorization").isEmpty)
    #expect(try StrictJSON.object(request.body) == ["refresh_token": "r-1"])
    for status in [400, 401, 403, 404] as [Status] {
      answer(status, #"{"errcode":"M_UNKNOWN_TOKEN"}"#)
      #expect(await failure { () async throws(MatrixError) in try await client.refresh(Secret("r")) }?.code == .tokenUnknown)
    }
    answer(502, "")
    #expect(await failure { () async throws(MatrixError) in try await client.refresh(Secret("r")) }?.code == .unavailable)
  }

  @Test("an OpenID token is asked for under the user's own escaped path, and must be this homeserver's")
  func openID() async throws {
    let (client, alice) = (client(), try alice())
    func code() async -> MatrixError.Code? {
      await failure { () async throws(MatrixError) in try await client.openIDToken(of: alice, Secret("a")) }?.code
    }
    answer(200, #"{"token_type":"Bearer","matrix_server_name":"matrix.test","expires_in":3600,"access_token":"o","more":1}"#)
    let token = try await client.openIDToken(of: alice, Secret("a"))
    #expect(token.expiresIn == .seconds(3_600))
    #expect(
      String(decoding: token.json.reveal(), as: UTF8.self)
        == #"{"access_token":"o","expires_in":3600,"matrix_server_name":"matrix.test","token_type":"Bearer"}"#)
    let request = try #require(transport.requests.first)
    #expect(request.url == "https://matrix.test/base/_matrix/client/v3/user/%40ali%2Fce%3Amatrix.test/openid/request_token")
    #expect(request.fields.single("authorization") == "Bearer a")
    for text in [
      #"{"token_type":"Bearer","matrix_server_name":"evil.test","expires_in":3600,"access_token":"o"}"#,
      #"{"token_type":"Basic","matrix_server_name":"matrix.test","expires_in":3600,"access_token":"o"}"#,
      #"{"token_type":"Bearer","matrix_server_name":"matrix.test","access_token":"o"}"#,
      #"{"token_type":"Bearer","matrix_server_name":"matrix.test","expires_in":-1,"access_token":"o"}"#, "{}",
    ] {
      answer(200, text)
      #expect(await code() == .answerInvalid, "\(text)")
    }
    answer(401, #"{"errcode":"M_UNKNOWN_TOKEN","soft_logout":true}"#)
    #expect(await code() == .tokenUnknown)
    answer(403, #"{"errcode":"M_FORBIDDEN"}"#)
    #expect(await code() == .accountRefused)
  }
}
