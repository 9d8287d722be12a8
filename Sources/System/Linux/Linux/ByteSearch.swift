import CLinux
import Glibc

/// The first position of `needle` in `bytes` at or after `from`; nil when it is not there or empty. As fast as the C library.
package func firstPosition(of needle: [UInt8], in bytes: [UInt8], from: Int = 0) -> Int? {
  guard !needle.isEmpty, from >= 0, from < bytes.count else { return nil }
  return bytes.withUnsafeBytes { all -> Int? in
    needle.withUnsafeBytes { wanted -> Int? in
      guard let start = all.baseAddress, let what = wanted.baseAddress else { return nil }
      guard let found = memmem(start + from, UInt(all.count - from), what, UInt(wanted.count)) else { return nil }
      return UnsafeRawPointer(found) - start
    }
  }
}
