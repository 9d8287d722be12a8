import Cryptography
import HTTPMessage
import IntercomCore
import IntercomTesting
import Testing

/// Tokens shown to the browser (S28): every answer that any flow test reads from Intercom is looked through at its end.
extension FlowFixture {
  /// Runs a test and scans what it was answered.
  static func watched(_ flow: FlowFixture, _ body: (FlowFixture) async throws -> Void) async throws {
    let issuer = flow.issuer
    let watch = AnswerWatch(port: flow.port, ownCookies: ["intercom", "intercom-login"].flatMap { [$0, "__Host-" + $0] }) { name, value in
      FieldName(name) == "location" && value.hasPrefix(issuer + "/") ? withoutHint(value) : value
    }
    try await AnswerWatch.$current.withValue(watch) { try await body(flow) }
    let findings = watch.findings(flow.secretsOnTheWire())
    #expect(findings.isEmpty, "\(findings.prefix(3).map(\.description).joined(separator: "\n"))")
  }

  /// `id_token_hint` must go through the browser, to the provider alone
  /// ([RP-Initiated Logout 1.0 §2](https://openid.net/specs/openid-connect-rpinitiated-1_0.html#RPLogout)).
  private static func withoutHint(_ location: String) -> String {
    location.split(separator: "&", omittingEmptySubsequences: false).filter { !$0.contains("id_token_hint=") }.joined(separator: "&")
  }

  /// What no browser may be told: the configured secrets, the sealing key in its usual spellings, and what passed between Intercom, the
  /// provider and the backends.
  func secretsOnTheWire() -> [String: [UInt8]] {
    var found: [String: [UInt8]] = [
      "the client secret": Array(Self.clientSecret.utf8), "a backend's password": Array(Self.basicSecret.utf8),
      "the sealing key": sealingKey, "the sealing key in base64": Base64.encodedBytes(sealingKey),
      "the sealing key in base64url": Base64URL.encodedBytes(sealingKey),
    ]
    for request in provider.requests {
      guard let fields = try? FormFields(parsing: request.body) else { continue }
      for name in ["code", "code_verifier", "refresh_token", "subject_token", "client_secret", "token"] {
        if let value = fields.single(name), value.utf8.count > 8 { found["\(name) \(found.count)"] = Array(value.utf8) }
      }
    }
    for request in upstream.requests {
      guard let value = request.field("authorization"), value.hasPrefix("Bearer ") else { continue }
      found["a backend's token \(found.count)"] = Array(value.dropFirst(7).utf8)
    }
    return found
  }
}

@Suite("What a watch over answers finds")
struct AnswerWatchTests {
  private func findings(_ answers: [(Fields, String)], _ secrets: [String: [UInt8]] = [:]) async throws -> [String] {
    try await AnswerWatchTests.heard(answers, secrets)
  }

  private static func heard(_ answers: [(Fields, String)], _ secrets: [String: [UInt8]]) async throws -> [String] {
    let server = try RecordingServer { request, _ in
      let index = Int(String(decoding: request.rawPath.dropFirst(), as: UTF8.self)) ?? 0
      return .init(200, answers[index].0, Array(answers[index].1.utf8))
    }
    try await server.start()
    let watch = AnswerWatch(port: server.port, ownCookies: ["intercom"])
    try await AnswerWatch.$current.withValue(watch) {
      for index in answers.indices { _ = try await RawHTTPClient().get("http://127.0.0.1:\(server.port)/\(index)") }
    }
    await server.stop()
    #expect(watch.count == answers.count)
    return watch.findings(secrets).map(\.what)
  }

  private static let session = String(repeating: "s", count: 43)
  private static let token = "eyJhbGciOiJFUzI1NiJ9.eyJzdWIiOiJhIn0.c2ln"

  /// Planted leaks, so that the watch is known to find them.
  static let planted: [(String, Fields, String, String)] = [
    ("a token in a body", [:], "<p>\(token)</p>", "something shaped like a JWT"),
    ("a token in a field", ["X-Debug": "t=\(token)"], "", "something shaped like a JWT"),
    ("a secret in a body", [:], "secret=planted-secret", "the client secret"),
    ("a secret in a field", ["Location": "/?s=planted-secret"], "", "the client secret"),
    ("the session's cookie in a body", ["Set-Cookie": "intercom=\(session); Path=/"], session, "an own cookie's value"),
    ("the session's cookie under another name", ["Set-Cookie": "other=\(session)"], "", "an own cookie's value"),
  ]

  @Test("Tokens shown to the browser: the watch over all flow tests finds each planted leak (S28)", arguments: planted.indices)
  func plants(_ index: Int) async throws {
    let (name, fields, body, what) = Self.planted[index]
    let cookie: Fields = ["Set-Cookie": "intercom=\(Self.session); Path=/; HttpOnly"]
    let found = try await findings([(cookie, "hello"), (fields, body)], ["the client secret": Array("planted-secret".utf8)])
    #expect(found == [what], "\(name)")
  }

  @Test("the watch leaves alone what belongs into an answer")
  func harmless() async throws {
    let found = try await findings([
      (["Set-Cookie": "intercom=\(Self.session); Path=/"], "hello"), ([:], "eyJ is how tokens begin. a.b.c eyJhbGciOiJFUzI1NiJ9 eyJ.a.b"),
      (["ETag": "\"eyJhbGciOiJFUzI1NiJ9\""], "planted"),
    ])
    #expect(found == [])
  }
}
