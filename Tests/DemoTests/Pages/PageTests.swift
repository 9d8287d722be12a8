import DemoWorkplace
import FoundationEssentials
import HTTPServer
import IntercomCore
import IntercomTesting
import StrictJSON
import Testing

@Suite(.serialized, .timeLimit(.minutes(4))) struct PageTests {
  @Test(
    "the pages' scripts pass TypeScript's strict check",
    .enabled(if: PageTools.archive("typescript-") != nil, "no TypeScript in INTERCOM_SHARED/tools (npm: typescript)"))
  func types() async throws {
    let scripts = try FileManager.default.contentsOfDirectory(atPath: PageTools.assets).filter { $0.hasSuffix(".js") }
    #expect(scripts.count >= 7)
    let options = [
      "--checkJs", "--allowJs", "--noEmit", "--strict", "--target", "es2022", "--module", "es2022", "--lib", "es2023,dom,dom.iterable",
    ]
    let compiler = try ChildProcess(try await PageTools.typeScript(), options + scripts.map { "\(PageTools.assets)/\($0)" }, log: "tsc")
    #expect(try await compiler.waitForExit(within: .seconds(60)) == .code(0), "\(compiler.outputTail)")
  }

  /// Serves the demo and opens a browser for `body`.
  private static func browse(
    _ name: String, arguments: [String] = [],
    _ body: @escaping @Sendable (Chromium, StandInIntercom, @Sendable (String) -> String) async throws -> Void
  ) async throws {
    let folder = try DemoFolder.make()
    defer { folder.remove() }
    try folder.seed("alice")
    let demo = try StandInIntercom(folder)
    try await TestServer.run(demo.table) { server in
      demo.open(on: server.port)
      let port = server.port
      let chromium = try await Chromium.start(pictures: name, arguments: arguments)
      do {
        try await chromium.keepingPictures { browser in try await body(browser, demo) { "http://\($0).intercom.localhost:\(port)/" } }
      } catch {
        demo.close()
        await chromium.quit()
        throw error
      }
      demo.close()
      await chromium.quit()
    }
  }

  private static func ready(_ browser: Chromium) async throws { _ = try await browser.find("html[data-ready]") }

  @Test("a person signs in, attaches a file from the store and saves one there", .enabled(if: Services.available([.chromium])))
  func mailWindow() async throws {
    try await Self.browse("demo-mail") { browser, demo, address in
      try await browser.open(address("mail"))
      try await Self.ready(browser)
      try await browser.waitForText("#signed-out") { $0.contains("You are not signed in.") }
      try await browser.find("#body").type("And a kept draft.")
      try await browser.find("#banner-sign-in").click()
      try await browser.waitForText("#person-text") { $0 == "Signed in" }
      #expect(try await browser.find("#body").property("value").string?.hasSuffix("And a kept draft.") == true)

      try await browser.find("#attach").click()
      _ = try await browser.find("#rows li:nth-child(6)")
      try await browser.waitForText("#person-text") { $0 == "Signed in as alice" }
      try await browser.find("#rows li:first-child .row").click()
      try await browser.waitForText("#rows") { $0.contains("Framework agreement.pdf") && !$0.contains("Notes.txt") }
      try await browser.find("#crumbs button").click()
      let label = "Räume und Schlüssel.csv"
      try await browser.waitForText("#rows") { $0.contains(label) }
      try await browser.run("[...document.querySelectorAll('#rows label')].find(row => row.innerText.includes('\(label)')).click()")
      try await browser.picture("picker")
      try await browser.find("#pick").click()
      try await browser.waitForText("#attachments .about") { $0.contains("108 B") && $0.contains("from Files") }
      #expect(demo.requests.last == "GET /R%C3%A4ume%20und%20Schl%C3%BCssel.csv")

      try await browser.find("#inbox button").click()
      try await browser.find("#reader-attachments button").click()
      try await browser.waitForText("#rows") { $0.contains("Contracts") }
      try await browser.find("#pick").click()
      try await browser.waitForText("#toasts") { $0.contains("Saved to Files as Sitzplan Großes Atelier.svg") }
      #expect(demo.requests.last == "PUT /Sitzplan%20Gro%C3%9Fes%20Atelier.svg")
      try await browser.find("#reader-attachments button").click()
      try await browser.waitForText("#rows") { $0.contains("Sitzplan") }
      try await browser.find("#pick").click()
      try await browser.waitForText("#toasts") { $0.contains("Not saved:") }

      try await browser.waitForText("#step-groups") { $0.contains("GET /fs/Räume und Schlüssel.csv") && $0.contains("GET /silent") }
      try await browser.picture("mail")
      let complaints = try await browser.console.filter { !$0.contains("412") }
      #expect(complaints.isEmpty, "\(complaints)")
    }
  }

  @Test("a session that ended elsewhere is noticed, said, and healed by signing in again", .enabled(if: Services.available([.chromium])))
  func endedSession() async throws {
    try await Self.browse("demo-ended") { browser, demo, address in
      try await browser.open(address("mail"))
      try await Self.ready(browser)
      try await browser.find("#banner-sign-in").click()
      try await browser.waitForText("#person-text") { $0 == "Signed in" }
      demo.endSession()
      try await browser.find("#attach").click()
      try await browser.waitForText("#picker-note") { $0 == "Sign in first." }
      try await browser.find(".picker-head button").click()
      try await browser.waitForText("#signed-out") { $0.contains("Your session is over.") }
      try await browser.find("#banner-sign-in").click()
      try await browser.waitForText("#person-text") { $0 == "Signed in" }
      try await browser.find("#sign-out").click()
      try await browser.waitForText("#signed-out") { $0.contains("You are not signed in.") }
    }
  }

  @Test(
    "no page has an accessibility fault that axe finds, in light and dark, wide and narrow",
    .enabled(
      if: Services.available([.chromium]) && PageTools.archive("axe-") != nil, "no axe-core in INTERCOM_SHARED/tools (npm: axe-core)"),
    arguments: [(false, "1280,900"), (true, "1280,900"), (false, "500,900")])
  func accessibility(isDark: Bool, window: String) async throws {
    let axe = try await PageTools.axe()
    let arguments = ["--window-size=\(window)"] + (isDark ? ["--force-dark-mode"] : [])
    try await Self.browse("demo-axe\(isDark ? "-dark" : "")-\(window.prefix(3))", arguments: arguments) { browser, _, address in
      @Sendable func look(_ name: String) async throws {
        try await browser.run(axe)
        let found = try await browser.runAsync(
          "const r = await axe.run(); return r.violations.map(v => v.id + ': ' + v.nodes.map(n => n.html.slice(0, 200)).join(' | '))")
        #expect(found.array == [], "\(name): \(found)")
        let tooWide = try await browser.run("return document.documentElement.scrollWidth > innerWidth")
        #expect(tooWide == false, "\(name) scrolls sideways")
        try await browser.picture(name)
      }
      try await browser.open(address("mail"))
      try await Self.ready(browser)
      #expect(try await browser.run("return matchMedia('(prefers-color-scheme: dark)').matches").bool == isDark)
      try await look("signed-out")
      try await browser.find("#banner-sign-in").click()
      try await browser.waitForText("#person-text") { $0 == "Signed in" }
      try await browser.find("#attach").click()
      try await browser.waitForText("#rows") { $0.contains("Notes.txt") }
      try await look("picker")
      try await browser.run("document.querySelectorAll('#rows input').forEach(box => box.click())")
      try await browser.find("#pick").click()
      try await browser.waitForText("#attachments-title") { $0.lowercased().contains("4 attachments") }
      _ = try await browser.find("#attachments .about")
      try await look("attached")
      try await browser.find("#inbox button").click()
      try await browser.find("#reader-attachments button").click()
      try await browser.waitForText("#rows") { $0.contains("Notes.txt") }
      try await browser.find("#new-folder").click()
      try await look("save")
      for page in ["portal", "files"] {
        try await browser.open(address(page))
        _ = try await browser.find("h1")
        try await look(page)
      }
    }
  }
}
