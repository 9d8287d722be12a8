import Cryptography
import IntercomCore
import IntercomTesting
import Sessions
import Synchronization
import Testing

/// Set once, seen by all.
final class Flag: Sendable {
  private let value = Atomic<Bool>(false)
  var isSet: Bool { value.load(ordering: .sequentiallyConsistent) }
  func set() { value.store(true, ordering: .sequentiallyConsistent) }
}

@Suite("Session ids and CSRF tokens")
struct SessionIDTests {
  @Test("an id is 43 digits of base64url and comes back from its cookie")
  func roundTrip() {
    for _ in 0..<200 {
      let id = SessionID(random: SystemRandom())
      #expect(id.cookieValue.count == 43 && SessionID(cookieValue: id.cookieValue) == id)
      #expect(Base64URL.decode(id.cookieValue)?.count == 32)
    }
  }

  @Test(
    "what is not the one spelling of 32 bytes is no id",
    arguments: [
      "", "A", String(repeating: "A", count: 42), String(repeating: "A", count: 44), String(repeating: "A", count: 42) + "=",
      String(repeating: "A", count: 42) + "B", String(repeating: "A", count: 42) + "D", String(repeating: "+", count: 43),
      String(repeating: "/", count: 43), " " + String(repeating: "A", count: 42), String(repeating: "A", count: 41) + "é",
      String(repeating: "A", count: 21) + "\0" + String(repeating: "A", count: 21),
    ])
  func malformed(_ text: String) { #expect(SessionID(cookieValue: Array(text.utf8)) == nil) }

  @Test("an id never prints itself")
  func redacted() {
    let id = SessionID(random: SystemRandom())
    let text = String(decoding: id.cookieValue, as: UTF8.self)
    var dumped = ""
    dump(id, to: &dumped)
    dump(BrowserBinding(random: SystemRandom()), to: &dumped)
    #expect("\(id)" == "<redacted>" && String(reflecting: id) == "<redacted>" && !dumped.contains(text) && !dumped.contains("word"))
  }

  @Test("a CSRF token belongs to its session: another session's, a random, an empty, a cut and a changed one are refused (S21)")
  func csrf() throws {
    let tokens = try CSRFTokens(keys: .test(), random: SystemRandom())
    let id = SessionID(random: SystemRandom())
    let token = tokens.token(for: id)
    #expect(token.count == CSRFTokens.length && tokens.verify(token, for: id))
    #expect(token == tokens.token(for: id))
    #expect(!tokens.verify(token, for: SessionID(random: SystemRandom())))
    #expect(!tokens.verify(tokens.randomToken(), for: id) && tokens.randomToken().count == token.count)
    #expect(!tokens.verify([], for: id) && !tokens.verify(token.dropLast(), for: id) && !tokens.verify(token + [65], for: id))
    for index in token.indices {
      var changed = token
      changed[index] = changed[index] == 65 ? 66 : 65
      #expect(!tokens.verify(changed, for: id))
    }
    #expect(token != id.cookieValue)
  }

  @Test("a CSRF token of a rotated key still verifies, of a dropped key not")
  func csrfRotation() throws {
    let old = Secret([UInt8](repeating: 1, count: 32))
    let new = Secret([UInt8](repeating: 2, count: 32))
    let id = SessionID(random: SystemRandom())
    let before = try CSRFTokens(keys: KeyRing([old]), random: SystemRandom()).token(for: id)
    let both = try CSRFTokens(keys: KeyRing([new, old]), random: SystemRandom())
    #expect(both.verify(before, for: id) && both.token(for: id) != before)
    #expect(try !CSRFTokens(keys: KeyRing([new]), random: SystemRandom()).verify(before, for: id))
  }
}

@Suite("Logins under way")
struct PendingLoginTests {
  let time = ManualTime()
  let store: MemorySessionStore
  let logins: PendingLogins
  let browser = BrowserBinding(random: SystemRandom())

  init() throws {
    store = MemorySessionStore(time: time)
    logins = PendingLogins(store: store, keys: try .test(), time: time, random: SystemRandom())
  }

  private func take(_ state: Secret<String>, _ browser: BrowserBinding?) async throws -> PendingTake {
    try await logins.take(state: Array(state.reveal().utf8), browser: browser)
  }

  @Test("a login comes back whole, once")
  func once() async throws {
    let state = try await logins.begin(.example(returnTo: "/fs/é?a=b", isSilent: true), browser: browser)
    guard case .taken(let login) = try await take(state, browser) else { throw SessionStoreConformance.Violation("not taken") }
    #expect(login.issuer == "https://id.example" && login.nonce.reveal() == "nonce" && login.codeVerifier.reveal() == "verifier")
    #expect(login.returnTo == "/fs/é?a=b" && login.isSilent && login.embedderOrigin == "https://mail.example")
    #expect(login.redirectURI == "https://ics.example/callback" && login.created == time.wallNow())
    #expect(try await take(state, browser).isUnknown)
  }

  @Test("login CSRF: a callback of another browser, or of none, changes nothing (fault 23)")
  func foreign() async throws {
    let state = try await logins.begin(.example(isSilent: true), browser: browser)
    for other in [BrowserBinding(random: SystemRandom()), nil] {
      guard case .foreign(isSilent: true, _) = try await take(state, other) else {
        throw SessionStoreConformance.Violation("a foreign browser got something else")
      }
    }
    #expect(try await take(state, browser).isTaken)
  }

  @Test("wrong state: unknown, empty, oversized and malformed values find nothing", arguments: [0, 42, 44, 100_000])
  func wrongState(_ length: Int) async throws {
    _ = try await logins.begin(.example(), browser: browser)
    #expect(try await logins.take(state: [UInt8](repeating: 65, count: length), browser: browser).isUnknown)
    #expect(try await logins.take(state: SessionID(random: SystemRandom()).cookieValue, browser: browser).isUnknown)
  }

  @Test("after ten minutes a login is expired, still tells where it wanted to go, and is used up")
  func expired() async throws {
    let state = try await logins.begin(.example(returnTo: "/wiki/"), browser: browser)
    time.advance(by: .seconds(600))
    guard case .expired(let login) = try await take(state, browser) else { throw SessionStoreConformance.Violation("not expired") }
    #expect(login.returnTo == "/wiki/")
    #expect(try await take(state, browser).isUnknown)
  }

  @Test("1,000 logins begun in one browser leave the five newest, and the last one works (fault 24)")
  func bounded() async throws {
    var states: [Secret<String>] = []
    for _ in 0..<1_000 { states.append(try await logins.begin(.example(), browser: browser)) }
    let held = await store.count(of: .pendingLogin)
    #expect(held == 5)
    for state in states.dropLast(5).suffix(20) { #expect(try await take(state, browser).isUnknown) }
    for state in states.suffix(5) { #expect(try await take(state, browser).isTaken) }
  }

  @Test("logins of many tabs at once are all under way, and one browser's do not push out another's")
  func parallelTabs() async throws {
    let other = try await logins.begin(.example(), browser: BrowserBinding(random: SystemRandom()))
    let logins = logins
    let browser = browser
    let states = try await withThrowingTaskGroup(of: Secret<String>.self) { group in
      for _ in 0..<5 { group.addTask { try await logins.begin(.example(), browser: browser) } }
      return try await group.reduce(into: []) { $0.append($1) }
    }
    for state in states { #expect(try await take(state, browser).isTaken) }
    #expect(try await !take(other, browser).isTaken)
    let held = await store.count(of: .pendingLogin)
    #expect(held == 1)
  }
}
