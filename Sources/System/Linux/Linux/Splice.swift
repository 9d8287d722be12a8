import CLinux
import Glibc

/// A pipe in the kernel through which bytes go from one socket to another (splice(2)): none of them is copied into this process.
package struct SplicePipe: Sendable {
  private let read: Int32
  private let write: Int32

  /// nil when the process or the system has no descriptors left.
  package init?() {
    var ends: [Int32] = [-1, -1]
    guard pipe2(&ends, O_CLOEXEC | O_NONBLOCK) == 0 else { return nil }
    (read, write) = (ends[0], ends[1])
  }

  /// Whether bytes of a socket can go this way here: some sandboxes' kernels have no splice(2). Tried once.
  package static let isAvailable: Bool = {
    var pair: [Int32] = [-1, -1]
    guard socketpair(AF_UNIX, Int32(SOCK_STREAM.rawValue) | O_CLOEXEC, 0, &pair) == 0 else { return false }
    defer { for end in pair { _ = Glibc.close(end) } }
    guard let pipe = SplicePipe() else { return false }
    defer { pipe.close() }
    var byte: UInt8 = 1
    return Glibc.send(pair[0], &byte, 1, Int32(MSG_NOSIGNAL)) == 1 && pipe.fill(from: pair[1], atMost: 1) == 1
      && pipe.drain(into: pair[1], count: 1) == 1
  }()

  package func close() {
    _ = Glibc.close(read)
    _ = Glibc.close(write)
  }

  /// Takes at most `count` bytes that `socket` has received: how many, 0 at its peer's end, `Socket.wouldBlock` or `Socket.broken`. The pipe must
  /// be empty, for a full one looks like a socket that has nothing.
  package func fill(from socket: Int32, atMost count: Int) -> Int { move(from: socket, to: write, count) }

  /// Sends at most `count` bytes of the pipe: how many, `Socket.wouldBlock` or `Socket.broken`. There is no MSG_NOSIGNAL here: SIGPIPE must be
  /// ignored, or blocked for the calling thread (`blockBrokenPipeSignal`).
  package func drain(into socket: Int32, count: Int) -> Int { move(from: read, to: socket, count) }

  private func move(from: Int32, to: Int32, _ count: Int) -> Int {
    while true {
      let moved = splice(from, nil, to, nil, UInt(max(0, count)), Self.moveWithoutBlocking)
      if moved >= 0 { return moved }
      if errno == EAGAIN { return Socket.wouldBlock }
      if errno != EINTR { return Socket.broken }
    }
  }

  /// SPLICE_F_MOVE and SPLICE_F_NONBLOCK.
  private static var moveWithoutBlocking: UInt32 { 1 | 2 }
}
