import CLinux
@preconcurrency import Glibc

/// CLOCK_REALTIME in microseconds since 1970.
package func wallMicroseconds() -> Int64 {
  var now = timespec()
  clock_gettime(CLOCK_REALTIME, &now)
  return Int64(now.tv_sec) &* 1_000_000 &+ Int64(now.tv_nsec) / 1_000
}

/// What became of a line handed to `writeLine`.
package enum LineWrite: Sendable, Equatable {
  case written
  /// The reader of the pipe is behind: nothing was written.
  case full
  /// The descriptor takes nothing (closed, disk full); the number is `errno`.
  case failed(Int32)
}

/// The largest line that a pipe takes whole and at once (PIPE_BUF of Linux, in bytes).
package let longestAtomicLine = 4096

/// Writes `line` by one write(2) when the descriptor has room for it now, and waits for nobody.
///
/// A pipe that poll(2) calls writable takes PIPE_BUF bytes without blocking, so a line of at most `longestAtomicLine` bytes goes out whole or
/// not at all. O_NONBLOCK would change the terminal of whoever started us, for it belongs to the open file, not to the descriptor.
package func writeLine(_ line: [UInt8], to descriptor: Int32) -> LineWrite {
  guard !line.isEmpty else { return .written }
  var wanted = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
  let ready = poll(&wanted, 1, 0)
  guard ready > 0, wanted.revents & Int16(POLLOUT) != 0 else { return ready < 0 ? .failed(errno) : .full }
  let count = line.withUnsafeBytes { write(descriptor, $0.baseAddress, $0.count) }
  if count == line.count { return .written }
  return count < 0 ? .failed(errno) : .full
}

/// Both ends of a pipe(2).
package struct PipeEnds: Sendable {
  package let read: Int32
  package let write: Int32

  package func close() {
    _ = Glibc.close(read)
    _ = Glibc.close(write)
  }
}

/// A new pipe, nil when the process has no descriptors left.
package func makePipe() -> PipeEnds? {
  var ends: [Int32] = [-1, -1]
  guard pipe(&ends) == 0 else { return nil }
  return PipeEnds(read: ends[0], write: ends[1])
}
