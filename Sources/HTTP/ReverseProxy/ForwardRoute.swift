import HTTP1
import HTTPMessage
import IntercomCore
import Telemetry

/// Where a route's requests go.
package struct UpstreamEndpoint: Sendable, Hashable {
  package let scheme: HTTPURL.Scheme
  /// Lower case; an IPv6 address keeps its brackets.
  package let host: Identifier
  package let port: Int
  /// Begins with `/` and does not end with one; empty for the root.
  package let basePath: [UInt8]
  /// What stands in `Host`.
  let authority: [UInt8]

  /// For log and metrics.
  package var label: String { "\(host):\(port)" }

  /// nil for a URL with a query.
  package init?(_ url: HTTPURL) {
    guard url.query == nil else { return nil }
    scheme = url.scheme
    host = url.host
    port = url.port
    authority = Array(url.authority.utf8)
    var path = url.path
    while path.last == UInt8(ascii: "/") { path.removeLast() }
    basePath = path
  }
}

/// What becomes of an upstream's cookies (behaviour: "Cookies").
package enum CookieMode: String, Sendable, Hashable, CaseIterable {
  /// Each cookie carries the route's name in front of its own, so no backend sees or sets another's.
  case isolate
  /// Unchanged, but never one of ours.
  case pass
  case drop
}

/// How long an upstream may take (behaviour: "Times").
package struct UpstreamTimeouts: Sendable, Hashable {
  package var connect: Duration
  /// From the request's end to the answer's head.
  package var head: Duration
  /// Between two pieces of a body, while the client is not what is waited for.
  package var idle: Duration
  /// How long nothing may move in either direction of a tunnel.
  package var tunnel: Duration

  package init(
    connect: Duration = .seconds(2), head: Duration = .seconds(60), idle: Duration = .seconds(60), tunnel: Duration = .seconds(3600)
  ) {
    self.connect = connect
    self.head = head
    self.idle = idle
    self.tunnel = tunnel
  }
}

/// What a route fixes for all of its requests, made once from the configuration: forwarding only reads it.
package final class ForwardRoute: Sendable {
  /// The route's position in the route table, as in `Permit.route`.
  package let index: Int
  /// Stands in front of its isolated cookies' names: `fs~`.
  package let cookiePrefix: [UInt8]
  package let path: RoutePath
  /// Paths of other routes and of our own endpoints below `path` on the same host: a `Destination` there belongs to them.
  package let nested: [RoutePath]
  /// The endpoint whose name and path stand in every request, whichever gets it: the others are the same service.
  package let upstream: UpstreamEndpoint
  /// All of them, `upstream` first.
  package let endpoints: [UpstreamEndpoint]
  package let balance: Balance
  package let stripsPrefix: Bool
  package let passesEncodedSlashes: Bool
  /// Its answers are for one person: no shared cache may keep them, and a browser asks before it shows one again.
  package let isPrivate: Bool
  package let cookies: CookieMode
  package let ownCookies: OwnCookieNames
  /// Names that only Intercom sets: those of all routes together, so that no route's upstream gets a forged one (S6). And what deceives a
  /// backend, whoever sends it.
  package let guarded: FieldNameSet
  package let timeouts: UpstreamTimeouts
  /// Protocols to which its requests may switch, in lower case.
  package let upgrades: [[UInt8]]
  /// `timeouts` in nanoseconds, for what every request sets.
  let headTime: Int64
  let idleTime: Int64
  /// Nil: the endpoints are reached without TLS.
  let tls: UpstreamTLS?
  /// How the last request ended, whichever endpoint had it.
  let result: LastResult
  /// The URL under which browsers reach Intercom; `Forwarded` and `Secure` follow it, never the request.
  package let baseURL: HTTPURL
  let isSecure: Bool

  // What is the same in every head for this upstream, rendered once.
  /// The end of the request line and `Host`.
  let hostLine: HeadPiece
  /// `X-Forwarded-Proto`, `X-Forwarded-Prefix`, `Via` and the name of `X-Forwarded-Host`.
  let fixedLines: HeadPiece
  let fixedLinesHTTP10: HeadPiece
  /// The end of `Forwarded`, behind the host, and of the head.
  let forwardedEnd: HeadPiece

  /// Fields that no upstream gets. `Proxy`: CGI hands it on as `HTTP_PROXY`, by which many programs find the proxy for their own calls
  /// ([httpoxy](https://httpoxy.org), CVE-2016-5385). The others change the method behind the back of who decided by it.
  package static let deceiving: FieldNameSet = ["Proxy", "X-HTTP-Method-Override", "X-HTTP-Method", "X-Method-Override"]

  /// nil when `name` is empty or holds other than letters, digits, `-` or `_` (it becomes part of cookie names), and when an endpoint asks for TLS
  /// and `tls` is missing, or the other way round: nothing is ever sent plainly that was meant to be protected.
  package init?(
    index: Int, name: String, path: RoutePath, nested: [RoutePath] = [], upstream: UpstreamEndpoint, others: [UpstreamEndpoint] = [],
    balance: Balance = .roundRobin, baseURL: HTTPURL, stripsPrefix: Bool = true, passesEncodedSlashes: Bool = false, isPrivate: Bool = true,
    cookies: CookieMode = .isolate,
    ownCookies: OwnCookieNames, guarded: FieldNameSet = FieldNameSet(), timeouts: UpstreamTimeouts = UpstreamTimeouts(),
    upgrades: [[UInt8]] = [], tls: UpstreamTLS? = nil, result: LastResult = LastResult()
  ) {
    guard ([upstream] + others).allSatisfy({ ($0.scheme == .https) == (tls != nil) }) else { return nil }
    guard !name.isEmpty, name.utf8.allSatisfy({ ($0 | 0x20) &- 97 < 26 || $0 &- 48 < 10 || $0 == 45 || $0 == 95 }) else { return nil }
    self.index = index
    cookiePrefix = Array(name.utf8) + [UInt8(ascii: "~")]
    self.path = path
    self.nested = nested
    self.upstream = upstream
    endpoints = [upstream] + others
    self.balance = balance
    self.baseURL = baseURL
    self.stripsPrefix = stripsPrefix
    self.passesEncodedSlashes = passesEncodedSlashes
    self.isPrivate = isPrivate
    self.cookies = cookies
    self.ownCookies = ownCookies
    var names = Self.deceiving
    names.formUnion(guarded)
    self.guarded = names
    self.timeouts = timeouts
    self.upgrades = upgrades
    headTime = timeouts.head.wholeNanoseconds
    idleTime = timeouts.idle.wholeNanoseconds
    self.tls = tls
    self.result = result
    hostLine = HeadPiece(Array(" HTTP/1.1\r\nHost: ".utf8) + upstream.authority + [13, 10])
    var lines = "X-Forwarded-Proto: \(baseURL.scheme.rawValue)\r\n"
    if stripsPrefix, !path.bytes.isEmpty { lines += "X-Forwarded-Prefix: \(path)\r\n" }
    fixedLines = HeadPiece("\(lines)Via: 1.1 intercom\r\nX-Forwarded-Host: ".utf8)
    fixedLinesHTTP10 = HeadPiece("\(lines)Via: 1.0 intercom\r\nX-Forwarded-Host: ".utf8)
    forwardedEnd = HeadPiece("\";proto=\(baseURL.scheme.rawValue)\r\n\r\n".utf8)
    isSecure = baseURL.isSecure
  }
}
