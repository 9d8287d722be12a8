import IntercomCore
import Linux

/// A TCP connection of a loop: a subclass says what happens with the bytes. Edge-triggered; reading resumes through the loop's next turn,
/// never recursively; what the kernel does not take is kept here and the subclass looks at `pendingBytes` before it takes more.
open class TCPConnection: EventSource {
  package final private(set) var isClosed = false
  /// The peer has ended its direction; ours may go on.
  package final private(set) var peerHasEnded = false
  /// Bytes the kernel has taken, and how often everything that waited was taken.
  package final private(set) var sentBytes = 0
  package final private(set) var drains: UInt32 = 0

  /// Bytes the peer has acknowledged: a system call. The kernel takes much at once and gives it away little by little, so `sentBytes` says
  /// little about how fast a slow peer reads.
  package final var acknowledgedBytes: Int { sentBytes &- Socket.unacknowledged(descriptor) }

  private enum Phase: UInt8 {
    case connecting
    case open
    /// Closes when what waits is sent.
    case flushing
    /// Our direction is ended; what still comes is thrown away, so that no RST destroys the last answer on its way.
    case lingering
  }
  private final var phase: Phase
  private final var isPaused = false
  private final var hasMore = false
  private final var isBroken = false
  private final var lingers = false
  private final var pending: [UInt8] = []
  private final var pendingStart = 0

  /// How long a closed connection still swallows what its client sends.
  private static let lingerTime = Duration.seconds(2)
  /// Reads per turn, so that one busy peer does not hold the others up.
  private static let readsPerTurn = 4

  /// Takes over an open descriptor, or one whose connection has been started (`isConnecting`).
  package init(descriptor: Int32, loop: EventLoop, isConnecting: Bool = false) {
    phase = isConnecting ? .connecting : .open
    super.init(descriptor: descriptor, loop: loop)
  }

  /// Puts the connection into its loop; closes the descriptor when that fails.
  package final func start() throws(EventLoopError) {
    do { try loop.register(self, [.readable, .writable, .peerEnded, .edgeTriggered]) } catch {
      isClosed = true
      Socket.close(descriptor)
      throw error
    }
    loop.connections += 1
  }

  // MARK: for the subclass

  /// Bytes came; they are valid during the call only.
  open func onData(_ bytes: borrowing Span<UInt8>) {}
  /// The peer ended its direction. Closes unless overridden.
  open func onPeerEnd() { close() }
  /// Everything that waited has been sent.
  open func onDrained() {}
  /// The connection is closed, by either side; called once.
  open func onClosed() {}
  /// The connection attempt ended: well, or with `connectError`; then the connection is closed already.
  open func onConnected() {}
  package final private(set) var connectError: SystemCallError?

  /// Bytes that wait for the peer.
  package final var pendingBytes: Int { pending.count &- pendingStart }
  package final var isReadingPaused: Bool { isPaused }
  package final var isConnecting: Bool { phase == .connecting }
  /// On the way to being closed: nothing more is read for the subclass.
  package final var isClosing: Bool { isClosed || phase == .flushing || phase == .lingering }

  package final func pauseReading() { isPaused = true }

  package final func resumeReading() {
    guard isPaused else { return }
    isPaused = false
    if hasMore { runSoon() }
  }

  package final func send(_ bytes: borrowing Span<UInt8>) {
    guard !isClosed, !isBroken, bytes.count > 0 else { return }
    guard pendingBytes == 0, phase != .connecting else { return keep(bytes) }
    let count = taken(Socket.send(descriptor, bytes))
    if count < bytes.count { keep(bytes.extracting(count...)) }
  }

  /// Both pieces in one system call.
  package final func send(_ first: borrowing Span<UInt8>, _ second: borrowing Span<UInt8>) {
    guard second.count > 0 else { return send(first) }
    guard first.count > 0 else { return send(second) }
    guard !isClosed, !isBroken else { return }
    guard pendingBytes == 0, phase != .connecting else {
      keep(first)
      return keep(second)
    }
    let count = taken(Socket.send(descriptor, first, second))
    if count < first.count {
      keep(first.extracting(count...))
      keep(second)
    } else if count &- first.count < second.count {
      keep(second.extracting((count &- first.count)...))
    }
  }

  /// Closes now; what waits is lost.
  package final func close() {
    guard !isClosed else { return }
    isClosed = true
    loop.connections -= 1
    loop.unregister(self)
    Socket.close(descriptor)
    pending = []
    pendingStart = 0
    onClosed()
  }

  /// Closes now and lets the peer notice that the transfer is broken (RST).
  package final func abort() {
    guard !isClosed else { return }
    Socket.setResetOnClose(descriptor)
    close()
  }

  /// Closes when what waits is sent. With `lingering` (the peer may still be sending) our direction is ended first and the peer gets two
  /// seconds to end its own.
  package final func closeWhenSent(lingering: Bool) {
    guard !isClosing else { return }
    lingers = lingering && !peerHasEnded
    phase = .flushing
    isPaused = true
    if pendingBytes == 0 { endAfterFlush() }
  }

  // MARK: the machine

  final override func onEvent(_ events: PollEvents) {
    if phase == .connecting {
      connectionAttemptEnded()
      if isClosed { return }
    }
    if events.contains(.writable), pendingBytes > 0 {
      flush()
      if isClosed { return }
    }
    guard !events.isSubset(of: .writable) else { return }
    // Both directions are over: what came before is read, and then the connection closes.
    if !events.isDisjoint(with: .broken) { isBroken = true }
    if isPaused, phase != .lingering {
      // While paused the peer's end is seen when reading resumes, a broken connection at once.
      if isBroken { close() } else { hasMore = true }
    } else {
      read(mayHaveEnded: isBroken || events.contains(.peerEnded))
    }
  }

  final override func onTurn() {
    guard !isClosed else { return }
    // What came before the connection broke is read: perhaps the answer that says why.
    if isBroken { return isPaused ? close() : read(mayHaveEnded: true) }
    if phase == .flushing, pendingBytes == 0 { return endAfterFlush() }
    if isPaused, phase != .lingering { hasMore = true } else if hasMore { read(mayHaveEnded: true) }
    if !isClosed { afterTurn() }
  }

  /// Asks for `afterTurn` in the next turn: work that must not be done within the caller's frames.
  package final func continueSoon() { runSoon() }
  /// The subclass's part of the next turn.
  open func afterTurn() {}

  final override func onDeadline() {
    guard !isClosed else { return }
    switch phase {
    case .connecting:
      connectError = .timedOut
      close()
      onConnected()
    case .lingering: close()
    case .open, .flushing: onTimeOut()
    }
  }

  /// The deadline passed. Closes unless overridden.
  open func onTimeOut() { close() }

  final override func onLoopEnd() { close() }

  private func connectionAttemptEnded() {
    clearDeadline()
    if let error = Socket.pendingError(descriptor) {
      connectError = error
      close()
      return onConnected()
    }
    phase = .open
    if pendingBytes > 0 { flush() }
    if !isClosed { onConnected() }
  }

  private func read(mayHaveEnded: Bool) {
    hasMore = false
    for _ in 0..<Self.readsPerTurn {
      let count = loop.received.receive(descriptor)
      if count == Socket.wouldBlock { return isBroken ? close() : () }
      if count == Socket.broken { return close() }
      if count == 0 { return ended() }
      if phase != .lingering { loop.received.withBytes(count) { onData($0) } }
      if isClosed { return }
      // A short read has emptied the socket, unless the end of the stream is behind it.
      if count < loop.received.capacity, !mayHaveEnded { return }
      if isPaused, phase != .lingering {
        if isBroken { return close() }
        hasMore = true
        return
      }
    }
    hasMore = true
    runSoon()
  }

  private func ended() {
    peerHasEnded = true
    if phase == .lingering || isBroken && phase != .open { return close() }
    if phase == .flushing {
      lingers = false
    } else {
      onPeerEnd()
      // An error that a write has reported already reads like an orderly end, but there is nobody left to answer.
      if isBroken { close() }
    }
  }

  private func flush() {
    let count = taken(Socket.send(descriptor, pending.span.extracting(pendingStart...)))
    pendingStart &+= count
    guard pendingBytes == 0 else {
      if pendingStart > 65_536, pendingStart > pending.count / 2 {
        pending.removeFirst(pendingStart)
        pendingStart = 0
      }
      return
    }
    pending = []
    pendingStart = 0
    drains &+= 1
    if phase == .flushing { endAfterFlush() } else { onDrained() }
  }

  private func endAfterFlush() {
    guard lingers else { return close() }
    phase = .lingering
    Socket.shutdownWriting(descriptor)
    setDeadline(after: Self.lingerTime)
    // What came meanwhile was not read: the edge has passed.
    hasMore = true
    runSoon()
  }

  private func keep(_ bytes: borrowing Span<UInt8>) {
    guard !isBroken else { return }
    pending.append(copying: bytes)
  }

  /// Counts what the kernel took; a broken connection is closed in the next turn, not within the caller's frames.
  private func taken(_ result: Int) -> Int {
    if result >= 0 {
      sentBytes &+= result
      return result
    }
    if result == Socket.broken {
      isBroken = true
      runSoon()
    }
    return 0
  }
}

extension TCPConnection {
  /// Starts a connection that ends with `onConnected`, after `timeOut` at the latest. Throws when the kernel refuses at once.
  package final func startConnecting(timeOut: Duration) throws(EventLoopError) {
    try start()
    setDeadline(after: timeOut)
  }
}
