import IntercomCore
import Sessions

/// The loop's copies of live sessions, by the cookie's text: found without a hash function, a lock or the store.
///
/// Open addressing with linear probing. Where an entry stands follows from its text and a secret number: the ids that are kept are random, but
/// whoever signs in often could choose among many those that stand in one another's way.
package final class SessionTable {
  private struct Slot {
    /// 0: the slot is free.
    var mark: UInt64 = 0
    var view: SessionView?
  }
  /// A power of two, at most half of them taken.
  private var slots: [Slot]
  private var shift: UInt64
  private var byKey: [SessionKey: SessionView] = [:]
  /// Tokens that clients bring in place of a session.
  let bearers = BearerTable()
  private var ends: SessionEnds
  /// Where the next entry to go is looked for.
  private var hand = 0
  private let capacity: Int
  private let multiplier: UInt64
  /// How many entries in use are passed over for one that goes: the cost of an insertion is bounded.
  private static let maximumPassed = 32
  private static let fewestSlots = 64

  /// - Parameters:
  ///   - capacity: sessions held at most. When it is full one goes that was not used for a while (second chance, also called clock): a
  ///     session in use stays, however many pass by once.
  ///   - endsKept: ends remembered for loads under way, see `SessionEnds`.
  package init(capacity: Int = 20_000, endsKept: Int = 4_096, random: any RandomSource = SystemRandom()) {
    self.capacity = max(1, capacity)
    ends = SessionEnds(kept: endsKept)
    multiplier = random.bytes(8).reduce(0) { $0 << 8 | UInt64($1) } | 1
    slots = Array(repeating: Slot(), count: Self.fewestSlots)
    shift = UInt64(64 &- Self.fewestSlots.trailingZeroBitCount)
  }

  package var count: Int { byKey.count }

  /// The copy of the session whose cookie has this text. It counts as used now.
  @inline(__always) func use(_ text: SessionText) -> SessionView? {
    let mark = mark(of: text)
    let slots = slots
    var place = home(of: mark)
    while slots[place].mark != 0 {
      if slots[place].mark == mark, let view = slots[place].view, view.text.isSame(as: text) {
        view.isUsed = true
        return view
      }
      place = (place &+ 1) & (slots.count &- 1)
    }
    return nil
  }

  /// The same by the id.
  package subscript(id: SessionID) -> SessionView? { SessionText(id).flatMap { use($0) } }

  /// A look that is no use.
  package subscript(key key: SessionKey) -> SessionView? { byKey[key] }

  @inline(__always) private func mark(of text: SessionText) -> UInt64 {
    let product = text.first.multipliedFullWidth(by: multiplier)
    return (product.high ^ product.low) | 1
  }

  @inline(__always) private func home(of mark: UInt64) -> Int { Int(truncatingIfNeeded: mark &>> shift) }

  // MARK: keeping

  package func ticket() -> SessionEnds.Ticket { ends.ticket() }

  /// Keeps what was loaded under the ticket. False: the session may have ended meanwhile; treat it as not found and load again.
  package func insert(_ view: SessionView, ticket: SessionEnds.Ticket) -> Bool {
    let key = view.session.key
    guard ends.allows(key, ticket) else { return false }
    if let held = byKey[key] { vacate(held) }
    if byKey.count >= capacity { makeRoom() }
    if byKey.count &* 2 >= slots.count { grow() }
    byKey[key] = view
    put(view)
    return true
  }

  private func put(_ view: SessionView) {
    var slots = takeSlots()
    let mark = mark(of: view.text)
    var place = home(of: mark)
    while slots[place].mark != 0 { place = (place &+ 1) & (slots.count &- 1) }
    slots[place] = Slot(mark: mark, view: view)
    self.slots = slots
  }

  /// Out of the property, to be put back: an access within which nothing is called needs no check, when it reads either.
  private func takeSlots() -> [Slot] {
    let taken = slots
    slots = []
    return taken
  }

  private func grow() {
    let old = slots
    slots = Array(repeating: Slot(), count: old.count &* 2)
    shift &-= 1
    hand = 0
    for slot in old { if let view = slot.view { put(view) } }
  }

  /// Drops the first entry under the hand that was not used since it passed last.
  private func makeRoom() {
    var passed = 0
    while !byKey.isEmpty {
      hand = (hand &+ 1) & (slots.count &- 1)
      guard let view = slots[hand].view else { continue }
      if view.isUsed, passed < Self.maximumPassed {
        view.isUsed = false
        passed &+= 1
      } else {
        return vacate(view)
      }
    }
  }

  private func vacate(_ view: SessionView) {
    byKey[view.session.key] = nil
    var slots = takeSlots()
    defer { self.slots = slots }
    let mask = slots.count &- 1
    var hole = home(of: mark(of: view.text))
    while slots[hole].view !== view {
      guard slots[hole].mark != 0 else { return }
      hole = (hole &+ 1) & mask
    }
    // Those behind it that the hole would cut off from their home move up.
    var next = (hole &+ 1) & mask
    while slots[next].mark != 0 {
      let distance = (next &- home(of: slots[next].mark)) & mask
      if distance >= (next &- hole) & mask {
        slots[hole] = slots[next]
        hole = next
      }
      next = (next &+ 1) & mask
    }
    slots[hole] = Slot()
  }

  // MARK: dropping

  /// Drops ended sessions with all that was made ready for them, and says how many were held.
  @discardableResult
  package func drop(_ sessions: [EndedSession]) -> Int {
    ends.note(sessions.map(\.key))
    var dropped = 0
    for session in sessions {
      guard let view = byKey[session.key] else { continue }
      vacate(view)
      dropped &+= 1
    }
    return dropped
  }

  /// Drops copies of sessions that others have changed; what is being read at this moment is not kept either, for it may be older.
  package func forget(_ keys: [SessionKey]) {
    ends.note(keys)
    for key in keys { if let view = byKey[key] { vacate(view) } }
  }

  /// Drops every copy.
  package func forgetAll() {
    ends.noteAll()
    byKey = [:]
    slots = Array(repeating: Slot(), count: slots.count)
    hand = 0
  }

  /// Drops one entry that its own loop found to be over; no end is noted.
  package func remove(_ id: SessionID) {
    if let view = self[id] { vacate(view) }
  }
}
