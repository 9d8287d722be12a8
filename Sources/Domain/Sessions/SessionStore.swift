import IntercomCore

/// The four kinds of record that a store keeps.
package enum RecordKind: UInt8, Sendable, CaseIterable {
  case session, pendingLogin, seenTokenID, lease
}

/// The key of a record: 32 bytes that tell nothing about what they name. A cluster keeps all keys of one session together by these bytes.
package struct RecordKey: Hashable, Sendable {
  package let kind: RecordKind
  let word: Word256

  init(kind: RecordKind, word: Word256) {
    self.kind = kind
    self.word = word
  }

  /// The key of a name: SHA-256 over kind and parts, each with its length, so that no two lists of parts give the same bytes.
  package init(kind: RecordKind, naming parts: [Identifier]) {
    self.init(kind: kind, word: hashOfParts("record \(kind.rawValue)", parts))
  }

  package var bytes: [UInt8] { word.bytes }

  /// The key that a store kept as these 32 bytes; nil for another number of them.
  package init?(kind: RecordKind, bytes: some Collection<UInt8>) {
    guard let word = Word256(bytes: bytes) else { return nil }
    self.init(kind: kind, word: word)
  }
}

/// By what records are found beside their key.
package struct IndexKey: Hashable, Sendable {
  package enum Kind: UInt8, Sendable, CaseIterable {
    /// Sessions of one session at the provider.
    case sid
    /// Sessions of one user.
    case subject
    /// Pending logins of one browser.
    case browser
  }
  package let kind: Kind
  let word: Word256

  init(kind: Kind, word: Word256) {
    self.kind = kind
    self.word = word
  }

  package init(sid: Identifier, issuer: Identifier) { self.init(kind: .sid, word: hashOfParts("sid", [issuer, sid])) }
  package init(subject: Identifier, issuer: Identifier) { self.init(kind: .subject, word: hashOfParts("subject", [issuer, subject])) }

  package var bytes: [UInt8] { word.bytes }
}

private func hashOfParts(_ purpose: String, _ parts: [Identifier]) -> Word256 {
  var writer = RecordWriter()
  writer.bytes(Array("intercom \(purpose)".utf8))
  for part in parts { writer.bytes(part.bytes) }
  return Word256(hashOf: writer.out)
}

/// A record as the store sees it: sealed bytes and what it needs to find and drop them.
package struct StoredRecord: Sendable, Equatable {
  package var value: [UInt8]
  /// Of the write that made it. A later write of any key has a greater one, also after deletion or expiry: it serves as a fencing token.
  package let version: UInt64
  /// From this second on the record does not exist.
  package var expiry: WallInstant

  package init(value: [UInt8], version: UInt64, expiry: WallInstant) {
    self.value = value
    self.version = version
    self.expiry = expiry
  }
}

/// What became of a write.
package enum WriteOutcome: Sendable, Equatable {
  case written(version: UInt64)
  /// The record has another version than expected, or exists or not against expectation. Nothing was written.
  case conflict
  /// The record was deleted a short time ago: a late writer must not bring it back. Nothing was written.
  case deleted
}

/// Why a store did not do what was asked.
package enum SessionStoreError: Error, Sendable, Equatable {
  /// It cannot be reached or does not answer: 503, and nobody is logged out. The text names what failed, never a value.
  case unavailable(String)
  /// It holds as many records of this kind as it may.
  case full(RecordKind)
  /// The value is larger than `maximumRecordBytes`.
  case tooLarge
  /// Others kept changing the record; the caller may try again.
  case contended
  /// The key ring could not seal.
  case sealing

  package var faultOrigin: FaultOrigin { self == .sealing ? .gateway : .store }
}

/// The largest value of a record, in bytes: three tokens and claims of the largest token answer fit several times.
package let maximumRecordBytes = 1 << 20

/// Keeps sealed records: sessions, pending logins, seen `jti`s and leases, all changed by compare-and-swap.
///
/// `IntercomTesting.SessionStoreConformance` says in tests what every implementation must do. Errors never mean "no record".
package protocol SessionStore: Sendable {
  /// The record, or nil when there is none (never written, deleted, expired).
  func read(_ key: RecordKey) async throws(SessionStoreError) -> StoredRecord?

  /// Writes when the stored version is `expected`; nil expects no record. `indexes` replace those of the record before.
  func write(
    _ key: RecordKey, _ value: [UInt8], indexes: [IndexKey], expiry: WallInstant, expecting expected: UInt64?
  ) async throws(SessionStoreError) -> WriteOutcome

  /// Deletes when the stored version is `expected` (nil: whatever it is) and says whether it did. For the time of `tombstone` the key cannot
  /// be written again, whether or not there was a record.
  func delete(_ key: RecordKey, expecting expected: UInt64?, tombstone: Duration) async throws(SessionStoreError) -> Bool

  /// Deletes all of these, whatever their versions, and gives what was in them. For `tombstone` none can be written again.
  func take(_ keys: [RecordKey], tombstone: Duration) async -> TakenRecords

  /// At most `limit` keys of records with this index. Deleting what was found and asking again finds them all.
  func find(_ index: IndexKey, limit: Int) async throws(SessionStoreError) -> [RecordKey]

  /// For how long after a deletion other processes may use what they read before. Zero where one process has the store for itself.
  var copiesLast: Duration { get }
}

/// What became of the deletion of many records.
package struct TakenRecords: Sendable {
  /// What was there and could be read as a record.
  package var records: [(key: RecordKey, record: StoredRecord)] = []
  /// How many were there.
  package var count = 0
  /// Why not all are sure to be deleted; the rest was not tried then.
  package var failure: SessionStoreError?

  package init() {}
}

extension SessionStore {
  package var copiesLast: Duration { .zero }

  /// One by one, many at the same time.
  package func take(_ keys: [RecordKey], tombstone: Duration) async -> TakenRecords {
    let atOnce = 128
    return await withTaskGroup(of: Result<(RecordKey, Bool, StoredRecord?), SessionStoreError>.self) { group in
      var taken = TakenRecords()
      func add(_ done: Result<(RecordKey, Bool, StoredRecord?), SessionStoreError>) {
        switch done {
        case .success(let (key, isDone, record)):
          taken.count += isDone ? 1 : 0
          if let record { taken.records.append((key, record)) }
        case .failure(let error): taken.failure = taken.failure ?? error
        }
      }
      for (number, key) in keys.enumerated() {
        if number >= atOnce, let done = await group.next() { add(done) }
        if taken.failure != nil { break }
        group.addTask {
          do throws(SessionStoreError) {
            let (isDone, record) = try await self.take(key, tombstone: tombstone)
            return .success((key, isDone, record))
          } catch { return .failure(error) }
        }
      }
      for await done in group { add(done) }
      return taken
    }
  }

  private func take(_ key: RecordKey, tombstone: Duration) async throws(SessionStoreError) -> (isDone: Bool, record: StoredRecord?) {
    // What is given is what was removed: a refresh may write newer tokens between the reading and the removal.
    var last: StoredRecord?
    for _ in 0..<3 {
      guard let record = try? await read(key) else { break }
      last = record
      if try await delete(key, expecting: record.version, tombstone: tombstone) { return (true, record) }
    }
    let isDone = try await delete(key, expecting: nil, tombstone: tombstone)
    return (isDone, isDone ? last : nil)
  }
}
