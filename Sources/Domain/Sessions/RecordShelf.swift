import IntercomCore

/// The records of one kind with their expiry in buckets of 64 seconds: dropping what has expired costs nothing per request.
struct RecordShelf {
  private enum Content {
    case record(StoredRecord, indexes: [IndexKey])
    case tombstone
  }
  private struct Slot {
    var content: Content
    var expiry: WallInstant
  }

  private var slots: [RecordKey: Slot] = [:]
  private var buckets: [Int64: Set<RecordKey>] = [:]
  private var sweptBucket = Int64.min
  private(set) var tombstones = 0
  var live: Int { slots.count - tombstones }

  private static func bucket(_ instant: WallInstant) -> Int64 { instant.seconds >> 6 }

  /// The live record of this key.
  func record(_ key: RecordKey, now: WallInstant) -> StoredRecord? {
    guard let slot = slots[key], slot.expiry > now, case .record(let record, _) = slot.content else { return nil }
    return record
  }

  func isTombstone(_ key: RecordKey, now: WallInstant) -> Bool {
    guard let slot = slots[key], slot.expiry > now, case .tombstone = slot.content else { return false }
    return true
  }

  /// Replaces whatever the key has and gives back the indexes of what was there.
  mutating func put(
    _ key: RecordKey, value: [UInt8], version: UInt64, expiry: WallInstant, indexes: [IndexKey]
  ) -> [IndexKey] {
    let old = remove(key)
    let record = StoredRecord(value: value, version: version, expiry: expiry)
    insert(key, Slot(content: .record(record, indexes: indexes), expiry: expiry))
    return old
  }

  /// Makes the key unwritable until then. A longer tombstone stays.
  mutating func bury(_ key: RecordKey, until end: WallInstant) {
    if let slot = slots[key], case .tombstone = slot.content, slot.expiry >= end { return }
    _ = remove(key)
    tombstones += 1
    insert(key, Slot(content: .tombstone, expiry: end))
  }

  /// Removes record or tombstone and gives back the record's indexes.
  @discardableResult
  mutating func remove(_ key: RecordKey) -> [IndexKey] {
    guard let slot = slots.removeValue(forKey: key) else { return [] }
    let bucket = Self.bucket(slot.expiry)
    buckets[bucket]?.remove(key)
    if buckets[bucket]?.isEmpty == true { buckets[bucket] = nil }
    switch slot.content {
    case .record(_, let indexes): return indexes
    case .tombstone:
      tombstones -= 1
      return []
    }
  }

  /// Has a bucket passed since the last sweep?
  func mustSweep(_ now: WallInstant) -> Bool { Self.bucket(now) > sweptBucket }

  /// Drops what has expired, with its indexes; `precisely` looks into the bucket of the present too.
  mutating func sweep(_ now: WallInstant, precisely: Bool = false) -> [(RecordKey, [IndexKey])] {
    sweptBucket = Self.bucket(now)
    var due = buckets.filter { $0.key < sweptBucket }.flatMap { $0.value }
    if precisely { due += (buckets[sweptBucket] ?? []).filter { slots[$0].map { $0.expiry <= now } ?? false } }
    return due.map { ($0, remove($0)) }
  }

  /// A record among those that expire in the same 64 seconds, soonest of all.
  func soonestToExpire() -> RecordKey? {
    for bucket in buckets.keys.sorted() {
      for key in buckets[bucket] ?? [] {
        if let slot = slots[key], case .record = slot.content { return key }
      }
    }
    return nil
  }

  private mutating func insert(_ key: RecordKey, _ slot: Slot) {
    slots[key] = slot
    buckets[Self.bucket(slot.expiry), default: []].insert(key)
  }
}
