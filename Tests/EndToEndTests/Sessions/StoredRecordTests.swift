import Cryptography
import HTTPMessage
import IntercomCore
import IntercomTesting
import Testing

@testable import Sessions

@Suite("What somebody wrote into the session database", .serialized)
struct StoredRecordTests {
  /// How a stored value is spoilt, given the value, its plaintext, the right keys and the value of another person's record.
  struct Damage: Sendable, CustomStringConvertible {
    let description: String
    let spoil: @Sendable (_ sealed: [UInt8], _ plain: [UInt8], _ context: Context) throws -> [UInt8]
  }
  struct Context: Sendable {
    let key: RecordKey
    let keys: KeyRing
    let stranger: [UInt8]

    /// Sealed for this record, as `SealedRecords` does.
    func seal(_ plain: [UInt8], _ keys: KeyRing? = nil) throws -> [UInt8] {
      try (keys ?? self.keys).seal(plain, context: Array("intercom record".utf8) + [key.kind.rawValue] + key.bytes)
    }
  }

  static let damages = [
    Damage(description: "a flipped bit in the middle") { sealed, _, _ in flip(sealed, sealed.count / 2) },
    Damage(description: "a flipped bit in the first byte") { sealed, _, _ in flip(sealed, 0) },
    Damage(description: "a flipped bit in the last byte") { sealed, _, _ in flip(sealed, sealed.count - 1) },
    Damage(description: "cut in the middle") { sealed, _, _ in Array(sealed.prefix(sealed.count / 2)) },
    Damage(description: "cut by one byte") { sealed, _, _ in Array(sealed.dropLast()) },
    Damage(description: "empty") { _, _, _ in [] },
    Damage(description: "longer by one byte") { sealed, _, _ in sealed + [0] },
    Damage(description: "text") { _, _, _ in Array("{\"user\":\"admin\",\"canary\":\"stored-canary\"}".utf8) },
    Damage(description: "sealed by another key") { _, plain, context in
      try context.seal(plain, KeyRing([Secret(SystemRandom().bytes(32))]))
    },
    Damage(description: "the value of another person's record") { _, _, context in context.stranger },
    Damage(description: "an older schema, sealed rightly") { _, plain, context in try context.seal([0] + plain.dropFirst()) },
    Damage(description: "a newer schema, sealed rightly") { _, plain, context in try context.seal([2] + plain.dropFirst()) },
    Damage(description: "sealed rightly but cut before") { _, plain, context in try context.seal(Array(plain.dropLast(5))) },
    Damage(description: "sealed rightly, of nothing") { _, _, context in try context.seal([]) },
    Damage(description: "sealed rightly, with lengths that lie") { _, plain, context in
      try context.seal([1] + [UInt8](repeating: 0xff, count: 8) + plain.dropFirst(9))
    },
  ]

  private static func flip(_ bytes: [UInt8], _ index: Int) -> [UInt8] {
    var bytes = bytes
    bytes[index] ^= 0x10
    return bytes
  }

  @Test(
    "Fault 9: a session value that is flipped, cut, foreign or of another schema is no session: counted, logged without content, removed; no crash and nobody else's harm (S12)",
    .timeLimit(.minutes(1)))
  func sessions() async throws {
    try await LastingIntercom.run { lasting in
      var intercom = try await lasting.serve()
      var spoilt: [Visitor] = []
      for _ in Self.damages { spoilt.append(try await lasting.signedIn()) }
      let (alice, bob) = (try await lasting.signedIn(), try await lasting.signedIn("bob"))
      await intercom.child.terminate(grace: .seconds(10))
      var cookies: [String] = []
      for visitor in spoilt { cookies.append(try await lasting.cookie(of: visitor)) }
      try await Self.spoil(
        lasting, try cookies.map { try LastingIntercom.record(ofCookie: $0) },
        other: LastingIntercom.record(ofCookie: try await lasting.cookie(of: bob)))

      intercom = try await lasting.serve()
      for (number, visitor) in spoilt.enumerated() {
        let script = try await lasting.fetch(visitor, "/plain/x")
        #expect(script.status == 401, "\(Self.damages[number])")
        let page = try await visitor.send("GET", LoopbackURL(lasting.base + "/plain/x"), [("Accept", "text/html")])
        #expect(page.status == 302 && page.field("location")?.hasPrefix(lasting.issuer) == true, "\(Self.damages[number])")
      }
      for visitor in [alice, bob] { #expect(try await lasting.fetch(visitor, "/own/x").status == 200) }
      let count = Self.damages.count
      #expect(try await intercom.metric(#"intercom_session_records_damaged_total{kind="session"}"#) == count)
      #expect(intercom.logLines("session_record_damaged").count == count)
      let output = intercom.child.output
      for secret in cookies + ["stored-canary", lasting.key, LastingIntercom.clientSecret] { #expect(!output.contains(secret)) }
      #expect(intercom.tokensInLog.isEmpty)
      // Whose session was spoilt signs in again, in the same browser.
      try await lasting.signIn(spoilt[0])
      #expect(try await lasting.fetch(spoilt[0], "/plain/x").status == 200)
      #expect(await intercom.child.terminate(grace: .seconds(10)) == .code(0))
      #expect(try lasting.query("SELECT count(*) FROM records WHERE kind = 0 AND buried = 0") == 3)
    }
  }

  @Test(
    "Fault 9: a pending login that was spoilt is no login: its callback is refused, the record removed, and signing in anew works",
    .timeLimit(.minutes(1)))
  func pendingLogins() async throws {
    try await LastingIntercom.run { lasting in
      var intercom = try await lasting.serve()
      var begun: [(visitor: Visitor, callback: LoopbackURL)] = []
      for _ in 0...Self.damages.count { begun.append(try await Self.begin(lasting)) }
      await intercom.child.terminate(grace: .seconds(10))
      let keys = try begun.map {
        try LastingIntercom.record(ofState: FormText.value("state", in: String($0.callback.target.drop { $0 != "?" }.dropFirst())) ?? "")
      }
      try await Self.spoil(lasting, keys.dropLast(), other: keys[keys.count - 1])

      intercom = try await lasting.serve()
      for (number, login) in begun.dropLast().enumerated() {
        let answer = try await login.visitor.send("GET", login.callback, [("Accept", "text/html"), ("Sec-Fetch-Mode", "navigate")])
        #expect(answer.status == 400 && answer.text.contains("Sign in again"), "\(Self.damages[number]): \(answer.wholeText)")
        #expect(await login.visitor.jar["intercom"] == nil)
      }
      let unharmed = begun[begun.count - 1]
      #expect(try await unharmed.visitor.send("GET", unharmed.callback, [("Accept", "text/html")]).status == 302)
      #expect(await unharmed.visitor.jar["intercom"] != nil)
      #expect(try await intercom.metric(#"intercom_session_records_damaged_total{kind="pendingLogin"}"#) == Self.damages.count)
      try await lasting.signIn(begun[0].visitor)
      #expect(try await lasting.fetch(begun[0].visitor, "/plain/x").status == 200)
      #expect(await intercom.child.terminate(grace: .seconds(10)) == .code(0))
      // What a login leaves to find a logout meanwhile lives for a second, what its other tabs find for a minute; a pending one for many.
      let pending = "SELECT count(*) FROM records WHERE kind = 1 AND expiry > CAST(strftime('%s', 'now') AS INTEGER) + 90"
      #expect(try lasting.query(pending) == 0)
    }
  }

  /// A sign-in up to the redirect back, which the browser has not followed.
  private static func begin(_ lasting: LastingIntercom) async throws -> (visitor: Visitor, callback: LoopbackURL) {
    let visitor = Visitor(timeout: .seconds(20))
    let page = try await visitor.open(lasting.base + "/login")
    guard let form = HTMLForm(in: page.text), let url = await visitor.trail.last?.url else {
      throw WaitFailure("no sign-in page", within: .zero, seen: page.wholeText)
    }
    let body = FormText.encode(form.hidden + [("username", "alice"), ("password", LastingIntercom.password)])
    let answer = try await visitor.send(
      "POST", url.resolve(form.action), [("Content-Type", "application/x-www-form-urlencoded")], body: Array(body.utf8))
    return (visitor, try url.resolve(answer.field("location") ?? ""))
  }

  /// Spoils each record in another way.
  private static func spoil(_ lasting: LastingIntercom, _ keys: some Collection<RecordKey>, other: RecordKey) async throws {
    let ring = try lasting.keyRing()
    try await lasting.withStore { store, records in
      let stranger = try #require(try await store.read(other)).value
      for (key, damage) in zip(keys, damages) {
        let sealed = try #require(try await store.read(key))
        let plain = try #require(try await records.read(key)).plain
        let value = try damage.spoil(sealed.value, plain, Context(key: key, keys: ring, stranger: stranger))
        #expect(value != sealed.value)
        let outcome = try await store.write(key, value, indexes: [], expiry: sealed.expiry, expecting: sealed.version)
        guard case .written = outcome else { throw WaitFailure("not written: \(outcome)", within: .zero) }
      }
    }
  }
}
