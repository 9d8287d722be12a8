import HTTPMessage

/// Who really asks, and how they saw us, when proxies that are trusted stand between ([RFC 7239
/// §8.1](https://www.rfc-editor.org/rfc/rfc7239#section-8.1)).
package struct ForwardedClient: Sendable, Hashable {
  /// The first one from the right who is no trusted proxy, or the outermost that is known.
  package var node: ForwardedNode
  /// The authority and the scheme that the outermost trusted proxy was asked for; nil when none of them says.
  package var host: [UInt8]?
  package var scheme: [UInt8]?
  /// Elements that count: each was written by a trusted proxy. What stands to their left anybody may have written.
  package var hops: Int

  package init(_ node: ForwardedNode, host: [UInt8]? = nil, scheme: [UInt8]? = nil, hops: Int = 0) {
    self.node = node
    self.host = host
    self.scheme = scheme
    self.hops = hops
  }

  /// Reads the chain from the right. The last element was written by `peer`, whose address the socket tells; it counts only if `peer` is
  /// trusted. It names the one who asked `peer`, and so on: an element counts as long as everybody to its right is trusted. Whoever is
  /// unknown or obfuscated is not.
  ///
  /// `elements`: nil when the list is malformed: then nothing of it is trusted, as if it were not there.
  package static func resolve(
    peer: NetworkAddress, _ elements: [ForwardedElement]?, trusts: (NetworkAddress) -> Bool
  ) -> ForwardedClient {
    var client = ForwardedClient(ForwardedNode(.address(peer)))
    for element in (elements ?? []).reversed() {
      guard let writer = client.node.address, trusts(writer) else { break }
      client.hops += 1
      client.host = element.host ?? client.host
      client.scheme = element.scheme ?? client.scheme
      // An element that does not say whom it is about leaves nobody to be trusted to its left.
      client.node = element.client ?? ForwardedNode(.unknown)
    }
    return client
  }
}
