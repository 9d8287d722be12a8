import ConfigurationYAML
import HTTPMessage
import IntercomCore

/// Checks of routes, alone and against each other.
struct RouteChecks {
  /// First path segments that are Intercom's own on the base URL's host.
  static let ownSegments = [
    "silent", "callback", "login", "logout", "backchannel-logout", "session", "uuid", "healthz", "livez", "readyz", "metrics",
  ]

  private let draft: ConfigurationDraft
  private let reader: ConfigurationReader
  private let readFile: ReadConfigurationFile

  init(_ draft: ConfigurationDraft, _ reader: ConfigurationReader, _ readFile: @escaping ReadConfigurationFile) {
    self.draft = draft
    self.reader = reader
    self.readFile = readFile
  }

  func run() {
    if draft.routes.isEmpty, !reader.isEnvironment {
      reader.add(
        ConfigurationFault(
          draft.routesPlace, "routes", "no routes: Intercom only signs users in and out",
          "write 'routes:' and below it a name with path, upstream and credential", severity: .warning))
    }
    for route in draft.routes {
      checkName(route)
      checkPath(route)
      checkUpstream(route)
      checkUpstreamTLS(route)
      checkPublic(route)
      checkExchange(route)
      checkMatrix(route)
      checkUpgrades(route)
      if let bearer = route.bearer, reader.isEnvironment {
        reader.refuse(bearer, "without a file no bearer tokens are taken", "unset it, or start with --config FILE")
      }
      if route.bearer != nil, route.csrf.value == .token, let bearer = route.bearer {
        reader.warn(
          bearer, "a bearer token needs no CSRF token, which this route demands from sessions", "remove one of the two unless that is meant"
        )
      }
    }
    checkDoubles()
  }

  /// The name is a prefix of cookies and a label of metrics.
  private func checkName(_ route: ConfigurationDraft.Route) {
    let bytes = Array(route.name.value.utf8)
    let isName = (1...32).contains(bytes.count) && bytes.allSatisfy { $0 &- 97 < 26 || $0 &- 48 < 10 || $0 == UInt8(ascii: "-") }
    if !isName || bytes.first == UInt8(ascii: "-") {
      reader.refuse(route.name, "the name of a route is used in cookies and metrics", "write 1 to 32 small letters, digits and '-'")
    }
  }

  /// Whether the route shares its host with Intercom's own paths.
  private func isOnBaseHost(_ route: ConfigurationDraft.Route) -> Bool {
    guard let host = route.host else { return !route.hasHost }
    return host.value.utf8.elementsEqual(draft.baseURL?.value.bracketedHost.utf8 ?? "".utf8)
  }

  private func checkPath(_ route: ConfigurationDraft.Route) {
    guard let path = route.path, isOnBaseHost(route) else { return }
    let first = path.value.split(separator: "/").first
    guard let first else {
      reader.refuse(path, "'/' would take Intercom's own paths", "write a prefix such as /app, or give the route a 'host' of its own")
      return
    }
    if Self.ownSegments.contains(where: { $0.utf8.elementsEqual(first.utf8) }) {
      reader.refuse(path, "/\(first) is Intercom's own", "choose another prefix, or give the route a 'host' of its own")
    }
  }

  private func checkUpstream(_ route: ConfigurationDraft.Route) {
    guard let upstream = route.upstream else { return }
    let urls = upstream.value
    let isOwn: (WebURL) -> Bool = { url in
      url.isLoopback && draft.listen.value.map(\.address.value).contains { $0.port == url.port && Self.reaches($0, url) }
    }
    if urls.contains(where: isOwn) {
      reader.refuse(upstream, "this is Intercom's own listener: requests would go in circles", "write the address of the backend")
    }
    checkEndpoints(upstream, route)
  }

  private func checkUpstreamTLS(_ route: ConfigurationDraft.Route) {
    guard let tls = route.upstreamTLS, let urls = route.upstream?.value else { return }
    if urls.allSatisfy({ $0.scheme == .http }) {
      reader.refuse(tls, "the upstream is http: requests would go there without TLS", "write https in 'upstream', or remove 'upstreamTLS'")
    }
  }

  /// Several endpoints are one service: a request and its repetition mean the same at each.
  private func checkEndpoints(_ upstream: Located<[WebURL]>, _ route: ConfigurationDraft.Route) {
    let urls = upstream.value
    guard urls.count > 1, let first = urls.first else {
      if route.balance.isWritten { reader.warn(route.balance, "no effect with one upstream", "remove it, or list the others") }
      return
    }
    if let other = urls.first(where: { $0.scheme != first.scheme || !Self.path($0).elementsEqual(Self.path(first)) }) {
      reader.refuse(
        upstream, "\(first.text) and \(other.text) differ in more than host and port", "write the same scheme and path for all endpoints")
    }
    for (index, url) in urls.enumerated() where urls[..<index].contains(where: { $0.host == url.host && $0.port == url.port }) {
      reader.refuse(upstream, "the endpoint \(url.origin) stands in the list twice", "keep one")
    }
  }

  /// With or without a slash at the end is the same.
  private static func path(_ url: WebURL) -> ArraySlice<UInt8> {
    var path = Array(url.path.utf8)[...]
    while path.last == UInt8(ascii: "/") { path.removeLast() }
    return path
  }

  /// Whether a connection to this loopback URL ends at the listener.
  private static func reaches(_ listener: ListenAddress, _ url: WebURL) -> Bool {
    let isAny = listener.address.isAny
    guard !isAny, let address = url.address else { return isAny || listener.address.isLoopback }
    return listener.address == address
  }

  private func checkPublic(_ route: ConfigurationDraft.Route) {
    guard route.isPublic.value else { return }
    if let credential = route.credential {
      if case .none = credential.value {
      } else {
        reader.refuse(
          credential, "a public route has no user whose credential could be sent", "write 'credential: none', or remove 'public'")
      }
    }
    if let bearer = route.bearer { reader.refuse(bearer, "a public route asks for no token", "remove one of 'public' and 'bearer'") }
    if route.csrf.value == .token {
      reader.refuse(route.csrf, "a public route has no session to bind a token to", "remove one of 'public' and 'csrf'")
    }
    if !route.methods.value.subtracting(.read).methods.isEmpty {
      reader.warn(route.isPublic, "everybody may change things behind this route", "write 'methods: read' unless that is meant")
    }
  }

  private func checkUpgrades(_ route: ConfigurationDraft.Route) {
    guard !route.upgrades.value.isEmpty else { return }
    if route.csrf.value == .token {
      reader.warn(
        route.upgrades, "no browser can send the CSRF token, which this route demands, when it opens a WebSocket",
        "remove 'csrf: token' unless only other clients open them")
    }
    if !route.methods.value.contains(.get) {
      reader.refuse(route.upgrades, "an upgrade is asked for by GET, which this route does not take", "add GET to 'methods'")
    }
  }

  /// Tokens that two backends take make each of them able to act as the user at the other.
  private func checkExchange(_ route: ConfigurationDraft.Route) {
    guard let credential = route.credential, case .exchange(let exchange) = credential.value, let others = exchange.alsoFor else { return }
    for audience in others where audience != exchange.audience {
      let shared = draft.routes.first { other in
        if case .exchange(let its)? = other.credential?.value { its.audience == audience } else { false }
      }
      guard let shared else { continue }
      reader.warn(
        credential, "the backend of this route could use its tokens at the route '\(shared.name.value)' too",
        "remove \(audience) from alsoFor unless that is meant")
    }
  }

  private func checkMatrix(_ route: ConfigurationDraft.Route) {
    guard let credential = route.credential, case .matrix(let matrix) = credential.value else { return }
    if let bearer = route.bearer {
      reader.refuse(bearer, "a Matrix account's device belongs to a session, which bearer tokens have none of", "remove one of the two")
    }
    if let file = matrix.caFile {
      ConfigurationDraft.checkAuthorities(Located(file, credential.place, credential.path + ".matrix.caFile"), reader, readFile)
    }
  }

  private func checkDoubles() {
    var seen: [String: ConfigurationDraft.Route] = [:]
    for route in draft.routes {
      guard let path = route.path else { continue }
      let host = isOnBaseHost(route) ? "" : route.host?.value ?? ""
      let key = host + path.value
      if let first = seen[key] {
        reader.refuse(path, "the route '\(first.name.value)' has the same host and path", "choose another path for one of them")
      } else {
        seen[key] = route
      }
    }
  }
}
