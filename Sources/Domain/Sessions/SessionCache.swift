import IntercomCore

/// A loop's own copies of sessions, by the id in the cookie: found without hashing by SHA-256, without a lock and without the store.
///
/// It solves the race of a load with an end: what was read before an end arrived must not be kept after it. The loop asks for a ticket before it
/// loads and hands it back with the result.
package struct SessionCache<Entry> {
  /// Given before a load, handed back with its result.
  package struct Ticket: Sendable {
    fileprivate let endsSeen: UInt64
  }

  private var entries: [SessionID: (key: SessionKey, entry: Entry)] = [:]
  private var ids: [SessionKey: SessionID] = [:]
  /// The ends of the recent past, with the count at which each arrived.
  private var ended: [SessionKey: UInt64] = [:]
  private var endsSeen: UInt64 = 0
  /// No load may keep a result when the ends before this count have been forgotten since its ticket.
  private var forgottenUpTo: UInt64 = 0
  private let capacity: Int
  private let endsKept: Int

  /// - Parameters:
  ///   - capacity: sessions held at most; the whole cache is dropped when it is full, for it refills from the store.
  ///   - endsKept: ends remembered for loads under way; when more arrive during one load, its result is thrown away.
  package init(capacity: Int = 20_000, endsKept: Int = 4_096) {
    self.capacity = max(1, capacity)
    self.endsKept = max(1, endsKept)
  }

  package var count: Int { entries.count }

  package subscript(id: SessionID) -> Entry? { entries[id]?.entry }

  /// Changes the entry in place; false when there is none.
  @discardableResult
  package mutating func update(_ id: SessionID, _ change: (inout Entry) -> Void) -> Bool {
    guard var found = entries[id] else { return false }
    change(&found.entry)
    entries[id] = found
    return true
  }

  package func ticket() -> Ticket { Ticket(endsSeen: endsSeen) }

  /// Keeps what was loaded under the ticket. False: the session may have ended meanwhile; treat it as not found and load again.
  package mutating func insert(_ entry: Entry, id: SessionID, key: SessionKey, ticket: Ticket) -> Bool {
    guard ticket.endsSeen >= forgottenUpTo, (ended[key] ?? 0) <= ticket.endsSeen else { return false }
    if entries.count >= capacity, entries[id] == nil {
      entries.removeAll(keepingCapacity: true)
      ids.removeAll(keepingCapacity: true)
    }
    entries[id] = (key, entry)
    ids[key] = id
    return true
  }

  /// Drops ended sessions and gives back the entries that were held.
  @discardableResult
  package mutating func drop(_ sessions: [EndedSession]) -> [Entry] {
    var dropped: [Entry] = []
    for session in sessions {
      endsSeen &+= 1
      ended[session.key] = endsSeen
      guard let id = ids.removeValue(forKey: session.key), let held = entries.removeValue(forKey: id) else { continue }
      dropped.append(held.entry)
    }
    if ended.count > endsKept {
      ended.removeAll(keepingCapacity: true)
      forgottenUpTo = endsSeen
    }
    return dropped
  }

  /// Drops one entry that its own loop found to be over; no end is noted.
  package mutating func remove(_ id: SessionID) {
    if let held = entries.removeValue(forKey: id) { ids[held.key] = nil }
  }
}
