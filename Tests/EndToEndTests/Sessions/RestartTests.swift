import IntercomCore
import IntercomTesting
import SQLite
import Synchronization
import Testing

@testable import Sessions

@Suite("Sessions outlive the program", .serialized)
struct RestartTests {
  @Test(
    "after SIGTERM and after kill -9 the same cookie works, its CSRF token verifies, and its token still opens the backend",
    .timeLimit(.minutes(1)))
  func restart() async throws {
    try await LastingIntercom.run { lasting in
      var intercom = try await lasting.serve()
      let (alice, bob) = (try await lasting.signedIn(), try await lasting.signedIn("bob"))
      let token = try await lasting.csrfToken(alice)
      #expect(!token.isEmpty)
      // A sign-in that is under way when the program ends is finished after it.
      let late = Visitor(timeout: .seconds(20))
      #expect(try await late.open(lasting.base + "/login").status == 200)
      for signal in [Int32(15), 9] {
        if signal == 9 { try await intercom.kill() } else { #expect(await intercom.child.terminate(grace: .seconds(10)) == .code(0)) }
        intercom = try await lasting.serve()
        for visitor in [alice, bob] {
          for target in ["/plain/x", "/own/x", "/fs/x"] { #expect(try await lasting.fetch(visitor, target).status == 200, "\(target)") }
        }
        #expect(try await lasting.fetch(alice, "/nob/x", ["X-CSRF-Token": token]).status == 200)
        #expect(try await lasting.fetch(bob, "/nob/x", ["X-CSRF-Token": token]).status == 403)
      }
      try await late.submit(["username": "alice", "password": LastingIntercom.password])
      #expect(try await lasting.fetch(late, "/plain/x").status == 200)
      #expect(await intercom.child.terminate(grace: .seconds(10)) == .code(0))
      #expect(try lasting.query("SELECT count(*) FROM records WHERE kind = 0 AND buried = 0") == 3)
    }
  }

  @Test("Logout that does not log out: an acknowledged sign-out holds after kill -9, by the user and by the provider (S11)")
  func logoutHolds() async throws {
    try await LastingIntercom.run { lasting in
      var intercom = try await lasting.serve()
      let (alice, bob, other) = (try await lasting.signedIn(), try await lasting.signedIn("bob"), try await lasting.signedIn("bob"))
      let cookies = (try await lasting.cookie(of: alice), try await lasting.cookie(of: bob), try await lasting.cookie(of: other))
      #expect(try await alice.send("GET", LoopbackURL(lasting.base + "/logout"), [("Accept", "text/html")]).status == 302)
      try await intercom.kill()
      intercom = try await lasting.serve()
      #expect(try await lasting.status(cookies.0) == 401)
      #expect(try await lasting.status(cookies.1) == 200)
      #expect(try await lasting.backChannelLogout(lasting.logoutToken(subject: "bob-id")).status == 200)
      try await intercom.kill()
      intercom = try await lasting.serve()
      for cookie in [cookies.0, cookies.1, cookies.2] { #expect(try await lasting.status(cookie) == 401) }
      await intercom.child.terminate()
    }
  }

  @Test("Logout token replay: after a restart and after kill -9 one that was obeyed is refused, and a newer session lives (S18)")
  func replay() async throws {
    try await LastingIntercom.run { lasting in
      var intercom = try await lasting.serve()
      let first = try await lasting.signedIn()
      let token = try lasting.logoutToken()
      #expect(try await lasting.backChannelLogout(token).status == 200)
      #expect(try await lasting.fetch(first, "/plain/x").status == 401)
      for signal in [Int32(15), 9] {
        if signal == 9 { try await intercom.kill() } else { await intercom.child.terminate(grace: .seconds(10)) }
        intercom = try await lasting.serve()
        let newer = try await lasting.signedIn()
        let answer = try await lasting.backChannelLogout(token)
        #expect(answer.status == 400 && answer.text.contains("used before"), "\(answer.wholeText)")
        #expect(try await lasting.fetch(newer, "/plain/x").status == 200)
      }
      await intercom.child.terminate()
    }
  }

  @Test("Session fixation: an id that was planted before a restart is no session after it (S9, fault 12)")
  func fixation() async throws {
    try await LastingIntercom.run { lasting in
      var intercom = try await lasting.serve()
      let planted = LastingIntercom.newKey()
      #expect(try await lasting.status(planted) == 401)
      await intercom.child.terminate(grace: .seconds(10))
      intercom = try await lasting.serve()
      #expect(try await lasting.status(planted) == 401)
      let visitor = try await lasting.signedIn()
      #expect(try await lasting.cookie(of: visitor) != planted)
      await intercom.child.terminate()
    }
  }

  @Test("Key rotation: the new key seals, the old one still opens, and without it its sessions are none; others are unharmed")
  func rotation() async throws {
    try await LastingIntercom.run { lasting in
      let new = LastingIntercom.newKey()
      var intercom = try await lasting.serve()
      let old = try await lasting.signedIn()
      let token = try await lasting.csrfToken(old)
      await intercom.child.terminate(grace: .seconds(10))
      intercom = try await lasting.serve(keys: [new, lasting.key])
      #expect(try await lasting.fetch(old, "/plain/x").status == 200)
      #expect(try await lasting.fetch(old, "/nob/x", ["X-CSRF-Token": token]).status == 200)
      let young = try await lasting.signedIn("bob")
      await intercom.child.terminate(grace: .seconds(10))
      intercom = try await lasting.serve(keys: [new])
      #expect(try await lasting.fetch(young, "/plain/x").status == 200)
      #expect(try await lasting.fetch(old, "/plain/x").status == 401)
      #expect(try await intercom.metric(#"intercom_session_records_damaged_total{kind="session"}"#) == 1)
      await intercom.child.terminate(grace: .seconds(10))
      // The record was removed: bringing the old key back brings nothing back.
      intercom = try await lasting.serve(keys: [new, lasting.key])
      #expect(try await lasting.fetch(old, "/plain/x").status == 401)
      #expect(try await lasting.fetch(young, "/plain/x").status == 200)
      await intercom.child.terminate()
    }
  }

  /// What a person of the storm knows about a session.
  private enum Fate: Sendable { case signedIn, signedOut, unsure }

  /// What was acknowledged, by session cookie.
  private final class Ledger: Sendable {
    private let fates = Mutex([String: Fate]())
    func note(_ cookie: String, _ fate: Fate) { fates.withLock { $0[cookie] = fate } }
    var all: [String: Fate] { fates.withLock { $0 } }
  }

  /// Signs in and out until the program is gone, and notes what was acknowledged.
  private static func storm(_ lasting: LastingIntercom, _ number: Int, _ ledger: Ledger) async {
    var turn = number
    while true {
      let visitor = Visitor(timeout: .seconds(20))
      do {
        try await lasting.signIn(visitor, turn % 2 == 0 ? "alice" : "bob")
      } catch {
        // The callback may have been answered, and only the page behind it not.
        if let cookie = await visitor.jar["intercom"]?.value { ledger.note(cookie, .signedIn) }
        return
      }
      guard let cookie = await visitor.jar["intercom"]?.value else { return }
      ledger.note(cookie, .signedIn)
      turn += 1
      guard turn % 3 == 0 else { continue }
      ledger.note(cookie, .unsure)
      guard let answer = try? await visitor.send("GET", LoopbackURL(lasting.base + "/logout"), [("Accept", "text/html")]),
        answer.status == 302
      else { return }
      ledger.note(cookie, .signedOut)
    }
  }

  @Test(
    "Fault 10: kill -9 while people sign in and out; what was acknowledged holds, each session is whole or absent", .timeLimit(.minutes(30))
  )
  func killed() async throws {
    let rounds = Rounds.count(6, full: 500)
    try await LastingIntercom.run { lasting in
      var random = SplitMix64(state: 1_234)
      var tally = (signedIn: 0, signedOut: 0, unsure: 0)
      for round in 0..<rounds {
        let intercom = try await lasting.serve()
        let ledger = Ledger()
        let delay = Duration.milliseconds(Int64.random(in: 40...400, using: &random))
        await withTaskGroup(of: Void.self) { group in
          for number in 0..<6 { group.addTask { await Self.storm(lasting, number, ledger) } }
          group.addTask {
            try? await SystemTime().sleep(for: delay)
            intercom.child.send(9)
          }
        }
        #expect(try await intercom.child.waitForExit() == .signal(9), "\(intercom.child.outputTail)")
        let again = try await lasting.serve()
        for (cookie, fate) in ledger.all {
          let status = try await lasting.status(cookie)
          switch fate {
          case .signedIn:
            #expect(status == 200, "round \(round): an acknowledged sign-in was lost")
            tally.signedIn += 1
          case .signedOut:
            #expect(status == 401, "round \(round): an acknowledged sign-out was lost")
            tally.signedOut += 1
          case .unsure:
            #expect(status == 200 || status == 401)
            tally.unsure += 1
          }
        }
        #expect(try await again.metric(#"intercom_session_records_damaged_total{kind="session"}"#) == 0)
        try await again.kill()
      }
      #expect(tally.signedIn >= rounds && tally.signedOut > 0, "\(tally)")
      let whole = try await Self.wholeSessions(lasting)
      #expect(whole >= tally.signedIn)
      #expect(try SQLiteConnection(path: lasting.database).text("PRAGMA integrity_check") == "ok")
      try Rounds.keep(
        "fault 10, over HTTP: \(rounds) times kill -9 during sign-ins; \(tally.signedIn) acknowledged sign-ins and \(tally.signedOut) sign-outs "
          + "held, \(tally.unsure) were under way, \(whole) sessions in the file, all whole")
    }
  }

  /// How many sessions are in the file; each must open and decode, those that nobody was told of too.
  private static func wholeSessions(_ lasting: LastingIntercom) async throws -> Int {
    var keys: [RecordKey] = []
    try SQLiteConnection(path: lasting.database).prepare("SELECT key FROM records WHERE kind = 0 AND buried = 0").run { row in
      if let bytes = row.blob(0), let key = RecordKey(kind: .session, bytes: bytes.dropFirst()) { keys.append(key) }
    }
    let found = keys
    return try await lasting.withStore { _, records in
      for key in found {
        let (plain, version) = try #require(try await records.read(key))
        _ = try Session(key: SessionKey(word: key.word), encoded: plain, version: version)
      }
      return found.count
    }
  }
}
