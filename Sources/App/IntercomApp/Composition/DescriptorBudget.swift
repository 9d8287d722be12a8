import Linux

/// How the descriptors that the process may have (RLIMIT_NOFILE) are shared out among its loops, so that clients can take neither those of
/// the upstreams nor the last ones: whoever watches the admin listener is answered also when no further client is (fault 38).
struct DescriptorBudget: Equatable {
  /// Connections of one loop beyond which no client is accepted.
  let clients: Int
  /// Connections of one loop, clients and upstreams together, beyond which none to an upstream is opened.
  let connections: Int

  /// For listeners, loops, files, the session store, calls to the provider and the admin listener.
  private static let own = 64

  /// - Parameter limit: how many descriptors the process may have.
  init(limit: Int, loops: Int) {
    let shared = max(0, limit - min(Self.own, limit / 2))
    connections = max(2, shared / max(1, loops))
    // An idle client needs one connection, a busy one two.
    clients = max(1, connections - connections / 4)
  }
}
