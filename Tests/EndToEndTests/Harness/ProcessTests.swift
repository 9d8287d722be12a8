import FoundationEssentials
import IntercomTesting
import Linux
import Testing

@Suite("Harness: child processes")
struct ProcessTests {
  @Test("both streams of a child are kept in the order of writing, and a line can be waited for")
  func lines() async throws {
    let child = try ChildProcess("sh", ["-c", "echo one; echo two >&2; printf unfinished; exec sleep 60"], log: "lines")
    #expect(try await child.line("two") { $0.hasPrefix("tw") } == "two")
    #expect(child.lines == ["one", "two"])
    #expect(child.exit == nil)
    #expect(await child.terminate() == .signal(Signal.terminate))
  }

  @Test("the exit code is reported, and a wait for a line ends with the program")
  func exitCode() async throws {
    let child = try ChildProcess("sh", ["-c", "echo last words; exit 7"])
    await #expect(throws: WaitFailure.self) { try await child.line("a line", within: .seconds(10)) { $0 == "never" } }
    #expect(try await child.waitForExit() == .code(7))
    #expect(child.outputTail.contains("last words"))
  }

  @Test("a child that ignores SIGTERM is killed, and its own children with it")
  func stubborn() async throws {
    let child = try ChildProcess("sh", ["-c", "trap '' TERM; sleep 61 & echo $!; while :; do sleep 1; done"])
    let grandchild = try await child.line("the grandchild's id") { Int($0) != nil }
    #expect(await child.terminate(grace: .milliseconds(100)) == .signal(Signal.kill))
    try await waitUntilTrue("the end of the grandchild") {
      let status = (try? String(contentsOfFile: "/proc/\(grandchild)/stat", encoding: .utf8)) ?? ""
      return status.isEmpty || status.contains(") Z ")
    }
  }

  @Test("a child inherits no descriptor, and its environment can be added to and removed from")
  func isolation() async throws {
    let child = try ChildProcess(
      "sh", ["-c", "ls /proc/self/fd | wc -l; echo $GREETING; echo ${HOME-unset}"], environment: ["GREETING": "hello", "HOME": nil])
    _ = try await child.waitForExit()
    // 0, 1, 2 and the one by which ls reads the folder.
    #expect(child.lines.map { $0.split(separator: " ").joined() } == ["4", "hello", "unset"])
  }

  @Test("a program that does not exist is an error that names it")
  func missing() {
    #expect(throws: SpawnError.self) { try ChildProcess("/nonexistent/program") }
  }

  @Test("a free port refuses connections, and refused connections leave no descriptor behind")
  func freePort() async throws {
    let port = try FreePort.next()
    let before = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count
    for _ in 0..<50 {
      await #expect(throws: RawHTTPError.self) { try await RawHTTPClient().get("http://127.0.0.1:\(port)/") }
    }
    let after = try FileManager.default.contentsOfDirectory(atPath: "/proc/self/fd").count
    #expect(after < before + 40)
  }
}

@Suite("Harness: the test client")
struct RawClientTests {
  /// Answers each connection with the same bytes after it has read a head, and closes.
  private func server(_ answer: String) async throws -> (ChildProcess, Int) {
    let port = try FreePort.next()
    let script = """
      use IO::Socket::INET; $|=1;
      my $l = IO::Socket::INET->new(LocalAddr=>"127.0.0.1", LocalPort=>$ARGV[0], Listen=>9, ReuseAddr=>1) or die;
      print "ready\\n";
      while (my $c = $l->accept) { while (<$c>) { last if $_ eq "\\r\\n"; print $_; } print $c $ARGV[1]; close $c; }
      """
    let child = try ChildProcess("perl", ["-e", script, "\(port)", answer], log: "canned")
    _ = try await child.line("ready") { $0 == "ready" }
    return (child, port)
  }

  @Test("a chunked answer with trailers and an interim answer is read as it came")
  func chunked() async throws {
    let (child, port) = try await server(
      "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 200 Fine\r\nTransfer-Encoding: chunked\r\nA: 1\r\nA: 2\r\n\r\n"
        + "3;x=y\r\nabc\r\n2\r\nde\r\n0\r\nT: end\r\n\r\n")
    let answer = try await RawHTTPClient().get("http://mail.intercom.localhost:\(port)/a?b#c", ["X-Test": "yes"])
    #expect(answer.status == 200)
    #expect(answer.reason == "Fine")
    #expect(answer.interim == [103])
    #expect(answer.text == "abcde")
    #expect(answer.all("a") == ["1", "2"])
    #expect(answer.field("a") == nil)
    #expect(answer.trailers.single("t") == "end")
    _ = try await child.line("the request") { $0.hasPrefix("GET /a?b HTTP/1.1") }
    _ = try await child.line("the host") { $0.hasPrefix("Host: mail.intercom.localhost:\(port)") }
    _ = try await child.line("the field") { $0.hasPrefix("X-Test: yes") }
  }

  @Test("a relay passes, refuses and falls silent as told, and comes back")
  func relay() async throws {
    let (child, port) = try await server("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
    let relay = try TCPRelay(to: port)
    let client = RawHTTPClient(timeout: .milliseconds(500))
    #expect(try await client.get("http://127.0.0.1:\(relay.port)/").text == "ok")
    for mode in [TCPRelay.Mode.refuses, .silent] {
      relay.become(mode)
      await #expect(throws: RawHTTPError.self) { try await client.get("http://127.0.0.1:\(relay.port)/") }
    }
    relay.become(.passes)
    #expect(try await client.get("http://127.0.0.1:\(relay.port)/").text == "ok")
    #expect(relay.connections == 4)
    withExtendedLifetime(child) {}
  }

  @Test("an answer that breaks off is an error, never a short body")
  func brokenOff() async throws {
    let (child, port) = try await server("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nshort")
    await #expect(throws: RawHTTPError.self) { try await RawHTTPClient().get("http://127.0.0.1:\(port)/") }
    withExtendedLifetime(child) {}
  }

  @Test(
    "references resolve as a browser resolves them",
    arguments: [
      ("/x", "http://a.localhost:1/x"), ("?q=1", "http://a.localhost:1/dir/page?q=1"), ("other", "http://a.localhost:1/dir/other"),
      ("http://b.localhost:2", "http://b.localhost:2/"), ("//c.localhost/z", "http://c.localhost/z"),
    ])
  func resolving(reference: String, expected: String) throws {
    #expect(try LoopbackURL("http://a.localhost:1/dir/page?old#f").resolve(reference).description == expected)
  }

  @Test("cookies go to their host, path and domain only, and an expired one is forgotten")
  func cookies() throws {
    let mail = try LoopbackURL("http://mail.intercom.localhost:8008/app/x")
    let files = try LoopbackURL("http://files.intercom.localhost:8008/")
    var jar = CookieJar()
    jar.store("own=1; HttpOnly; SameSite=Lax", from: mail)
    jar.store("deep=2; Path=/app", from: mail)
    jar.store("shared=3; Domain=intercom.localhost; Secure", from: mail)
    #expect(jar.header(for: mail) == "deep=2; own=1; shared=3")
    #expect(jar.header(for: files) == "shared=3")
    #expect(jar.header(for: try LoopbackURL("http://mail.intercom.localhost/application")) == "own=1; shared=3")
    #expect(jar["own"]?.attributes == ["httponly", "samesite=lax"])
    jar.store("own=; Max-Age=0", from: mail)
    #expect(jar["own"] == nil)
  }

  @Test("a sign-in form gives its action and hidden fields decoded")
  func form() throws {
    let page = """
      <html><form id="other"></form><form id="login" onsubmit="x" action="/auth?a=1&amp;b=2" method="post">
      <input type="hidden" name="state" value="a&quot;b"> <input name="username"><input type="hidden" name="empty">
      </form><input type="hidden" name="outside" value="no"></html>
      """
    let form = try #require(HTMLForm(in: page))
    #expect(form.action == "/auth?a=1&b=2")
    #expect(form.hidden.map(\.0) == ["state", "empty"])
    #expect(form.hidden.map(\.1) == ["a\"b", ""])
  }

  @Test("form text survives a round trip", arguments: ["", "a b&c=d", "ö€\"%+/", "\u{0}\r\n"])
  func formText(value: String) {
    let text = FormText.encode([("k", "first"), ("ä", value)])
    #expect(FormText.value("ä", in: text) == value)
    #expect(FormText.value("missing", in: text) == nil)
  }
}
