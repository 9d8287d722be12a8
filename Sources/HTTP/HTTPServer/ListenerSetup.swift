import HTTPMessage
import IntercomCore
import Linux
import OpenSSL

/// One address that a server listens on, and what clients speak there before HTTP.
package struct ListenerSetup: Sendable {
  package var address: SocketAddress
  /// TLS with these certificates; nil: plain.
  package var tls: TLSContext?
  /// Every connection begins with a PROXY header of one of these proxies; nil: none does. Connections of others are closed.
  package var proxies: [NetworkBlock]?

  package init(_ address: SocketAddress, tls: TLSContext? = nil, proxies: [NetworkBlock]? = nil) {
    self.address = address
    self.tls = tls
    self.proxies = proxies
  }

  /// Whether this address may say who is behind it.
  func trusts(_ ip: IPAddress) -> Bool { proxies?.contains { $0.contains(NetworkAddress(ip)) } ?? false }

  /// Connections are HTTP/1.1 from their first byte.
  var isPlain: Bool { tls == nil && proxies == nil }
}
