import Glibc

/// A file that grows at its end, made when it is not there (readable by its user and group). All calls block.
package final class AppendFile: Sendable {
  private let descriptor: Int32
  /// False of devices, pipes and terminals, which have no size and must not be renamed.
  package let isRegular: Bool
  /// The path of a regular file with all links resolved; nil of others, and where no path leads to it any more.
  package let place: String?

  /// Links are followed. A pipe that nobody reads is an error (`hasNoReader`): a reader is not waited for.
  package init(path: String) throws(FileError) {
    guard !path.utf8.contains(0) else { throw FileError(errno: EINVAL) }
    let descriptor = open(path, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC | O_NOCTTY | O_NONBLOCK, 0o640)
    guard descriptor >= 0 else { throw .last }
    // Writes wait for the reader of a pipe. The flag is of this opening alone: whoever else has the pipe keeps theirs.
    _ = fcntl(descriptor, F_SETFL, O_APPEND)
    self.descriptor = descriptor
    isRegular = status(of: descriptor).map { $0.st_mode & S_IFMT == S_IFREG } ?? false
    place = isRegular ? resolved(path, for: descriptor) : nil
  }

  deinit { _ = close(descriptor) }

  /// In bytes; 0 when it cannot be told, and of what has none.
  package var size: Int { isRegular ? status(of: descriptor).map { Int($0.st_size) } ?? 0 : 0 }

  /// False when somebody has moved or removed it since.
  package func isStill(at path: String) -> Bool { leads(path, to: descriptor) }

  /// Is it the file, pipe or terminal that is open under this descriptor too?
  package func isSame(as other: Int32) -> Bool {
    guard let other = status(of: other), let own = status(of: descriptor) else { return false }
    return own.isSame(as: other)
  }

  /// False when not all of it could be written.
  package func append(_ bytes: [UInt8]) -> Bool { writeAll(bytes, to: descriptor) }

  /// Throws away what a regular file holds.
  package func empty() throws(FileError) { guard ftruncate(descriptor, 0) == 0 else { throw .last } }

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
    guard close(descriptor) == 0, isWritten else {
      _ = unlink(path)
      throw failure
    }
  }

  /// What stands in the way of opening this file and of putting it aside later, as far as it can be told without making anything; nil for nothing.
  package static func obstacle(path: String) -> FileError? {
    guard !path.utf8.contains(0) else { return FileError(errno: EINVAL) }
    var status = stat()
    if stat(path, &status) == 0 {
      guard status.st_mode & S_IFMT != S_IFDIR else { return FileError(errno: EISDIR) }
      guard access(path, W_OK) == 0 else { return .last }
      // Devices are not put aside.
      guard status.st_mode & S_IFMT == S_IFREG else { return nil }
    } else if errno != ENOENT {
      return .last
    }
    let end = path.utf8.lastIndex(of: UInt8(ascii: "/"))
    let folder = end.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
    return access(folder, W_OK | X_OK) == 0 ? nil : .last
  }
}

private func status(of descriptor: Int32) -> stat? {
  var raw = stat()
  return fstat(descriptor, &raw) == 0 ? raw : nil
}

private func leads(_ path: String, to descriptor: Int32) -> Bool {
  var raw = stat()
  guard stat(path, &raw) == 0, let own = status(of: descriptor) else { return false }
  return own.isSame(as: raw)
}

extension stat {
  fileprivate func isSame(as other: stat) -> Bool { st_dev == other.st_dev && st_ino == other.st_ino }
}

/// Nil when the resolved path leads elsewhere: links below /proc may name what is gone, or in another mount namespace.
private func resolved(_ path: String, for descriptor: Int32) -> String? {
  guard let name = realpath(path, nil) else { return nil }
  defer { free(name) }
  let resolved = String(cString: name)
  return leads(resolved, to: descriptor) ? resolved : nil
}

/// Where relative paths begin; `.` when it cannot be told.
package func workingFolder() -> String {
  guard let name = getcwd(nil, 0) else { return "." }
  defer { free(name) }
  return String(cString: name)
}
