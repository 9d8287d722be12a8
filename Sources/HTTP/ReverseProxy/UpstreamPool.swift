import EventLoop
import IntercomCore

/// The connections of one loop to one endpoint of one route, and how it fares. Routes do not share any, even to the same endpoint: a page that
/// hangs must not take the connections of other routes or open their circuit.
final class UpstreamHost {
  let host: Identifier
  let port: Int
  /// For the resolver.
  let name: String
  /// For log and metrics.
  let label: String
  /// Who must prove itself there; nil: without TLS.
  private(set) var tls: UpstreamTLS.Peer?
  private var upstreamTLS: UpstreamTLS?
  /// Its position in the metrics.
  let place: Int?
  private var settings: ForwardSettings
  // What every request reads of them: plain numbers, see `ServerTimes`.
  private var pooledTime: Int64
  private var mostIdle: Int
  private var mostOpen: Int
  /// No route in force has it any more: what is under way ends, nothing is kept.
  private var isRetired = false
  private let telemetry: UpstreamTelemetry
  /// The idle connection that was used last, and behind it (`nextIdle`) the others.
  private var firstIdle: UpstreamConnection?
  private var idleCount = 0
  /// Open or being opened, idle ones included.
  private(set) var open = 0
  private var health = EndpointHealth()
  /// What `health` says, for every request.
  private(set) var isInService = true
  private(set) var mindsAnswers = false
  var addressOrder = AddressOrder()

  init(_ endpoint: UpstreamEndpoint, tls: UpstreamTLS?, settings: ForwardSettings, telemetry: UpstreamTelemetry) {
    host = endpoint.host
    port = endpoint.port
    name = endpoint.host.description
    label = endpoint.label
    upstreamTLS = tls
    self.tls = tls?.peer(of: endpoint)
    place = telemetry.place(of: endpoint)
    self.settings = settings
    pooledTime = settings.pooledTime.wholeNanoseconds
    mostIdle = settings.idleConnections
    mostOpen = settings.connections
    self.telemetry = telemetry
  }

  /// Whether connections to it serve a route that reaches this endpoint in this way.
  func serves(_ endpoint: UpstreamEndpoint, _ tls: UpstreamTLS?) -> Bool {
    guard endpoint.host == host, endpoint.port == port else { return false }
    return upstreamTLS?.isAlike(tls) ?? (tls == nil)
  }

  func update(_ endpoint: UpstreamEndpoint, tls: UpstreamTLS?, settings: ForwardSettings) {
    self.settings = settings
    pooledTime = settings.pooledTime.wholeNanoseconds
    mostIdle = settings.idleConnections
    mostOpen = settings.connections
    upstreamTLS = tls
    self.tls = tls?.peer(of: endpoint)
  }

  func retire() {
    guard !isRetired else { return }
    if !health.isInService { telemetry.forgot(self) }
    isRetired = true
    while let connection = takeIdle() { connection.close() }
  }

  /// Requests under way.
  var load: Int { open - idleCount }
  var isFull: Bool { open >= mostOpen }
  var candidate: EndpointSelector.Candidate {
    EndpointSelector.Candidate(state: health.state, load: load, hasRoom: !isFull || idleCount > 0)
  }

  func opened() {
    open += 1
    telemetry.connections(self, 1)
  }

  /// The idle connection that was used last: the one least likely to be closed by the upstream.
  func takeIdle() -> UpstreamConnection? {
    while let connection = firstIdle.take() {
      firstIdle = connection.nextIdle.take()
      idleCount -= 1
      if !connection.isClosed, !connection.peerHasEnded { return connection }
    }
    return nil
  }

  /// Keeps a connection for the next request, or closes it when enough are kept.
  func giveBack(_ connection: UpstreamConnection) {
    guard !connection.isClosed else { return }
    guard !isRetired, idleCount < mostIdle else { return connection.close() }
    connection.nextIdle = firstIdle.take()
    firstIdle = connection
    idleCount += 1
    connection.setDeadline(afterNanoseconds: pooledTime)
  }

  func closed(_ connection: UpstreamConnection) {
    open -= 1
    telemetry.connections(self, -1)
    var place = firstIdle
    if place === connection {
      firstIdle = connection.nextIdle.take()
      idleCount -= 1
    }
    while let before = place {
      if before.nextIdle === connection {
        before.nextIdle = connection.nextIdle.take()
        idleCount -= 1
        return
      }
      place = before.nextIdle
    }
  }

  // MARK: health

  func beginProbe() {
    health.beginProbe()
    noteHealth()
  }
  func endProbe(now: MonotonicInstant) {
    health.endProbe(now: now)
    noteHealth()
  }

  func connected(now: MonotonicInstant) { tell(health.connected(), now) }

  /// The head of an answer is there; to be told when `mindsAnswers`.
  func answered(now: MonotonicInstant) { tell(health.answered(), now) }

  /// No connection came about to any of its addresses.
  func connectFailed(_ failure: UpstreamFailure, isProbe: Bool, now: MonotonicInstant) {
    telemetry.failed(self, failure)
    tell(health.connectFailed(isProbe: isProbe, now: now, jitter: settings.jitter(), rules: settings.health), now)
  }

  func timedOut(isProbe: Bool, now: MonotonicInstant) {
    telemetry.failed(self, .hanging)
    tell(health.timedOut(isProbe: isProbe, now: now, jitter: settings.jitter(), rules: settings.health), now)
  }

  /// A connection was no good, for a reason that an operator must hear in words.
  func failed(_ failure: CarrierFailure, now: MonotonicInstant) { telemetry.failed(self, failure, now: now) }

  func retried() { telemetry.retried(self) }

  private func noteHealth() {
    isInService = health.isInService
    mindsAnswers = health.mindsAnswers
  }

  private func tell(_ change: EndpointHealth.Change?, _ now: MonotonicInstant) {
    noteHealth()
    if let change, !isRetired { telemetry.changed(self, change, now: now) }
  }
}

/// The endpoints of one route on one loop.
final class UpstreamGroup {
  let route: ForwardRoute
  let hosts: [UpstreamHost]
  private let only: UpstreamHost?
  private var selector: EndpointSelector

  /// More endpoints than this are not tried for one request: its client has waited long enough.
  static let mostAttempts = 3

  init(_ route: ForwardRoute, hosts: [UpstreamHost], start: Int) {
    self.route = route
    self.hosts = hosts
    only = hosts.count == 1 ? hosts.first : nil
    selector = EndpointSelector(route.balance, start: start)
  }

  /// The endpoint when there is one only and nothing speaks against it: the usual case, which costs a comparison.
  var usual: UpstreamHost? {
    guard let only, only.isInService else { return nil }
    return only
  }

  /// The endpoint for one request, and its position.
  func choose(tried: EndpointSet, now: MonotonicInstant) -> EndpointSelector.Choice {
    selector.choose(of: hosts.count, tried: tried, now: now) { hosts[$0].candidate }
  }

  subscript(index: Int) -> UpstreamHost { hosts[index] }
}

/// The upstreams of one loop.
final class UpstreamPool {
  /// By route index.
  private var groups: [UpstreamGroup?] = []
  private var settings: ForwardSettings
  private let telemetry: UpstreamTelemetry

  init(settings: ForwardSettings, telemetry: UpstreamTelemetry) {
    self.settings = settings
    self.telemetry = telemetry
  }

  /// An idle connection to the route's usual endpoint: nearly every request's way.
  func takeUsual(_ route: ForwardRoute) -> UpstreamConnection? {
    guard route.index < groups.count, let group = groups[route.index], group.route === route else { return nil }
    return group.usual?.takeIdle()
  }

  func group(of route: ForwardRoute) -> UpstreamGroup {
    if route.index < groups.count, let group = groups[route.index], group.route === route { return group }
    return makeGroup(route)
  }

  /// Routes by index that are in force from now on. An endpoint of a route keeps its connections and what is known of it when the route of that
  /// name reaches it as before; the connections of others end when nothing is under way on them.
  func replace(_ routes: [ForwardRoute?], settings: ForwardSettings) {
    self.settings = settings
    let old = groups.compactMap { $0 }
    groups = []
    for group in old {
      let route = routes.compactMap { $0 }.first { $0.cookiePrefix == group.route.cookiePrefix }
      if let route { _ = makeGroup(route, from: group.hosts) }
      for host in group.hosts where !(route?.endpoints.contains { host.serves($0, route?.tls) } ?? false) { host.retire() }
    }
  }

  private func makeGroup(_ route: ForwardRoute, from held: [UpstreamHost] = []) -> UpstreamGroup {
    let hosts = route.endpoints.map { endpoint -> UpstreamHost in
      guard let host = held.first(where: { $0.serves(endpoint, route.tls) }) else {
        return UpstreamHost(endpoint, tls: route.tls, settings: settings, telemetry: telemetry)
      }
      host.update(endpoint, tls: route.tls, settings: settings)
      return host
    }
    let group = UpstreamGroup(route, hosts: hosts, start: Int(settings.jitter()))
    var all = groups
    groups = []
    while all.count <= route.index { all.append(nil) }
    all[route.index] = group
    groups = all
    return group
  }
}
