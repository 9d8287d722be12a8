import Cryptography
import IntercomCore
import Telemetry

/// Seals what goes into a store and opens what comes out: the same path for every store, memory included.
///
/// The key ring binds each value to kind and key of its record, so that the value of one session put in the place of another does not open.
struct SealedRecords: Sendable {
  let store: any SessionStore
  let keys: KeyRing
  let events: SessionEvents

  /// The plaintext with its version. A value that does not open (flipped bit, cut, foreign, dropped key) is no record: it is counted and
  /// deleted if nobody replaced it meanwhile (fault 9).
  func read(_ key: RecordKey) async throws(SessionStoreError) -> (plain: [UInt8], version: UInt64)? {
    guard let stored = try await store.read(key) else { return nil }
    if let plain = keys.open(stored.value, context: Self.context(key)) { return (plain, stored.version) }
    try await discard(key, version: stored.version)
    return nil
  }

  func write(
    _ key: RecordKey, _ plain: [UInt8], indexes: [IndexKey] = [], expiry: WallInstant, expecting expected: UInt64?
  ) async throws(SessionStoreError) -> WriteOutcome {
    guard plain.count <= maximumRecordBytes - KeyRing.overhead else { throw .tooLarge }
    let sealed: [UInt8]
    do { sealed = try keys.seal(plain, context: Self.context(key)) } catch { throw .sealing }
    return try await store.write(key, sealed, indexes: indexes, expiry: expiry, expecting: expected)
  }

  /// The plaintext of a record that was taken out of the store; nil for one that does not open, which is counted.
  func open(_ key: RecordKey, _ record: StoredRecord) -> [UInt8]? {
    if let plain = keys.open(record.value, context: Self.context(key)) { return plain }
    events.damaged(key.kind)
    return nil
  }

  /// Drops a record that cannot be read.
  func discard(_ key: RecordKey, version: UInt64) async throws(SessionStoreError) {
    events.damaged(key.kind)
    _ = try await store.delete(key, expecting: version, tombstone: .zero)
  }

  private static func context(_ key: RecordKey) -> [UInt8] { Array("intercom record".utf8) + [key.kind.rawValue] + key.bytes }
}
