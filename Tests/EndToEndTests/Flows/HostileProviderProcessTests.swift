import DemoWorkplace
import HTTPMessage
import IntercomCore
import IntercomTesting
import Testing

/// The program against a provider that sends too much: the limits of its own libcurl and parsers, seen in its memory.
@Suite("Hostile provider: the program's memory", .serialized)
struct HostileProviderProcessTests {
  private static let password = "a-password"
  /// 8 MB.
  private static let allowed = 8_192

  private func configuration(issuer: String, base: String, backend: Int) -> String {
    """
    baseURL: \(base)
    provider:
      issuer: \(issuer)
      clientID: intercom
      clientSecret: not-so-secret
    sessions: {store: memory}
    routes:
      fs: {path: /fs, upstream: "http://127.0.0.1:\(backend)", credential: {exchange: {audience: files}}, methods: webdav}

    """
  }

  /// Starts a provider that can lie, a backend and the program, which is not yet ready.
  private func run(
    _ lie: ProviderLie?,
    _ body: (IntercomProcess, MisbehavingProvider, _ provider: RecordingServer, _ backend: RecordingServer) async throws -> Void
  ) async throws {
    let (provider, backend) = (try RecordingServer(), try RecordingServer())
    let issuer = "http://id.localhost:\(provider.port)"
    let port = try FreePort.next()
    let base = "http://intercom.localhost:\(port)"
    let liar = try MisbehavingProvider(
      FlowProvider.configuration(issuer: issuer, base: base, secret: "not-so-secret", password: Self.password), time: SystemTime(),
      transport: InProcessTransport(time: SystemTime()))
    liar.tell(lie)
    provider.serve(liar.endpoint)
    try await provider.start()
    try await backend.start()
    let intercom = try await IntercomProcess.serve(
      configuration(issuer: issuer, base: base, backend: backend.port), port: port, untilReady: false)
    let result: Result<Void, any Error>
    do { result = .success(try await body(intercom, liar, provider, backend)) } catch { result = .failure(error) }
    #expect(await intercom.child.terminate(grace: .seconds(10)) == .code(0), "\(intercom.child.outputTail)")
    await provider.stop()
    await backend.stop()
    try result.get()
  }

  private static let answers: [AnswerLie] = [
    .bytes(100_000_000), .endless, .gzipBomb, .oversized, .html, .redirect, .duplicateKeys, .deep, .oversizedHead,
  ]

  @Test("Fault 21, S24: token answers of 100 MB, without an end, gzip bombs and others are 502, and memory grows by at most 8 MB")
  func tokenAnswers() async throws {
    let rounds = Rounds.count(3, full: 200)
    try await run(nil) { intercom, liar, provider, backend in
      try await intercom.waitUntilReady()
      let base = "http://intercom.localhost:\(intercom.port)"
      let visitor = Visitor(timeout: .seconds(20))
      _ = try await visitor.open(base + "/login")
      #expect(try await visitor.submit(["username": "alice", "password": Self.password]).status == 200)
      #expect(try await visitor.fetch("GET", base + "/fs/x", origin: base).status == 200)
      backend.forget()
      /// A login and an exchange for each lie.
      func lies(_ rounds: Int) async throws {
        for round in 0..<rounds {
          for lie in Self.answers {
            liar.tell(.answer(.login, lie))
            let login = try await visitor.open(base + "/login")
            #expect(login.status == 502, "\(lie), round \(round): \(login.text)")
            // A new session, so that no exchanged token is known.
            liar.tell(nil)
            #expect(try await visitor.open(base + "/login").status == 200)
            liar.tell(.answer(.exchange, lie))
            let exchange = try await visitor.fetch("GET", base + "/fs/x", origin: base)
            #expect(exchange.status == 502, "\(lie), round \(round): \(exchange.text)")
            liar.tell(nil)
          }
        }
      }
      try await lies(1)
      let grown = try await intercom.child.growth { try await lies(rounds) }
      #expect(grown <= Self.allowed, "grew by \(grown) KiB")
      #expect(backend.requests.isEmpty && provider.requests.allSatisfy { $0.path != "/elsewhere" })
      #expect(try await visitor.fetch("GET", base + "/fs/x", origin: base).status == 200)
      #expect(intercom.tokensInLog.isEmpty)
      try Rounds.keep("fault 21: \(rounds * Self.answers.count * 2) wrong token answers, memory grew by \(grown) KiB")
    }
  }

  @Test("Fault 21, S24: metadata and keys of 100 MB, without an end and as gzip bombs: never ready, memory grows by at most 8 MB")
  func documents() async throws {
    // Few of them: the pauses between attempts grow.
    var lies: [(ProviderCall, AnswerLie)] = [(.keys, .endless), (.discovery, .bytes(100_000_000))]
    if Rounds.isFull { lies += [(.keys, .bytes(100_000_000)), (.discovery, .endless), (.keys, .gzipBomb), (.discovery, .gzipBomb)] }
    try await run(.answer(.discovery, .html)) { intercom, liar, provider, _ in
      let admin = "http://127.0.0.1:\(intercom.adminPort)"
      try await waitUntilTrue("a first attempt", within: .seconds(20)) { !provider.requests.isEmpty }
      let grown = try await intercom.child.growth {
        for (call, lie) in lies {
          let path = call == .keys ? "/jwks" : "/.well-known/openid-configuration"
          liar.tell(.answer(call, lie))
          let asked = provider.requests.count { $0.path == path }
          try await waitUntilTrue("an attempt", within: .seconds(40)) { provider.requests.count { $0.path == path } > asked }
          #expect(try await RawHTTPClient().get(admin + "/readyz").status == 503)
        }
      }
      #expect(grown <= Self.allowed, "grew by \(grown) KiB")
      liar.tell(nil)
      try await intercom.waitUntilReady(within: .seconds(60))
      try Rounds.keep("fault 21: metadata and keys without an end, memory grew by \(grown) KiB")
    }
  }
}
