import FoundationEssentials
import HTTPMessage
import IntercomCore
import StrictJSON
import Synchronization

/// The browser answered with a WebDriver error, or with something that is none of its answers.
package struct BrowserError: Error, Sendable, CustomStringConvertible {
  /// The error code of the specification, such as `no such element`.
  package let code: String
  package let message: String

  package var description: String { "\(code): \(message)" }
}

/// Headless Chromium, driven through chromedriver by the W3C WebDriver protocol.
///
/// Each object is a browser of its own with an empty profile. `pictures` names the folder below `.build/pictures` that its screenshots go to.
///
/// [WebDriver](https://www.w3.org/TR/webdriver2/)
package final class Chromium: Sendable {
  private let driver: ChildProcess
  private let base: String
  private let client: RawHTTPClient
  private let pictures: String
  private let taken = Mutex(0)

  /// Where Debian's chromium-driver lies; nil when it or the browser is not installed.
  package static var driverPath: String? {
    let found = ["/usr/bin/chromedriver", "/usr/lib/chromium/chromedriver"].first { FileManager.default.isExecutableFile(atPath: $0) }
    return FileManager.default.isExecutableFile(atPath: browserPath) ? found : nil
  }
  private static let browserPath = "/usr/bin/chromium"

  /// Starts a browser.
  ///
  /// - Parameters:
  ///   - pictures: the name of the test, for its folder of screenshots.
  ///   - thirdPartyCookies: Debian's Chromium blocks them by default, so that a hidden frame of another site has no cookies.
  package static func start(
    pictures: String, thirdPartyCookies: Bool = false, arguments: [String] = []
  ) async throws -> Chromium {
    guard let path = driverPath else {
      throw BrowserError(code: "not installed", message: "chromium and chromium-driver: dev/test installs them")
    }
    let driver = try ChildProcess(path, ["--port=0"], log: "chromedriver")
    let line = try await driver.line("its port", within: .seconds(30)) { $0.contains("successfully on port ") }
    guard let word = line.split(separator: " ").last, let port = Int(word.filter(\.isNumber)) else {
      throw BrowserError(code: "no port", message: line)
    }
    let client = RawHTTPClient(timeout: .seconds(60))
    let answer = try await call(
      client, "POST", "http://127.0.0.1:\(port)/session",
      ["capabilities": ["alwaysMatch": capabilities(thirdPartyCookies: thirdPartyCookies, arguments: arguments)]])
    guard let session = answer.object?["sessionId"]?.string else { throw BrowserError(code: "no session", message: "\(answer)") }
    return Chromium(driver: driver, base: "http://127.0.0.1:\(port)/session/\(session)", client: client, pictures: pictures)
  }

  private init(driver: ChildProcess, base: String, client: RawHTTPClient, pictures: String) {
    self.driver = driver
    self.base = base
    self.client = client
    self.pictures = "\(PackageRoot.build)/pictures/\(pictures)"
  }

  private static func capabilities(thirdPartyCookies: Bool, arguments: [String]) -> JSONValue {
    let standard = [
      // Root, as in containers, may not use the sandbox; small containers have a small /dev/shm.
      "--headless=new", "--no-sandbox", "--disable-dev-shm-usage", "--disable-gpu", "--window-size=1280,900", "--lang=en-US",
      "--no-first-run", "--disable-background-networking", "--disable-component-update",
    ]
    return [
      "browserName": "chrome",
      "timeouts": ["script": 30_000, "pageLoad": 30_000, "implicit": 0],
      "goog:loggingPrefs": ["browser": "ALL"],
      "goog:chromeOptions": [
        "binary": .string(browserPath),
        "args": .array((standard + arguments).map { .string($0) }),
        "prefs": ["profile.cookie_controls_mode": thirdPartyCookies ? 0 : 1],
      ],
    ]
  }

  /// Ends the browser and its driver.
  package func quit() async {
    _ = try? await command("DELETE", "")
    await driver.terminate()
  }

  // MARK: Pages

  package func open(_ url: String) async throws { try await command("POST", "/url", ["url": .string(url)]) }
  package func reload() async throws { try await command("POST", "/refresh", [:]) }
  package var url: String { get async throws { try await command("GET", "/url").string ?? "" } }
  package var title: String { get async throws { try await command("GET", "/title").string ?? "" } }
  package var source: String { get async throws { try await command("GET", "/source").string ?? "" } }

  /// Waits until the address satisfies `matches` and gives it.
  @discardableResult
  package func waitForURL(
    _ what: String, within limit: Duration = .seconds(20), where matches: @Sendable (String) -> Bool
  ) async throws -> String {
    do {
      return try await waitUntil("the address of \(what)", within: limit, pause: .milliseconds(50)) {
        let url = try await self.url
        return matches(url) ? url : nil
      }
    } catch let failure as WaitFailure {
      throw WaitFailure(failure.description, within: limit, seen: "the address is \((try? await url) ?? "unknown")")
    }
  }

  // MARK: Elements

  /// The first element of a CSS selector in the current frame, waited for.
  package func find(_ selector: String, within limit: Duration = .seconds(15)) async throws -> BrowserElement {
    try await waitUntil("an element \(selector)", within: limit, pause: .milliseconds(50)) { try await self.all(selector).first }
  }

  /// The elements of a CSS selector that are there now.
  package func all(_ selector: String) async throws -> [BrowserElement] {
    let found = try await command("POST", "/elements", ["using": "css selector", "value": .string(selector)])
    return (found.array ?? []).compactMap { $0.object?[BrowserElement.key]?.string }.map { BrowserElement(browser: self, identifier: $0) }
  }

  /// Waits until the text of the first element of a selector satisfies `matches` and gives it.
  @discardableResult
  package func waitForText(
    _ selector: String, within limit: Duration = .seconds(15), where matches: @Sendable (String) -> Bool
  ) async throws -> String {
    try await waitUntil("the text wanted in \(selector)", within: limit, pause: .milliseconds(50)) {
      guard let text = try? await self.all(selector).first?.text else { return nil }
      return matches(text) ? text : nil
    }
  }

  // MARK: Frames and scripts

  /// Later calls concern the document of this frame.
  package func enter(frame element: BrowserElement) async throws { try await command("POST", "/frame", ["id": element.reference]) }
  /// Later calls concern the top document.
  package func leaveFrames() async throws { try await command("POST", "/frame", ["id": .null]) }

  /// Runs a function body in the page; what it returns comes back as JSON.
  @discardableResult
  package func run(_ script: String, _ arguments: [JSONValue] = []) async throws -> JSONValue {
    try await command("POST", "/execute/sync", ["script": .string(script), "args": .array(arguments)])
  }

  /// Runs an async function body in the page (it may `await`); what it returns comes back as JSON, what it throws as a `BrowserError`.
  @discardableResult
  package func runAsync(_ script: String, _ arguments: [JSONValue] = []) async throws -> JSONValue {
    let wrapped = """
      const done = arguments[arguments.length - 1], given = Array.from(arguments).slice(0, -1);
      (async function () { \(script) }).apply(null, given).then(value => done({value}), error => done({error: String(error)}));
      """
    let answer = try await command("POST", "/execute/async", ["script": .string(wrapped), "args": .array(arguments)])
    if let error = answer.object?["error"]?.string { throw BrowserError(code: "script", message: error) }
    return answer.object?["value"] ?? .null
  }

  // MARK: Cookies, logs and pictures

  /// The cookies of the current document: name, value, domain, path, secure, httpOnly, sameSite.
  package var cookies: [JSONObject] {
    get async throws { (try await command("GET", "/cookie").array ?? []).compactMap(\.object) }
  }
  package func deleteCookies() async throws { try await command("DELETE", "/cookie") }

  /// What the pages wrote to the console since the last call, errors of the network included.
  package var console: [String] {
    get async throws {
      (try await command("POST", "/se/log", ["type": "browser"]).array ?? []).compactMap { $0.object?["message"]?.string }
    }
  }

  /// Saves the window as a PNG and gives its path.
  @discardableResult
  package func picture(_ name: String) async throws -> String {
    let text = try await command("GET", "/screenshot").string ?? ""
    let number = taken.withLock { count in
      count += 1
      return count
    }
    try FileManager.default.createDirectory(atPath: pictures, withIntermediateDirectories: true)
    let path = "\(pictures)/\(number < 10 ? "0" : "")\(number)-\(name).png"
    guard let data = Data(base64Encoded: text), FileManager.default.createFile(atPath: path, contents: data) else {
      throw BrowserError(code: "no picture", message: path)
    }
    return path
  }

  /// Runs `story`; when it throws, saves a picture, the page and the console, and says where.
  package func keepingPictures<Value: Sendable>(_ story: @Sendable (Chromium) async throws -> Value) async throws -> Value {
    do {
      return try await story(self)
    } catch {
      let path = (try? await picture("failure")) ?? "no picture"
      let page = (try? await source) ?? ""
      let log = (try? await console) ?? []
      _ = FileManager.default.createFile(atPath: path + ".html", contents: Data(page.utf8))
      let place = (try? await url) ?? ""
      throw BrowserError(code: "\(error)", message: "at \(place)\npicture: \(path)\nconsole: \(log.joined(separator: "\n"))")
    }
  }

  // MARK: Protocol

  @discardableResult
  func command(_ method: String, _ path: String, _ body: JSONValue? = nil) async throws -> JSONValue {
    try await Self.call(client, method, base + path, body)
  }

  private static func call(_ client: RawHTTPClient, _ method: String, _ url: String, _ body: JSONValue?) async throws -> JSONValue {
    let answer = try await client.send(
      method, LoopbackURL(url), fields: [("Content-Type", "application/json; charset=utf-8")], body: body.map(\.serialized))
    // A screenshot of a full window is some megabytes of base64.
    let value = try StrictJSON.object(answer.body, limit: StrictJSON.Limit(bytes: 64 << 20))["value"] ?? .null
    guard answer.status == 200 else {
      throw BrowserError(
        code: value.object?["error"]?.string ?? "\(answer.status)", message: value.object?["message"]?.string ?? answer.text)
    }
    return value
  }
}

/// An element of a page, as long as its document lives.
package struct BrowserElement: Sendable {
  /// The name by which the specification marks a reference to an element (§12.1).
  static let key: Identifier = "element-6066-11e4-a52e-4f735466cecf"

  let browser: Chromium
  let identifier: String

  var reference: JSONValue { [Self.key: .string(identifier)] }

  package func click() async throws { try await browser.command("POST", "/element/\(identifier)/click", [:]) }
  /// Types as a person would, into what is there already; into a file input it types paths.
  package func type(_ text: String) async throws {
    try await browser.command("POST", "/element/\(identifier)/value", ["text": .string(text)])
  }
  package func clear() async throws { try await browser.command("POST", "/element/\(identifier)/clear", [:]) }
  /// The text as a person sees it; hidden parts are left out.
  package var text: String { get async throws { try await browser.command("GET", "/element/\(identifier)/text").string ?? "" } }
  package var isVisible: Bool { get async throws { try await browser.command("GET", "/element/\(identifier)/displayed").bool ?? false } }
  package func attribute(_ name: String) async throws -> String? {
    try await browser.command("GET", "/element/\(identifier)/attribute/\(name)").string
  }
  package func property(_ name: String) async throws -> JSONValue {
    try await browser.command("GET", "/element/\(identifier)/property/\(name)")
  }
}
