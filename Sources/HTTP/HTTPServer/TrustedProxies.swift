import HTTP1
import HTTPMessage
import IntercomCore
import Linux

/// The field in which proxies in front name their clients.
package enum ForwardingField: Sendable, Hashable {
  case xForwardedFor
  /// [RFC 7239](https://www.rfc-editor.org/rfc/rfc7239)
  case forwarded
}

/// The proxies in front whose word about their clients counts (docs/decisions/0022-one-forwarding-field.md).
package struct TrustedProxies: Sendable {
  private let blocks: [NetworkBlock]
  private let field: ForwardingField

  /// Nobody.
  package init() { self.init([], field: .xForwardedFor) }

  /// - Parameter field: the only one that is read: a proxy that writes one passes the other on as the client wrote it.
  package init(_ blocks: [NetworkBlock], field: ForwardingField) {
    self.blocks = blocks
    self.field = field
  }

  func trusts(_ address: NetworkAddress) -> Bool { blocks.contains { $0.contains(address) } }

  /// Who asks `peer`, which is trusted.
  func client(behind peer: NetworkAddress, _ fields: borrowing FieldTable, _ bytes: borrowing Span<UInt8>) -> ForwardedNode.Name {
    let elements: [ForwardedElement]?
    switch field {
    case .xForwardedFor: elements = Forwarded.elements(xForwardedFor: Self.lines(.xForwardedFor, fields, bytes))
    case .forwarded: elements = Forwarded.elements(Self.lines(.forwarded, fields, bytes))
    }
    return ForwardedClient.resolve(peer: peer, elements, trusts: trusts).node.name
  }

  private static func lines(_ id: FieldID, _ fields: borrowing FieldTable, _ bytes: borrowing Span<UInt8>) -> [[UInt8]] {
    guard fields.present.contains(id) else { return [] }
    var lines: [[UInt8]] = []
    for index in 0..<fields.count where fields[index].id == id { lines.append(fields[index].value.bytes(in: bytes)) }
    return lines
  }
}

/// Who asks, as backends, endpoints and the log are told.
package struct ClientName: Sendable, Hashable {
  /// An address without brackets and port; `unknown`, or `_` and a proxy's own word, when a proxy does not say.
  package let text: String
  package let isAddress: Bool

  private init(_ text: String, isAddress: Bool) {
    self.text = text
    self.isAddress = isAddress
  }

  init(_ address: IPAddress) { self.init(address.description, isAddress: true) }

  init(_ name: ForwardedNode.Name) {
    switch name {
    case .address(let address): self.init(IPAddress(address))
    case .unknown: self.init("unknown", isAddress: false)
    case .obfuscated(let word): self.init(String(decoding: word, as: UTF8.self), isAddress: false)
    }
  }
}

extension Exchange {
  /// Who asks: the socket's peer, or whom its PROXY header names; when that is a trusted proxy, the one whom it names in turn.
  package final func client(_ head: borrowing RequestHead, _ bytes: borrowing Span<UInt8>) -> ClientName {
    guard isBehindProxy else { return ClientName(peer.ip) }
    return ClientName(server.settings.proxies.client(behind: NetworkAddress(peer.ip), head.fields, bytes))
  }
}

extension NetworkAddress {
  /// The zone of a link-local address is no part of what is compared.
  init(_ ip: IPAddress) {
    switch ip {
    case .v4(let bits): self.init(v4: bits)
    case .v6(let high, let low, _): self.init(high: high, low: low)
    }
  }
}

extension IPAddress {
  fileprivate init(_ address: NetworkAddress) {
    self = address.isV4 ? .v4(UInt32(truncatingIfNeeded: address.low)) : .v6(address.high, address.low, zone: 0)
  }
}
