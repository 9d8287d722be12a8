/// Calls back on its loop after a time, once for each `start`. Confined to the loop.
package final class LoopTimer: EventSource {
  private let fire: () -> Void
  private var isRegistered = false
  /// It will call back.
  package private(set) var isRunning = false

  /// - Parameter fire: must not keep the timer's owner alive.
  package init(loop: EventLoop, fire: @escaping () -> Void) {
    self.fire = fire
    super.init(descriptor: -1, loop: loop)
  }

  /// Calls back after `duration`; a time that was set before no longer counts.
  package func start(after duration: Duration) {
    if !isRegistered { isRegistered = (try? loop.register(self, [])) != nil }
    isRunning = isRegistered
    setDeadline(after: duration)
  }

  override func onDeadline() {
    isRunning = false
    fire()
  }

  override func onLoopEnd() {
    isRunning = false
    loop.unregister(self)
  }
}
