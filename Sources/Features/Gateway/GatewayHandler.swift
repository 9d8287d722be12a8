import EventLoop
import HTTP1
import HTTPMessage
import HTTPServer
import IntercomCore
import Policy
import ReverseProxy
import Sessions
import Telemetry

/// What the handler keeps of one exchange.
package final class GatewayContext: ExchangeContext {
  var findings = Findings()
  /// What was forwarded, where and whose: an upstream's 401 drops it.
  var forwarded: CredentialView?
  /// For the steps and log lines that tell of this request; nil when nobody listens.
  var story: RequestStory?
  /// Why the gateway refused: the problem's word.
  var refusal: String?
  /// The route of what was not forwarded.
  var routeName: String?
  /// There is more to forget than `forwarded`.
  var isUnusual = false
  /// It goes on and ends with its session.
  var isRegistered = false

  package init() {}

  /// Forgets the request that is over.
  func reset() {
    forwarded = nil
    guard isUnusual else { return }
    isUnusual = false
    findings = Findings()
    story = nil
    refusal = nil
    routeName = nil
  }
}

/// The gateway on one loop: asks `Gateway.decide` and carries the verdict out. Everything here is synchronous; what waits is a task that
/// finds the exchange again by its id.
package final class GatewayHandler: RequestHandler {
  package typealias Context = GatewayContext

  private var generation: GatewayGeneration
  let sessions: SessionTable
  let connections: SessionConnections
  private let loop: EventLoop
  private let loops: GatewayLoops
  private let forwarder: Forwarder
  private let metrics: GatewayMetrics.Loop
  /// The same in all generations, as are the next two.
  private let manager: SessionManager
  private let lease: CopyLease
  private let time: any TimeSource
  private var clock: LoopClock

  package init(
    generation: GatewayGeneration, loop: EventLoop, loops: GatewayLoops, forwarder: Forwarder, metrics: GatewayMetrics.Loop,
    sessionCapacity: Int = 20_000
  ) {
    self.generation = generation
    self.loop = loop
    self.loops = loops
    self.forwarder = forwarder
    self.metrics = metrics
    manager = generation.services.sessions
    lease = generation.services.lease
    time = generation.services.time
    clock = LoopClock(manager.now(), at: loop.now)
    sessions = SessionTable(capacity: sessionCapacity, random: generation.services.random)
    connections = SessionConnections(loop: loop, sessions: sessions, manager: manager)
    connections.ask = { [unowned self] key, noted in self.ask(key, noted) }
    forwarder.onTunnel = { [unowned self] exchange in
      if let exchange = exchange as? ServerConnection<GatewayHandler> { self.tunnelBegan(exchange) }
    }
    forwarder.onCredentialRefused = { [unowned self] exchange in
      if let exchange = exchange as? ServerConnection<GatewayHandler> { self.credentialRefused(exchange) }
    }
  }

  private var services: GatewayServices { generation.services }

  /// Decides by other rules from now on. What was asked for by the old ones is asked for again.
  package func replace(_ newer: GatewayGeneration, forwarding settings: ForwardSettings) {
    generation = newer
    forwarder.replace(newer.routes.routes, settings: settings)
    loop.forEachSource { source in
      guard let exchange = source as? ServerConnection<GatewayHandler>, exchange.handler === self else { return }
      exchange.context.findings.credential = .notAsked
    }
  }

  package func handle(_ head: borrowing RequestHead, _ bytes: borrowing Span<UInt8>, _ exchange: ServerConnection<GatewayHandler>) {
    let context = exchange.context
    let generation = generation
    if generation.tellsStories, context.story == nil { tell(head, bytes, exchange) }
    exchange.showsPages(RequestIntent.isTopLevel(head.request, bytes))
    let turn = loop.now
    if clock.isDue(turn) { clock = LoopClock(manager.now(), at: turn) }
    let known = Known(sessions: sessions, findings: context.findings, now: clock.wall, mayUseCopies: lease.isValid(by: time))
    switch generation.services.gateway.decide(head.request, bytes, known) {
    case .forward(let order): forward(order, head, bytes, exchange, known.now, generation)
    case .stop(let stop): self.stop(stop, head, bytes, exchange)
    }
  }

  private func stop(
    _ stop: Stop, _ head: borrowing RequestHead, _ bytes: borrowing Span<UInt8>, _ exchange: ServerConnection<GatewayHandler>
  ) {
    exchange.context.isUnusual = true
    switch stop {
    case .answer(let answer):
      let table = services.gateway.table
      if case .found(let index) = table.lookup(head.request, bytes) { exchange.context.routeName = table.entries[index].mark.name }
      self.answer(answer, exchange)
    case .own(let call):
      exchange.context.routeName = services.gateway.table.entries[call.route].mark.name
      own(call, head, bytes, exchange)
    case .need(let need): fetch(need, exchange)
    }
  }

  package func exchangeEnded(_ summary: ExchangeSummary, _ exchange: ServerConnection<GatewayHandler>) {
    let context = exchange.context
    let route = context.forwarded?.route
    if context.isRegistered { forget(exchange) }
    metrics.exchangeEnded(summary, route: route?.place)
    if generation.tellsSuccess || context.isUnusual || summary.problem != nil { tellEnd(summary, route, exchange) }
    context.reset()
  }

  /// What the log and the steps say of an exchange that is over.
  private func tellEnd(_ summary: ExchangeSummary, _ route: RouteMark?, _ exchange: ServerConnection<GatewayHandler>) {
    let context = exchange.context
    let name = route?.name
    services.logExchange(summary, exchange, route: name, now: loop.now)
    guard let name, let story = context.story else { return }
    services.step(
      .forwarded, "Passed the request on and the answer back",
      [
        .init(.route, name), .init(.method, story.method), .init(.path, story.path), .init(.status, summary.status),
        .init(summary.duration),
      ], subject: story.subjectName, correlation: story.correlation)
  }

  /// A turn of the loop is over: its numbers are renewed.
  package func turnEnded(clients: Int, took: Duration) {
    metrics.turnEnded(clients: clients, sessions: sessions.count, took: took)
  }

  private func tell(
    _ head: borrowing RequestHead, _ bytes: borrowing Span<UInt8>, _ exchange: ServerConnection<GatewayHandler>
  ) {
    exchange.context.isUnusual = true
    exchange.context.story = RequestStory(
      correlation: RequestStory.correlation(exchange.exchangeID), method: head.request.method.name,
      path: String(decoding: head.request.path.bytes(in: bytes), as: UTF8.self), client: exchange.client(head, bytes).text)
  }

  // MARK: verdicts

  private func answer(_ answer: GatewayAnswer, _ exchange: ServerConnection<GatewayHandler>) {
    metrics.refused(answer.status)
    if answer.status.code >= 400 { exchange.context.refusal = answer.reason }
    // The context forgets when the exchange ends, which may be at once.
    let story = exchange.context.story
    if let (document, lines) = answer.problem {
      exchange.answer(document, lines: lines.bytes)
    } else {
      exchange.answer(answer.status, lines: answer.lines.bytes, body: answer.body)
    }
    guard answer.status.code >= 400, let story else { return }
    services.step(
      .refused, "Refused a request",
      [.init(.method, story.method), .init(.path, story.path), .init(.reason, answer.reason), .init(.status, answer.status.code)],
      correlation: story.correlation)
  }

  private func own(
    _ call: OwnCall, _ head: borrowing RequestHead, _ bytes: borrowing Span<UInt8>, _ exchange: ServerConnection<GatewayHandler>
  ) {
    exchange.answerLines = call.cors.bytes
    if call.isUse, let view = call.presentedSession.flatMap({ sessions[$0] }), view.use(at: clock.wall) {
      touch(view, clock.wall)
    }
    guard let endpoint = generation.endpoints[call.endpoint] ?? services.endpoint(call) else {
      return exchange.answer(Problem(404, "no_route", "Nothing answers at this address."))
    }
    // Keycloak keeps the connection of a logout call and sends the next one into it once, without a second try: kept across our restart it
    // would be dead and that logout lost.
    if call.endpoint == .backchannelLogout { exchange.closeAfterAnswer() }
    exchange.run(endpoint, Request(head, bytes, peer: exchange.client(head, bytes).text))
  }

  private func forward(
    _ order: consuming ForwardOrder, _ head: borrowing RequestHead, _ bytes: borrowing Span<UInt8>,
    _ exchange: ServerConnection<GatewayHandler>, _ now: WallInstant, _ generation: GatewayGeneration
  ) {
    exchange.context.forwarded = order.credential
    if let view = order.session {
      if order.credential.session == nil { note(view, generation.services.gateway.table.entries[order.permit.route], exchange.context) }
      if view.use(at: now) { touch(view, now) }
      if generation.tellsStories { exchange.context.story?.subjectName = view.session.displayName }
    }
    if let plan = generation.routes.plan(order, head.request) { return forwarder.forward(plan, head, bytes, exchange) }
    exchange.answer(Problem(500, "no_plan", "Intercom could not plan this request."))
  }

  /// An upstream answered 401: the credential that it got is dropped here, in the coordinator and on the other loops, so that the next request
  /// asks for a new one. This one is not sent twice. A newer credential stays: many requests that were refused together cause one exchange.
  private func credentialRefused(_ exchange: ServerConnection<GatewayHandler>) {
    guard let sent = exchange.context.forwarded else { return }
    if let bearer = sent.bearer { return dropBearer(sent, bearer) }
    guard let session = sent.session else { return }
    let rule = sent.route.credential
    if case .none = rule { return }
    drop(sent, of: session)
    let (services, key, loops, held) = (services, SessionKey(session), loops, sessions[session]?.session)
    loop.spawn { _ in
      switch rule {
      case .exchange(let target):
        await services.tokens.invalidate(key, target) { GatewayServices.bearer($0.accessToken)?.bytes == sent.lines.bytes }
      case .matrix(let rule): if let held { await services.matrixRefused(sent.lines, held, rule) }
      case .none, .accessToken, .basic, .headers: break
      }
      await loops.onEach { handler in handler.drop(sent, of: session) }
    }
  }

  /// The same for what was made of a client's own token: on this loop, and where the exchanged one is kept.
  private func dropBearer(_ sent: CredentialView, _ bearer: SessionKey) {
    sessions.bearers[bearer]?.setCredential(nil, route: sent.route)
    guard case .exchange(let target) = sent.route.credential else { return }
    let tokens = services.tokens
    loop.spawn { _ in
      await tokens.invalidate(bearer, target) { GatewayServices.bearer($0.accessToken)?.bytes == sent.lines.bytes }
    }
  }

  private func drop(_ sent: CredentialView, of session: SessionID) {
    guard let view = sessions[session], let held = view.credential(route: sent.route, now: manager.now()) else { return }
    if held === sent || held.lines.bytes == sent.lines.bytes { view.setCredential(nil, route: sent.route) }
  }

  // MARK: what goes on

  /// A route without a credential: whose request it is, all the same. A public route's is nobody's.
  private func note(_ view: SessionView, _ entry: RouteEntry, _ context: GatewayContext) {
    if entry.route.needsSession { context.forwarded = view.nothing(route: entry.mark) }
  }

  private func tunnelBegan(_ exchange: ServerConnection<GatewayHandler>) {
    metrics.tunnelOpened()
    register(exchange)
  }

  /// Most answers are short: only one that goes on is worth an entry.
  package func answerGoesOn(_ exchange: ServerConnection<GatewayHandler>) { if !exchange.context.isRegistered { register(exchange) } }

  private func register(_ exchange: ServerConnection<GatewayHandler>) {
    guard let key = exchange.context.forwarded?.key else { return }
    exchange.context.isRegistered = true
    connections.add(exchange, of: key)
  }

  /// These sessions are over: their copies are dropped, their tunnels end now, and what else of them is under way soon.
  func sessionsEnded(_ ended: [EndedSession]) {
    sessions.drop(ended)
    end(Set(ended.map(\.key)))
  }

  private func end(_ keys: Set<SessionKey>) {
    loop.forEachSource { source in
      guard let exchange = source as? ServerConnection<GatewayHandler>, !exchange.context.isRegistered,
        let key = exchange.context.forwarded?.key, keys.contains(key)
      else { return }
      exchange.context.isRegistered = true
      connections.note(exchange, of: key)
    }
    connections.end(keys)
  }

  private func forget(_ exchange: ServerConnection<GatewayHandler>) {
    exchange.context.isRegistered = false
    connections.remove(exchange)
  }

  /// The store is asked whether a session of which something goes on still lives. It ends one whose time is over.
  private func ask(_ key: SessionKey, _ noted: WallInstant?) {
    let (manager, loops) = (manager, loops)
    loop.spawn { actor in
      let lookup: SessionLookup?
      do throws(SessionStoreError) { lookup = try await manager.load(key, noted: noted) } catch { lookup = nil }
      await loops.on(actor) { handler in if handler.connections.isOver(key, lookup) { handler.end([key]) } }
    }
  }

  // MARK: use

  /// Tells the store of the use, at most once per touch interval.
  private func touch(_ view: SessionView, _ now: WallInstant) {
    view.isTouching = true
    let (manager, loops, session, id) = (manager, loops, view.session, view.id)
    loop.spawn { actor in
      // A store that does not answer is asked again at the next use.
      let touched: Session?
      let isGone: Bool
      do throws(SessionStoreError) {
        touched = try await manager.touch(session, use: now)
        isGone = touched == nil
      } catch { (touched, isGone) = (nil, false) }
      await loops.on(actor) { handler in
        guard let view = handler.sessions[id] else { return }
        view.isTouching = false
        if isGone { return handler.sessions.remove(id) }
        if let touched { view.renew(touched) }
      }
    }
  }

  // MARK: needs

  /// Withholds the reading, fetches what is missing, and asks again.
  private func fetch(_ need: Need, _ exchange: ServerConnection<GatewayHandler>) {
    exchange.context.findings.rounds += 1
    let ticket = sessions.ticket()
    let correlation = exchange.context.story?.correlation
    switch need {
    case .session(let id):
      let noted = sessions[id]?.lastUse
      resolve(exchange) { services in
        await services.resolveSession(id, noted: noted, correlation)
      } land: { handler, exchange, resolved in
        handler.landSession(id, ticket, resolved, exchange)
      }
    case .credential(let id, let index):
      let entry = services.gateway.table.entries[index]
      guard let session = sessions[id]?.session else {
        exchange.context.findings.session = .none
        _ = exchange.hold()
        return exchange.rehandle()
      }
      resolve(exchange) { services in
        await services.resolveCredential(session, route: entry.route, correlation)
      } land: { handler, exchange, resolved in
        handler.landCredential(id, entry.mark, resolved, exchange)
      }
    case .bearer(let presented):
      resolve(exchange) { services in
        await services.resolveBearer(presented, correlation)
      } land: { handler, exchange, resolved in
        handler.landBearer(resolved, exchange)
      }
    case .bearerCredential(let presented, let index):
      let entry = services.gateway.table.entries[index]
      // It was there a moment ago, in the decision that asks.
      guard let view = sessions.bearers[presented.key] else {
        return exchange.answer(Problem(500, "no_plan", "Intercom could not plan this request."))
      }
      let (subject, verified) = (view.subject, view.verified)
      resolve(exchange) { services in
        await services.resolveCredential(subject, verified, route: entry.route, correlation)
      } land: { handler, exchange, resolved in
        handler.landBearerCredential(subject.key, entry.mark, resolved, exchange)
      }
    }
  }

  private func landBearer(_ resolved: Resolved, _ exchange: ServerConnection<GatewayHandler>) {
    guard case .bearer(let outcome) = resolved else { return }
    switch outcome {
    case .verified(let presented, let verified): sessions.bearers.insert(BearerView(presented, verified), now: manager.now())
    case .refused: exchange.context.findings.bearer = .refused
    case .unavailable: exchange.context.findings.bearer = .unavailable
    }
  }

  private func landBearerCredential(
    _ key: SessionKey, _ route: RouteMark, _ resolved: Resolved, _ exchange: ServerConnection<GatewayHandler>
  ) {
    guard case .bearerCredential(let outcome) = resolved else { return }
    switch outcome {
    case .failed(let finding): exchange.context.findings.credential = finding
    case .ready(let credential):
      let view = CredentialView(credential, route: route, session: nil, bearer: key)
      exchange.context.findings.credential = .ready(view)
      sessions.bearers[key]?.setCredential(view, route: route)
    }
  }

  private func resolve(
    _ exchange: ServerConnection<GatewayHandler>, _ work: @escaping @Sendable (GatewayServices) async -> Resolved,
    land: @escaping @Sendable (GatewayHandler, ServerConnection<GatewayHandler>, Resolved) -> Void
  ) {
    let id = exchange.hold()
    let generation = generation
    loop.spawn { actor in
      let resolved = await work(generation.services)
      await actor.withLoop { loop in
        guard let exchange = loop.exchange(id) as? ServerConnection<GatewayHandler> else { return }
        let handler = exchange.handler
        land(handler, exchange, resolved)
        // The rules by which it was asked for are not in force any more.
        if handler.generation !== generation { exchange.context.findings.credential = .notAsked }
        exchange.rehandle()
      }
    }
  }

  private func landSession(
    _ id: SessionID, _ ticket: SessionEnds.Ticket, _ resolved: Resolved, _ exchange: ServerConnection<GatewayHandler>
  ) {
    guard case .session(let outcome) = resolved else { return }
    switch outcome {
    case .none:
      sessions.remove(id)
      exchange.context.findings.session = .none
    case .unavailable: exchange.context.findings.session = .storeUnavailable
    case .live(let session):
      // While copies may not be used every request comes here: what was made ready for this very version stays.
      let held = sessions[id].flatMap { $0.session.version == session.version ? $0 : nil }
      let view = held ?? SessionView(id: id, session: session, settings: manager.settings, now: manager.now())
      // Not kept when it may have ended while it was read: then the next round reads it again.
      let isKept = view.map { sessions.insert($0, ticket: ticket) } ?? false
      exchange.context.findings.session = isKept ? .live : .notAsked
    }
  }

  private func landCredential(_ id: SessionID, _ route: RouteMark, _ resolved: Resolved, _ exchange: ServerConnection<GatewayHandler>) {
    guard case .credential(let outcome) = resolved else { return }
    switch outcome {
    case .failed(let finding): exchange.context.findings.credential = finding
    case .ready(let credential, let session):
      let view = CredentialView(credential, route: route, session: id)
      exchange.context.findings.credential = .ready(view)
      // A session that ended meanwhile is not in the table any more, and the next decision asks for it again.
      guard let known = sessions[id] else { return }
      known.renew(session)
      // One that was made of older tokens serves this request alone.
      if known.session.tokens.generation == session.tokens.generation { known.setCredential(view, route: route) }
    }
  }
}
