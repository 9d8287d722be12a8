import IntercomCore
import Synchronization

/// How the last call of one service ended, noted by those who called it for reasons of their own: nobody asks the service for its sake.
package final class LastResult: Sendable {
  private enum State {
    case unused
    case works
    case fails(String, since: MonotonicInstant)
  }
  private let isGood = Atomic<Bool>(false)
  private let state = Mutex(State.unused)

  /// At most so many bytes of a reason are kept.
  private static let longestReason = 400

  package init() {}

  /// The last call went well, so that another one is no news: a look for every request.
  package var works: Bool { isGood.load(ordering: .relaxed) }

  package func worked() {
    state.withLock { state in
      state = .works
      isGood.store(true, ordering: .relaxed)
    }
  }

  /// - Parameters:
  ///   - reason: for an operator, free of secrets. What is not printable in it is replaced.
  ///   - now: kept as the beginning of the outage when the call before went well.
  package func failed(_ reason: String, now: MonotonicInstant) {
    let reason = String(
      decoding: reason.utf8.prefix(Self.longestReason).map { $0 >= 0x20 && $0 < 0x7f ? $0 : UInt8(ascii: "?") }, as: UTF8.self)
    state.withLock { state in
      if case .fails(_, let since) = state { state = .fails(reason, since: since) } else { state = .fails(reason, since: now) }
      isGood.store(false, ordering: .relaxed)
    }
  }

  /// Why calls fail, and for how long they have; nil when the last one went well or there was none.
  package func failure(_ now: MonotonicInstant) -> String? {
    guard case .fails(let reason, let since) = state.withLock({ $0 }) else { return nil }
    return "\(reason) since \(max(0, since.duration(to: now).components.seconds)) s"
  }

  /// `ok`, `failing: REASON since N s` or `not used yet`.
  package func text(_ now: MonotonicInstant) -> String {
    if let failure = failure(now) { return "failing: \(failure)" }
    return works ? "ok" : "not used yet"
  }
}

/// The last results of all services of a configuration, in its order.
package struct LastResults: Sendable {
  /// A service as an operator knows it, and where it is: at another address it is another one.
  package struct Service: Sendable, Hashable {
    package var name: Identifier
    package var address: Identifier

    package init(_ name: String, at address: String) {
      self.name = Identifier(name)
      self.address = Identifier(address)
    }
  }
  private var all: [(service: Service, result: LastResult)] = []

  package init() {}

  /// Those of a newer configuration: what is known of services that stay is kept.
  package func renewed(for services: [Service]) -> LastResults {
    var newer = LastResults()
    newer.all = services.map { ($0, self[$0]) }
    return newer
  }

  /// One that nobody lists for a service that is none of these.
  package subscript(service: Service) -> LastResult { all.first { $0.service == service }?.result ?? LastResult() }

  /// A line for each: name and how its last call ended.
  package func lines(_ now: MonotonicInstant) -> [(name: String, text: String)] {
    all.map { ($0.service.name.description, $0.result.text(now)) }
  }
}
