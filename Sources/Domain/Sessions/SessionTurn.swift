import IntercomCore

extension SessionManager {
  /// How long to wait before the lease is asked for again: a peer is mostly done at once, one that died holds it for seconds.
  private static let firstPause = Duration.milliseconds(50)
  private static let longestPause = Duration.milliseconds(400)

  /// Does what only one replica may do for a session at a time. While a peer does it, its result is waited for: `unless` looks at the newest
  /// record (nil: the session ended) and says what it is. Nil: the peer did not finish within `limit`.
  ///
  /// - Parameter limit: no longer than this does `work` run either, and the lease a little longer, so that a holder that lives never loses it.
  package func inTurn<Value: Sendable>(
    _ purpose: String, of key: SessionKey, limit: Duration, _ work: () async -> Value, unless: (Session?) -> Value?
  ) async throws(SessionStoreError) -> Value? {
    let name = Identifier(bytes: Array("\(purpose) ".utf8) + key.word.bytes)
    let start = time.monotonicNow()
    var pause = Self.firstPause
    repeat {
      if let lease = try await store.acquireLease(name, for: limit + .seconds(4), now: now()) {
        let value = await work()
        _ = try? await store.release(lease)
        return value
      }
      // That a peer wins is no failure.
      try? await time.sleep(for: pause)
      pause = min(pause * 2, Self.longestPause)
      if let value = unless(try await read(key)) { return value }
    } while start.duration(to: time.monotonicNow()) < limit
    return nil
  }
}
