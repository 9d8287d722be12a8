import IntercomCore

extension SessionManager {
  /// How long to wait before the lease is asked for again: a peer is mostly done at once, one that died holds it for seconds.
  private static let firstPause = Duration.milliseconds(50)
  private static let longestPause = Duration.milliseconds(400)
  /// For writing what a turn brought: two commands of a store that is slow.
  private static let room = Duration.seconds(4)

  /// Does what only one replica may do for a session at a time. While a peer does it, its result is waited for: `unless` looks at the newest
  /// record (nil: the session ended) and says what it is. Nil: the peer did not finish within `limit`.
  ///
  /// - Parameters:
  ///   - limit: the lease is longer than this by `room`.
  ///   - work: is told when its calls to others must be over, `limit` after the lease was asked for: what it still has to write then has `room`.
  ///     So a holder that lives does not lose the lease, and its peers find it free soon.
  package func inTurn<Value: Sendable>(
    _ purpose: String, of key: SessionKey, limit: Duration, _ work: (_ end: MonotonicInstant) async -> Value, unless: (Session?) -> Value?
  ) async throws(SessionStoreError) -> Value? {
    let name = Identifier(bytes: Array("\(purpose) ".utf8) + key.word.bytes)
    let start = time.monotonicNow()
    var pause = Self.firstPause
    repeat {
      let end = time.monotonicNow().advanced(by: limit)
      if let lease = try await store.acquireLease(name, for: limit + Self.room, now: now()) {
        let value = await work(end)
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
