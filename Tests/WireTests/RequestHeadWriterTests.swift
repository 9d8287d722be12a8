import HTTP1
import HTTPMessage
import Policy
import ReverseProxy
import Testing

@Suite("Heads for upstreams")
struct RequestHeadWriterTests {
  @Test("a browser's request as its upstream gets it, byte for byte")
  func whole() throws {
    let bytes = request(
      "Accept: */*", "Cookie: __Host-intercom=secret; fs~a=1; wiki~b=2; fs~c=3; d=4", "Origin: https://app.example", "X-Real-IP: 6.6.6.6",
      "Authorization: Basic eA==", "X-CSRF-Token: t", "User-Agent: b", "Content-Length: 12", "Connection: keep-alive",
      line: "PUT /fs/a%20b?x=%zz HTTP/1.1", host: "ics.example")
    let expected = """
      PUT /dav/a%20b?x=%zz HTTP/1.1
      Host: files.internal:8081
      Accept: */*
      Origin: https://app.example
      User-Agent: b
      Content-Length: 12
      Cookie: a=1; c=3
      Authorization: Bearer token
      X-Auth-User: alice
      X-Forwarded-Proto: https
      X-Forwarded-Prefix: /fs
      Via: 1.1 intercom
      X-Forwarded-Host: ics.example
      X-Forwarded-For: 192.0.2.7
      Forwarded: for="192.0.2.7";host="ics.example";proto=https


      """
    #expect(try Forwarding().send(bytes).get() == expected.replacing("\n", with: "\r\n"))
  }

  @Test(
    "the target: prefix off, base path on, bytes as sent",
    arguments: [
      ("/fs", "http://u/dav", true, "/fs/a", "/dav/a"), ("/fs", "http://u/dav", true, "/fs", "/dav"),
      ("/fs", "http://u/dav/", true, "/fs/", "/dav/"),
      ("/fs", "http://u", true, "/fs", "/"), ("/fs", "http://u", true, "/fs?q", "/?q"),
      ("/fs", "http://u", true, "/fs/%7Ea;b/c", "/%7Ea;b/c"),
      ("/fs", "http://u", false, "/fs/a", "/fs/a"), ("/fs", "http://u/x", false, "/fs/a?b#".replacing("#", with: ""), "/x/fs/a?b"),
      ("/", "http://u", true, "/a", "/a"), ("/", "http://u/b", true, "/", "/b/"),
      ("/n.json", "http://u/p/n.json", true, "/n.json?l=de", "/p/n.json?l=de"),
      ("/fs", "http://u/dav", true, "/fs//a", "/dav//a"), ("/fs", "http://u", true, "http://h", ""),
      ("/", "http://u", true, "http://h?q", "/?q"),
    ])
  func target(path: String, upstream: String, strips: Bool, sent: String, expected: String) throws {
    let forwarding = Forwarding(path: path, upstream: upstream, strips: strips)
    switch try forwarding.send(request(line: "GET \(sent) HTTP/1.1")) {
    case .success(let head): #expect(head.hasPrefix("GET \(expected) HTTP/1.1\r\nHost: u\r\n"))
    case .failure(let refusal): #expect(expected.isEmpty && refusal == .pathOutsideRoute)
    }
  }

  @Test(
    "a target that a route does not take",
    arguments: [
      ("/fs", "/fs//evil.example/a", .ambiguousPath), ("/fs", "/fs/a%2Fb", .encodedSlash), ("/fs", "/wiki", .pathOutsideRoute),
      ("/fs", "/%66s/a", .pathOutsideRoute), ("/fs", "/fsx", .pathOutsideRoute), ("/", "//evil.example", .ambiguousPath),
    ] as [(String, String, ForwardRefusal)])
  func refusedTargets(path: String, sent: String, refusal: ForwardRefusal) throws {
    #expect(try Forwarding(path: path, upstream: "http://u").send(request(line: "GET \(sent) HTTP/1.1")) == .failure(refusal))
  }

  @Test("an encoded slash passes, as sent, where the route lets it")
  func encodedSlash() throws {
    #expect(try Forwarding(encodedSlashes: true).requestLine(request(line: "GET /fs/a%2fb%2Fc HTTP/1.1")) == "GET /dav/a%2fb%2Fc HTTP/1.1")
  }

  @Test(
    "forged identity and forwarding fields never reach the upstream (S3, S4, S6, fault 50)",
    arguments: [
      "X-Auth-User: eve", "x-auth-user: eve", "X-AUTH-USER: eve", "X_Auth_User: eve", "x_auth-user: eve", "X.Auth.User: eve",
      "X-Auth_User: eve",
      "Authorization: Bearer eve", "X-Forwarded-For: 6.6.6.6", "X-Forwarded-User: eve", "X_Forwarded_For: 6.6.6.6",
      "x-forwarded-uri: /admin",
      "X-Forwarded-Prefix: /evil", "Forwarded: for=6.6.6.6", "X-Real-IP: 6.6.6.6", "X_REAL_IP: 6", "X-Original-URL: /admin",
      "X-Rewrite-URL: /admin",
      "X-Envoy-Original-Path: /admin", "True-Client-IP: 6", "Client-IP: 6", "X-Original-Method: DELETE", "Proxy-Authorization: x",
      "Proxy-Connection: x",
      "Keep-Alive: timeout=5", "TE: trailers", "Upgrade: websocket", "Content_Length: 5", "Transfer_Encoding: chunked",
      "Transfer.Encoding: chunked",
      "X-CSRF-Token: t", "X_CSRF_Token: t", "Set-Cookie: a=b", "Content_Type_: x".replacing("Type_", with: "Length"),
      "X_Forwarded_Anything: x", "X-HTTP-Method-Override: DELETE", "X_HTTP_Method_Override: DELETE", "X-HTTP-METHOD: PUT",
      "X-Method-Override: MOVE",
    ])
  func forged(line: String) throws {
    #expect(try Forwarding().lines(request(line, line: "GET /fs/a HTTP/1.1")) == [])
    #expect(try Forwarding().lines(request("A: 1", line, "B: 2", line: "OPTIONS /fs/a HTTP/1.1")) == ["A: 1", "B: 2"])
  }

  @Test(
    "other fields pass as they are, odd names and bytes too",
    arguments: [
      "X_Custom: 1", "x-auth-users: 1", "X-Auth-User2: 1", "If: <x> (y)", "Depth: 1", "OCS-APIRequest:true", "Range: bytes=0-",
      "Sec-Fetch-Mode: cors",
      "Via: 1.1 other", "Referer: https://a/b", "Accept-Encoding:   gzip  ", "If-Match: \"é\"", "Trailer: X", "Max-Forwards: 3",
      "a!#$%&'*+.^`|~: b",
    ])
  func passed(line: String) throws {
    let bytes = request("A: 1", line, line: "GET /fs/a HTTP/1.1")
    let sent = try Forwarding().send(Array(bytes)).get()
    #expect(sent.contains("A: 1\r\n\(String(decoding: latin1(line), as: UTF8.self))\r\n"))
  }

  @Test(
    "httpoxy: no field becomes HTTP_PROXY in the environment of a CGI program behind the upstream (CVE-2016-5385)",
    arguments: ["Proxy: http://evil.example:8080", "PROXY: evil:1", "proxy:evil"])
  func httpoxy(line: String) throws {
    #expect(try Forwarding().lines(request("A: 1", line, "B: 2", line: "GET /fs/a HTTP/1.1")) == ["A: 1", "B: 2"])
    let others = ["Proxy-Authz: 1", "X-Proxy: 1"]
    #expect(try Forwarding().lines(request(others[0], others[1], line: "GET /fs/a HTTP/1.1")) == others)
  }

  @Test("Connection takes away what it names, but nothing of ours (S5)")
  func hopByHop() throws {
    let head = try Forwarding().send(
      request(
        "X-Drop: 1", "Connection: x-drop, X-Auth-User, Authorization, Host, Content-Length, X-Forwarded-For, Forwarded, close", "Keep: 2",
        "Content-Length: 3", line: "POST /fs/a HTTP/1.1")
    ).get()
    let lines = Forwarding.split(head)
    #expect(!lines.contains { $0.hasPrefix("X-Drop") || $0.hasPrefix("Connection") })
    for line in ["Keep: 2", "Content-Length: 3", "X-Auth-User: alice", "Authorization: Bearer token", "Host: files.internal:8081"] {
      #expect(lines.contains(line))
    }
    #expect(lines.contains { $0.hasPrefix("X-Forwarded-For: 192.0.2.7") } && lines.contains { $0.hasPrefix("Forwarded: for=") })
    #expect(try Forwarding().lines(request("Cookie: fs~a=1", "Connection: cookie", line: "GET /fs HTTP/1.1")) == [])
  }

  @Test("framing is kept: a length stays a length, chunked stays chunked, nothing stays nothing; HTTP/1.0 becomes 1.1")
  func framing() throws {
    #expect(try Forwarding().lines(request("Content-Length: 0", line: "PUT /fs HTTP/1.1")) == ["Content-Length: 0"])
    #expect(try Forwarding().lines(request("Transfer-Encoding: CHUNKED", line: "PUT /fs HTTP/1.1")) == ["Transfer-Encoding: chunked"])
    #expect(try Forwarding().lines(request(line: "POST /fs HTTP/1.1")) == [])
    let old = try Forwarding().send(request("Connection: keep-alive", line: "GET /fs HTTP/1.0")).get()
    #expect(old.hasPrefix("GET /dav HTTP/1.1\r\n") && old.contains("\r\nVia: 1.0 intercom\r\n") && !old.contains("Connection"))
  }

  @Test("Expect: 100-continue is kept, except from HTTP/1.0")
  func expect() throws {
    let lines = ["Expect: 100-continue", "Content-Length: 1"]
    #expect(try Forwarding().lines(request(lines[0], lines[1], line: "PUT /fs HTTP/1.1")) == lines)
    #expect(try Forwarding().lines(request(lines[0], lines[1], line: "PUT /fs HTTP/1.0")) == ["Content-Length: 1"])
  }

  @Test("the client's Authorization passes only where the plan says so")
  func authorization() throws {
    let forwarding = Forwarding(added: [], dropsAuthorization: false)
    #expect(try forwarding.lines(request("Authorization: Basic x", line: "GET /fs HTTP/1.1")) == ["Authorization: Basic x"])
  }

  @Test("an IPv6 client stands in brackets in Forwarded")
  func ipv6() throws {
    let head = try Forwarding(peer: "2001:db8::1").send(request(line: "GET /fs HTTP/1.1", host: "[::1]:8008")).get()
    #expect(head.contains("X-Forwarded-For: 2001:db8::1\r\n"))
    #expect(head.contains("Forwarded: for=\"[2001:db8::1]\";host=\"[::1]:8008\";proto=https\r\n"))
  }

  @Test(
    "cookies by mode (S10): never ours",
    arguments: [
      (CookieMode.isolate, "fs~a=1; b=2; wiki~c=3; fs~d=\"x;y\"", "Cookie: a=1; d=\"x"),
      (.isolate, "fs~=1; fs~; FS~a=1; fs~__Host-x=1", "Cookie: __Host-x=1"),
      (.isolate, "__Host-intercom=s; intercom=t", ""), (.isolate, "fs~a=1, __Host-intercom=s", ""),
      (.pass, "a=1;b=2;;c", "Cookie: a=1; b=2; c"),
      (.pass, "a=\"; __Host-intercom=s; b=2\"", "Cookie: a=\"; b=2\""), (.pass, "intercom=t; =__Host-intercom=s; __HOST-INTERCOM=s", ""),
      (.pass, "a,__Host-intercom=s; b", "Cookie: b"), (.drop, "a=1; fs~b=2", ""),
    ])
  func cookies(mode: CookieMode, sent: String, expected: String) throws {
    let lines = try Forwarding(cookies: mode).lines(request("Cookie: \(sent)", line: "GET /fs HTTP/1.1"))
    #expect(lines == (expected.isEmpty ? [] : [expected]))
  }

  @Test("own cookies go in whatever order, number or form they come, over several fields")
  func ownCookies() throws {
    let bytes = request(
      "Cookie: intercom=s1; a=1", "Cookie:__Host-intercom=s2;b=2", "cookie: c=3;  intercom = s3", "Cookie: \"intercom\"=s4; intercom",
      line: "GET /fs HTTP/1.1")
    #expect(try Forwarding(cookies: .pass).lines(bytes) == ["Cookie: a=1; b=2; c=3"])
  }

  @Test(
    "Destination within the route is mapped",
    arguments: [
      ("/fs/b", "http://files.internal:8081/dav/b"), ("https://ics.example/fs/b%20c", "http://files.internal:8081/dav/b%20c"),
      ("http://ICS.example/fs", "http://files.internal:8081/dav"), ("https://h/fs/b", "http://files.internal:8081/dav/b"),
    ])
  func destination(sent: String, expected: String) throws {
    #expect(try Forwarding().lines(request("Destination: \(sent)", line: "MOVE /fs/a HTTP/1.1")) == ["Destination: \(expected)"])
  }

  @Test(
    "Destination elsewhere is refused",
    arguments: [
      ("https://evil.example/fs/b", .destinationOnOtherHost), ("http://ics.example.evil/fs/b", .destinationOnOtherHost),
      ("http://ics.example:8081/fs/b", .destinationOnOtherHost), ("http://files.internal:8081/dav/b", .destinationOnOtherHost),
      ("/wiki/b", .destinationOutsideRoute), ("/fs/../wiki", .destinationOutsideRoute), ("/fs/%2e%2e/wiki", .destinationOutsideRoute),
      ("/fs/..;/wiki", .destinationOutsideRoute), ("/fs\\..\\wiki", .destinationOutsideRoute), ("/fs/a%5cb", .destinationOutsideRoute),
      ("/fs/a%00", .destinationOutsideRoute), ("/fs/a%2Fb", .destinationOutsideRoute), ("/%66s/b", .destinationOutsideRoute),
      ("/fsx", .destinationOutsideRoute), ("/fs/private/b", .destinationOutsideRoute), ("/fs/privat%65/b", .destinationOutsideRoute),
      ("https://ics.example", .destinationOutsideRoute), ("/fs//b", .destinationOutsideRoute), ("//evil.example/fs", .badDestination),
      ("https://u@ics.example/fs/b", .badDestination), ("ftp://ics.example/fs", .badDestination), ("fs/b", .badDestination),
      ("", .badDestination),
      ("/fs/b?c", .badDestination), ("/fs/b#c", .badDestination), ("/fs/b c", .badDestination), ("/fs/%", .badDestination),
      ("/fs/\u{e9}", .badDestination),
    ] as [(String, ForwardRefusal)])
  func foreignDestination(sent: String, refusal: ForwardRefusal) throws {
    let forwarding = Forwarding(nested: ["/fs/private"])
    #expect(try forwarding.send(request("Destination: \(sent)", line: "COPY /fs/a HTTP/1.1")) == .failure(refusal))
    let statuses: [ForwardRefusal: Int] = [.destinationOnOtherHost: 502, .destinationOutsideRoute: 403, .badDestination: 400]
    #expect(refusal.status.code == statuses[refusal] && refusal.problem.status == refusal.status)
  }

  @Test("a permit for another route or method makes no plan")
  func foreignPermit() throws {
    let get = ParsedRequest(request(line: "GET /fs HTTP/1.1")).head.request
    var put = get
    put.method = .put
    #expect(try Forwarding().plan(get) != nil)
    #expect(try Forwarding().plan(get, permitFor: 4) == nil)
    let policy = RoutePolicy(route: 3, methods: .plain, rule: .publicRoute)
    guard case .permit(let permit) = PolicyEnforcementPoint.decide(policy, method: .get, identity: nil) else { return }
    #expect(ForwardPlan(permit: permit, route: try Forwarding().route(), for: put, request: RequestRewrite()) == nil)
  }

  @Test("only a request that is safe to repeat may be sent again")
  func retry() throws {
    for (line, lines, expected) in [
      ("GET", "A: b", true), ("HEAD", "A: b", true), ("OPTIONS", "A: b", true), ("PROPFIND", "Content-Length: 0", true),
      ("PROPFIND", "Content-Length: 1", false),
      ("PUT", "Content-Length: 0", false), ("POST", "A: b", false), ("DELETE", "A: b", false), ("GET", "Transfer-Encoding: chunked", false),
    ] {
      #expect(try Forwarding().plan(ParsedRequest(request(lines, line: "\(line) /fs HTTP/1.1")).head.request)?.mayRetry == expected)
    }
  }

  @Test(
    "a claim or token with a line break cannot become a field (response splitting)",
    arguments: ["a\r\nX: y", "a\n", "a\u{0}", "\r", "a\u{7f}"])
  func injection(value: String) {
    var lines = FieldLines()
    #expect(throws: FieldLineError.badValue) { try lines.append("X-Auth-User", Array(value.utf8)) }
    #expect(throws: FieldLineError.badName) { try lines.append("X-A:\(value)", []) }
    #expect(lines.isEmpty)
    #expect(!String(reflecting: lines).contains("bytes"))
  }
}
