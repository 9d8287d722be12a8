import Linux
import Synchronization

/// Standard error, and a file besides that is put aside when it is full: `name`, `name.1`, `name.2` ….
///
/// A thread of its own writes the file: a disk that hangs holds no event loop up. Lines that it has no room for are counted; standard error has
/// them all the same.
package final class RotatingFileSink: LogSink {
  private struct State {
    var lines: [[UInt8]] = []
    var isStopping = false
    var isWriting = false
  }
  /// Lines that wait for the thread.
  private static let most = 4096

  private let first: any LogSink
  private let state = Monitor(State())
  private let lost = Count()

  private final class Count: Sendable {
    private let value = Atomic<Int>(0)
    var number: Int { value.load(ordering: .relaxed) }
    func add() { value.wrappingAdd(1, ordering: .relaxed) }
  }

  /// Opens the file; throws when that cannot be done.
  ///
  /// - Parameters:
  ///   - size: bytes at which a file is full.
  ///   - files: how many are kept, the one written to included.
  ///   - first: gets every line too.
  package init(path: String, size: Int, files: Int, first: any LogSink = StandardErrorSink()) throws {
    self.first = first
    let opened = RotatingFile(path: path, limit: size, count: max(1, files), file: try AppendFile(path: path))
    try Threads.spawn(name: "log-file") { [state, lost] in
      var file = opened
      while true {
        let lines: [[UInt8]]? = state.wait { state in
          state.isWriting = !state.lines.isEmpty
          if state.lines.isEmpty { return state.isStopping ? .some(nil) : nil }
          defer { state.lines = [] }
          return .some(state.lines)
        }
        guard let lines else { return }
        for line in lines where !file.write(line) { lost.add() }
      }
    }
  }

  deinit {
    state.withLock { $0.isStopping = true }
    state.broadcast()
  }

  package func write(_ line: [UInt8]) {
    first.write(line)
    let isTaken = state.withLock { state in
      guard state.lines.count < Self.most else { return false }
      state.lines.append(line)
      return true
    }
    if isTaken { state.signal() } else { lost.add() }
  }

  package var dropped: Int { first.dropped + lost.number }

  /// Waits, at the end of a process, until the file has what was written before, for two seconds at most.
  package func finish() {
    for _ in 0..<200 {
      if state.withLock({ $0.lines.isEmpty && !$0.isWriting }) { return }
      Threads.pause(milliseconds: 10)
    }
  }
}

/// The files of one log. Used by one thread.
private struct RotatingFile {
  let path: String
  let limit: Int
  let count: Int
  var file: AppendFile?
  var size: Int

  init(path: String, limit: Int, count: Int, file: AppendFile) {
    self.path = path
    self.limit = limit
    self.count = count
    self.file = file
    size = file.size
  }

  mutating func write(_ line: [UInt8]) -> Bool {
    if size > 0, size + line.count > limit { rotate() }
    if file == nil { reopen() }
    guard let file, file.append(line) else { return false }
    size += line.count
    return true
  }

  private mutating func rotate() {
    for number in stride(from: count - 1, to: 0, by: -1) {
      try? AppendFile.rename(number == 1 ? path : "\(path).\(number - 1)", to: "\(path).\(number)")
    }
    // With one file alone nothing is put aside: it begins anew.
    if count == 1 { try? AppendFile.rename(path, to: path + ".1") }
    file = nil
  }

  private mutating func reopen() {
    file = try? AppendFile(path: path)
    size = file?.size ?? 0
  }
}
