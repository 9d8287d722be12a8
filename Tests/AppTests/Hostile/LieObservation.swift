import HTTPMessage
import IntercomCore
import IntercomTesting
import Sessions
import StrictJSON
import Testing

/// One line of the log.
struct LoggedEvent: Sendable {
  var event: String
  var message: String
  /// The fields `reason` or `code`.
  var reason: String

  init?(_ line: String) {
    guard let json = try? StrictJSON.object(Array(line.utf8)), let event = json["event"]?.string else { return nil }
    self.event = event
    message = json["message"]?.string ?? ""
    reason = json["reason"]?.string ?? json["code"]?.string ?? ""
  }

  /// As it stands in the page: libcurl's own sentences, which differ between versions, places in a document and issuers, whose ports differ, are
  /// left out.
  var cell: String {
    var text = message.split(separator: ": found ", maxSplits: 1, omittingEmptySubsequences: false).first.map(String.init) ?? ""
    for phrase in ["not reached (", "TLS failed (", "the answer broke off (", "duplicateKey(", "malformed(", "tooDeep(", "notUTF8("] {
      let parts = text.split(separator: phrase, maxSplits: 1, omittingEmptySubsequences: false)
      guard parts.count == 2 else { continue }
      text = String(parts[0]) + phrase.dropLast(phrase.hasSuffix(" (") ? 2 : 1) + parts[1].drop { $0 != ")" }.dropFirst()
    }
    if event == "session_ended" { text = reason }
    return "`\(event)` \(text.replacing("<", with: "&lt;"))"
  }
}

extension FlowFixture {
  /// How many lines the log has had so far.
  var logged: Int { sink.dropped + sink.lines.count }

  /// The lines with one of these events since then.
  func events(_ names: Set<String>, since mark: Int) -> [LoggedEvent] {
    sink.lines.dropFirst(max(0, mark - sink.dropped)).compactMap { LoggedEvent($0) }.filter { names.contains($0.event) }
  }

  func requests(to path: String) -> Int { provider.requests.count { $0.path == path } }

  /// What `/readyz` says.
  func readiness() async throws -> Int {
    let port = try #require(running.adminAddress).port
    return try await client.get("http://127.0.0.1:\(port)/readyz").status
  }
}

extension HTTPAnswer {
  /// The stable word of a message page or of a problem.
  var word: String {
    if let json = try? StrictJSON.object(body) { return json["code"]?.string ?? "" }
    let rest = text.split(separator: "Reason: ", maxSplits: 1, omittingEmptySubsequences: false).dropFirst().first ?? ""
    return String(rest.prefix { $0 != "<" && $0 != " " })
  }
}

/// One lie at a login, and what must come of it.
struct LoginLie: Sendable {
  var says: String
  var lie: ProviderLie
  /// What must stand in the log.
  var cause: String
  var status = 502
  var reason = "invalid_id_token"
  /// 200, or 400 for a callback that cannot be told to belong to a silent flow.
  var silentStatus = 200
  /// Nil: as on the page.
  var silentReason: String?
  /// Times that the code goes to the token endpoint.
  var codes = 1
  var usesUp = true

  init(_ says: String, _ lie: ProviderLie, _ cause: String, _ change: (inout LoginLie) -> Void = { _ in }) {
    (self.says, self.lie, self.cause) = (says, lie, cause)
    change(&self)
  }

  var isOnTheWay: Bool { if case .authorization = lie { true } else { false } }
}

/// Tells lies at the end of logins: with a page and silently.
struct LoginObserver: Sendable {
  static let columns = ["The provider", "Page", "Silent frame", "Log", "Code sent", "Login", "Kept"]

  let flow: FlowFixture
  /// Has a session, and signs in again.
  let page: Visitor
  /// Known at the provider, but not here.
  let frame: Visitor

  init(_ flow: FlowFixture) async throws {
    self.flow = flow
    page = try await flow.signedIn()
    frame = try await flow.signedIn()
    await frame.forget("intercom")
  }

  /// What one flow came to.
  private struct Seen {
    var answer: HTTPAnswer
    var events: [LoggedEvent]
    var codes: Int
    var isUsedUp: Bool
  }

  /// The cells of a row, checked.
  func observe(_ row: LoginLie) async throws -> [String] {
    let sessions = flow.store.keys(of: .session)
    let cookie = await page.jar["intercom"]?.value
    let shown = try await run(row, page, "/login", FlowFixture.navigation)
    #expect(shown.answer.status == row.status && shown.answer.word == row.reason, "\(row.says): \(shown.answer.wholeText)")
    #expect(shown.answer.status != 503 || shown.answer.field("retry-after") != nil, "\(row.says)")
    #expect(shown.answer.field("cache-control") == "no-store" && !shown.answer.text.contains("alert(1)"), "\(row.says)")
    check(shown, row)
    let silent = try await run(row, frame, "/silent", FlowFixture.frame + [("Referer", flow.app + "/")])
    let message = silent.answer.status == 200 ? try flow.message(silent.answer) : [:]
    let reason = silent.answer.status == 200 ? message["reason"]?.string ?? "" : silent.answer.word
    #expect(silent.answer.status == row.silentStatus && reason == row.silentReason ?? row.reason, "\(row.says): \(silent.answer.wholeText)")
    #expect(silent.answer.status != 200 || message["loggedIn"] == .bool(false), "\(row.says)")
    check(silent, row)
    let livesOn = try await flow.isAlive(page)
    let isUntouched = await page.jar["intercom"]?.value == cookie
    let gotCookie = await frame.jar["intercom"] != nil
    let keptNothing = flow.store.keys(of: .session) == sessions && isUntouched && !gotCookie && livesOn
    #expect(keptNothing, "\(row.says)")
    return [
      row.says, "\(shown.answer.status) `\(shown.answer.word)`", "\(silent.answer.status) `\(reason)`",
      shown.events.map(\.cell).joined(separator: "; "), "\(shown.codes)", shown.isUsedUp ? "used up" : "open",
      keptNothing ? "nothing" : "SOMETHING",
    ]
  }

  private func check(_ seen: Seen, _ row: LoginLie) {
    #expect(seen.events.count == 1 && seen.events.first?.message.contains(row.cause) == true, "\(row.says): \(seen.events)")
    #expect(seen.events.first?.reason == row.reason, "\(row.says)")
    #expect(seen.codes == row.codes && seen.isUsedUp == row.usesUp, "\(row.says): \(seen.codes) \(seen.isUsedUp)")
    #expect(seen.answer.all("set-cookie").isEmpty, "\(row.says)")
  }

  private func run(_ row: LoginLie, _ visitor: Visitor, _ target: String, _ fields: [(String, String)]) async throws -> Seen {
    let location = try await flow.begin(visitor, target, fields)
    if row.isOnTheWay { flow.liar.tell(row.lie) }
    let callback = try await flow.authorize(visitor, location)
    flow.liar.tell(row.lie)
    let (mark, codes) = (flow.logged, flow.codeCalls)
    let answer = try await visitor.send("GET", callback, fields)
    flow.liar.tell(nil)
    let events = flow.events(["login_failed"], since: mark)
    let sent = flow.codeCalls - codes
    // A second callback with the same state shows whether the login is still open.
    let state = FormText.value("state", in: String(location.drop { $0 != "?" }.dropFirst())) ?? ""
    let probe = try await flow.send(
      visitor, "GET", "/callback?error=access_denied&state=\(state)&iss=\(FormText.escape(flow.issuer))", fields)
    let word = probe.status == 200 ? try flow.message(probe)["reason"]?.string ?? "" : probe.word
    #expect(word == "login_unknown" || word == "access_denied", "\(row.says): \(probe.wholeText)")
    return Seen(answer: answer, events: events, codes: sent, isUsedUp: word == "login_unknown")
  }
}
