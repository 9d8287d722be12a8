import CLinux
import Glibc

/// CLOCK_MONOTONIC in nanoseconds.
package func monotonicNanoseconds() -> Int64 { nanoseconds(of: CLOCK_MONOTONIC) }

/// CLOCK_REALTIME in whole seconds since 1970.
package func wallSeconds() -> Int64 {
  var now = timespec()
  clock_gettime(CLOCK_REALTIME, &now)
  return Int64(now.tv_sec)
}

private func nanoseconds(of clock: clockid_t) -> Int64 {
  var now = timespec()
  clock_gettime(clock, &now)
  return Int64(now.tv_sec) &* 1_000_000_000 &+ Int64(now.tv_nsec)
}

/// Random bytes of the kernel. It ends the process when the kernel gives none: going on without randomness would be worse.
package func randomBytes(_ count: Int) -> [UInt8] {
  var bytes = [UInt8](repeating: 0, count: max(0, count))
  var filled = 0
  while filled < bytes.count {
    let got = bytes.withUnsafeMutableBytes { buffer -> Int in
      getrandom(buffer.baseAddress.map { $0 + filled }, buffer.count - filled, 0)
    }
    if got > 0 { filled += got } else { precondition(errno == EINTR, "getrandom gives no random bytes") }
  }
  return bytes
}
