import HTTPMessage
import IntercomCore
import IntercomTesting
import Sessions
import StrictJSON
import Testing

@Suite("Flow: the silent sign-in", .serialized)
struct FlowSilentTests {
  private func fields(_ flow: FlowFixture) -> [(String, String)] { FlowFixture.frame + [("Referer", flow.app + "/mail?x=1")] }

  /// What holds for every end of `/silent`.
  private func check(
    _ page: HTTPAnswer, _ flow: FlowFixture, ancestors: String? = nil, sourceLocation: SourceLocation = #_sourceLocation
  ) throws -> JSONObject {
    #expect(page.status == 200, sourceLocation: sourceLocation)
    #expect(page.field("content-type")?.hasPrefix("text/html") == true, sourceLocation: sourceLocation)
    #expect(page.field("cache-control") == "no-store", sourceLocation: sourceLocation)
    #expect(page.field("x-frame-options") == nil, sourceLocation: sourceLocation)
    #expect(page.variesByOrigin, sourceLocation: sourceLocation)
    let policy = page.field("content-security-policy") ?? ""
    #expect(policy.hasSuffix("frame-ancestors \(ancestors ?? flow.app)"), "\(policy)", sourceLocation: sourceLocation)
    let message = try flow.message(page)
    #expect(message["csrftoken"]?.string?.isEmpty == false, sourceLocation: sourceLocation)
    return message
  }

  private func refused(
    _ page: HTTPAnswer, _ flow: FlowFixture, _ reason: String, ancestors: String? = nil, sourceLocation: SourceLocation = #_sourceLocation
  ) throws {
    let message = try check(page, flow, ancestors: ancestors, sourceLocation: sourceLocation)
    #expect(message["loggedIn"] == .bool(false), sourceLocation: sourceLocation)
    #expect(message["reason"] == .string(reason), sourceLocation: sourceLocation)
  }

  /// Through the provider to the end.
  private func silent(_ flow: FlowFixture, _ visitor: Visitor) async throws -> HTTPAnswer {
    let location = try await flow.begin(visitor, "/silent", fields(flow))
    #expect(location.contains("prompt=none"))
    return try await visitor.send("GET", flow.authorize(visitor, location), FlowFixture.frame)
  }

  @Test("Nobody signed in at the provider: the page says login_required, every time anew")
  func nobody() async throws {
    try await FlowFixture.run { flow in
      let visitor = Visitor()
      for _ in 0..<3 { try refused(try await silent(flow, visitor), flow, "login_required") }
      #expect(await visitor.jar["intercom"] == nil)
      #expect(flow.codeCalls == 0)
    }
  }

  @Test("Signed in at the provider: the page gives a session and a CSRF token that works; the next /silent answers without the provider")
  func signedIn() async throws {
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      #expect(try await flow.send(visitor, "GET", "/logout", FlowFixture.navigation).status == 302)
      try await flow.signIn(visitor)  // At the provider alice is still signed in: only Intercom's session ended.
      await visitor.forget("intercom")
      let page = try await silent(flow, visitor)
      let message = try check(page, flow)
      #expect(message["loggedIn"] == .bool(true))
      let token = try #require(message["csrftoken"]?.string)
      #expect(try await flow.send(visitor, "GET", "/nob/x", [("X-CSRF-Token", token)]).status == 200)

      let asked = flow.provider.requests.count
      let again = try await flow.send(visitor, "GET", "/silent", [("Accept", "*/*"), ("Referer", flow.app + "/")])
      let second = try check(again, flow)
      #expect(second["loggedIn"] == .bool(true))
      #expect(second["csrftoken"] == .string(token))
      #expect(flow.provider.requests.count == asked)
    }
  }

  /// The provider's error and the reason that the page gives.
  static let errors: [(String, String)] = [
    ("login_required", "login_required"), ("interaction_required", "interaction_required"), ("consent_required", "consent_required"),
    ("account_selection_required", "interaction_required"), ("access_denied", "access_denied"),
    ("server_error", "provider_unavailable"), ("temporarily_unavailable", "provider_unavailable"),
    ("invalid_scope", "authorization_failed"), ("</script><script>alert(1)</script>", "authorization_failed"),
  ]

  @Test("An error at the callback of a silent flow is the page with its reason")
  func errorAtCallback() async throws {
    try await FlowFixture.run { flow in
      for (error, reason) in Self.errors {
        let visitor = Visitor()
        let location = try await flow.begin(visitor, "/silent", fields(flow))
        let state = try #require(FormText.value("state", in: String(location.drop { $0 != "?" }.dropFirst())))
        let target = "/callback?error=\(FormText.escape(error))&state=\(state)&iss=\(FormText.escape(flow.issuer))"
        let page = try await flow.send(visitor, "GET", target, FlowFixture.frame)
        try refused(page, flow, reason)
        #expect(!page.text.contains("alert(1)"))
      }
    }
  }

  @Test("A replayed callback of a silent flow is the page, says loggedIn false, and ends nothing")
  func replayed() async throws {
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      await visitor.forget("intercom")
      let callback = try await flow.authorize(visitor, flow.begin(visitor, "/silent", fields(flow)))
      #expect(try flow.message(try await visitor.send("GET", callback, FlowFixture.frame))["loggedIn"] == .bool(true))
      let again = try await visitor.send("GET", callback, FlowFixture.frame)
      #expect(again.status == 200)
      #expect(try flow.message(again)["loggedIn"] == .bool(false))
      #expect(again.all("set-cookie").isEmpty)
      #expect(try await flow.isAlive(visitor))
    }
  }

  @Test("Cookies blocked in the frame: the page says cookies_blocked to the listed origins")
  func cookiesBlocked() async throws {
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      await visitor.forget("intercom")
      let callback = try await flow.authorize(visitor, flow.begin(visitor, "/silent", fields(flow)))
      let page = try await flow.client.send("GET", callback, fields: FlowFixture.frame)
      try refused(page, flow, "cookies_blocked", ancestors: "\(flow.base) \(flow.app)")
      #expect(flow.codeCalls == 1)
    }
  }

  @Test("Message to a stranger: only the listed page that opened the frame, else listed origins may take it, never * (S22)")
  func embedder() async throws {
    try await FlowFixture.run { flow in
      let everyone = "\(flow.base) \(flow.app)"
      let visitor = try await flow.signedIn()
      let cases: [(String?, String)] = [
        (flow.app + "/", flow.app), (flow.app + "/deep/page?x", flow.app), (flow.base + "/x", flow.base), (nil, everyone),
        ("http://evil.example/", everyone), (flow.app + ".evil.example/", everyone), ("null", everyone), ("", everyone),
      ]
      for (referer, ancestors) in cases {
        let page = try await flow.send(visitor, "GET", "/silent", FlowFixture.frame + (referer.map { [("Referer", $0)] } ?? []))
        #expect(try check(page, flow, ancestors: ancestors)["loggedIn"] == .bool(true))
        #expect(!page.text.contains("evil.example"))
        #expect(!page.text.contains("\"*\""))
      }
    }
  }

  @Test("A foreign Origin gets no silent page")
  func foreignOrigin() async throws {
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      let page = try await flow.send(visitor, "GET", "/silent", [("Origin", "https://evil.example")])
      #expect(page.status == 403)
      #expect(page.field("access-control-allow-origin") == nil && page.variesByOrigin)
    }
  }

  @Test("The provider is not known yet: the page says so; a moment later the same frame works")
  func providerAbsent() async throws {
    try await FlowFixture.run(FlowFixture.Options(startsProvider: false)) { flow in
      let visitor = Visitor()
      let page = try await flow.send(visitor, "GET", "/silent", fields(flow))
      try refused(page, flow, "provider_unavailable")
      try await flow.provider.start()
      try await waitUntilTrue("a ready provider", within: .seconds(40)) { flow.running.isProviderReady }
      try refused(try await silent(flow, visitor), flow, "login_required")
    }
  }

  @Test("The provider is down when the code comes: the page says provider_unavailable")
  func providerDown() async throws {
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      await visitor.forget("intercom")
      let callback = try await flow.authorize(visitor, flow.begin(visitor, "/silent", fields(flow)))
      await flow.provider.goAway()
      try refused(try await visitor.send("GET", callback, FlowFixture.frame), flow, "provider_unavailable")
    }
  }

  @Test("The session store is down: every end of /silent is the page, and no cookie is deleted")
  func storeDown() async throws {
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      let other = Visitor()
      let callback = try await flow.authorize(other, flow.begin(other, "/login"))
      let silentVisitor = try await flow.signedIn()
      await silentVisitor.forget("intercom")
      let silentCallback = try await flow.authorize(silentVisitor, flow.begin(silentVisitor, "/silent", fields(flow)))
      flow.store.fail(Set(FaultySessionStore.Operation.allCases))
      for visitor in [visitor, Visitor()] {
        let page = try await flow.send(visitor, "GET", "/silent", fields(flow))
        try refused(page, flow, "store_unavailable")
        #expect(page.all("set-cookie").isEmpty)
      }
      let page = try await silentVisitor.send("GET", silentCallback, FlowFixture.frame)
      try refused(page, flow, "store_unavailable", ancestors: "\(flow.base) \(flow.app)")
      #expect(try await other.send("GET", callback, FlowFixture.navigation).status == 503)
      flow.store.fail([])
      #expect(try await other.send("GET", callback, FlowFixture.navigation).status == 302)
      #expect(try flow.message(try await flow.send(visitor, "GET", "/silent", fields(flow)))["loggedIn"] == .bool(true))
    }
  }

  // MARK: many at once

  /// What the page asks for by itself; nil when it posts its message.
  private func again(_ page: HTTPAnswer) -> String? {
    let mark = #"<script type="application/json" id="intercom-again">"#
    let json = page.text.split(separator: mark, maxSplits: 1).last?.split(separator: "</script>", maxSplits: 1).first
    return json.flatMap { try? StrictJSON.object(Array("{\"again\":\($0)}".utf8))["again"]?.string }
  }

  /// A frame's last page: it asks again as often as it is told to.
  private func finish(_ flow: FlowFixture, _ visitor: Visitor, _ callback: LoopbackURL) async throws -> HTTPAnswer {
    var page = try await visitor.send("GET", callback, FlowFixture.frame + [("Referer", flow.app + "/")])
    for _ in 0..<4 {
      guard let target = again(page) else { return page }
      // The page is its own referrer.
      let own = FlowFixture.frame + [("Referer", flow.base + "/callback")]
      page = try await flow.send(visitor, "GET", target, own)
      guard let location = page.field("location") else { continue }
      page = try await visitor.send("GET", flow.authorize(visitor, location), own)
    }
    throw FixtureFault.unexpected("it asks for ever")
  }

  @Test("Frames of many tabs that begin together without a cookie all end signed in, with the one session's token")
  func manyFrames() async throws {
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      for name in ["intercom", "intercom-login"] { await visitor.forget(name) }
      // More than a browser may have pending; each brings a cookie of its own, and the browser keeps the last.
      var locations: [String] = []
      for _ in 0..<8 {
        locations.append(try await flow.begin(visitor, "/silent", fields(flow)))
        if locations.count < 4 { await visitor.forget("intercom-login") }
      }
      var callbacks: [LoopbackURL] = []
      for location in locations { callbacks.append(try await flow.authorize(visitor, location)) }
      var tokens: Set<String> = []
      for callback in callbacks {
        let message = try check(try await finish(flow, visitor, callback), flow)
        #expect(message["loggedIn"] == .bool(true))
        tokens.insert(message["csrftoken"]?.string ?? "")
      }
      #expect(tokens.count == 1)
      #expect(try await flow.send(visitor, "GET", "/nob/x", [("X-CSRF-Token", tokens.first ?? "")]).status == 200)
    }
  }

  @Test("A page whose sign-in stays foreign asks twice by itself, then says so", arguments: [true, false])
  func alwaysForeign(knowsEmbedder: Bool) async throws {
    try await FlowFixture.run { flow in
      let visitor = Visitor()
      var target = "/silent"
      for round in 0..<3 {
        let location = try await flow.begin(
          visitor, target, FlowFixture.frame + (knowsEmbedder && round == 0 ? [("Referer", flow.app + "/")] : []))
        let state = FormText.value("state", in: String(location.drop { $0 != "?" }.dropFirst())) ?? ""
        await visitor.forget("intercom-login")
        _ = try await flow.begin(visitor)
        let referer = knowsEmbedder && round == 0 ? [("Referer", flow.app + "/")] : []
        let page = try await flow.send(visitor, "GET", "/callback?code=c&state=\(state)", FlowFixture.frame + referer)
        let isLast = round == 2
        try refused(page, flow, "login_foreign", ancestors: knowsEmbedder && round == 0 ? flow.app : "\(flow.base) \(flow.app)")
        #expect((again(page) == nil) == isLast)
        target = again(page) ?? ""
        #expect(target.contains("for=") == (knowsEmbedder && round == 0), "\(target)")
      }
      #expect(flow.codeCalls == 0)
    }
  }

  @Test("Silent sign-ins of one browser that end at the same moment are one session", arguments: 0..<3)
  func together(round: Int) async throws {
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      for name in ["intercom", "intercom-login"] { await visitor.forget(name) }
      var callbacks: [LoopbackURL] = []
      for _ in 0..<5 { callbacks.append(try await flow.authorize(visitor, flow.begin(visitor, "/silent", fields(flow)))) }
      let binding = try #require(await visitor.jar["intercom-login"]?.value)
      let (client, all) = (flow.client, callbacks)
      let pages = try await Replicas.together(callbacks.count) { number in
        try await client.send("GET", all[number], fields: FlowFixture.frame + [("Cookie", "intercom-login=\(binding)")])
      }
      let tokens = Set(try pages.map { try flow.message($0)["csrftoken"]?.string ?? "" })
      let cookies = Set(
        pages.flatMap { $0.all("set-cookie") }.filter { $0.hasPrefix("intercom=") }.compactMap { $0.split(separator: ";").first })
      #expect(tokens.count == 1 && cookies.count == 1)
      // The one from the sign-in at the beginning was another browser's as far as Intercom knows.
      #expect(try await flow.store.find(IndexKey(subject: "alice-id", issuer: Identifier(flow.issuer)), limit: 10).count == 2)
    }
  }

  @Test("A tab that signs in silently beside a live session keeps it: what other tabs were given stays good, and nobody hears of an end")
  func beside() async throws {
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      let cookie = try #require(await visitor.jar["intercom"]?.value)
      await visitor.forget("intercom")
      let callback = try await flow.authorize(visitor, flow.begin(visitor, "/silent", fields(flow)))
      // Meanwhile another tab has brought the session back.
      let token = "intercom=\(cookie); intercom-login=\(await visitor.jar["intercom-login"]?.value ?? "")"
      let page = try await flow.client.send("GET", callback, fields: FlowFixture.frame + [("Cookie", token)])
      #expect(try check(page, flow)["loggedIn"] == .bool(true))
      #expect(page.all("set-cookie").contains { $0.hasPrefix("intercom=\(cookie);") })
      #expect(try await flow.store.find(IndexKey(subject: "alice-id", issuer: Identifier(flow.issuer)), limit: 10).count == 1)
    }
  }

  @Test("Another person's silent sign-in beside a live session is a session of its own, and the old one ends (S9)")
  func anotherPerson() async throws {
    try await FlowFixture.run { flow in
      let (alice, bob) = (try await flow.signedIn("alice"), try await flow.signedIn("bob"))
      let old = try #require(await alice.jar["intercom"]?.value)
      await bob.forget("intercom")
      let callback = try await flow.authorize(bob, flow.begin(bob, "/silent", fields(flow)))
      let cookies = "intercom=\(old); intercom-login=\(await bob.jar["intercom-login"]?.value ?? "")"
      let page = try await flow.client.send("GET", callback, fields: FlowFixture.frame + [("Cookie", cookies)])
      #expect(try check(page, flow)["loggedIn"] == .bool(true))
      let new = try #require(page.all("set-cookie").first { $0.hasPrefix("intercom=") })
      #expect(!new.hasPrefix("intercom=\(old)"))
      #expect(try await flow.isAlive(alice) == false)
    }
  }

  @Test("Hidden frames do not push out the sign-in form that a person fills in")
  func formStays() async throws {
    try await FlowFixture.run { flow in
      let visitor = Visitor()
      let form = try await flow.begin(visitor, "/plain/tab")
      for _ in 0..<12 { _ = try await flow.begin(visitor, "/silent", fields(flow)) }
      let answer = try await visitor.send("GET", flow.authorize(visitor, form), FlowFixture.navigation)
      #expect(answer.status == 302 && answer.field("location") == "/plain/tab")
    }
  }
}
