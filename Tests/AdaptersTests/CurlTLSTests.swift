import CurlTransport
import FoundationEssentials
import HTTPMessage
import IntercomCore
import IntercomTesting
import Testing

/// S33: who a provider is. A real TLS server (`openssl s_server`) with certificates that are right but for one thing.
@Suite("Calls out over TLS", .serialized, .timeLimit(.minutes(1)))
struct CurlTLSTests {
  struct Case: Sendable, CustomTestStringConvertible {
    var testDescription: String
    /// What the certificate says, in the words of `openssl`.
    var names = "subjectAltName=DNS:localhost"
    var days = 2
    var subject = "/CN=localhost"
    var host = "localhost"
    /// Is this certificate the one that `caFile` names?
    var isTrusted = true
    var server: [String] = []
    var works = false
  }

  static let cases = [
    Case(testDescription: "right in everything", works: true),
    Case(testDescription: "right in everything, by address", names: "subjectAltName=IP:127.0.0.1", host: "127.0.0.1", works: true),
    Case(testDescription: "self-signed and not in caFile", isTrusted: false),
    Case(testDescription: "for another host", names: "subjectAltName=DNS:evil.example"),
    Case(testDescription: "for another host, with ours in the subject", names: "subjectAltName=DNS:evil.example", subject: "/CN=localhost"),
    Case(testDescription: "for a host below ours", names: "subjectAltName=DNS:x.localhost"),
    Case(testDescription: "for a wildcard that would have to match a whole name", names: "subjectAltName=DNS:*"),
    Case(testDescription: "for a name, called by address", host: "127.0.0.1"),
    Case(testDescription: "expired", days: -1),
    // The name `localhost`, NUL, `.evil.example`: cut at the NUL it would be ours (CVE-2026-47778).
    Case(
      testDescription: "with a NUL in its name",
      names: "subjectAltName=DER:30198217" + "6c6f63616c686f7374" + "00" + "2e6576696c2e6578616d706c65"),
    Case(testDescription: "right, by a server that speaks TLS 1.1 alone", server: ["-tls1_1", "-cipher", "DEFAULT@SECLEVEL=0"]),
  ]

  private func openssl(_ arguments: [String]) async throws {
    let child = try ChildProcess("openssl", arguments, log: "openssl")
    let exit = try await child.waitForExit()
    guard exit == .code(0) else { throw WaitFailure("openssl \(arguments.first ?? "")", within: .zero, seen: child.outputTail) }
  }

  /// Why there is no answer of 200; nil when there is one.
  private func failure(_ transport: CurlTransport, _ url: String) async -> TransportError? {
    let deadline = SystemTime().monotonicNow().advanced(by: .seconds(10))
    do {
      let answer = try await transport.send(OutboundRequest(.get, url), deadline: deadline)
      return answer.status == 200 ? nil : .broken("\(answer.status.code)")
    } catch { return error }
  }

  /// A certificate that signs itself.
  private func certificate(_ name: String, _ given: Case, in folder: TestFolder) async throws {
    let extensions = folder.file(name + ".cnf")
    try Data((given.names + "\n").utf8).write(to: URL(filePath: extensions))
    try await openssl([
      "req", "-new", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-keyout", folder.file(name + ".key"), "-out",
      folder.file(name + ".csr"), "-subj", given.subject,
    ])
    try await openssl([
      "x509", "-req", "-in", folder.file(name + ".csr"), "-signkey", folder.file(name + ".key"), "-days", String(given.days), "-extfile",
      extensions, "-out", folder.file(name + ".pem"),
    ])
  }

  @Test("TLS identity: a provider whose certificate is not right in everything is never spoken to (S33)", arguments: cases)
  func identity(_ given: Case) async throws {
    let folder = try TestFolder()
    try await certificate("server", given, in: folder)
    try await certificate("other", Case(testDescription: ""), in: folder)
    let server = try ChildProcess(
      "openssl",
      ["s_server", "-accept", "127.0.0.1:0", "-cert", folder.file("server.pem"), "-key", folder.file("server.key"), "-www"] + given.server,
      log: "s_server")
    let line = try await server.line("its port") { $0.hasPrefix("ACCEPT ") }
    let port = try #require(line.split(separator: ":").last.map(String.init))
    let authorities = folder.file(given.isTrusted ? "server.pem" : "other.pem")
    let transport = try CurlTransport(CurlTransport.Configuration(authorityFile: authorities))
    let failure = await failure(transport, "https://\(given.host):\(port)/")
    var isRefused = false
    if case .tls = failure { isRefused = true }
    #expect(given.works ? failure == nil : isRefused, "\(String(describing: failure))")
    transport.stop()
    await server.terminate()
  }

  @Test(
    "TLS identity: with a caFile the system's authorities are not trusted besides, and a caFile that cannot be read trusts nobody (S33)")
  func authorities() async throws {
    let folder = try TestFolder()
    try await certificate("server", Case(testDescription: ""), in: folder)
    let server = try ChildProcess(
      "openssl", ["s_server", "-accept", "127.0.0.1:0", "-cert", folder.file("server.pem"), "-key", folder.file("server.key"), "-www"],
      log: "s_server")
    let port = try #require(try await server.line("its port") { $0.hasPrefix("ACCEPT ") }.split(separator: ":").last.map(String.init))
    try Data().write(to: URL(filePath: folder.file("empty.pem")))
    for authorities in [nil, folder.file("empty.pem"), folder.file("missing.pem")] {
      let transport = try CurlTransport(CurlTransport.Configuration(authorityFile: authorities))
      let failure = await failure(transport, "https://localhost:\(port)/")
      #expect(failure != nil && failure != .timedOut, "\(authorities ?? "the system's"): \(String(describing: failure))")
      transport.stop()
    }
    await server.terminate()
  }

  @Test("TLS identity: authorities that are trusted besides the system's are, and nobody else; a caFile stands over them (S33)")
  func extraAuthorities() async throws {
    let (authority, stranger) = (try await TestAuthority(), try await TestAuthority())
    let issued = try await authority.issue("server", names: "DNS:localhost")
    let server = try ChildProcess(
      "openssl", ["s_server", "-accept", "127.0.0.1:0", "-cert", issued.chain, "-key", issued.key, "-www"], log: "s_server")
    let port = try #require(try await server.line("its port") { $0.hasPrefix("ACCEPT ") }.split(separator: ":").last.map(String.init))
    let system = CurlTransport.systemAuthorityFile.flatMap { FileManager.default.contents(atPath: $0) }.map { [UInt8]($0) } ?? []
    #expect(!system.isEmpty)
    func file(_ authority: TestAuthority) throws -> [UInt8] { Array(try TestAuthority.text(authority.path).utf8) }
    let cases: [(file: String?, extra: [UInt8]?, works: Bool)] = try [
      (nil, system + file(authority), true), (nil, file(authority), true), (nil, system + file(stranger), false), (nil, nil, false),
      (stranger.path, system + file(authority), false), (authority.path, system, true), (nil, Array("no certificate".utf8), false),
    ]
    for (index, one) in cases.enumerated() {
      let transport = try CurlTransport(CurlTransport.Configuration(authorityFile: one.file, authorities: one.extra))
      for _ in 0..<2 {
        let failure = await failure(transport, "https://localhost:\(port)/")
        var isRefused = false
        if case .tls = failure { isRefused = true }
        #expect(one.works ? failure == nil : isRefused, "case \(index): \(String(describing: failure))")
      }
      transport.stop()
    }
    await server.terminate()
  }
}
