import Glibc
import Synchronization

/// A lock of this process on a file that exists for nothing else (flock(2)); it ends with the last reference or with the process.
///
/// It is never the file that it guards: closing any descriptor of a file drops the process's POSIX locks on it, which SQLite uses.
package final class FileLock: Sendable {
  /// -1 once it was released.
  private let descriptor: Atomic<Int32>

  private init(descriptor: Int32) { self.descriptor = Atomic(descriptor) }
  deinit { release() }

  /// Gives the lock up before the last reference goes.
  package func release() {
    let open = descriptor.exchange(-1, ordering: .acquiringAndReleasing)
    guard open >= 0 else { return }
    // Closing alone is not enough while a child that was just forked has not yet called execve(2).
    _ = flock(open, LOCK_UN)
    _ = close(open)
  }

  /// What became of the attempt.
  package enum Attempt: Sendable {
    case locked(FileLock)
    /// Somebody else has it; the number is what the holder wrote as its process id, nil when it cannot be read.
    case held(by: Int32?)
  }

  /// Takes the lock without waiting; the file is made, readable by its owner alone, and stays. Symbolic links are refused.
  package static func take(path: String) throws(FileError) -> Attempt {
    let descriptor = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0o600)
    guard descriptor >= 0 else { throw .last }
    let lock = FileLock(descriptor: descriptor)
    while flock(descriptor, LOCK_EX | LOCK_NB) != 0 {
      if errno == EINTR { continue }
      guard errno == EWOULDBLOCK else { throw .last }
      return .held(by: holder(descriptor))
    }
    // For the message of whoever comes next: a full disk is no reason to fail here.
    let text = Array("\(getpid())\n".utf8)
    if ftruncate(descriptor, 0) == 0 { _ = text.withUnsafeBytes { pwrite(descriptor, $0.baseAddress, $0.count, 0) } }
    return .locked(lock)
  }

  private static func holder(_ descriptor: Int32) -> Int32? {
    var digits = [UInt8](repeating: 0, count: 16)
    let count = digits.withUnsafeMutableBytes { pread(descriptor, $0.baseAddress, $0.count, 0) }
    return Int32(String(decoding: digits.prefix(max(0, count)).prefix { $0 >= 0x30 && $0 <= 0x39 }, as: UTF8.self))
  }
}

/// Why a file is not fit to hold secrets.
package enum PrivateFileFault: Error, Sendable, Equatable {
  case system(FileError)
  /// The folder does not exist or is none.
  case noFolder
  /// Everybody may replace files in the folder.
  case folderOpenToAll
  /// It is a link, a folder or a device.
  case notRegular
  /// It belongs to another user.
  case foreign
  /// It has a second name, where it would live on.
  case linked
}

/// Makes sure that the file is there and belongs to this user alone (mode 0600), and that not everybody may replace it.
///
/// A folder that its group may write to is accepted: volumes of Kubernetes are (`fsGroup`), which also widens modes, so they are narrowed here.
package func preparePrivateFile(path: String) throws(PrivateFileFault) {
  try checkFolder(of: path)
  var status = stat()
  let descriptor = open(path, O_RDWR | O_CREAT | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC, 0o600)
  guard descriptor >= 0 else {
    if errno == ELOOP || errno == EISDIR || errno == ENXIO { throw .notRegular }
    throw .system(.last)
  }
  defer { _ = close(descriptor) }
  guard fstat(descriptor, &status) == 0 else { throw .system(.last) }
  guard status.st_mode & S_IFMT == S_IFREG else { throw .notRegular }
  guard status.st_uid == geteuid() else { throw .foreign }
  guard status.st_nlink <= 1 else { throw .linked }
  if status.st_mode & 0o777 != 0o600 {
    guard fchmod(descriptor, 0o600) == 0 else { throw .system(.last) }
  }
}

/// What `preparePrivateFile` would refuse, without making or changing anything; nil when nothing can be told, as when the file is not there yet.
package func privateFileObstacle(path: String) -> PrivateFileFault? {
  do throws(PrivateFileFault) {
    let folder = try checkFolder(of: path)
    guard access(folder, W_OK | X_OK) == 0 else { return .system(.last) }
  } catch { return error }
  var status = stat()
  guard lstat(path, &status) == 0 else { return errno == ENOENT ? nil : .system(.last) }
  guard status.st_mode & S_IFMT == S_IFREG else { return .notRegular }
  // Root checks for others.
  guard status.st_uid == geteuid() || geteuid() == 0 else { return .foreign }
  guard status.st_nlink <= 1 else { return .linked }
  return access(path, R_OK | W_OK) == 0 ? nil : .system(.last)
}

/// The file's folder: it must be there, and not everybody may replace what is in it.
@discardableResult
private func checkFolder(of path: String) throws(PrivateFileFault) -> String {
  let end = path.utf8.lastIndex(of: UInt8(ascii: "/"))
  let folder = end.map { $0 == path.startIndex ? "/" : String(path[..<$0]) } ?? "."
  var status = stat()
  guard stat(folder, &status) == 0, status.st_mode & S_IFMT == S_IFDIR else { throw .noFolder }
  guard status.st_mode & S_IWOTH == 0 || status.st_mode & S_ISVTX != 0 else { throw .folderOpenToAll }
  return folder
}

/// Which file a path names now.
package struct FileIdentity: Sendable, Equatable {
  private let device: UInt64
  private let inode: UInt64

  /// Nil when there is none.
  package init?(path: String) {
    var status = stat()
    guard stat(path, &status) == 0 else { return nil }
    device = UInt64(status.st_dev)
    inode = UInt64(status.st_ino)
  }
}
