import IntercomCore
import Synchronization

/// Clocks that a test moves: both stand still until `advance`, and a sleeper wakes when its moment has come.
package final class ManualTime: TimeSource {
  private struct Sleeper {
    let id: Int
    let wake: MonotonicInstant
    let continuation: CheckedContinuation<Void, any Error>
  }
  private struct State {
    var monotonic = MonotonicInstant(nanoseconds: 1_000_000_000_000)
    var wallNanoseconds: Int64
    var sleepers: [Sleeper] = []
    var nextID = 0
  }
  private let state: Mutex<State>

  /// - Parameter wall: seconds since 1970 at the start; the default is a day in 2026.
  package init(wall: Int64 = 1_795_251_887) {
    state = Mutex(State(wallNanoseconds: wall * 1_000_000_000))
  }

  package func monotonicNow() -> MonotonicInstant { state.withLock { $0.monotonic } }
  package func wallNow() -> WallInstant { state.withLock { WallInstant(seconds: $0.wallNanoseconds / 1_000_000_000) } }

  /// How many tasks sleep now.
  package var sleeping: Int { state.withLock { $0.sleepers.count } }

  /// Moves both clocks and wakes whoever is due.
  package func advance(by duration: Duration) {
    let due = state.withLock { state in
      state.monotonic = state.monotonic.advanced(by: duration)
      state.wallNanoseconds += duration.wholeNanoseconds
      let now = state.monotonic
      let due = state.sleepers.filter { $0.wake <= now }
      state.sleepers.removeAll { $0.wake <= now }
      return due
    }
    for sleeper in due { sleeper.continuation.resume() }
  }

  /// Moves the wall clock alone, as an administrator or NTP does; `seconds` may be negative.
  package func stepWall(by seconds: Int64) { state.withLock { $0.wallNanoseconds += seconds * 1_000_000_000 } }

  package func sleep(for duration: Duration) async throws {
    guard duration > .zero else { return try Task.checkCancellation() }
    let id = state.withLock { state in
      state.nextID += 1
      return state.nextID
    }
    try await withTaskCancellationHandler {
      try await withCheckedThrowingContinuation { continuation in
        // A task that is cancelled before it sleeps has run its handler already: look once more under the lock.
        let cancelled = state.withLock { state in
          guard !Task.isCancelled else { return true }
          state.sleepers.append(Sleeper(id: id, wake: state.monotonic.advanced(by: duration), continuation: continuation))
          return false
        }
        if cancelled { continuation.resume(throwing: CancellationError()) }
      }
    } onCancel: {
      let sleeper = state.withLock { state in
        let found = state.sleepers.first { $0.id == id }
        state.sleepers.removeAll { $0.id == id }
        return found
      }
      sleeper?.continuation.resume(throwing: CancellationError())
    }
  }
}
