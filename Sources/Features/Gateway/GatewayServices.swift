import Cryptography
import HTTPMessage
import HTTPServer
import IntercomCore
import Matrix
import OIDC
import Sessions
import Telemetry
import Workers

/// What the gateway's async half works with; given by the composition root, shared by all loops.
package struct GatewayServices: Sendable {
  package var settings: GatewaySettings
  package var gateway: Gateway
  package let sessions: SessionManager
  /// Until when the loops' copies of sessions are good.
  package let lease: CopyLease
  package let pending: PendingLogins
  package let tokens: RefreshCoordinator
  package let provider: RelyingParty
  package let matrix: MatrixDevices
  /// Shared by all generations.
  package let matrixLogout: MatrixLogout
  /// By the index in `MatrixRule`.
  package var homeservers: [MatrixClient]
  /// How requests of routes and calls of homeservers end.
  package var results: LastResults
  /// The secrets of `basic` credentials, by index.
  package var passwords: [Secret<String>]
  /// For signatures and other work that would hold up a loop.
  package let workers: Workers
  package let time: any TimeSource
  package let random: any RandomSource
  package let log: StructuredLog
  package let steps: any StepObserver
  /// Open tabs that want to hear of their session's end.
  package let watch: SessionWatch
  /// For lines that a dead backend would repeat with every request.
  let repeats = RepeatLimiter()

  package init(
    settings: GatewaySettings, gateway: Gateway, sessions: SessionManager, pending: PendingLogins, tokens: RefreshCoordinator,
    provider: RelyingParty, matrix: MatrixDevices, matrixLogout: MatrixLogout, homeservers: [MatrixClient] = [],
    passwords: [Secret<String>] = [], workers: Workers,
    time: any TimeSource, random: any RandomSource,
    log: StructuredLog,
    steps: any StepObserver = NoSteps(), lease: CopyLease = .unlimited, results: LastResults = LastResults()
  ) {
    self.results = results
    self.lease = lease
    watch = SessionWatch(sessions, time: time, random: random)
    self.settings = settings
    self.gateway = gateway
    self.sessions = sessions
    self.pending = pending
    self.tokens = tokens
    self.provider = provider
    self.matrix = matrix
    self.matrixLogout = matrixLogout
    self.homeservers = homeservers
    self.passwords = passwords
    self.workers = workers
    self.time = time
    self.random = random
    self.log = log
    self.steps = steps
  }

  /// The gateway's own endpoint of that name, for one call; nil for a name that is not the gateway's.
  package func endpoint(_ call: OwnCall) -> Endpoint? {
    switch call.endpoint {
    case .home: return { request, _ in home(request) }
    case .silent: return { request, _ in await silent(request, call) }
    case .login: return { request, _ in await login(request, call) }
    case .callback: return { request, _ in await callback(request, call) }
    case .logout: return { request, _ in await logout(request, call) }
    case .session: return { request, _ in await sessionState(request, call) }
    case .sessionEvents: return { _, _ in sessionEvents(call) }
    case .uuid: return { _, _ in userName(call) }
    case .backchannelLogout: return { request, body in await backchannelLogout(request, body) }
    default: return nil
    }
  }

  /// Eight digits that bind a page to its log line.
  func newReference() -> String {
    let digits = Array("0123456789abcdef")
    return String(random.bytes(4).flatMap { [digits[Int($0 >> 4)], digits[Int($0 & 15)]] })
  }

  func step(
    _ kind: Step.Kind, _ title: @autoclosure () -> String, _ facts: @autoclosure () -> [Step.Fact] = [], subject: String? = nil,
    correlation: String? = nil
  ) {
    guard steps.wantsSteps else { return }
    steps.observe(Step(kind, title(), facts(), time: time.wallNow(), subjectName: subject, correlation: correlation))
  }
}

extension Response {
  init(_ parts: (Status, Fields, [UInt8])) { self.init(parts.0, parts.1, parts.2) }

  /// A redirect that is never stored.
  static func redirect(to location: String, cookies: [String] = []) -> Response {
    var fields: Fields = ["Location": location, "Cache-Control": "no-store"]
    for cookie in cookies { fields.append("Set-Cookie", cookie) }
    return Response(302, fields)
  }
}

extension Session {
  /// A name to show to people.
  var displayName: String {
    for claim in ["preferred_username", "name", "email"] {
      if let name = claims[Identifier(claim)]?.string { return name }
    }
    return subject.description
  }
}
