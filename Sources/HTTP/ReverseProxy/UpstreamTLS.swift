import EventLoop
import HTTPMessage
import IntercomCore
import OpenSSL
import TLS

/// How a route speaks TLS to its endpoints: whom it trusts, who it is, and whose certificate it expects. Shared by all loops.
package final class UpstreamTLS: Sendable {
  private let context: TLSContext
  /// Nil: each endpoint's own host.
  private let serverName: Identifier?
  private let fingerprint: [UInt8]

  /// - Parameters:
  ///   - context: a client's.
  ///   - serverName: the name or address that the endpoints' certificates are for, where it is not the host in their URLs.
  ///   - fingerprint: the same for contexts that trust the same authorities and show the same certificate.
  package init(_ context: TLSContext, serverName: Identifier? = nil, fingerprint: [UInt8] = []) {
    self.context = context
    self.fingerprint = fingerprint
    self.serverName = serverName
  }

  /// Whether a connection that was made by the one might have been made by the other.
  package func isAlike(_ other: UpstreamTLS?) -> Bool {
    guard let other else { return false }
    return serverName == other.serverName && fingerprint == other.fingerprint
  }

  func peer(of endpoint: UpstreamEndpoint) -> Peer { Peer(context: context, name: serverName ?? endpoint.host) }

  /// Who must be at the other end of a connection.
  struct Peer {
    private let context: TLSContext
    let name: [UInt8]
    private let isAddress: Bool

    init(context: TLSContext, name: Identifier) {
      self.context = context
      var bytes = name.bytes[...]
      if bytes.first == UInt8(ascii: "["), bytes.last == UInt8(ascii: "]") { bytes = bytes.dropFirst().dropLast() }
      isAddress = NetworkAddress(String(decoding: bytes, as: UTF8.self)) != nil
      // No certificate has the root's dot (RFC 6066 §3).
      if !isAddress, bytes.last == UInt8(ascii: ".") { bytes.removeLast() }
      self.name = Array(bytes)
    }

    func carrier(over descriptor: Int32) throws(OpenSSLError) -> TLSCarrier {
      TLSCarrier(try TLSChannel(client: context, descriptor: descriptor, host: name, isAddress: isAddress))
    }
  }
}
