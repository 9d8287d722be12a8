import Cryptography
import CurlTransport
import EventLoop
import Gateway
import HTTP1
import HTTPMessage
import HTTPServer
import IntercomCore
import Linux
import Matrix
import OIDC
import ReverseProxy
import Sessions
import Telemetry
import Workers

/// A running Intercom: what must be stopped again.
package struct RunningIntercom: Sendable {
  package let addresses: [SocketAddress]
  package let adminAddress: SocketAddress?
  let gateway: HTTPServer<GatewayHandler>
  let admin: HTTPServer<EndpointHandler>?
  let loops: EventLoopGroup
  let workers: [Workers]
  let transports: Transports
  let background: Task<Void, Never>
  let provider: RelyingParty
  let storage: OpenStorage
  let drain: Duration
  /// Those of the first generation: what all have in common is in them.
  let services: GatewayServices
  let metrics: GatewayMetrics
  let listenerMetrics: ListenerMetrics
  let certificateTimes: CertificateTimes
  let resolver: NameResolver
  package let reloads: ReloadMetrics
  let isDraining: Flag
  let results: CurrentResults

  /// Whether the provider's metadata and keys are known.
  package var isProviderReady: Bool { provider.isReady }
  /// How many tabs listen for their session's end.
  package var watchingTabs: Int { services.watch.count }
  /// How much is to be done still after sessions' ends.
  package var pendingAftercare: Int { services.sessions.aftercare.count }

  /// Decides, answers and forwards by another configuration from now on, which differs in nothing that needs a restart. Each loop changes over between
  /// two of its turns; sessions, connections and what is under way stay. Throws, and changes nothing, when libcurl cannot be started.
  package func reload(_ deployment: Deployment) async throws(TransportError) {
    let generation = try Composition.generation(of: deployment, services, metrics, transports, results.current)
    let (settings, forwarding) = Composition.connectionSettings(
      of: deployment, loops: loops.loops.count, generation, listenerMetrics, tells: false)
    generation.services.matrixLogout.replace(generation.services.homeservers)
    results.replace(generation.services.results)
    resolver.setLifetime(deployment.nameLifetime)
    await gateway.reconfigure(settings, deployment.listen) { handler in
      handler.replace(generation, forwarding: forwarding)
    }
  }

  /// Accepts no more, finishes what is under way within the limit, calls for tokens that nobody waits for among it, and ends everything. False: something had to be cut off.
  ///
  /// - Parameter limit: nil for the one that it was started with. Cancelling the task ends the time at once.
  package func stop(within limit: Duration? = nil) async -> Bool {
    isDraining.raise()
    services.watch.close()
    let limit = limit ?? drain
    let end = SystemTime().monotonicNow().advanced(by: limit)
    await services.tokens.willEnd()
    let isAnswered = await gateway.drain(within: limit)
    func left() -> Duration { SystemTime().monotonicNow().duration(to: end) }
    // Nobody may wait for these: their answers are needed all the same. They may leave more to tidy up.
    let areTokensKept = await services.tokens.drain(within: left())
    let areDevicesKept = await services.matrix.drain(within: left())
    _ = await services.sessions.aftercare.drain(within: left())
    background.cancel()
    if let admin { await admin.stop() }
    await loops.stop()
    transports.stop()
    for workers in workers { workers.stop() }
    // Last: whatever was finished above may have written.
    await storage.close()
    return isAnswered && areTokensKept && areDevicesKept
  }
}

/// The composition root: configuration → build → run, on one page. Nobody else makes a clock, a store, a transport or a loop.
package enum Composition {
  /// Builds everything, opens the listeners and begins to ask the provider for its metadata. Throws when the session database cannot be
  /// opened, a port is taken or the system gives no thread or descriptor.
  package static func start(_ deployment: Deployment) async throws -> RunningIntercom {
    let registry = MetricRegistry()
    let storage = try await OpenStorage.open(deployment, registry)
    do { return try await start(deployment, storage, registry) } catch {
      // Now, not when the last reference goes: the next one to try finds it free.
      await storage.close()
      throw error
    }
  }

  private static func start(
    _ deployment: Deployment, _ storage: OpenStorage, _ registry: MetricRegistry
  ) async throws -> RunningIntercom {
    let (time, random, log) = (deployment.time, SystemRandom(), deployment.log)
    let metrics = GatewayMetrics(registry: registry)
    let table = routeTable(of: deployment, metrics)
    let reloads = ReloadMetrics(registry)

    let workers = try Workers(threads: deployment.workerCount)
    let transports = Transports(given: deployment.transport, authorities: try authorities(besides: deployment))
    let transport = try transports.transport(authorityFile: deployment.authorityFile)
    var timing = deployment.providerTiming
    timing.callTimeout = deployment.providerCall
    let providerClient = ProviderClient(
      deployment.client, transport: transport, time: time, random: random, log: log, timing: timing)
    let provider = RelyingParty(providerClient, random: random)

    let services = try services(
      deployment, table, storage, provider, transports, workers, SessionEvents(log: log, registry: registry))
    let watch = services.watch
    registry.value("session_watchers", help: "Tabs that listen for the end of their session.") { watch.count }
    let loopEnds = GatewayLoops()
    services.sessions.add(loopEnds)
    services.sessions.add(watch)
    loopEnds.attach(watch)
    storage.tell(loopEnds)

    let loopCount = deployment.loopCount
    let loops = try EventLoopGroup(
      count: loopCount,
      configuration: LoopConfiguration(time: time, incident: { tell($0, log) }))
    // Threads of their own: a name server that does not answer holds nothing else up.
    let endpoints = table.routes.flatMap(\.endpoints)
    let names = try Workers(name: "names", threads: min(max(2, endpoints.count), 8))
    let resolver = NameResolver(workers: names, time: time, lifetime: deployment.nameLifetime)
    let upstreams = UpstreamMetrics(registry: registry, endpoints: endpoints)
    let outages = RepeatLimiter()
    let generation = generation(of: deployment, services, table)
    deployment.certificateTimes.register(in: registry)
    let listenerMetrics = ListenerMetrics(registry: registry)
    let (settings, forwarding) = connectionSettings(of: deployment, loops: loopCount, generation, listenerMetrics)
    let server = try await HTTPServer<GatewayHandler>.start(on: deployment.listen, loops: loops.loops, settings: settings) {
      loop in
      let numbers = registry.makeLoopMetrics(of: loop.actor?.index)
      let telemetry = UpstreamTelemetry(upstreams, numbers, log: log, repeats: outages)
      return GatewayHandler(
        generation: generation, loop: loop, loops: loopEnds,
        forwarder: Forwarder(loop: loop, resolver: resolver, settings: forwarding, telemetry: telemetry), metrics: metrics.loop(numbers))
    }
    await server.onTurnEnd { handler, clients, took in handler.turnEnded(clients: clients, took: took) }
    await loopEnds.attach(server)
    let background = Task { await providerClient.run() }
    let checks = [ReadinessCheck.provider(provider), storage.check]
    let results = CurrentResults(services.results)
    let isDraining = Flag()
    let adminTable = AdminEndpoints.table(
      checks: checks, services: { results.lines(time.monotonicNow()) }, isDraining: isDraining, registry: registry, workers: workers)
    var admin: HTTPServer<EndpointHandler>?
    if let address = deployment.admin {
      admin = try await HTTPServer<EndpointHandler>.start(on: [address], loops: [loops.loops[0]]) { _ in EndpointHandler(adminTable) }
    }
    return RunningIntercom(
      addresses: server.addresses, adminAddress: admin?.addresses.first, gateway: server, admin: admin, loops: loops,
      workers: [workers, names],
      transports: transports, background: background, provider: provider,
      storage: storage, drain: deployment.drain, services: services, metrics: metrics, listenerMetrics: listenerMetrics,
      certificateTimes: deployment.certificateTimes,
      resolver: resolver, reloads: reloads, isDraining: isDraining, results: results)
  }

  private static func routeTable(of deployment: Deployment, _ metrics: GatewayMetrics) -> RouteTable {
    RouteTable(routes(of: deployment), baseHost: deployment.base.host, place: metrics.place)
  }

  private static func generation(of deployment: Deployment, _ services: GatewayServices, _ table: RouteTable) -> GatewayGeneration {
    GatewayGeneration(
      services: services,
      routes: ForwardRoutes(table, base: deployment.base, cookies: deployment.cookies, results: services.results),
      endpoints: deployment.endpoints)
  }

  /// What a reload makes of a deployment, with the parts of `first` that all generations share.
  static func generation(
    of deployment: Deployment, _ first: GatewayServices, _ metrics: GatewayMetrics, _ transports: Transports, _ results: LastResults
  ) throws(TransportError) -> GatewayGeneration {
    let table = routeTable(of: deployment, metrics)
    var services = first
    services.settings = settings(of: deployment)
    services.gateway = Gateway(table: table, cookies: deployment.cookies, csrf: first.gateway.csrf, logoutKey: first.gateway.logoutKey)
    services.passwords = deployment.passwords
    services.results = results.renewed(for: deployment.observed)
    services.homeservers = try homeservers(of: deployment, transports, first.workers, services.results)
    return generation(of: deployment, services, table)
  }

  private static func settings(of deployment: Deployment) -> GatewaySettings {
    var settings = GatewaySettings(
      base: deployment.base, allowedOrigins: allowedOrigins(deployment), hostOrigins: deployment.routes.compactMap(\.hostOrigin))
    settings.userClaim = deployment.userClaim
    return settings
  }

  /// The settings of the listeners and of the way to the upstreams, within what the limit of open files allows.
  static func connectionSettings(
    of deployment: Deployment, loops: Int, _ generation: GatewayGeneration, _ metrics: ListenerMetrics, tells: Bool = true
  ) -> (ServerSettings, ForwardSettings) {
    var (server, forwarding) = (deployment.server, deployment.forwarding)
    server.guardedTrailers = generation.guardedFields
    server.metrics = metrics
    let cors = generation.services.gateway.table.fallbackCORS
    server.refusalLines = { cors.lines(for: $0).bytes }
    server.problemPage = ProblemPage.answer
    let limit = descriptorLimit()
    let budget = DescriptorBudget(limit: limit, loops: loops)
    forwarding.loopConnections = budget.connections
    if budget.clients < server.maximumConnections {
      if tells {
        deployment.log.info(
          "descriptor_limit", "The limit of open files (ulimit -n) allows fewer connections of one loop than limits.connections.",
          ["limit": .integer(Int64(limit)), "connections": .integer(Int64(budget.clients))])
      }
      server.maximumConnections = budget.clients
    }
    return (server, forwarding)
  }

  /// What serves requests, without the loops.
  private static func services(
    _ deployment: Deployment, _ table: RouteTable, _ storage: OpenStorage, _ provider: RelyingParty, _ transports: Transports,
    _ workers: Workers, _ events: SessionEvents
  ) throws -> GatewayServices {
    let (time, random, keys) = (deployment.time, SystemRandom(), deployment.keys)
    let sessions = SessionManager(
      store: storage.store, keys: keys, settings: deployment.sessions, time: time, random: random, events: events)
    sessions.add(aftercare: SessionTokenRevocation(provider, sessions, log: deployment.log))
    let results = LastResults().renewed(for: deployment.observed)
    let homeservers = try homeservers(of: deployment, transports, workers, results)
    let matrixLogout = MatrixLogout(homeservers, events: events)
    sessions.add(aftercare: matrixLogout)
    return GatewayServices(
      settings: settings(of: deployment),
      gateway: Gateway(
        table: table, cookies: deployment.cookies, csrf: try CSRFTokens(keys: keys, random: random), logoutKey: try logoutKey(keys)),
      sessions: sessions, pending: PendingLogins(store: storage.store, keys: keys, time: time, random: random, events: events),
      tokens: RefreshCoordinator(
        manager: sessions, source: ProviderTokens(provider, workers: workers), time: time, events: events,
        callLimit: deployment.tokenOperation),
      provider: provider,
      matrix: try MatrixDevices(manager: sessions, keys: keys, time: time, events: events, callLimit: deployment.tokenOperation),
      matrixLogout: matrixLogout, homeservers: homeservers, passwords: deployment.passwords, workers: workers, time: time,
      random: random, log: deployment.log,
      steps: deployment.steps, lease: storage.lease, results: results)
  }

  private static func tell(_ incident: LoopIncident, _ log: StructuredLog) {
    switch incident {
    case .descriptorsExhausted:
      log.error(
        "descriptors_exhausted", "No descriptor was left for a client; accepting pauses. Raise the limit of open files (ulimit -n).")
    case .connectionLimit:
      log.warning(
        "connection_limit", "As many clients are connected as limits.connections, or the limit of open files, allows; accepting pauses.")
    case .acceptFailed(let error): log.error("accept_failed", "A client could not be accepted: \(error)")
    }
  }

  /// The configured routes and the own ones.
  private static func routes(of deployment: Deployment) -> [Route] {
    deployment.routes + OwnRoutes.all(allowedOrigins(deployment).cors)
  }

  private static func homeservers(
    of deployment: Deployment, _ transports: Transports, _ workers: Workers, _ results: LastResults
  ) throws(TransportError) -> [MatrixClient] {
    var clients: [MatrixClient] = []
    for setup in deployment.homeservers {
      clients.append(
        MatrixClient(
          setup.homeserver, transport: try transports.transport(authorityFile: setup.authorityFile), time: deployment.time,
          callLimit: deployment.providerCall, executor: workers, log: deployment.log, result: results[setup.observed]))
    }
    return clients
  }

  /// The system's authorities and the further ones, as libcurl takes them; nil when there are no further ones.
  static func authorities(besides deployment: Deployment) throws -> [UInt8]? {
    guard let extra = deployment.extraAuthorityFile else { return nil }
    // An image may come without the system's: then these are all.
    let system = CurlTransport.systemAuthorityFile.flatMap { try? readNamedFile($0, limit: 16 << 20).bytes } ?? []
    return system + [UInt8(ascii: "\n")] + (try readNamedFile(extra, limit: ConfigurationLoader.largestFile).bytes)
  }

  private static func allowedOrigins(_ deployment: Deployment) -> AllowedOrigins {
    AllowedOrigins(
      [deployment.base.origin] + deployment.origins.filter { $0 != deployment.base.origin }, pattern: deployment.originPattern)
  }

  private static func logoutKey(_ keys: KeyRing) throws(CryptographyError) -> Secret<[UInt8]> {
    try keys.subkeys("logout").first ?? Secret([])
  }
}
