import IntercomCore
import IntercomTesting
import StrictJSON
import Testing

/// Token exchange at the real Keycloak, in both forms. One at a time: Keycloak knows Intercom at one address.
@Suite("Token exchange through Intercom: Keycloak's standard and legacy form", .serialized)
struct ExchangeFlowTests {
  @Test(
    "S14, S16b: three users interleaved over all routes: every backend sees its own audience and the session's user, and nothing else",
    .needs(.keycloak, .files), .timeLimit(.minutes(10)), arguments: [ExchangeForm.standard, .legacy])
  func interleaved(_ form: ExchangeForm) async throws {
    try await ExchangeWorkplace.run(form) { place in
      let names = ["alice", "bob", "umlaut"]
      let paths = form == .standard ? ["/nc", "/nc-more", "/wiki", "/calendar", "/fs"] : ["/nc", "/wiki", "/fs"]
      var visitors: [String: Visitor] = [:]
      for name in names { visitors[name] = try await place.signIn(name) }
      let rounds = Rounds.count(8, full: 2_000)
      let jobs = (0..<rounds).flatMap { _ in names.flatMap { name in paths.map { (name, $0) } } }.shuffled()
      for start in stride(from: 0, to: jobs.count, by: 12) {
        try await withThrowingTaskGroup(of: Void.self) { group in
          for (name, path) in jobs[start..<min(start + 12, jobs.count)] {
            guard let visitor = visitors[name] else { continue }
            group.addTask {
              let target = path == "/fs" ? "/fs/agenda.txt" : "\(path)/\(name)"
              let answer = try await place.get(visitor, target)
              #expect(answer.status == 200, "\(target): \(answer.text)")
            }
          }
          try await group.waitForAll()
        }
      }
      try await check(place, names: names, paths: paths, rounds: rounds)
      // One exchange for each person and route, and no more: the rest came from memory.
      #expect(try await place.exchanges("done") == names.count * paths.count)
      try Rounds.keep("S16b: \(form), \(jobs.count) requests of 3 users over \(paths.count) routes, no token of another user or audience")
    }
  }

  private func check(_ place: ExchangeWorkplace, names: [String], paths: [String], rounds: Int) async throws {
    var sessions: [String: Set<Identifier>] = [:]
    var total = 0
    for name in names {
      let subject = try #require(try await place.subject(name))
      for witness in place.witnesses {
        let mine = try witness.seen().filter { $0.path.hasSuffix("/" + name) }
        #expect(mine.allSatisfy { $0.subject == subject && $0.party == place.form.client })
        sessions[name, default: []].formUnion(mine.map(\.sessionID))
        total += mine.count
        // The same audience with another scope is another token.
        for seen in mine where place.form == .standard {
          #expect(seen.scopes.contains("calendar-audience") == !(seen.path.hasPrefix("/nc/") || seen.path.hasPrefix("/wiki/")))
        }
        for path in Set(mine.map(\.path)) { #expect(Set(mine.filter { $0.path == path }.map(\.tokenID)).count == 1) }
      }
    }
    #expect(total == rounds * names.count * paths.count { $0 != "/fs" })
    #expect(try place.witnesses.map { try $0.seen().count }.reduce(0, +) == total)
    #expect(sessions.values.allSatisfy { $0.count == 1 } && Set(sessions.values.flatMap { $0 }).count == names.count)
  }

  /// A route for which Keycloak gives no token, and what its log line says.
  struct Refusal: Sendable, CustomTestStringConvertible {
    let form: ExchangeForm
    let path: String
    let status: Int
    let reason: String
    let words: String
    var testDescription: String { "\(form) \(path): \(reason)" }

    init(_ form: ExchangeForm, _ path: String, _ status: Int, _ reason: String, _ words: String) {
      (self.form, self.path, self.status, self.reason, self.words) = (form, path, status, reason, words)
    }
  }

  static let refusals = [
    Refusal(.standard, "/vault", 403, "invalid_request", "400 invalid_request (Requested audience not available: calendar)"),
    Refusal(.standard, "/unknown", 403, "invalid_client", "400 invalid_client (Audience not found)"),
    Refusal(.standard, "/scope", 403, "invalid_scope", "400 invalid_scope (Invalid scopes: no-such-scope)"),
    Refusal(.legacy, "/vault", 403, "access_denied", "403 access_denied (Client not allowed to exchange)"),
    Refusal(.legacy, "/calendar", 403, "access_denied", "403 access_denied (Client not allowed to exchange)"),
    Refusal(.legacy, "/unknown", 403, "invalid_client", "400 invalid_client (Audience not found)"),
    Refusal(.legacy, "/narrow", 502, "invalid_answer", "aud is broader than was asked for: also account"),
    Refusal(.legacyNotPermitted, "/nc", 403, "access_denied", "403 access_denied (Client not allowed to exchange)"),
    Refusal(.standardNotSwitchedOn, "/nc", 502, "invalid_answer", "aud is broader than was asked for: also account"),
    Refusal(.standardNotSwitchedOn, "/calendar", 403, "access_denied", "403 access_denied (Client not allowed to exchange)"),
  ]

  @Test(
    "Fault 25: what Keycloak refuses or gives too broadly is 403 or 502, plain, with the reason in the log alone; the session goes on",
    .needs(.keycloak, .files), .timeLimit(.minutes(5)), arguments: ExchangeForm.allCases)
  func refused(_ form: ExchangeForm) async throws {
    try await ExchangeWorkplace.run(form) { place in
      let alice = try await place.signIn("alice")
      for refusal in Self.refusals where refusal.form == form {
        let before = place.refusals.count
        let answer = try await place.get(alice, refusal.path + "/x")
        #expect(answer.status == refusal.status, "\(refusal): \(answer.text)")
        #expect(answer.field("content-type") == "application/problem+json")
        #expect(answer.field("access-control-allow-origin") == place.base)
        let whole = answer.fields.all.map { String(decoding: $0.value, as: UTF8.self) }.joined() + answer.text
        for word in [refusal.words, "audience", "calendar", "ncoidc", "nobody-knows", "invalid_", "access_denied", "Client", "eyJ"] {
          #expect(!whole.contains(word), "\(refusal): \(whole)")
        }
        let line = try #require(place.refusals.dropFirst(before).first)
        #expect(line["route"]?.string == String(refusal.path.dropFirst()))
        #expect(line["reason"]?.string == refusal.reason)
        #expect(line["message"]?.string?.contains(refusal.words) == true, "\(line)")
      }
      // Refused for a backend is not signed out: the store is reached as before, or again without the form.
      let alive = try await place.get(alice, form == .standard || form == .legacy ? "/fs/agenda.txt" : "/nc/alice")
      #expect(alive.status == (form == .standard || form == .legacy ? 200 : form == .legacyNotPermitted ? 403 : 502))
      #expect(try place.witnesses.allSatisfy { try $0.seen().isEmpty })
    }
  }

  @Test(
    "A backend's 401 is passed on and sent once; the next request brings a new token, and the other backends keep theirs",
    .needs(.keycloak, .files), .timeLimit(.minutes(3)), arguments: [ExchangeForm.standard, .legacy])
  func refusedByBackend(_ form: ExchangeForm) async throws {
    try await ExchangeWorkplace.run(form) { place in
      let alice = try await place.signIn("alice")
      for path in ["/nc/alice", "/wiki/alice"] { #expect(try await place.get(alice, path).status == 200) }
      place.ncoidc.isRefusing = true
      let refused = try await place.get(alice, "/nc/refused")
      #expect(refused.status == 401)
      #expect(refused.text == "not today")
      #expect(place.ncoidc.server.requests.count == 2)
      place.ncoidc.isRefusing = false
      // The drop reaches the other loops just after the answer left: a request of that very moment may still carry the old token.
      try await waitUntilTrue("a new token") {
        #expect(try await place.get(alice, "/nc/alice").status == 200)
        return try place.ncoidc.seen().last?.tokenID != place.ncoidc.seen().first?.tokenID
      }
      for path in ["/nc/alice", "/nc/alice", "/wiki/alice"] { #expect(try await place.get(alice, path).status == 200) }
      let seen = try place.ncoidc.seen()
      #expect(seen.prefix(2).map(\.path) == ["/nc/alice", "/nc/refused"] && seen.dropFirst(2).allSatisfy { $0.path == "/nc/alice" })
      let tokens = seen.map(\.tokenID)
      let change = try #require(tokens.firstIndex { $0 != tokens[0] })
      #expect(change >= 2 && tokens[change...].allSatisfy { $0 == tokens[change] } && tokens.count >= change + 3)
      #expect(Set(try place.xwikioidc.seen().map(\.tokenID)).count == 1)
      #expect(try await place.exchanges("done") == 3)
    }
  }
}
