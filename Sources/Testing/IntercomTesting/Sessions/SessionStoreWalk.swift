import IntercomCore
import Sessions

/// A random walk of a store beside a model of it: every answer must be the model's.
struct SessionStoreWalk {
  private enum Held {
    case record(value: [UInt8], version: UInt64, expiry: WallInstant, indexes: Set<IndexKey>)
    case tombstone(until: WallInstant)
  }

  private let subject: SessionStoreConformance.Subject
  private var model: [RecordKey: Held] = [:]
  private var greatest: [RecordKey: UInt64] = [:]
  private var random: SplitMix64
  private let keys = (0..<6).map { RecordKey(kind: $0 < 4 ? .session : .pendingLogin, naming: [Identifier("\($0)")]) }
  private let indexes = [
    IndexKey(sid: "s", issuer: "i"), IndexKey(subject: "u", issuer: "i"), IndexKey(subject: "v", issuer: "i"),
  ]

  init(_ subject: SessionStoreConformance.Subject, seed: UInt64) {
    self.subject = subject
    random = SplitMix64(state: seed)
  }

  /// Takes `steps` random steps and compares after each.
  mutating func run(steps: Int) async throws {
    for step in 0..<steps {
      let key = keys[Int.random(in: 0..<keys.count, using: &random)]
      switch Int.random(in: 0..<100, using: &random) {
      case 0..<55: try await write(key, step)
      case 55..<80: try await delete(key)
      case 80..<83: try await subject.advance(.seconds(10))
      default: break
      }
      try await compare(key, step)
    }
  }

  private var now: WallInstant { subject.time.wallNow() }

  private func held(_ key: RecordKey) -> Held? {
    switch model[key] {
    case .record(_, _, let expiry, _): expiry > now ? model[key] : nil
    case .tombstone(let until): until > now ? model[key] : nil
    case nil: nil
    }
  }

  private func version(_ key: RecordKey) -> UInt64? {
    if case .record(_, let version, _, _) = held(key) { version } else { nil }
  }

  /// Mostly the version that is there, else an older one, one that never was, or none.
  private mutating func guess(_ key: RecordKey) -> UInt64? {
    switch Int.random(in: 0..<10, using: &random) {
    case 0: nil
    case 1: greatest[key].map { $0 &- 1 }
    case 2: .max
    default: version(key)
    }
  }

  private mutating func write(_ key: RecordKey, _ step: Int) async throws {
    let expected = guess(key)
    let value = [UInt8(truncatingIfNeeded: step), UInt8(truncatingIfNeeded: step >> 8)]
    let chosen = indexes.filter { _ in Bool.random(using: &random) }
    // Never on a multiple of ten seconds: the walk does not ask what happens in the very second.
    let expiry = now.advanced(by: .seconds(5 + 10 * Int64.random(in: 0..<5, using: &random)))
    let outcome = try await subject.store.write(key, value, indexes: chosen, expiry: expiry, expecting: expected)
    switch (held(key), outcome) {
    case (.tombstone, .deleted): break
    case (.record, .conflict), (nil, .conflict):
      try SessionStoreConformance.require(expected != version(key), "step \(step): a good write was refused")
    case (.record, .written(let new)), (nil, .written(let new)):
      try SessionStoreConformance.require(expected == version(key), "step \(step): a late write was taken")
      try SessionStoreConformance.require(new > greatest[key] ?? 0, "step \(step): version \(new) is not new")
      greatest[key] = new
      model[key] = .record(value: value, version: new, expiry: expiry, indexes: Set(chosen))
    default: throw SessionStoreConformance.Violation("step \(step): a write gave \(outcome)")
    }
  }

  private mutating func delete(_ key: RecordKey) async throws {
    let expected = guess(key)
    let tombstone = Duration.seconds([0, 5, 25].randomElement(using: &random) ?? 0)
    let done = try await subject.store.delete(key, expecting: expected, tombstone: tombstone)
    let current = version(key)
    try SessionStoreConformance.require(
      done == (current != nil && (expected == nil || expected == current)), "a deletion said \(done)")
    guard expected == nil || expected == current else { return }
    var end = now.advanced(by: tombstone)
    if case .tombstone(let until) = held(key) { end = max(end, until) }
    model[key] = end > now ? .tombstone(until: end) : nil
  }

  private func compare(_ key: RecordKey, _ step: Int) async throws {
    let stored = try await subject.store.read(key)
    if case .record(let value, let version, let expiry, _) = held(key) {
      try SessionStoreConformance.require(
        stored == StoredRecord(value: value, version: version, expiry: expiry), "step \(step): read something else")
    } else {
      try SessionStoreConformance.require(stored == nil, "step \(step): read what is not there")
    }
    for index in indexes {
      let expected = keys.filter { key in
        if case .record(_, _, _, let indexes) = held(key) { indexes.contains(index) } else { false }
      }
      let found = try await subject.store.find(index, limit: 100)
      try SessionStoreConformance.require(
        Set(found) == Set(expected) && found.count == expected.count, "step \(step): an index found \(found.count) of \(expected.count)")
    }
  }
}

/// A small repeatable generator for walks (Steele, Lea and Flood, "Fast splittable pseudorandom number generators").
package struct SplitMix64: RandomNumberGenerator {
  package var state: UInt64

  package init(state: UInt64) { self.state = state }

  package mutating func next() -> UInt64 {
    state &+= 0x9e37_79b9_7f4a_7c15
    var mixed = state
    mixed = (mixed ^ (mixed >> 30)) &* 0xbf58_476d_1ce4_e5b9
    mixed = (mixed ^ (mixed >> 27)) &* 0x94d0_49bb_1331_11eb
    return mixed ^ (mixed >> 31)
  }
}
