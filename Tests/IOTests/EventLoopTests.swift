import EventLoop
import IntercomCore
import IntercomTesting
import Linux
import Synchronization
import Testing

/// Sends back what comes.
private final class Echo: TCPConnection {
  override func onData(_ bytes: borrowing Span<UInt8>) {
    send(bytes)
    if pendingBytes > 256 * 1024 { pauseReading() }
  }
  override func onDrained() { resumeReading() }
  override func onPeerEnd() { closeWhenSent(lingering: false) }
}

/// Tells when its deadline came.
private final class Clock: TCPConnection {
  var fired: (@Sendable (MonotonicInstant) -> Void)?
  override func onTimeOut() { fired?(loop.now) }
}

/// Tells how the attempt ended.
private final class Dialer: TCPConnection {
  var ended: (@Sendable (SystemCallError?) -> Void)?
  override func onConnected() { ended?(connectError) }
}

private func echoServer(_ group: EventLoopGroup, ip: IPAddress = .loopbackV4) async throws -> UInt16 {
  let sockets = try Listener.sockets(on: SocketAddress(ip, port: 0), count: group.loops.count)
  for (actor, socket) in zip(group.loops, sockets) {
    try await actor.withLoop { loop in
      _ = try Listener(descriptor: socket, loop: loop) { client, _ in try? Echo(descriptor: client, loop: loop).start() }
    }
  }
  return try Socket.localAddress(sockets[0]).port
}

@Suite("EventLoop")
struct EventLoopTests {
  @Test("bytes come back over IPv4 and IPv6", arguments: [IPAddress.loopbackV4, .loopbackV6])
  func echo(ip: IPAddress) async throws {
    let group = try EventLoopGroup(count: 2)
    let port = try await echoServer(group, ip: ip)
    try await onThread {
      for _ in 0..<8 {
        let client = try RawSocket(port: port, ip: ip)
        try client.send("hello")
        #expect(try client.receive(exactly: 5) == Array("hello".utf8))
      }
    }
    await group.stop()
  }

  @Test("16 MB come back whole although the client reads late, and the half-closed client gets the rest")
  func backPressure() async throws {
    let group = try EventLoopGroup(count: 1)
    let port = try await echoServer(group)
    try await onThread {
      let client = try RawSocket(port: port)
      let piece = (0..<65_536).map { UInt8(truncatingIfNeeded: $0 &* 31) }
      let all = (0..<256).flatMap { _ in piece }
      try Threads.spawn(name: "sender") {
        try? client.send(bytes: all)
        client.shutdownWriting()
      }
      #expect(try client.receiveAll() == all)
    }
    await group.stop()
  }

  @Test("a deadline comes no earlier than set, a moved one replaces it, and a closed connection gets none")
  func deadlines() async throws {
    let group = try EventLoopGroup(count: 1, configuration: LoopConfiguration(tick: .milliseconds(5)))
    let sockets = try Listener.sockets(on: SocketAddress(.loopbackV4, port: 0), count: 1)
    let port = try Socket.localAddress(sockets[0]).port
    let times = Mutex<[String: Duration]>([:])
    try await group.loops[0].withLoop { loop in
      let begin = loop.now
      let made = Mutex(0)
      _ = try Listener(descriptor: sockets[0], loop: loop) { client, _ in
        let connection = Clock(descriptor: client, loop: loop)
        try? connection.start()
        let number = made.withLock { made in
          made += 1
          return made
        }
        connection.fired = { now in times.withLock { $0["\(number)"] = begin.duration(to: now) } }
        connection.setDeadline(after: .milliseconds(50))
        if number == 2 { connection.setDeadline(after: .milliseconds(150)) }
        if number == 3 { connection.setDeadline(after: .milliseconds(20)) }
        if number == 4 { connection.close() }
        if number == 5 { connection.clearDeadline() }
      }
    }
    let clients = try await onThread { try (0..<5).map { _ in try RawSocket(port: port) } }
    #expect(await eventually { times.withLock { $0.count } == 3 })
    let seen = times.withLock { $0 }
    #expect(try #require(seen["1"]) >= .milliseconds(50))
    #expect(try #require(seen["2"]) >= .milliseconds(150))
    #expect(try #require(seen["3"]) >= .milliseconds(20))
    #expect(seen["4"] == nil && seen["5"] == nil)
    withExtendedLifetime(clients) {}
    await group.stop()
  }

  @Test("a refused connection attempt ends with a typed error, one into nowhere with the time-out")
  func connecting() async throws {
    let group = try EventLoopGroup(count: 1, configuration: LoopConfiguration(tick: .milliseconds(5)))
    // A listener whose queue is full answers no SYN: the attempt hangs.
    let full = try Socket.listening(on: SocketAddress(.loopbackV4, port: 0), sharing: false, backlog: 0)
    let fullAddress = try Socket.localAddress(full)
    let fillers = try (0..<4).map { _ in try Socket.connecting(to: fullAddress) }
    let free = try Socket.bound(to: SocketAddress(.loopbackV4, port: 0), sharing: false)
    let refusing = try Socket.localAddress(free)
    let outcomes = Mutex<[SystemCallError?]>([])
    for target in [refusing, fullAddress] {
      try await group.loops[0].withLoop { loop in
        let dialer = Dialer(descriptor: try Socket.connecting(to: target), loop: loop, isConnecting: true)
        dialer.ended = { error in outcomes.withLock { $0.append(error) } }
        try dialer.startConnecting(timeOut: .milliseconds(80))
      }
      let wanted = target == refusing ? 1 : 2
      #expect(await eventually { outcomes.withLock { $0.count } == wanted })
    }
    let seen = outcomes.withLock { $0 }
    #expect(seen.first??.isRefused == true)
    #expect(seen.last??.isTimeOut == true)
    for descriptor in fillers + [full, free] { Socket.close(descriptor) }
    await group.stop()
  }

  @Test("a port where somebody listens already is refused with a clear error, even when the other one shares")
  func occupied() throws {
    let other = try Socket.listening(on: SocketAddress(.loopbackV4, port: 0), sharing: true)
    let address = try Socket.localAddress(other)
    #expect(throws: EventLoopError.addressInUse(address)) { _ = try Listener.sockets(on: address, count: 1) }
    Socket.close(other)
    let mine = try Listener.sockets(on: address, count: 2)
    #expect(mine.count == 2)
    for socket in mine { Socket.close(socket) }
  }

  @Test("the id of a closed connection finds nothing, also when its descriptor lives again")
  func staleIds() async throws {
    let group = try EventLoopGroup(count: 1)
    let sockets = try Listener.sockets(on: SocketAddress(.loopbackV4, port: 0), count: 1)
    let port = try Socket.localAddress(sockets[0]).port
    let ids = Mutex<[SourceID]>([])
    try await group.loops[0].withLoop { loop in
      _ = try Listener(descriptor: sockets[0], loop: loop) { client, _ in
        let connection = Echo(descriptor: client, loop: loop)
        try? connection.start()
        ids.withLock { $0.append(connection.id) }
      }
    }
    for round in 1...2 {
      let client = try await onThread { try RawSocket(port: port) }
      #expect(await eventually { ids.withLock { $0.count } == round })
      let last = try #require(ids.withLock { $0.last })
      #expect(await group.loops[0].withLoop { $0.source(last) != nil })
      client.close()
      #expect(await eventually { await group.loops[0].withLoop { $0.source(last) == nil } })
    }
    await group.stop()
  }

  @Test("a spawned task runs on the loop's thread, also after an await of another actor")
  func tasks() async throws {
    let group = try EventLoopGroup(count: 1)
    let seen = Mutex<[Bool]>([])
    await group.loops[0].withLoop { loop in
      _ = loop.spawn { actor in
        seen.withLock { $0.append(actor.executor.isCurrent) }
        try? await SystemTime().sleep(for: .milliseconds(5))
        seen.withLock { $0.append(actor.executor.isCurrent) }
        await actor.withLoop { loop in seen.withLock { $0.append(loop.executor.isCurrent) } }
      }
    }
    #expect(await eventually { seen.withLock { $0.count } == 3 })
    #expect(seen.withLock { $0 } == [true, true, true])
    await group.stop()
    // A stopped loop still answers those who ask late.
    #expect(await group.loops[0].withLoop { $0.connections } == 0)
  }

  @Test("a loop that drains tasks that hop without end goes on serving sockets")
  func hoppingTask() async throws {
    let group = try EventLoopGroup(count: 1)
    let port = try await echoServer(group)
    let stop = Atomic<Bool>(false)
    await group.loops[0].withLoop { loop in
      _ = loop.spawn { _ in while !stop.load(ordering: .relaxed) { await Task.yield() } }
    }
    try await onThread {
      let client = try RawSocket(port: port)
      for _ in 0..<100 {
        try client.send("x")
        #expect(try client.receive(exactly: 1) == [120])
      }
    }
    stop.store(true, ordering: .relaxed)
    await group.stop()
  }

  @Test("the bits of PollEvents are those of the system's headers")
  func headers() { #expect(PollEvents.agreesWithHeaders) }
}
