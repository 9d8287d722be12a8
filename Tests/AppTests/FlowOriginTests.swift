import Gateway
import HTTPMessage
import HTTPServer
import IntercomCore
import IntercomTesting
import Testing

@Suite("Flow: Origin, CORS, CSRF", .serialized)
struct FlowOriginTests {
  /// Origins that are none of ours, BASE and APP standing for ours.
  static let foreign = [
    "https://evil.example", "null", "", "APP.evil.example", "APP.", "APP0", "APP/", "https://evil.example/?APP", "http://app.localhost",
    "http://xapp.localhost:1", "HTTP://APP.LOCALHOST:1", "file://", "APP,BASE", "APP BASE", "http://127.0.0.1:1",
  ]

  private func concrete(_ flow: FlowFixture, _ text: String) -> String {
    text.replacing("APP", with: flow.app).replacing("BASE", with: flow.base)
  }

  @Test(
    "Lookalike origins: foreign, suffixed or null, each is 403 without Access-Control-Allow-Origin on every route (S21, fault 53)",
    arguments: ClientVersion.allCases)
  func foreignOrigins(_ version: ClientVersion) async throws {
    try await FlowFixture.run(over: version) { flow in
      let visitor = try await flow.signedIn()
      for origin in Self.foreign.map({ concrete(flow, $0) }) {
        for target in ["/fs/x", "/public/x", "/silent", "/login", "/logout", "/nowhere"] {
          for method in ["GET", "POST", "OPTIONS"] {
            let fields = [("Origin", origin)] + (method == "OPTIONS" ? [("Access-Control-Request-Method", "GET")] : [])
            let answer = try await flow.send(visitor, method, target, fields, body: method == "POST" ? [] : nil)
            #expect(answer.status == 403, "\(method) \(target) from \(origin)")
            #expect(answer.field("access-control-allow-origin") == nil && answer.variesByOrigin, "\(method) \(target) from \(origin)")
          }
        }
        let home = try await flow.send(visitor, "GET", "/", [("Origin", origin)])
        #expect(home.field("access-control-allow-origin") == nil && home.variesByOrigin, "\(origin)")
      }
      let twice = try await flow.send(visitor, "GET", "/fs/x", [("Origin", flow.app), ("Origin", "https://evil.example")])
      #expect([400, 403].contains(twice.status) && twice.field("access-control-allow-origin") == nil && twice.variesByOrigin)
      #expect(flow.upstream.requests.isEmpty)
      #expect(try await flow.isAlive(visitor))
    }
  }

  @Test(
    "A preflight of an allowed origin is 204 without a session: the route's methods, the requested names, nothing forwarded",
    arguments: ClientVersion.allCases)
  func preflight(_ version: ClientVersion) async throws {
    try await FlowFixture.run(over: version) { flow in
      for origin in [flow.app, flow.base] {
        let fields = [
          ("Origin", origin), ("Access-Control-Request-Method", "PROPFIND"),
          ("Access-Control-Request-Headers", "depth, x-csrf-token,bad name, \u{e9}, x-remote-user"),
        ]
        let answer = try await flow.client.send("OPTIONS", flow.url("/fs/x"), fields: fields)
        #expect(answer.status == 204)
        #expect(answer.field("access-control-allow-origin") == origin)
        #expect(answer.field("access-control-allow-credentials") == "true")
        #expect(answer.field("access-control-allow-methods")?.contains("PROPFIND") == true)
        #expect(answer.field("access-control-allow-methods")?.contains("TRACE") == false)
        #expect(answer.field("access-control-allow-headers") == "depth, x-csrf-token, x-remote-user")
        #expect(answer.field("access-control-max-age") != nil)
        #expect(answer.field("content-length") == nil && answer.variesByOrigin)
      }
      #expect(flow.upstream.requests.isEmpty)
    }
  }

  @Test("OPTIONS that is no preflight is forwarded like any other method, and needs a session", arguments: ClientVersion.allCases)
  func options(_ version: ClientVersion) async throws {
    try await FlowFixture.run(over: version) { flow in
      #expect(try await flow.fetch(Visitor(), "OPTIONS", "/fs/x").status == 401)
      let visitor = try await flow.signedIn()
      #expect(try await flow.fetch(visitor, "OPTIONS", "/fs/x").status == 200)
      #expect(flow.upstream.requests.map(\.method) == [.options])
    }
  }

  @Test("The upstream's own CORS fields are dropped, ours stand there once", arguments: ClientVersion.allCases)
  func upstreamFields(_ version: ClientVersion) async throws {
    try await FlowFixture.run(over: version) { flow in
      let visitor = try await flow.signedIn()
      flow.upstream.answer { _ in
        Response(
          200,
          [
            "Access-Control-Allow-Origin": "*", "Access-Control-Allow-Credentials": "false", "Access-Control-Expose-Headers": "*",
            "Vary": "Accept-Language", "Access-Control-Allow-Methods": "TRACE",
          ])
      }
      let answer = try await flow.fetch(visitor, "GET", "/fs/x")
      #expect(answer.all("access-control-allow-origin") == [flow.app])
      #expect(answer.all("access-control-allow-credentials") == ["true"])
      #expect(answer.all("access-control-expose-headers") == [CORSPolicy.exposed])
      #expect(answer.all("access-control-allow-methods").isEmpty)
      #expect(answer.all("vary").joined(separator: ", ").contains("Accept-Language") && answer.variesByOrigin)
      let plain = try await flow.send(visitor, "GET", "/fs/x", FlowFixture.navigation)
      #expect(plain.all("access-control-allow-origin").isEmpty && plain.variesByOrigin)
    }
  }

  /// Bytes and the status that they get.
  static let odd: [(String, Int)] = [
    ("GET / HTTP/1.1\r\n\r\n", 400), ("GET / HTTP/1.1\r\nHost: a\r\nHost: b\r\n\r\n", 400), ("GET  / HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("GET /\u{0} HTTP/1.1\r\nHost: a\r\n\r\n", 400), ("nonsense\r\n\r\n", 400), ("GET / HTTP/2.0\r\nHost: a\r\n\r\n", 505),
    ("GET /" + String(repeating: "a", count: 9_000) + " HTTP/1.1\r\nHost: a\r\n\r\n", 414),
    ("GET / HTTP/1.1\r\nHost: a\r\nX: " + String(repeating: "a", count: 17_000) + "\r\n\r\n", 431),
    ("GET / HTTP/1.1\r\nHost: a\r\n" + String(repeating: "X: a\r\n", count: 200) + "\r\n", 431),
    ("POST /fs/x HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n", 400),
    ("GET /%2e%2e/x HTTP/1.1\r\nHost: a\r\n\r\n", 400), ("GET /nowhere HTTP/1.1\r\nHost: a\r\n\r\n", 404),
    ("DELETE / HTTP/1.1\r\nHost: a\r\n\r\n", 405), ("TRACE / HTTP/1.1\r\nHost: a\r\n\r\n", 405),
    ("GET /fs/x HTTP/1.1\r\nHost: a\r\n\r\n", 401), ("GET /%66s/x HTTP/1.1\r\nHost: a\r\n\r\n", 400),
    ("POST /backchannel-logout HTTP/1.1\r\nHost: a\r\nContent-Length: 1\r\n\r\nx", 415),
    ("GET / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 200), ("HEAD / HTTP/1.1\r\nHost: a\r\nConnection: close\r\n\r\n", 200),
    ("GET /callback HTTP/1.1\r\nHost: a\r\n\r\n", 400), ("GET /login HTTP/1.1\r\nHost: a\r\n\r\n", 302),
    ("GET /logout HTTP/1.1\r\nHost: a\r\nAccept: text/html\r\n\r\n", 302), ("CONNECT a:1 HTTP/1.1\r\nHost: a:1\r\n\r\n", 405),
  ]

  @Test("Every answer varies by Origin, exactly once: refusals of the parser, of routes and of methods, own pages")
  func vary() async throws {
    try await FlowFixture.run { flow in
      for (bytes, status) in Self.odd {
        let connection = try await RawConnection.open(port: flow.port)
        try await connection.send(bytes)
        let answer = try await connection.answer(to: bytes.hasPrefix("HEAD") ? "HEAD" : "GET")
        #expect(answer.status == status, "\(bytes.prefix(80))")
        #expect(answer.all("vary") == ["Origin"], "\(bytes.prefix(80)): \(answer.status) \(answer.all("vary"))")
        #expect(answer.field("access-control-allow-origin") == nil)
      }
      #expect(flow.upstream.requests.isEmpty)
    }
  }

  @Test("A head that takes too long is 408, and varies by Origin too")
  func slowHead() async throws {
    var options = FlowFixture.Options()
    options.deployment = { $0.server.headTime = .milliseconds(200) }
    try await FlowFixture.run(options) { flow in
      let connection = try await RawConnection.open(port: flow.port)
      try await connection.send("GET / HTTP/1.1\r\nHost: a\r\nX-Slow")
      let answer = try await connection.answer()
      #expect(answer.status == 408)
      #expect(answer.all("vary") == ["Origin"])
    }
  }

  @Test(
    "Request forgery: without proof a request with a session is 403 and reaches no backend; without a session it is 401 (S21, fault 53)",
    arguments: ClientVersion.allCases)
  func csrf(_ version: ClientVersion) async throws {
    try await FlowFixture.run(over: version) { flow in
      let visitor = try await flow.signedIn()
      let token = try await flow.csrfToken(visitor)
      let cross = [("Sec-Fetch-Site", "cross-site"), ("Sec-Fetch-Mode", "no-cors"), ("Sec-Fetch-Dest", "image")]
      let refused: [(String, [(String, String)])] = [
        ("GET", cross), ("GET", []), ("POST", cross), ("POST", [("Sec-Fetch-Site", "same-origin"), ("Sec-Fetch-Mode", "cors")]),
        ("POST", [("Sec-Fetch-Site", "none")]), ("GET", [("Sec-Fetch-Site", "same-site"), ("Sec-Fetch-Mode", "cors")]),
        ("POST", [("X-CSRF-Token", "")]), ("POST", [("X-CSRF-Token", String(repeating: "A", count: 43))]), ("DELETE", []),
        ("POST", [("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document"), ("Sec-Fetch-Site", "cross-site")]),
        ("POST", [("Referer", flow.app + "/")]),
      ]
      for (method, fields) in refused {
        let body: [UInt8]? = method == "POST" ? [] : nil
        let answer = try await flow.send(visitor, method, "/fs/x", fields, body: body)
        #expect(answer.status == 403, "\(method) \(fields): \(answer.status)")
        let isPerson = fields.contains { $0 == ("Sec-Fetch-Mode", "navigate") }
        let type = isPerson ? "text/html; charset=utf-8" : "application/problem+json"
        #expect(answer.field("content-type") == type && answer.variesByOrigin, "\(method) \(fields)")
      }
      #expect(flow.upstream.requests.isEmpty)
      #expect(try await flow.send(Visitor(), "POST", "/fs/x", [("Origin", flow.app)], body: []).status == 401)
      let accepted: [(String, [(String, String)])] = [
        ("GET", [("X-CSRF-Token", token)]), ("POST", [("X-CSRF-Token", token)]), ("POST", [("Origin", flow.app)]),
        ("POST", [("Origin", flow.base)]), ("GET", [("Sec-Fetch-Site", "same-origin")]), ("HEAD", [("Sec-Fetch-Site", "none")]),
        ("GET", FlowFixture.navigation), ("POST", [("X-CSRF-Token", ""), ("Origin", flow.app)]),
      ]
      for (method, fields) in accepted {
        let answer = try await flow.send(visitor, method, "/fs/x", fields, body: method == "POST" ? [] : nil)
        #expect(answer.status == 200, "\(method) \(fields): \(answer.text)")
      }
    }
  }

  @Test("A route with csrf: token takes the token only, for GET too, from an allowed origin too", arguments: ClientVersion.allCases)
  func tokenRoute(_ version: ClientVersion) async throws {
    try await FlowFixture.run(over: version) { flow in
      let visitor = try await flow.signedIn()
      let token = try await flow.csrfToken(visitor)
      for given in [nil, "", "wrong", token + "A", token.lowercased() + "x"] as [String?] {
        let fields = given.map { [("X-CSRF-Token", $0)] } ?? []
        #expect(try await flow.fetch(visitor, "GET", "/nob/x", fields).status == 403, "\(given ?? "-")")
        #expect(try await flow.send(visitor, "GET", "/nob/x", FlowFixture.navigation + fields).status == 403, "\(given ?? "-")")
      }
      #expect(flow.upstream.requests.isEmpty)
      #expect(try await flow.fetch(visitor, "GET", "/nob/x", [("X-CSRF-Token", token)]).status == 200)
      #expect(flow.upstream.requests.last?.field("x-csrf-token") == nil)
    }
  }
}
