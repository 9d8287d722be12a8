import FoundationEssentials
import IntercomTesting
import StrictJSON
import Testing

@Suite("Harness: the browser", .serialized, .needs(.chromium))
struct ChromiumTests {
  /// A page as a data URL.
  private func page(_ html: String) -> String { "data:text/html;charset=utf-8," + FormText.escape(html) }

  @Test("a page is opened, filled in, clicked and read, in frames too, and pictures are PNG files")
  func story() async throws {
    let browser = try await Chromium.start(pictures: "harness")
    let frame = "<p id=inner>within</p>"
    try await browser.open(
      page(
        """
        <title>Sample</title><input id=name><button onclick="out.textContent = 'Hello ' + document.querySelector('#name').value">Go</button>
        <p id=out></p><iframe srcdoc="\(frame)"></iframe>
        """))
    #expect(try await browser.title == "Sample")
    try await browser.find("#name").type("Zoë \"quoted\"")
    try await browser.find("button").click()
    #expect(try await browser.waitForText("#out") { !$0.isEmpty } == "Hello Zoë \"quoted\"")
    #expect(try await browser.find("#name").property("value").string == "Zoë \"quoted\"")
    try await browser.enter(frame: browser.find("iframe"))
    #expect(try await browser.find("#inner").text == "within")
    try await browser.leaveFrames()
    #expect(try await browser.all("#inner").isEmpty)
    #expect(try await browser.run("return arguments[0] + 1", [41]).int64 == 42)
    #expect(try await browser.runAsync("return {sum: await Promise.resolve(given[0])}", [7]).object?["sum"]?.int64 == 7)
    await #expect(throws: BrowserError.self) { try await browser.runAsync("throw new Error('thrown')") }
    let picture = try await browser.picture("sample")
    #expect(FileManager.default.contents(atPath: picture)?.starts(with: [0x89, 0x50, 0x4e, 0x47]) == true)
    await browser.quit()
  }

  @Test("a story that fails leaves a picture and says where")
  func failure() async throws {
    let browser = try await Chromium.start(pictures: "harness-failure")
    try await browser.open(page("<h1>Broken</h1>"))
    let error = await #expect(throws: BrowserError.self) {
      try await browser.keepingPictures { browser in _ = try await browser.find("#missing", within: .milliseconds(200)) }
    }
    let path = try #require(error?.message.split(separator: "\n").first { $0.hasPrefix("picture: ") }?.dropFirst(9))
    #expect(FileManager.default.fileExists(atPath: String(path)))
    await browser.quit()
  }
}
