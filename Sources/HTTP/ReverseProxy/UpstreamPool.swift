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
  let tls: UpstreamTLS.Peer?
  /// Its position in the metrics.
  let place: Int?
  private let settings: ForwardSettings
  private let pooledTime: Int64
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
    self.tls = tls?.peer(of: endpoint)
    place = telemetry.place(of: endpoint)
    self.settings = settings
    pooledTime = settings.pooledTime.wholeNanoseconds
    self.telemetry = telemetry
  }

  /// Requests under way.
  var load: Int { open - idleCount }
  var isFull: Bool { open >= settings.connections }
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
    guard idleCount < settings.idleConnections else { return connection.close() }
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
    if let change { telemetry.changed(self, change, now: now) }
  }
}

/// The endpoints of one route on one loop.
final class UpstreamGroup {
  let route: ForwardRoute
  private let hosts: [UpstreamHost]
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
  private let settings: ForwardSettings
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

  private func makeGroup(_ route: ForwardRoute) -> UpstreamGroup {
    let hosts = route.endpoints.map { UpstreamHost($0, tls: route.tls, settings: settings, telemetry: telemetry) }
    let group = UpstreamGroup(route, hosts: hosts, start: Int(settings.jitter()))
    var all = groups
    groups = []
    while all.count <= route.index { all.append(nil) }
    all[route.index] = group
    groups = all
    return group
  }
}
