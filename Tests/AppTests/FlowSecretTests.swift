import HTTPMessage
import HTTPServer
import IntercomCore
import IntercomTesting
import OIDC
import Sessions
import Synchronization
import Telemetry
import Testing

/// Everything that a browser was told, with the cookies taken out that it is meant to keep.
private final class Told: Sendable {
  private let texts = Mutex([String]())
  func hear(_ answer: HTTPAnswer) {
    let lines = answer.fields.all.filter { FieldName($0.name) != "set-cookie" }
    let head = lines.map { "\($0.name): \(String(decoding: $0.value, as: UTF8.self))" }.joined(separator: "\n")
    texts.withLock { $0.append(head + "\n" + answer.text) }
  }
  func contains(_ secret: String) -> Bool { texts.withLock { $0.contains { $0.contains(secret) } } }
}

/// Keeps every step, as the demo's live panel and traces get them.
private final class StepRecorder: StepObserver {
  private let steps = Mutex([Step]())
  func observe(_ step: Step) { steps.withLock { $0.append(step) } }
  var all: [Step] { steps.withLock { $0 } }
}

@Suite("Flow: canaries", .serialized)
struct FlowSecretTests {
  /// What a token endpoint or a browser was given, by the parameters that hold secrets.
  private func secrets(_ flow: FlowFixture) -> [String: String] {
    var found: [String: String] = [:]
    for (index, request) in flow.provider.requests.enumerated() {
      guard let fields = try? FormFields(parsing: request.body) else { continue }
      for name in ["code", "code_verifier", "refresh_token", "subject_token", "client_secret", "password", "token"] {
        if let value = fields.single(name), value.utf8.count > 8 { found["\(name) \(index)"] = value }
      }
    }
    for (index, request) in flow.upstream.requests.enumerated() {
      if let value = request.field("authorization"), !value.hasPrefix("Basic") {
        found["backend token \(index)"] = String(value.dropFirst(7))
      }
    }
    found["basic secret"] = FlowFixture.basicSecret
    found["client secret"] = FlowFixture.clientSecret
    found["password"] = FlowFixture.password
    return found
  }

  private func expectNothing(in steps: [Step], _ search: CanarySearch) {
    var shown = ""
    dump(steps, to: &shown)
    #expect(Set(steps.map(\.kind)).isSuperset(of: [.login, .loginRefused, .sessionCreated, .tokenExchanged, .forwarded, .refused]))
    #expect(search.search("the steps", shown).map(\.description) == [])
  }

  @Test("Fault 57: after every flow, good and bad, no secret is in a log line, and none in an answer but the browser's own cookie")
  func canaries() async throws {
    let recorder = StepRecorder()
    var options = FlowFixture.Options()
    options.deployment = { $0.steps = recorder }
    try await FlowFixture.run(options) { flow in
      let told = Told()
      let visitor = Visitor()
      let callback = try await flow.authorize(visitor, flow.begin(visitor))
      told.hear(try await visitor.send("GET", callback, FlowFixture.navigation))
      told.hear(try await visitor.send("GET", callback, FlowFixture.navigation))
      let cookie = try #require(await visitor.jar["intercom"]?.value)
      let login = try #require(await visitor.jar["intercom-login"]?.value)
      for target in ["/own/x", "/fs/x", "/basic/x", "/headers/x", "/denied/x", "/down/x", "/nowhere", "/fs/%00", "/silent", "/"] {
        told.hear(try await flow.fetch(visitor, "GET", target, [("X-CSRF-Token", "wrong-csrf-canary")]))
      }
      flow.upstream.answer { _ in Response(401) }
      told.hear(try await flow.fetch(visitor, "GET", "/fs/x"))
      flow.upstream.answer(nil)
      for lie in [ProviderLie.exchangedAudience, .answerIsHTML, .answerHasDuplicateKeys, .exchangedSubject] {
        flow.liar.tell(lie)
        told.hear(try await flow.fetch(visitor, "GET", "/fs2/x"))
        told.hear(try await flow.fetch(visitor, "GET", "/fs/x"))
      }
      for lie in [ProviderLie.nonce, .signature, .audience, .answerIsTruncated] {
        flow.liar.tell(nil)
        let other = Visitor()
        let callback = try await flow.authorize(other, flow.begin(other))
        flow.liar.tell(lie)
        told.hear(try await other.send("GET", callback, FlowFixture.navigation))
      }
      flow.liar.tell(nil)
      flow.time.advance(by: .seconds(400))
      told.hear(try await flow.fetch(visitor, "GET", "/own/x"))
      flow.store.fail(Set(FaultySessionStore.Operation.allCases))
      told.hear(try await flow.fetch(visitor, "GET", "/silent"))
      told.hear(try await flow.send(visitor, "GET", "/login", FlowFixture.navigation))
      flow.store.fail([])
      await flow.provider.goAway()
      flow.time.advance(by: .seconds(400))
      told.hear(try await flow.fetch(visitor, "GET", "/own/x"))
      try await flow.provider.start()
      told.hear(
        try await flow.client.send(
          "GET", flow.url("/fs/x"), fields: [("Cookie", "intercom=\(cookie)"), ("Authorization", "Bearer client-canary-token")]))
      told.hear(try await flow.client.post(flow.base + "/backchannel-logout", form: ["logout_token": "logout.canary.token"]))

      var secrets = secrets(flow)
      try #require(secrets.keys.contains { $0.hasPrefix("refresh_token") } && secrets.keys.contains { $0.hasPrefix("code_verifier") })
      try #require(secrets.keys.contains { $0.hasPrefix("subject_token") } && secrets.keys.contains { $0.hasPrefix("backend token") })
      secrets["session cookie"] = cookie
      secrets["login cookie"] = login
      for text in ["wrong-csrf-canary", "client-canary-token", "logout.canary.token"] { secrets[text] = text }
      let lines = flow.sink.lines
      try #require(lines.count > 5)
      var search = CanarySearch()
      for (name, secret) in secrets {
        try search.add(name, secret)
        #expect(!told.contains(secret), "\(name) was told to the browser")
      }
      #expect(search.search("the log", lines.joined(separator: "\n")).map(\.description) == [])
      expectNothing(in: recorder.all, search)

      // id_token_hint must go through the browser; nothing else may with it.
      let logout = try await flow.send(visitor, "GET", "/logout", FlowFixture.navigation)
      for (name, secret) in secrets { #expect(logout.field("location")?.contains(secret) != true, "\(name)") }
      let address = try #require(flow.running.adminAddress)
      let metrics = try await flow.client.get("http://127.0.0.1:\(address.port)/metrics")
      #expect(search.search("the metrics", metrics.text).map(\.description) == [])
    }
  }
}
