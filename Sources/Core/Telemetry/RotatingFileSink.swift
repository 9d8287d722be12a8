import IntercomCore
import Linux
import Synchronization

/// Standard error, and a file besides that is put aside when it is full: `name`, `name.1`, `name.2` ….
///
/// A thread of its own writes the file: a disk that hangs holds no event loop up. Lines that it has no room for are counted; standard error has
/// them all the same. What is no regular file (a pipe, a device, a terminal) is written to as long as it lives and never renamed. What standard error
/// goes to anyway (`/dev/stderr`) gets nothing twice, and belongs to whoever started the process.
///
/// A full file that cannot be put aside (it is mounted by itself, its folder takes no names, a folder has the other name) is emptied and goes on. To
/// stop there would keep the oldest lines until somebody restarts Intercom; who opens the file looks for the newest. Standard error is told once.
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
  /// The file is where `first` writes to.
  private let isTwin: Bool

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
  ///   - first: gets every line too, and is told when the file cannot be kept as it should.
  package init(
    path: String, size: Int, files: Int, first: any LogSink = StandardErrorSink(), time: any TimeSource = SystemTime()
  ) throws {
    self.first = first
    let file = try AppendFile(path: path)
    isTwin = (first as? StandardErrorSink).map { file.isSame(as: $0.descriptor) } ?? false
    guard !isTwin else { return }
    let opened = RotatingFile(
      file: file, limit: size, count: max(1, files), log: StructuredLog(to: first, minimum: .error), time: time)
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
    guard !isTwin else { return }
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
  /// After a failure that leaves no file to write to, until it is tried again.
  private static let rest = Duration.seconds(60)

  private var file: AppendFile
  private let limit: Int
  private let count: Int
  private let log: StructuredLog
  private let time: any TimeSource
  private var size: Int
  private var restsUntil: MonotonicInstant?
  /// Standard error knows that files are not put aside, or that none is written; until it works again.
  private var hasTold = (emptied: false, stopped: false)

  init(file: AppendFile, limit: Int, count: Int, log: StructuredLog, time: any TimeSource) {
    self.file = file
    self.limit = limit
    self.count = count
    self.log = log
    self.time = time
    size = file.size
  }

  mutating func write(_ line: [UInt8]) -> Bool {
    if let restsUntil {
      guard time.monotonicNow() >= restsUntil else { return false }
      self.restsUntil = nil
    }
    // Twice: what somebody put in its place may be full too.
    for _ in 0..<2 where isFull(line) {
      do throws(FileError) { try makeRoom() } catch {
        stop(error)
        return false
      }
    }
    guard file.append(line) else {
      size = file.size
      return false
    }
    size += line.count
    return true
  }

  private func isFull(_ line: [UInt8]) -> Bool { file.isRegular && size > 0 && size + line.count > limit }

  private mutating func makeRoom() throws(FileError) {
    guard count > 1, let place = file.place else { return try empty() }
    if file.isStill(at: place) {
      do throws(FileError) { try putAside(place) } catch {
        try empty()
        tellEmptied(error)
        return
      }
    }
    file = try AppendFile(path: place)
    size = file.size
    hasTold = (false, false)
  }

  private func putAside(_ place: String) throws(FileError) {
    // Those that are not there yet are no failure.
    for number in stride(from: count - 1, to: 1, by: -1) { try? AppendFile.rename("\(place).\(number - 1)", to: "\(place).\(number)") }
    try AppendFile.rename(place, to: place + ".1")
  }

  private mutating func empty() throws(FileError) {
    try file.empty()
    size = 0
    hasTold.stopped = false
  }

  private mutating func tellEmptied(_ error: FileError) {
    guard !hasTold.emptied else { return }
    hasTold.emptied = true
    log.error(
      "log_file_not_rotated", "The full log file cannot be put aside: it is emptied whenever it is full, and older lines are lost to it.",
      ["file": .string(file.place ?? "-"), "reason": .string(error.sentence)])
  }

  private mutating func stop(_ error: FileError) {
    restsUntil = time.monotonicNow().advanced(by: Self.rest)
    guard !hasTold.stopped else { return }
    hasTold.stopped = true
    log.error(
      "log_file_stopped", "The log file takes no more lines; it is tried again every minute. Standard error has all lines.",
      ["file": .string(file.place ?? "-"), "reason": .string(error.sentence)])
  }
}
