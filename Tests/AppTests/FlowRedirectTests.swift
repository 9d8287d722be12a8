import HTTPMessage
import HTTPServer
import IntercomCore
import IntercomTesting
import StrictJSON
import Testing

@Suite("Flow: open redirects", .serialized)
struct FlowRedirectTests {
  /// Every trick in front of, around and behind each host that an attacker may own. APP and BASE stand for an allowed origin and Intercom's,
  /// APPHOST and BASEHOST for their hosts.
  static let payloads: [String] = {
    let hosts = [
      "evil.example", "BASEHOST.evil.example", "evil-BASEHOST", "BASEHOST@evil.example", "APPHOST:1", "APPHOST.", "BASEHOST%2eevil.example",
      "BASEHOST%00.evil.example", "BASEHOST\\.evil.example", "[::ffff:1.2.3.4]", "0x7f.1", "xAPPHOST", "evil.example\u{3002}com",
      "evil\u{2024}example",
    ]
    let fronts = [
      "//", "///", "////", "/\\", "\\\\", "\\/", "/\t/", "/\n/", "/\r\n/", "\t//", " //", "/ /", "http://", "https:", "http:/", "https:///",
      "http:\\\\", "ftp://", "javascript://", "data:", "//u:p@", "http://u@", "BASE@", "APP:x@", "/.//", "/..//", "/%2e//", "/./\\",
      "//%09/", "\u{0}//", "\u{1}http://", "view-source:http://", "APP\\@", "http:\\\\APPHOST@", "/a/..//", "ws://", "HTTP://", "BASE.",
      "http://\u{2025}/", "/\u{ff0f}", "%2f%2f", "http%3A%2F%2F", "http://;@", "//;@", "/;@", "blob:http://", "BASE:80@", "APP%2f@",
      "APP#@",
      "http://[", "//[", "\u{feff}//", "\u{200b}//", "http:////",
    ]
    let backs = ["", "/", "/x?BASE", "#@BASEHOST/"]
    return fronts.flatMap { front in hosts.flatMap { host in backs.map { front + host + $0 } } }
  }()

  private static func concrete(_ flow: FlowFixture, _ text: String) -> String {
    func host(_ origin: String) -> String { String(origin.dropFirst("http://".count)) }
    return text.replacing("BASEHOST", with: host(flow.base)).replacing("APPHOST", with: host(flow.app)).replacing("BASE", with: flow.base)
      .replacing("APP", with: flow.app)
  }

  /// The origins that a redirect of a sign-in or sign-out may lead to.
  private static func allowed(_ flow: FlowFixture) -> [String] { [flow.base, flow.app] }

  private static func isAllowed(_ location: String, _ flow: FlowFixture) -> Bool {
    let isPath = location.hasPrefix("/") && !location.hasPrefix("//") && !location.utf8.contains(UInt8(ascii: "\\"))
    let isPlain = location.utf8.allSatisfy { $0 > 0x20 && $0 < 0x7f }
    return isPlain
      && (isPath
        || allowed(flow).contains { origin in location == origin || ["/", "?", "#"].contains { location.hasPrefix(origin + $0) } })
  }

  /// The targets of sign-outs without a session: one answer each.
  private static func logoutTargets(_ flow: FlowFixture, _ payloads: [String]) async throws -> [(payload: String, location: String)] {
    var found: [(String, String)] = []
    for payload in payloads {
      let answer = try await flow.send(
        Visitor(), "GET", "/logout?returnTo=" + FormText.escape(concrete(flow, payload)), FlowFixture.navigation)
      found.append((payload, answer.field("location") ?? "status \(answer.status)"))
    }
    return found
  }

  @Test(
    "Open redirect: of 3,000 generated targets none leaves the allow list, by /logout, /login, the retry link or /silent (S8, fault 52)",
    arguments: ClientVersion.allCases)
  func corpus(_ version: ClientVersion) async throws {
    try await FlowFixture.run(over: version) { flow in
      #expect(Self.payloads.count >= 3_000)
      for (payload, location) in try await Self.logoutTargets(flow, Self.payloads) {
        #expect(Self.isAllowed(location, flow), "\(payload.debugDescription) leads to \(location)")
      }
      // A whole sign-in is dearer: each front and each host once. /silent takes no target at all.
      let visitor = try await flow.signedIn()
      for payload in stride(from: 0, to: Self.payloads.count, by: 29).map({ Self.payloads[$0] }) {
        let wanted = FormText.escape(Self.concrete(flow, payload))
        let begun = try await flow.begin(visitor, "/login?returnTo=" + wanted)
        #expect(begun.hasPrefix(flow.issuer + "/"), "\(payload.debugDescription)")
        let callback = try await flow.authorize(visitor, begun)
        let answer = try await visitor.send("GET", callback, FlowFixture.navigation)
        #expect(answer.status == 302 && Self.isAllowed(answer.field("location") ?? "", flow), "\(payload.debugDescription)")
        let retry = try await visitor.send("GET", callback, FlowFixture.navigation)
        #expect(retry.status == 400 && !retry.text.contains("evil"), "\(payload.debugDescription)")
        let silent = try await flow.send(visitor, "GET", "/silent?returnTo=" + wanted, FlowFixture.frame)
        #expect(silent.status == 200 && !silent.text.contains("evil"), "\(payload.debugDescription)")
      }
      // Twice is none: two readers could take two.
      let twice = try await flow.send(Visitor(), "GET", "/logout?returnTo=/plain/x&returnTo=//evil.example", FlowFixture.navigation)
      #expect(twice.field("location") == "/")
      // A page's own path, come back to after the sign-in, leads nowhere else either.
      for path in [
        "//evil.example/plain", "/\\evil.example", "/plain/..//evil.example", "/plain//evil.example", "/plain/x?u=//evil.example",
      ] {
        let answer = try await flow.ask("GET", path, cookie: nil, FlowFixture.navigation)
        guard answer.status == 302 else { continue }
        let other = Visitor()
        await other.plant(answer.all("set-cookie").first ?? "", at: try flow.url("/"))
        let back = try await other.send("GET", flow.authorize(other, answer.field("location") ?? ""), FlowFixture.navigation)
        #expect(Self.isAllowed(back.field("location") ?? "", flow), "\(path)")
      }
    }
  }

  @Test(
    "Open redirect in a browser: Chromium reads each answered target as one of the allow list, and ends there (S8, fault 52)",
    .enabled(if: Services.available([.chromium])), .timeLimit(.minutes(3)), arguments: ClientVersion.allCases)
  func browser(_ version: ClientVersion) async throws {
    try await FlowFixture.run(over: version) { flow in
      let found = try await Self.logoutTargets(flow, stride(from: 0, to: Self.payloads.count, by: 3).map { Self.payloads[$0] })
      let browser = try await Chromium.start(pictures: "open-redirect")
      try await browser.keepingPictures { browser in
        try await browser.open(flow.base + "/")
        let locations = JSONValue.array(found.map { .string($0.location) })
        let origins = try await browser.run(
          "return arguments[0].map(location => new URL(location, arguments[1]).origin)", [locations, .string(flow.base + "/logout")])
        let read = (origins.array ?? []).compactMap(\.string)
        #expect(read.count == found.count)
        for (index, origin) in read.enumerated() {
          #expect(Self.allowed(flow).contains(origin), "\(found[index].payload.debugDescription) is \(origin) to Chromium")
        }
        // The browser's own reading of the query too, for one payload of each front.
        for payload in stride(from: 0, to: Self.payloads.count, by: 113).map({ Self.payloads[$0] }) {
          let target = flow.base + "/logout?returnTo=" + FormText.escape(Self.concrete(flow, payload))
          try await browser.open(target)
          let place = try await browser.url
          #expect(Self.allowed(flow).contains { place.hasPrefix($0 + "/") }, "\(payload.debugDescription) ends at \(place)")
        }
      }
      await browser.quit()
    }
  }
}

@Suite("Flow: hostile pages in a browser", .serialized)
struct FlowEmbedderTests {
  /// A page that frames Intercom's paths and notes every message and what it can see of the frames.
  private static func page(_ base: String, _ paths: [String]) -> [UInt8] {
    Array(
      """
      <!doctype html><meta charset="utf-8"><title>Embedder</title><pre id="out"></pre>
      <script>
      const out = document.querySelector("#out"), seen = [];
      const say = () => { out.textContent = JSON.stringify(seen); };
      addEventListener("message", (event) => { seen.push({kind: "message", origin: event.origin, data: JSON.stringify(event.data)}); say(); });
      for (const path of \(JSONValue.array(paths.map { .string($0) }).serializedText)) {
        const frame = document.createElement("iframe");
        frame.addEventListener("load", () => {
          let content = "closed";
          try { content = frame.contentDocument ? frame.contentDocument.body.textContent : "closed"; } catch (error) {}
          seen.push({kind: "frame", path, content});
          try { frame.contentWindow.postMessage({ask: "token"}, "*"); } catch (error) {}
          say();
        });
        frame.src = "\(base)" + path;
        document.body.append(frame);
      }
      </script>
      """.utf8)
  }

  private struct Seen: Sendable {
    var kind: String
    var path: String
    var content: String
    var data: String
  }

  private static func seen(_ browser: Chromium, atLeast frames: Int) async throws -> [Seen] {
    let text = try await browser.waitForText("#out", within: .seconds(20)) { text in
      text.split(separator: #""kind":"frame""#, omittingEmptySubsequences: false).count > frames
    }
    return try (StrictJSON.parse(Array(text.utf8)).array ?? []).compactMap(\.object).map { entry in
      func value(_ name: Identifier) -> String { entry[name]?.string ?? "" }
      return Seen(kind: value("kind"), path: value("path"), content: value("content"), data: value("data"))
    }
  }

  @Test(
    "Message leak and clickjacking: a hostile embedder of a signed-in user gets no message and no page, the listed one its message (S22)",
    .enabled(if: Services.available([.chromium])), .timeLimit(.minutes(3)), arguments: ClientVersion.allCases)
  func embedders(_ version: ClientVersion) async throws {
    // Chromium takes every name below `localhost` for a site of its own: the listed page is below Intercom's.
    var options = FlowFixture.Options()
    options.deployment = { deployment in
      deployment.origins = deployment.origins.compactMap { origin in
        Origin(serialized: origin.description.replacing("app.localhost", with: "mail.intercom.localhost"))
      }
    }
    try await FlowFixture.run(options, over: version) { flow in
      let listed = flow.app.replacing("app.localhost", with: "mail.intercom.localhost")
      let paths = ["/silent", "/", "/logout", "/plain/page", "/login"]
      flow.upstream.answer { request in
        guard request.path.hasPrefix("/embed") else { return nil }
        let wanted = request.path.hasSuffix("listed") ? ["/silent"] : paths
        return Response(200, ["Content-Type": "text/html; charset=utf-8"], Self.page(flow.base, wanted))
      }
      let browser = try await Chromium.start(pictures: "embedder", thirdPartyCookies: true)
      try await browser.keepingPictures { browser in
        try await browser.open(flow.base + "/login?returnTo=" + FormText.escape(listed + "/embed-listed"))
        try await browser.find("input[name=username]").type("alice")
        try await browser.find("input[name=password]").type(FlowFixture.password)
        try await browser.find("form[method=post] button").click()
        try await browser.waitForText("#out", within: .seconds(20)) { $0.contains("\"message\"") }
        let message = try #require(try await Self.seen(browser, atLeast: 1).first { $0.kind == "message" })
        #expect(message.data.contains(#""loggedIn":true"#) && message.data.contains("csrftoken"))

        // The same site as Intercom (its cookies go along), other sites, and lookalikes of the listed origin.
        let port = flow.upstream.port
        for host in ["evil.intercom.localhost", "xmail.intercom.localhost", "mail.intercom.localhost.evil.localhost", "127.0.0.1"] {
          try await browser.open("http://\(host):\(port)/embed-hostile")
          let seen = try await Self.seen(browser, atLeast: paths.count)
          #expect(!seen.contains { $0.kind == "message" }, "\(host): \(seen)")
          #expect(seen.allSatisfy { $0.kind != "frame" || $0.content == "closed" || $0.content.isEmpty }, "\(host): \(seen)")
        }
        // Nobody was signed out by a frame.
        try await browser.open(listed + "/embed-listed")
        try await browser.waitForText("#out", within: .seconds(20)) { $0.contains(#"loggedIn\":true"#) }
        let windows = try await browser.run("return window.length")
        #expect(windows.int64 == 1)
      }
      await browser.quit()
    }
  }

  @Test(
    "Clickjacking: every page of Intercom's own says who may frame it, and nobody may but the silent page's listed ones (S22, S35)",
    arguments: ClientVersion.allCases)
  func framing(_ version: ClientVersion) async throws {
    try await FlowFixture.run(over: version) { flow in
      let visitor = try await flow.signedIn()
      for door in flow.doors {
        guard case .own(let name) = door.kind else { continue }
        for visitor in [visitor, Visitor()] {
          for fields in [FlowFixture.frame, FlowFixture.frame + [("Referer", "http://evil.localhost/")]] {
            let answer = try await flow.send(visitor, "GET", door.target, fields)
            guard answer.field("content-type")?.hasPrefix("text/html") == true else { continue }
            let policy = answer.field("content-security-policy") ?? ""
            let ancestors = policy.split(separator: "frame-ancestors ").last.map(String.init) ?? "anybody"
            #expect(ancestors == (name == "silent" ? "\(flow.base) \(flow.app)" : "'none'"), "\(door): \(policy)")
            #expect(policy.contains("default-src 'none'") && !policy.contains("unsafe"), "\(door): \(policy)")
            #expect(answer.field("x-content-type-options") == "nosniff" && answer.field("cache-control") == "no-store", "\(door)")
          }
        }
      }
    }
  }
}

extension JSONValue {
  fileprivate var serializedText: String { String(decoding: serialized, as: UTF8.self) }
}
