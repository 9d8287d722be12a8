import FoundationEssentials
import IntercomCore
import IntercomTesting
import Linux
import StrictJSON
import Testing

/// WebSockets through the program as it is built.
@Suite("Tunnels through the program", .serialized, .timeLimit(.minutes(5)))
struct TunnelProcessTests {
  /// `intercom serve` with the public route `/live` to an echo of WebSockets.
  private func run(
    _ port: Int? = nil, isSecure: Bool = false, _ settings: String = "", _ story: (IntercomProcess, WebSocketEcho) async throws -> Void
  ) async throws {
    let port = try port ?? FreePort.next()
    let echo = try await WebSocketEcho.start()
    let upstream = "upstream: \"http://127.0.0.1:\(echo.port)\", credential: none, public: true"
    let configuration = """
      baseURL: http\(isSecure ? "s" : "")://intercom.localhost:\(port)
      provider: {issuer: "http://127.0.0.1:1", clientID: intercom, clientSecret: not-so-secret}
      sessions: {store: memory}
      routes:
        live: {path: /live, \(upstream), upgrades: [websocket]}
        page: {path: /page, \(upstream)}
      \(settings)

      """
    let intercom = try await IntercomProcess.serve(configuration, port: port, isSecure: isSecure, untilReady: false)
    try await intercom.tell {
      let health = "http://127.0.0.1:\(intercom.adminPort)/livez"
      try await waitUntilTrue("an answer of intercom", within: .seconds(30)) {
        (try? await RawHTTPClient().get(health).status) == 200
      }
      try await story(intercom, echo)
    }
    let exit = await intercom.child.terminate(grace: .seconds(20))
    guard exit == .code(0) else { throw WaitFailure("intercom ended with \(exit)", within: .zero, seen: intercom.child.outputTail) }
    await echo.stop()
  }

  private static func open(_ port: Int) throws -> WebSocketClient {
    let client = WebSocketClient(try RawSocket(port: UInt16(port), timeOut: .seconds(60)))
    let answer = try client.open("/live/x", host: "intercom.localhost:\(port)")
    guard answer.status == 101 else { throw RawSocketError.ended("\(answer)") }
    return client
  }

  @Test("a long echo through a tunnel leaves memory as it was, also when the client reads late")
  func flat() async throws {
    let size = Rounds.count(64, full: 1024) << 20
    try await run { intercom, _ in
      let port = intercom.port
      // What the first tunnel needs is there.
      _ = try await onThread { try Self.open(port).echoes("hello") }
      let time = SystemTime()
      let (began, used) = (time.monotonicNow(), intercom.child.processorTime)
      let growth = try await intercom.child.growth {
        let socket = try await onThread { try Self.open(port).socket }
        let sending = Task {
          try await onThread {
            try socket.send(bytes: WebSocketFrames.header(first: 0x82, length: size, mask: [0, 0, 0, 0]))
            let piece = [UInt8](repeating: 0x5a, count: 1 << 20)
            for _ in 0..<size >> 20 { try socket.send(bytes: piece) }
          }
        }
        try await onThread {
          pauseThread(milliseconds: 500)
          var left = size + 10
          while left > 0 {
            let count = try socket.receive(max: 1 << 20).count
            guard count > 0 else { throw RawSocketError.ended("\(left) bytes before the end") }
            left -= count
          }
        }
        try await sending.value
      }
      #expect(growth < 8 << 10, "grew by \(growth) KiB")
      try Rounds.keep(
        "issue 7: \(size >> 20) MiB echoed through a tunnel: \(growth) KiB more memory, \(intercom.child.processorTime - used) of CPU, "
          + "\(began.duration(to: time.monotonicNow()))")
    }
  }

  @Test("SIGTERM closes tunnels that are alone, at once")
  func drain() async throws {
    try await run { intercom, echo in
      let client = try await onThread { try Self.open(intercom.port) }
      #expect(echo.open == 1)
      await intercom.child.terminate(grace: .seconds(20))
      try await onThread { try client.socket.expectEnd() }
    }
  }

  @Test("Chromium opens a WebSocket over TLS, and over the HTTP/2 of its page (RFC 8441)", .needs(.chromium))
  func chromium() async throws {
    let (authority, port) = (try await TestAuthority(), try FreePort.next())
    let issued = try await authority.issue("main", names: "DNS:intercom.localhost")
    let settings = "tls: {certificates: {main: {chain: \(issued.chain), key: \(issued.key)}}}"
    try await run(port, isSecure: true, settings) { _, echo in
      let browser = try await Chromium.start(pictures: "tunnel", arguments: ["--ignore-certificate-errors"])
      try await browser.keepingPictures { browser in
        try await browser.open("https://intercom.localhost:\(port)/page")
        #expect(try await browser.source.contains("hello"))
        let script = """
          return await new Promise((resolve, reject) => {
            const socket = new WebSocket(given[0]);
            const seen = [];
            socket.onopen = () => { socket.send("one"); socket.send("x".repeat(300000)); };
            socket.onmessage = message => {
              seen.push(message.data.length);
              if (seen.length == 2) { socket.close(1000); }
            };
            socket.onclose = end => resolve({seen: seen.join(), code: end.code});
            socket.onerror = () => reject(new Error("no WebSocket"));
          });
          """
        let answer = try await browser.runAsync(script, [.string("wss://intercom.localhost:\(port)/live/x")])
        #expect(answer.object?["seen"]?.string == "3,300000" && answer.object?["code"]?.int64 == 1000, "\(answer)")
      }
      await browser.quit()
      // Names of fields are in small letters over HTTP/2 only.
      let head = try #require(echo.heads.last { $0.contains("/live/x") })
      #expect(head.contains("\r\nsec-websocket-version: 13\r\n"), "\(head)")
      #expect(head.contains("\r\norigin: https://intercom.localhost:\(port)\r\n"))
    }
  }
}
