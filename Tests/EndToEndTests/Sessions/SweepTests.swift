import IntercomCore
import IntercomTesting
import SessionStoreSQLite
import Testing

@testable import Sessions

@Suite("What is over leaves the session database", .serialized)
struct SweepTests {
  private static let generation = 4_000

  /// Puts sessions into the file that end in some seconds; as large as real ones, but of nobody.
  private func fill(_ lasting: LastingIntercom, _ name: String, ending seconds: Int64) async throws {
    let expiry = SystemTime().wallNow().advanced(by: .seconds(seconds))
    try await lasting.withStore { store, _ in
      for start in stride(from: 0, to: Self.generation, by: 500) {
        try await withThrowingTaskGroup(of: Void.self) { group in
          for number in start..<start + 500 {
            let key = RecordKey(kind: .session, naming: [Identifier(name), Identifier("\(number)")])
            let index = IndexKey(subject: Identifier("\(name) \(number)"), issuer: "i")
            group.addTask {
              _ = try await store.write(key, [UInt8](repeating: 7, count: 2_500), indexes: [index], expiry: expiry, expecting: nil)
            }
          }
          try await group.waitForAll()
        }
      }
    }
  }

  @Test(
    "sessions that are over are removed in small steps while people sign in, and their space is used again", .timeLimit(.minutes(1)))
  func swept() async throws {
    try await LastingIntercom.run { lasting in
      var pages: [Int64] = []
      // The first generation is watched, so it must not be over before the program runs.
      for (round, life) in [Int64(8), 2, 2].enumerated() {
        try await fill(lasting, "round \(round)", ending: life)
        pages.append(try lasting.query("PRAGMA page_count"))
        let intercom = try await lasting.serve()
        let kept = try await round == 0 ? watch(lasting, intercom) : 2
        try await waitUntilTrue("an empty file", within: .seconds(30)) { try await intercom.metric(Self.figure) == kept }
        #expect(await intercom.child.terminate(grace: .seconds(10)) == .code(0))
        #expect(try lasting.query("SELECT count(*) FROM records WHERE kind = 0 AND buried = 0") == kept)
        #expect(try lasting.query("SELECT count(*) FROM names WHERE kind = 1") == kept)
      }
      // Three times as many pages without reuse.
      #expect(pages[2] < pages[0] + pages[0] / 4, "the file grows: \(pages)")
    }
  }

  private static let figure = "intercom_session_store_sessions"

  /// Sees the sessions go while two people sign in, and says how many stay.
  private func watch(_ lasting: LastingIntercom, _ intercom: IntercomProcess) async throws -> Int {
    var seen: Set<Int> = []
    var signedIn = 0
    try await waitUntilTrue("an empty file", within: .seconds(30), pause: .milliseconds(1)) {
      let left = (try await intercom.metric(Self.figure) ?? 0) - signedIn
      seen.insert(left)
      // Nobody waits for it.
      if left < Self.generation, signedIn < 2 {
        signedIn += 1
        #expect(try await lasting.fetch(lasting.signedIn(), "/plain/x").status == 200)
      }
      return left == 0
    }
    let steps = zip(seen.sorted().dropFirst(), seen.sorted()).map { $0 - $1 }
    #expect(seen.count > 2 && steps.allSatisfy { $0 % 200 == 0 }, "\(seen.sorted())")
    return signedIn
  }
}
