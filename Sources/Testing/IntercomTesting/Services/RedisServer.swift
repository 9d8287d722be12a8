import FoundationEssentials
import IntercomCore
import Linux
import Synchronization

/// A real Redis of a test's own: a port and a folder of its own, nothing on disk, ended with the last reference.
///
/// Debian's `redis-tools` holds the server too, under another name; its package `redis-server` would start one for the whole machine.
package final class RedisServer: Sendable {
  package let port: Int
  private let process: Mutex<ChildProcess>
  private let folder: TestFolder

  /// The program; nil where it is not installed.
  package static let program = ["/usr/bin/redis-server", "/usr/bin/redis-check-rdb"].first {
    FileManager.default.isExecutableFile(atPath: $0)
  }

  /// Where a test can run: `.enabled(if: RedisServer.isAvailable)`, and where it must.
  package static var isAvailable: Bool { program != nil || Services.areRequired }

  /// What makes a server write down everything before it acknowledges it: with these it loses nothing when it is killed.
  package static let durable = ["appendonly yes", "appendfsync always"]

  /// Starts a server and waits until it answers.
  ///
  /// - Parameter settings: lines of its configuration, such as `maxmemory 1mb`.
  package init(_ settings: [String] = []) async throws {
    guard let program = Self.program else { throw MissingService(description: "no Redis: dev/test installs redis-tools") }
    folder = try TestFolder()
    port = try FreePort.next()
    let lines = ["bind 127.0.0.1", "save \"\"", "appendonly no", "dir \(folder.path)"] + settings
    let hasPort = settings.contains { $0.hasPrefix("tls-port") }
    let text = (lines + [hasPort ? "port 0" : "port \(port)"]).joined(separator: "\n") + "\n"
    try Data(text.replacing("{port}", with: "\(port)").utf8).write(to: URL(filePath: folder.file("redis.conf")))
    // The name it is called by decides what the program is.
    let link = folder.file("redis-server")
    try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: program)
    process = Mutex(try await Self.start(in: folder))
  }

  private static func start(in folder: TestFolder) async throws -> ChildProcess {
    let process = try ChildProcess(folder.file("redis-server"), [folder.file("redis.conf")], log: "redis")
    _ = try await process.line("that it accepts connections") { $0.contains("Ready to accept connections") }
    return process
  }

  private var current: ChildProcess { process.withLock { $0 } }

  /// As if its machine lost power.
  package func kill() async {
    current.send(Signal.kill)
    _ = try? await current.waitForExit()
  }

  /// It comes back at the same port, with what it wrote down.
  package func restart() async throws {
    let started = try await Self.start(in: folder)
    process.withLock { $0 = started }
  }

  /// It runs on and answers nothing, until `thaw`.
  package func freeze() { current.send(Signal.stop) }
  package func thaw() { current.send(Signal.resume) }

  /// Every command that changed something, as a `durable` server has written it down.
  package var journal: [UInt8] {
    let place = folder.file("appendonlydir")
    let names = (try? FileManager.default.contentsOfDirectory(atPath: place)) ?? []
    return names.filter { $0.hasSuffix(".aof") }.flatMap { FileManager.default.contents(atPath: "\(place)/\($0)") ?? Data() }
  }

  /// What `redis-cli` answers to this command.
  @discardableResult
  package func command(_ words: String..., and more: [String] = []) async throws -> [String] {
    let child = try ChildProcess("redis-cli", ["-h", "127.0.0.1", "-p", "\(port)"] + words + more, log: "redis-cli")
    guard try await child.waitForExit() == .code(0) else { throw WaitFailure("redis-cli", within: .zero, seen: child.outputTail) }
    return child.lines
  }
}
