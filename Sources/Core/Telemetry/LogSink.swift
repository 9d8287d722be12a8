import Linux
import Synchronization

/// Takes whole log lines. It must not block for long: event loops log.
package protocol LogSink: Sendable {
  /// `line` ends in a line feed and has at most 4096 bytes.
  func write(_ line: [UInt8])
  /// How many lines could not be written since the start.
  var dropped: Int { get }
}

/// Standard error: each line is one write(2); a line that the reader has no room for is dropped and counted, so that a stuck log collector
/// never stops a request (fault 60).
package final class StandardErrorSink: LogSink {
  let descriptor: Int32
  private let lock = Mutex(())
  private let lost = Atomic<Int>(0)

  package init() { descriptor = 2 }
  /// Another descriptor that stays open as long as the sink.
  package init(descriptor: Int32) { self.descriptor = descriptor }

  package func write(_ line: [UInt8]) {
    // Between poll(2) and write(2) no other thread of ours may take the room that poll saw.
    let result = lock.withLock { _ in Linux.writeLine(line, to: descriptor) }
    if result != .written { lost.wrappingAdd(1, ordering: .relaxed) }
  }

  package var dropped: Int { lost.load(ordering: .relaxed) }
}

/// Keeps lines in memory, for tests and for the tail that the demo shows; the oldest give way.
package final class MemorySink: LogSink {
  private struct State {
    var lines: [[UInt8]] = []
    var lost = 0
  }
  private let state = Mutex(State())
  private let limit: Int

  package init(limit: Int = 10_000) { self.limit = max(1, limit) }

  package func write(_ line: [UInt8]) {
    state.withLock { state in
      if state.lines.count >= limit {
        state.lines.removeFirst()
        state.lost += 1
      }
      state.lines.append(line)
    }
  }

  package var dropped: Int { state.withLock { $0.lost } }
  /// Every kept line without its line feed.
  package var lines: [String] { state.withLock { $0.lines.map { String(decoding: $0.dropLast(), as: UTF8.self) } } }
}

/// Throws every line away.
package struct NoLog: LogSink {
  package init() {}
  package func write(_ line: [UInt8]) {}
  package var dropped: Int { 0 }
}
