import HTTPMessage
import IntercomCore
import IntercomTesting
import OIDC
import Testing

@Suite("Flow: signing in", .serialized)
struct FlowLoginTests {
  @Test("A page without a session is sent to the provider and comes back to its path and query")
  func navigation() async throws {
    try await FlowFixture.run { flow in
      let visitor = Visitor()
      let location = try await flow.begin(visitor, "/plain/a%20b?x=1&y=%2F")
      #expect(location.hasPrefix(flow.issuer + "/"))
      #expect(flow.upstream.requests.isEmpty)
      let callback = try await flow.authorize(visitor, location)
      let answer = try await visitor.send("GET", callback, FlowFixture.navigation)
      #expect(answer.status == 302)
      #expect(answer.field("location") == "/plain/a%20b?x=1&y=%2F")
      #expect(answer.field("cache-control") == "no-store")
      let page = try await flow.send(visitor, "GET", "/plain/a%20b?x=1&y=%2F", FlowFixture.navigation)
      #expect(page.status == 200)
      #expect(flow.upstream.requests.map(\.path) == ["/plain-root/a%20b"])
      #expect(flow.upstream.requests.map(\.query) == ["x=1&y=%2F"])
    }
  }

  @Test("The login's cookies are HttpOnly, host-only and SameSite=Lax, and the request to the provider is a code flow with PKCE")
  func request() async throws {
    try await FlowFixture.run { flow in
      let visitor = Visitor()
      let location = try await flow.begin(visitor)
      let query = String(location.drop { $0 != "?" }.dropFirst())
      #expect(FormText.value("response_type", in: query) == "code")
      #expect(FormText.value("client_id", in: query) == "intercom")
      #expect(FormText.value("code_challenge_method", in: query) == "S256")
      #expect(FormText.value("redirect_uri", in: query) == flow.base + "/callback")
      #expect(FormText.value("scope", in: query)?.hasPrefix("openid") == true)
      #expect((FormText.value("nonce", in: query) ?? "").utf8.count >= 22)
      #expect((FormText.value("state", in: query) ?? "").utf8.count >= 43)
      #expect(FormText.value("prompt", in: query) == nil)
      let callback = try await flow.authorize(visitor, location)
      _ = try await visitor.send("GET", callback, FlowFixture.navigation)
      for name in ["intercom", "intercom-login"] {
        let cookie = try #require(await visitor.jar[name])
        #expect(cookie.hostOnly && cookie.path == "/")
        #expect(cookie.attributes.contains("httponly") && cookie.attributes.contains("samesite=lax"))
      }
    }
  }

  /// `returnTo` and where it leads: nil is as given, APP the application's origin.
  static let targets: [(String, String?)] = [
    ("/plain/x", nil), ("/plain/x?a=b", nil), ("/plain/x%23y#z", nil), ("APP/inbox?id=1", nil), ("BASE/plain/x", nil),
    ("https://evil.example/", "/"), ("//evil.example/", "/"), ("/\\evil.example/", "/"), ("\\\\evil.example", "/"),
    ("APP.evil.example/", "/"), ("APP@evil.example/", "/"), ("javascript:alert(1)", "/"), ("data:text/html,x", "/"),
    ("/%0d%0aSet-Cookie:x=1", "/%0d%0aSet-Cookie:x=1"), ("/a\r\nSet-Cookie: x=1", "/"), ("/\t/evil.example", "/"), ("///evil.example", "/"),
    ("/../evil", "/"), ("http:evil.example", "/"), ("", "/"), ("evil", "/"), ("HTTP://EVIL.EXAMPLE", "/"),
    ("/" + String(repeating: "a", count: 3_000), "/"),
  ]

  @Test("Open redirect: returnTo leads to a path of ours or an allowed origin, anything else to / (S8, fault 52)")
  func returnTo() async throws {
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      for (given, expected) in Self.targets {
        func concrete(_ text: String) -> String { text.replacing("APP", with: flow.app).replacing("BASE", with: flow.base) }
        let location = try await flow.begin(visitor, "/login?returnTo=" + FormText.escape(concrete(given)))
        let answer = try await visitor.send("GET", flow.authorize(visitor, location), FlowFixture.navigation)
        #expect(answer.status == 302, "\(given)")
        #expect(answer.field("location") == concrete(expected ?? given), "\(given)")
        let logout = try await flow.send(
          Visitor(), "GET", "/logout?returnTo=" + FormText.escape(concrete(given)), FlowFixture.navigation)
        #expect(logout.field("location") == concrete(expected ?? given), "logout \(given)")
      }
    }
  }

  @Test("A page whose path and query are over 2 KiB comes back to /")
  func longTarget() async throws {
    try await FlowFixture.run { flow in
      let visitor = Visitor()
      let location = try await flow.begin(visitor, "/plain/" + String(repeating: "a", count: 2_100))
      let answer = try await visitor.send("GET", flow.authorize(visitor, location), FlowFixture.navigation)
      #expect(answer.field("location") == "/")
    }
  }

  @Test("Session fixation: a planted cookie is worth nothing, the id changes at login, the old id is dead (S9, fault 12)")
  func fixation() async throws {
    try await FlowFixture.run { flow in
      let planted = String(repeating: "A", count: 43)
      let visitor = Visitor()
      let location = try await flow.begin(visitor, "/login", FlowFixture.navigation)
      let callback = try await flow.authorize(visitor, location)
      // The victim's browser carries the attacker's id when the login ends.
      let cookies = "intercom=\(planted); " + (await visitor.jar.header(for: callback) ?? "")
      let answer = try await flow.client.send("GET", callback, fields: FlowFixture.navigation + [("Cookie", cookies)])
      let line = try #require(answer.all("set-cookie").first { $0.hasPrefix("intercom=") })
      #expect(!line.contains(planted))
      let attacker = try await flow.client.get(flow.base + "/plain/x", ["Cookie": "intercom=\(planted)", "Origin": flow.app])
      #expect(attacker.status == 401)

      let second = try await flow.signedIn()
      let old = try #require(await second.jar["intercom"]?.value)
      #expect(try await flow.isAlive(second))
      try await flow.signIn(second)
      let new = try #require(await second.jar["intercom"]?.value)
      #expect(old != new)
      #expect(try await flow.isAlive(second))
      #expect(try await flow.client.get(flow.base + "/plain/x", ["Cookie": "intercom=\(old)", "Origin": flow.app]).status == 401)
    }
  }

  @Test("Guessed ids: malformed, short, long and foreign cookies are no session and reach no backend (S12, fault 12)")
  func guessed() async throws {
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      let real = try #require(await visitor.jar["intercom"]?.value)
      for value in ["", "x", String(real.dropLast()), real + "A", real.lowercased() + "!", String(real.reversed()), "\"\(real)\""] {
        let answer = try await flow.client.get(flow.base + "/plain/x", ["Cookie": "intercom=\(value)", "Origin": flow.app])
        #expect(answer.status == 401, "\(value)")
      }
      #expect(flow.upstream.requests.isEmpty)
    }
  }

  @Test("State and code replay: a callback works once, the code is sent once, and the session lives on (S19, fault 23)")
  func replay() async throws {
    try await FlowFixture.run { flow in
      let visitor = Visitor()
      let callback = try await flow.authorize(visitor, flow.begin(visitor))
      #expect(try await visitor.send("GET", callback, FlowFixture.navigation).status == 302)
      let session = await visitor.jar["intercom"]?.value
      let again = try await visitor.send("GET", callback, FlowFixture.navigation)
      #expect(again.status == 400)
      #expect(again.all("set-cookie").isEmpty)
      #expect(flow.codeCalls == 1)
      #expect(await visitor.jar["intercom"]?.value == session)
      #expect(try await flow.isAlive(visitor))
    }
  }

  @Test("State and code replay in parallel: of twenty callbacks with one state exactly one reaches the token endpoint (S19, fault 23)")
  func parallelReplay() async throws {
    try await FlowFixture.run { flow in
      let visitor = Visitor()
      let callback = try await flow.authorize(visitor, flow.begin(visitor))
      let cookies = try #require(await visitor.jar.header(for: callback))
      let statuses = try await withThrowingTaskGroup(of: Int.self) { group in
        for _ in 0..<20 {
          group.addTask { try await flow.client.send("GET", callback, fields: FlowFixture.navigation + [("Cookie", cookies)]).status }
        }
        return try await group.reduce(into: [Int]()) { $0.append($1) }
      }
      #expect(statuses.filter { $0 == 302 }.count == 1)
      #expect(statuses.filter { $0 == 400 }.count == 19)
      #expect(flow.codeCalls == 1)
    }
  }

  @Test("Login forgery: the callback of another browser is refused and stays good for the one that began it (S21, fault 23)")
  func foreignBrowser() async throws {
    try await FlowFixture.run { flow in
      let (attacker, victim) = (Visitor(), Visitor())
      let callback = try await flow.authorize(attacker, flow.begin(attacker))
      _ = try await flow.begin(victim)
      let answer = try await victim.send("GET", callback, FlowFixture.navigation)
      #expect(answer.status == 400)
      #expect(await victim.jar["intercom"] == nil)
      #expect(try await Visitor().send("GET", callback, FlowFixture.navigation).status == 400)
      #expect(flow.codeCalls == 0)
      #expect(try await attacker.send("GET", callback, FlowFixture.navigation).status == 302)
    }
  }

  /// What is done to the query of a right callback.
  static let forgeries: [(String, @Sendable (String) -> String)] = [
    ("iss of another provider (mix-up)", { $0.replacing("iss=", with: "iss=http%3A%2F%2Fevil.example&was=") }),
    ("iss missing", { $0.replacing("iss=", with: "was=") }),
    ("iss twice", { $0 + "&iss=http%3A%2F%2Fevil.example" }),
    ("code twice", { $0 + "&code=other" }),
    ("state twice", { $0 + "&state=other" }),
    ("code and error", { $0 + "&error=access_denied" }),
    ("no code", { $0.replacing("code=", with: "was=") }),
    ("no state", { $0.replacing("state=", with: "was=") }),
    ("state of nobody", { $0.replacing("state=", with: "state=" + String(repeating: "A", count: 43) + "&was=") }),
    ("nothing", { _ in "" }),
  ]

  @Test(
    "Duplicate parameters, mix-up, missing state: a forged callback is 400, changes nothing, its code goes nowhere (S19, fault 23)",
    arguments: forgeries.indices)
  func forged(_ index: Int) async throws {
    let (name, forge) = Self.forgeries[index]
    try await FlowFixture.run { flow in
      let visitor = Visitor()
      let callback = try await flow.authorize(visitor, flow.begin(visitor))
      let forged = callback.with(query: forge)
      let answer = try await visitor.send("GET", forged, FlowFixture.navigation)
      #expect(answer.status == 400, "\(name)")
      #expect(answer.field("cache-control") == "no-store")
      #expect(await visitor.jar["intercom"] == nil, "\(name)")
      #expect(flow.codeCalls == 0, "\(name)")
      // Nobody else's login is harmed.
      try await flow.signIn(visitor)
      #expect(try await flow.isAlive(visitor))
    }
  }

  @Test(
    "Duplicate parameters, mix-up, missing state: a forged callback of a silent flow ends as the page, not as a 400 (S19, fault 23)",
    arguments: forgeries.indices)
  func forgedSilent(_ index: Int) async throws {
    let (name, forge) = Self.forgeries[index]
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      let session = try #require(await visitor.jar["intercom"]?.value)
      let fields = FlowFixture.frame + [("Referer", flow.app + "/")]
      let anonymous = Visitor()
      // The provider knows the person, Intercom does not: a new browser profile with the provider's cookies.
      let location = try await flow.begin(anonymous, "/silent", fields)
      let callback = try await flow.authorize(visitor, location)
      let forged = callback.with(query: forge)
      let isMarked = forged.target.contains("state=") && !["state twice", "state of nobody", "no state", "nothing"].contains(name)
      let answer = try await anonymous.send("GET", forged, FlowFixture.frame)
      #expect(answer.status == (isMarked ? 200 : 400), "\(name)")
      if isMarked {
        #expect(try flow.message(answer)["loggedIn"] == .bool(false), "\(name)")
        #expect(answer.field("x-frame-options") == nil)
      }
      #expect(flow.codeCalls == 1, "\(name)")
      #expect(await visitor.jar["intercom"]?.value == session)
    }
  }

  @Test("Fault 24: of a thousand logins begun in one browser the last works, the first is gone, and the browser carries one small cookie")
  func thousandLogins() async throws {
    try await FlowFixture.run { flow in
      let visitor = Visitor()
      let first = try await flow.begin(visitor)
      for _ in 0..<998 { _ = try await flow.begin(visitor) }
      let last = try await flow.begin(visitor)
      let cookies = await visitor.jar.cookies
      #expect(cookies.count == 1)
      #expect(cookies.map { $0.value.utf8.count }.reduce(0, +) < 128)
      let late = try await visitor.send("GET", flow.authorize(visitor, first), FlowFixture.navigation)
      #expect(late.status == 400)
      let answer = try await visitor.send("GET", flow.authorize(visitor, last), FlowFixture.navigation)
      #expect(answer.status == 302)
      #expect(try await flow.isAlive(visitor))
    }
  }

  @Test("Many tabs at once: five logins that were begun together all work")
  func tabs() async throws {
    try await FlowFixture.run { flow in
      let visitor = Visitor()
      var locations: [String] = []
      for index in 0..<5 { locations.append(try await flow.begin(visitor, "/plain/tab\(index)")) }
      for (index, location) in locations.enumerated() {
        let answer = try await visitor.send("GET", flow.authorize(visitor, location), FlowFixture.navigation)
        #expect(answer.field("location") == "/plain/tab\(index)")
      }
    }
  }

  @Test("A login that took over ten minutes is refused, with a link to the same place")
  func tooLate() async throws {
    try await FlowFixture.run { flow in
      let visitor = Visitor()
      let location = try await flow.begin(visitor, "/plain/report")
      flow.time.advance(by: .seconds(601))
      let answer = try await visitor.send("GET", flow.authorize(visitor, location), FlowFixture.navigation)
      #expect(answer.status == 400)
      #expect(answer.text.contains("returnTo=") && answer.text.contains("plain"))
      #expect(flow.codeCalls == 0)
    }
  }

  /// A provider that answers what cannot be used has answered: 502, also when the answer is too large to be read.
  static let toldLies: [(ProviderLie, Int)] = [
    (.nonce, 502), (.audience, 502), (.issuer, 502), (.signature, 502), (.algorithmNone, 502), (.idTokenMissing, 502), (.answerIsHTML, 502),
    (.answerIsOversized, 502),
  ]

  @Test("A provider that lies at the token endpoint signs nobody in", arguments: toldLies)
  func lies(_ lie: ProviderLie, _ status: Int) async throws {
    try await FlowFixture.run { flow in
      let visitor = Visitor()
      let callback = try await flow.authorize(visitor, flow.begin(visitor))
      flow.liar.tell(lie)
      let answer = try await visitor.send("GET", callback, FlowFixture.navigation)
      #expect(answer.status == status, "\(answer.text)")
      #expect(await visitor.jar["intercom"] == nil)
    }
  }
}

extension LoopbackURL {
  /// The same with another query.
  fileprivate func with(query change: (String) -> String) -> LoopbackURL {
    let parts = target.split(separator: "?", maxSplits: 1).map(String.init)
    var changed = self
    changed.target = parts[0] + "?" + change(parts.count > 1 ? parts[1] : "")
    return changed
  }
}
