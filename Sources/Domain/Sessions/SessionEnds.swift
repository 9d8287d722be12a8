import IntercomCore

/// The ends that one holder of copies has heard of, for the race of a load with an end: what was read before an end arrived must not be kept
/// after it. The holder takes a ticket before it loads, and asks with it whether the result may be kept.
package struct SessionEnds {
  /// Given before a load, handed back with its result.
  package struct Ticket: Sendable {
    fileprivate let seen: UInt64
  }

  /// The ends of the recent past, with the count at which each arrived.
  private var ended: [SessionKey: UInt64] = [:]
  private var seen: UInt64 = 0
  /// No load may keep a result when the ends before this count have been forgotten since its ticket.
  private var forgottenUpTo: UInt64 = 0
  private let kept: Int

  /// - Parameter kept: ends remembered for loads under way; when more arrive during one load, its result is thrown away.
  package init(kept: Int = 4_096) { self.kept = max(1, kept) }

  package func ticket() -> Ticket { Ticket(seen: seen) }

  /// False: the session may have ended since the ticket was given; treat it as not found and load again.
  package func allows(_ key: SessionKey, _ ticket: Ticket) -> Bool {
    ticket.seen >= forgottenUpTo && (ended[key] ?? 0) <= ticket.seen
  }

  /// These have ended: from now on no ticket given before allows them.
  package mutating func note(_ keys: [SessionKey]) {
    for key in keys {
      seen &+= 1
      ended[key] = seen
    }
    if ended.count > kept { noteAll() }
  }

  /// Any may have ended: no ticket given before allows anything.
  package mutating func noteAll() {
    seen &+= 1
    ended.removeAll(keepingCapacity: true)
    forgottenUpTo = seen
  }
}
