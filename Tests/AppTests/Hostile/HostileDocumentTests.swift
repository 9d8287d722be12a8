import HTTPMessage
import IntercomCore
import IntercomTesting
import OIDC
import Testing

/// One lie about the provider itself.
struct DocumentLie: Sendable {
  var says: String
  var lie: ProviderLie
  var cause: String
  /// The code in the log.
  var code: String
  var isHTTPS = false

  init(_ says: String, _ lie: ProviderLie, _ cause: String, _ code: String, isHTTPS: Bool = false) {
    (self.says, self.lie, self.cause, self.code, self.isHTTPS) = (says, lie, cause, code, isHTTPS)
  }
}

enum DocumentLies {
  private static func metadata(_ says: String, _ lie: MetadataLie, _ cause: String, isHTTPS: Bool = false) -> DocumentLie {
    DocumentLie("metadata: " + says, .metadata(lie), cause, "invalid_metadata", isHTTPS: isHTTPS)
  }

  /// The same wrong answers for both documents.
  private static func answers(_ call: ProviderCall, _ name: String, _ code: String) -> [DocumentLie] {
    let wrong: [(String, AnswerLie, String)] = [
      ("a page", .html, "is not application/json"), ("text/plain", .wrongType, "is not application/json"),
      ("4 MiB", .oversized, "the answer is too large"), ("100 MB, announced", .bytes(100_000_000), "the answer is too large"),
      ("no end", .endless, "the answer is too large"), ("a gzip bomb", .gzipBomb, "the answer is too large"),
      ("a redirect to another host", .redirect, "the provider answered 307"),
      ("members twice", .duplicateKeys, "not sound JSON: duplicateKey"), ("JSON cut off", .truncated, "not sound JSON"),
      ("a list", .array, "not sound JSON: wrongTopLevel"), ("a byte-order mark", .byteOrderMark, "not sound JSON"),
      ("UTF-16", .utf16, "not sound JSON"), ("a comma at the end", .trailingComma, "not sound JSON"),
      ("10,000 levels", .deep, "not sound JSON: tooDeep"), ("404", .status(404), "the provider answered 404"),
    ]
    let absent: [(String, AnswerLie, String, String)] = [
      ("503", .status(503), "the provider answered 503", "provider_unavailable"),
      ("half an answer", .brokenOff, "the answer broke off", "provider_unavailable"),
      ("never", .silence, "no answer in time", "timeout"), ("one byte in 50 ms", .slowBytes, "no answer in time", "timeout"),
    ]
    return wrong.map { DocumentLie("\(name): answers \($0.0)", .answer(call, $0.1), $0.2, code) }
      + absent.map { DocumentLie("\(name): answers \($0.0)", .answer(call, $0.1), $0.2, $0.3) }
  }

  static let all: [DocumentLie] =
    [
      metadata("names another issuer", .issuer, "not byte for byte"),
      metadata("names its issuer with a slash more", .issuerWithSlash, "not byte"),
      metadata("names its issuer in capitals", .issuerInCapitals, "not byte for byte"),
      metadata("names no issuer", .issuerMissing, "not byte for byte"),
      metadata("has no authorization endpoint", .authorizationMissing, "authorization_endpoint is missing"),
      metadata("has no token endpoint", .tokenMissing, "token_endpoint is missing"),
      metadata("has no address of keys", .keysMissing, "jwks_uri is missing"),
      metadata("gives a number as token endpoint", .tokenIsNumber, "token_endpoint is not an http"),
      metadata("gives `file:///etc/passwd` as token endpoint", .tokenIsFile, "token_endpoint is not an http"),
      metadata("gives a token endpoint with a password in it", .tokenWithUser, "token_endpoint is not an http"),
      metadata("gives `javascript:` as authorization endpoint", .authorizationIsScript, "authorization_endpoint is not an http"),
      metadata("gives `data:` as end of session", .endSessionIsData, "end_session_endpoint is not an http"),
      metadata("gives http for the token endpoint of an https issuer", .tokenPlain, "token_endpoint is http", isHTTPS: true),
      metadata("gives http for the keys of an https issuer", .keysPlain, "jwks_uri is http", isHTTPS: true),
      metadata(
        "gives http for the authorization endpoint of an https issuer", .authorizationPlain, "authorization_endpoint is http", isHTTPS: true
      ),
      DocumentLie(
        "metadata: keys at a link-local address (a cloud's own credentials)", .metadata(.keysLinkLocal), "cannot be made with this address",
        "invalid_key_set"),
    ] + answers(.discovery, "metadata", "invalid_metadata")
    + [
      DocumentLie("keys: none", .keys(.empty), "no key of the set can be used", "invalid_key_set"),
      DocumentLie("keys: an object instead of a list", .keys(.notAList), "not a set of keys", "invalid_key_set"),
      DocumentLie("keys: a shared secret", .keys(.symmetric), "no key of the set can be used", "invalid_key_set"),
      DocumentLie("keys: with their private halves", .keys(.privateHalves), "no key of the set can be used", "invalid_key_set"),
      DocumentLie("keys: all for encryption", .keys(.encryption), "no key of the set can be used", "invalid_key_set"),
      DocumentLie("keys: points that are not on the curve", .keys(.wrongCurvePoint), "no key of the set can be used", "invalid_key_set"),
      DocumentLie("keys: RSA of 512 bits", .keys(.smallRSA), "no key of the set can be used", "invalid_key_set"),
      DocumentLie("keys: two thousand, over 256 KiB", .keys(.oversized), "the answer is too large", "invalid_key_set"),
    ] + answers(.keys, "keys", "invalid_key_set")
}

@Suite("Hostile provider: what it says about itself", .serialized)
struct HostileDocumentTests {
  private static let failures: Set<String> = ["provider_failing"]

  /// Asks the provider again and again, as fast as a test needs it.
  private static func options(https: Bool = false, begins lie: ProviderLie? = nil, call: Duration = .seconds(1)) -> FlowFixture.Options {
    var options = FlowFixture.Options()
    options.lie = lie
    if https { options.provider = { $0.issuer = "https://id.example" } }
    options.deployment = { deployment in
      deployment.providerCall = call
      deployment.providerTiming.refreshInterval = .milliseconds(20)
      deployment.providerTiming.maximumBackOff = .milliseconds(20)
      guard https else { return }
      // Reached inside under an http address that the operator chose.
      deployment.client = try ClientConfiguration(
        issuer: "https://id.example", clientID: "intercom", clientSecret: Secret(FlowFixture.clientSecret),
        redirectURI: deployment.client.redirectURI.string, internalURL: deployment.client.issuer.string)
    }
    return options
  }

  /// Tells the lie and waits for the log's word about it.
  private func tell(_ row: DocumentLie, _ flow: FlowFixture) async throws -> LoggedEvent {
    let mark = flow.logged
    flow.liar.tell(row.lie)
    // The first failure may be that of an attempt that was under way; the second began later.
    var seen: LoggedEvent?
    try await waitUntilTrue("two failures, \(row.says)", within: .seconds(20), pause: .milliseconds(2)) {
      let failures = flow.events(Self.failures, since: mark)
      seen = failures.last
      return failures.count >= 2
    }
    let event = try #require(seen)
    #expect(event.message.contains(row.cause) && event.reason == row.code, "\(row.says): \(event)")
    return event
  }

  /// At the start: never ready, nobody signs in. The cells of each row.
  private func atTheStart(_ rows: [DocumentLie], https: Bool) async throws -> [[String]] {
    var cells: [[String]] = []
    try await FlowFixture.run(Self.options(https: https, begins: rows.first?.lie, call: .milliseconds(300))) { flow in
      for row in rows {
        let event = try await tell(row, flow)
        let ready = try await flow.readiness()
        let page = try await flow.send(Visitor(), "GET", "/login", FlowFixture.navigation)
        let frame = try await flow.send(Visitor(), "GET", "/silent", FlowFixture.frame + [("Referer", flow.app + "/")])
        let reason = try flow.message(frame)["reason"]?.string ?? ""
        #expect(ready == 503 && page.status == 503 && page.word == "provider_unavailable", "\(row.says): \(ready) \(page.wholeText)")
        #expect(page.field("retry-after") != nil && frame.status == 200 && reason == "provider_unavailable", "\(row.says)")
        #expect(flow.store.keys(of: .session).isEmpty && flow.store.keys(of: .pendingLogin).isEmpty, "\(row.says)")
        cells.append([row.says, "\(ready)", "\(page.status) `\(page.word)`", "\(frame.status) `\(reason)`", event.cell])
      }
      #expect(flow.provider.requests.allSatisfy { $0.path != "/elsewhere" })
      // It was the lies: the truth makes it ready.
      flow.liar.tell(nil)
      try await waitUntilTrue("a ready provider") { flow.running.isProviderReady }
    }
    return cells
  }

  /// Once known: the last good documents are kept, and people sign in.
  private func onceKnown(_ rows: [DocumentLie]) async throws -> [String] {
    var cells: [String] = []
    try await FlowFixture.run(Self.options()) { flow in
      let visitor = try await flow.signedIn()
      for row in rows {
        _ = try await tell(row, flow)
        let ready = try await flow.readiness()
        // The lie is about the documents alone.
        try await flow.signIn(visitor)
        let works = try await flow.isAlive(visitor)
        #expect(ready == 200 && works, "\(row.says)")
        cells.append(ready == 200 && works ? "the last good one is kept, people sign in" : "BROKEN")
      }
      #expect(flow.provider.requests.allSatisfy { $0.path != "/elsewhere" })
    }
    return cells
  }

  @Test("Fault 21, fault 22, S24, S26, S36: metadata and keys that lie never make Intercom ready, and change nothing once it is")
  func documents() async throws {
    var page = HostilePage(
      section: .documents, title: "Metadata and keys",
      text: """
        Faults 21, 22; flaw classes S24, S26, S36. At the start, and by a provider that told the truth before: answers that change between calls
        are the same lies later.
        """, columns: ["The provider's", "At the start: `/readyz`", "page", "silent frame", "log", "Once it is known"])
    let plain = DocumentLies.all.filter { !$0.isHTTPS }
    let kept = try await onceKnown(plain)
    let start = try await atTheStart(plain, https: false)
    page.rows = zip(start, kept).map { $0 + [$1] }
    page.rows += try await atTheStart(DocumentLies.all.filter(\.isHTTPS), https: true).map { $0 + ["not observed with https"] }
    try page.settle()
  }

  // MARK: Key sets that can be read

  /// The set, whether people sign in with it, and what the log says.
  private static let sets: [(String, KeySetLie, String?)] = [
    ("the right keys, and two thousand others after them", .thousandsAfter, nil),
    ("the right keys after two thousand others (100 are looked at)", .thousandsBefore, "no key of the set"),
    ("the right key after fifty of its name (4 are tried)", .manyOfOneName, "the signature is wrong"),
    ("keys of the same names, of somebody else", .ofSomebodyElse, "the signature is wrong"),
  ]

  @Test("S13, S25: thousands of keys, and many of one name, cost no more than a limit allows and sign nobody in by themselves")
  func keySets() async throws {
    try await FlowFixture.run(Self.options()) { flow in
      let visitor = try await flow.signedIn()
      var page = HostilePage(
        section: .keySets, title: "Key sets that can be read", text: "Flaw classes S13, S25. The token is the right one.",
        columns: ["The provider publishes", "Page", "Log"])
      for (says, lie, cause) in Self.sets {
        let mark = flow.logged
        flow.liar.tell(.keys(lie))
        let fetched = flow.requests(to: "/jwks")
        try await waitUntilTrue("the new keys", pause: .milliseconds(2)) { flow.requests(to: "/jwks") > fetched + 2 }
        let callback = try await flow.authorize(visitor, flow.begin(visitor))
        let answer = try await visitor.send("GET", callback, FlowFixture.navigation)
        let events = flow.events(["login_failed", "provider_failing"], since: mark)
        let isRead = cause == nil || events.contains { $0.event == "login_failed" }
        #expect(answer.status == (isRead && cause != nil ? 502 : 302), "\(says): \(answer.wholeText)")
        if let cause { #expect(events.contains { $0.message.contains(cause) }, "\(says): \(events)") } else { #expect(events.isEmpty) }
        let cell = answer.status == 302 ? "302, signed in" : "\(answer.status) `\(answer.word)`"
        page.rows.append([says, cell, events.first?.cell ?? "–"])
        flow.liar.tell(nil)
        let again = flow.requests(to: "/jwks")
        try await waitUntilTrue("the right keys", pause: .milliseconds(2)) { flow.requests(to: "/jwks") > again + 2 }
        try await flow.signIn(visitor)
      }
      try page.settle()
    }
  }
}
