import HTTPMessage
import IntercomCore
import IntercomTesting
import Linux
import Testing

/// S24: one request that crashes the process or takes its memory.
@Suite("Flow: hostile input", .serialized)
struct FlowInputTests {
  /// Resident memory of this process, Intercom being in it, in bytes.
  private func resident() throws -> Int {
    let text = String(decoding: readFile("/proc/self/statm", from: 0, maximum: 256), as: UTF8.self)
    return try #require(text.split(separator: " ").dropFirst().first.flatMap { Int($0) }) * 4_096
  }

  /// Bytes that parsers stumble over, in every combination of a few.
  private func garbage(_ generator: inout SplitMix64, _ count: Int) -> String {
    let pieces = [
      "%", "%0", "%00", "%zz", "%c0%ae", "&", "=", ";", "\"", "\\", "[", "{", "\u{0}", "\u{ff}", "\u{301}", "+", ",", ".", "..", "//", "/",
      "?", "#",
      "A", "state=", "code=", "iss=", "logout_token=", "eyJ", "-1", "9999999999999999999999", "\u{7f}", "__Host-intercom=", "intercom=",
      "é",
      "\t", " ", "%F0%9F%98%80", "%ED%A0%80",
    ]
    return (0..<count).map { _ in pieces[Int(generator.next() % UInt64(pieces.count))] }.joined()
  }

  private func visible(_ text: String) -> String {
    String(decoding: text.utf8.filter { $0 > 0x20 && $0 < 0x7f && $0 != UInt8(ascii: "#") }, as: UTF8.self)
  }
  private func fieldValue(_ text: String) -> String { String(decoding: text.utf8.filter { $0 >= 0x20 && $0 != 0x7f }, as: UTF8.self) }

  @Test("Crash by one request: garbage in every place that is read, at every door, is answered, and the memory stays (S24, S35)")
  func garbageEverywhere() async throws {
    try await FlowFixture.run { flow in
      let cookie = try #require(await flow.signedIn().jar["intercom"]?.value)
      var generator = SplitMix64(state: 0x5eed_0000_0000_0024)
      var statuses: [Int: Int] = [:]
      func round(_ count: Int) async throws {
        for _ in 0..<count {
          for door in flow.doors {
            let junk = garbage(&generator, Int(generator.next() % 60))
            let session = generator.next() % 2 == 0 ? cookie : visible(junk)
            let target = door.target + ["", "?", "?returnTo=", "?state="][Int(generator.next() % 4)] + visible(junk)
            var fields = [("Cookie", "intercom=\(session); \(fieldValue(junk)); intercom-login=\(visible(junk))")]
            for (index, name) in ["Referer", "Accept", "X-CSRF-Token", "Authorization", "Content-Type", "Sec-Fetch-Mode"].enumerated() {
              if (generator.next() >> UInt64(index)) & 1 == 0 { fields.append((name, fieldValue(junk))) }
            }
            if generator.next() % 3 == 0 { fields.append(("Content-Type", "application/x-www-form-urlencoded")) }
            let method = ["GET", "POST", "OPTIONS", "HEAD"][Int(generator.next() % 4)]
            let hasTwo = fields.filter { $0.0 == "Content-Type" }.count > 1
            if hasTwo { fields.removeAll { $0.0 == "Content-Type" && $0.1 != "application/x-www-form-urlencoded" } }
            let answer = try await flow.client.send(
              method, flow.url(target), fields: fields, body: method == "POST" ? Array(junk.utf8) : nil)
            statuses[answer.status, default: 0] += 1
          }
        }
      }
      let rounds = Rounds.count(40, full: 2_000)
      try await round(rounds / 4)
      let before = try resident()
      try await round(rounds)
      let grown = try resident() - before
      #expect(grown < 96 << 20, "\(grown >> 20) MiB more")
      #expect(statuses.keys.allSatisfy { [200, 204, 302, 400, 401, 403, 404, 405, 413, 415, 502].contains($0) }, "\(statuses)")
      #expect(try await flow.ask("GET", "/plain/x", cookie: cookie).status == 200)
      try Rounds.keep(
        "S24: \(rounds * flow.doors.count) requests of garbage, answers \(statuses.sorted { $0.key < $1.key }), \(grown >> 20) MiB more")
    }
  }

  @Test(
    "Memory by one request: giant fields, cookies, queries and bodies at every door are refused in time and cost nothing lasting (S24, S35)"
  )
  func giants() async throws {
    try await FlowFixture.run { flow in
      let before = try resident()
      for door in flow.doors where door.kind != .open {
        let long = String(repeating: "a", count: 7_900)
        let giants: [(String, String, [(String, String)], [UInt8]?, Set<Int>)] = [
          ("GET", door.target + "?" + long, [], nil, [200, 302, 400, 401, 403, 405]),
          ("GET", door.target + "?" + String(repeating: "a=b&", count: 1_900), [], nil, [200, 302, 400, 401, 403, 405]),
          ("GET", door.target + "?" + String(repeating: "%41", count: 2_500), [], nil, [200, 302, 400, 401, 403, 405]),
          ("GET", door.target + "?" + long + long, [], nil, [414]),
          ("GET", door.target, [("Cookie", String(repeating: "intercom=a; ", count: 1_300))], nil, [200, 302, 400, 401, 403, 405]),
          ("GET", door.target, [("Cookie", String(repeating: "a", count: 1 << 20))], nil, [431]),
          ("GET", door.target, [("Referer", "http://" + long + "/")], nil, [200, 302, 400, 401, 403, 405]),
          ("GET", door.target, (0..<120).map { ("X-\($0)", "a") }, nil, [200, 302, 400, 401, 403, 405]),
          ("GET", door.target, (0..<300).map { ("X-\($0)", "a") }, nil, [431]),
          (
            "POST", door.target, [("Content-Type", "application/x-www-form-urlencoded")],
            Array(String(repeating: "a&", count: 30_000).utf8), [302, 400, 401, 403, 405]
          ),
          (
            "POST", door.target, [("Content-Type", "application/json")], [UInt8](repeating: UInt8(ascii: "["), count: 60_000),
            [302, 401, 403, 405, 415]
          ),
        ]
        for (method, target, fields, body, expected) in giants {
          let answer = try? await flow.client.send(method, flow.url(target), fields: fields, body: body)
          #expect(
            answer.map { expected.contains($0.status) } ?? expected.contains(431), "\(method) \(target.prefix(30)): \(answer?.status ?? 0)")
        }
      }
      let grown = try resident() - before
      #expect(grown < 96 << 20, "\(grown >> 20) MiB more")
      #expect(try await flow.isAlive(flow.signedIn()))
    }
  }
}
