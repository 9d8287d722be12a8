import FoundationEssentials
import Linux

/// A folder of a test's own, removed with the last reference.
package final class TestFolder: Sendable {
  package let path: String

  /// - Parameter inMemory: below /dev/shm where that exists, for tests that write much and do not ask about the disk.
  package init(inMemory: Bool = false) throws {
    let memory = inMemory && FileManager.default.isWritableFile(atPath: "/dev/shm")
    path = try makeTemporaryFolder(prefix: (memory ? "/dev/shm" : FileManager.default.temporaryDirectory.path) + "/intercom-test-")
  }

  deinit { try? FileManager.default.removeItem(atPath: path) }

  /// The path of an entry of this folder.
  package func file(_ name: String) -> String { "\(path)/\(name)" }

  /// Makes an empty file.
  package static func makeFile(_ path: String, mode: Int = 0o600) throws {
    guard FileManager.default.createFile(atPath: path, contents: nil, attributes: [.posixPermissions: mode]) else {
      throw WaitFailure("cannot make \(path)", within: .zero)
    }
  }
}
