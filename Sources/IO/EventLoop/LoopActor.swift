import IntercomCore
import Linux

/// One actor per event loop. The whole loop runs inside one `assumeIsolated` of it, so that its classes are plain, confined objects and the
/// compiler checks the confinement; async code reaches them by `withLoop`.
package actor LoopActor {
  package nonisolated let executor: LoopExecutor
  package nonisolated var unownedExecutor: UnownedSerialExecutor { executor.asUnownedSerialExecutor() }
  /// The position among the group's loops.
  package nonisolated let index: Int
  package let loop: EventLoop

  init(index: Int, configuration: LoopConfiguration) throws(EventLoopError) {
    let executor = try LoopExecutor()
    self.executor = executor
    self.index = index
    loop = try EventLoop(executor: executor, configuration: configuration)
  }

  /// Runs `body` on the loop's thread with the loop. Objects of the loop stay inside: only ids and other values come out.
  package func withLoop<Value: Sendable, Failure: Error>(
    _ body: @Sendable (EventLoop) throws(Failure) -> Value
  ) async throws(Failure) -> Value { try body(loop) }

  func run() { loop.run(actor: self) }
}

/// The loops of a process, each on a thread of its own.
package final class EventLoopGroup: Sendable {
  package let loops: [LoopActor]

  /// Starts `count` loops. Throws when the system lacks descriptors or threads.
  package init(count: Int, configuration: LoopConfiguration = LoopConfiguration()) throws(EventLoopError) {
    var started: [LoopActor] = []
    for index in 0..<max(1, count) {
      do { started.append(try Self.start(index, configuration)) } catch {
        for actor in started { Task { await actor.withLoop { $0.stop() } } }
        throw error
      }
    }
    loops = started
  }

  private static func start(_ index: Int, _ configuration: LoopConfiguration) throws(EventLoopError) -> LoopActor {
    let actor = try LoopActor(index: index, configuration: configuration)
    do {
      try Threads.spawn(name: "loop-\(index)", stackBytes: 4 << 20) {
        blockBrokenPipeSignal()
        actor.executor.bind()
        actor.assumeIsolated { $0.run() }
      }
    } catch { throw .system(error) }
    return actor
  }

  /// Closes everything and ends the threads; returns when all loops have closed their connections.
  package func stop() async {
    for actor in loops { await actor.withLoop { $0.stop() } }
    for actor in loops { await actor.ended() }
  }
}

extension LoopActor {
  /// Returns when the loop has closed its connections.
  func ended() async {
    await withCheckedContinuation { (continuation: CheckedContinuation<Void, Never>) in loop.onEnd { continuation.resume() } }
  }
}

/// What a loop needs to know.
package struct LoopConfiguration: Sendable {
  /// The grain of all time-outs: they come up to two ticks late.
  package var tick: Duration
  /// Bytes that one system call receives at most; one buffer per loop.
  package var receiveBuffer: Int
  package var time: any TimeSource
  /// Told of what an operator should know; called on the loop, at most once per second and kind.
  package var incident: @Sendable (LoopIncident) -> Void

  package init(
    tick: Duration = .milliseconds(100), receiveBuffer: Int = 131_072, time: any TimeSource = SystemTime(),
    incident: @escaping @Sendable (LoopIncident) -> Void = { _ in }
  ) {
    self.tick = max(tick, .milliseconds(1))
    self.receiveBuffer = max(receiveBuffer, 4096)
    self.time = time
    self.incident = incident
  }
}

/// Something that an operator should know.
package enum LoopIncident: Sendable, Hashable {
  /// No descriptor was left for a client; it was refused and accepting pauses for a moment.
  case descriptorsExhausted
  /// As many clients as may be are connected; accepting pauses for a moment.
  case connectionLimit
  case acceptFailed(SystemCallError)
}

/// Why a loop or a socket cannot be set up.
package enum EventLoopError: Error, Sendable, Equatable, CustomStringConvertible {
  /// Another process (or another listener of this one) has the port.
  case addressInUse(SocketAddress)
  case system(SystemCallError)
  /// The loop has ended.
  case stopped

  package var origin: FaultOrigin { .gateway }

  package var description: String {
    switch self {
    case .addressInUse(let address): "\(address) is in use: another process listens there; stop it or choose another port"
    case .system(let error): error.description
    case .stopped: "the event loop has ended"
    }
  }
}
