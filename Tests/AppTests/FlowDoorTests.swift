import Gateway
import HTTPMessage
import HTTPServer
import IntercomCore
import IntercomTesting
import Sessions
import Testing

@Suite("Flow: every door", .serialized)
struct FlowDoorTests {
  /// Sessions of ten minutes.
  private static var shortSessions: FlowFixture.Options {
    var options = FlowFixture.Options()
    options.deployment = { $0.sessions = SessionSettings(idle: .seconds(300), absolute: .seconds(600)) }
    return options
  }

  /// Refused here: nothing reached a backend, and no session came of it.
  private func expectShut(_ flow: FlowFixture, _ door: Door, _ cookie: String?, _ what: String) async throws {
    for method in door.methods {
      let answer = try await flow.ask(method, door.target, cookie: cookie)
      let note: Comment = "\(what): \(method) \(door) is \(answer.status)"
      switch door.kind {
      case .session:
        #expect(answer.status == 401, note)
        #expect(answer.field("content-type") == "application/problem+json" && answer.variesByOrigin, note)
      case .open:
        #expect(answer.status == 200, note)
        let seen = try #require(flow.upstream.requests.last)
        #expect(seen.field("authorization") == nil && seen.field("x-remote-user") == nil && seen.field("cookie") == nil, note)
      case .own("home"): #expect(answer.status == 200, note)
      case .own("silent"), .own("login"): #expect(answer.status == 302 && answer.field("location")?.hasPrefix(flow.issuer) == true, note)
      // From a script signing out is no click; a form's POST without a session goes home.
      case .own("logout"): #expect(answer.status == (method == "GET" ? 403 : 302), note)
      case .own("callback"): #expect(answer.status == 400, note)
      case .own("backchannel-logout"): #expect(answer.status == 415, note)
      case .own("session"): #expect(answer.status == 200 && (method == "HEAD" || answer.text.contains(#""signedIn":false"#)), note)
      case .own("uuid"): #expect(answer.status == 401, note)
      case .own(let name): Issue.record("say here what \(name) must answer to a visitor without a session")
      }
      #expect(!answer.all("set-cookie").contains { $0.hasPrefix("intercom=") && !$0.contains("Max-Age=0") }, note)
    }
    guard door.kind == .session, door.methods.contains("GET") else { return }
    let page = try await flow.ask("GET", door.target, cookie: cookie, FlowFixture.navigation)
    #expect(page.status == 302 && page.field("location")?.hasPrefix(flow.issuer) == true, "\(what): a page at \(door)")
  }

  @Test(
    "Presence is no proof: no, empty, garbage, ended, expired or foreign session opens any route by any method (S12, S35, fault 12)",
    arguments: ClientVersion.allCases)
  func noSession(_ version: ClientVersion) async throws {
    try await FlowFixture.run(over: version) { other in
      let foreign = try #require(await other.signedIn().jar["intercom"]?.value)
      try await FlowFixture.run(Self.shortSessions, over: version) { flow in
        let visitor = try await flow.signedIn()
        let ended = try #require(await visitor.jar["intercom"]?.value)
        _ = try await flow.send(visitor, "GET", "/logout", FlowFixture.navigation)
        let expired = try await flow.plantedSession()
        flow.time.advance(by: .seconds(601))
        let presented: [(String, String?)] = [
          ("no cookie", nil), ("an empty one", ""), ("true", "true"), ("garbage", "%00%0a'\"<x>{}"),
          ("well-formed garbage", .init(repeating: "A", count: 43)),
          ("a JWT", "eyJhbGciOiJub25lIn0.eyJzdWIiOiJhbGljZS1pZCJ9."), ("an ended session", ended), ("an expired session", expired),
          ("a session of another instance", foreign),
          ("a session that another key sealed", try await flow.plantedSession(keys: SystemRandom().bytes(32))),
        ]
        flow.upstream.forget()
        for (what, cookie) in presented { for door in flow.doors { try await expectShut(flow, door, cookie, what) } }
        #expect(flow.upstream.requests.allSatisfy { $0.path.hasPrefix("/public-root") })
        #expect(flow.guardedDoors.count >= 10 && flow.doors.count >= flow.guardedDoors.count + 7)
      }
    }
  }

  @Test(
    "Fail open: with the provider away and the tokens expired no route that needs one forwards anything (S12, S35, fault 15)",
    arguments: ClientVersion.allCases)
  func providerDown(_ version: ClientVersion) async throws {
    try await FlowFixture.run(over: version) { flow in
      let cookie = try #require(await flow.signedIn().jar["intercom"]?.value)
      flow.time.advance(by: .seconds(400))
      await flow.provider.goAway()
      for door in flow.guardedDoors where door.route.csrf == .anyProof {
        flow.upstream.forget()
        for method in ["GET", "DELETE", "OPTIONS", "PROPFIND"] {
          let answer = try await flow.ask(method, door.target, cookie: cookie)
          if door.needsProvider {
            #expect(answer.status == 503 && answer.field("retry-after") != nil, "\(method) \(door): \(answer.status)")
            #expect(flow.upstream.requests.isEmpty, "\(method) \(door)")
          } else {
            #expect([200, 502].contains(answer.status), "\(method) \(door) needs no provider: \(answer.status)")
          }
        }
      }
    }
  }

  @Test(
    "Fail open: with no keys of the provider nobody is signed in or out, and no route that needs the provider forwards (S12, S35)",
    arguments: ClientVersion.allCases)
  func keysDown(_ version: ClientVersion) async throws {
    try await FlowFixture.run(FlowFixture.Options(startsProvider: false), over: version) { flow in
      let keys = flow.liar.provider.urls.path(.keys)
      flow.provider.answer { $0.path == keys ? Response(503) : nil }
      try await flow.provider.start()
      try await waitUntilTrue("a second look at the keys", within: .seconds(20)) {
        flow.provider.requests.filter { $0.path == keys }.count >= 2
      }
      let cookie = try await flow.plantedSession()
      for door in flow.guardedDoors {
        #expect(try await flow.ask("GET", door.target, cookie: nil).status == 401, "\(door)")
        let answer = try await flow.ask("GET", door.target, cookie: cookie)
        if door.needsProvider, door.route.credential != .accessToken { #expect(answer.status == 503, "\(door): \(answer.status)") }
      }
      #expect(
        flow.upstream.requests.allSatisfy {
          $0.field("authorization")?.contains("planted-access-token") != true || $0.path == "/own-root/door"
        })
      #expect(try await flow.send(Visitor(), "GET", "/login", FlowFixture.navigation).status == 503)
      let token = try flow.liar.key.sign(["sub": "planted-id"], type: "logout+jwt")
      #expect(try await flow.client.post(flow.base + "/backchannel-logout", form: ["logout_token": token]).status == 503)
      #expect(try await flow.ask("GET", "/plain/x", cookie: cookie).status == 200)
    }
  }

  @Test(
    "Fail open: with the store away every route that needs a session is 503 by every method, and nothing is forwarded (S12, S35, fault 2)",
    arguments: ClientVersion.allCases)
  func storeDown(_ version: ClientVersion) async throws {
    try await FlowFixture.run(over: version) { flow in
      let cookie = try #require(await flow.signedIn().jar["intercom"]?.value)
      flow.store.fail(Set(FaultySessionStore.Operation.allCases))
      for door in flow.guardedDoors {
        for method in door.methods {
          let answer = try await flow.ask(method, door.target, cookie: cookie)
          #expect(answer.status == 503 && answer.all("set-cookie").isEmpty && answer.variesByOrigin, "\(method) \(door): \(answer.status)")
        }
      }
      #expect(flow.upstream.requests.isEmpty)
    }
  }

  @Test(
    "Identity headers on unauthenticated paths: forged ones reach no backend, by preflight, refusal, public or unknown path (S3, S6, S35)",
    arguments: ClientVersion.allCases)
  func identityHeaders(_ version: ClientVersion) async throws {
    try await FlowFixture.run(over: version) { flow in
      let cookie = try #require(await flow.signedIn().jar["intercom"]?.value)
      let forged = FlowFixture.forgedIdentity
      let preflight = [("Access-Control-Request-Method", "GET"), ("Access-Control-Request-Headers", "x-remote-user, authorization")]
      var count = 0
      for target in flow.doors.map(\.target) + ["/nowhere", "/fs", "/public", "/public/../fs/x", "/callback/x", "/silent/x", "/livez"] {
        for presented in [nil, cookie, "garbage"] {
          for (method, more) in [("GET", []), ("OPTIONS", preflight), ("OPTIONS", []), ("POST", []), ("HEAD", []), ("PROPFIND", [])] {
            for origin in [[], [("Origin", flow.app)], [("Origin", "https://evil.example")]] {
              _ = try await flow.ask(method, target, cookie: presented, origin + more + forged)
              count += 1
            }
          }
        }
      }
      let seen = flow.upstream.requests
      #expect(count > 1_000 && seen.contains { $0.path.hasPrefix("/public-root") } && seen.contains { $0.path.hasPrefix("/own-root") })
      for request in seen {
        #expect(!request.text.contains("forged"), "\(request.text)")
        #expect(request.field("x-forwarded-for") == "127.0.0.1" && request.field("x-forwarded-proto") == "http", "\(request.path)")
        let isPublic = request.path.hasPrefix("/public-root")
        #expect(!isPublic || (request.field("authorization") == nil && request.field("x-remote-user") == nil), "\(request.text)")
      }
    }
  }

  /// Ways to write a path that begins, ends or contains what is public.
  static let widened: [String] = {
    let joints = [
      "/../", "/..%2f", "/%2e%2e/", "/..;/", "/;/../", "/.%2e/", "/%2e./", "\\..\\", "/..\\", "//../", "/./../", "%2f..%2f", "/..%5c",
      "%00/../",
      "/%252e%252e/", "/x/../../", "?/../", "#/../", "/..%00/", "/..%09/", ";/", ";x=/../", "%3b/../", "%23/../", "%3f/../",
    ]
    let guarded = ["fs", "own", "basic", "headers", "plain", "nob", "fs2", "denied"]
    var all: [String] = []
    for joint in joints { for name in guarded { all.append("/public" + joint + name + "/x") } }
    for name in guarded {
      for tail in [
        "?/public", "#/public", ";/public", "?public=/public", "#?/public/", "%23/public", "%3f/public", "/..;/public", "/public",
        "/%2e%2e/public", "/x;public", "?.css", "/x.css", "/x%00.css", "#.png", "/health", "?health", "/livez", "/public/x", "%2fpublic",
      ] { all.append("/" + name + tail) }
      for front in ["/PUBLIC/../", "//public/", "/public/", "/./", "//", "/%2f", "/public;/", "/publi%63/../", "/\u{7f}public/"] {
        all.append(front + name + "/x")
      }
      all.append("http://intercom.localhost/public/../" + name + "/x")
      all.append("http://public/" + name + "/x")
    }
    return all
  }()

  @Test("Skip-auth rule widened: no query, fragment, suffix or spelling makes a guarded route public (S2, S1)")
  func widened() async throws {
    try await FlowFixture.run { flow in
      #expect(Self.widened.count >= 400)
      for target in Self.widened {
        let connection = try await RawConnection.open(port: flow.port)
        try await connection.send("GET \(target) HTTP/1.1\r\nHost: intercom.localhost\r\nOrigin: \(flow.app)\r\nConnection: close\r\n\r\n")
        let status = try await connection.answer().status
        #expect([200, 400, 401, 403, 404].contains(status), "\(target): \(status)")
      }
      for request in flow.upstream.requests {
        #expect(request.path == "/public-root" || request.path.hasPrefix("/public-root/"), "\(request.path)")
        let segments = PercentCoding.decode(Array(request.path.utf8))?.split(separator: UInt8(ascii: "/")) ?? []
        #expect(!segments.contains { $0.elementsEqual("..".utf8) || $0.starts(with: "..;".utf8) }, "\(request.path)")
        #expect(request.field("authorization") == nil)
      }
    }
  }

  @Test(
    "Health-check bypass: no User-Agent and no probe's path changes an answer, and the admin listener forwards nothing (S7, S35)",
    arguments: ClientVersion.allCases)
  func healthChecks(_ version: ClientVersion) async throws {
    try await FlowFixture.run(over: version) { flow in
      let agents = [
        "GoogleHC/1.0", "kube-probe/1.31", "ELB-HealthChecker/2.0", "Prometheus/2.0", "Intercom", "", "curl/8", "Consul Health Check",
      ]
      for door in flow.doors where door.methods.contains("GET") {
        let usual = try await flow.ask("GET", door.target, cookie: nil).status
        for agent in agents {
          let answer = try await flow.ask(
            "GET", door.target, cookie: nil, [("Origin", flow.app), ("Sec-Fetch-Mode", "cors"), ("User-Agent", agent)])
          #expect(answer.status == usual, "\(door) for \(agent)")
        }
      }
      for path in ["/livez", "/readyz", "/metrics", "/healthz", "/health", "/ping", "/ready", "/status", "/.well-known/ready"] {
        #expect(try await flow.ask("GET", path, cookie: nil, [("User-Agent", "kube-probe/1.31")]).status == 404, "\(path)")
      }
      #expect(flow.upstream.requests.allSatisfy { $0.path.hasPrefix("/public-root") })
      let forwarded = flow.upstream.requests.count
      let cookie = try #require(await flow.signedIn().jar["intercom"]?.value)
      let admin = try #require(flow.running.adminAddress)
      for door in flow.doors {
        let answer = try await flow.client.get("http://127.0.0.1:\(admin.port)\(door.target)", ["Cookie": "intercom=\(cookie)"])
        #expect(answer.status == 404, "\(door) on the admin listener")
      }
      #expect(flow.upstream.requests.count == forwarded)
    }
  }
}
