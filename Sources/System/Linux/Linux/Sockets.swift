import CLinux
import Glibc

/// Non-blocking TCP sockets. Each function is one system call, with EINTR hidden and errors typed.
package enum Socket {
  /// What `receive` and `send` return when the kernel has nothing to give or take.
  package static var wouldBlock: Int { -1 }
  /// What `receive` and `send` return when the connection is broken.
  package static var broken: Int { -2 }

  private static var flags: Int32 { Int32(SOCK_NONBLOCK.rawValue | SOCK_CLOEXEC.rawValue) }

  /// A socket that listens on `address`. With `sharing`, sockets of the same user that ask for it too share the port (SO_REUSEPORT).
  package static func listening(on address: SocketAddress, sharing: Bool, backlog: Int32 = 4096) throws(SystemCallError) -> Int32 {
    let descriptor = try bound(to: address, sharing: sharing)
    guard Glibc.listen(descriptor, backlog) == 0 else { throw failure("listen", closing: descriptor) }
    return descriptor
  }

  /// A socket bound to `address`, not listening.
  package static func bound(to address: SocketAddress, sharing: Bool) throws(SystemCallError) -> Int32 {
    let descriptor = try stream(for: address)
    do {
      try set(descriptor, SOL_SOCKET, SO_REUSEADDR, 1)
      if sharing { try set(descriptor, SOL_SOCKET, SO_REUSEPORT, 1) }
      if address.family == AF_INET6 { try set(descriptor, Int32(IPPROTO_IPV6), IPV6_V6ONLY, 1) }
    } catch {
      close(descriptor)
      throw error
    }
    guard address.withSockaddr({ Glibc.bind(descriptor, $0, $1) }) == 0 else { throw failure("bind", closing: descriptor) }
    return descriptor
  }

  /// Whether nobody listens there now; somebody may in the next moment.
  package static func isFree(_ address: SocketAddress) -> Bool {
    guard let descriptor = try? bound(to: address, sharing: false) else { return false }
    close(descriptor)
    return true
  }

  /// Starts a connection. The socket becomes writable when it is established or has failed: ask `pendingError` then.
  package static func connecting(to address: SocketAddress) throws(SystemCallError) -> Int32 {
    let descriptor = try stream(for: address)
    do { try setNoDelay(descriptor) } catch {
      close(descriptor)
      throw error
    }
    guard address.withSockaddr({ Glibc.connect(descriptor, $0, $1) }) != 0 else { return descriptor }
    guard errno == EINPROGRESS || errno == EINTR else { throw failure("connect", closing: descriptor) }
    return descriptor
  }

  /// How `accept` ended.
  package enum Accepted {
    case connection(Int32, SocketAddress)
    /// The queue is empty.
    case empty
    /// This connection was lost before it was taken: go on with the next.
    case lost
    /// The process or the system has no descriptor left (EMFILE, ENFILE, ENOBUFS, ENOMEM).
    case noDescriptor
    case failed(SystemCallError)
  }

  /// The next waiting connection of a non-blocking listener, or why there is none.
  package static func accept(_ listener: Int32) -> Accepted {
    var storage = sockaddr_storage()
    var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let descriptor = withUnsafeMutablePointer(to: &storage) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { accept4(listener, $0, &size, flags) }
    }
    if descriptor >= 0 {
      return .connection(descriptor, SocketAddress(storage) ?? SocketAddress(.v4(0), port: 0))
    }
    switch errno {
    case EAGAIN: return .empty
    case EMFILE, ENFILE, ENOBUFS, ENOMEM: return .noDescriptor
    // accept(2): these belong to the connection that was lost, not to the listener.
    case EINTR, ECONNABORTED, ENETDOWN, EPROTO, ENOPROTOOPT, EHOSTDOWN, ENONET, EHOSTUNREACH, EOPNOTSUPP, ENETUNREACH, EPERM: return .lost
    default: return .failed(.last("accept4"))
    }
  }

  /// The socket's stored error, cleared by asking (SO_ERROR): how a connection attempt ended.
  package static func pendingError(_ descriptor: Int32) -> SystemCallError? {
    var code: Int32 = 0
    var size = socklen_t(4)
    guard getsockopt(descriptor, SOL_SOCKET, SO_ERROR, &code, &size) == 0 else { return .last("getsockopt") }
    return code == 0 ? nil : SystemCallError("connect", code)
  }

  /// Small writes leave at once (TCP_NODELAY): heads and bodies are put together before they are written.
  package static func setNoDelay(_ descriptor: Int32) throws(SystemCallError) {
    try set(descriptor, Int32(IPPROTO_TCP), TCP_NODELAY, 1)
  }

  /// Asks for buffers of this many bytes; the kernel doubles and bounds it. For tests of back-pressure.
  package static func setBuffers(_ descriptor: Int32, bytes: Int32) throws(SystemCallError) {
    try set(descriptor, SOL_SOCKET, SO_SNDBUF, bytes)
    try set(descriptor, SOL_SOCKET, SO_RCVBUF, bytes)
  }

  /// The address this socket is bound to (the chosen port, when 0 was asked for).
  package static func localAddress(_ descriptor: Int32) throws(SystemCallError) -> SocketAddress {
    var storage = sockaddr_storage()
    var size = socklen_t(MemoryLayout<sockaddr_storage>.size)
    let result = withUnsafeMutablePointer(to: &storage) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) { getsockname(descriptor, $0, &size) }
    }
    guard result == 0, let address = SocketAddress(storage) else { throw .last("getsockname") }
    return address
  }

  /// Bytes sent (possibly fewer than given), `wouldBlock` or `broken`.
  package static func send(_ descriptor: Int32, _ bytes: borrowing Span<UInt8>) -> Int {
    bytes.withUnsafeBytes { buffer in
      while true {
        let sent = Glibc.send(descriptor, buffer.baseAddress, buffer.count, Int32(MSG_NOSIGNAL))
        if sent >= 0 { return sent }
        if errno == EAGAIN { return wouldBlock }
        if errno != EINTR { return broken }
      }
    }
  }

  /// Both pieces in one system call. Bytes sent of the two together, `wouldBlock` or `broken`.
  package static func send(_ descriptor: Int32, _ first: borrowing Span<UInt8>, _ second: borrowing Span<UInt8>) -> Int {
    first.withUnsafeBytes { one in
      second.withUnsafeBytes { two in
        var pieces = (
          iovec(iov_base: UnsafeMutableRawPointer(mutating: one.baseAddress), iov_len: one.count),
          iovec(iov_base: UnsafeMutableRawPointer(mutating: two.baseAddress), iov_len: two.count)
        )
        return withUnsafeMutablePointer(to: &pieces) { pointer in
          pointer.withMemoryRebound(to: iovec.self, capacity: 2) { list in
            var message = msghdr()
            message.msg_iov = list
            message.msg_iovlen = 2
            while true {
              let sent = sendmsg(descriptor, &message, Int32(MSG_NOSIGNAL))
              if sent >= 0 { return sent }
              if errno == EAGAIN { return wouldBlock }
              if errno != EINTR { return broken }
            }
          }
        }
      }
    }
  }

  /// Puts what has come into `bytes` and leaves it in the socket. The count, 0 at the peer's end, `wouldBlock` or `broken`.
  package static func peek(_ descriptor: Int32, into bytes: inout [UInt8]) -> Int {
    bytes.withUnsafeMutableBytes { buffer in
      while true {
        let count = recv(descriptor, buffer.baseAddress, buffer.count, Int32(MSG_PEEK))
        if count >= 0 { return count }
        if errno == EAGAIN { return wouldBlock }
        if errno != EINTR { return broken }
      }
    }
  }

  /// Takes exactly `count` bytes, which are there, out of the socket and throws them away.
  package static func discard(_ descriptor: Int32, _ count: Int) -> Bool {
    var bytes = [UInt8](repeating: 0, count: count)
    return bytes.withUnsafeMutableBytes { recv(descriptor, $0.baseAddress, $0.count, 0) } == count
  }

  /// Bytes that the kernel took from us and the peer has not acknowledged.
  package static func unacknowledged(_ descriptor: Int32) -> Int { Int(clinux_unacknowledged(descriptor)) }

  /// Ends our direction: the peer reads the end after what was sent (FIN).
  package static func shutdownWriting(_ descriptor: Int32) { _ = Glibc.shutdown(descriptor, Int32(SHUT_WR)) }

  /// Closing sends RST instead of FIN: the peer notices that the transfer is broken, not complete.
  package static func setResetOnClose(_ descriptor: Int32) {
    var value = linger(l_onoff: 1, l_linger: 0)
    _ = setsockopt(descriptor, SOL_SOCKET, SO_LINGER, &value, socklen_t(MemoryLayout<linger>.size))
  }

  /// Gives the descriptor back. Never retried: after EINTR Linux has closed it already.
  package static func close(_ descriptor: Int32) { _ = Glibc.close(descriptor) }

  /// Puts a blocking socket under a deadline for each receive and send; for tests.
  package static func setBlocking(_ descriptor: Int32, timeOutMilliseconds: Int) throws(SystemCallError) {
    let old = fcntl(descriptor, F_GETFL)
    guard old >= 0, fcntl(descriptor, F_SETFL, old & ~O_NONBLOCK) == 0 else { throw .last("fcntl") }
    var time = timeval(tv_sec: timeOutMilliseconds / 1000, tv_usec: timeOutMilliseconds % 1000 * 1000)
    for option in [SO_RCVTIMEO, SO_SNDTIMEO] {
      guard setsockopt(descriptor, SOL_SOCKET, option, &time, socklen_t(MemoryLayout<timeval>.size)) == 0 else { throw .last("setsockopt") }
    }
  }

  private static func stream(for address: SocketAddress) throws(SystemCallError) -> Int32 {
    let descriptor = socket(address.family, Int32(SOCK_STREAM.rawValue) | flags, 0)
    guard descriptor >= 0 else { throw .last("socket") }
    return descriptor
  }

  private static func set(_ descriptor: Int32, _ level: Int32, _ option: Int32, _ value: Int32) throws(SystemCallError) {
    var value = value
    guard setsockopt(descriptor, level, option, &value, 4) == 0 else { throw .last("setsockopt") }
  }

  private static func failure(_ call: String, closing descriptor: Int32) -> SystemCallError {
    let error = SystemCallError.last(call)
    close(descriptor)
    return error
  }
}

/// One buffer for all that a loop receives: nothing is kept per connection.
package final class ReceiveBuffer {
  private let memory: UnsafeMutableBufferPointer<UInt8>

  package init(bytes: Int) { memory = .allocate(capacity: max(1, bytes)) }
  deinit { memory.deallocate() }

  package var capacity: Int { memory.count }

  /// Bytes received, 0 at the peer's end, `Socket.wouldBlock` or `Socket.broken`.
  package func receive(_ descriptor: Int32) -> Int {
    while true {
      let count = recv(descriptor, memory.baseAddress, memory.count, 0)
      if count >= 0 { return count }
      if errno == EAGAIN { return Socket.wouldBlock }
      if errno != EINTR { return Socket.broken }
    }
  }

  /// Lets `body` fill the buffer; it says how many bytes there are.
  package func fill(_ body: (UnsafeMutableBufferPointer<UInt8>) -> Int) -> Int { body(memory) }

  /// Puts as many of these bytes into the buffer as fit, and says how many.
  package func put(_ bytes: borrowing Span<UInt8>) -> Int {
    let count = min(bytes.count, memory.count)
    bytes.withUnsafeBufferPointer { bytes in _ = memory.update(fromContentsOf: bytes[..<count]) }
    return count
  }

  /// The first `count` bytes, valid during `body` only.
  package func withBytes(_ count: Int, _ body: (borrowing Span<UInt8>) -> Void) {
    body(UnsafeBufferPointer(rebasing: memory[0..<min(max(0, count), memory.count)]).span)
  }
}

/// How many descriptors this process may have (RLIMIT_NOFILE).
package func descriptorLimit() -> Int {
  var limit = rlimit()
  guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return 1024 }
  return Int(clamping: limit.rlim_cur)
}

/// Raises the soft limit of descriptors to the hard one, at most to a million: the usual soft limit of 1,024 is for programs that select(2).
package func raiseDescriptorLimit() {
  var limit = rlimit()
  let resource = __rlimit_resource_t(RLIMIT_NOFILE.rawValue)
  guard getrlimit(resource, &limit) == 0 else { return }
  limit.rlim_cur = min(limit.rlim_max, 1_000_000)
  setrlimit(resource, &limit)
}

/// Lowers the limit of descriptors; for tests.
package func setDescriptorLimit(_ count: Int) throws(SystemCallError) {
  var limit = rlimit()
  guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { throw .last("getrlimit") }
  limit.rlim_cur = rlim_t(count)
  guard setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { throw .last("setrlimit") }
}

/// A descriptor that is held for nothing, so that one is left to refuse a client with.
package func openReserveDescriptor() -> Int32? {
  let descriptor = open("/dev/null", O_RDONLY | O_CLOEXEC)
  return descriptor >= 0 ? descriptor : nil
}
