import CLinux
import Glibc

/// A listening TCP socket of 127.0.0.1 whose connections are served by one blocking thread each: for scripted peers in tests, never for the
/// engine.
package final class LoopbackListener: Sendable {
  private let descriptor: Int32
  package let port: UInt16

  /// Binds to a free port; nil when the system gives no socket. `backlog` connections wait unaccepted.
  package init?(backlog: Int32 = 64) {
    let descriptor = socket(AF_INET, Int32(SOCK_STREAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
    guard descriptor >= 0 else { return nil }
    var address = sockaddr_in()
    address.sin_family = sa_family_t(AF_INET)
    address.sin_addr.s_addr = UInt32(0x7f00_0001).bigEndian
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let bound = withUnsafeMutablePointer(to: &address) { pointer in
      pointer.withMemoryRebound(to: sockaddr.self, capacity: 1) {
        bind(descriptor, $0, size) == 0 && listen(descriptor, backlog) == 0 && getsockname(descriptor, $0, &size) == 0
      }
    }
    guard bound else {
      close(descriptor)
      return nil
    }
    self.descriptor = descriptor
    port = UInt16(bigEndian: address.sin_port)
  }

  deinit { close(descriptor) }

  /// Serves every connection with `serve` on a thread of its own until `stop`; the connection closes when `serve` returns.
  package func start(_ serve: @escaping @Sendable (AcceptedSocket) -> Void) {
    startDetachedThread { [self] in
      while true {
        let accepted = accept4(descriptor, nil, nil, Int32(SOCK_CLOEXEC.rawValue))
        if accepted < 0, errno == EINTR || errno == ECONNABORTED { continue }
        guard accepted >= 0 else { return }
        let socket = AcceptedSocket(descriptor: accepted)
        startDetachedThread { serve(socket) }
      }
    }
  }

  /// Accepts nothing any more.
  package func stop() { shutdown(descriptor, Int32(SHUT_RDWR)) }
}

/// One accepted connection; it closes when the last reference goes.
package final class AcceptedSocket: Sendable {
  private let descriptor: Int32
  init(descriptor: Int32) { self.descriptor = descriptor }
  deinit { close(descriptor) }

  /// The next bytes; empty at the end of the stream or after an error.
  package func receive(_ maximum: Int = 65_536) -> [UInt8] {
    [UInt8](unsafeUninitializedCapacity: max(1, maximum)) { buffer, count in
      var got = 0
      repeat { got = recv(descriptor, buffer.baseAddress, buffer.count, 0) } while got < 0 && errno == EINTR
      count = max(0, got)
    }
  }

  /// Sends all bytes; false when the peer is gone.
  @discardableResult package func send(_ bytes: [UInt8]) -> Bool {
    var sent = 0
    while sent < bytes.count {
      let got = bytes.withUnsafeBytes { buffer in
        Glibc.send(descriptor, buffer.baseAddress.map { $0 + sent }, buffer.count - sent, Int32(MSG_NOSIGNAL))
      }
      if got > 0 { sent += got } else if errno != EINTR { return false }
    }
    return true
  }

  /// Ends both directions, also under a thread that waits in `receive`.
  package func end() { shutdown(descriptor, Int32(SHUT_RDWR)) }
}

private final class DetachedJob: Sendable {
  let run: @Sendable () -> Void
  init(run: @escaping @Sendable () -> Void) { self.run = run }
}

private func startDetachedThread(_ body: @escaping @Sendable () -> Void) {
  var thread = pthread_t()
  let pointer = Unmanaged.passRetained(DetachedJob(run: body)).toOpaque()
  let code = pthread_create(
    &thread, nil,
    { argument in
      if let argument { Unmanaged<DetachedJob>.fromOpaque(argument).takeRetainedValue().run() }
      return nil
    }, pointer)
  if code == 0 { pthread_detach(thread) } else { Unmanaged<DetachedJob>.fromOpaque(pointer).release() }
}
