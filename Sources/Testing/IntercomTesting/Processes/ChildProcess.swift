import FoundationEssentials
import IntercomCore
import Linux
import Synchronization

/// A program that a test runs: started in a process group of its own, always ended and collected, its output kept for failure messages.
///
/// Standard output and standard error go to one file (`logPath`): a pipe that nobody empties would block the program, and the file is still
/// there when a test has failed.
package final class ChildProcess: Sendable {
  package let program: String
  package let identifier: Int32
  /// What the program wrote, both streams in the order of writing.
  package let logPath: String

  private struct State {
    var exit: ChildExit?
  }
  private let state = Mutex(State())

  /// How much of the output a failure message shows.
  private static let shownTail = 4_096

  /// Starts `program`, a path or a name to be found in PATH.
  ///
  /// - Parameters:
  ///   - environment: added to that of this process; nil removes a variable.
  ///   - log: the name of the log file below `.build/test-logs`, made unique.
  package init(
    _ program: String, _ arguments: [String] = [], environment: [String: String?] = [:], log: String? = nil
  ) throws {
    self.program = program
    let folder = PackageRoot.build + "/test-logs"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let name = log ?? String(program.split(separator: "/").last ?? "child")
    logPath = "\(folder)/\(name)-\(UUID().uuidString.prefix(8)).log"
    let kept = environmentStrings().filter { entry in
      !environment.keys.contains { entry.utf8.starts(with: "\($0)=".utf8) }
    }
    let added = environment.compactMap { name, value in value.map { "\(name)=\($0)" } }
    identifier = try spawn(program: program, arguments: arguments, environment: kept + added, logPath: logPath)
  }

  deinit { end() }

  /// Nil while the program runs.
  package var exit: ChildExit? {
    state.withLock { state in
      if state.exit == nil { state.exit = reap(identifier) }
      return state.exit
    }
  }

  /// Everything written so far, at most the last 1 MiB.
  package var output: String {
    let limit = 1 << 20
    let size = (try? FileManager.default.attributesOfItem(atPath: logPath)[.size] as? Int) ?? 0
    return String(decoding: readFile(logPath, from: max(0, size - limit), maximum: limit), as: UTF8.self)
  }

  /// Everything written so far, however much.
  package var allOutput: [UInt8] { Array(FileManager.default.contents(atPath: logPath) ?? Data()) }

  /// The last lines of the output, for failure messages.
  package var outputTail: String { "end of \(logPath):\n\(String(output.suffix(Self.shownTail)))" }

  /// The lines written so far without their ends; an unfinished last one is left out. Split by bytes: "\r\n" is one Character in Swift.
  package var lines: [String] {
    output.utf8.split(separator: UInt8(ascii: "\n"), omittingEmptySubsequences: false).dropLast().map { line in
      String(decoding: line.last == UInt8(ascii: "\r") ? line.dropLast() : line, as: UTF8.self)
    }
  }

  /// The first line that satisfies `matches`, waited for. Throws at once when the program ends without having written one.
  package func line(
    _ what: String, within limit: Duration = .seconds(20), where matches: (String) -> Bool
  ) async throws -> String {
    let time = SystemTime()
    let deadline = time.monotonicNow().advanced(by: limit)
    while true {
      let ended = exit
      if let line = lines.first(where: matches) { return line }
      if let ended { throw WaitFailure("\(program) ended (\(ended)) before it wrote \(what)", within: limit, seen: outputTail) }
      guard time.monotonicNow() < deadline else {
        throw WaitFailure("\(program) did not write \(what)", within: limit, seen: outputTail)
      }
      try await time.sleep(for: .milliseconds(10))
    }
  }

  /// Sends a signal to the program alone.
  package func send(_ signal: Int32) { state.withLock { if $0.exit == nil { signalProcess(identifier, signal) } } }

  /// How the program ended, waited for.
  package func waitForExit(within limit: Duration = .seconds(20)) async throws -> ChildExit {
    let time = SystemTime()
    let deadline = time.monotonicNow().advanced(by: limit)
    while true {
      if let exit { return exit }
      guard time.monotonicNow() < deadline else { throw WaitFailure("\(program) did not end", within: limit, seen: outputTail) }
      try await time.sleep(for: .milliseconds(5))
    }
  }

  /// SIGTERM, then after `grace` SIGKILL for the whole group; returns when the program is collected.
  @discardableResult
  package func terminate(grace: Duration = .seconds(5)) async -> ChildExit {
    send(Signal.terminate)
    _ = try? await waitForExit(within: grace)
    return end()
  }

  /// Kills what is left of the process group and collects the program.
  @discardableResult
  private func end() -> ChildExit {
    state.withLock { state in
      signalGroup(identifier, Signal.kill)
      if let exit = state.exit { return exit }
      let exit = reap(identifier, wait: true) ?? .signal(Signal.kill)
      state.exit = exit
      return exit
    }
  }
}

/// Picks ports for programs that cannot bind to port 0.
package enum FreePort {
  /// Those that were given out last: who asked for one may not have opened it yet.
  private static let given = Mutex([Int]())

  /// A port of 127.0.0.1 that was free a moment ago.
  package static func next() throws -> Int {
    for _ in 0..<100 {
      guard let port = freeLoopbackPort().map({ Int($0) }) else { break }
      let isNew = given.withLock { given in
        guard !given.contains(port) else { return false }
        given = given.suffix(63) + [port]
        return true
      }
      if isNew { return port }
    }
    throw WaitFailure("no free port on 127.0.0.1", within: .zero)
  }
}
