import CLinux
import Glibc

/// An IPv4 or IPv6 address.
package enum IPAddress: Hashable, Sendable, CustomStringConvertible {
  /// In host byte order.
  case v4(UInt32)
  /// The upper and lower 64 bits in host byte order, and the zone (0 when there is none).
  case v6(UInt64, UInt64, zone: UInt32)

  package static let loopbackV4 = IPAddress.v4(0x7f00_0001)
  package static let loopbackV6 = IPAddress.v6(0, 1, zone: 0)

  /// Reads a literal as inet_pton(3) does: four decimal parts, or RFC 4291 §2.2 without brackets and zone. Nil for anything else.
  package init?(_ text: String) {
    guard !text.utf8.contains(0), text.utf8.count <= 45 else { return nil }
    var four = in_addr()
    if inet_pton(AF_INET, text, &four) == 1 {
      self = .v4(UInt32(bigEndian: four.s_addr))
      return
    }
    var six = in6_addr()
    guard inet_pton(AF_INET6, text, &six) == 1 else { return nil }
    self = .v6(six, zone: 0)
  }

  /// 127.0.0.0/8, ::1, or an IPv4 loopback mapped into IPv6.
  package var isLoopback: Bool {
    switch self {
    case .v4(let bits): bits >> 24 == 127
    case .v6(0, 1, _): true
    case .v6(0, let low, _): low >> 24 == 0xffff_7f
    case .v6: false
    }
  }

  /// The literal without brackets; an IPv4 address mapped into IPv6 is shown as IPv4.
  package var description: String {
    switch self {
    case .v4(let bits): return "\(bits >> 24).\(bits >> 16 & 255).\(bits >> 8 & 255).\(bits & 255)"
    case .v6(0, let low, _) where low >> 32 == 0xffff: return Self.v4(UInt32(truncatingIfNeeded: low)).description
    case .v6(let high, let low, _):
      var six = in6_addr()
      withUnsafeMutableBytes(of: &six) { bytes in
        bytes.storeBytes(of: high.bigEndian, as: UInt64.self)
        bytes.storeBytes(of: low.bigEndian, toByteOffset: 8, as: UInt64.self)
      }
      var text = [CChar](repeating: 0, count: 64)
      guard inet_ntop(AF_INET6, &six, &text, 64) != nil else { return "::" }
      return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
  }

  fileprivate static func v6(_ six: in6_addr, zone: UInt32) -> Self {
    withUnsafeBytes(of: six) { bytes in
      .v6(
        UInt64(bigEndian: bytes.loadUnaligned(as: UInt64.self)),
        UInt64(bigEndian: bytes.loadUnaligned(fromByteOffset: 8, as: UInt64.self)), zone: zone)
    }
  }
}

/// Where a TCP socket listens or connects to.
package struct SocketAddress: Hashable, Sendable, CustomStringConvertible {
  package var ip: IPAddress
  package var port: UInt16

  package init(_ ip: IPAddress, port: UInt16) {
    self.ip = ip
    self.port = port
  }

  /// `127.0.0.1:80` or `[::1]:80`.
  package var description: String {
    switch ip {
    case .v4: "\(ip):\(port)"
    case .v6: "[\(ip)]:\(port)"
    }
  }

  var family: Int32 {
    switch ip {
    case .v4: AF_INET
    case .v6: AF_INET6
    }
  }

  /// Calls `body` with this address as the kernel wants it.
  func withSockaddr<Result>(_ body: (UnsafePointer<sockaddr>, socklen_t) -> Result) -> Result {
    switch ip {
    case .v4(let bits):
      var address = sockaddr_in()
      address.sin_family = sa_family_t(AF_INET)
      address.sin_port = port.bigEndian
      address.sin_addr.s_addr = bits.bigEndian
      let size = socklen_t(MemoryLayout<sockaddr_in>.size)
      return withUnsafePointer(to: address) { $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, size) } }
    case .v6(let high, let low, let zone):
      var address = sockaddr_in6()
      address.sin6_family = sa_family_t(AF_INET6)
      address.sin6_port = port.bigEndian
      address.sin6_scope_id = zone
      withUnsafeMutableBytes(of: &address.sin6_addr) { bytes in
        bytes.storeBytes(of: high.bigEndian, as: UInt64.self)
        bytes.storeBytes(of: low.bigEndian, toByteOffset: 8, as: UInt64.self)
      }
      let size = socklen_t(MemoryLayout<sockaddr_in6>.size)
      return withUnsafePointer(to: address) { $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { body($0, size) } }
    }
  }

  /// Reads what `fill` (accept4, getsockname, getaddrinfo's result) wrote; nil when it is neither IPv4 nor IPv6.
  init?(_ storage: sockaddr_storage) {
    switch Int32(storage.ss_family) {
    case AF_INET:
      let four = withUnsafeBytes(of: storage) { $0.loadUnaligned(as: sockaddr_in.self) }
      self.init(.v4(UInt32(bigEndian: four.sin_addr.s_addr)), port: UInt16(bigEndian: four.sin_port))
    case AF_INET6:
      let six = withUnsafeBytes(of: storage) { $0.loadUnaligned(as: sockaddr_in6.self) }
      self.init(.v6(six.sin6_addr, zone: six.sin6_scope_id), port: UInt16(bigEndian: six.sin6_port))
    default: return nil
    }
  }
}

/// Asks the system's resolver (getaddrinfo(3)); blocks for as long as that takes, so never call it on a loop.
///
/// Throws with getaddrinfo's `EAI_` code when the name has no address.
package func resolveHostName(_ name: String) throws(NameLookupError) -> [IPAddress] {
  guard !name.isEmpty, name.utf8.count <= 253, !name.utf8.contains(0) else { throw NameLookupError(code: EAI_NONAME) }
  var hints = addrinfo()
  hints.ai_family = AF_UNSPEC
  hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
  hints.ai_flags = AI_ADDRCONFIG
  var first: UnsafeMutablePointer<addrinfo>?
  let code = getaddrinfo(name, nil, &hints, &first)
  guard code == 0 else { throw NameLookupError(code: code) }
  defer { freeaddrinfo(first) }
  var found: [IPAddress] = []
  var next = first
  while let entry = next {
    if let address = entry.pointee.ai_addr {
      var storage = sockaddr_storage()
      withUnsafeMutableBytes(of: &storage) { bytes in
        bytes.copyMemory(from: UnsafeRawBufferPointer(start: address, count: min(Int(entry.pointee.ai_addrlen), bytes.count)))
      }
      if let parsed = SocketAddress(storage), !found.contains(parsed.ip) { found.append(parsed.ip) }
    }
    next = entry.pointee.ai_next
  }
  guard !found.isEmpty else { throw NameLookupError(code: EAI_NONAME) }
  return found
}

/// Why a name has no address.
package struct NameLookupError: Error, Sendable, Hashable, CustomStringConvertible {
  /// `EAI_…` of getaddrinfo(3).
  package let code: Int32
  package init(code: Int32) { self.code = code }
  package var description: String { String(cString: gai_strerror(code)) }
  /// The name has no address; every other error says that nobody could tell.
  package var isAnswer: Bool { code == EAI_NONAME || code == Self.noData }
  /// `EAI_NODATA` is behind a GNU feature macro.
  private static let noData: Int32 = -5
}
