import Cryptography
import HTTP1
import HTTPMessage
import IntercomCore
import IntercomTesting
import Policy
import ReverseProxy
import Sessions
import StrictJSON

@testable import Gateway

/// A small workplace for the decision's tables: routes `fs` (exchange), `nob` (token demanded), `wiki` (reading only), `public`, and the own
/// endpoints; base URL https://ics.example.org, one allowed origin.
struct DecisionFixture: Sendable {
  enum Knowledge: Sendable {
    case nothing, storeSaysNone, storeDown, liveSession, warm, idle, staleCredential, providerDown, sessionEnded, exchangeRefused
    case tooManyRounds
  }

  static let sessionValue = Base64URL.encode([UInt8](repeating: 7, count: 32))
  private static let foreignValue = Base64URL.encode([UInt8](repeating: 8, count: 32))
  static let keys = try? KeyRing([Secret([UInt8](repeating: 1, count: 32))])
  static let csrfToken = token(sessionValue)
  static let foreignCSRFToken = token(foreignValue)

  private static func required() throws -> KeyRing {
    guard let keys else { throw FixtureError.noKeys }
    return keys
  }

  private static func token(_ value: String) -> String {
    guard let keys, let tokens = try? CSRFTokens(keys: keys, random: SystemRandom()), let id = SessionID(cookieValue: Array(value.utf8))
    else {
      return ""
    }
    return String(decoding: tokens.token(for: id), as: UTF8.self)
  }

  let gateway: Gateway
  private let session: Session
  private let now = WallInstant(seconds: 1_800_000_000)

  init() async throws {
    let keys = try Self.required()
    let cors = CORSPolicy(origins: ["https://ics.example.org", "https://mail.example.org"].compactMap { Origin(serialized: $0) })
    gateway = Gateway(
      table: RouteTable(try Self.routes(cors), baseHost: "ics.example.org"), cookies: OwnCookies(isSecure: true),
      csrf: try CSRFTokens(keys: keys, random: SystemRandom()), logoutKey: Secret([1]))
    let time = ManualTime(wall: now.seconds)
    let store = MemorySessionStore(time: time)
    let manager = SessionManager(store: store, keys: keys, time: time, random: SystemRandom())
    let tokens = SessionTokens(
      accessToken: Secret("access"), received: now, accessExpiry: nil, idToken: Secret("id"))
    session = try await manager.create(
      from: VerifiedLogin(issuer: "https://id.example.org", subject: "alice", sid: "s", claims: [:], tokens: tokens)
    ).session
  }

  static func routes(_ cors: CORSPolicy) throws -> [Route] {
    func proxy(_ name: String, _ methods: MethodSet) throws -> Route {
      guard let path = RoutePath("/" + name), let url = HTTPURL("http://127.0.0.1:1"), let upstream = UpstreamEndpoint(url) else {
        throw FixtureError.noRoute
      }
      return Route(name: name, path: path, kind: .proxy(upstream), methods: methods, cors: cors)
    }
    var fs = try proxy("fs", .webdav)
    fs.credential = .exchange(ExchangeTarget(audience: "files"))
    fs.passesEncodedSlashes = true
    var nob = try proxy("nob", .plain)
    nob.csrf = .token
    let wiki = try proxy("wiki", .read)
    var open = try proxy("public", .read)
    open.isPublic = true
    open.upgrades = [Array("websocket".utf8)]
    var live = try proxy("live", .plain)
    live.upgrades = [Array("websocket".utf8), Array("raw/1".utf8)]
    return [fs, nob, wiki, open, live] + OwnRoutes.all(cors)
  }

  /// `METHOD target` and field lines, as one word and what it is about.
  func decide(_ text: String, _ knowledge: Knowledge) throws -> String { try summary(verdict(text, knowledge)) }

  func verdict(_ text: String, _ knowledge: Knowledge) throws -> Verdict {
    var lines = text.split(separator: "\n", omittingEmptySubsequences: true).map(String.init)
    lines[0] += " HTTP/1.1"
    let head = Array((lines + ["Host: ics.example.org"]).joined(separator: "\r\n").utf8) + Array("\r\n\r\n".utf8)
    var parsed = RequestHead()
    var parser = RequestHeadParser()
    let result = parser.parse(head.span, into: &parsed)
    guard case .complete = result else { throw FixtureError.notParsed("\(result)") }
    return gateway.decide(parsed.request, head.span, known(knowledge))
  }

  private func known(_ knowledge: Knowledge) -> Known {
    let table = SessionTable()
    var findings = Findings()
    var instant = now
    func insert(_ credentialLife: Int64?) {
      guard let id = SessionID(cookieValue: Array(Self.sessionValue.utf8)) else { return }
      guard let view = SessionView(id: id, session: session, settings: SessionSettings(idle: .seconds(3600)), now: now) else { return }
      if let credentialLife {
        for route in gateway.table.entries.indices {
          let credential = Credential(lines: FieldLines(), freshUntil: now.advanced(by: .seconds(credentialLife)))
          let mark = gateway.table.entries[route].mark
          view.setCredential(CredentialView(credential, route: mark, session: id), route: mark)
        }
      }
      _ = table.insert(view, ticket: table.ticket())
    }
    switch knowledge {
    case .nothing: break
    case .storeSaysNone: findings.session = .none
    case .storeDown: findings.session = .storeUnavailable
    case .liveSession: insert(nil)
    case .warm: insert(60)
    case .idle:
      insert(60)
      instant = now.advanced(by: .seconds(3600))
    case .staleCredential:
      insert(60)
      instant = now.advanced(by: .seconds(60))
    case .providerDown:
      insert(nil)
      findings.credential = .providerUnavailable
    case .sessionEnded:
      insert(nil)
      findings.credential = .sessionEnded
    case .exchangeRefused:
      insert(nil)
      findings.credential = .refused
    case .tooManyRounds: findings.rounds = Gateway.maximumRounds
    }
    return Known(sessions: table, findings: findings, now: instant)
  }

  private func summary(_ verdict: consuming Verdict) -> String {
    switch verdict {
    case .forward(let order): "forward \(gateway.table.entries[order.permit.route].route.name)"
    case .stop(.answer(let answer)): "\(answer.status.code) \(answer.reason)"
    case .stop(.own(let call)):
      "own \(call.endpoint.name)" + (call.returnTo.map { " " + String(decoding: $0, as: UTF8.self) } ?? "")
    case .stop(.need(.session)): "need session"
    case .stop(.need(.credential)): "need credential"
    case .stop(.need(.bearer)): "need bearer"
    case .stop(.need(.bearerCredential)): "need bearer's credential"
    }
  }
}

enum FixtureError: Error {
  case notParsed(String)
  case noKeys, noRoute
}
