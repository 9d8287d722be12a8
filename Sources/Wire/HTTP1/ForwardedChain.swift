import HTTPMessage

/// Who really asks when proxies that are trusted stand between ([RFC 7239 §8.1](https://www.rfc-editor.org/rfc/rfc7239#section-8.1)).
package struct ForwardedClient: Sendable, Hashable {
  /// The first one from the right who is no trusted proxy, or the outermost that is known.
  package var node: ForwardedNode
  /// Elements that count: each was written by a trusted proxy. What stands to their left anybody may have written.
  package var hops: Int

  package init(_ node: ForwardedNode, hops: Int = 0) {
    self.node = node
    self.hops = hops
  }

  /// Reads the chain from the right. The last element was written by `peer`, whose address the socket tells; it counts only if `peer` is
  /// trusted. It names the one who asked `peer`, and so on: an element counts as long as everybody to its right is trusted. Whoever is
  /// unknown or obfuscated is not.
  ///
  /// `elements`: nil when the list is malformed: then nobody knows whom a trusted `peer` speaks for. Not for itself, or a client could take its
  /// proxy's address by confusing the list.
  package static func resolve(
    peer: NetworkAddress, _ elements: [ForwardedElement]?, trusts: (NetworkAddress) -> Bool
  ) -> ForwardedClient {
    var client = ForwardedClient(ForwardedNode(.address(peer)))
    guard let elements else { return trusts(peer) ? ForwardedClient(ForwardedNode(.unknown)) : client }
    for element in elements.reversed() {
      guard let writer = client.node.address, trusts(writer) else { break }
      client.hops += 1
      // An element that does not say whom it is about leaves nobody to be trusted to its left.
      client.node = element.client ?? ForwardedNode(.unknown)
    }
    return client
  }
}
