import Gateway
import HTTPMessage
import IntercomApp
import IntercomCore
import IntercomTesting
import Testing

@Suite("Flow: origins by an expression, and the CSRF cookie", .serialized, .timeLimit(.minutes(2)))
struct FlowOriginPatternTests {
  /// Takes `http://NAME.apps.localhost` with any port; no origin is listed.
  private func options(sharesCSRFToken: Bool = false) -> FlowFixture.Options {
    var options = FlowFixture.Options()
    options.deployment = { deployment in
      let pattern = try OriginPattern(#"https?://[a-z0-9-]+\.apps\.localhost(:\d+)?"#, allowsHTTP: true)
      deployment.origins = []
      deployment.originPattern = pattern
      deployment.routes = deployment.routes.map { route in
        var route = route
        route.cors = CORSPolicy(origins: [deployment.base.origin], pattern: pattern)
        return route
      }
      deployment.cookies = OwnCookies(isSecure: false, sharesCSRFToken: sharesCSRFToken)
    }
    return options
  }

  private static let app = "http://mail.apps.localhost:8080"

  @Test("an origin that the expression takes is allowed everywhere, and gets itself back", arguments: ClientVersion.allCases)
  func allowed(_ version: ClientVersion) async throws {
    try await FlowFixture.run(options(), over: version) { flow in
      let visitor = try await flow.signedIn()
      for origin in [Self.app, "https://files.apps.localhost", "http://a-1.apps.localhost"] {
        for target in ["/fs/x", "/plain/x", "/public/x", "/", "/nowhere"] {
          let answer = try await flow.send(visitor, "GET", target, [("Origin", origin)])
          #expect(answer.status == (target == "/nowhere" ? 404 : 200), "\(target)")
          #expect(answer.all("access-control-allow-origin") == [origin], "\(target)")
          #expect(answer.field("access-control-allow-credentials") == "true" && answer.variesByOrigin)
        }
        let preflight = try await flow.client.send(
          "OPTIONS", flow.url("/fs/x"), fields: [("Origin", origin), ("Access-Control-Request-Method", "PROPFIND")])
        #expect(preflight.status == 204 && preflight.field("access-control-allow-origin") == origin)
        #expect(preflight.field("access-control-allow-methods")?.contains("PROPFIND") == true)
        let change = try await flow.send(visitor, "PUT", "/fs/x", [("Origin", origin)], body: Array("a".utf8))
        #expect(change.status == 200)
        let refused = try await flow.client.send("GET", flow.url("/fs/x"), fields: [("Origin", origin)])
        #expect(refused.status == 401 && refused.field("access-control-allow-origin") == origin)
      }
    }
  }

  @Test(
    "Lookalikes of the expression are 403 without Access-Control-Allow-Origin on every route (S21, fault 53)",
    arguments: ClientVersion.allCases)
  func foreign(_ version: ClientVersion) async throws {
    try await FlowFixture.run(options(), over: version) { flow in
      let visitor = try await flow.signedIn()
      let foreign = [
        "http://evil-apps.localhost", "http://mail.apps.localhost.evil.com", "http://mailxapps.localhost", "http://a.b.apps.localhost",
        "http://u@mail.apps.localhost", "http://mail.apps.localhost/", "http://mail.apps.localhost:8080:1", "http://MAIL.apps.localhost",
        "null", "", "http://mail.apps.localhost, http://evil.com", "ftp://mail.apps.localhost", flow.app,
        "http://" + String(repeating: "a", count: 5_000) + ".apps.localhost",
      ]
      for origin in foreign {
        for target in ["/fs/x", "/public/x", "/silent", "/login", "/logout", "/nowhere"] {
          let answer = try await flow.send(visitor, "GET", target, [("Origin", origin)])
          #expect(answer.status == 403, "\(target) from \(origin.prefix(80))")
          #expect(answer.field("access-control-allow-origin") == nil && answer.variesByOrigin)
        }
      }
      #expect(flow.upstream.requests.isEmpty)
    }
  }

  @Test("/silent speaks to a page that the expression takes, and is framed by the hosts that can be derived")
  func silent() async throws {
    try await FlowFixture.run(options()) { flow in
      let visitor = try await flow.signedIn()
      let known = try await flow.send(visitor, "GET", "/silent", FlowFixture.frame + [("Referer", Self.app + "/inbox")])
      #expect(known.field("content-security-policy")?.hasSuffix("frame-ancestors \(Self.app)") == true)
      #expect(known.text.contains(#"id="intercom-targets">["\#(Self.app)"]</script>"#))
      #expect(known.text.contains(#"id="intercom-pattern">null</script>"#))
      for fields in [[], [("Referer", "http://mail.apps.localhost.evil.com/")]] {
        let unknown = try await flow.send(visitor, "GET", "/silent", FlowFixture.frame + fields)
        let ancestors = unknown.field("content-security-policy")?.split(separator: ";").last
        #expect(
          ancestors
            == " frame-ancestors \(flow.base) http://*.apps.localhost http://*.apps.localhost:* https://*.apps.localhost https://*.apps.localhost:*"
        )
        #expect(unknown.text.contains(#"id="intercom-targets">["\#(flow.base)"]</script>"#))
        #expect(unknown.text.contains(#"id="intercom-pattern">"^(?:http"#))
      }
    }
  }

  @Test("returnTo leads to origins that the expression takes, and to no others (S8)")
  func returns() async throws {
    try await FlowFixture.run(options()) { flow in
      for (target, expected) in [
        (Self.app + "/inbox?x=1", Self.app + "/inbox?x=1"), ("http://mail.apps.localhost.evil.com/", "/"), (flow.app + "/", "/"),
      ] {
        let visitor = Visitor(timeout: .seconds(20))
        let location = try await flow.begin(visitor, "/login?returnTo=\(FormText.escape(target))")
        let answer = try await visitor.send("GET", flow.authorize(visitor, location), FlowFixture.navigation)
        #expect(answer.status == 302 && answer.field("location") == expected)
      }
    }
  }

  @Test("no cookie of CSRF tokens is set, and no query field is proof, unless it is switched on")
  func csrfOff() async throws {
    try await FlowFixture.run(options()) { flow in
      let visitor = try await flow.signedIn()
      let page = try await flow.send(visitor, "GET", "/silent", FlowFixture.frame + [("Referer", Self.app + "/")])
      #expect(page.all("set-cookie").isEmpty)
      let token = try flow.message(page)["csrftoken"]?.string ?? ""
      #expect(try await flow.send(visitor, "GET", "/nob/x?_csrf_token=\(token)", [("Origin", Self.app)]).status == 403)
      #expect(try await flow.send(visitor, "GET", "/nob/x", [("Origin", Self.app), ("X-CSRF-Token", token)]).status == 200)
    }
  }

  @Test("switched on the cookie holds the session's token, a query field with it is proof, and the cookie stays here (S21)")
  func csrfOn() async throws {
    try await FlowFixture.run(options(sharesCSRFToken: true)) { flow in
      let (visitor, other) = (try await flow.signedIn(), try await flow.signedIn("bob"))
      var tokens: [String] = []
      for one in [visitor, other] {
        let page = try await flow.send(one, "GET", "/silent", FlowFixture.frame + [("Referer", Self.app + "/")])
        let token = try flow.message(page)["csrftoken"]?.string ?? ""
        #expect(page.all("set-cookie") == ["_csrf_token=\(token); Path=/; SameSite=None; Secure"])
        tokens.append(token)
      }
      let origin = [("Origin", Self.app)]
      #expect(try await flow.send(visitor, "GET", "/nob/x?a=1&_csrf_token=\(tokens[0])&b=2", origin).status == 200)
      #expect(flow.upstream.requests.last?.query == "a=1&_csrf_token=\(tokens[0])&b=2")
      #expect(flow.upstream.requests.last?.text.contains("_csrf_token=\(tokens[0]);") == false)
      #expect(flow.upstream.requests.last?.field("cookie") == nil)
      for query in [
        "", "?_csrf_token=", "?_csrf_token=\(tokens[1])", "?_csrf_token=x", "?x_csrf_token=\(tokens[0])", "?_csrf_token=\(tokens[0])x",
        "?_csrf_token=\(tokens[0])&_csrf_token=\(tokens[0])", "?a=_csrf_token=\(tokens[0])",
      ] {
        #expect(try await flow.send(visitor, "GET", "/nob/x" + query, origin).status == 403, "\(query)")
      }
      #expect(try await flow.send(visitor, "GET", "/nob/x", origin + [("X-CSRF-Token", tokens[1])]).status == 403)
      // With the session the cookie goes too, also where there is none any more.
      for _ in 0..<2 {
        let answer = try await flow.send(visitor, "GET", "/logout", FlowFixture.navigation)
        #expect(answer.status == 302)
        #expect(answer.all("set-cookie").contains("_csrf_token=; Path=/; SameSite=None; Secure; Max-Age=0"), "\(answer.all("set-cookie"))")
      }
    }
  }
}
