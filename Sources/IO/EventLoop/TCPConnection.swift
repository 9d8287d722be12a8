import IntercomCore
import Linux

/// A TCP connection of a loop: a subclass says what happens with the bytes. Edge-triggered; reading resumes through the loop's next turn,
/// never recursively; what the kernel does not take is kept here and the subclass looks at `pendingBytes` before it takes more.
open class TCPConnection: EventSource {
  package final var isClosed: Bool { closed }
  /// The peer has ended its direction; ours may go on.
  package final var peerHasEnded: Bool { peerEnded }
  /// Bytes the kernel has taken, and how often everything that waited was taken.
  package final var sentBytes: Int { sent }
  package final var drains: UInt32 { drained }

  /// Bytes the peer has acknowledged: a system call. The kernel takes much at once and gives it away little by little, so `sentBytes` says
  /// little about how fast a slow peer reads.
  package final var acknowledgedBytes: Int {
    sent &- (carrier?.heldBytes ?? 0) &- (descriptor >= 0 ? Socket.unacknowledged(descriptor) : 0)
  }

  private enum Phase: UInt8 {
    case connecting
    /// The socket is connected, the carrier not yet.
    case agreeing
    case open
    /// Closes when what waits is sent.
    case flushing
    /// Our direction is ended; what still comes is thrown away, so that no RST destroys the last answer on its way.
    case lingering
  }
  // All private, and none is held while other code runs: so the compiler proves each access exclusive instead of asking the runtime.
  private final var phase: Phase
  private final var closed = false
  private final var peerEnded = false
  private final var sent = 0
  private final var drained: UInt32 = 0
  private final var isPaused = false
  private final var hasMore = false
  private final var isBroken = false
  private final var lingers = false
  private final var hasEndedSending = false
  /// What waits for the peer: `waiting` bytes of `pending`, from `pendingStart` on.
  private final var pending: [UInt8] = []
  private final var pendingStart = 0
  private final var waiting = 0
  private final var isReset = false
  /// Nil: the socket itself.
  private final let carrier: (any ByteCarrier)?
  /// The relay that takes this connection's bytes, the one that brings bytes for it, and how many it holds.
  private final var outgoing: Relay?
  private final var incoming: Relay?
  private final var relayed = 0

  /// How long a closed connection still swallows what its client sends.
  private static let lingerTime = Duration.seconds(2)
  /// Reads per turn, so that one busy peer does not hold the others up.
  private static let readsPerTurn = 4

  /// Takes over an open descriptor, or one whose connection has been started (`isConnecting`). Without a descriptor (-1) the carrier is all
  /// there is: it calls `carrierHasMore` and `carrierHasRoom`.
  package init(descriptor: Int32, loop: EventLoop, isConnecting: Bool = false, carrier: (any ByteCarrier)? = nil) {
    phase = isConnecting ? .connecting : .open
    self.carrier = carrier
    super.init(descriptor: descriptor, loop: loop)
  }

  /// Puts the connection into its loop; closes the descriptor when that fails.
  package final func start() throws(EventLoopError) {
    do { try loop.register(self, [.readable, .writable, .peerEnded, .edgeTriggered]) } catch {
      closed = true
      carrier?.close(reset: true)
      if descriptor >= 0 { Socket.close(descriptor) }
      throw error
    }
    if descriptor >= 0 { loop.connections += 1 }
  }

  /// Takes the place of a source that has begun the connection on the same descriptor; what its carrier has read already is seen in the next
  /// turn.
  package final func start(inPlaceOf source: EventSource) {
    loop.replace(source, with: self)
    loop.connections += 1
    hasMore = true
    runSoon()
  }

  // MARK: for the subclass

  /// Bytes came; they are valid during the call only.
  open func onData(_ bytes: borrowing Span<UInt8>) {}
  /// The peer ended its direction. Closes unless overridden.
  open func onPeerEnd() { close() }
  /// The peer ended its direction, but bytes before its end wait because reading is paused; `onPeerEnd` follows when they are read.
  open func onPeerEndAhead() {}
  /// Everything that waited has been sent.
  open func onDrained() {}
  /// A relay has brought bytes to its target.
  open func onRelayed() {}
  /// All bytes of a relay have reached the target's socket. `isClean`: nothing stands behind them yet.
  open func onRelayEnd(isClean: Bool) {}
  /// The connection is closed, by either side; called once.
  open func onClosed() {}
  /// The connection attempt ended: well, or with `connectError`; then the connection is closed already.
  open func onConnected() {}
  package final private(set) var connectError: SystemCallError?
  /// Why the carrier did not come about; the connection attempt ended with it.
  package final private(set) var carrierFailure: CarrierFailure?
  /// Why the other side ended the carrier's connection after it had come about, when it said so.
  package final var carrierRefusal: String? { carrier?.refusal }

  /// Bytes that wait for the peer.
  package final var pendingBytes: Int { waiting &+ relayed }
  package final var isReadingPaused: Bool { isPaused }
  package final var isConnecting: Bool { phase == .connecting || phase == .agreeing }
  /// On the way to being closed: nothing more is read for the subclass.
  package final var isClosing: Bool {
    switch phase {
    case .connecting, .agreeing, .open: closed
    case .flushing, .lingering: true
    }
  }

  package final func pauseReading() { isPaused = true }

  package final func resumeReading() {
    guard isPaused else { return }
    isPaused = false
    if hasMore { runSoon() }
  }

  package final func send(_ bytes: borrowing Span<UInt8>) {
    guard !closed, !isBroken, bytes.count > 0 else { return }
    guard waiting == 0, incoming == nil, !isConnecting else { return keep(bytes) }
    let count = taken(put(bytes))
    if count < bytes.count { keep(bytes.extracting(count...)) }
  }

  /// Both pieces in one system call.
  package final func send(_ first: borrowing Span<UInt8>, _ second: borrowing Span<UInt8>) {
    guard second.count > 0 else { return send(first) }
    guard first.count > 0 else { return send(second) }
    guard !closed, !isBroken else { return }
    guard carrier == nil else { return sendJoined(first, second) }
    guard waiting == 0, incoming == nil, !isConnecting else {
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

  /// A carrier takes one piece: small ones are put together, so that they leave in one record.
  private final func sendJoined(_ first: borrowing Span<UInt8>, _ second: borrowing Span<UInt8>) {
    guard first.count &+ second.count <= Self.joined else {
      send(first)
      return send(second)
    }
    var both = [UInt8](copying: first)
    both.append(copying: second)
    send(both.span)
  }

  /// Closes now; what waits is lost.
  package final func close() {
    guard !closed else { return }
    closed = true
    loop.unregister(self)
    carrier?.close(reset: isReset)
    if descriptor >= 0 {
      loop.connections -= 1
      Socket.close(descriptor)
    }
    forgetPending()
    dropRelays()
    onClosed()
  }

  /// Closes now and lets the peer notice that the transfer is broken (RST).
  package final func abort() {
    guard !closed else { return }
    isReset = true
    if descriptor >= 0 { Socket.setResetOnClose(descriptor) }
    close()
  }

  /// Closes when what waits is sent. With `lingering` (the peer may still be sending) our direction is ended first and the peer gets two
  /// seconds to end its own.
  package final func closeWhenSent(lingering: Bool) {
    guard !isClosing else { return }
    lingers = lingering && !peerEnded && descriptor >= 0
    phase = .flushing
    isPaused = true
    if waiting == 0 { endAfterFlush() }
  }

  // MARK: the machine

  final override func onEvent(_ events: PollEvents) {
    let events = events.rawValue
    if isConnecting {
      if phase == .connecting { connectionAttemptEnded() } else { agree() }
      if closed || phase == .agreeing { return }
    }
    if waiting &+ relayed > 0, events & PollEvents.writable.rawValue != 0 {
      if let incoming { incoming.source.targetIsWritable() } else { flush() }
      if closed { return }
    }
    guard events & ~PollEvents.writable.rawValue != 0 else { return }
    // Both directions are over: what came before is read, and then the connection closes.
    if events & PollEvents.broken.rawValue != 0 { isBroken = !hasEndedSending || events & PollEvents.failed.rawValue != 0 }
    if isPaused, phase != .lingering {
      // While paused the peer's end is read when reading resumes, a broken connection seen at once.
      if isBroken { return close() }
      hasMore = true
      if events & PollEvents.peerEnded.rawValue != 0 { onPeerEndAhead() }
    } else {
      read(mayHaveEnded: isBroken || events & PollEvents.peerEnded.rawValue != 0)
    }
  }

  final override func onTurn() {
    guard !closed else { return }
    // What came before the connection broke is read: perhaps the answer that says why.
    if isBroken { return isPaused ? close() : read(mayHaveEnded: true) }
    if phase == .flushing, waiting == 0 { return endAfterFlush() }
    if isPaused, phase != .lingering { hasMore = true } else if hasMore { read(mayHaveEnded: true) }
    if !closed { afterTurn() }
  }

  /// Asks for `afterTurn` in the next turn: work that must not be done within the caller's frames.
  package final func continueSoon() { runSoon() }
  /// The subclass's part of the next turn.
  open func afterTurn() {}

  final override func onDeadline() {
    guard !closed else { return }
    switch phase {
    case .connecting, .agreeing:
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

  private final func connectionAttemptEnded() {
    if let error = Socket.pendingError(descriptor) {
      clearDeadline()
      connectError = error
      close()
      return onConnected()
    }
    phase = .agreeing
    agree()
  }

  /// Goes on with the carrier's handshake, within the time for connecting.
  private final func agree() {
    switch carrier?.handshake() {
    case .waits: return
    case .failed(let failure):
      clearDeadline()
      carrierFailure = failure
      close()
      return onConnected()
    case .done, nil: break
    }
    clearDeadline()
    phase = .open
    if waiting > 0 { flush() }
    if !closed { onConnected() }
  }

  private final func read(mayHaveEnded: Bool) {
    hasMore = false
    if outgoing != nil { return pump() }
    let buffer = loop.received
    for _ in 0..<Self.readsPerTurn {
      let count = take(into: buffer)
      if count <= 0 { return nothingRead(count) }
      if phase != .lingering { buffer.withBytes(count) { onData($0) } }
      if closed { return }
      if outgoing != nil { return pump() }
      // A short read has emptied the socket, unless the end of the stream is behind it.
      if isDrained(count, buffer), !mayHaveEnded { return }
      if isPaused, phase != .lingering {
        if isBroken { return close() }
        hasMore = true
        return
      }
    }
    hasMore = true
    runSoon()
  }

  private final func nothingRead(_ result: Int) {
    if result == 0 { return ended() }
    if result == Socket.broken || isBroken { close() }
  }

  private final func ended() {
    peerEnded = true
    if phase == .lingering || isBroken && phase != .open { return close() }
    if phase == .flushing {
      lingers = false
    } else {
      onPeerEnd()
      // An error that a write has reported already reads like an orderly end, but there is nobody left to answer.
      if isBroken { close() }
    }
  }

  private final func flush() {
    let count = taken(put(pending.span.extracting(pendingStart...)))
    pendingStart &+= count
    waiting &-= count
    guard waiting == 0 else {
      if pendingStart > 65_536, pendingStart > pending.count / 2 {
        pending.removeFirst(pendingStart)
        pendingStart = 0
      }
      return
    }
    forgetPending()
    drained &+= 1
    if phase == .flushing { endAfterFlush() } else { onDrained() }
  }

  /// Ends our direction now that everything is sent; reading goes on.
  package final func endSending() {
    guard !closed, phase == .open, pendingBytes == 0, !hasEndedSending else { return }
    hasEndedSending = true
    carrier?.endSending()
    if descriptor >= 0 { Socket.shutdownWriting(descriptor) }
  }

  private final func forgetPending() {
    pending = []
    pendingStart = 0
    waiting = 0
  }

  private final func endAfterFlush() {
    guard lingers else { return close() }
    phase = .lingering
    if !hasEndedSending { carrier?.endSending() }
    Socket.shutdownWriting(descriptor)
    setDeadline(after: Self.lingerTime)
    // What came meanwhile was not read: the edge has passed.
    hasMore = true
    runSoon()
  }

  private final func keep(_ bytes: borrowing Span<UInt8>) {
    guard !isBroken else { return }
    pending.append(copying: bytes)
    waiting &+= bytes.count
  }

  private final func put(_ bytes: borrowing Span<UInt8>) -> Int {
    if let carrier { return carrier.send(bytes) }
    return Socket.send(descriptor, bytes)
  }

  private final func take(into buffer: ReceiveBuffer) -> Int {
    if let carrier { return carrier.receive(into: buffer) }
    return buffer.receive(descriptor)
  }

  private final func isDrained(_ count: Int, _ buffer: ReceiveBuffer) -> Bool {
    if let carrier { return carrier.isDrained }
    return count < buffer.capacity
  }

  /// Counts what the kernel took; a broken connection is closed in the next turn, not within the caller's frames.
  private final func taken(_ result: Int) -> Int {
    if result >= 0 {
      sent &+= result
      return result
    }
    if result == Socket.broken {
      isBroken = true
      runSoon()
    }
    return 0
  }

  // MARK: relays

  /// Lets the next `count` bytes of this connection (`.max`: all up to its end) go to `target` without being seen here: `onRelayed` tells of
  /// progress, `onRelayEnd` of the end. False when that cannot be; then they come by `onData` as ever. To be called from `onData`.
  package final func relay(_ count: Int, to target: TCPConnection) -> Bool {
    guard outgoing == nil, carrier == nil, phase == .open, !closed, !isPaused, target.isReadyForRelay, let pipe = loop.takePipe() else {
      return false
    }
    let relay = Relay(from: self, to: target, pipe: pipe, count: count)
    outgoing = relay
    target.incoming = relay
    return true
  }

  private final var isReadyForRelay: Bool { incoming == nil && carrier == nil && waiting == 0 && phase == .open && !closed && !isBroken }

  /// The target of this connection's relay takes no more for now.
  package final var isRelayBlocked: Bool { outgoing?.isBlocked ?? false }

  fileprivate final func targetIsWritable() {
    guard let relay = outgoing, relay.isBlocked, !closed else { return }
    relay.isBlocked = false
    pump()
  }

  private final func pump() {
    guard let relay = outgoing else { return }
    let target = relay.target
    for _ in 0..<Self.readsPerTurn {
      if relay.held == 0 {
        let count = relay.pipe.fill(from: descriptor, atMost: min(relay.left, Relay.step))
        if count <= 0 { return nothingRead(count) }
        relay.took(count)
        target.relayed = count
      }
      let count = target.taken(relay.pipe.drain(into: target.descriptor, count: relay.held))
      guard count > 0 else {
        relay.isBlocked = true
        hasMore = true
        return
      }
      relay.held &-= count
      target.relayed = relay.held
      onRelayed()
      if relay.held == 0 {
        target.drained &+= 1
        if relay.left == 0 { return endRelay(relay) }
      }
    }
    hasMore = true
    runSoon()
  }

  private final func endRelay(_ relay: Relay) {
    dropRelays()
    if relay.target.waiting > 0 { relay.target.flush() }
    // What stands behind the body would look like the next answer to whoever uses this connection next.
    let surplus = loop.received.receive(descriptor)
    if surplus == 0 { peerEnded = true }
    onRelayEnd(isClean: surplus == Socket.wouldBlock)
  }

  private final func dropRelays() {
    if let relay = outgoing.take() { relay.target.forget(relay) }
    if let relay = incoming { relay.source.dropRelays() }
  }

  private final func forget(_ relay: Relay) {
    incoming = nil
    relayed = 0
    loop.giveBack(relay.pipe, isEmpty: relay.held == 0)
  }
}

extension TCPConnection {
  /// Starts a connection that ends with `onConnected`, after `timeOut` at the latest. Throws when the kernel refuses at once.
  package final func startConnecting(timeOut: Duration) throws(EventLoopError) {
    try start()
    setDeadline(after: timeOut)
  }
}

extension TCPConnection {
  /// For a carrier without a descriptor: there is something to be read, the peer's end included.
  package final func carrierHasMore() { onEvent(.readable) }
  /// For a carrier without a descriptor: it takes bytes again.
  package final func carrierHasRoom() { onEvent(.writable) }
  /// For a carrier without a descriptor: the peer is gone, in both directions.
  package final func carrierBroke() { onEvent(.broken) }
}
