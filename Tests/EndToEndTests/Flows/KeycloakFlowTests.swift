import IntercomTesting
import StrictJSON
import Testing

/// The main job, on real servers. One at a time: Keycloak knows Intercom at one address.
@Suite("A mail app attaches a file through Intercom: Keycloak and Apache", .serialized)
struct KeycloakFlowTests {
  @Test(
    "in Chromium: sign in, silent frame, listing, download, upload, sign out at Keycloak, and the next request is 401",
    .needs(.keycloak, .files, .chromium), .timeLimit(.minutes(5)))
  func browser() async throws {
    try Services.require(.keycloak, .files, .chromium)
    try await Workplace.run { place in
      let browser = try await Chromium.start(pictures: "keycloak-flow")
      try await browser.keepingPictures { browser in
        let mail = MailPage(browser, place.base, mail: place.mail, stranger: place.stranger, issuer: place.services.issuer)
        try await mail.signIn()
        try await mail.signInSilently()
        try await mail.workWithFiles()
        try await mail.strangerIsRefused()
        try await mail.signOutAtKeycloak()
      }
      await browser.quit()
    }
  }

  @Test(
    "by hand: what is on the wire, from the sign-in form to the back-channel logout", .needs(.keycloak, .files), .timeLimit(.minutes(3)))
  func wire() async throws {
    try await Workplace.run { place in
      let alice = Visitor(timeout: .seconds(20))
      let refused = try await alice.fetch("PROPFIND", place.files, origin: place.mail, ["Depth": "1"])
      #expect(refused.status == 401)
      #expect(refused.field("content-type")?.hasPrefix("application/problem+json") == true)
      #expect(refused.field("access-control-allow-origin") == place.mail)
      #expect(refused.field("vary")?.lowercased().contains("origin") == true)

      try await signIn(alice, place)
      let listing = try await alice.fetch("PROPFIND", place.files, origin: place.mail, ["Depth": "1"])
      #expect(listing.status == 207)
      #expect(listing.text.contains("agenda.txt"))
      #expect(listing.field("access-control-allow-credentials") == "true")

      let part = try await alice.fetch("GET", place.files + "agenda.txt", origin: place.mail, ["Range": "bytes=0-5"])
      #expect(part.status == 206)
      #expect(part.text == "Agenda")

      let cookie = try #require(await alice.jar["intercom"])
      #expect(cookie.attributes.contains("httponly"))
      #expect(cookie.attributes.contains("samesite=lax"))

      let foreign = try await alice.fetch("PROPFIND", place.files, origin: "http://mail.intercom.localhost:1", ["Depth": "1"])
      #expect(foreign.status == 403)
      #expect(foreign.field("access-control-allow-origin") == nil)
      let unproven = try await alice.fetch("PROPFIND", place.files, ["Depth": "1"])
      #expect(unproven.status == 403)

      try await signOutAtKeycloak(alice, place)
      try await waitUntilTrue("401 after the logout at Keycloak") {
        try await alice.fetch("PROPFIND", place.files, origin: place.mail, ["Depth": "1"]).status == 401
      }
    }
  }

  @Test("alice's logout at Keycloak leaves bob signed in", .needs(.keycloak, .files), .timeLimit(.minutes(3)))
  func others() async throws {
    try await Workplace.run { place in
      let (alice, bob) = (Visitor(timeout: .seconds(20)), Visitor(timeout: .seconds(20)))
      try await signIn(alice, place)
      try await signIn(bob, place, as: "bob")
      try await signOutAtKeycloak(alice, place)
      try await waitUntilTrue("401 for alice") {
        try await alice.fetch("PROPFIND", place.files, origin: place.mail, ["Depth": "0"]).status == 401
      }
      #expect(try await bob.fetch("PROPFIND", place.files, origin: place.mail, ["Depth": "0"]).status == 207)
    }
  }

  @Test(
    "fault 15: while Keycloak is away sessions go on, a sign-in is 503, and all is well when it is back", .needs(.keycloak, .files),
    .timeLimit(.minutes(3)), arguments: [TCPRelay.Mode.refuses, .silent])
  func providerOutage(mode: TCPRelay.Mode) async throws {
    try await Workplace.run { place in
      let (alice, bob) = (Visitor(timeout: .seconds(20)), Visitor(timeout: .seconds(20)))
      try await signIn(alice, place)
      #expect(try await alice.fetch("PROPFIND", place.files, origin: place.mail, ["Depth": "0"]).status == 207)
      place.toProvider.become(mode)
      #expect(try await alice.fetch("PROPFIND", place.files, origin: place.mail, ["Depth": "0"]).status == 207)
      try await bob.open("\(place.base)/login?returnTo=\(FormText.escape(place.mail + "/"))", referer: place.mail + "/")
      let failed = try await bob.submit(["username": "bob", "password": "bob"])
      #expect(failed.status == 503)
      #expect(try await alice.fetch("PROPFIND", place.files, origin: place.mail, ["Depth": "0"]).status == 207)
      place.toProvider.become(.passes)
      try await signIn(bob, place, as: "bob", hasForm: false)
      #expect(try await bob.fetch("PROPFIND", place.files, origin: place.mail, ["Depth": "0"]).status == 207)
    }
  }

  @Test(
    "while the file store is away the answer is 502 that scripts can read, and the session is kept", .needs(.keycloak, .files),
    .timeLimit(.minutes(3)))
  func filesOutage() async throws {
    try await Workplace.run { place in
      let alice = Visitor(timeout: .seconds(20))
      try await signIn(alice, place)
      #expect(try await alice.fetch("PROPFIND", place.files, origin: place.mail, ["Depth": "0"]).status == 207)
      place.toFiles.become(.refuses)
      let away = try await alice.fetch("PROPFIND", place.files, origin: place.mail, ["Depth": "0"])
      #expect(away.status == 502)
      #expect(away.field("content-type")?.hasPrefix("application/problem+json") == true)
      #expect(away.field("access-control-allow-origin") == place.mail)
      place.toFiles.become(.passes)
      #expect(try await alice.fetch("PROPFIND", place.files, origin: place.mail, ["Depth": "0"]).status == 207)
    }
  }

  @Test(
    "After a sign-out that the browser does not carry to Keycloak its tokens are good for nothing there: revoked (RFC 7009)",
    .needs(.keycloak, .files), .timeLimit(.minutes(3)))
  func revoked() async throws {
    let backend = try RecordingServer()
    try await backend.start()
    let routes = ["own": "accessToken", "copy": "{exchange: {audience: files}}"].map { name, credential in
      "  \(name):\n    path: /\(name)\n    upstream: http://127.0.0.1:\(backend.port)\n    credential: \(credential)\n"
    }
    try await Workplace.run(routes: routes.joined()) { place in
      func isGood(_ token: String) async throws -> Bool {
        let answer = try await RawHTTPClient().get(
          place.services.issuer + "/protocol/openid-connect/userinfo", ["Authorization": "Bearer \(token)"])
        return answer.status == 200
      }
      func token(_ visitor: Visitor, _ path: String) async throws -> String {
        #expect(try await visitor.fetch("GET", place.base + path, origin: place.mail).status == 200)
        return String(try #require(backend.requests.last?.field("authorization")).dropFirst(7))
      }
      let (alice, bob) = (Visitor(timeout: .seconds(20)), Visitor(timeout: .seconds(20)))
      try await signIn(alice, place)
      try await signIn(bob, place, as: "bob")
      let (own, exchanged, others) = (try await token(alice, "/own/x"), try await token(alice, "/copy/x"), try await token(bob, "/own/x"))
      for token in [own, exchanged, others] { #expect(try await isGood(token)) }
      let page = [("Accept", "text/html"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document")]
      let answer = try await alice.send("GET", LoopbackURL(place.base + "/logout"), page)
      #expect(answer.status == 302 && answer.field("location")?.contains("id_token_hint=") == true)
      try await waitUntilTrue("Keycloak takes neither token") {
        for token in [own, exchanged] { guard try await !isGood(token) else { return false } }
        return true
      }
      #expect(try await isGood(others))
      #expect(!place.intercom.child.output.contains("session_aftercare_given_up"))
    }
    await backend.stop()
  }

  private func signIn(_ visitor: Visitor, _ place: Workplace, as name: String = "alice", hasForm: Bool = true) async throws {
    let form = try await visitor.open("\(place.base)/login?returnTo=\(FormText.escape(place.mail + "/"))", referer: place.mail + "/")
    #expect(form.status == 200)
    // A visitor whom the provider knows already comes back without a form.
    if hasForm { #expect(try await visitor.submit(["username": name, "password": name]).status == 200) }
    let location = await visitor.location
    #expect(location == place.mail + "/")
  }

  private func signOutAtKeycloak(_ visitor: Visitor, _ place: Workplace) async throws {
    try await visitor.open(place.services.issuer + "/protocol/openid-connect/logout?client_id=intercom")
    let done = try await visitor.submit(["confirmLogout": "Logout"])
    #expect(done.status == 200)
  }
}
