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

  private struct Slot {
    var id: SessionID
    var key: SessionKey
    /// Nil: the slot is free.
    var entry: Entry?
    /// Since the hand passed last.
    var isUsed: Bool
  }
  private var slots: [Slot] = []
  private var free: [Int] = []
  private var places: [SessionID: Int] = [:]
  private var placesByKey: [SessionKey: Int] = [:]
  /// Where the next entry to go is looked for.
  private var hand = 0
  /// How many entries in use are passed over for one that goes: the cost of an insertion is bounded.
  private let maximumPassed = 32
  /// The ends of the recent past, with the count at which each arrived.
  private var ended: [SessionKey: UInt64] = [:]
  private var endsSeen: UInt64 = 0
  /// No load may keep a result when the ends before this count have been forgotten since its ticket.
  private var forgottenUpTo: UInt64 = 0
  private let capacity: Int
  private let endsKept: Int

  /// - Parameters:
  ///   - capacity: sessions held at most. When it is full one goes that was not used for a while (second chance, also called clock): a
  ///     session in use stays, however many pass by once.
  ///   - endsKept: ends remembered for loads under way; when more arrive during one load, its result is thrown away.
  package init(capacity: Int = 20_000, endsKept: Int = 4_096) {
    self.capacity = max(1, capacity)
    self.endsKept = max(1, endsKept)
  }

  package var count: Int { places.count }

  /// A look that is no use.
  package subscript(id: SessionID) -> Entry? { places[id].flatMap { slots[$0].entry } }

  /// A look that is no use.
  package subscript(key key: SessionKey) -> Entry? { placesByKey[key].flatMap { slots[$0].entry } }

  /// The entry, which counts as used now.
  package mutating func use(_ id: SessionID) -> Entry? {
    guard let place = places[id] else { return nil }
    slots[place].isUsed = true
    return slots[place].entry
  }

  package func ticket() -> Ticket { Ticket(endsSeen: endsSeen) }

  /// Keeps what was loaded under the ticket. False: the session may have ended meanwhile; treat it as not found and load again.
  package mutating func insert(_ entry: Entry, id: SessionID, key: SessionKey, ticket: Ticket) -> Bool {
    guard ticket.endsSeen >= forgottenUpTo, (ended[key] ?? 0) <= ticket.endsSeen else { return false }
    if let place = places[id] {
      slots[place].entry = entry
      return true
    }
    let slot = Slot(id: id, key: key, entry: entry, isUsed: false)
    if places.count >= capacity { makeRoom() }
    if let place = free.popLast() {
      slots[place] = slot
      note(place)
    } else {
      slots.append(slot)
      note(slots.count - 1)
    }
    return true
  }

  private mutating func note(_ place: Int) {
    places[slots[place].id] = place
    placesByKey[slots[place].key] = place
  }

  /// Drops the first entry under the hand that was not used since it passed last.
  private mutating func makeRoom() {
    var passed = 0
    while true {
      if hand >= slots.count { hand = 0 }
      let place = hand
      hand += 1
      guard slots[place].entry != nil else { return }  // free: there is room
      if slots[place].isUsed, passed < maximumPassed {
        slots[place].isUsed = false
        passed += 1
      } else {
        _ = vacate(place)
        return
      }
    }
  }

  private mutating func vacate(_ place: Int) -> Entry? {
    places[slots[place].id] = nil
    placesByKey[slots[place].key] = nil
    free.append(place)
    defer { slots[place].entry = nil }
    return slots[place].entry
  }

  /// Drops ended sessions and gives back the entries that were held.
  @discardableResult
  package mutating func drop(_ sessions: [EndedSession]) -> [Entry] {
    var dropped: [Entry] = []
    for session in sessions {
      endsSeen &+= 1
      ended[session.key] = endsSeen
      if let place = placesByKey[session.key], let held = vacate(place) { dropped.append(held) }
    }
    if ended.count > endsKept {
      ended.removeAll(keepingCapacity: true)
      forgottenUpTo = endsSeen
    }
    return dropped
  }

  /// Drops one entry that its own loop found to be over; no end is noted.
  package mutating func remove(_ id: SessionID) {
    if let place = places[id] { _ = vacate(place) }
  }
}
