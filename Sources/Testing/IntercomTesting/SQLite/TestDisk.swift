import FoundationEssentials
import Linux

/// A small disk of a test's own (tmpfs), unmounted at the end. Only root can have one.
package final class TestDisk: Sendable {
  private let folder: TestFolder
  package var path: String { folder.path }

  package static var isPossible: Bool {
    (try? FileManager.default.attributesOfItem(atPath: "/proc/self")[.ownerAccountID] as? Int) == 0
  }

  /// - Parameter size: as mount(8) takes it, such as `1m`.
  package init(size: String) async throws {
    folder = try TestFolder()
    try await Self.run("mount", ["-t", "tmpfs", "-o", "size=\(size),mode=0700", "tmpfs", folder.path])
  }

  deinit {
    // Lazily: a store that is still closing keeps its files.
    if let child = try? ChildProcess("umount", ["-l", folder.path]) { while child.exit == nil { Threads.pause(milliseconds: 5) } }
  }

  /// Lets the disk take no writes any more; whoever has a file open for writing prevents it.
  package func makeReadOnly() async throws { try await Self.run("mount", ["-o", "remount,ro", path]) }

  /// Fills what is left with one file; removing it frees the space again.
  package func fill() async throws -> String {
    let ballast = "\(path)/ballast"
    // Ends with an error when nothing is left, which is what is wanted.
    _ = try await ChildProcess("dd", ["if=/dev/zero", "of=\(ballast)", "bs=4k"]).waitForExit()
    return ballast
  }

  /// Runs a command to its end and throws when it fails.
  package static func run(_ program: String, _ arguments: [String]) async throws {
    let child = try ChildProcess(program, arguments)
    let exit = try await child.waitForExit()
    guard exit == .code(0) else { throw WaitFailure("\(program) failed (\(exit))", within: .zero, seen: child.outputTail) }
  }
}
