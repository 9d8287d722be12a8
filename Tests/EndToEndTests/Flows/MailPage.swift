import FoundationEssentials
import HTTPMessage
import HTTPServer
import IntercomTesting
import StrictJSON
import Testing

/// The steps of a person in front of the mail page.
struct MailPage: Sendable {
  private let browser: Chromium
  private let base: String
  private let mail: String
  private let stranger: String
  private let issuer: String

  /// - Parameters:
  ///   - base: Intercom's base URL.
  ///   - mail: the origin of the page.
  ///   - stranger: the same page on an origin that Intercom does not know.
  init(_ browser: Chromium, _ base: String, mail: String, stranger: String, issuer: String) {
    self.browser = browser
    self.base = base
    self.mail = mail
    self.stranger = stranger
    self.issuer = issuer
  }

  func call(_ method: String, _ path: String, _ headers: JSONValue = [:], body: JSONValue = .null) async throws -> JSONObject {
    let answer = try await browser.runAsync(
      "return call(given[0], given[1], given[2], given[3] ?? undefined)", [.string(method), .string(path), headers, body])
    return try #require(answer.object)
  }

  func silent(_ limit: String = "") async throws -> JSONObject {
    try #require(try await browser.runAsync("return silent(\(limit))").object)
  }

  func signIn() async throws {
    try await browser.open(mail + "/")
    let before = try await silent()
    #expect(before["loggedIn"]?.bool == false)
    #expect(before["reason"]?.string == "login_required")
    #expect(before["origin"]?.string == base)
    #expect(before["csrftoken"]?.string?.isEmpty == false)
    #expect(try await call("PROPFIND", "/fs/", ["Depth": "1"])["status"]?.int64 == 401)
    try await browser.find("#sign-in").click()
    try await browser.find("#username").type("alice")
    try await browser.find("#password").type("alice")
    try await browser.picture("keycloak")
    try await browser.find("#kc-login").click()
    try await browser.waitForURL("the mail page") { $0.hasPrefix(mail) }
    #expect(try await silent()["loggedIn"]?.bool == true)
  }

  /// Without Intercom's cookie, but with Keycloak's: the hidden frame alone signs in.
  func signInSilently() async throws {
    try await browser.open(base + "/")
    let names = try await browser.cookies.compactMap { $0["name"]?.string }
    #expect(names.contains("intercom"))
    try await browser.deleteCookies()
    try await browser.open(mail + "/")
    #expect(try await call("PROPFIND", "/fs/", ["Depth": "1"])["status"]?.int64 == 401)
    let fresh = try await silent()
    #expect(fresh["loggedIn"]?.bool == true)
    let known = try await silent()
    let times = "silent login \(fresh["milliseconds"]?.int64 ?? -1) ms, with a session \(known["milliseconds"]?.int64 ?? -1) ms\n"
    _ = FileManager.default.createFile(atPath: PackageRoot.build + "/pictures/keycloak-flow/times.txt", contents: Data(times.utf8))
  }

  /// As when a browser comes up with its tabs of yesterday: so many hidden frames at once, without any cookie of Intercom's. All are told the
  /// same: its token.
  func signInWithFrames(_ count: Int) async throws -> String {
    try await browser.open(base + "/")
    try await browser.deleteCookies()
    try await browser.open(mail + "/")
    let frames = try await browser.runAsync(
      "return Promise.all(Array.from({length: given[0]}, () => silent()))", [.int64(Int64(count))])
    let messages = try #require(frames.array).compactMap(\.object)
    #expect(
      messages.count == count && messages.allSatisfy { $0["loggedIn"]?.bool == true }, "\(messages.map { $0["reason"]?.string ?? "" })")
    let tokens = Set(messages.compactMap { $0["csrftoken"]?.string })
    #expect(tokens.count == 1)
    return tokens.first ?? ""
  }

  func workWithFiles() async throws {
    let listing = try await call("PROPFIND", "/fs/", ["Depth": "1"])
    #expect(listing["status"]?.int64 == 207)
    #expect(listing["text"]?.string?.contains("agenda.txt") == true)
    let agenda = try await call("GET", "/fs/agenda.txt")
    #expect(agenda["status"]?.int64 == 200)
    #expect(agenda["text"]?.string?.hasPrefix("Agenda\n") == true)
    let large = String(repeating: "Zeile für Zeile\n", count: 20_000)
    #expect(try await call("PUT", "/fs/upload.txt", ["Content-Type": "text/plain"], body: .string(large))["status"]?.int64 == 201)
    #expect(try await call("GET", "/fs/upload.txt")["text"]?.identifier == .init(large))
    let target = base + "/fs/moved.txt"
    #expect(try await call("MOVE", "/fs/upload.txt", ["Destination": .string(target)])["status"]?.int64 == 201)
    #expect(try await call("GET", "/fs/upload.txt")["status"]?.int64 == 404)
    #expect(try await call("DELETE", "/fs/moved.txt")["status"]?.int64 == 204)
    try await browser.picture("files")
  }

  /// The same page on an origin that is not listed reads nothing.
  func strangerIsRefused() async throws {
    try await browser.open(stranger + "/")
    await #expect(throws: BrowserError.self) { try await call("GET", "/fs/agenda.txt") }
    await #expect(throws: BrowserError.self) { try await silent("2000") }
    try await browser.open(mail + "/")
  }

  func signOutAtKeycloak() async throws {
    #expect(try await call("PROPFIND", "/fs/", ["Depth": "0"])["status"]?.int64 == 207)
    try await browser.open(issuer + "/protocol/openid-connect/logout?client_id=intercom")
    try await browser.find("#kc-logout").click()
    try await browser.waitForText("body") { $0.lowercased().contains("logged out") }
    try await browser.picture("signed-out")
    try await browser.open(mail + "/")
    try await waitUntilTrue("401 after the logout at Keycloak") {
      try await call("PROPFIND", "/fs/", ["Depth": "0"])["status"]?.int64 == 401
    }
    let after = try await silent()
    #expect(after["loggedIn"]?.bool == false)
    #expect(after["reason"]?.string == "login_required")
    try await browser.picture("after")
  }
}

extension MailPage {
  /// Serves the page at every path.
  static func add(to table: inout EndpointTable, _ base: String) {
    let page = Array(text(base).utf8)
    table.add(.get, "/*") { _, _ in Response(200, ["Content-Type": "text/html; charset=utf-8", "Cache-Control": "no-store"], page) }
  }

  /// A page that speaks to Intercom as mail apps do: a hidden frame for the sign-in, then requests with credentials.
  private static func text(_ base: String) -> String {
    """
    <!doctype html><html lang="en"><meta charset="utf-8"><title>Mail</title>
    <style>body{font:16px sans-serif;margin:2em} pre{background:#eee;padding:1em;min-height:10em}</style>
    <h1>Mail</h1><p><a id="sign-in">Sign in</a></p><pre id="out"></pre>
    <script>
    const base = "\(base)", out = document.querySelector("#out");
    document.querySelector("#sign-in").href = base + "/login?returnTo=" + encodeURIComponent(location.href);
    const say = (text) => { out.textContent += text + "\\n"; };
    async function silent(limit = 10000) {
      const begin = performance.now();
      const answer = await new Promise((resolve, reject) => {
        const frame = document.createElement("iframe");
        frame.hidden = true;
        frame.src = base + "/silent";
        addEventListener("message", (event) => {
          if (event.source !== frame.contentWindow) return;
          frame.remove();
          resolve({...event.data, origin: event.origin});
        });
        setTimeout(() => { frame.remove(); reject(new Error("no message from /silent")); }, limit);
        document.body.append(frame);
      });
      answer.milliseconds = Math.round(performance.now() - begin);
      say("silent: loggedIn " + answer.loggedIn + (answer.reason ? ", " + answer.reason : "") + ", " + answer.milliseconds + " ms");
      return answer;
    }
    async function call(method, path, headers, body) {
      const answer = await fetch(base + path, {method, headers, body, credentials: "include"});
      const text = await answer.text();
      say(method + " " + path + ": " + answer.status + ", " + text.length + " characters");
      return {status: answer.status, text, type: answer.headers.get("content-type")};
    }
    </script></html>
    """
  }
}
