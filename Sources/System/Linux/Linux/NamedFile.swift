import CLinux
@preconcurrency import Glibc

/// A file that a person named on the command line or in a configuration.
package struct NamedFile: Sendable {
  package let bytes: [UInt8]
  /// Users besides the owner and its group may read it.
  package let isReadableByOthers: Bool
}

/// Why a named file cannot be read, in the system's words.
package struct NamedFileError: Error, Sendable, CustomStringConvertible {
  package let reason: String
  package var description: String { reason }
}

/// Reads a whole file, links followed, of at most `limit` bytes. It blocks: for the start of the process, never for requests.
package func readNamedFile(_ path: String, limit: Int) throws(NamedFileError) -> NamedFile {
  guard !path.utf8.contains(0) else { throw NamedFileError(reason: "the name holds a NUL") }
  let descriptor = open(path, O_RDONLY | O_CLOEXEC)
  guard descriptor >= 0 else { throw NamedFileError(reason: String(cString: strerror(errno))) }
  defer { close(descriptor) }
  var status = stat()
  guard fstat(descriptor, &status) == 0 else { throw NamedFileError(reason: String(cString: strerror(errno))) }
  guard status.st_mode & S_IFMT != S_IFDIR else { throw NamedFileError(reason: "it is a directory") }
  var bytes: [UInt8] = []
  var piece = [UInt8](repeating: 0, count: 65_536)
  while true {
    let got = piece.withUnsafeMutableBytes { read(descriptor, $0.baseAddress, $0.count) }
    if got < 0 {
      guard errno == EINTR else { throw NamedFileError(reason: String(cString: strerror(errno))) }
      continue
    }
    guard got > 0 else { break }
    guard bytes.count + got <= limit else { throw NamedFileError(reason: "it is larger than \(limit) bytes") }
    bytes += piece[..<got]
  }
  return NamedFile(bytes: bytes, isReadableByOthers: status.st_mode & S_IROTH != 0)
}

/// Writes all of a command's output and waits for the reader; false when nobody takes it. For commands, never for a running server's log.
package func writeAll(_ bytes: [UInt8], to descriptor: Int32) -> Bool {
  var rest = bytes[...]
  while !rest.isEmpty {
    let count = rest.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
    if count < 0 {
      guard errno == EINTR else { return false }
      continue
    }
    rest = rest.dropFirst(count)
  }
  return true
}

/// Ends the process with this code.
package func endProcess(_ code: Int32) -> Never { exit(code) }
