import FoundationEssentials
import IntercomCore
import Linux

/// A real Redis of a test's own: a port and a folder of its own, nothing on disk, ended with the last reference.
///
/// Debian's `redis-tools` holds the server too, under another name; its package `redis-server` would start one for the whole machine.
package final class RedisServer: Sendable {
  package let port: Int
  private let process: ChildProcess
  private let folder: TestFolder

  /// The program; nil where it is not installed.
  package static let program = ["/usr/bin/redis-server", "/usr/bin/redis-check-rdb"].first {
    FileManager.default.isExecutableFile(atPath: $0)
  }

  /// Where a test can run: `.enabled(if: RedisServer.isAvailable)`, and where it must.
  package static var isAvailable: Bool { program != nil || Services.areRequired }

  /// Starts a server and waits until it answers.
  ///
  /// - Parameters:
  ///   - port: nil takes a free one; a server that comes back wants that of before.
  ///   - settings: lines of its configuration, such as `maxmemory 1mb`.
  package init(port: Int? = nil, _ settings: [String] = []) async throws {
    guard let program = Self.program else { throw MissingService(description: "no Redis: dev/test installs redis-tools") }
    folder = try TestFolder()
    self.port = try port ?? FreePort.next()
    let lines = ["bind 127.0.0.1", "save \"\"", "appendonly no", "dir \(folder.path)"] + settings
    let hasPort = settings.contains { $0.hasPrefix("tls-port") }
    let text = (lines + [hasPort ? "port 0" : "port \(self.port)"]).joined(separator: "\n") + "\n"
    try Data(text.replacing("{port}", with: "\(self.port)").utf8).write(to: URL(filePath: folder.file("redis.conf")))
    // The name it is called by decides what the program is.
    let link = folder.file("redis-server")
    try FileManager.default.createSymbolicLink(atPath: link, withDestinationPath: program)
    process = try ChildProcess(link, [folder.file("redis.conf")], log: "redis")
    _ = try await process.line("that it accepts connections") { $0.contains("Ready to accept connections") }
  }

  /// As if its machine lost power.
  package func kill() async {
    process.send(Signal.kill)
    _ = try? await process.waitForExit()
  }

  /// It runs on and answers nothing, until `thaw`.
  package func freeze() { process.send(Signal.stop) }
  package func thaw() { process.send(Signal.resume) }

  /// What `redis-cli` answers to this command.
  @discardableResult
  package func command(_ words: String...) async throws -> [String] {
    let child = try ChildProcess("redis-cli", ["-h", "127.0.0.1", "-p", "\(port)"] + words, log: "redis-cli")
    guard try await child.waitForExit() == .code(0) else { throw WaitFailure("redis-cli", within: .zero, seen: child.outputTail) }
    return child.lines
  }
}
