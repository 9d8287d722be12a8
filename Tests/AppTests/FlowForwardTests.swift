import Cryptography
import DemoWorkplace
import Gateway
import HTTPMessage
import HTTPServer
import IntercomApp
import IntercomCore
import IntercomTesting
import ReverseProxy
import StrictJSON
import Testing

@Suite("Flow: forwarding", .serialized)
struct FlowForwardTests {
  @Test(
    "Token of one backend for another: each route's gets its own credential, an exchange route never the session's token (S12, S14)",
    arguments: ClientVersion.allCases)
  func credentials(_ version: ClientVersion) async throws {
    try await FlowFixture.run(over: version) { flow in
      let visitor = try await flow.signedIn()
      for route in ["own", "fs", "fs2", "basic", "headers", "plain"] {
        #expect(try await flow.fetch(visitor, "GET", "/\(route)/x").status == 200, "\(route)")
      }
      let seen = flow.upstream.requests
      #expect(seen.map(\.path) == ["own", "fs", "fs2", "basic", "headers", "plain"].map { "/\($0)-root/x" })
      let values = seen.map { $0.all("authorization") }
      let own = try #require(values[0].first)
      #expect(own.hasPrefix("Bearer ey"))
      #expect(values[1].count == 1 && values[1] != values[0] && values[1][0].hasPrefix("Bearer ey"))
      #expect(values[2].count == 1 && values[2] != values[0] && values[2] != values[1])
      #expect(values[3] == ["Basic " + "alice:\(FlowFixture.basicSecret)".base64])
      #expect(values[4].isEmpty && values[5].isEmpty)
      #expect(seen[4].all("x-remote-user") == ["alice"])
      #expect(seen[4].all("x-groups") == ["staff,friends-of-alice"])
      for request in seen.dropFirst() { #expect(!request.text.contains(own.dropFirst(7))) }
      #expect(flow.exchanges == 2)
    }
  }

  /// The claim of `/basic`, and why it makes no credential; nil: it does.
  static let names: [(claim: JSONValue?, code: String?)] = [
    ("anna", nil), ("b\u{f6}b", nil), (nil, "claim_missing"), (.null, "claim_missing"), ("", "claim_missing"),
    ("al:ice", "claim_unusable"), (":", "claim_unusable"), ("al\nice", "claim_unusable"), ("alice\u{7f}", "claim_unusable"),
    (.int64(7), "claim_unusable"), (["alice"], "claim_unusable"), (.bool(true), "claim_unusable"),
  ]

  @Test("A claim that Basic cannot say (a colon, control characters, no text) is no missing one (RFC 7617 §2); the log names it")
  func basicNames() async throws {
    var options = FlowFixture.Options()
    options.provider = { configuration in
      configuration.users += Self.names.enumerated().map { index, row in
        ProviderUser(
          subject: Identifier("user-\(index)-id"), username: Identifier("user-\(index)"), password: Secret(FlowFixture.password),
          name: "user-\(index)", email: "user@example.org", claims: row.claim.map { ["basic_name": $0] } ?? [:])
      }
    }
    options.deployment = { deployment in
      for index in deployment.routes.indices where deployment.routes[index].name == "basic" {
        deployment.routes[index].credential = .basic(usernameClaim: "basic_name", passwordIndex: 0)
      }
    }
    try await FlowFixture.run(options) { flow in
      for (index, row) in Self.names.enumerated() {
        flow.upstream.forget()
        let visitor = try await flow.signedIn("user-\(index)")
        let answer = try await flow.fetch(visitor, "GET", "/basic/x")
        guard let code = row.code else {
          let name = try #require(row.claim?.string)
          #expect(answer.status == 200, "\(row)")
          #expect(flow.upstream.requests.first?.all("authorization") == ["Basic " + "\(name):\(FlowFixture.basicSecret)".base64])
          continue
        }
        #expect(answer.status == 403 && answer.text.contains("\"\(code)\""), "\(row): \(answer.text)")
        #expect(answer.field("access-control-allow-origin") == flow.app && flow.upstream.requests.isEmpty)
        #expect(try await flow.isAlive(visitor))
      }
      for code in ["claim_missing", "claim_unusable"] {
        let told = flow.sink.lines.filter { $0.contains("credential_failed") && $0.contains("\"\(code)\"") }
        #expect(!told.isEmpty && told.allSatisfy { $0.contains("basic_name") && $0.contains("\"basic\"") }, "\(told)")
        #expect(told.allSatisfy { !$0.contains("al:ice") })
      }
    }
  }

  @Test("A claim that no field of a request can hold is no missing one either")
  func otherClaims() async throws {
    var options = FlowFixture.Options()
    options.deployment = { deployment in
      for index in deployment.routes.indices where deployment.routes[index].name == "headers" {
        deployment.routes[index].credential = .headers([ClaimHeader(field: "X-Remote-User", claim: "groups_text")])
      }
    }
    options.provider = { configuration in
      for (name, claim) in ["nl": "a\nb", "comma": ["a,b"]] as [String: JSONValue] {
        configuration.users.append(
          ProviderUser(
            subject: Identifier(name), username: Identifier(name), password: Secret(FlowFixture.password), name: name,
            email: "user@example.org", claims: ["groups_text": claim]))
      }
    }
    try await FlowFixture.run(options) { flow in
      for (name, code) in ["nl": "claim_unusable", "comma": "claim_unusable", "alice": "claim_missing"] {
        let answer = try await flow.fetch(try await flow.signedIn(name), "GET", "/headers/x")
        #expect(answer.status == 403 && answer.text.contains("\"\(code)\""), "\(name): \(answer.text)")
      }
      #expect(flow.upstream.requests.isEmpty)
    }
  }

  @Test(
    "Header twins: identity headers, Authorization and own cookies of a client arrive nowhere, in no form (S3, S4, S5, S6, fault 50)",
    arguments: ClientVersion.allCases)
  func forged(_ version: ClientVersion) async throws {
    try await FlowFixture.run(over: version) { flow in
      let visitor = try await flow.signedIn()
      let cookie = try #require(await visitor.jar["intercom"]?.value)
      let forged: [(String, String)] = [
        ("X-Remote-User", "admin"), ("x-remote-user", "admin"), ("X_Remote_User", "admin"), ("X-Remote_User", "admin"),
        ("X-Groups", "admins"), ("x_groups", "admins"), ("Authorization", "Bearer forged"),
        ("Proxy-Authorization", "Basic Zm9yZ2Vk"), ("X-Forwarded-For", "10.66.66.66"), ("X-Forwarded-Host", "evil.example"),
        ("Forwarded", "for=10.66.66.66"), ("X-Forwarded-Proto", "https"), ("X-Forwarded-Prefix", "/evil"),
        ("Connection", "X-Remote-User, Authorization, X-Groups, Cookie"), ("X-CSRF-Token", "token-of-client"),
        ("Cookie", "a=1; intercom=\(cookie); __Host-intercom=\(cookie); intercom-login=x; INTERCOM=odd; plain~mine=2; fs~other=3"),
      ]
      for route in ["plain", "headers", "basic", "own", "fs", "public"] {
        flow.upstream.forget()
        let answer = try await flow.fetch(visitor, "GET", "/\(route)/x", forged)
        #expect(answer.status == 200, "\(route) \(answer.text)")
        let request = try #require(flow.upstream.requests.first)
        #expect(request.all("x-remote-user") == (route == "headers" ? ["alice"] : []), "\(route)")
        #expect(request.all("x-groups") == (route == "headers" ? ["staff,friends-of-alice"] : []), "\(route)")
        for word in ["admin", "forged", "Zm9yZ2Vk", "10.66.66.66", "evil", cookie, "intercom-login", "token-of-client"] {
          #expect(!request.text.contains(word), "\(route): \(word) in \(request.text)")
        }
        #expect(!request.fields.all.contains { $0.name.contains("_") }, "\(route)")
        #expect(request.field("x-forwarded-proto") == "http")
      }
    }
  }

  @Test(
    "Header doubles: two Authorization or two Host fields are refused before anybody could take one of them (S4, S23)",
    arguments: ClientVersion.allCases)
  func doubled(_ version: ClientVersion) async throws {
    try await FlowFixture.run(over: version) { flow in
      let visitor = try await flow.signedIn()
      let doubled = [("Authorization", "Bearer a"), ("Authorization", "Basic b")]
      #expect(try await flow.fetch(visitor, "GET", "/plain/x", doubled).status == 400)
      let host = [("Host", "evil.example")]
      switch version {
      case .http1: #expect(try await flow.fetch(visitor, "GET", "/plain/x", host).status == 400)
      // Malformed there, not answered: RST_STREAM.
      case .http2: await #expect(throws: RawHTTPError.self) { try await flow.fetch(visitor, "GET", "/plain/x", host) }
      }
      #expect(flow.upstream.requests.isEmpty)
    }
  }

  @Test(
    "Upstreams' cookies are isolated per route: renamed for the browser, given back only to their route, ours never set",
    arguments: ClientVersion.allCases)
  func cookies(_ version: ClientVersion) async throws {
    try await FlowFixture.run(over: version) { flow in
      let visitor = try await flow.signedIn()
      let session = await visitor.jar["intercom"]?.value
      flow.upstream.answer { _ in
        var response = Response(200, ["Content-Type": "text/plain"], Array("ok".utf8))
        for line in [
          "sid=one; Path=/fs-root/deep; Domain=localhost; HttpOnly; Secure", "theme=dark; SameSite=None", "intercom=stolen; Path=/",
          "__Host-intercom=stolen; Path=/", "intercom-login=stolen",
        ] { response.fields.append("Set-Cookie", line) }
        return response
      }
      let answer = try await flow.fetch(visitor, "GET", "/fs/a")
      let lines = answer.all("set-cookie")
      #expect(lines.contains { $0.hasPrefix("fs~sid=one") && $0.contains("Path=/fs/deep") && !$0.lowercased().contains("domain") })
      #expect(lines.contains { $0.hasPrefix("fs~theme=dark") && $0.contains("Path=/fs") })
      #expect(lines.allSatisfy { $0.hasPrefix("fs~") })
      #expect(await visitor.jar["intercom"]?.value == session)
      flow.upstream.answer(nil)
      flow.upstream.forget()
      // What the backend called like ours is its own cookie under its own prefix; ours never leaves.
      let mimicry = "intercom=stolen; __Host-intercom=stolen; intercom-login=stolen"
      for target in ["/fs/deep/x", "/fs/x", "/plain/x"] { _ = try await flow.fetch(visitor, "GET", target) }
      #expect(flow.upstream.requests[0].all("cookie") == ["sid=one; theme=dark; " + mimicry])
      #expect(flow.upstream.requests[1].all("cookie") == ["theme=dark; " + mimicry])
      #expect(flow.upstream.requests[2].all("cookie") == [])
    }
  }

  @Test("An upstream's 401 is passed on and sent once; the next request exchanges anew, exactly once", arguments: ClientVersion.allCases)
  func unauthorized(_ version: ClientVersion) async throws {
    try await FlowFixture.run(over: version) { flow in
      let visitor = try await flow.signedIn()
      #expect(try await flow.fetch(visitor, "GET", "/fs/a").status == 200)
      #expect(flow.exchanges == 1)
      flow.upstream.answer { _ in Response(401, ["WWW-Authenticate": "Bearer"], Array("no".utf8)) }
      flow.upstream.forget()
      let refused = try await flow.fetch(visitor, "GET", "/fs/b")
      #expect(refused.status == 401)
      #expect(refused.text == "no")
      #expect(flow.upstream.requests.count == 1)
      flow.upstream.answer(nil)
      for _ in 0..<6 { #expect(try await flow.fetch(visitor, "GET", "/fs/c").status == 200) }
      #expect(flow.exchanges == 2)
      let tokens = Set(flow.upstream.requests.map { $0.field("authorization") ?? "" })
      #expect(tokens.count == 2)
    }
  }

  @Test("An upstream that answers many parallel requests 401 causes one exchange, not one for each", arguments: ClientVersion.allCases)
  func unauthorizedInParallel(_ version: ClientVersion) async throws {
    try await FlowFixture.run(over: version) { flow in
      let visitor = try await flow.signedIn()
      let cookie = try #require(await visitor.jar["intercom"]?.value)
      for _ in 0..<8 { _ = try await flow.fetch(visitor, "GET", "/fs/a") }
      let old = try #require(flow.upstream.requests.first?.field("authorization"))
      flow.upstream.answer { request in
        Identifier(request.field("authorization") ?? "") == Identifier(old) ? Response(401) : nil
      }
      var rounds = 0
      while rounds < 20 {
        rounds += 1
        let statuses = try await parallel(20, flow, "/fs/b", cookie)
        if statuses.allSatisfy({ $0 == 200 }) { break }
      }
      #expect(rounds < 5)
      #expect(flow.exchanges == 2)
    }
  }

  @Test("A token that a backend stops taking costs one exchange, although each loop holds a copy of it", arguments: ClientVersion.allCases)
  func refusedOnAllLoops(_ version: ClientVersion) async throws {
    try await FlowFixture.run(over: version) { flow in
      let visitor = try await flow.signedIn()
      for _ in 0..<12 { _ = try await flow.fetch(visitor, "GET", "/fs/a") }
      let old = try #require(flow.upstream.requests.first?.field("authorization"))
      flow.upstream.answer { request in
        Identifier(request.field("authorization") ?? "") == Identifier(old) ? Response(401) : nil
      }
      var statuses: [Int] = []
      for _ in 0..<16 { statuses.append(try await flow.fetch(visitor, "GET", "/fs/b").status) }
      #expect(statuses.filter { $0 == 401 }.count <= 2)
      #expect(statuses.suffix(12).allSatisfy { $0 == 200 })
      #expect(flow.exchanges == 2)
    }
  }

  @Test("A late 401 to an old token does not throw the newer one away", arguments: ClientVersion.allCases)
  func lateRefusal(_ version: ClientVersion) async throws {
    try await FlowFixture.run(over: version) { flow in
      let visitor = try await flow.signedIn()
      _ = try await flow.fetch(visitor, "GET", "/fs/a")
      let old = try #require(flow.upstream.requests.first?.field("authorization"))
      let gate = Gate()
      flow.upstream.answer { request in
        if request.path.hasSuffix("/late") { await gate.pass() }
        return Identifier(request.field("authorization") ?? "") == Identifier(old) ? Response(401) : nil
      }
      async let late = flow.fetch(visitor, "GET", "/fs/late")
      try await waitUntilTrue("the request at the backend") { gate.arrived == 1 }
      for _ in 0..<12 { _ = try await flow.fetch(visitor, "GET", "/fs/b") }
      #expect(flow.exchanges == 2)
      gate.open()
      #expect(try await late.status == 401)
      for _ in 0..<12 { #expect(try await flow.fetch(visitor, "GET", "/fs/c").status == 200) }
      #expect(flow.exchanges == 2)
    }
  }

  private func parallel(_ count: Int, _ flow: FlowFixture, _ target: String, _ cookie: String) async throws -> [Int] {
    try await withThrowingTaskGroup(of: Int.self) { group in
      for _ in 0..<count {
        group.addTask {
          try await flow.client.get(flow.base + target, ["Origin": flow.app, "Cookie": "intercom=\(cookie)"]).status
        }
      }
      return try await group.reduce(into: [Int]()) { $0.append($1) }
    }
  }

  @Test(
    "One user's token for another: fifty parallel cold requests cause one exchange, two people's tokens never cross (S15, S16b)",
    arguments: ClientVersion.allCases)
  func singleFlight(_ version: ClientVersion) async throws {
    try await FlowFixture.run(over: version) { flow in
      let (alice, bob) = (try await flow.signedIn(), try await flow.signedIn("bob"))
      let cookies = [try #require(await alice.jar["intercom"]?.value), try #require(await bob.jar["intercom"]?.value)]
      async let first = parallel(50, flow, "/fs/alice", cookies[0])
      async let second = parallel(50, flow, "/fs/bob", cookies[1])
      #expect(try await first == [Int](repeating: 200, count: 50))
      #expect(try await second == [Int](repeating: 200, count: 50))
      #expect(flow.exchanges == 2)
      let tokens = { (name: String) in
        Set(flow.upstream.requests.filter { $0.path == "/fs-root/\(name)" }.map { $0.field("authorization") ?? "" })
      }
      #expect(tokens("alice").count == 1 && tokens("bob").count == 1)
      #expect(tokens("alice") != tokens("bob"))
    }
  }

  @Test(
    "Method override: X-HTTP-Method-Override and its like change neither what is decided nor what is sent, and go nowhere",
    arguments: ClientVersion.allCases)
  func methodOverride(_ version: ClientVersion) async throws {
    try await FlowFixture.run(over: version) { flow in
      let visitor = try await flow.signedIn()
      let override = [("X-HTTP-Method-Override", "DELETE"), ("X-Method-Override", "DELETE"), ("X-HTTP-Method", "DELETE")]
      #expect(try await flow.fetch(visitor, "GET", "/fs/x?_method=DELETE", override).status == 200)
      #expect(flow.upstream.requests.map(\.method) == [.get])
      // With the policy deciding by the method that was sent, a backend that takes another one's word would undo it.
      let names = flow.upstream.requests.flatMap { $0.fields.all.map { FieldName($0.name) } }
      #expect(!names.contains { override.map { FieldName($0.0) }.contains($0) }, "\(names)")
      // Without proof: GET from elsewhere is refused whatever it says to be.
      let cross = [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors"), ("Sec-Fetch-Dest", "image")]
      #expect(try await flow.send(visitor, "GET", "/fs/x", cross + override).status == 403)
      #expect(flow.upstream.requests.count == 1)
    }
  }

  @Test("TRACE and CONNECT are 405 everywhere, and a method that nobody knows is 405", arguments: ClientVersion.allCases)
  func methods(_ version: ClientVersion) async throws {
    try await FlowFixture.run(over: version) { flow in
      let visitor = try await flow.signedIn()
      for method in ["TRACE", "PURGE", "get"] {
        for target in ["/fs/x", "/public/x", "/", "/silent"] {
          let answer = try await flow.fetch(visitor, method, target)
          #expect(answer.status == 405, "\(method) \(target): \(answer.status)")
          #expect(answer.variesByOrigin)
        }
      }
      #expect(flow.upstream.requests.isEmpty)
    }
  }

  @Test("HEAD, Range and conditional fields pass, and a partial answer comes back as it is", arguments: ClientVersion.allCases)
  func range(_ version: ClientVersion) async throws {
    try await FlowFixture.run(over: version) { flow in
      let visitor = try await flow.signedIn()
      flow.upstream.answer { request in
        request.method == .head
          ? Response(200, ["Content-Type": "text/plain", "ETag": "\"v1\""], Array("hello".utf8))
          : Response(206, ["Content-Range": "bytes 1-3/5", "Content-Type": "text/plain"], Array("ell".utf8))
      }
      let head = try await flow.fetch(visitor, "HEAD", "/fs/x")
      #expect(head.status == 200 && head.body.isEmpty)
      #expect(head.field("content-length") == "5" && head.field("etag") == "\"v1\"")
      let part = try await flow.fetch(visitor, "GET", "/fs/x", [("Range", "bytes=1-3"), ("If-Range", "\"v1\"")])
      #expect(part.status == 206 && part.text == "ell")
      #expect(part.field("content-range") == "bytes 1-3/5")
      #expect(flow.upstream.requests.last?.field("range") == "bytes=1-3")
      #expect(flow.upstream.requests.last?.field("if-range") == "\"v1\"")
    }
  }

  @Test("A chunked upload stays chunked and arrives whole; Expect: 100-continue is answered before the body is sent")
  func upload() async throws {
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      let cookie = try #require(await visitor.jar["intercom"]?.value)
      let fields = "Host: intercom.localhost\r\nOrigin: \(flow.app)\r\nCookie: intercom=\(cookie)\r\n"
      let connection = try await RawConnection.open(port: flow.port)
      try await connection.send("PUT /fs/up HTTP/1.1\r\n\(fields)Transfer-Encoding: chunked\r\n\r\n5\r\nhello\r\n")
      try await connection.send("6;x=y\r\n world\r\n0\r\nX-Sum: 11\r\n\r\n")
      let answer = try await connection.answer(to: "PUT")
      #expect(answer.status == 200 && answer.text == "hello world")
      #expect(flow.upstream.requests.last?.field("transfer-encoding") == "chunked")
      #expect(flow.upstream.requests.last?.field("content-length") == nil)

      try await connection.send("PUT /fs/up HTTP/1.1\r\n\(fields)Content-Length: 4\r\nExpect: 100-continue\r\n\r\n")
      let interim = try await connection.receive()
      #expect(String(decoding: interim, as: UTF8.self).hasPrefix("HTTP/1.1 100 "))
      try await connection.send("data")
      let second = try await connection.answer(to: "PUT")
      #expect(second.status == 200 && second.text == "data")
      #expect(flow.upstream.requests.last?.field("content-length") == "4")
    }
  }

  @Test("A refused upload with Expect: 100-continue is answered at once, without asking for the body")
  func refusedUpload() async throws {
    try await FlowFixture.run { flow in
      let connection = try await RawConnection.open(port: flow.port)
      try await connection.send(
        "PUT /fs/up HTTP/1.1\r\nHost: intercom.localhost\r\nOrigin: \(flow.app)\r\nContent-Length: 1000000\r\nExpect: 100-continue\r\n\r\n")
      let answer = try await connection.answer(to: "PUT")
      #expect(answer.status == 401 && answer.interim.isEmpty)
      #expect(flow.upstream.requests.isEmpty)
    }
  }

  @Test("Request behind a request: pipelined ones are decided one by one, the second without a session is refused (S12, S23)")
  func pipelined() async throws {
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      let cookie = try #require(await visitor.jar["intercom"]?.value)
      let connection = try await RawConnection.open(port: flow.port)
      let head = "Host: intercom.localhost\r\nOrigin: \(flow.app)\r\n"
      try await connection.send(
        "GET /fs/1 HTTP/1.1\r\n\(head)Cookie: intercom=\(cookie)\r\n\r\nGET /fs/2 HTTP/1.1\r\n\(head)\r\nGET /public/3 HTTP/1.1\r\n\(head)\r\n"
      )
      let statuses = [try await connection.answer().status, try await connection.answer().status, try await connection.answer().status]
      #expect(statuses == [200, 401, 200])
      #expect(flow.upstream.requests.map(\.path) == ["/fs-root/1", "/public-root/3"])
      #expect(flow.upstream.requests.last?.field("authorization") == nil)
    }
  }

  @Test("Destination within the route is mapped, another host is 502, another route or dot segments 403", arguments: ClientVersion.allCases)
  func destination(_ version: ClientVersion) async throws {
    try await FlowFixture.run(over: version) { flow in
      let visitor = try await flow.signedIn()
      let cases: [(String, Int, String?)] = [
        ("/fs/b%20c", 200, "/fs-root/b%20c"), (flow.base + "/fs/d", 200, "/fs-root/d"), ("https://evil.example/fs/d", 502, nil),
        ("/plain/d", 403, nil), ("/fs/../plain/d", 403, nil), ("/fs/%2e%2e/plain/d", 403, nil),
      ]
      for (given, status, expected) in cases {
        flow.upstream.forget()
        let answer = try await flow.fetch(visitor, "MOVE", "/fs/a", [("Destination", given)])
        #expect(answer.status == status, "\(given)")
        #expect(answer.variesByOrigin, "\(given)")
        let arrived = flow.upstream.requests.first?.field("destination")
        #expect(arrived.map { $0.hasSuffix(expected ?? "!") } ?? (expected == nil), "\(given) → \(arrived ?? "-")")
      }
    }
  }

  /// Paths that reach no backend, and paths that reach it as they were sent.
  static let paths: [(String, String?)] = [
    ("/fs/a%2Fb", "/fs-root/a%2Fb"), ("/fs/%41%7e%E4", "/fs-root/%41%7e%E4"), ("/fs//x", "/fs-root//x"), ("/fs/", "/fs-root/"),
    ("/fs", "/fs-root"), ("/fs/a;b=c", "/fs-root/a;b=c"), ("/fs/..;/x", nil), ("/fs/../public/x", nil), ("/fs/%2e%2e/public/x", nil),
    ("/fs/.%2E/x", nil), ("/%66s/x", nil), ("/fs/a\\b", nil), ("/fs/%00", nil), ("/fsx", nil), ("/FS/x", nil), ("/plain/a%2Fb", nil),
  ]

  @Test(
    "Path disagreement: the path that is authorised is the path that arrives, bytes kept, or nothing arrives (S1, fault 51)",
    arguments: ClientVersion.allCases)
  func paths(_ version: ClientVersion) async throws {
    try await FlowFixture.run(over: version) { flow in
      let visitor = try await flow.signedIn()
      for (given, expected) in Self.paths {
        flow.upstream.forget()
        let answer = try await flow.fetch(visitor, "GET", given)
        #expect(flow.upstream.requests.map(\.path) == (expected.map { [$0] } ?? []), "\(given): \(answer.status)")
        #expect(expected != nil ? answer.status == 200 : [400, 403, 404].contains(answer.status), "\(given): \(answer.status)")
        #expect(answer.variesByOrigin, "\(given)")
      }
    }
  }
}

extension String {
  fileprivate var base64: String { Base64.encode(Array(utf8)) }
}
