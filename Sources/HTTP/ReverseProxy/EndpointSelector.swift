import IntercomCore

/// How a route's requests are shared among its endpoints.
package enum Balance: String, Sendable, Hashable, CaseIterable {
  /// One after the other.
  case roundRobin
  /// The one with the fewest requests of this loop under way.
  case leastRequest
}

/// Which endpoints of a route were tried for one request, by position.
package struct EndpointSet: Sendable, Hashable {
  private var bits: UInt64 = 0
  package init() {}
  package var count: Int { bits.nonzeroBitCount }
  package func contains(_ index: Int) -> Bool { index < 64 && bits & 1 << UInt64(index) != 0 }
  package mutating func insert(_ index: Int) { if index < 64 { bits |= 1 << UInt64(index) } }
}

/// Chooses an endpoint for each request of a route; no clock and no connections inside.
package struct EndpointSelector: Sendable, Hashable {
  /// One endpoint as it is at this moment.
  package struct Candidate: Sendable, Hashable {
    package var state: EndpointHealth.State
    /// Requests under way.
    package var load: Int
    /// Whether one more can be sent: an idle connection is there or another may be opened.
    package var hasRoom: Bool

    package init(state: EndpointHealth.State = .inService, load: Int = 0, hasRoom: Bool = true) {
      self.state = state
      self.load = load
      self.hasRoom = hasRoom
    }
  }

  package enum Choice: Sendable, Hashable {
    case use(Int, isProbe: Bool)
    /// Every endpoint that works has as many connections as it may.
    case full
    /// All are out because they hang; the first may be tried again at this instant.
    case paused(until: MonotonicInstant)
    /// Every endpoint was tried for this request.
    case none
  }

  private let balance: Balance
  /// Where the next search begins.
  private var next: Int

  /// - Parameter start: where the first search begins; different on each loop, or all loops would go to the same endpoint at once.
  package init(_ balance: Balance, start: Int = 0) {
    self.balance = balance
    next = max(0, start)
  }

  /// The endpoint for one more request.
  /// - Parameters:
  ///   - count: how many there are.
  ///   - tried: those that this request has tried already.
  package mutating func choose(
    of count: Int, tried: EndpointSet = EndpointSet(), now: MonotonicInstant, _ candidate: (Int) -> Candidate
  ) -> Choice {
    guard count > 0 else { return .none }
    let first = next % count
    var best: (index: Int, load: Int)?
    var out = Outage()
    var isFull = false
    for step in 0..<count {
      let index = first + step < count ? first + step : first + step - count
      guard !tried.contains(index) else { continue }
      let one = candidate(index)
      switch one.state {
      case .inService:
        guard one.hasRoom else {
          isFull = true
          continue
        }
        if balance == .leastRequest, let best, best.load <= one.load { continue }
        best = (index, one.load)
      case .out(_, let until) where until <= now && one.hasRoom:
        // Its turn, and its pause is over: one request tries, and ends the pause for all others.
        next = index + 1
        return .use(index, isProbe: true)
      case .out(let cause, let until): out.note(index, cause, until, one.hasRoom)
      case .probing(let cause): out.note(index, cause, nil, one.hasRoom)
      }
      if best != nil, balance == .roundRobin { break }
    }
    if let best {
      next = best.index + 1
      return .use(best.index, isProbe: false)
    }
    if isFull { return .full }
    return out.choice(now: now)
  }

  /// What is left when no endpoint is in service.
  private struct Outage {
    private var unreachable: (index: Int, until: MonotonicInstant)?
    private var isUnreachableFull = false
    private var hangsUntil: MonotonicInstant?
    private static let unknown = MonotonicInstant(nanoseconds: .max)

    mutating func note(_ index: Int, _ cause: EndpointHealth.Cause, _ until: MonotonicInstant?, _ hasRoom: Bool) {
      let until = until ?? Self.unknown
      if cause == .hanging {
        hangsUntil = min(hangsUntil ?? until, until)
      } else if !hasRoom {
        isUnreachableFull = true
      } else if until < unreachable?.until ?? Self.unknown || unreachable == nil {
        unreachable = (index, until)
      }
    }

    /// Never all of them out: an attempt that fails at once costs little, and the outage may be one of this side's network. One that hangs
    /// is another matter: it takes its requests and keeps them.
    func choice(now: MonotonicInstant) -> Choice {
      if let unreachable { return .use(unreachable.index, isProbe: false) }
      if isUnreachableFull { return .full }
      guard let hangsUntil else { return .none }
      // While the probe is under way nobody knows how long it takes.
      return .paused(until: hangsUntil == Self.unknown ? now.advanced(by: .seconds(1)) : hangsUntil)
    }
  }
}
