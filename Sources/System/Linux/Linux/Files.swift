import Glibc

/// A system call on a file failed: its errno, with the cases that callers tell apart.
package struct FileError: Error, Sendable, Equatable {
  package let errno: Int32

  package init(errno: Int32) { self.errno = errno }

  /// What the C library says about it.
  package var sentence: String { String(cString: strerror(errno)) }

  /// No such entry, or a part of the path is no folder.
  package var isNotFound: Bool { errno == ENOENT || errno == ENOTDIR }
  /// A folder stands where a file is to be written.
  package var isFolder: Bool { errno == EISDIR }
  package var isExisting: Bool { errno == EEXIST || errno == ENOTEMPTY }
  /// The last segment is a symbolic link (`O_NOFOLLOW`).
  package var isLink: Bool { errno == ELOOP }
  /// The disk or the user's quota is full.
  package var isFull: Bool { errno == ENOSPC || errno == EDQUOT }
  package var isNotEmpty: Bool { errno == ENOTEMPTY }
  /// A pipe that nobody reads was opened for writing; sockets say the same.
  package var hasNoReader: Bool { errno == ENXIO }
  /// A name that is no single segment (empty, `.`, `..`, with a slash or NUL, over 255 bytes).
  package var isBadName: Bool { errno == EINVAL || errno == ENAMETOOLONG }

  static var last: FileError { FileError(errno: Glibc.errno) }
}

/// What lstat(2) says about an entry.
package struct FileStatus: Sendable, Equatable {
  package enum Kind: Sendable, Equatable { case file, folder, other }
  package var kind: Kind
  /// In bytes.
  package var size: Int
  package var modifiedSeconds: Int64
  package var modifiedNanoseconds: Int64
  package var inode: UInt64
}

/// An open file or folder; the descriptor is closed with the last reference.
///
/// Entries are named by one segment at a time relative to an open folder and never through symbolic links, so no name leads out of the
/// folder that one began with. All calls block: run them on `Workers`, never on a loop.
package final class OpenFile: Sendable {
  private let descriptor: Int32

  private init(descriptor: Int32) { self.descriptor = descriptor }
  deinit { _ = close(descriptor) }

  /// Opens a folder by its path, links followed: for folders of configuration, never for what a client names.
  package static func folder(path: String) throws(FileError) -> OpenFile {
    OpenFile(descriptor: try checked(open(path, O_RDONLY | O_DIRECTORY | O_CLOEXEC)))
  }

  package func folder(_ name: [UInt8]) throws(FileError) -> OpenFile {
    try opened(name, O_RDONLY | O_DIRECTORY | O_NOFOLLOW | O_CLOEXEC)
  }

  /// Opens for reading. Non-blocking, so that a named pipe cannot hold the thread.
  package func reading(_ name: [UInt8]) throws(FileError) -> OpenFile {
    try opened(name, O_RDONLY | O_NOFOLLOW | O_NONBLOCK | O_CLOEXEC)
  }

  /// Creates a new file for writing, readable by its owner only; an existing entry is `isExisting`.
  package func creating(_ name: [UInt8]) throws(FileError) -> OpenFile {
    try opened(name, O_WRONLY | O_CREAT | O_EXCL | O_NOFOLLOW | O_CLOEXEC)
  }

  package func status() throws(FileError) -> FileStatus {
    var raw = stat()
    _ = try checked(fstat(descriptor, &raw))
    return FileStatus(raw)
  }

  package func status(of name: [UInt8]) throws(FileError) -> FileStatus {
    var raw = stat()
    let result = try withName(name) { fstatat(descriptor, $0, &raw, AT_SYMLINK_NOFOLLOW) }
    _ = try checked(result)
    return FileStatus(raw)
  }

  /// Makes a folder that only its user may enter; one that is there already is an error (`isExisting`).
  package static func makePrivateFolder(_ path: String) throws(FileError) {
    guard !path.utf8.contains(0) else { throw FileError(errno: EINVAL) }
    guard mkdir(path, 0o700) == 0 else { throw .last }
  }

  package func makeFolder(_ name: [UInt8]) throws(FileError) {
    _ = try checked(try withName(name) { mkdirat(descriptor, $0, 0o700) })
  }

  /// Removes a file, or an empty folder.
  package func remove(_ name: [UInt8], isFolder: Bool) throws(FileError) {
    _ = try checked(try withName(name) { unlinkat(descriptor, $0, isFolder ? AT_REMOVEDIR : 0) })
  }

  /// Renames in one step; an existing file there is replaced.
  package func rename(_ name: [UInt8], into folder: OpenFile, as newName: [UInt8]) throws(FileError) {
    let result = try withName(name) { (old) throws(FileError) -> Int32 in
      try withName(newName) { renameat(descriptor, old, folder.descriptor, $0) }
    }
    _ = try checked(result)
  }

  /// At most `count` bytes from `offset`; empty at the end.
  package func read(at offset: Int, count: Int) throws(FileError) -> [UInt8] {
    var failure: FileError?
    let bytes = [UInt8](unsafeUninitializedCapacity: max(0, count)) { buffer, filled in
      while true {
        let got = pread(descriptor, buffer.baseAddress, buffer.count, off_t(offset))
        if got >= 0 {
          filled = got
          return
        }
        if Glibc.errno != EINTR {
          failure = .last
          return
        }
      }
    }
    if let failure { throw failure }
    return bytes
  }

  /// Writes all of it at the file's position.
  package func write(_ bytes: [UInt8]) throws(FileError) {
    var written = 0
    while written < bytes.count {
      let got = bytes.withUnsafeBufferPointer { buffer in
        Glibc.write(descriptor, buffer.baseAddress.map { $0 + written }, buffer.count - written)
      }
      if got > 0 { written += got } else if Glibc.errno != EINTR { throw .last }
    }
  }

  /// The names in this folder without `.` and `..`, in no order. More than `limit` is an error (E2BIG): no answer is silently short.
  package func names(limit: Int) throws(FileError) -> [[UInt8]] {
    // A descriptor of its own: readdir moves the position, which dup(2) would share.
    let copy = try checked(openat(descriptor, ".", O_RDONLY | O_DIRECTORY | O_CLOEXEC))
    guard let stream = fdopendir(copy) else {
      let failure = FileError.last
      _ = close(copy)
      throw failure
    }
    defer { closedir(stream) }
    var names: [[UInt8]] = []
    while true {
      Glibc.errno = 0
      guard let entry = readdir(stream) else {
        guard Glibc.errno == 0 else { throw .last }
        return names
      }
      let name = withUnsafePointer(to: &entry.pointee.d_name) { tuple in
        tuple.withMemoryRebound(to: UInt8.self, capacity: 256) { Array(UnsafeBufferPointer(start: $0, count: strlen(tuple))) }
      }
      if name == [0x2e] || name == [0x2e, 0x2e] { continue }
      guard names.count < limit else { throw FileError(errno: E2BIG) }
      names.append(name)
    }
  }

  private func opened(_ name: [UInt8], _ flags: Int32) throws(FileError) -> OpenFile {
    OpenFile(descriptor: try checked(try withName(name) { openat(descriptor, $0, flags, 0o600) }))
  }
}

/// Makes a new folder for this process alone; `prefix` is the beginning of its path, links followed.
package func makeTemporaryFolder(prefix: String) throws(FileError) -> String {
  // mkdtemp(3) replaces six X.
  var template = Array((prefix + String(repeating: "X", count: 6)).utf8CString)
  guard mkdtemp(&template) != nil else { throw .last }
  return String(decoding: template.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
}

extension FileStatus {
  fileprivate init(_ raw: stat) {
    let kind: Kind =
      switch raw.st_mode & S_IFMT {
      case S_IFREG: .file
      case S_IFDIR: .folder
      default: .other
      }
    self.init(
      kind: kind, size: Int(raw.st_size), modifiedSeconds: Int64(raw.st_mtim.tv_sec),
      modifiedNanoseconds: Int64(raw.st_mtim.tv_nsec), inode: UInt64(raw.st_ino))
  }
}

private func checked(_ result: Int32) throws(FileError) -> Int32 {
  guard result >= 0 else { throw .last }
  return result
}

/// Calls with the name as a C string, after checking that it is one segment.
private func withName<R>(_ name: [UInt8], _ body: (UnsafePointer<CChar>) throws(FileError) -> R) throws(FileError) -> R {
  guard !name.isEmpty, name.count <= 255, name != [0x2e], name != [0x2e, 0x2e], !name.contains(0), !name.contains(0x2f) else {
    throw FileError(errno: EINVAL)
  }
  let text = name.map { CChar(bitPattern: $0) } + [0]
  return try text.withUnsafeBufferPointer { (buffer) throws(FileError) -> R in
    guard let base = buffer.baseAddress else { throw FileError(errno: EINVAL) }
    return try body(base)
  }
}
