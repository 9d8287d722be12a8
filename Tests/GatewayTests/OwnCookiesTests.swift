import Cryptography
import HTTP1
import HTTPMessage
import IntercomCore
import IntercomTesting
import Sessions
import Testing

@testable import Gateway

@Suite("The session cookie")
struct OwnCookiesTests {
  private static let ids = (0..<3).map { Base64URL.encode([UInt8](repeating: UInt8($0 + 1), count: 32)) }
  private static let names = [
    "intercom", "__Host-intercom", "Intercom", "intercom2", "xintercom", "intercom-login", "__Host-intercomx", "i", "",
  ]
  private static let values = ids + [ids[0] + "A", String(ids[0].dropLast()), String(ids[0].dropLast()) + "B", "\"\(ids[0])\"", "", "x=y"]

  private static func cookie() -> String {
    let blanks = ["", "", "", " ", "  ", "\t"]
    func blank() -> String { blanks.randomElement() ?? "" }
    let name = names.randomElement() ?? ""
    let value = values.randomElement() ?? ""
    return Int.random(in: 0..<12) == 0 ? blank() + value + blank() : blank() + name + blank() + "=" + blank() + value + blank()
  }

  /// Every cookie taken apart; the best name wins, then the first that is well formed.
  private static func naive(_ lines: [String], _ names: [String]) -> SessionID? {
    for name in names {
      for line in lines {
        let bytes = Array(line.utf8)
        var scanner = CookieScanner(ByteRange(0, bytes.count))
        while let cookie = scanner.next(in: bytes.span) {
          guard cookie.hasEquals, cookie.name.bytes(in: bytes.span) == Array(name.utf8) else { continue }
          if let id = SessionID(cookieValue: cookie.value.bytes(in: bytes.span)) { return id }
        }
      }
    }
    return nil
  }

  @Test("is found as a reader finds it that takes every cookie apart, by a loop that knows the session and by one that does not")
  func naiveReader() async throws {
    var found = 0
    for _ in 0..<Rounds.count(3_000, full: 100_000) {
      let isSecure = Bool.random()
      let cookies = OwnCookies(isSecure: isSecure)
      let lines = (0..<Int.random(in: 1...3)).map { _ in (0..<Int.random(in: 0...4)).map { _ in Self.cookie() }.joined(separator: ";") }
      let head = Array(
        ("GET / HTTP/1.1\r\nHost: x\r\n" + lines.map { "Cookie: \($0)\r\n" }.joined() + "\r\n").utf8)
      var parsed = RequestHead()
      var parser = RequestHeadParser()
      guard case .complete = parser.parse(head.span, into: &parsed) else { continue }
      let expected = Self.naive(lines, isSecure ? ["__Host-intercom"] : ["__Host-intercom", "intercom"])
      let read = cookies.session(parsed.request, head.span)
      #expect(read == expected, "\(lines)")
      let table = SessionTable()
      if let expected {
        found += 1
        let view = try await Self.view(expected)
        if Bool.random() { #expect(table.insert(view, ticket: table.ticket())) }
      }
      switch cookies.presented(parsed.request, head.span, table) {
      case .known(let view): #expect(view.id == expected && table.count == 1, "\(lines)")
      case .unknown(let id): #expect(id == expected && table.count == 0, "\(lines)")
      case nil: #expect(expected == nil, "\(lines)")
      }
    }
    #expect(found > 300)
  }

  @Test("a name that is set is taken as it is; the host prefix comes with the usual one alone")
  func names() {
    func name(_ isSecure: Bool, _ name: String?) -> String {
      let cookies = name.map { OwnCookies(isSecure: isSecure, name: $0) } ?? OwnCookies(isSecure: isSecure)
      return String(decoding: cookies.sessionName, as: UTF8.self)
    }
    #expect(name(true, nil) == "__Host-intercom" && name(false, nil) == "intercom")
    #expect(name(true, "intercom") == "intercom" && name(true, "appSession") == "appSession" && name(true, "__Host-x") == "__Host-x")
  }

  private static func view(_ id: SessionID) async throws -> SessionView {
    let time = ManualTime()
    let manager = SessionManager(
      store: MemorySessionStore(time: time), keys: try KeyRing([Secret([UInt8](repeating: 1, count: 32))]), time: time,
      random: SystemRandom())
    let login = VerifiedLogin(
      issuer: "https://id.example", subject: "alice", sid: nil, claims: [:],
      tokens: SessionTokens(accessToken: Secret("access"), received: manager.now(), accessExpiry: nil, idToken: Secret("id")))
    let session = try await manager.create(from: login).session
    return try #require(SessionView(id: id, session: session, settings: manager.settings, now: manager.now()))
  }
}
