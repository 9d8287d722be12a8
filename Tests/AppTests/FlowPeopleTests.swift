import Cryptography
import DemoWorkplace
import HTTPMessage
import IntercomCore
import IntercomTesting
import Sessions
import StrictJSON
import Testing

@Suite("Flow: who somebody is", .serialized)
struct FlowPeopleTests {
  private static func user(
    _ subject: String, _ name: String, email: String = "same@example.org", _ claims: JSONObject = ["groups": "staff"]
  )
    -> ProviderUser
  {
    ProviderUser(
      subject: Identifier(subject), username: Identifier(name), password: Secret(FlowFixture.password), name: "The Same", email: email,
      claims: claims)
  }

  private static func people(_ users: [ProviderUser]) -> FlowFixture.Options {
    var options = FlowFixture.Options()
    options.provider = { $0.users = users }
    return options
  }

  /// Pairs that some reader takes for one person.
  static let lookalikes: [(String, String)] = [
    ("zo\u{eb}", "zoe\u{308}"), ("\u{212a}", "K"), ("\u{2126}", "\u{3a9}"), ("alice", "Alice"), ("alice", "alice."), ("alice", "alice "),
    ("\u{fb01}x", "fix"), ("a\u{200d}b", "ab"),
  ]

  @Test(
    "Identifiers equal that are not: two subjects that some reader takes for one stay two, in sessions, caches, tokens and logout (S37)",
    arguments: lookalikes.indices)
  func twoPeople(_ index: Int) async throws {
    let (one, two) = Self.lookalikes[index]
    let options = Self.people([Self.user(one, "first"), Self.user(two, "second")])
    try await FlowFixture.run(options) { flow in
      let (first, second) = (try await flow.signedIn("first"), try await flow.signedIn("second"))
      var tokens: [String: Set<String>] = [:]
      for (name, visitor) in [("first", first), ("second", second), ("first", first), ("second", second)] {
        _ = try await flow.fetch(visitor, "GET", "/headers/x")
        #expect(flow.upstream.requests.last?.field("x-remote-user") == name)
        _ = try await flow.fetch(visitor, "GET", "/fs/x")
        tokens[name, default: []].insert(flow.upstream.requests.last?.field("authorization") ?? "")
      }
      #expect(tokens["first"]?.count == 1 && tokens["second"]?.count == 1 && tokens["first"] != tokens["second"])
      let logout = try flow.logoutToken(subject: one)
      #expect(try await flow.client.post(flow.base + "/backchannel-logout", form: ["logout_token": logout]).status == 200)
      #expect(try await flow.isAlive(first) == false)
      #expect(try await flow.isAlive(second))
    }
  }

  @Test("Claim parsing: people with one address and one name are told apart by sub, and odd addresses pass as they are or not at all (S31)")
  func sameAddress() async throws {
    let odd = [
      "a@evil.example@corp.example", "\"a b\"@corp.example", "A@CORP.example", "a@corp.example\u{0}", "a@corp.example\r\nX-Role: admin",
    ]
    let users = odd.enumerated().map { Self.user("id-\($0.offset)", "user-\($0.offset)", email: $0.element, ["mail": .string($0.element)]) }
    var options = Self.people(users)
    options.deployment = { deployment in
      guard let index = deployment.routes.firstIndex(where: { $0.name == "headers" }) else { return }
      deployment.routes[index].credential = .headers([.init(field: "X-Mail", claim: "mail"), .init(field: "X-Sub", claim: "sub")])
    }
    try await FlowFixture.run(options) { flow in
      var visitors: [Visitor] = []
      for index in odd.indices { visitors.append(try await flow.signedIn("user-\(index)")) }
      for (index, visitor) in visitors.enumerated() {
        flow.upstream.forget()
        let answer = try await flow.fetch(visitor, "GET", "/headers/x")
        let isClean = odd[index].utf8.allSatisfy { $0 >= 0x20 }
        #expect(answer.status == (isClean ? 200 : 403), "\(odd[index].debugDescription): \(answer.status)")
        #expect(flow.upstream.requests.first?.all("x-mail") == (isClean ? [odd[index]] : nil))
        #expect(flow.upstream.requests.first?.all("x-sub") == (isClean ? ["id-\(index)"] : nil))
        #expect(flow.upstream.requests.first?.field("x-role") == nil)
      }
      let logout = try flow.logoutToken(subject: "id-0")
      _ = try await flow.client.post(flow.base + "/backchannel-logout", form: ["logout_token": logout])
      for (index, visitor) in visitors.enumerated() { #expect(try await flow.isAlive(visitor) == (index > 0)) }
    }
  }

  /// A claim's shape and what a backend gets: nil is a refusal.
  static let shapes: [(String, JSONValue, [UInt8]?)] = [
    ("text", "staff", Array("staff".utf8)), ("a list", ["a", "b"], Array("a,b".utf8)), ("a number", 42, Array("42".utf8)),
    ("true", true, Array("true".utf8)), ("an empty list", .array([]), []), ("a list with a comma inside", ["a,admin", "b"], nil),
    ("an object", .object(["role": "admin"]), nil), ("a list of lists", .array([["a"]]), nil),
    ("a list with an object", .array(["a", .object([:])]), nil),
    ("a mixed list", .array(["a", 1]), nil), ("null", .null, nil), ("a line break", "a\r\nX-Groups: admin", nil), ("a NUL", "a\u{0}b", nil),
    ("huge", .string(String(repeating: "x", count: 9_000)), nil), ("a huge list", .array((0..<3_000).map { .string("group-\($0)") }), nil),
    ("deep", (0..<40).reduce(JSONValue.string("x")) { value, _ in .array([value]) }, nil),
    ("not ASCII", "gr\u{fc}n", Array("gr\u{fc}n".utf8)),
    ("a fraction", .double(1.5), nil),
  ]

  @Test("Claim parsing: whatever its shape, a claim arrives as it is or the request is refused, never half of it (S31)")
  func claimShapes() async throws {
    let users = Self.shapes.enumerated().map { Self.user("id-\($0.offset)", "user-\($0.offset)", ["groups": $0.element.1]) }
    try await FlowFixture.run(Self.people(users)) { flow in
      for (index, (name, _, expected)) in Self.shapes.enumerated() {
        let visitor = Visitor(timeout: .seconds(20))
        let callback = try await flow.authorize(visitor, flow.begin(visitor), as: "user-\(index)")
        let login = try await visitor.send("GET", callback, FlowFixture.navigation)
        flow.upstream.forget()
        let answer = try await flow.fetch(visitor, "GET", "/headers/x", [("X-Groups", "admin")])
        if let expected {
          #expect(answer.status == 200, "\(name): \(login.status), \(answer.text)")
          #expect(flow.upstream.requests.first?.fields.values("x-groups") == [expected], "\(name)")
        } else {
          // Tokens that are too large end the sign-in already.
          #expect(answer.status == (login.status == 302 ? 403 : 401), "\(name): \(login.status), \(answer.status)")
          #expect(flow.upstream.requests.isEmpty, "\(name)")
        }
        // The person is who they are, whatever else is said of them.
        if login.status == 302 { #expect(try await flow.isAlive(visitor), "\(name)") }
      }
    }
  }

  @Test("A sub-only logout of a user with 10,000 sessions ends them all, and nobody else's (S18, fault 31)")
  func manySessions() async throws {
    let count = Rounds.count(1_000, full: 10_000)
    try await FlowFixture.run { flow in
      var cookies: [String] = []
      for _ in 0..<count { cookies.append(try await flow.plantedSession(subject: "alice-id")) }
      let others = try await [
        flow.plantedSession(subject: "bob-id"), flow.plantedSession(subject: "Alice-id"), flow.plantedSession(subject: "alice-id2"),
      ]
      for cookie in cookies.prefix(50) + others { #expect(try await flow.ask("GET", "/plain/x", cookie: cookie).status == 200) }
      let began = flow.time.monotonicNow()
      let answer = try await flow.client.post(
        flow.base + "/backchannel-logout", form: ["logout_token": flow.logoutToken(subject: "alice-id")])
      let took = began.duration(to: flow.time.monotonicNow())
      #expect(answer.status == 200)
      #expect(try await flow.store.find(IndexKey(subject: "alice-id", issuer: Identifier(flow.issuer)), limit: 1).isEmpty)
      for cookie in cookies.prefix(60) + cookies.suffix(60) { #expect(try await flow.ask("GET", "/plain/x", cookie: cookie).status == 401) }
      for cookie in others { #expect(try await flow.ask("GET", "/plain/x", cookie: cookie).status == 200) }
      try Rounds.keep("fault 31: \(count) sessions of one user ended by one logout token in \(took), three others' untouched")
    }
  }

  @Test("Logout racing 200 requests in flight: after its 200 no request that arrives is authorised, on any loop (S11, S27, fault 26)")
  func racingLogout() async throws {
    let rounds = Rounds.count(3, full: 100)
    try await FlowFixture.run { flow in
      for _ in 0..<rounds {
        let cookie = try await flow.plantedSession(subject: "alice-id")
        for _ in 0..<4 { #expect(try await flow.ask("GET", "/plain/warm", cookie: cookie).status == 200) }
        let logout = try flow.logoutToken(subject: "alice-id")
        let early = try await withThrowingTaskGroup(of: Int.self) { group in
          for _ in 0..<200 { group.addTask { try await flow.ask("GET", "/plain/early", cookie: cookie).status } }
          #expect(try await flow.client.post(flow.base + "/backchannel-logout", form: ["logout_token": logout]).status == 200)
          for _ in 0..<12 { #expect(try await flow.ask("GET", "/plain/late", cookie: cookie).status == 401) }
          return try await group.reduce(into: [Int]()) { $0.append($1) }
        }
        #expect(early.allSatisfy { $0 == 200 || $0 == 401 })
      }
      #expect(!flow.upstream.requests.contains { $0.path.hasSuffix("/late") })
      try Rounds.keep("fault 26: \(rounds) rounds of 200 requests against a logout, none authorised after its 200")
    }
  }
}
