import HTTP1
import HTTPMessage
import IntercomCore
import Policy
import ReverseProxy
import Testing

/// A route, a request and the bytes that its upstream gets.
struct Forwarding {
  var name = "fs"
  var path = "/fs"
  var upstream = "http://files.internal:8081/dav"
  var base = "https://ics.example"
  var strips = true
  var encodedSlashes = false
  var isPrivate = false
  var cookies = CookieMode.isolate
  var guarded: FieldNameSet = ["X-Auth-User"]
  var nested: [String] = []
  var added: [(String, String)] = [("Authorization", "Bearer token"), ("X-Auth-User", "alice")]
  var dropsAuthorization = true
  var peer = "192.0.2.7"
  var cors: [(String, String)] = []

  func route() throws -> ForwardRoute {
    let routePath = try #require(RoutePath(path))
    let baseURL = try #require(HTTPURL(base))
    let endpoint = try #require(HTTPURL(upstream).flatMap(UpstreamEndpoint.init))
    return try #require(
      ForwardRoute(
        index: 3, name: name, path: routePath, nested: nested.compactMap(RoutePath.init), upstream: endpoint,
        baseURL: baseURL, stripsPrefix: strips, passesEncodedSlashes: encodedSlashes, isPrivate: isPrivate,
        cookies: cookies, ownCookies: OwnCookieNames(["__Host-intercom", "intercom"]), guarded: guarded))
  }

  func plan(_ request: CanonicalRequest, permitFor route: Int = 3) throws -> ForwardPlan? {
    let policy = RoutePolicy(route: route, methods: MethodSet(Method.allCases), rule: .publicRoute)
    guard case .permit(let permit) = PolicyEnforcementPoint.decide(policy, method: request.method, identity: nil) else { return nil }
    var lines = FieldLines()
    for (name, value) in added { try lines.append(name, Array(value.utf8)) }
    var corsLines = FieldLines()
    for (name, value) in cors { try corsLines.append(name, Array(value.utf8)) }
    return ForwardPlan(
      permit: permit, route: try self.route(), for: request,
      request: RequestRewrite(added: lines, dropsAuthorization: dropsAuthorization), response: ResponseRewrite(added: corsLines))
  }

  /// The head for the upstream, or why there is none.
  func send(_ bytes: [UInt8]) throws -> Result<String, ForwardRefusal> {
    let parsed = ParsedRequest(bytes)
    try #require(parsed.result == .complete, "\(String(decoding: bytes, as: UTF8.self).debugDescription)")
    let plan = try #require(try plan(parsed.head.request))
    var out = HeadBuffer(capacity: 64)
    if let refusal = RequestHeadWriter.write(parsed.head, bytes.span, plan: plan, peer: RequestHeadWriter.peerLines(peer), into: &out) {
      return .failure(refusal)
    }
    return .success(String(decoding: out.bytes, as: UTF8.self))
  }

  /// The lines of the head for the upstream without those that are the same for all: what is left is what the client's request became.
  func lines(_ bytes: [UInt8]) throws -> [String] {
    let ours = ["Host: ", "X-Forwarded-", "Forwarded: ", "Via: 1", "Authorization: Bearer token", "X-Auth-User: alice"]
    let head = try send(bytes).get()
    #expect(head.hasSuffix("\r\n\r\n"))
    return Self.split(head).dropFirst().filter { line in !ours.contains { line.hasPrefix($0) } }
  }

  func requestLine(_ bytes: [UInt8]) throws -> String { Self.split(try send(bytes).get()).first ?? "" }

  /// The head for the client and how the body goes on.
  func answer(
    _ response: [UInt8], to request: [UInt8] = request(line: "GET /fs/a HTTP/1.1"), keepAlive: Bool = true, date: String = ""
  ) throws -> (lines: [String], framing: ClientFraming) {
    let parsed = ParsedRequest(request)
    let head = ParsedResponse(response, method: parsed.head.request.method)
    try #require(head.result == .complete)
    let plan = try #require(try plan(parsed.head.request))
    var out = HeadBuffer(capacity: 64)
    let framing = ResponseHeadWriter.write(
      head.head, response.span, route: plan.route, rewrite: plan.response, isOldClient: parsed.head.request.isHTTP10, keepAlive: keepAlive,
      date: latin1(date), into: &out)
    return (Self.split(String(decoding: out.bytes, as: UTF8.self)), framing)
  }

  static func split(_ head: String) -> [String] { head.split(separator: "\r\n", omittingEmptySubsequences: true).map(String.init) }
}
