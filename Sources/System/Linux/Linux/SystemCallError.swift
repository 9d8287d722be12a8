import Glibc

/// A system call that failed, with the `errno` it left.
package struct SystemCallError: Error, Sendable, Hashable, CustomStringConvertible {
  /// The call's name, such as `bind`.
  package let call: String
  /// The value of `errno`.
  package let code: Int32

  package init(_ call: String, _ code: Int32) {
    self.call = call
    self.code = code
  }

  /// The failure that the calling thread's last system call left in `errno`.
  static func last(_ call: String) -> Self { Self(call, errno) }

  /// Another socket has the address (EADDRINUSE).
  package var isAddressInUse: Bool { code == EADDRINUSE }
  /// The peer said no (ECONNREFUSED).
  package var isRefused: Bool { code == ECONNREFUSED }
  /// A connection attempt that took too long, as the kernel or our own timer sees it.
  package static let timedOut = Self("connect", ETIMEDOUT)
  package var isTimeOut: Bool { code == ETIMEDOUT }
  /// What this machine lacks, whoever the peer is: descriptors, memory, or local ports.
  package var isOwnShortage: Bool { [EMFILE, ENFILE, ENOBUFS, ENOMEM, EADDRNOTAVAIL].contains(code) }

  package var description: String { "\(call): \(String(cString: strerror(code))) (errno \(code))" }
}
