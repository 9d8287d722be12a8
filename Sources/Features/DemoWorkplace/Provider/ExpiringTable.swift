import IntercomCore

/// A table whose entries end, and which never holds more than its capacity: what ends soonest makes room.
struct ExpiringTable<Value> {
  private struct Entry {
    var value: Value
    var end: WallInstant
  }
  private let capacity: Int
  private var entries: [Identifier: Entry] = [:]

  init(capacity: Int) { self.capacity = max(1, capacity) }

  var count: Int { entries.count }

  func value(_ key: Identifier, now: WallInstant) -> Value? {
    guard let entry = entries[key], now < entry.end else { return nil }
    return entry.value
  }

  /// The keys of the values that are meant, in their order.
  func keys(where isMeant: (Value) -> Bool) -> [Identifier] { entries.filter { isMeant($0.value.value) }.keys.sorted() }

  mutating func set(_ key: Identifier, _ value: Value, until end: WallInstant, now: WallInstant) {
    if entries[key] == nil, entries.count >= capacity { makeRoom(now: now) }
    entries[key] = Entry(value: value, end: end)
  }

  /// Changes the value and leaves its end as it is.
  mutating func update(_ key: Identifier, _ change: (inout Value) -> Void) {
    guard var entry = entries[key] else { return }
    change(&entry.value)
    entries[key] = entry
  }

  @discardableResult
  mutating func remove(_ key: Identifier) -> Value? { entries.removeValue(forKey: key)?.value }

  /// First what has ended; if that is not enough, the tenth that ends soonest, so that a full table is not sorted at every insertion.
  private mutating func makeRoom(now: WallInstant) {
    entries = entries.filter { now < $0.value.end }
    guard entries.count >= capacity else { return }
    let leaving = entries.sorted { $0.value.end < $1.value.end }.prefix(max(1, capacity / 10)).map(\.key)
    for key in leaving { entries.removeValue(forKey: key) }
  }
}
