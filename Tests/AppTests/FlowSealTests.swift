import Cryptography
import HTTPMessage
import IntercomCore
import IntercomTesting
import Sessions
import Testing

/// S20: whatever is wrong with a value that Intercom gave out or stored, the answer is the same to the byte.
@Suite("Flow: changed cookies, states and records", .serialized)
struct FlowSealTests {
  /// The value with one bit of one byte changed, for every byte; what cannot stand in a cookie is left out.
  private func flips(_ value: String, isCookie: Bool) -> [String] {
    let bytes = Array(value.utf8)
    return bytes.indices.flatMap { index in
      (0..<8).compactMap { bit -> String? in
        var changed = bytes
        changed[index] ^= 1 << UInt8(bit)
        let byte = changed[index]
        if isCookie, byte <= 0x20 || byte >= 0x7f || byte == UInt8(ascii: ";") { return nil }
        return isCookie ? String(decoding: changed, as: UTF8.self) : String(decoding: PercentCoding.encode(changed), as: UTF8.self)
      }
    }
  }

  /// Everything of an answer but its date and the reference to its log line, which is drawn for each anew.
  private func shape(_ answer: HTTPAnswer) -> String {
    let fields = answer.fields.all.filter { FieldName($0.name) != "date" }
    let parts = answer.text.split(separator: "Reference: ", omittingEmptySubsequences: false)
    let text = parts.enumerated().map { $0.offset == 0 ? $0.element : $0.element.drop(while: \.isHexDigit) }.joined()
    return "\(answer.status)\n" + fields.map { "\($0.name): \(String(decoding: $0.value, as: UTF8.self))\n" }.joined() + text
  }

  @Test("Oracle: a session cookie with any bit of any byte changed gets one answer, that of no cookie, byte for byte (S20)")
  func sessionCookie() async throws {
    try await FlowFixture.run { flow in
      let cookie = try #require(await flow.signedIn().jar["intercom"]?.value)
      let expected = shape(try await flow.ask("GET", "/plain/x", cookie: nil))
      var shapes: Set<String> = []
      for changed in flips(cookie, isCookie: true) {
        shapes.insert(shape(try await flow.ask("GET", "/plain/x", cookie: changed)))
      }
      #expect(shapes == [expected])
      #expect(flow.upstream.requests.isEmpty)
      #expect(try await flow.ask("GET", "/plain/x", cookie: cookie).status == 200)
    }
  }

  @Test("Oracle: a login cookie with any bit of any byte changed gets one answer, and the login stays good for its browser (S20)")
  func loginCookie() async throws {
    try await FlowFixture.run { flow in
      let visitor = Visitor()
      let callback = try await flow.authorize(visitor, flow.begin(visitor))
      let binding = try #require(await visitor.jar["intercom-login"]?.value)
      var shapes: Set<String> = []
      for changed in flips(binding, isCookie: true) {
        let answer = try await flow.client.send("GET", callback, fields: FlowFixture.navigation + [("Cookie", "intercom-login=\(changed)")])
        #expect(answer.status == 400)
        shapes.insert(shape(answer))
      }
      #expect(shapes.count == 1, "\(shapes)")
      #expect(flow.codeCalls == 0)
      #expect(try await visitor.send("GET", callback, FlowFixture.navigation).status == 302)
    }
  }

  @Test("Oracle: a state with any bit of any byte changed gets one answer, and sends the code nowhere (S20, S19)")
  func state() async throws {
    try await FlowFixture.run { flow in
      let visitor = Visitor()
      let callback = try await flow.authorize(visitor, flow.begin(visitor))
      let query = String(callback.target.drop { $0 != "?" }.dropFirst())
      let state = try #require(FormText.value("state", in: query))
      // What can be a state, and what cannot: which of them it is, its sender knows.
      var shapes: [Bool: Set<String>] = [:]
      for changed in flips(state, isCookie: false) {
        var forged = callback
        forged.target = callback.target.replacing("state=" + state, with: "state=" + changed)
        #expect(forged.target != callback.target)
        let isText = FormText.unescape(changed).utf8.allSatisfy { $0 >= 0x20 && $0 < 0x7f }
        shapes[isText, default: []].insert(shape(try await visitor.send("GET", forged, FlowFixture.navigation)))
      }
      #expect(shapes[true]?.count == 1 && shapes[false]?.count == 1, "\(shapes)")
      #expect(shapes.values.joined().allSatisfy { $0.hasPrefix("400") })
      #expect(flow.codeCalls == 0)
      #expect(try await visitor.send("GET", callback, FlowFixture.navigation).status == 302)
    }
  }

  @Test("Oracle: a CSRF token and a sign-out state with any bit changed get one answer each (S20)")
  func tokens() async throws {
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      let token = try await flow.csrfToken(visitor)
      var shapes: Set<String> = []
      for changed in flips(token, isCookie: true) {
        shapes.insert(shape(try await flow.send(visitor, "GET", "/nob/x", [("X-CSRF-Token", changed)])))
      }
      #expect(shapes.count == 1 && shapes.first?.hasPrefix("403") == true, "\(shapes)")
      #expect(flow.upstream.requests.isEmpty)

      let logout = try await flow.send(visitor, "GET", "/logout?returnTo=%2Fplain%2Fbye", FlowFixture.navigation)
      let query = String((logout.field("location") ?? "").drop { $0 != "?" }.dropFirst())
      let state = try #require(FormText.value("state", in: query))
      #expect(try await flow.client.get(flow.base + "/?state=" + state).field("location") == "/plain/bye")
      let home = shape(try await flow.client.get(flow.base + "/"))
      shapes = []
      for changed in flips(state, isCookie: false) { shapes.insert(shape(try await flow.client.get(flow.base + "/?state=" + changed))) }
      #expect(shapes == [home])
    }
  }

  @Test("A stored session with a bit of any byte changed is no session, and the answer is that of none, byte for byte (S20, fault 9)")
  func records() async throws {
    try await FlowFixture.run { flow in
      let cookie = try await flow.plantedSession()
      let key = SessionKey(try #require(SessionID(cookieValue: Array(cookie.utf8)))).record
      let good = try #require(try await flow.store.read(key))
      let none = shape(try await flow.ask("GET", "/plain/x", cookie: nil))
      var version: UInt64? = good.version
      var shapes: Set<String> = []
      for index in good.value.indices {
        var value = good.value
        value[index] ^= 1 << UInt8(index & 7)
        let outcome = try await flow.store.write(key, value, indexes: [], expiry: good.expiry, expecting: version)
        guard case .written = outcome else {
          Issue.record("\(outcome)")
          return
        }
        shapes.insert(shape(try await flow.ask("GET", "/plain/x", cookie: cookie)))
        version = try await flow.store.read(key)?.version
        #expect(version == nil, "the damaged record is still there")
      }
      #expect(shapes == [none])
      _ = try await flow.store.write(key, good.value, indexes: [], expiry: good.expiry, expecting: nil)
      #expect(try await flow.ask("GET", "/plain/x", cookie: cookie).status == 200)
    }
  }

  @Test("A sealed record put in the place of another session's opens nothing (S20, S16b)")
  func swappedRecords() async throws {
    try await FlowFixture.run { flow in
      let (alice, bob) = (try await flow.plantedSession(subject: "alice-id"), try await flow.plantedSession(subject: "bob-id"))
      let keys = try [alice, bob].map { SessionKey(try #require(SessionID(cookieValue: Array($0.utf8)))).record }
      let records = [try #require(try await flow.store.read(keys[0])), try #require(try await flow.store.read(keys[1]))]
      _ = try await flow.store.write(keys[0], records[1].value, indexes: [], expiry: records[0].expiry, expecting: records[0].version)
      #expect(try await flow.ask("GET", "/plain/x", cookie: alice).status == 401)
      #expect(try await flow.ask("GET", "/plain/x", cookie: bob).status == 200)
    }
  }
}
