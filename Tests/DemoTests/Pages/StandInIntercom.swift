import DemoWorkplace
import HTTPMessage
import HTTPServer
import IntercomCore
import IntercomTesting
import Synchronization
import Telemetry

/// The demo's sites on one port, with a stand-in for Intercom that knows only what the pages need of it: the pages are tested here, the
/// gateway elsewhere.
final class StandInIntercom: Sendable {
  private struct State {
    var workplace: DemoWorkplace?
    var isSignedIn = false
    var requests: [String] = []
  }
  private let state = Mutex(State())
  private let store: FileStore
  private let users: UserFolders

  init(_ folder: DemoFolder) throws {
    users = try folder.users()
    store = FileStore(users: users, workers: nil) { request in
      request.fields.single("x-user").map { .user($0) } ?? .refused(challenge: "Bearer", Problem(401, "token_required", "No token."))
    }
  }

  /// Every method and path of every host.
  var table: EndpointTable {
    var table = EndpointTable()
    for method in HTTPMessage.Method.allCases { table.add(method, "/*") { [self] in try await answer($0, $1) } }
    return table
  }

  /// Known only once the server listens.
  func open(on port: UInt16) {
    let tokens = BearerAuthentication(issuer: "x", audience: "files", time: SystemTime()) { throw BodyError.incomplete }
    let workplace = DemoWorkplace(
      addresses: DemoAddresses(port: Int(port)), users: users, workers: nil, tokens: tokens, steps: StepFeed(time: SystemTime()))
    state.withLock { $0.workplace = workplace }
  }

  func close() { state.withLock { $0.workplace }?.steps.close() }

  /// Ends the session behind the page's back.
  func endSession() { state.withLock { $0.isSignedIn = false } }

  /// Method and path of everything that went to the store.
  var requests: [String] { state.withLock { $0.requests } }

  private func answer(_ request: Request, _ body: RequestBody) async throws -> Response {
    guard let workplace = state.withLock({ $0.workplace }) else { return Response(503) }
    if request.host != DemoAddresses.intercomHost {
      guard let site = workplace.site(request.host) else { return Response(404) }
      return try await site.endpoint(request, body)
    }
    let path = String(decoding: request.rawPath, as: UTF8.self)
    switch path {
    case "/silent": return silent(workplace)
    case "/login", "/logout":
      state.withLock { $0.isSignedIn = path == "/login" }
      let target = request.query.flatMap { PercentCoding.decode($0.drop { $0 != UInt8(ascii: "=") }.dropFirst()) } ?? []
      return Response(302, ["Location": String(decoding: target, as: UTF8.self)], [])
    default: return try await forward(request, body, workplace)
    }
  }

  private func silent(_ workplace: DemoWorkplace) -> Response {
    let isSignedIn = state.withLock { $0.isSignedIn }
    tell(workplace, .silentLogin, "The mail page asked whether anyone is signed in", [.init(.path, "/silent"), .init(.method, "GET")])
    let page = """
      <!doctype html><title>silent</title><script>parent.postMessage(
      {loggedIn: \(isSignedIn), csrftoken: "t", reason: "login_required"}, "\(workplace.addresses.site("mail"))")</script>
      """
    return Response(200, ["Content-Type": "text/html", "Cache-Control": "no-store"], Array(page.utf8))
  }

  private func forward(_ request: Request, _ body: RequestBody, _ workplace: DemoWorkplace) async throws -> Response {
    let isPreflight = request.method == .options && !request.fields.values("access-control-request-method").isEmpty
    var response = Response(204)
    if !isPreflight {
      if state.withLock({ $0.isSignedIn }) {
        var inner = request
        inner.rawPath = Array(request.rawPath.dropFirst(3))
        inner.fields.append("X-User", "alice")
        let name = "\(request.method.name) \(String(decoding: inner.rawPath, as: UTF8.self))"
        state.withLock { $0.requests.append(name) }
        response = try await store.endpoint(inner, body)
        tell(
          workplace, .forwarded, "The request went to the file store",
          [.init(.method, request.method.name), .init(.path, Identifier(bytes: request.rawPath)), .init(.status, response.status.code)])
      } else {
        response = Response(Problem(401, "session_required", "Sign in first."))
      }
    }
    for (name, value) in [
      ("Access-Control-Allow-Origin", request.fields.single("origin") ?? ""), ("Access-Control-Allow-Credentials", "true"),
      ("Access-Control-Allow-Methods", "PROPFIND, PUT, MKCOL"),
      ("Access-Control-Allow-Headers", request.fields.single("access-control-request-headers") ?? ""),
    ] { response.fields.append(name, value) }
    return response
  }

  private func tell(_ workplace: DemoWorkplace, _ kind: Step.Kind, _ title: String, _ facts: [Step.Fact]) {
    workplace.steps.observe(Step(kind, title, facts, time: SystemTime().wallNow(), subjectName: "alice"))
  }
}
