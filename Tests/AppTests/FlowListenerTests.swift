import IntercomCore
import IntercomTesting
import OpenSSL
import Testing

@testable import IntercomApp

/// Listeners with TLS, from the configuration file to the answer of a backend; clients are curl and openssl.
@Suite("Flow: listeners with TLS", .serialized, .timeLimit(.minutes(3)))
struct FlowListenerTests {
  /// Two names and the keys that `tls` may have besides.
  private static func text(_ authority: TestAuthority, listen: String = "", more: String = "") async throws -> String {
    let main = try await authority.issue("main", names: "DNS:localhost")
    let files = try await authority.issue("files", names: "DNS:files.example")
    return """
      listen: {address: 127.0.0.1:0, tls: true\(listen)}
      tls:
        certificates:
          main: {chain: \(main.chain), key: \(main.key)}
          files: {chain: \(files.chain), key: \(files.key)}
      \(more.isEmpty ? "" : "  " + more)
      """
  }

  @Test("Requests over TLS reach the backend by HTTP/2 and by HTTP/1.1, as the client offers; each name has its certificate")
  func namesAndProtocols() async throws {
    let authority = try await TestAuthority()
    try await ServedFile.run(Self.text(authority)) { (served: ServedFile) async throws -> Void in
      for (option, version) in [("--http2", "2"), ("--http1.1", "1.1")] {
        #expect(try await served.curl(authority, "/pub/x", [option]) == "hello\n200 \(version)\n")
        #expect(try await served.curl(authority, "/x", [option], host: "files.example") == "hello\n200 \(version)\n")
        #expect(try await served.curl(authority, "/own/x", [option]).contains("401 \(version)"))
        #expect(try await served.curl(authority, "/pub/x", [option, "--data", "sent"]) == "sent\n200 \(version)\n")
      }
      #expect(try await served.curl(authority, "/x", host: "other.example").contains("curl: (60)"))
      #expect(try await served.curl(authority, "/pub/x", ["--no-alpn"]) == "hello\n200 1.1\n")
      let seen = served.upstream.requests
      #expect(seen.count == 7 && seen.allSatisfy { $0.field("x-forwarded-proto") == "https" }, "\(seen.map(\.text))")
    }
  }

  @Test("Without http2 only HTTP/1.1 is agreed upon, and a client that insists on HTTP/2 is refused")
  func onlyOldProtocol() async throws {
    let authority = try await TestAuthority()
    try await ServedFile.run(Self.text(authority, more: "http2: false")) { (served: ServedFile) async throws -> Void in
      #expect(try await served.curl(authority, "/pub/x", ["--http2"]) == "hello\n200 1.1\n")
      #expect(try await served.client("-alpn h2").contains("no application protocol"))
    }
  }

  @Test("TLS 1.0 and 1.1 are refused, nothing is compressed or renegotiated, and the least version can be raised (fault 58)")
  func versions() async throws {
    let authority = try await TestAuthority()
    let weak = "-cipher ALL:@SECLEVEL=0 -CAfile \(authority.path) -verify_return_error"
    try await ServedFile.run(Self.text(authority)) { (served: ServedFile) async throws -> Void in
      for old in ["-tls1", "-tls1_1"] {
        let said = try await served.client("\(old) \(weak)")
        #expect(said.contains("alert protocol version") && said.contains("Cipher is (NONE)"), "\(old): \(said)")
      }
      let said = try await served.client("-tls1_2 -comp \(weak)", input: "R\\n")
      #expect(said.contains("Verification: OK") && said.contains("Compression: NONE"), "\(said)")
      #expect(said.contains("RENEGOTIATING") && said.contains("no renegotiation"), "\(said)")
      for legacy in ["AES128-SHA", "AES256-GCM-SHA384", "ECDHE-ECDSA-AES128-SHA"] {
        let said = try await served.client("-tls1_2 -CAfile \(authority.path) -cipher \(legacy):@SECLEVEL=0")
        #expect(said.contains("alert handshake failure"), "\(legacy): \(said)")
      }
      #expect(try await served.curl(authority, "/pub/x", ["--tls-max", "1.2"]).contains("hello\n200"))
    }
    try await ServedFile.run(Self.text(authority, more: "minimumVersion: 1.3")) { (served: ServedFile) async throws -> Void in
      #expect(try await served.client("-tls1_2 \(weak)").contains("alert protocol version"))
      #expect(try await served.curl(authority, "/pub/x").contains("hello\n200"))
    }
  }

  @Test(
    "Client certificates are asked for where a listener says so: none, optional or required (S33)",
    arguments: ["none", "optional", "required"])
  func clientCertificates(_ mode: String) async throws {
    let (authority, stranger) = (try await TestAuthority(), try await TestAuthority())
    let own = try await authority.issue("client", names: "DNS:client")
    let strange = try await stranger.issue("client", names: "DNS:client")
    let text = try await Self.text(authority, listen: ", clientCertificates: \(mode)", more: "clientAuthorities: \(authority.path)")
    try await ServedFile.run(text) { (served: ServedFile) async throws -> Void in
      let bare = try await served.curl(authority, "/pub/x")
      #expect(bare.contains("hello\n200") == (mode != "required"))
      // It is told why, though its request was on the way already.
      #expect(mode != "required" || bare.contains("alert certificate required"), "\(bare)")
      #expect(try await served.curl(authority, "/pub/x", ["--cert", own.chain, "--key", own.key]).contains("hello\n200"))
      let wrong = try await served.curl(authority, "/pub/x", ["--cert", strange.chain, "--key", strange.key])
      #expect(wrong.contains("hello") == (mode == "none"), "\(wrong)")
      // It opens the connection and is nobody's session.
      #expect(try await served.curl(authority, "/own/x", ["--cert", own.chain, "--key", own.key]).contains("401"))
    }
  }

  @Test("Openings of connections are counted by how they end and what is spoken, and each certificate's end is shown")
  func metrics() async throws {
    let authority = try await TestAuthority()
    let text = try await Self.text(authority, listen: ", clientCertificates: required", more: "clientAuthorities: \(authority.path)")
    let own = try await authority.issue("client", names: "DNS:client")
    try await ServedFile.run(text) { (served: ServedFile) async throws -> Void in
      let identity = ["--cert", own.chain, "--key", own.key]
      #expect(try await served.curl(authority, "/pub/x", identity + ["--http2"]).contains("200 2"))
      #expect(try await served.curl(authority, "/pub/x", identity + ["--http1.1"]).contains("200 1.1"))
      #expect(try await served.curl(authority, "/pub/x", identity + ["--http1.1"]).contains("200 1.1"))
      #expect(try await served.curl(authority, "/pub/x").contains("curl: ("))
      #expect(try await served.curl(nil, "/pub/x").contains("curl: ("))
      let port = served.ports[0]
      try await onThread { try RawSocket(port: port).close() }
      let expected = ["done": 3.0, "certificate": 1, "incompatible": 1, "ended": 1, "timed_out": 0]
      let wanted = Dictionary(uniqueKeysWithValues: expected.map { ("{result=\"\($0.key)\"}", $0.value) })
      let isRight = await eventually { (try? await served.series("tls_handshakes_total")) == wanted }
      let counted = try await served.series("tls_handshakes_total")
      #expect(isRight, "\(counted)")
      #expect(try await served.series("client_connections_total") == ["{protocol=\"http/1.1\"}": 2, "{protocol=\"h2\"}": 1])
      let ends = try await served.series("certificate_expiry_timestamp_seconds")
      let now = Double(SystemTime().wallNow().seconds)
      #expect(ends.keys.sorted() == ["{certificate=\"files\"}", "{certificate=\"main\"}"])
      #expect(ends.values.allSatisfy { $0 > now + 86_400 && $0 < now + 3 * 86_400 }, "\(ends)")
      #expect(served.sink.lines.contains { $0.contains("tls_refused") && $0.contains("none was shown") && $0.contains("127.0.0.1") })
    }
  }

  @Test("A person signs in over HTTPS by HTTP/2, and the backend gets the session's token; the cookie is Secure and of this host alone")
  func signIn() async throws {
    let authority = try await TestAuthority()
    let jar = try TestFolder()
    var options = FlowFixture.Options()
    options.tls = try TLSContext(
      server: [try await authority.identity("main", names: "DNS:intercom.localhost")], protocols: [.http2, .http11])
    try await FlowFixture.run(options) { flow in
      /// Head and body of the answer.
      func ask(_ url: String, _ more: [String] = []) async throws -> String {
        let child = try ChildProcess(
          "curl",
          [
            "-sS", "-i", "--http2", "--max-time", "20", "--cacert", authority.path, "-b", jar.file("jar"), "-c", jar.file("jar"), "-H",
            "Accept: text/html", "-H", "Sec-Fetch-Mode: navigate", "-H", "Sec-Fetch-Dest: document", url,
          ] + more, log: "curl")
        _ = try await child.waitForExit(within: .seconds(30))
        return child.output.replacing("\r\n", with: "\n")
      }
      func location(_ answer: String) throws -> String {
        let line = answer.split(separator: "\n").first { $0.lowercased().hasPrefix("location: ") }
        return try String(#require(line, "\(answer)").dropFirst("location: ".count))
      }
      let begun = try await ask(flow.base + "/login")
      #expect(begun.hasPrefix("HTTP/2 302"), "\(begun)")
      let page = try location(begun)
      let form = try #require(HTMLForm(in: try await ask(page)))
      let fields = FormText.encode(form.hidden + [("username", "alice"), ("password", FlowFixture.password)])
      let action = try LoopbackURL(page).resolve(form.action)
      let back = try await ask("\(flow.issuer)\(action.target)", ["--data", fields])
      let callback = try location(back)
      #expect(callback.hasPrefix(flow.base + "/callback?"), "\(callback)")
      let signedIn = try await ask(callback)
      #expect(signedIn.hasPrefix("HTTP/2 302"), "\(signedIn)")
      let cookie = try #require(signedIn.split(separator: "\n").first { $0.lowercased().hasPrefix("set-cookie: __host-intercom=") })
      #expect(cookie.contains("; Secure") && cookie.contains("; HttpOnly") && cookie.contains("; Path=/") && !cookie.contains("Domain"))
      let answer = try await ask(flow.base + "/own/x")
      #expect(answer.hasPrefix("HTTP/2 200") && answer.hasSuffix("\n\nhello"), "\(answer)")
      let seen = try #require(flow.upstream.requests.last)
      #expect(seen.field("authorization")?.hasPrefix("Bearer ey") == true && seen.field("cookie") == nil)
      #expect(seen.field("x-forwarded-proto") == "https")
    }
  }
}
