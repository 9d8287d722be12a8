import IntercomCore
import Linux

/// The name of a descriptor's registration: all of it that may leave the loop. The generation tells it from a later owner of the descriptor.
package struct SourceID: Hashable, Sendable {
  package let rawValue: UInt64
  init(rawValue: UInt64) { self.rawValue = rawValue }
  init(generation: UInt32, descriptor: Int32) { rawValue = UInt64(generation) << 32 | UInt64(UInt32(bitPattern: descriptor)) }
  /// Where a source with a descriptor stands. One without (-1) is found by its generation alone.
  var slot: Int { Int(rawValue & 0xffff_ffff) }
  var hasDescriptor: Bool { Int32(truncatingIfNeeded: rawValue) >= 0 }
  var generation: UInt32 { UInt32(truncatingIfNeeded: rawValue >> 32) }
}

/// Anything with a descriptor in a loop. Confined to the loop's thread, so never Sendable.
///
/// `open`, because Swift lets a class of another target be subclassed in no other way; its members are `package` or internal.
open class EventSource {
  package final let descriptor: Int32
  /// A strong reference on purpose: `unowned` costs a check per access; closing breaks the cycle.
  package final let loop: EventLoop
  fileprivate final var generation: UInt32 = 0
  fileprivate final var deadline: Int64 = .max
  /// The tick in which the wheel looks at this source, 0 for none, and when that is.
  fileprivate final var armedTick: Int64 = 0
  fileprivate final var armedTime: Int64 = .max
  fileprivate final var isQueued = false

  package init(descriptor: Int32, loop: EventLoop) {
    self.descriptor = descriptor
    self.loop = loop
  }

  package final var id: SourceID { SourceID(generation: generation, descriptor: descriptor) }

  /// The kernel reports `events`.
  func onEvent(_ events: PollEvents) {}
  /// The deadline set last has passed.
  func onDeadline() {}
  /// Called once in the next turn after `runSoon`.
  func onTurn() {}

  /// Calls `onDeadline` once, no earlier than `instant` and up to two ticks later. Setting it anew replaces it; a later one costs a store.
  package final func setDeadline(_ instant: MonotonicInstant) { loop.arm(self, instant.nanoseconds) }
  package final func setDeadline(after duration: Duration) { setDeadline(afterNanoseconds: duration.wholeNanoseconds) }
  /// The same for the hot path: `Duration` counts in 128 bits, and dividing those costs more than all else here.
  package final func setDeadline(afterNanoseconds nanoseconds: Int64) {
    let (instant, overflow) = loop.now.nanoseconds.addingReportingOverflow(nanoseconds)
    loop.arm(self, overflow ? .max : instant)
  }
  package final func clearDeadline() { deadline = .max }
  package final var isDeadlineSet: Bool { deadline != .max }

  /// The loop ends: the source must close its descriptor.
  func onLoopEnd() {}

  /// Asks for `onTurn`: work that must not be done within the caller's frames.
  final func runSoon() {
    guard !isQueued else { return }
    isQueued = true
    loop.queue(self)
  }
}

/// One thread's event loop: edge-triggered epoll, each descriptor registered once.
package final class EventLoop {
  package let executor: LoopExecutor
  package let configuration: LoopConfiguration
  /// The time as of this turn.
  package var now: MonotonicInstant { turnTime }
  // Properties that other modules can reach by name cost an exclusivity check per access; these are read through functions instead.
  private var turnTime: MonotonicInstant
  package let received: ReceiveBuffer
  /// How many connections live here, those to upstreams included.
  package internal(set) var connections = 0
  /// Told at the end of each turn how long it worked, the wait before it left out: until then nobody else was served.
  package var onTurnEnd: ((Duration) -> Void)?
  /// What owners keep on this loop, by a number that they choose; gone when the loop ends.
  package var attachments: [Int: AnyObject] = [:]

  private let poller: Poller
  /// When the last turn ended.
  private var turnEnd: MonotonicInstant
  private var sources: [EventSource?] = []
  /// Sources without a descriptor, by generation: streams within connections.
  private var virtual: [UInt32: EventSource] = [:]
  private var lastGeneration: UInt32 = 0
  private var turn: [EventSource] = []
  private var wheel: TimerWheel
  private var attached: LoopActor?
  private var stopping = false
  private var hasEnded = false
  private var endObservers: [() -> Void] = []
  private var lastIncident: [LoopIncident: MonotonicInstant] = [:]

  private var sparePipes: [SplicePipe] = []
  private var pipesInUse = 0
  /// Each costs two descriptors and may hold `Relay.step` bytes in the kernel for a slow client.
  private static let mostPipes = 32
  private static let mostSparePipes = 8

  /// How long a stopped loop waits for its tasks.
  private static let lastWait = Duration.seconds(5)

  init(executor: LoopExecutor, configuration: LoopConfiguration) throws(EventLoopError) {
    self.executor = executor
    self.configuration = configuration
    turnTime = configuration.time.monotonicNow()
    turnEnd = turnTime
    received = ReceiveBuffer(bytes: configuration.receiveBuffer)
    wheel = TimerWheel(tick: configuration.tick.wholeNanoseconds, start: turnTime.nanoseconds)
    do { poller = try Poller() } catch { throw .system(error) }
    let waker = Waker(descriptor: executor.wakeup.descriptor, loop: self)
    try register(waker, [.readable, .edgeTriggered])
  }

  // MARK: registration

  /// Registers a source; its events come from the next turn on.
  package func register(_ source: EventSource, _ interest: PollEvents) throws(EventLoopError) {
    guard !stopping else { throw .stopped }
    lastGeneration &+= 1
    source.generation = lastGeneration
    guard source.descriptor >= 0 else {
      virtual[lastGeneration] = source
      return
    }
    let slot = Int(source.descriptor)
    while sources.count <= slot { sources.append(nil) }
    do { try poller.add(source.descriptor, interest, id: source.id.rawValue) } catch { throw .system(error) }
    sources[slot] = source
  }

  /// Puts `successor` into the place of a source on the same descriptor, under an id of its own: events that are on their way to the old one
  /// are stale then. The kernel tells what is there once more.
  package func replace(_ source: EventSource, with successor: EventSource) {
    let slot = Int(source.descriptor)
    guard slot >= 0, slot < sources.count, sources[slot] === source else { return }
    source.deadline = .max
    lastGeneration &+= 1
    successor.generation = lastGeneration
    sources[slot] = successor
    changeInterest(successor, [.readable, .writable, .peerEnded, .edgeTriggered])
  }

  func changeInterest(_ source: EventSource, _ interest: PollEvents) {
    try? poller.change(source.descriptor, interest, id: source.id.rawValue)
  }

  /// Forgets a source whose descriptor is about to be closed (which removes it from epoll).
  package func unregister(_ source: EventSource) {
    source.deadline = .max
    guard source.descriptor >= 0 else {
      virtual[source.generation] = nil
      return
    }
    let slot = Int(source.descriptor)
    guard slot < sources.count, sources[slot] === source else { return }
    sources[slot] = nil
  }

  /// The source of that id while it lives.
  package func source(_ id: SourceID) -> EventSource? {
    guard id.hasDescriptor else { return virtual[id.generation] }
    guard id.slot < sources.count, let source = sources[id.slot], source.generation == id.generation else { return nil }
    return source
  }

  /// Calls `body` with every live source.
  package func forEachSource(_ body: (EventSource) -> Void) {
    for source in sources { if let source { body(source) } }
    for source in virtual.values { body(source) }
  }

  func queue(_ source: EventSource) { turn.append(source) }

  // MARK: pipes for relays

  /// An empty pipe; nil when there are as many relays as may be, or no descriptors left.
  func takePipe() -> SplicePipe? {
    guard pipesInUse < Self.mostPipes, SplicePipe.isAvailable else { return nil }
    var spares = sparePipes
    sparePipes = []
    let spare = spares.popLast()
    sparePipes = spares
    guard let pipe = spare ?? SplicePipe() else { return nil }
    pipesInUse += 1
    return pipe
  }

  /// A pipe that holds bytes is closed: they belong to nobody else.
  func giveBack(_ pipe: SplicePipe, isEmpty: Bool) {
    pipesInUse -= 1
    guard isEmpty, sparePipes.count < Self.mostSparePipes else { return pipe.close() }
    var spares = sparePipes
    sparePipes = []
    spares.append(pipe)
    sparePipes = spares
  }

  // MARK: time

  func arm(_ source: EventSource, _ deadline: Int64) {
    source.deadline = deadline
    // The wheel looks at it before, and then puts it in again.
    if deadline >= source.armedTime { return }
    insert(source, deadline)
  }

  private func insert(_ source: EventSource, _ deadline: Int64) {
    let tick = wheel.tick(for: deadline)
    guard source.armedTick == 0 || tick < source.armedTick else { return }
    source.armedTick = tick
    source.armedTime = wheel.time(of: tick)
    wheel.insert(source.id.rawValue, at: tick)
  }

  private func fireTimers() {
    while let tick = wheel.nextDueTick(now: now.nanoseconds) {
      for raw in wheel.take(tick) {
        guard let source = source(SourceID(rawValue: raw)), source.armedTick == tick else { continue }
        source.armedTick = 0
        source.armedTime = .max
        if source.deadline <= now.nanoseconds {
          source.deadline = .max
          source.onDeadline()
        } else if source.deadline != .max {
          let deadline = source.deadline
          source.deadline = .max
          arm(source, deadline)
        }
      }
    }
  }

  // MARK: tasks and ends

  /// Starts async work that prefers this loop. From the task, objects of the loop are reached by `withLoop` and their ids.
  /// Nil when the loop has ended.
  @discardableResult
  package func spawn(_ body: @escaping @Sendable (LoopActor) async -> Void) -> Task<Void, Never>? {
    guard let actor = attached else { return nil }
    let executor = executor
    executor.taskStarted()
    return Task(executorPreference: executor) {
      await body(actor)
      executor.taskEnded()
    }
  }

  /// The actor of this loop; nil when the loop has ended.
  package var actor: LoopActor? { attached }

  /// Closes everything; the thread ends when the tasks have ended, or after five seconds.
  package func stop() { stopping = true }

  func onEnd(_ observer: @escaping () -> Void) {
    if hasEnded { observer() } else { endObservers.append(observer) }
  }

  /// Tells the operator, at most once per second and kind.
  func report(_ incident: LoopIncident) {
    if let last = lastIncident[incident], last.duration(to: now) < .seconds(1) { return }
    if lastIncident.count > 32 { lastIncident = [:] }
    lastIncident[incident] = now
    configuration.incident(incident)
  }

  func run(actor: LoopActor) {
    attached = actor
    turnTime = configuration.time.monotonicNow()
    while !stopping { runTurn(longestWait: -1) }
    forEachSource { $0.onLoopEnd() }
    let end = now.advanced(by: Self.lastWait)
    while executor.runningTasks > 0, now < end { runTurn(longestWait: 50) }
    finish()
    while !executor.end() { executor.drainOnce() }
  }

  private func finish() {
    hasEnded = true
    onTurnEnd = nil
    let observers = endObservers
    endObservers = []
    for observer in observers { observer() }
    attached = nil
    turn = []
    sources = []
    virtual = [:]
    attachments = [:]
    for pipe in sparePipes { pipe.close() }
    sparePipes = []
  }

  private func runTurn(longestWait: Int32) {
    let wait: Int32
    if !turn.isEmpty || executor.isWaiting { wait = 0 } else { wait = timerWait(longestWait) }
    let count = poller.wait(milliseconds: wait)
    turnTime = configuration.time.monotonicNow()
    for index in 0..<count {
      let (raw, events) = poller.event(index)
      // An event of an earlier owner of this descriptor is stale.
      guard let source = source(SourceID(rawValue: raw)) else { continue }
      source.onEvent(events)
    }
    fireTimers()
    if !turn.isEmpty {
      let due = turn
      turn = []
      for source in due {
        source.isQueued = false
        source.onTurn()
      }
    }
    executor.drainOnce()
    // The next wait is counted from here too.
    turnEnd = configuration.time.monotonicNow()
    onTurnEnd?(now.duration(to: turnEnd))
  }

  private func timerWait(_ longest: Int32) -> Int32 {
    guard let due = wheel.nextDueTime else { return longest }
    let nanoseconds = max(0, due &- turnEnd.nanoseconds)
    let milliseconds = Int32(clamping: nanoseconds / 1_000_000 &+ 1)
    return longest < 0 ? milliseconds : min(longest, milliseconds)
  }
}

private final class Waker: EventSource {
  override func onEvent(_ events: PollEvents) { loop.executor.wakeup.clear() }
}
