import Linux

/// Files that even root cannot write, on file systems that know that attribute.
package final class FrozenFile: Sendable {
  private let paths: [String]

  package static var isPossible: Bool {
    guard TestDisk.isPossible, let folder = try? TestFolder() else { return false }
    guard (try? TestFolder.makeFile(folder.file("probe"))) != nil, let child = try? ChildProcess("chattr", ["+i", folder.file("probe")])
    else { return false }
    defer { if let thaw = try? ChildProcess("chattr", ["-i", folder.file("probe")]) { while thaw.exit == nil {} } }
    while child.exit == nil {}
    return child.exit == .code(0)
  }

  package init(_ paths: String...) async throws {
    self.paths = paths
    try await TestDisk.run("chattr", ["+i"] + paths)
  }

  deinit { if let child = try? ChildProcess("chattr", ["-i"] + paths) { while child.exit == nil {} } }

  package func thaw() async throws { try await TestDisk.run("chattr", ["-i"] + paths) }
}
