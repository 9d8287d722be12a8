import CLinux
@preconcurrency import Glibc

/// A socket call that failed: which one, and errno (0: the deadline passed).
package struct BlockingSocketError: Error, Sendable, CustomStringConvertible {
  package let call: String
  package let code: Int32

  package var timedOut: Bool { code == 0 || code == EAGAIN }
  package var refused: Bool { code == ECONNREFUSED }
  package var reset: Bool { code == ECONNRESET || code == EPIPE }
  package var description: String { "\(call): \(timedOut ? "timed out" : String(cString: strerror(code)))" }
}

/// A connected TCP socket on loopback with calls that block up to a deadline: for test clients, never for a loop.
///
/// Deadlines are `monotonicNanoseconds()` values.
package struct BlockingSocket: ~Copyable, Sendable {
  private let descriptor: Int32

  /// Connects to 127.0.0.1.
  package init(loopbackPort port: UInt16, deadline: Int64) throws(BlockingSocketError) {
    descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue) | Int32(SOCK_NONBLOCK.rawValue), 0)
    guard descriptor >= 0 else { throw BlockingSocketError(call: "socket", code: errno) }
    var on: Int32 = 1
    setsockopt(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, &on, socklen_t(MemoryLayout<Int32>.size))
    var address = loopbackAddress(port)
    let code = withUnsafePointer(to: &address) {
      $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { connect(descriptor, $0, socklen_t(MemoryLayout<sockaddr_in>.size)) }
    }
    guard code != 0 else { return }
    guard errno == EINPROGRESS else { throw failure("connect") }
    try wait(Int16(POLLOUT), "connect", deadline)
    var pending: Int32 = 0
    var size = socklen_t(MemoryLayout<Int32>.size)
    getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &pending, &size)
    guard pending == 0 else { throw BlockingSocketError(call: "connect", code: pending) }
  }

  deinit { if descriptor >= 0 { close(descriptor) } }

  /// Sends all bytes or throws.
  package func send(_ bytes: [UInt8], deadline: Int64) throws(BlockingSocketError) {
    var sent = 0
    while sent < bytes.count {
      let got = bytes.withUnsafeBytes { buffer in
        Glibc.send(descriptor, buffer.baseAddress.map { $0 + sent }, buffer.count - sent, Int32(MSG_NOSIGNAL))
      }
      if got > 0 {
        sent += got
      } else if errno == EAGAIN {
        try wait(Int16(POLLOUT), "send", deadline)
      } else if errno != EINTR {
        throw failure("send")
      }
    }
  }

  /// The next bytes, at most `maximum`; empty at the end of the stream.
  package func receive(_ maximum: Int = 65_536, deadline: Int64) throws(BlockingSocketError) -> [UInt8] {
    while true {
      var got = 0
      let bytes = [UInt8](unsafeUninitializedCapacity: max(1, maximum)) { buffer, count in
        got = recv(descriptor, buffer.baseAddress, buffer.count, 0)
        count = max(0, got)
      }
      if got >= 0 { return bytes }
      if errno == EAGAIN {
        try wait(Int16(POLLIN), "receive", deadline)
      } else if errno != EINTR {
        throw failure("receive")
      }
    }
  }

  /// Tells the peer that no more bytes come (FIN); reading goes on.
  package func shutdownSending() { shutdown(descriptor, Int32(SHUT_WR)) }

  /// Ends both directions, also under a thread that waits in `receive`.
  package func shutdownBoth() { shutdown(descriptor, Int32(SHUT_RDWR)) }

  /// Makes the end a reset (RST) instead of an orderly close.
  package func resetOnClose() {
    var option = linger(l_onoff: 1, l_linger: 0)
    setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &option, socklen_t(MemoryLayout<linger>.size))
  }

  /// Shrinks the receive buffer, so that a reader that does not read is felt by the sender soon.
  package func setReceiveBuffer(bytes: Int32) {
    var size = bytes
    setsockopt(descriptor, SOL_SOCKET, SO_RCVBUF, &size, socklen_t(MemoryLayout<Int32>.size))
  }

  private func failure(_ call: String) -> BlockingSocketError { BlockingSocketError(call: call, code: errno) }

  private func wait(_ events: Int16, _ call: String, _ deadline: Int64) throws(BlockingSocketError) {
    while true {
      let left = (deadline - monotonicNanoseconds()) / 1_000_000
      guard left > 0 else { throw BlockingSocketError(call: call, code: 0) }
      var entry = pollfd(fd: descriptor, events: events, revents: 0)
      let got = poll(&entry, 1, Int32(clamping: left))
      if got > 0 { return }
      if got < 0, errno != EINTR { throw failure("poll") }
    }
  }
}

private func loopbackAddress(_ port: UInt16) -> sockaddr_in {
  var address = sockaddr_in()
  address.sin_family = sa_family_t(AF_INET)
  address.sin_port = port.bigEndian
  address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
  return address
}

/// A TCP port of 127.0.0.1 that nothing uses at this moment: for programs that cannot bind to port 0 themselves. Nil when none is left.
package func freeLoopbackPort() -> UInt16? {
  let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
  guard descriptor >= 0 else { return nil }
  defer { close(descriptor) }
  var address = loopbackAddress(0)
  var size = socklen_t(MemoryLayout<sockaddr_in>.size)
  return withUnsafeMutablePointer(to: &address) {
    $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { pointer -> Bool in
      bind(descriptor, pointer, size) == 0 && getsockname(descriptor, pointer, &size) == 0
    }
  } ? UInt16(bigEndian: address.sin_port) : nil
}
