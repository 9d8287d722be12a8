import EventLoop
import IntercomCore
import Linux
import OpenSSL
import TLS

/// The way to one server: keeps a connection, opens another when it breaks, and lets calls wait a short time for it. Confined to its loop, where
/// tasks find it by its number.
final class RedisLink {
  let settings: RedisSettings
  /// What each connection says first; the last command asks for client tracking.
  let greeting: RedisCommands
  private let loop: EventLoop
  private let number: Int
  private let resolver: NameResolver
  private let random: any RandomSource
  private var connection: RedisConnection?
  /// Calls that wait for a connection.
  private var queue: [RedisCall] = []
  private var queuedBytes = 0
  private var failures = 0
  /// Since when the connection is ready; nil while it is not, or has been long enough.
  private var readySince: MonotonicInstant?
  /// Why there is no connection, for whoever waits.
  private var attempts = RedisAttempts()
  private var address: IPAddress?
  private var reason: String { attempts.reason }
  private var isStopped = false
  private var isLookingUp = false
  private var nextAttempt: MonotonicInstant
  /// Since when there has been no connection that worked. A short outage is waited for; in a long one calls fail at once.
  private var missingSince: MonotonicInstant?

  /// The server tells something that nobody asked for.
  var onPush: ([RESP3Value]) -> Void = { _ in }
  enum Change {
    /// A connection is ready. `isTracking`: the server tells on it what others change.
    case connected(isTracking: Bool)
    /// It is gone, or could not be made.
    case lost(String)
    /// It is gone because ``RedisLink/stop()`` was called.
    case stopped
  }
  var onChange: (Change) -> Void = { _ in }

  init(
    _ settings: RedisSettings, greeting: RedisCommands, number: Int, loop: EventLoop, resolver: NameResolver, random: any RandomSource
  ) {
    self.settings = settings
    self.greeting = greeting
    self.number = number
    self.loop = loop
    self.resolver = resolver
    self.random = random
    nextAttempt = loop.now
    missingSince = loop.now
  }

  var isConnected: Bool { connection?.isReady ?? false }

  func call(_ call: RedisCall) {
    guard !isStopped else { return call.fail(.notConnected("the store is closed")) }
    guard queue.count + (connection?.waiting ?? 0) < settings.queueLimit,
      queuedBytes + (connection?.waitingBytes ?? 0) < settings.queueBytes
    else { return call.fail(.overloaded) }
    if let connection, connection.isReady { return connection.send(call) }
    if let missingSince, missingSince.advanced(by: settings.deadline) <= loop.now { return call.fail(.notConnected(reason)) }
    enqueue(call)
    connect()
  }

  private func enqueue(_ call: RedisCall) {
    queue.append(call)
    queuedBytes += call.size
  }

  private func takeQueue() -> [RedisCall] {
    defer { (queue, queuedBytes) = ([], 0) }
    return queue
  }

  /// To be called a few times a second: ends calls that have waited too long, and tries again to connect.
  func tick() {
    let now = loop.now
    connection?.checkTimes(now)
    if let since = readySince, since.advanced(by: settings.soundAfter) <= now { (failures, readySince) = (0, nil) }
    for call in queue where call.until <= now { call.fail(.notConnected(reason)) }
    for call in takeQueue() where !call.isOver { enqueue(call) }
    connect()
  }

  func stop() {
    isStopped = true
    for call in takeQueue() { call.fail(.notConnected("the store is closed")) }
    connection?.giveUp("the store is closed")
  }

  // MARK: connecting

  /// Gives the connection up, whose answers make no sense.
  func distrust() { connection?.giveUp("the server's answer has another form") }

  private func connect() {
    guard connection == nil, !isLookingUp, !isStopped, nextAttempt <= loop.now else { return }
    if let known = resolver.known(settings.host) { return dial(known) }
    isLookingUp = true
    let (resolver, host, number) = (resolver, settings.host, number)
    loop.spawn { actor in
      let found: [IPAddress]
      do throws(NameResolutionError) { found = try await resolver.resolve(host) } catch { found = [] }
      await actor.withLoop { loop in (loop.attachments[number] as? RedisLink)?.resolved(found) }
    }
  }

  private func resolved(_ found: [IPAddress]) {
    isLookingUp = false
    if connection == nil, !isStopped { dial(found) }
  }

  private func dial(_ addresses: [IPAddress]) {
    attempts.keep(addresses)
    guard !addresses.isEmpty else {
      address = nil
      return failed("the server's name has no address", .nowhere)
    }
    // Another one of them at each attempt.
    let next = addresses[failures % addresses.count]
    address = next
    let descriptor: Int32
    do throws(SystemCallError) {
      descriptor = try Socket.connecting(to: SocketAddress(next, port: UInt16(clamping: settings.port)))
    } catch { return failed("\(error)", .address) }
    let made: RedisConnection
    do throws(OpenSSLError) {
      made = RedisConnection(
        descriptor: descriptor, link: self, loop: loop, carrier: try carrier(descriptor),
        until: loop.now.advanced(by: settings.connectTime))
    } catch {
      Socket.close(descriptor)
      return failed("TLS could not be set up", .server)
    }
    connection = made
    do throws(EventLoopError) { try made.startConnecting(timeOut: settings.connectTime) } catch {
      connection = nil
      failed("\(error)", .address)
    }
  }

  private func carrier(_ descriptor: Int32) throws(OpenSSLError) -> (any ByteCarrier)? {
    guard let tls = settings.tls else { return nil }
    let name = settings.serverName ?? settings.host
    return TLSCarrier(
      try TLSChannel(client: tls, descriptor: descriptor, host: Array(name.utf8), isAddress: IPAddress(name) != nil))
  }

  private func failed(_ why: String, _ reach: RedisReach) {
    failures += 1
    readySince = nil
    attempts.failed(address, reach, why)
    missingSince = missingSince ?? loop.now
    nextAttempt = loop.now.advanced(by: pause)
    onChange(isStopped ? .stopped : .lost(reason))
  }

  /// Half of it is random, so that the replicas of a service that lost the server together do not come back together.
  private var pause: Duration {
    var pause = settings.pause
    for _ in 0..<max(0, min(failures, 8) - 1) { pause = min(pause * 2, settings.longestPause) }
    let draw = random.bytes(2).reduce(0) { $0 << 8 | Int($1) }
    return pause / 2 + pause * draw / 131_072
  }

  // MARK: for the connection

  func connected(_ connection: RedisConnection, isTracking: Bool) {
    readySince = loop.now
    missingSince = nil
    attempts.forget()
    onChange(.connected(isTracking: isTracking))
    for call in takeQueue() where !call.isOver { connection.send(call) }
  }

  func told(_ elements: [RESP3Value]) { onPush(elements) }

  /// What only reads is asked again on the next connection; of the rest nobody knows whether it was done.
  func closed(_ gone: RedisConnection, _ left: [RedisCall], _ why: String, _ reach: RedisReach) {
    guard connection === gone else { return }
    connection = nil
    failed(why, reach)
    for call in left where !call.isOver {
      if call.kind == .read, !isStopped {
        call.restart()
        enqueue(call)
      } else {
        call.fail(.unanswered)
      }
    }
  }
}
