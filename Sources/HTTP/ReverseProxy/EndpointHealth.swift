import IntercomCore

/// When an endpoint is out of service, and for how long.
package struct HealthRules: Sendable, Hashable {
  /// Connections in a row that could not be opened.
  package var failures = 3
  /// Requests in a row that got no head of an answer within their time.
  package var timeouts = 10
  /// The first pause; each one after it is twice as long, up to `longestPause`.
  package var firstPause = Duration.seconds(1)
  package var longestPause = Duration.seconds(30)

  package init() {}

  /// The pause after `outages` others, shortened by up to a half: the loops and instances that saw the same failure must not all come back
  /// in the same moment.
  package func pause(after outages: Int, jitter: UInt16) -> Duration {
    let doubled = firstPause * (1 << min(max(outages, 0), 16))
    let whole = min(doubled, max(longestPause, firstPause))
    return whole - whole / 2 * Int(jitter) / Int(UInt16.max)
  }
}

/// Whether requests should go to one endpoint, learned from how earlier ones fared; no clock inside.
///
/// What is counted are connections that could not be opened and answers that did not begin in time. An answer is one, whatever its status:
/// a 5xx says that the endpoint works, and taking it away from everybody because of one failing page would make a small fault a large one.
package struct EndpointHealth: Sendable, Hashable {
  package enum Cause: String, Sendable, Hashable, CaseIterable {
    /// Connections cannot be opened, or its name has no address.
    case unreachable
    /// It takes requests and does not answer: each one would hold a client and a connection for the whole time limit.
    case hanging
  }

  package enum State: Sendable, Hashable {
    case inService
    case out(Cause, until: MonotonicInstant)
    /// The pause is over and one request tries.
    case probing(Cause)
  }

  /// What an event changed, for the log.
  package enum Change: Sendable, Hashable {
    case wentOut(Cause, Duration)
    case stayedOut(Cause, Duration)
    case cameBack(Cause)
  }

  package private(set) var state = State.inService
  private var failures = 0
  private var timeouts = 0
  private var outages = 0

  package init() {}

  /// The usual case, which needs no further look.
  package var isInService: Bool { state == .inService }
  /// Whether an answer is news.
  package var mindsAnswers: Bool { timeouts != 0 || outages != 0 }

  /// A request that was let through because the pause is over is on its way.
  package mutating func beginProbe() {
    if case .out(let cause, _) = state { state = .probing(cause) }
  }

  /// The probe ended and proved nothing (its client went away): the next request tries.
  package mutating func endProbe(now: MonotonicInstant) {
    if case .probing(let cause) = state { state = .out(cause, until: now) }
  }

  /// A connection was opened.
  package mutating func connected() -> Change? {
    failures = 0
    switch state {
    case .out(.unreachable, _), .probing(.unreachable):
      // Whether it answers is another question: `outages` goes on until it does, so that pauses of one that accepts and hangs grow too.
      state = .inService
      return .cameBack(.unreachable)
    default: return nil
    }
  }

  /// The head of an answer came, whatever it says.
  package mutating func answered() -> Change? {
    let before = state
    self = EndpointHealth()
    switch before {
    case .inService: return nil
    case .out(let cause, _), .probing(let cause): return .cameBack(cause)
    }
  }

  /// No connection could be opened.
  package mutating func connectFailed(isProbe: Bool, now: MonotonicInstant, jitter: UInt16, rules: HealthRules) -> Change? {
    failures = min(failures + 1, 1_000_000)
    return failed(.unreachable, isOver: failures >= rules.failures, isProbe, now, jitter, rules)
  }

  /// A request was sent and no answer began in its time.
  package mutating func timedOut(isProbe: Bool, now: MonotonicInstant, jitter: UInt16, rules: HealthRules) -> Change? {
    timeouts = min(timeouts + 1, 1_000_000)
    return failed(.hanging, isOver: timeouts >= rules.timeouts, isProbe, now, jitter, rules)
  }

  private mutating func failed(
    _ cause: Cause, isOver: Bool, _ isProbe: Bool, _ now: MonotonicInstant, _ jitter: UInt16, _ rules: HealthRules
  ) -> Change? {
    let wasIn = isInService
    // Requests that were under way when it went out say nothing new: only a probe's failure makes the pause longer.
    guard wasIn ? isOver : isProbe else { return nil }
    let pause = rules.pause(after: outages, jitter: jitter)
    outages = min(outages + 1, 1_000)
    state = .out(cause, until: now.advanced(by: pause))
    return wasIn ? .wentOut(cause, pause) : .stayedOut(cause, pause)
  }
}
