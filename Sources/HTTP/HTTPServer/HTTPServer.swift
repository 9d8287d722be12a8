import EventLoop
import IntercomCore
import Linux
import OpenSSL
import Synchronization

/// Listeners on some addresses, one per loop, whose requests one kind of handler answers.
package final class HTTPServer<Handler: RequestHandler>: Sendable {
  /// Where it listens, with the actual ports.
  package let addresses: [SocketAddress]
  private let loops: [LoopActor]
  private let number: Int

  private init(addresses: [SocketAddress], loops: [LoopActor], number: Int) {
    self.addresses = addresses
    self.loops = loops
    self.number = number
  }

  /// Opens the listeners. Port 0 takes a free one. Throws `addressInUse` when somebody listens there.
  ///
  /// - Parameter makeHandler: called once on each loop.
  package static func start(
    on addresses: [SocketAddress], loops: [LoopActor], settings: ServerSettings = ServerSettings(),
    makeHandler: @escaping @Sendable (EventLoop) -> Handler
  ) async throws(EventLoopError) -> HTTPServer {
    try await start(on: addresses.map { ListenerSetup($0) }, loops: loops, settings: settings, makeHandler: makeHandler)
  }

  /// The same with TLS and proxies in front.
  package static func start(
    on setups: [ListenerSetup], loops: [LoopActor], settings: ServerSettings = ServerSettings(),
    makeHandler: @escaping @Sendable (EventLoop) -> Handler
  ) async throws(EventLoopError) -> HTTPServer {
    let number = serverNumbers.add(1, ordering: .relaxed).newValue
    var actual: [SocketAddress] = []
    var sockets: [[Int32]] = []
    do throws(EventLoopError) {
      for setup in setups {
        let opened = try Listener.sockets(on: setup.address, count: loops.count)
        sockets.append(opened)
        do { actual.append(try Socket.localAddress(opened[0])) } catch { throw .system(error) }
      }
    } catch {
      for socket in sockets.joined() { Socket.close(socket) }
      throw error
    }
    let server = HTTPServer(addresses: actual, loops: loops, number: number)
    for (index, actor) in loops.enumerated() {
      let own = sockets.map { $0[index] }
      do throws(EventLoopError) {
        try await actor.withLoop { (loop) throws(EventLoopError) in
          let state = HandlerLoop(loop: loop, settings: settings, handler: makeHandler(loop))
          loop.attachments[number] = state
          state.setups = setups
          for (index, socket) in own.enumerated() { state.listeners.append(try Self.listen(socket, state, index)) }
        }
      } catch {
        await server.stop()
        for socket in sockets.flatMap({ $0[(index + 1)...] }) { Socket.close(socket) }
        throw error
      }
    }
    return server
  }

  private static func listen(
    _ socket: Int32, _ state: HandlerLoop<Handler>, _ index: Int
  ) throws(EventLoopError) -> Listener {
    try Listener(descriptor: socket, loop: state.loop, maximumConnections: state.settings.maximumConnections) {
      [unowned state] client, peer in
      let setup = state.setups[index]
      guard setup.isPlain else { return Opening.begin(client, peer, state, setup) }
      state.settings.metrics?.opened(.http11)
      // It closes the descriptor itself when it cannot be registered.
      try? ServerConnection<Handler>(descriptor: client, peer: peer, server: state, carrier: nil).open()
    }
  }

  /// Gives each loop other settings, certificates and proxies, and calls `body` with its handler, all between two of its turns: no request sees a part of it
  /// only. Connections that stand keep their certificates.
  ///
  /// - Parameter setups: in the order of the listeners. Addresses stay what they are, and a listener does not change between plain and TLS.
  package func reconfigure(
    _ settings: ServerSettings, _ setups: [ListenerSetup], _ body: @escaping @Sendable (Handler) -> Void
  ) async {
    await forEachState { state in
      guard let state = state as? HandlerLoop<Handler> else { return }
      state.settings = settings
      state.replace(setups)
      body(state.handler)
    }
  }

  /// Calls `body` with the handler of each loop, on that loop, and returns when all have returned. A loop that is busy holds none of the others
  /// up.
  package func onEachLoop(_ body: @escaping @Sendable (Handler, EventLoop) -> Void) async {
    await withTaskGroup(of: Void.self) { group in
      for actor in loops { group.addTask { await self.onLoop(actor, body) } }
    }
  }

  /// Calls `body` with one loop's handler; nothing when the loop has ended.
  package func onLoop(_ actor: LoopActor, _ body: @Sendable (Handler, EventLoop) -> Void) async {
    await actor.withLoop { [number] loop in
      if let state = loop.attachments[number] as? HandlerLoop<Handler> { body(state.handler, loop) }
    }
  }

  /// Calls `body` at the end of each turn of each loop, on that loop, with this server's handler there, how many clients are connected to it,
  /// and how long the turn worked. Another server on the same loops that asks for the same takes its place.
  package func onTurnEnd(_ body: @escaping @Sendable (Handler, _ clients: Int, _ took: Duration) -> Void) async {
    for actor in loops {
      await actor.withLoop { [number] loop in
        guard let state = loop.attachments[number] as? HandlerLoop<Handler> else { return }
        loop.onTurnEnd = { took in body(state.handler, state.connections, took) }
      }
    }
  }

  /// Connections that are open.
  package func connections() async -> Int { await sum { $0.connections } }

  private func sum(_ figure: @escaping @Sendable (ServerLoop) -> Int) async -> Int {
    var sum = 0
    for actor in loops {
      sum += await actor.withLoop { [number] loop in (loop.attachments[number] as? ServerLoop).map(figure) ?? 0 }
    }
    return sum
  }

  /// Accepts no more, answers what has been asked, with `Connection: close`, and closes. What is not done within `limit`, or when the task is
  /// cancelled, is cut off; false then.
  package func drain(within limit: Duration) async -> Bool {
    await forEachState { state in
      state.isDraining = true
      for listener in state.listeners { listener.closeBehindQueue() }
      state.listeners = []
      state.loop.forEachSource { source in
        if let exchange = source as? Exchange, exchange.server === state { exchange.drain() }
        if let connection = source as? HTTP2Connection, connection.server === state { connection.endSoon() }
      }
    }
    let time = SystemTime()
    let begin = time.monotonicNow()
    let end = begin.advanced(by: limit)
    while true {
      let opening = begin.duration(to: time.monotonicNow()) < .nanoseconds(ServerLoop.lastWord) ? await sum { $0.openings } : 0
      guard await connections() + opening > 0 else { break }
      guard time.monotonicNow() < end, !Task.isCancelled else {
        await stop()
        return false
      }
      await closeTunnelsLeftAlone()
      try? await time.sleep(for: .milliseconds(10))
    }
    return true
  }

  /// Tunnels may stand for days: while others are being answered they stay, but nobody waits for them alone.
  private func closeTunnelsLeftAlone() async {
    await forEachState { state in
      var tunnels: [Exchange] = []
      var others = false
      state.loop.forEachSource { source in
        guard let exchange = source as? Exchange, exchange.server === state else { return }
        if exchange.isTunnel { tunnels.append(exchange) } else { others = true }
      }
      if !others { for tunnel in tunnels { tunnel.cut(.drained) } }
    }
  }

  /// Closes the listeners and all connections now.
  package func stop() async {
    await forEachState { state in
      state.isDraining = true
      for listener in state.listeners { listener.close() }
      state.listeners = []
      state.loop.forEachSource { source in
        if let exchange = source as? Exchange, exchange.server === state { exchange.close() }
        if let connection = source as? HTTP2Connection, connection.server === state { connection.close() }
      }
    }
  }

  private func forEachState(_ body: @escaping @Sendable (ServerLoop) -> Void) async {
    for actor in loops {
      await actor.withLoop { [number] loop in
        if let state = loop.attachments[number] as? ServerLoop { body(state) }
      }
    }
  }
}

/// Tells the servers of a process apart.
private let serverNumbers = Atomic<Int>(0)
