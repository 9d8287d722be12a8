import IntercomTesting
import StrictJSON
import Testing

@Suite("Single logout in a browser", .serialized)
struct BrowserLogoutTests {
  @Test(
    "in Chromium: signed in at the wiki, silently here, signed out at the wiki, and the other way round",
    .needs(.keycloak, .files, .saml, .chromium), .timeLimit(.minutes(5)))
  func browser() async throws {
    let services = try Services.require(.keycloak, .files, .saml, .chromium)
    let wiki = SAMLApplication.wiki.url(services)
    try await Workplace.run { place in
      let browser = try await Chromium.start(pictures: "single-logout")
      try await browser.keepingPictures { browser in
        func status() async throws -> Int64? {
          try await browser.runAsync("return call('GET', '/fs/agenda.txt')").object?["status"]?.int64
        }
        func silentlySignedIn() async throws -> Bool? { try await browser.runAsync("return silent()").object?["loggedIn"]?.bool }
        func signInAtTheWiki() async throws {
          try await browser.open(wiki)
          try await browser.find("#username").type("alice")
          try await browser.find("#password").type("alice")
          try await browser.find("#kc-login").click()
          try await browser.waitForText("#person") { $0 == "alice" }
        }
        try await signInAtTheWiki()
        try await browser.picture("wiki")
        try await browser.open(place.mail + "/")
        #expect(try await silentlySignedIn() == true)
        #expect(try await status() == 200)
        try await browser.picture("mail")
        try await browser.open(wiki)
        try await browser.find("#sign-out").click()
        try await browser.waitForText("#signed-out") { $0 == "You are signed out." }
        try await browser.picture("signed-out-at-the-wiki")
        try await browser.open(place.mail + "/")
        #expect(try await status() == 401)
        #expect(try await silentlySignedIn() == false)
        try await browser.picture("mail-afterwards")

        try await signInAtTheWiki()
        try await browser.open(place.mail + "/")
        #expect(try await silentlySignedIn() == true)
        try await browser.open("\(place.base)/logout?returnTo=\(FormText.escape(place.mail + "/"))")
        try await browser.waitForURL("the mail page") { $0.hasPrefix(place.mail) }
        #expect(try await status() == 401)
        try await browser.open(wiki)
        _ = try await browser.find("#kc-login")
        try await browser.picture("wiki-afterwards")
      }
      await browser.quit()
    }
  }
}
