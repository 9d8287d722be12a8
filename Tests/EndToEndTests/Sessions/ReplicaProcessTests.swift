import HTTPMessage
import HTTPServer
import IntercomCore
import IntercomTesting
import Linux
import Synchronization
import Testing

/// Two programs behind a balancer, with one Redis, each of which is killed in the middle of its work.
@Suite("Replicas as programs", .serialized, .enabled(if: RedisServer.isAvailable), .timeLimit(.minutes(60)))
struct ReplicaProcessTests {
  /// What was acknowledged to people, by session cookie.
  private final class Ledger: Sendable {
    enum Fate: Sendable { case signedIn, signedOut, unsure }
    private let fates = Mutex([String: (user: String, fate: Fate)]())
    func note(_ cookie: String, _ user: String, _ fate: Fate) { fates.withLock { $0[cookie] = (user, fate) } }
    /// Each once.
    func take() -> [String: (user: String, fate: Fate)] {
      fates.withLock { fates in
        defer { fates = [:] }
        return fates
      }
    }
  }

  /// Signs in and out until it is over, whatever breaks on the way, and notes what was acknowledged.
  private static func people(_ lasting: LastingIntercom, _ number: Int, _ ledger: Ledger, _ isOver: Monitor<Bool>) async {
    var turn = number
    while !isOver.withLock({ $0 }) {
      let (visitor, user) = (Visitor(timeout: .seconds(20)), turn % 2 == 0 ? "alice" : "bob")
      turn += 1
      _ = try? await lasting.signIn(visitor, user)
      // The callback may have been answered, and only the page behind it not.
      guard let cookie = await visitor.jar["intercom"]?.value else {
        try? await SystemTime().sleep(for: .milliseconds(5))
        continue
      }
      ledger.note(cookie, user, .signedIn)
      guard turn % 3 == 0 else { continue }
      ledger.note(cookie, user, .unsure)
      let answer = try? await visitor.send("GET", LoopbackURL(lasting.base + "/logout"), [("Accept", "text/html")])
      if answer?.status == 302 { ledger.note(cookie, user, .signedOut) }
    }
  }

  @Test(
    "kill -9 of each replica in turn, and of Redis, while people sign in and out: what was acknowledged holds, everybody is who they are (fault 10)"
  )
  func killed() async throws {
    let rounds = Rounds.count(30, full: 500)
    let redis = try await RedisServer(RedisServer.durable)
    try await LastingIntercom.run(redis: redis) { lasting in
      lasting.upstream.answer { Response(200, ["Content-Type": "text/plain"], Array(($0.field("x-remote-user") ?? "-").utf8)) }
      var processes = [try await lasting.serve(replica: 0), try await lasting.serve(replica: 1)]
      let (ledger, isOver) = (Ledger(), Monitor(false))
      let people = (0..<4).map { number in Task { await Self.people(lasting, number, ledger, isOver) } }
      var random = SplitMix64(state: 10)
      var tally = (signedIn: 0, signedOut: 0, unsure: 0)
      for round in 0..<rounds {
        // A sign-out takes more than a second: now and then there is time for it.
        try await SystemTime().sleep(for: .milliseconds(round % 10 == 0 ? 2_500 : Int64.random(in: 40...300, using: &random)))
        let (doomed, other) = (round % 2, (round + 1) % 2)
        let noted = ledger.take()
        try await processes[doomed].kill()
        if round % 5 == 4 {
          await redis.kill()
          try await redis.restart()
        }
        for (cookie, (user, fate)) in noted {
          let answer = try await waitUntil("an answer of the other replica") {
            let answer = try await lasting.ask(replica: other, "/who/x", cookie: cookie)
            return answer.status == 503 ? nil : answer
          }
          switch fate {
          case .signedIn:
            #expect(
              answer.status == 200 && answer.text == user + "-id", "round \(round): an acknowledged sign-in of \(user): \(answer.wholeText)"
            )
            tally.signedIn += 1
          case .signedOut:
            #expect(answer.status == 401, "round \(round): an acknowledged sign-out was lost")
            tally.signedOut += 1
          case .unsure:
            #expect(answer.status == 401 || answer.status == 200 && answer.text == user + "-id")
            tally.unsure += 1
          }
        }
        processes[doomed] = try await lasting.serve(replica: doomed)
        Rounds.progress("fault 10, replicas: \(round + 1) of \(rounds) rounds")
      }
      isOver.withLock { $0 = true }
      for task in people { await task.value }
      #expect(tally.signedIn >= rounds / 2 && tally.signedOut > 0, "\(tally)")
      for process in processes {
        #expect(try await process.metric(#"intercom_session_records_damaged_total{kind="session"}"#) == 0)
        #expect(await process.child.terminate(grace: .seconds(10)) == .code(0), "\(process.child.outputTail)")
        #expect(process.tokensInLog.isEmpty)
      }
      try Rounds.keep(
        "fault 10, two replicas on Redis: \(rounds) times kill -9 of one of them, \(rounds / 5) times of Redis; \(tally.signedIn) acknowledged "
          + "sign-ins and \(tally.signedOut) sign-outs held, \(tally.unsure) were under way")
    }
  }

  @Test("SIGTERM for one of two replicas under load: no request fails, the sessions stay (fault 11)")
  func terminated() async throws {
    let redis = try await RedisServer()
    try await LastingIntercom.run(redis: redis) { lasting in
      let processes = [try await lasting.serve(replica: 0), try await lasting.serve(replica: 1)]
      let cookie = try await lasting.cookie(of: lasting.signedIn())
      let isOver = Monitor(false)
      let clients = (0..<8).map { _ in
        Task {
          var (served, failed) = (0, [String]())
          while !isOver.withLock({ $0 }) {
            do {
              let answer = try await RawHTTPClient(timeout: .seconds(20)).get(
                lasting.base + "/plain/x", ["Cookie": "intercom=\(cookie)", "Origin": lasting.app])
              if answer.status == 200 { served += 1 } else { failed.append("\(answer.status)") }
            } catch { failed.append("\(error)") }
          }
          return (served: served, failed: failed)
        }
      }
      try await SystemTime().sleep(for: .milliseconds(Rounds.isFull ? 10_000 : 500))
      #expect(await processes[0].child.terminate(grace: .seconds(30)) == .code(0), "\(processes[0].child.outputTail)")
      try await SystemTime().sleep(for: .milliseconds(300))
      isOver.withLock { $0 = true }
      var (served, failed) = (0, [String]())
      for client in clients {
        let outcome = await client.value
        served += outcome.served
        failed += outcome.failed
      }
      #expect(served > 50 && failed.isEmpty, "\(served) served, failed: \(failed.prefix(5))")
      #expect(try await lasting.ask(replica: 1, "/plain/x", cookie: cookie).status == 200)
      #expect(await processes[1].child.terminate(grace: .seconds(10)) == .code(0), "\(processes[1].child.outputTail)")
      try Rounds.keep("fault 11: one of two replicas ended under load: \(served) requests, none failed")
    }
  }
}
