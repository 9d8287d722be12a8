/// How many records of each kind a store may hold at once.
package struct StoreCapacity: Sendable {
  package var sessions: Int
  package var pendingLogins: Int
  package var seenTokenIDs: Int
  package var leases: Int

  /// A session takes some 6 KiB, so the default of sessions is about 600 MiB at most.
  package init(sessions: Int = 100_000, pendingLogins: Int = 20_000, seenTokenIDs: Int = 100_000, leases: Int = 10_000) {
    self.sessions = sessions
    self.pendingLogins = pendingLogins
    self.seenTokenIDs = seenTokenIDs
    self.leases = leases
  }

  /// How many records of this kind; as many tombstones may exist beside them.
  package func limit(of kind: RecordKind) -> Int {
    switch kind {
    case .session: sessions
    case .pendingLogin: pendingLogins
    case .seenTokenID: seenTokenIDs
    case .lease: leases
    }
  }
}
