import EventLoop
import IntercomCore
import Sessions
import Synchronization
import Telemetry

/// Hears from the server which sessions others changed (client tracking in broadcast mode), and that nothing was missed: a PING that is answered
/// says that every change of an earlier round of the server's loop has been told on the same connection. A change of the same round is told at
/// its end, and whoever made the change has its answer no sooner. Only then may copies be used for a while.
package final class RedisWatch: Sendable {
  private enum Item {
    case changed([SessionKey])
    case everything
    /// All that stands before it in the queue has been told: copies are good until then.
    case good(until: MonotonicInstant, connection: Int)
  }
  private struct State {
    var queue: [Item] = []
    var isAtWork = false
    var isConnected = false
    /// The number of the connection that is ready and tells what others change; nil while there is none.
    var connection: Int?
    var connections = 0
    var isWithoutCopies = false
    var nextPing = MonotonicInstant(nanoseconds: .min)
    var holder: (any SessionCopyHolder)?
    var failure: String?
  }

  /// What the holders of copies look at.
  package let lease = CopyLease()
  private let state = Mutex(State())
  private let number: Int
  private let time: any TimeSource
  private let log: StructuredLog
  private let metrics: RedisMetrics
  private let repeats = RepeatLimiter()

  /// Four in the time of a lease: one that is late does no harm.
  private static let pingInterval = Duration.milliseconds(250)
  /// Where nothing is told the connection is only kept from being forgotten on its way.
  private static let idlePingInterval = Duration.seconds(5)
  private static let longestQueue = 4_096

  init(number: Int, time: any TimeSource, log: StructuredLog, metrics: RedisMetrics) {
    self.number = number
    self.time = time
    self.log = log
    self.metrics = metrics
  }

  /// From now on this one is told of changes.
  package func attach(_ holder: any SessionCopyHolder) { state.withLock { $0.holder = holder } }

  /// Why there is no connection; nil while there is one.
  package var failure: String? { state.withLock { $0.isConnected ? nil : $0.failure ?? "not connected yet" } }

  // MARK: what the link tells

  func connectionChanged(_ change: RedisLink.Change) {
    switch change {
    case .lost(let reason):
      guard lost(reason) else { return }
      log.limited(
        by: repeats, now: time.monotonicNow(), .error, "session_store_lost",
        "Redis cannot be used; requests that need it are answered 503.", ["reason": .string(reason)])
    case .stopped: _ = lost("the store is closed")
    case .connected(let isTracking): connected(isTracking)
    }
  }

  /// Whether it was there before.
  private func lost(_ reason: String) -> Bool {
    let isNews = state.withLock { state in
      // The lease ends at once: until a connection is back, every request asks the store.
      lease.end()
      defer { state.failure = reason }
      // Once for an outage, however often it is tried to connect.
      if state.isConnected { state.queue = [.everything] }
      state.isConnected = false
      state.connection = nil
      return state.failure == nil
    }
    metrics.changed(isConnected: false)
    work()
    return isNews
  }

  private func connected(_ isTracking: Bool) {
    let (isBack, isNewlyWithout) = state.withLock { state in
      state.isConnected = true
      state.connections += 1
      state.connection = isTracking ? state.connections : nil
      state.nextPing = MonotonicInstant(nanoseconds: .min)
      state.queue.append(.everything)
      defer { (state.failure, state.isWithoutCopies) = (nil, !isTracking) }
      return (state.failure != nil, !isTracking && !state.isWithoutCopies)
    }
    metrics.changed(isConnected: true)
    work()
    if isBack { log.limited(by: repeats, now: time.monotonicNow(), .info, "session_store_back", "Redis can be used again.") }
    guard isNewlyWithout else { return }
    log.warning(
      "session_copies_off", "Redis refuses CLIENT TRACKING: every request reads its session from it. Allow the command for Intercom's user."
    )
  }

  /// `invalidate` with the names of records, or with null when all were removed. Others are not ours.
  func told(_ elements: [RESP3Value]) {
    guard elements.count == 2, elements[0].bytes?.elementsEqual("invalidate".utf8) ?? false else { return }
    let item: Item
    if let names = elements[1].elements {
      let keys = names.compactMap { $0.bytes.flatMap { RedisKeys.session(named: $0) } }
      guard !keys.isEmpty else { return }
      item = .changed(keys)
    } else {
      item = .everything
    }
    state.withLock { state in
      // Whoever is told is stuck: all that waits is put into one word, and copies are not good until it was heard.
      if state.queue.count >= Self.longestQueue { state.queue = [.everything] } else { state.queue.append(item) }
    }
    work()
  }

  /// Asks for a sign of life when it is time.
  func tick(_ link: RedisLink, _ now: MonotonicInstant) {
    let (isDue, connection) = state.withLock { state in
      guard state.isConnected, state.nextPing <= now else { return (false, nil as Int?) }
      state.nextPing = now.advanced(by: state.connection == nil ? Self.idlePingInterval : Self.pingInterval)
      return (true, state.connection)
    }
    guard isDue else { return }
    // From before it is sent: what the server told later than that is not counted on.
    let sent = time.monotonicNow()
    link.call(
      RedisCall(RedisCommands(words("PING")), .greeting, until: sent.advanced(by: CopyLease.length)) { [weak self] result in
        // An error is no sign of life: while a script keeps the server busy it says so, and tells no changes.
        guard case .success(let answers) = result, answers.first?.bytes == Array("PONG".utf8), let connection else { return }
        self?.answered(connection, sent.advanced(by: CopyLease.length))
      })
  }

  private func answered(_ connection: Int, _ until: MonotonicInstant) {
    state.withLock { $0.queue.append(.good(until: until, connection: connection)) }
    work()
  }

  // MARK: telling the holder

  /// Works the queue off in its order, one at a time.
  private func work() {
    let begins = state.withLock { state in
      guard !state.isAtWork, !state.queue.isEmpty else { return false }
      state.isAtWork = true
      return true
    }
    guard begins else { return }
    Task {
      while let items = self.take() { for item in items { await self.carryOut(item) } }
    }
  }

  private func take() -> [Item]? {
    state.withLock { state in
      guard !state.queue.isEmpty else {
        state.isAtWork = false
        return nil
      }
      let items = state.queue
      state.queue = []
      return Self.joined(items)
    }
  }

  /// Changes that stand side by side are told together.
  private static func joined(_ items: [Item]) -> [Item] {
    items.reduce(into: []) { joined, item in
      if case .changed(let keys) = item, case .changed(let before)? = joined.last {
        joined[joined.count - 1] = .changed(before + keys)
      } else {
        joined.append(item)
      }
    }
  }

  private func carryOut(_ item: Item) async {
    let holder = state.withLock { $0.holder }
    switch item {
    case .changed(let keys): await holder?.sessionsChanged(keys)
    case .everything: await holder?.allSessionsChanged()
    case .good(let until, let connection):
      // Under the lock that the loss of the connection takes too: it cannot be overtaken.
      state.withLock { state in if state.connection == connection { lease.extend(until) } }
    }
  }
}
