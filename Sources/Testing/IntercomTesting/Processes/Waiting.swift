import IntercomCore

/// A wait of a test reached its deadline: says what was waited for, how long, and what was there instead.
package struct WaitFailure: Error, Sendable, CustomStringConvertible {
  package let description: String

  package init(_ what: String, within limit: Duration, seen: String = "") {
    description = "\(what) within \(limit)" + (seen.isEmpty ? "" : "\n\(seen)")
  }
}

/// Waits until `condition` gives a value: tests wait for conditions, never for time alone.
///
/// - Parameters:
///   - what: completes the sentence "did not see …" of the failure.
///   - limit: how long at most; generous, because it is only reached when the test fails.
///   - pause: between two looks.
package func waitUntil<Value: Sendable>(
  _ what: String, within limit: Duration = .seconds(10), pause: Duration = .milliseconds(5), _ condition: () async throws -> Value?
) async throws -> Value {
  let time = SystemTime()
  let deadline = time.monotonicNow().advanced(by: limit)
  while true {
    if let value = try await condition() { return value }
    guard time.monotonicNow() < deadline else { throw WaitFailure("did not see \(what)", within: limit) }
    try await time.sleep(for: pause)
  }
}

/// `waitUntil` for a condition that is true or false.
package func waitUntilTrue(
  _ what: String, within limit: Duration = .seconds(10), pause: Duration = .milliseconds(5), _ condition: () async throws -> Bool
) async throws {
  _ = try await waitUntil(what, within: limit, pause: pause) { try await condition() ? true : nil }
}
