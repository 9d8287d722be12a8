import IntercomTesting
import Testing

/// `intercom demo` as a person meets it, in its own process.
@Suite("The demo in one process", .serialized)
struct DemoFlowTests {
  /// `intercom demo` on a free port; ended in order afterwards, without a token in its output.
  private func withDemo(_ story: @Sendable (_ port: Int) async throws -> Void) async throws {
    let intercom = try await IntercomProcess.demo()
    try await intercom.tell { try await story(intercom.port) }
    #expect(await intercom.child.terminate(grace: .seconds(15)) == .code(0), "\(intercom.child.outputTail)")
    #expect(intercom.tokensInLog == [])
  }

  @Test("its last line says where to go, and the names and the password rule stand before it", .timeLimit(.minutes(1)))
  func output() async throws {
    let intercom = try await IntercomProcess.demo()
    let lines = intercom.child.lines
    #expect(lines.last { $0.hasPrefix("ready ") } == "ready http://mail.intercom.localhost:\(intercom.port)/")
    #expect(intercom.child.output.contains("alice"))
    #expect(intercom.child.output.contains("bob"))
    #expect(await intercom.child.terminate(grace: .seconds(15)) == .code(0))
  }

  @Test(
    "a person signs in, attaches a file of the store to a mail, watches the steps, and signs out", .needs(.chromium),
    .timeLimit(.minutes(3)))
  func story() async throws {
    try Services.require(.chromium)
    try await withDemo { port in
      let browser = try await Chromium.start(pictures: "demo")
      try await browser.keepingPictures { browser in
        let mail = "http://mail.intercom.localhost:\(port)/"
        try await browser.open(mail)
        // Sooner than the page's own limit: the answer comes from the hidden frame, not from the page's patience.
        try await browser.waitForText("#person-text", within: .seconds(8)) { $0 == "Not signed in" }
        try await browser.picture("welcome")
        try await browser.find("#sign-in").click()
        try await browser.find("input[name=username]").type("alice")
        try await browser.find("input[name=password]").type("alice")
        try await browser.picture("sign-in")
        try await browser.find("form[method=post] button").click()
        try await browser.waitForURL("the mail page") { $0.hasPrefix(mail) }
        try await browser.waitForText("#person-text") { $0.hasPrefix("Signed in") }
        try await browser.find("#attach").click()
        try await waitUntilTrue("three files to pick from", pause: .milliseconds(50)) {
          try await browser.all("#rows input[type=checkbox]").count >= 3
        }
        try await browser.find("#rows input[type=checkbox]").click()
        try await browser.picture("picker")
        try await browser.find("#pick").click()
        try await browser.waitForText("#attachments") { $0.contains("from Files") }
        try await browser.waitForText("#step-groups") { $0.lowercased().contains("exchanged") }
        try await browser.picture("attached")
        #expect(try await browser.source.contains("eyJ") == false, "no token is in the page")
        try await browser.find("#sign-out").click()
        try await browser.waitForText("#person-text", within: .seconds(8)) { $0 == "Not signed in" }
        try await browser.picture("signed-out")
      }
      await browser.quit()
    }
  }

  @Test("the sign-in page works without script, as a plain form, for both users", .timeLimit(.minutes(1)), arguments: ["alice", "bob"])
  func withoutScript(user: String) async throws {
    try await withDemo { port in
      let visitor = Visitor()
      let (base, mail) = ("http://intercom.localhost:\(port)", "http://mail.intercom.localhost:\(port)")
      try await visitor.open("\(base)/login?returnTo=\(FormText.escape(mail + "/"))", referer: mail + "/")
      let wrong = try await visitor.submit(["username": user, "password": "wrong"])
      #expect(wrong.text.contains("<form"))
      try await visitor.submit(["username": user, "password": user])
      let place = await visitor.location
      #expect(place == mail + "/")
      let listing = try await visitor.fetch("PROPFIND", base + "/fs/", origin: mail, ["Depth": "1"])
      #expect(listing.status == 207)
      #expect(listing.text.components(of: "<d:href>").count + listing.text.components(of: "<D:href>").count > 4)
    }
  }

  @Test("the parts of the demo that are not Intercom refuse who comes without a token", .timeLimit(.minutes(1)))
  func closedDoors() async throws {
    try await withDemo { port in
      let client = RawHTTPClient()
      let direct = try await client.send("PROPFIND", "http://files.intercom.localhost:\(port)/", ["Depth": "1"])
      #expect(direct.status == 401)
      let anonymous = try await client.send("PROPFIND", "http://intercom.localhost:\(port)/fs/", ["Depth": "1"])
      #expect(anonymous.status == 401)
    }
  }
}

extension String {
  /// The text split at every occurrence of `separator`.
  fileprivate func components(of separator: String) -> [String] {
    split(separator: separator, omittingEmptySubsequences: false).map(String.init)
  }
}
