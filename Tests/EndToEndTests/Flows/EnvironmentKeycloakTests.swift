import Cryptography
import FoundationEssentials
import IntercomCore
import IntercomTesting
import StrictJSON
import Testing

/// The drop-in on real servers.
@Suite(
  "In the place of the Intercom Service: Keycloak, Apache, Synapse, Redis", .serialized, .enabled(if: RedisServer.isAvailable),
  .timeLimit(.minutes(5)))
struct EnvironmentKeycloakTests {
  @Test(
    "by variables alone: sign-in, silent frame, files, wiki, navigation, uuid, logout at Keycloak, with both forms of token exchange",
    .needs(.keycloak, .files, .synapse), arguments: [ExchangeForm.standard, .legacy])
  func story(form: ExchangeForm) async throws {
    try await RealDropIn.run(form) { place in
      let (base, alice) = (place.base, Visitor(timeout: .seconds(20)))
      #expect(try await alice.fetch("PROPFIND", base + "/fs/", origin: place.mail, ["Depth": "1"]).status == 401)
      try await signIn(alice, place)
      let silent = try await alice.open(base + "/silent", dest: "iframe", referer: place.mail + "/")
      #expect(silent.text.contains(#"{"loggedIn":true,"csrftoken":""#))

      let listing = try await alice.fetch("PROPFIND", base + "/fs/", origin: place.mail, ["Depth": "1"])
      #expect(listing.status == 207 && listing.text.contains("agenda.txt"))
      #expect(listing.field("access-control-allow-origin") == place.mail)
      #expect(try await alice.fetch("GET", base + "/wiki/news", origin: place.mail).status == 200)
      #expect(place.wiki.server.requests.last?.path == "/news")
      #expect(try await alice.fetch("GET", base + "/navigation.json?lang=de_DE", origin: place.mail).status == 200)
      let seen = try #require(place.portal.requests.last)
      #expect(seen.path == "/univention/portal/navigation.json" && seen.query == "lang=de_DE")
      #expect(seen.field("authorization") == "Basic " + Base64.encode(Array("alice:\(RealDropIn.portalKey)".utf8)))
      #expect(try await alice.fetch("GET", base + "/uuid", origin: place.mail).text == "alice")

      try await signOutAtKeycloak(alice, place)
      try await waitUntilTrue("401 after the logout at Keycloak") {
        try await alice.fetch("PROPFIND", base + "/fs/", origin: place.mail, ["Depth": "0"]).status == 401
      }
    }
  }

  @Test(
    "in Chromium: the apps of a deployment as they are: hidden frame, files, navigation, wiki, meetings with the token, sign-out at Keycloak",
    .needs(.keycloak, .files, .synapse, .chromium))
  func browser() async throws {
    try Services.require(.keycloak, .files, .synapse, .chromium)
    try await RealDropIn.run { place in
      let browser = try await Chromium.start(pictures: "drop-in")
      try await browser.keepingPictures { browser in
        let mail = MailPage(browser, place.base, mail: place.mail, stranger: place.stranger, issuer: place.services.issuer)
        try await mail.signIn()
        try await mail.signInSilently()
        try await mail.workWithFiles()
        #expect(try await mail.call("GET", "/wiki/news")["text"]?.string == "xwikioidc /news")
        #expect(try await mail.call("GET", "/navigation.json?lang=de_DE")["status"]?.int64 == 200)
        #expect(place.portal.requests.last?.query == "lang=de_DE")
        #expect(try await mail.call("GET", "/uuid")["text"]?.string == "alice")
        // The app's own scripts send the token of the frame's message; without it there are no meetings.
        #expect(try await mail.call("GET", "/nob/whoami")["status"]?.int64 == 403)
        for _ in 0..<3 {
          let token = try await mail.signInWithFrames(8)
          #expect(try await mail.call("GET", "/nob/whoami", ["X-CSRF-Token": .string(token)])["status"]?.int64 == 200)
        }
        let token = try #require(try await mail.silent()["csrftoken"]?.string)
        let whoami = try await mail.call("GET", "/nob/whoami", ["X-CSRF-Token": .string(token)])
        #expect(whoami["text"]?.string?.contains("@alice:") == true, "\(whoami["text"]?.string ?? "")")
        try await mail.strangerIsRefused()
        try await mail.signOutAtKeycloak()
      }
      await browser.quit()
    }
  }

  @Test(
    "two replicas on one Redis: one Matrix device serves at both, a killed one is not missed, and a logout anywhere ends it everywhere",
    .needs(.keycloak, .files, .synapse))
  func replicas() async throws {
    try await RealDropIn.run(replicas: 2) { place in
      let (alice, bob) = (Visitor(timeout: .seconds(20)), Visitor(timeout: .seconds(20)))
      for (visitor, name) in [(alice, "alice"), (bob, "bob")] { try await signIn(visitor, place, name) }
      // Both ask at once at both: one device each.
      for (visitor, name) in [(alice, "alice"), (bob, "bob")] {
        async let (here, there) = (whoami(visitor, place, 0), whoami(visitor, place, 1))
        let (first, second) = try await (here, there)
        #expect(first == second && first.user == "@\(name):\(place.services.matrixServerName)")
      }
      let (device, other) = (try await whoami(alice, place, 1).device, try await whoami(bob, place, 1).device)
      let listing = try await alice.fetch("PROPFIND", place.url(1, "/fs/"), origin: place.mail, ["Depth": "1"])
      #expect(listing.status == 207 && listing.text.contains("agenda.txt"))

      // A sign-out at the second one, without Keycloak: it ends at the first one too, and the device at the homeserver.
      #expect(try await open(alice, place.url(1, "/logout"), "document").status == 302)
      #expect(try await alice.fetch("GET", place.url(0, "/uuid"), origin: place.mail).status == 401)
      try await waitUntilTrue("the end of the device") { try await !place.devices(of: "alice").contains(device) }
      #expect(try await place.devices(of: "bob").contains(other))

      // Keycloak tells the first one, and the second one obeys.
      try await signOutAtKeycloak(bob, place)
      try await waitUntilTrue("401 at the second one") {
        try await bob.fetch("GET", place.url(1, "/uuid"), origin: place.mail).status == 401
      }
      try await waitUntilTrue("the end of the other device") { try await !place.devices(of: "bob").contains(other) }

      let again = Visitor(timeout: .seconds(20))
      try await signIn(again, place)
      let kept = try await whoami(again, place, 0)
      place.intercoms[0].child.send(9)
      _ = try await place.intercoms[0].child.waitForExit()
      #expect(try await whoami(again, place, 1) == kept)
      #expect(try await again.fetch("PROPFIND", place.url(1, "/fs/"), origin: place.mail, ["Depth": "0"]).status == 207)
    }
  }

  // MARK: steps

  private func signIn(_ visitor: Visitor, _ place: RealDropIn, _ name: String = "alice") async throws {
    try await visitor.open(place.base + "/login")
    #expect(try await visitor.submit(["username": name, "password": name]).status == 200)
    #expect(await visitor.location == place.base + "/")
  }

  private func signOutAtKeycloak(_ visitor: Visitor, _ place: RealDropIn) async throws {
    try await visitor.open(place.services.issuer + "/protocol/openid-connect/logout?client_id=\(place.form.client)")
    #expect(try await visitor.submit(["confirmLogout": "Logout"]).status == 200)
  }

  /// A page at a replica, without following redirects.
  private func open(_ visitor: Visitor, _ url: String, _ dest: String) async throws -> HTTPAnswer {
    try await visitor.send("GET", LoopbackURL(url), [("Accept", "text/html"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", dest)])
  }

  /// Whose token a replica brings to the homeserver, and of which device.
  private func whoami(_ visitor: Visitor, _ place: RealDropIn, _ replica: Int) async throws -> MatrixDevice {
    let page = try await open(visitor, place.url(replica, "/silent"), "iframe")
    let token = page.text.split(separator: "\"csrftoken\":\"").last.map { String($0.prefix { $0 != "\"" }) } ?? ""
    let answer = try await visitor.fetch("GET", place.url(replica, "/nob/whoami"), origin: place.mail, ["X-CSRF-Token": token])
    return try MatrixDevice(answer)
  }
}
