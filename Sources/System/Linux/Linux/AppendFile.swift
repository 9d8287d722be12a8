import Glibc

/// A file that grows at its end, made when it is not there (readable by its user and group). All calls block.
package final class AppendFile: Sendable {
  private let descriptor: Int32

  package init(path: String) throws(FileError) {
    guard !path.utf8.contains(0) else { throw FileError(errno: EINVAL) }
    descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY, 0o640)
    guard descriptor >= 0 else { throw .last }
  }

  deinit { _ = close(descriptor) }

  /// In bytes; 0 when it cannot be told.
  package var size: Int {
    var raw = stat()
    return fstat(descriptor, &raw) == 0 ? Int(raw.st_size) : 0
  }

  /// False when not all of it could be written.
  package func append(_ bytes: [UInt8]) -> Bool { writeAll(bytes, to: descriptor) }

  /// Renames a file; one of the new name is replaced.
  package static func rename(_ old: String, to new: String) throws(FileError) {
    guard Glibc.rename(old, new) == 0 else { throw .last }
  }

  /// Makes a file of this content that only its user may read; one that is there already is an error.
  package static func createPrivate(_ path: String, _ bytes: [UInt8]) throws(FileError) {
    guard !path.utf8.contains(0) else { throw FileError(errno: EINVAL) }
    let descriptor = open(path, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw .last }
    let isWritten = writeAll(bytes, to: descriptor)
    let failure = FileError.last
    guard close(descriptor) == 0, isWritten else { throw failure }
  }
}
