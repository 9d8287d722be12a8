import IntercomCore

/// The right to do something that only one replica may do at a time, for a while.
package struct Lease: Sendable, Hashable {
  let key: RecordKey
  /// Greater than that of every earlier holder: whoever is given it can refuse a holder that was asleep.
  package let fencingToken: UInt64
  package let expiry: WallInstant
}

extension SessionStore {
  /// The lease of this name, or nil while another holds it. A holder that dies loses it at its end.
  package func acquireLease(
    _ name: Identifier, for duration: Duration, now: WallInstant
  ) async throws(SessionStoreError) -> Lease? {
    let key = RecordKey(kind: .lease, naming: [name])
    let expiry = now.advanced(by: duration)
    guard case .written(let version) = try await write(key, [], indexes: [], expiry: expiry, expecting: nil) else { return nil }
    return Lease(key: key, fencingToken: version, expiry: expiry)
  }

  /// A longer lease under a new fencing token, or nil when it was lost.
  package func renew(_ lease: Lease, for duration: Duration, now: WallInstant) async throws(SessionStoreError) -> Lease? {
    let expiry = now.advanced(by: duration)
    let outcome = try await write(lease.key, [], indexes: [], expiry: expiry, expecting: lease.fencingToken)
    guard case .written(let version) = outcome else { return nil }
    return Lease(key: lease.key, fencingToken: version, expiry: expiry)
  }

  /// Gives the lease back. False: it was lost before.
  @discardableResult
  package func release(_ lease: Lease) async throws(SessionStoreError) -> Bool {
    try await delete(lease.key, expecting: lease.fencingToken, tombstone: .zero)
  }
}
