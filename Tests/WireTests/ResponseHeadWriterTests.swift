import HTTP1
import HTTPMessage
import ReverseProxy
import Testing

@Suite("Heads for clients")
struct ResponseHeadWriterTests {
  func response(_ lines: String..., status: String = "200 OK") -> [UInt8] {
    latin1("HTTP/1.1 \(status)\r\n" + lines.map { $0 + "\r\n" }.joined() + "\r\n")
  }

  @Test("hop-by-hop and the upstream's CORS fields go, ours come, the rest stays as it is")
  func whole() throws {
    let cors = [("Access-Control-Allow-Origin", "https://app.example"), ("Access-Control-Allow-Credentials", "true"), ("Vary", "Origin")]
    let (lines, framing) = try Forwarding(cors: cors).answer(
      response(
        "Server: Apache", "Content-Type: text/plain", "Access-Control-Allow-Origin: *", "access-control-allow-headers: x", "Vary: Accept",
        "X-Hop: 1",
        "Connection: keep-alive, x-hop", "Keep-Alive: timeout=5", "ETag: \"\u{e9}\"", "Proxy-Authenticate: Basic", "Upgrade: h2c",
        "WWW-Authenticate: Bearer",
        "Clear-Site-Data: \"cookies\"", "Alt-Svc: h3=\":443\"", "Content-Length: 5"))
    #expect(framing == .length(5))
    #expect(
      lines == [
        "HTTP/1.1 200 OK", "Server: Apache", "Content-Type: text/plain", "Vary: Accept", "ETag: \"\u{fffd}\"", "WWW-Authenticate: Bearer",
        "Content-Length: 5",
        "Access-Control-Allow-Origin: https://app.example", "Access-Control-Allow-Credentials: true", "Vary: Origin",
      ])
  }

  @Test(
    "a session's answer is kept by no shared cache, and shown again by no browser cache without asking, unless its upstream says so (S11)",
    arguments: [
      ([], "private, no-cache"), (["max-age=60"], "max-age=60; private"), (["max-age=60", "immutable"], "max-age=60; immutable; private"),
      (["no-cache"], "no-cache; private"), ([""], "; private"), (["x-private=1"], "x-private=1; private"), (["no-store"], "no-store"),
      (["max-age=60 , PRIVATE"], "max-age=60 , PRIVATE"), (["public,max-age=60"], "public,max-age=60"), (["S-Maxage=9"], "S-Maxage=9"),
      (["max-age=60", "private=\"x\""], "max-age=60; private=\"x\""), (["s-maxage =1"], "s-maxage =1"),
    ])
  func caching(sent: [String], expected: String) throws {
    for status in ["200 OK", "304 Not Modified", "404 Not Found"] {
      var head = "HTTP/1.1 \(status)\r\nLast-Modified: Sat, 21 Nov 2026 17:00:00 GMT\r\n"
      for value in sent { head += "Cache-Control: \(value)\r\n" }
      let answer = latin1(head + "Content-Length: 0\r\n\r\n")
      func values(_ forwarding: Forwarding) throws -> String {
        try forwarding.answer(answer).lines.filter { $0.hasPrefix("Cache-Control: ") }.map { String($0.dropFirst(15)) }
          .joined(separator: "; ")
      }
      #expect(try values(Forwarding(isPrivate: true)) == expected)
      #expect(try values(Forwarding()) == sent.joined(separator: "; "), "a public route's answers stay as they are")
    }
  }

  @Test("a Cache-Control that ends at the upstream's connection counts as none")
  func cachingOfTheHop() throws {
    let answer = response("Connection: cache-control", "Cache-Control: public", "Content-Length: 0")
    #expect(
      try Forwarding(isPrivate: true).answer(answer).lines.filter { $0.hasPrefix("Cache-Control") } == ["Cache-Control: private, no-cache"])
  }

  @Test("framing and persistence for each kind of client")
  func framing() throws {
    let old = request("Connection: keep-alive", line: "GET /fs HTTP/1.0")
    let chunked = response("Transfer-Encoding: chunked")
    #expect(try Forwarding().answer(chunked) == (["HTTP/1.1 200 OK", "Transfer-Encoding: chunked"], .chunked))
    #expect(try Forwarding().answer(chunked, to: old) == (["HTTP/1.1 200 OK", "Connection: close"], .decodedUntilClose))
    #expect(try Forwarding().answer(response()) == (["HTTP/1.1 200 OK", "Connection: close"], .untilClose))
    let fixed = response("Content-Length: 3")
    #expect(try Forwarding().answer(fixed, to: old) == (["HTTP/1.1 200 OK", "Content-Length: 3", "Connection: keep-alive"], .length(3)))
    #expect(
      try Forwarding().answer(fixed, keepAlive: false) == (["HTTP/1.1 200 OK", "Content-Length: 3", "Connection: close"], .length(3)))
    #expect(try Forwarding().answer(fixed, to: request(line: "HEAD /fs HTTP/1.1")) == (["HTTP/1.1 200 OK", "Content-Length: 3"], .none))
    #expect(try Forwarding().answer(response("Content-Length: 0", status: "204 No Content")) == (["HTTP/1.1 204 No Content"], .none))
    #expect(try Forwarding().answer(response("Content-Length: 7", status: "304 Not Modified")).lines.contains("Content-Length: 7"))
    #expect(
      try Forwarding().answer(latin1("HTTP/1.1 207\r\nContent-Length: 0\r\n\r\n")) == (["HTTP/1.1 207 ", "Content-Length: 0"], .none))
  }

  @Test(
    "an upstream's cookies are isolated",
    arguments: [
      ("x=1", "fs~x=1; Path=/fs; Secure"), ("x=1; Path=/", "fs~x=1; Path=/fs; Secure"), ("x=1; path=/dav/a", "fs~x=1; Path=/fs/a; Secure"),
      ("x=1; Path=/dav/", "fs~x=1; Path=/fs; Secure"), ("x=1; Path=/other", "fs~x=1; Path=/fs; Secure"),
      ("x=1; Path=x", "fs~x=1; Path=/fs; Secure"),
      ("x=1; Path=/dav/../wiki", "fs~x=1; Path=/fs; Secure"), ("x=1; Path=/davx", "fs~x=1; Path=/fs; Secure"),
      ("x=1; Path=/dav/a; Path=/dav/b", "fs~x=1; Path=/fs/b; Secure"),
      ("x=1; Domain=example; HttpOnly; SameSite=None; Max-Age=5", "fs~x=1; HttpOnly; SameSite=None; Max-Age=5; Path=/fs; Secure"),
      ("x=1;domain=.example;SECURE", "fs~x=1; Path=/fs; Secure"),
      ("__Host-intercom=evil; Path=/; Secure", "fs~__Host-intercom=evil; Path=/fs; Secure"),
      ("x=a=b; Expires=Sun, 06 Nov 1994 08:49:37 GMT", "fs~x=a=b; Expires=Sun, 06 Nov 1994 08:49:37 GMT; Path=/fs; Secure"),
      ("=__Host-intercom=evil", nil), ("__Host-intercom", nil), ("", nil), (";x=1", "fs~x=1; Path=/fs; Secure"),
    ] as [(String, String?)])
  func isolate(sent: String, expected: String?) throws {
    let lines = try Forwarding().answer(response("Set-Cookie: \(sent)", "Content-Length: 0")).lines
    #expect(lines.filter { $0.hasPrefix("Set-Cookie") } == (expected.map { ["Set-Cookie: \($0)"] } ?? []))
  }

  @Test("without https, what browsers take only with Secure goes")
  func plainHTTP() throws {
    let forwarding = Forwarding(base: "http://ics.example")
    let lines = try forwarding.answer(response("Set-Cookie: x=1; Secure; SameSite=None; Partitioned; HttpOnly", "Content-Length: 0")).lines
    #expect(lines.contains("Set-Cookie: fs~x=1; HttpOnly; Path=/fs"))
  }

  @Test(
    "passed cookies are unchanged, but never ours; drop drops",
    arguments: ["__Host-intercom=evil; Path=/", "intercom=evil", "INTERCOM=evil", "=intercom=evil", "intercom"])
  func neverOurs(sent: String) throws {
    let bytes = response("Set-Cookie: \(sent)", "Set-Cookie: a=1; Domain=example", "Content-Length: 0")
    #expect(try Forwarding(cookies: .pass).answer(bytes).lines.filter { $0.hasPrefix("Set-C") } == ["Set-Cookie: a=1; Domain=example"])
    #expect(try Forwarding(cookies: .drop).answer(bytes).lines.filter { $0.hasPrefix("Set-C") } == [])
  }

  @Test("what an upstream sets comes back to it under its own name, and to no other")
  func cookieRoundTrip() throws {
    let set = try Forwarding().answer(response("Set-Cookie: sid=abc; Path=/dav", "Content-Length: 0")).lines.first {
      $0.hasPrefix("Set-Cookie")
    }
    let pair = try #require(set).dropFirst("Set-Cookie: ".count).prefix { $0 != ";" }
    #expect(try Forwarding().lines(request("Cookie: \(pair)", line: "GET /fs HTTP/1.1")) == ["Cookie: sid=abc"])
    #expect(try Forwarding(name: "wiki", path: "/wiki").lines(request("Cookie: \(pair)", line: "GET /wiki HTTP/1.1")) == [])
  }

  @Test(
    "a Location on the upstream leads back to the route, any other stays (S26)",
    arguments: [
      ("http://files.internal:8081/dav/b?c#d", "/fs/b?c#d"), ("http://FILES.internal:8081/dav", "/fs"),
      ("//files.internal:8081/dav/b", "/fs/b"),
      ("/dav/b", "/fs/b"), ("/dav/?x", "/fs/?x"), ("/other", "/other"), ("/davx", "/davx"), ("/dav/../x", "/dav/../x"), ("b", "b"),
      ("../b", "../b"), ("", ""),
      ("http://files.internal:8081/other", "http://files.internal:8081/other"), ("http://files.internal/dav", "http://files.internal/dav"),
      ("https://files.internal:8081/dav", "https://files.internal:8081/dav"),
      ("https://id.example/auth?x=/dav", "https://id.example/auth?x=/dav"),
      ("http://u@files.internal:8081/dav", "http://u@files.internal:8081/dav"),
    ])
  func location(sent: String, expected: String) throws {
    let lines = try Forwarding().answer(response("Location: \(sent)", "Content-Length: 0", status: "302 Found")).lines
    #expect(lines.contains("Location: \(expected)"))
    #expect(lines.filter { $0.hasPrefix("Location") }.count == 1)
  }

  @Test("a Location with the prefix kept, and at the root")
  func locationVariants() throws {
    let kept = Forwarding(upstream: "http://u", strips: false)
    #expect(try kept.answer(response("Location: http://u/fs/b", "Content-Length: 0")).lines.contains("Location: /fs/b"))
    #expect(try kept.answer(response("Location: http://u/b", "Content-Length: 0")).lines.contains("Location: http://u/b"))
    let root = Forwarding(path: "/", upstream: "http://u")
    #expect(try root.answer(response("Location: http://u", "Content-Length: 0"), to: request()).lines.contains("Location: /"))
    #expect(
      try root.answer(response("Location: http://u//evil", "Content-Length: 0"), to: request()).lines.contains("Location: http://u//evil"))
  }

  @Test("interim answers carry their links and nothing that waits for the end (fault 44)")
  func interim() throws {
    let bytes = response(
      "Link: </a>; rel=preload", "Set-Cookie: a=b", "Connection: x", "X: 1", "Content-Length: 3", status: "103 Early Hints")
    let head = ParsedResponse(bytes)
    var out = HeadBuffer()
    ResponseHeadWriter.writeInterim(head.head, bytes.span, into: &out)
    #expect(String(decoding: out.bytes, as: UTF8.self) == "HTTP/1.1 103 Early Hints\r\nLink: </a>; rel=preload\r\n\r\n")
  }

  @Test("a buffer holds what was appended, whatever the sizes")
  func buffer() {
    var out = HeadBuffer(capacity: 64)
    var expected: [UInt8] = []
    let source = (0..<600).map { UInt8(truncatingIfNeeded: $0) }
    var generator = SeededGenerator(seed: 3)
    for _ in 0..<500 {
      let from = Int.random(in: 0...600, using: &generator)
      let to = Int.random(in: from...600, using: &generator)
      out.append(source.span, from, to)
      expected += source[from..<to]
    }
    for number in [0, 7, 10, 405, Int.max] {
      out.append(decimal: number)
      expected += String(number).utf8
    }
    out.append(source.span, 5, 601)
    out.append(source.span, -1, 3)
    #expect(out.bytes == expected)
    out.removeAll()
    #expect(out.count == 0 && out.bytes.isEmpty)
  }
}
