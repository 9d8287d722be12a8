import HTTPMessage
import IntercomCore
import IntercomTesting
import Linux
import Testing

/// SIGTERM, as a service manager sends it to a program that is at work.
@Suite("Drain", .serialized, .timeLimit(.minutes(5)))
struct DrainTests {
  /// Routes to an upstream that answers `/slow` after a second, `/never` never, and others at once.
  private func run(
    drain: String, secure port: Int? = nil, _ certificates: String = "", _ story: (IntercomProcess, RawServer) async throws -> Void
  ) async throws {
    let upstream = try RawServer { socket, _ in
      while true {
        let head = try socket.receive(until: "\r\n\r\n")
        if head.contains("/slow ") { pauseThread(milliseconds: 1000) }
        if head.contains("/never ") { pauseThread(milliseconds: 60_000) }
        try socket.send("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok")
      }
    }
    defer { upstream.stop() }
    let intercom = try await IntercomProcess.serve(
      """
      baseURL: http://intercom.localhost
      provider: {issuer: "http://127.0.0.1:1", clientID: intercom, clientSecret: not-so-secret}
      sessions: {store: memory}
      timeouts: {drain: \(drain)}
      routes:
        open: {path: /open, upstream: "http://127.0.0.1:\(upstream.port)", credential: none, public: true}
      \(certificates)

      """, listeners: port.map { ", {address: \"127.0.0.1:\($0)\", tls: true}" } ?? "", untilReady: false)
    try await waitUntilTrue("an answer of the upstream", within: .seconds(30)) { (try? await Self.ask(intercom.port)) == 200 }
    try await story(intercom, upstream)
  }

  private static func ask(_ port: Int, _ target: String = "/open/x") async throws -> Int {
    try await RawHTTPClient(timeout: .seconds(20)).get("http://127.0.0.1:\(port)\(target)").status
  }

  private static func get(_ target: String) -> String { "GET \(target) HTTP/1.1\r\nHost: intercom.localhost\r\n\r\n" }

  @Test("What is under way is finished and told to close, nobody new gets in, and the end is code 0")
  func finishes() async throws {
    try await run(drain: "20s") { intercom, _ in
      let port = UInt16(intercom.port)
      let idle = try await onThread { () -> RawSocket in
        let socket = try RawSocket(port: port)
        try socket.send(Self.get("/open/x"))
        _ = try socket.readResponse()
        return socket
      }
      let slow = try await onThread { () -> RawSocket in
        let socket = try RawSocket(port: port)
        try socket.send(Self.get("/open/slow"))
        return socket
      }
      // It has reached the upstream, or will.
      try await SystemTime().sleep(for: .milliseconds(200))
      intercom.child.send(Signal.terminate)
      _ = try await intercom.child.line("that it drains") { $0.contains("\"draining\"") }
      try await waitUntilTrue("closed listeners", within: .seconds(10)) {
        (try? await onThread { _ = try RawSocket(port: port).receive() }) == nil
      }
      let answer = try await onThread { try slow.readResponse() }
      #expect(answer.status == 200 && answer.text == "ok" && answer.field("Connection") == "close")
      try await onThread {
        try slow.expectEnd()
        try idle.expectEnd()
      }
      #expect(try await intercom.child.waitForExit() == .code(0))
      #expect(intercom.child.output.contains("Everything was finished"))
    }
  }

  @Test(
    "Clients that come while it ends are answered or refused, never answered by half: connections in the kernel's queue are taken first")
  func underLoad() async throws {
    for _ in 0..<Rounds.count(2, full: 20) {
      try await run(drain: "20s") { intercom, _ in
        let (port, isOver) = (UInt16(intercom.port), Monitor(false))
        let clients = (0..<8).map { _ in
          Task { () -> (answered: Int, broken: Int) in
            var (answered, broken) = (0, 0)
            while !isOver.withLock({ $0 }) {
              let outcome = try? await onThread { () -> Bool? in
                // Refused: it has ended.
                guard let socket = try? RawSocket(port: port) else { return nil }
                do { try socket.send(Self.get("/open/x")) } catch { return nil }
                do { return try socket.readResponse().status == 200 } catch RawSocketError.ended(let seen) where seen.isEmpty {
                  return false
                }
              }
              if outcome == true {
                answered += 1
              } else if outcome == false {
                broken += 1
              } else if outcome == nil {
                try? await SystemTime().sleep(for: .milliseconds(2))
              }
            }
            return (answered, broken)
          }
        }
        try await SystemTime().sleep(for: .milliseconds(300))
        intercom.child.send(Signal.terminate)
        #expect(try await intercom.child.waitForExit() == .code(0), "\(intercom.child.outputTail)")
        isOver.withLock { $0 = true }
        var (answered, broken) = (0, 0)
        for client in clients {
          let counts = await client.value
          answered += counts.answered
          broken += counts.broken
        }
        #expect(answered > 20 && broken == 0, "\(answered) answered, \(broken) broken")
      }
    }
  }

  @Test("What is not finished in time is cut off, which the log and the exit code say; a second signal does not wait")
  func cutsOff() async throws {
    for isImpatient in [false, true] {
      try await run(drain: isImpatient ? "60s" : "1s") { intercom, _ in
        let port = UInt16(intercom.port)
        let stuck = try await onThread { () -> RawSocket in
          let socket = try RawSocket(port: port, timeOut: .seconds(30))
          try socket.send(Self.get("/open/never"))
          return socket
        }
        try await SystemTime().sleep(for: .milliseconds(200))
        intercom.child.send(Signal.terminate)
        _ = try await intercom.child.line("that it drains") { $0.contains("\"draining\"") }
        if isImpatient { intercom.child.send(Signal.terminate) }
        #expect(try await intercom.child.waitForExit(within: .seconds(20)) == .code(1))
        #expect(intercom.child.output.contains("the rest was cut off"))
        #expect(intercom.child.output.contains("\"ending_now\"") == isImpatient)
        try await onThread { try stuck.expectEnd() }
      }
    }
  }

  @Test("A client that has connected when the signal comes is still answered, once, also when it has yet to agree upon TLS")
  func connected() async throws {
    let authority = try await TestAuthority()
    let issued = try await authority.issue("main", names: "DNS:localhost", days: 90)
    let secure = try FreePort.next()
    let certificates = "tls: {certificates: {main: {chain: \(issued.chain), key: \(issued.key)}}}"
    try await run(drain: "20s", secure: secure, certificates) { intercom, _ in
      let trusted = try authority.certificates()
      let (plain, ended) = try await onThread { () -> (String, Int) in
        let socket = try RawSocket(port: UInt16(intercom.port))
        let pause = {
          intercom.child.send(Signal.terminate)
          while !intercom.child.output.contains("\"draining\"") { pauseThread(milliseconds: 5) }
        }
        guard let peer = try TLSPeer(port: UInt16(secure), host: "localhost", trusted, pause: pause) else { return ("no TLS", 0) }
        try peer.send(Self.get("/open/x"))
        let head = try peer.receive(until: "\r\n\r\nok")
        #expect(head.hasPrefix("HTTP/1.1 200") && head.contains("Connection: close"), "\(head)")
        try socket.send(Self.get("/open/x"))
        let answer = try socket.readResponse()
        return ("\(answer.status) \(answer.field("Connection") ?? "")", peer.receiveEnd())
      }
      // The end by TLS is told in order.
      #expect(plain == "200 close" && ended == 0)
      #expect(try await intercom.child.waitForExit() == .code(0))
    }
  }
}
