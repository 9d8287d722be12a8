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

  /// A real file system in a file, for what tmpfs does not show.
  package init(ext4Megabytes: Int, blockBytes: Int) async throws {
    folder = try TestFolder()
    let image = try TestFolder(inMemory: true)
    let file = image.file("disk")
    try await Self.run("truncate", ["-s", "\(ext4Megabytes)M", file])
    try await Self.run("mkfs.ext4", ["-q", "-m", "0", "-b", "\(blockBytes)", file])
    // The loop device keeps the file, whose name may go.
    try await Self.run("mount", ["-o", "loop", file, folder.path])
  }

  /// Whether `init(ext4Megabytes:blockBytes:)` works here: not in every container.
  package static var hasLoopDevices: Bool {
    isPossible && FileManager.default.fileExists(atPath: "/dev/loop-control") && FileManager.default.fileExists(atPath: "/dev/loop0")
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
    _ = try await ChildProcess("dd", ["if=/dev/zero", "of=\(ballast)", "bs=1k"]).waitForExit()
    return ballast
  }

  /// Runs a command to its end and throws when it fails.
  package static func run(_ program: String, _ arguments: [String]) async throws {
    let child = try ChildProcess(program, arguments)
    let exit = try await child.waitForExit()
    guard exit == .code(0) else { throw WaitFailure("\(program) failed (\(exit))", within: .zero, seen: child.outputTail) }
  }
}
