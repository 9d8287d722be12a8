import IntercomTesting
import Testing

extension ScriptedTokenSource {
  /// The different answers that so many callers get who all wait for one call of the provider: it is held until one of them has arrived.
  func waitingTogether(_ count: Int, _ call: @escaping @Sendable (Int) async throws -> String) async throws -> Set<String> {
    let gate = Gate()
    hold(at: gate)
    return try await withThrowingTaskGroup(of: String.self) { group in
      for index in 0..<count { group.addTask { try await call(index) } }
      #expect(await eventually { gate.arrived == 1 })
      gate.open()
      return try await group.reduce(into: Set<String>()) { $0.insert($1) }
    }
  }
}
