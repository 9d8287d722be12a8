import IntercomCore

/// Who asks for leases: one process, for its life. It knows its own again when the answer that gave it one was lost.
package struct LeaseOwner: Sendable {
  /// What a record of this owner's lease holds.
  fileprivate let mark: [UInt8]

  package init(random: any RandomSource) { mark = random.bytes(16) }
}

/// The right to do something that only one replica may do at a time, for a while.
package struct Lease: Sendable {
  let key: RecordKey
  /// Greater than that of every earlier holder: whoever is given it can refuse a holder that was asleep.
  package let fencingToken: UInt64
  package let expiry: WallInstant
  fileprivate let owner: LeaseOwner
}

extension SessionStore {
  /// The lease of this name, or nil while another holds it. A holder that dies loses it at its end.
  ///
  /// One that the store has given to this owner before is given again, under a new fencing token: the owner sees to it that it does not ask while
  /// it is at work under that name.
  package func acquireLease(
    _ name: Identifier, for owner: LeaseOwner, lasting duration: Duration, now: WallInstant
  ) async throws(SessionStoreError) -> Lease? {
    let key = RecordKey(kind: .lease, naming: [name])
    if let lease = try await write(key, owner, duration, now, expecting: nil) { return lease }
    guard let held = try await read(key), held.value == owner.mark else { return nil }
    return try await write(key, owner, duration, now, expecting: held.version)
  }

  /// A longer lease under a new fencing token, or nil when it was lost.
  package func renew(_ lease: Lease, lasting duration: Duration, now: WallInstant) async throws(SessionStoreError) -> Lease? {
    try await write(lease.key, lease.owner, duration, now, expecting: lease.fencingToken)
  }

  private func write(
    _ key: RecordKey, _ owner: LeaseOwner, _ duration: Duration, _ now: WallInstant, expecting version: UInt64?
  ) async throws(SessionStoreError) -> Lease? {
    let expiry = now.advanced(by: duration)
    let outcome = try await write(key, owner.mark, indexes: [], expiry: expiry, expecting: version)
    guard case .written(let version) = outcome else { return nil }
    return Lease(key: key, fencingToken: version, expiry: expiry, owner: owner)
  }

  /// Gives the lease back. False: it was lost before.
  @discardableResult
  package func release(_ lease: Lease) async throws(SessionStoreError) -> Bool {
    try await delete(lease.key, expecting: lease.fencingToken, tombstone: .zero)
  }
}
