import IntercomCore
import Synchronization

/// The task's result, waited for at most `limit`; nil then. The task goes on: what it does must not depend on who waits for it.
package func result<Value: Sendable>(of task: Task<Value, Never>, within limit: Duration, _ time: any TimeSource) async -> Value? {
  let first = FirstResult<Value?>()
  Task { first.give(await task.value) }
  let alarm = Task {
    do { try await time.sleep(for: limit) } catch { return }  // cancelled: the result came
    first.give(nil)
  }
  defer { alarm.cancel() }
  return await first.value()
}

/// Returns when `isDone`, after `limit`, or when the task is cancelled, and says whether it is. The caller's actor is asked now and then.
package func isDone(
  within limit: Duration, _ time: any TimeSource, isolation: isolated (any Actor)? = #isolation, _ isDone: () -> Bool
) async -> Bool {
  let end = time.monotonicNow().advanced(by: limit)
  while !isDone() {
    guard time.monotonicNow() < end, !Task.isCancelled else { return false }
    try? await time.sleep(for: .milliseconds(10))
  }
  return true
}

/// What `call` gives within `limit`. After that it is cancelled and waited for; nil then.
func outcome<Value: Sendable>(
  within limit: Duration, _ time: any TimeSource, _ call: @escaping @Sendable () async -> Value
) async -> Value? {
  await withTaskGroup(of: Value?.self) { group in
    group.addTask { await call() }
    group.addTask {
      try? await time.sleep(for: limit)
      return nil
    }
    let first = await group.next() ?? nil
    group.cancelAll()
    return first
  }
}

/// Takes the first of several results. A task group would wait for the others too.
private final class FirstResult<Value: Sendable>: Sendable {
  private enum State {
    case empty
    case awaited(CheckedContinuation<Value, Never>)
    case given(Value)
  }
  private let state = Mutex(State.empty)

  /// Later ones are dropped.
  func give(_ value: Value) {
    let waiting: CheckedContinuation<Value, Never>? = state.withLock { state in
      switch state {
      case .given: return nil
      case .empty:
        state = .given(value)
        return nil
      case .awaited(let continuation):
        state = .given(value)
        return continuation
      }
    }
    waiting?.resume(returning: value)
  }

  /// To be called once.
  func value() async -> Value {
    await withCheckedContinuation { continuation in
      let given: Value? = state.withLock { state in
        if case .given(let value) = state { return value }
        state = .awaited(continuation)
        return nil
      }
      if let given { continuation.resume(returning: given) }
    }
  }
}
