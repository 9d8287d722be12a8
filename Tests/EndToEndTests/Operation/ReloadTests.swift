import IntercomCore
import IntercomTesting
import Linux
import Testing

/// SIGHUP, as an operator sends it to a program that is at work.
@Suite("Reload", .serialized, .timeLimit(.minutes(10)))
struct ReloadTests {
  /// What clients saw.
  private final class Seen: Sendable {
    private let state = Monitor<(answers: Int, failures: [String], isOver: Bool)>((0, [], false))
    var answers: Int { state.withLock { $0.answers } }
    var failures: [String] { state.withLock { $0.failures } }
    var isOver: Bool { state.withLock { $0.isOver } }
    func end() { state.withLock { $0.isOver = true } }
    func note(_ status: Int, _ who: String) {
      state.withLock { state in
        if status == 200 { state.answers += 1 } else { state.failures.append("\(who): \(status)") }
      }
    }
    func fail(_ error: any Error, _ who: String) { state.withLock { $0.failures.append("\(who): \(error)") } }
  }

  private static func request(_ target: String, _ port: Int, _ cookie: String) -> String {
    "GET \(target) HTTP/1.1\r\nHost: intercom.localhost:\(port)\r\nCookie: intercom=\(cookie)\r\nSec-Fetch-Site: same-origin\r\n\r\n"
  }

  private static let targets = ["/plain/x", "/own/x", "/fs/x", "/tls/x"]

  /// One connection for all requests.
  private func keptConnection(_ place: ReloadWorkplace, _ cookie: String, _ seen: Seen) -> Task<Void, Never> {
    let port = place.intercom.port
    return Task {
      do {
        try await onThread {
          let socket = try RawSocket(port: UInt16(port), timeOut: .seconds(20))
          while !seen.isOver {
            for target in Self.targets {
              try socket.send(Self.request(target, port, cookie))
              seen.note(try socket.readResponse().status, target)
            }
          }
        }
      } catch { seen.fail(error, "kept") }
    }
  }

  /// The same by TLS: the certificate with which it began stays its own.
  private func keptByTLS(_ place: ReloadWorkplace, _ cookie: String, _ seen: Seen) -> Task<Void, Never> {
    let (port, authority) = (place.tlsPort, place.authorities[0])
    return Task {
      do {
        let certificates = try authority.certificates()
        try await onThread {
          guard let peer = try TLSPeer(port: UInt16(port), host: "localhost", certificates) else { throw RawSocketError.broken }
          while !seen.isOver {
            for target in Self.targets {
              try peer.send(Self.request(target, port, cookie))
              let head = try peer.receive(until: "\r\n\r\n")
              seen.note(Int(head.split(separator: " ").dropFirst().first ?? "") ?? 0, "TLS \(target)")
              if let length = head.split(separator: "Content-Length: ").dropFirst().first?.prefix(while: \.isNumber),
                let count = Int(length)
              {
                _ = try peer.receive(exactly: count)
              }
            }
          }
        }
      } catch { seen.fail(error, "kept by TLS") }
    }
  }

  /// A connection for each request.
  private func newConnections(_ place: ReloadWorkplace, _ cookie: String, _ seen: Seen) -> Task<Void, Never> {
    Task {
      while !seen.isOver {
        for target in Self.targets {
          do { seen.note(try await place.status(cookie, target), "new \(target)") } catch { seen.fail(error, "new \(target)") }
        }
      }
    }
  }

  /// Connections of HTTP/2, each with a hundred requests.
  private func streams(_ place: ReloadWorkplace, _ cookie: String, _ seen: Seen) -> Task<Void, Never> {
    Task {
      while !seen.isOver {
        do {
          let curl = try ChildProcess(
            "curl",
            [
              "-sSk", "--http2", "--max-time", "60", "-b", "intercom=\(cookie)", "-H", "Sec-Fetch-Site: same-origin", "-w",
              "\nstatus=%{http_code}/%{http_version}\n", "https://localhost:\(place.tlsPort)/plain/[1-100]",
            ], log: "curl")
          _ = try await curl.waitForExit(within: .seconds(90))
          let lines = curl.lines.filter { $0.hasPrefix("status=") }
          for line in lines { seen.note(line == "status=200/2" ? 200 : 0, "HTTP/2 \(line)") }
          if lines.count != 100 { seen.fail(WaitFailure("\(lines.count) answers", within: .zero, seen: curl.outputTail), "HTTP/2") }
        } catch { seen.fail(error, "HTTP/2") }
      }
    }
  }

  @Test("A hundred reloads under load, some of faulty files, cost no request, no session and no connection (fault 55)")
  func underLoad() async throws {
    try await ReloadWorkplace.run { place in
      let cookie = try await place.lasting.cookie(of: try await place.lasting.signedIn())
      let seen = Seen()
      let clients = [
        keptConnection(place, cookie, seen), keptByTLS(place, cookie, seen), newConnections(place, cookie, seen),
        streams(place, cookie, seen),
      ]
      let count = Rounds.count(12, full: 100)
      var before = 0
      for round in 1...count {
        let isFaulty = round % 5 == 0
        let variant = ReloadWorkplace.Variant(hasExtraRoute: round % 2 == 1, isMoved: round % 3 == 1)
        let authority = place.authorities[round / 2 % 2]
        if !isFaulty { try await place.place(authority) }
        try place.intercom.rewrite(isFaulty ? place.text(variant) + "nonsense: true\n" : place.text(variant))
        #expect(try await place.reload() != isFaulty, "round \(round)")
        guard !isFaulty else { continue }
        #expect(try await place.status("", "/extra/x") == (variant.hasExtraRoute ? 200 : 404), "round \(round)")
        #expect(try await place.shows(authority), "round \(round)")
        if round == 3 { before = place.intercom.child.memory("VmRSS") }
      }
      seen.end()
      for client in clients { await client.value }
      #expect(seen.failures.isEmpty, "\(seen.failures.count) of \(seen.answers): \(seen.failures.prefix(5))")
      #expect(seen.answers > 20 * count)
      let growth = place.intercom.child.memory("VmRSS") - before
      #expect(growth < 16_384, "\(growth) KiB more")
      try Rounds.keep("fault 55: \(count) reloads, \(seen.answers) answers, \(seen.failures.count) failures, \(growth) KiB more")
    }
  }

  @Test("A file that cannot be used, is gone, or needs a restart changes nothing, and the log says why with every place (fault 55)")
  func refused() async throws {
    try await ReloadWorkplace.run { place in
      let visitor = try await place.lasting.signedIn()
      let cookie = try await place.lasting.cookie(of: visitor)
      let extra = ReloadWorkplace.Variant(hasExtraRoute: true)
      try place.intercom.rewrite(place.text(extra) + "nonsense: true\nlimits: {fields: 1}\n")
      #expect(try await place.reload() == false)
      let faults = place.intercom.logLines("configuration_fault")
      #expect(
        faults.count == 2 && faults.contains { $0.contains("nonsense: unknown key") } && faults.contains { $0.contains("limits.fields") })
      try place.intercom.rewrite(nil)
      #expect(try await place.reload() == false)
      #expect(place.intercom.logLines("configuration_fault").last?.contains("cannot read the file") == true)
      let restarts = place.text(extra).replacing("clientID: intercom", with: "clientID: another").replacing(
        "keys: [", with: "idle: 2h\n  keys: [")
      try place.intercom.rewrite(restarts)
      #expect(try await place.reload() == false)
      let line = try #require(place.intercom.logLines("reload_refused").last)
      #expect(line.contains("\"restart\":\"provider.clientID sessions.idle\"") && line.contains("restart to apply"), "\(line)")
      #expect(try await place.status("", "/extra/x") == 404)
      #expect(try await place.status(cookie, "/plain/x") == 200)
      #expect(try await place.intercom.metric("intercom_config_last_reload_successful") == 0)
      try place.intercom.rewrite(place.text(extra))
      #expect(try await place.reload())
      #expect(place.intercom.logLines("reloaded").last?.contains("\"changed\":\"routes.extra\"") == true)
      #expect(try await place.status("", "/extra/x") == 200)
      #expect(try await place.status(cookie, "/plain/x") == 200)
      #expect(try await place.intercom.metric("intercom_config_last_reload_successful") == 1)
    }
  }

  @Test("What changes is in force at once: upstreams, limits, origins, the log's level; many signals at once are one reading")
  func effects() async throws {
    try await ReloadWorkplace.run { place in
      let cookie = try await place.lasting.cookie(of: try await place.lasting.signedIn())
      #expect(try await place.status(cookie, "/plain/x") == 200)
      place.lasting.upstream.forget()
      let more = "limits: {target: 1KiB}\nlog: {level: trace}\n"
      try place.intercom.rewrite(place.text(ReloadWorkplace.Variant(isMoved: true, more: more)))
      for _ in 0..<100 { place.intercom.child.send(Signal.hangUp) }
      try await waitUntilTrue("the new upstream", within: .seconds(30)) {
        (try? await place.status(cookie, "/plain/x")) == 200 && !place.other.requests.isEmpty
      }
      #expect(try await place.status(cookie, "/plain/" + String(repeating: "x", count: 1100)) == 414)
      let line = try #require(place.intercom.logLines("reloaded").first)
      #expect(line.contains("\"changed\":\"routes.plain.upstream limits.target log.level\""), "\(line)")
      try await waitUntilTrue("a line of the new level", within: .seconds(20)) { place.intercom.child.output.contains("\"trace\"") }
      #expect(place.intercom.logLines("reloaded").count < 50)
      let origin = "https://new.example"
      try place.intercom.rewrite(
        place.text(ReloadWorkplace.Variant()).replacing("origins: [", with: "origins: [\"\(origin)\", "))
      place.intercom.child.send(Signal.hangUp)
      // One of the many signals may still be being dealt with.
      let client = RawHTTPClient(timeout: .seconds(20))
      try await waitUntilTrue("the new origin", within: .seconds(30)) {
        let answer = try? await client.get(place.lasting.base + "/plain/x", ["Cookie": "intercom=\(cookie)", "Origin": origin])
        return answer?.status == 200 && answer?.field("access-control-allow-origin") == origin
      }
    }
  }

  @Test("A route that takes the place of another gets its own credential, never what was made for the one before (S25)")
  func credentials() async throws {
    try await ReloadWorkplace.run { place in
      let cookie = try await place.lasting.cookie(of: try await place.lasting.signedIn())
      #expect(try await place.status(cookie, "/own/x") == 200)
      let sent = try #require(place.lasting.upstream.requests.last?.field("authorization"))
      #expect(sent.hasPrefix("Bearer "))
      // The same position and the same name, another credential.
      let text = place.text(ReloadWorkplace.Variant())
      let changed = text.replacing("credential: accessToken", with: "credential: {headers: {X-Remote-User: sub}}")
      #expect(changed != text)
      try place.intercom.rewrite(changed)
      #expect(try await place.reload())
      #expect(try await place.status(cookie, "/own/x") == 200)
      let seen = try #require(place.lasting.upstream.requests.last)
      #expect(seen.field("authorization") == nil && seen.field("x-remote-user") == "alice-id", "\(seen.text)")
    }
  }

  @Test(
    "A backend by TLS gets the exchanged token; when another authority is named, no kept connection is used any more (S33, fault 58)"
  )
  func trust() async throws {
    try await ReloadWorkplace.run { place in
      let cookie = try await place.lasting.cookie(of: try await place.lasting.signedIn())
      func ask() async throws -> HTTPAnswer {
        try await RawHTTPClient(timeout: .seconds(20)).get(
          place.lasting.base + "/tls/x", ["Cookie": "intercom=\(cookie)", "Origin": place.lasting.app])
      }
      #expect(try await ask().text == "secure")
      let text = place.text(ReloadWorkplace.Variant())
      let distrusting = text.replacing(
        "upstreamTLS: {caFile: \(place.authorities[0].path)}", with: "upstreamTLS: {caFile: \(place.authorities[1].path)}")
      #expect(distrusting != text)
      try place.intercom.rewrite(distrusting)
      #expect(try await place.reload())
      #expect(place.intercom.logLines("reloaded").last?.contains("\"changed\":\"routes.tls.upstreamTLS\"") == true)
      let refused = try await ask()
      #expect(refused.status == 502 && refused.text.contains("\"upstream_certificate\""), "\(refused.text)")
      let line = try #require(place.intercom.logLines("upstream_certificate").last)
      #expect(line.contains("unable to get local issuer certificate") && line.contains("\"name\":\"localhost\""), "\(line)")
      #expect(try await place.intercom.metrics().contains("cause=\"certificate\"} 1"))
      try place.intercom.rewrite(text)
      #expect(try await place.reload())
      #expect(try await ask().text == "secure")
    }
  }
}
