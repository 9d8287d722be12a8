import EventLoop
import FoundationEssentials
import HTTPMessage
import HTTPServer
import IntercomCore
import IntercomTesting
import Linux
import OpenSSL
import Testing

/// A listener with TLS, asked by curl and openssl.
@Suite("A listener with TLS", .serialized, .timeLimit(.minutes(2)))
struct TLSTests {
  /// What curl wrote: the answer, a line with its status, the protocol's version, and curl's own words on failure.
  private func curl(_ authority: TestAuthority, _ port: UInt16, _ path: String, _ more: [String] = [], host: String = "localhost")
    async throws
    -> String
  {
    let child = try ChildProcess(
      "curl",
      [
        "-sS", "--max-time", "20", "--cacert", authority.path, "--resolve", "\(host):\(port):127.0.0.1", "-w",
        "\n%{http_code} %{http_version}\n",
        "https://\(host):\(port)\(path)",
      ] + more, log: "curl")
    _ = try await child.waitForExit(within: .seconds(30))
    return child.output
  }

  private func run(
    _ tls: TLSContext, settings: ServerSettings = ServerSettings(), _ body: (TestServer<EndpointHandler>) async throws -> Void
  ) async throws {
    try await TestServer.run(endpoints(), settings: settings, tls: tls, body)
  }

  private func context(_ authority: TestAuthority, clients: TLSClientCertificates? = nil) async throws -> TLSContext {
    try TLSContext(
      server: [try await authority.identity("server", names: "DNS:localhost,IP:127.0.0.1")], protocols: [.http2, .http11], clients: clients)
  }

  @Test("curl gets answers over HTTP/1.1 and over HTTP/2: bodies of all framings, both ways", arguments: ["--http1.1", "--http2"])
  func answers(_ version: String) async throws {
    let authority = try await TestAuthority()
    let number = version == "--http2" ? "2" : "1.1"
    try await run(context(authority)) { server in
      #expect(try await curl(authority, server.port, "/hello", [version]) == "hello\n200 \(number)\n")
      #expect(try await curl(authority, server.port, "/empty", [version]) == "\n204 \(number)\n")
      #expect(try await curl(authority, server.port, "/unchanged", [version]) == "\n304 \(number)\n")
      #expect(try await curl(authority, server.port, "/chunks", [version]) == "onetwo\n200 \(number)\n")
      #expect(try await curl(authority, server.port, "/none", [version]).hasSuffix("\n404 \(number)\n"))
      #expect(try await curl(authority, server.port, "/hello", [version, "-I"]).hasSuffix("\n200 \(number)\n"))
      let short = try await curl(authority, server.port, "/short", [version])
      #expect(short.contains("curl: ("), "a broken answer looks whole: \(short)")
      let folder = try TestFolder()
      let sent = String(repeating: "0123456789abcdef", count: 50_000)
      try Data(sent.utf8).write(to: URL(filePath: folder.file("body")))
      for framing in [[], ["-H", "Transfer-Encoding: chunked"]] where version == "--http1.1" || framing.isEmpty {
        let echoed = try await curl(authority, server.port, "/echo", [version, "--data-binary", "@" + folder.file("body")] + framing)
        #expect(echoed == "\(sent)\n200 \(number)\n", "\(echoed.count) bytes: \(echoed.suffix(200))")
      }
      guard version == "--http2" else { return }
      // Without a length only HTTP/2 delimits a body as it is.
      let unsized = try await curl(
        authority, server.port, "/echo", [version, "--data-binary", "@" + folder.file("body"), "-H", "Content-Length:"])
      #expect(unsized == "\(sent)\n200 2\n", "\(unsized.suffix(200))")
    }
  }

  @Test("A client that names a host gets that host's certificate, others the first")
  func names() async throws {
    let authority = try await TestAuthority()
    let tls = try TLSContext(
      server: [
        try await authority.identity("first", names: "DNS:localhost"), try await authority.identity("files", names: "DNS:files.example"),
        try await authority.identity("wild", names: "DNS:*.apps.example"),
      ], protocols: [.http11])
    try await run(tls) { (server: TestServer<EndpointHandler>) async throws -> Void in
      for host in ["localhost", "files.example", "mail.apps.example"] {
        #expect(try await curl(authority, server.port, "/hello", host: host) == "hello\n200 1.1\n")
      }
      for host in ["apps.example", "a.b.apps.example", "other.example"] {
        #expect(try await curl(authority, server.port, "/hello", host: host).contains("curl: (60)"), "\(host)")
      }
    }
  }

  @Test("TLS 1.2 and 1.3 are spoken, older versions are not; nothing is renegotiated or compressed (fault 58)")
  func versions() async throws {
    let authority = try await TestAuthority()
    try await run(context(authority)) { server in
      for (version, works) in [("-tls1_3", true), ("-tls1_2", true), ("-tls1_1", false), ("-tls1", false)] {
        let child = try ChildProcess(
          "openssl",
          [
            "s_client", "-connect", "127.0.0.1:\(server.port)", "-CAfile", authority.path, "-verify_return_error", version, "-cipher",
            "ALL:@SECLEVEL=0",
          ],
          log: "s_client")
        let exit = try await child.waitForExit()
        #expect((exit == .code(0)) == works, "\(version): \(child.output)")
        guard works else { continue }
        #expect(child.output.contains("Compression: NONE"))
        #expect(child.output.contains("Verification: OK"))
      }
    }
  }

  @Test("Where client certificates are demanded, nobody is answered without one of the named authority (S33)")
  func clientCertificates() async throws {
    let authority = try await TestAuthority()
    let stranger = try await TestAuthority()
    let own = try await authority.issue("client", names: "DNS:client")
    let strange = try await stranger.issue("client", names: "DNS:client")
    let late = try await authority.issue("late", names: "DNS:client", days: -1)
    for isRequired in [true, false] {
      let clients = TLSClientCertificates(authorities: try authority.certificates(), isRequired: isRequired)
      try await run(context(authority, clients: clients)) { server in
        let plain = try await curl(authority, server.port, "/hello")
        #expect(plain.contains("hello\n200") != isRequired, "\(plain)")
        #expect(try await curl(authority, server.port, "/hello", ["--cert", own.chain, "--key", own.key]).contains("hello\n200"))
        for wrong in [strange, late] {
          let answer = try await curl(authority, server.port, "/hello", ["--cert", wrong.chain, "--key", wrong.key])
          #expect(!answer.contains("hello"), "\(answer)")
        }
      }
    }
  }

  @Test("New certificates are used by new connections; those that stand go on with theirs")
  func replacement() async throws {
    let (old, new) = (try await TestAuthority(), try await TestAuthority())
    try await run(context(old)) { server in
      #expect(try await curl(old, server.port, "/hello").contains("hello\n200"))
      let renewed = ListenerSetup(server.server.addresses[0], tls: try await context(new))
      await server.server.reconfigure(ServerSettings(), [renewed]) { _ in }
      #expect(try await curl(new, server.port, "/hello").contains("hello\n200"))
      #expect(try await curl(old, server.port, "/hello").contains("curl: (60)"))
    }
  }

  @Test("A client that says nothing, or no TLS, is gone when the time for its head is over; others are served meanwhile")
  func silence() async throws {
    let authority = try await TestAuthority()
    var settings = ServerSettings()
    settings.headTime = .milliseconds(300)
    try await run(context(authority), settings: settings) { server in
      let silent = try await server.client { port in try RawSocket(port: port) }
      let plain = try await server.client { port in
        let socket = try RawSocket(port: port)
        try socket.send("GET /hello HTTP/1.1\r\nHost: localhost\r\n\r\n")
        return socket
      }
      #expect(try await curl(authority, server.port, "/hello").contains("hello\n200"))
      #expect(try await server.client { _ in try silent.receiveAllText() }.isEmpty)
      let answer = try await server.client { _ in (try? plain.receiveAllText()) ?? "" }
      #expect(!answer.contains("HTTP/1.1"))
    }
  }
}
