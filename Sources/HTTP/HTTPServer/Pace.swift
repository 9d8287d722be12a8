import IntercomCore

/// Judges whether a client that holds a body or an answer up is too slow: less than `paceBytes` in a whole `paceWindow` during which nobody
/// but the client was waited for. Asked every quarter of the window.
struct Pace {
  private struct Direction {
    var since: MonotonicInstant?
    var bytes = 0
    var interruptions: UInt32 = 0

    mutating func isTooSlow(_ now: MonotonicInstant, _ settings: ServerSettings, _ moved: (bytes: Int, interruptions: UInt32)?) -> Bool {
      guard let moved else {
        since = nil
        return false
      }
      // The window begins anew when enough has moved, or when something else than the client was waited for in between.
      if let since, moved.interruptions == interruptions, moved.bytes &- bytes < settings.paceBytes {
        return since.duration(to: now) >= settings.paceWindow
      }
      since = now
      (bytes, interruptions) = moved
      return false
    }
  }
  private var output = Direction()
  private var input = Direction()

  /// - Parameters:
  ///   - output: bytes sent and how often everything was sent, nil when nothing waits for the client to read.
  ///   - input: bytes of the body and how often it was paused, nil when no body is waited for.
  mutating func isTooSlow(
    now: MonotonicInstant, settings: ServerSettings, output moved: (Int, UInt32)?, input received: (Int, UInt32)?
  ) -> Bool {
    let slowReader = output.isTooSlow(now, settings, moved)
    let slowWriter = input.isTooSlow(now, settings, received)
    return slowReader || slowWriter
  }
}
