import IntercomCore

/// Keeps records in the memory of this process: for the demo, tests and single instances that may forget sessions at a restart.
package actor MemorySessionStore: SessionStore {
  package typealias Capacity = StoreCapacity

  private var shelves: [RecordKind: RecordShelf] = [:]
  private var indexes: [IndexKey: Set<RecordKey>] = [:]
  private var lastVersion: UInt64 = 0
  private let clock: SteadyClock
  private let capacity: StoreCapacity

  package init(time: any TimeSource, capacity: StoreCapacity = StoreCapacity()) {
    clock = SteadyClock(time)
    self.capacity = capacity
  }

  package func read(_ key: RecordKey) throws(SessionStoreError) -> StoredRecord? {
    sweep(clock.now())
    return shelves[key.kind]?.record(key, now: clock.now())
  }

  package func write(
    _ key: RecordKey, _ value: [UInt8], indexes newIndexes: [IndexKey], expiry: WallInstant, expecting expected: UInt64?
  ) throws(SessionStoreError) -> WriteOutcome {
    guard value.count <= maximumRecordBytes else { throw .tooLarge }
    let now = clock.now()
    sweep(now)
    var shelf = take(key.kind)
    defer { shelves[key.kind] = shelf }
    if shelf.isTombstone(key, now: now) { return .deleted }
    let current = shelf.record(key, now: now)
    guard current?.version == expected else { return .conflict }
    if current == nil {
      unindex(shelf.remove(key), key)
      try makeRoom(in: &shelf, for: key.kind, now: now)
    }
    lastVersion &+= 1
    unindex(shelf.put(key, value: value, version: lastVersion, expiry: expiry, indexes: newIndexes), key)
    for index in newIndexes { indexes[index, default: []].insert(key) }
    return .written(version: lastVersion)
  }

  package func delete(_ key: RecordKey, expecting expected: UInt64?, tombstone: Duration) throws(SessionStoreError) -> Bool {
    let now = clock.now()
    sweep(now)
    var shelf = take(key.kind)
    defer { shelves[key.kind] = shelf }
    let current = shelf.record(key, now: now)
    if let expected, current?.version != expected { return false }
    if !shelf.isTombstone(key, now: now) { unindex(shelf.remove(key), key) }
    // More tombstones than records may exist would be an attack on memory; what they guard against is a matter of seconds.
    if tombstone > .zero, shelf.tombstones < capacity.limit(of: key.kind) {
      shelf.bury(key, until: now.advanced(by: tombstone))
    }
    return current != nil
  }

  package func find(_ index: IndexKey, limit: Int) throws(SessionStoreError) -> [RecordKey] {
    let now = clock.now()
    sweep(now)
    var found: [RecordKey] = []
    for key in indexes[index] ?? [] where found.count < limit {
      if shelves[key.kind]?.record(key, now: now) != nil { found.append(key) }
    }
    return found
  }

  /// How many records of a kind are held (expired ones count until they are swept).
  package func count(of kind: RecordKind) -> Int { shelves[kind]?.live ?? 0 }

  /// Taken out while it is changed, so that its dictionaries are not copied.
  private func take(_ kind: RecordKind) -> RecordShelf { shelves.removeValue(forKey: kind) ?? RecordShelf() }

  private func unindex(_ old: [IndexKey], _ key: RecordKey) {
    for index in old {
      indexes[index]?.remove(key)
      if indexes[index]?.isEmpty == true { indexes[index] = nil }
    }
  }

  private func sweep(_ now: WallInstant) {
    for kind in RecordKind.allCases where shelves[kind]?.mustSweep(now) == true {
      var shelf = take(kind)
      for (key, old) in shelf.sweep(now) { unindex(old, key) }
      shelves[kind] = shelf
    }
  }

  /// Refuses beyond the capacity, except that a flood of logins that nobody finishes pushes out the oldest of them: else it would lock
  /// everybody out for ten minutes.
  private func makeRoom(in shelf: inout RecordShelf, for kind: RecordKind, now: WallInstant) throws(SessionStoreError) {
    guard shelf.live >= capacity.limit(of: kind) else { return }
    for (key, old) in shelf.sweep(now, precisely: true) { unindex(old, key) }
    guard shelf.live >= capacity.limit(of: kind) else { return }
    guard kind == .pendingLogin, let oldest = shelf.soonestToExpire() else { throw .full(kind) }
    unindex(shelf.remove(oldest), oldest)
  }
}
