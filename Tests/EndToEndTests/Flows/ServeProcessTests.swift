import IntercomTesting
import Linux
import Testing

/// `intercom serve` as its operator meets it: start, faults, signals.
@Suite("The program and its operator")
struct ServeProcessTests {
  private func configuration(issuer: String) -> String {
    """
    baseURL: http://intercom.localhost
    provider:
      issuer: \(issuer)
      clientID: intercom
      clientSecret: not-so-secret
    origins: ["http://mail.intercom.localhost"]
    sessions: {store: memory}
    routes:
      fs: {path: /fs, upstream: "http://127.0.0.1:1", credential: {exchange: {audience: files}}, methods: webdav}

    """
  }

  @Test("without its provider it lives, is not ready, answers 503, and ends in order on SIGTERM", .timeLimit(.minutes(1)))
  func providerDown() async throws {
    let nobody = try FreePort.next()
    let intercom = try await IntercomProcess.serve(configuration(issuer: "http://127.0.0.1:\(nobody)"), untilReady: false)
    let client = RawHTTPClient(timeout: .seconds(15))
    let admin = "http://127.0.0.1:\(intercom.adminPort)"
    try await waitUntilTrue("200 at /livez", within: .seconds(20)) { (try? await client.get(admin + "/livez").status) == 200 }
    #expect(try await client.get(admin + "/readyz").status == 503)
    let login = try await client.get(
      "http://127.0.0.1:\(intercom.port)/fs/", ["Sec-Fetch-Mode": "navigate", "Sec-Fetch-Dest": "document", "Accept": "text/html"])
    #expect(login.status == 503)
    #expect(intercom.child.exit == nil)
    #expect(await intercom.child.terminate(grace: .seconds(10)) == .code(0), "\(intercom.child.outputTail)")
    #expect(!intercom.child.output.contains("not-so-secret"))
  }

  @Test("garbage on the wire is answered or closed, and the program lives on", .timeLimit(.minutes(1)))
  func garbage() async throws {
    let intercom = try await IntercomProcess.serve(configuration(issuer: "http://127.0.0.1:\(try FreePort.next())"), untilReady: false)
    let client = RawHTTPClient(timeout: .seconds(15))
    try await waitUntilTrue("the main listener", within: .seconds(20)) {
      (try? await client.get("http://127.0.0.1:\(intercom.port)/silent")) != nil
    }
    let heads = [
      "GET / HTTP/1.1\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", "\u{0}\u{1}\u{2}\r\n\r\n",
      "GET /\u{0} HTTP/1.1\r\nHost: a\r\n\r\n",
      "POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n",
      "GET / HTTP/9.9\r\nHost: a\r\n\r\n", "GET /../../etc/passwd HTTP/1.1\r\nHost: a\r\n\r\n", "CONNECT a:1 HTTP/1.1\r\nHost: a\r\n\r\n",
      "GET / HTTP/1.1\r\nHost : a\r\n\r\n", "GET / HTTP/1.1\r\nHost: a\r\nCookie: " + String(repeating: "x", count: 40_000) + "\r\n\r\n",
    ]
    for head in heads {
      let answer = try await client.exchange(port: intercom.port, bytes: Array(head.utf8), finishSending: true)
      let text = String(decoding: answer.prefix(12), as: UTF8.self)
      #expect(answer.isEmpty || text.hasPrefix("HTTP/1.1 4") || text.hasPrefix("HTTP/1.1 5"), "\(head.prefix(40)) → \(text)")
    }
    #expect(try await client.get("http://127.0.0.1:\(intercom.adminPort)/livez").status == 200)
    #expect(await intercom.child.terminate(grace: .seconds(10)) == .code(0))
  }

  @Test("a port that is in use is a message that names it and exit code 1", .timeLimit(.minutes(1)))
  func portInUse() async throws {
    let first = try await IntercomProcess.serve(configuration(issuer: "http://127.0.0.1:\(try FreePort.next())"), untilReady: false)
    try await waitUntilTrue("the first one's admin listener", within: .seconds(20)) {
      (try? await RawHTTPClient().get("http://127.0.0.1:\(first.adminPort)/livez").status) == 200
    }
    let second = try await IntercomProcess.serve(
      configuration(issuer: "http://127.0.0.1:\(try FreePort.next())"), port: first.port, untilReady: false)
    #expect(try await second.child.waitForExit() == .code(1))
    #expect(second.child.output.contains("\(first.port)"))
    #expect(await first.child.terminate(grace: .seconds(10)) == .code(0))
  }

  @Test("a faulty configuration is refused with every fault at its line and exit code 78", .timeLimit(.minutes(1)))
  func faults() async throws {
    let intercom = try await IntercomProcess.serve("baseURL: nonsense\nprovidre: {}\n", untilReady: false)
    #expect(try await intercom.child.waitForExit() == .code(78))
    let output = intercom.child.output
    #expect(output.contains(":4:"))
    #expect(output.contains(":5:"))
    #expect(output.contains("provider"))
  }

  @Test(
    "wrong words are exit code 64 with a suggestion, help and version are 0",
    arguments: [
      (["srve"], 64, "serve"), (["serve", "--confg", "x"], 64, "--config"), (["--help"], 0, "demo"), (["--version"], 0, "intercom "),
    ])
  func words(arguments: [String], code: Int32, expected: String) async throws {
    let child = try ChildProcess(IntercomProcess.binary, arguments, log: "intercom-words")
    #expect(try await child.waitForExit() == .code(code))
    #expect(child.output.contains(expected))
  }
}
