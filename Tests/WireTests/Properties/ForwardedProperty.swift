import HTTP1
import HTTPMessage

/// Values of `Forwarded`: what is accepted means the same written anew, and nothing that a client sends can change what its proxy says.
enum ForwardedProperty {
  static let peer = NetworkAddress(v4: 0x0a00_0001)
  static let trusted = ["10.0.0.0/8", "2001:db8::/32"].compactMap { NetworkBlock($0) }
  static func trusts(_ address: NetworkAddress) -> Bool { trusted.contains { $0.contains(address) } }

  static func check(_ bytes: [UInt8]) throws(Broken) {
    try older(bytes)
    let elements = Forwarded.elements([bytes])
    let client = ForwardedClient.resolve(peer: peer, elements, trusts: trusts)
    try hold(
      ForwardedClient.resolve(peer: peer, elements) { _ in false } == ForwardedClient(ForwardedNode(.address(peer))), "trusts nobody")
    guard let elements else { return try hold(client == ForwardedClient(ForwardedNode(.unknown)), "garbage is believed") }
    try hold(elements.count <= Forwarded.mostElements, "\(elements.count) elements")
    try hold(bytes.allSatisfy { $0 >= 0x20 && $0 != 0x7f || $0 == 0x09 }, "a control byte is accepted")
    try counts(client, elements)
    let anew = Array(elements.map(written).joined(separator: Array(", ".utf8)))
    try hold(Forwarded.elements([anew]) == elements, "written anew it means something else: \(String(decoding: anew, as: UTF8.self))")
    try hold(Forwarded.elements(elements.map(written)) == elements, "on lines of their own they mean something else")
    try behind(bytes, elements)
  }

  /// Everybody to the right of what counts is trusted, and who comes out is who stands there.
  private static func counts(_ client: ForwardedClient, _ elements: [ForwardedElement]) throws(Broken) {
    try hold((0...elements.count).contains(client.hops), "\(client.hops) of \(elements.count) count")
    let used = elements.suffix(client.hops)
    for element in used.dropFirst() { try hold(element.client?.address.map(trusts) == true, "somebody that is not trusted is believed") }
    let said = used.first.map { $0.client ?? ForwardedNode(.unknown) } ?? ForwardedNode(.address(peer))
    try hold(client.node == said, "somebody else comes out")
    let isStranger = client.node.address.map(trusts) != true
    try hold(isStranger || client.hops == elements.count, "stops at a trusted one")
  }

  /// A client sends these bytes; its proxy adds what it saw. Whatever the bytes are, the client is the one that the proxy saw, or, when they
  /// are garbage, nobody.
  private static func behind(_ bytes: [UInt8], _ elements: [ForwardedElement]) throws(Broken) {
    guard let stranger = NetworkAddress("192.0.2.7") else { throw Broken("no address") }
    let honest = Array("for=192.0.2.7;proto=https;host=a.example".utf8)
    for lines in [[bytes, honest], [bytes + Array(", ".utf8) + honest], [bytes + Array(",".utf8) + honest]] {
      let seen = ForwardedClient.resolve(peer: peer, Forwarded.elements(lines), trusts: trusts)
      if seen.hops == 0, elements.count == Forwarded.mostElements { continue }
      try hold(seen.hops == 1 && seen.node == ForwardedNode(.address(stranger)), "a client chooses its address: \(seen)")
    }
  }

  /// The same bytes as `X-Forwarded-For`: garbage takes nothing from what the proxy adds.
  private static func older(_ bytes: [UInt8]) throws(Broken) {
    let elements = Forwarded.elements(xForwardedFor: [bytes])
    try hold(elements.count <= Forwarded.mostElements && elements.allSatisfy { $0.client != nil }, "an element without a client")
    try counts(ForwardedClient.resolve(peer: peer, elements, trusts: trusts), elements)
    let anew = Array(elements.map(written).joined(separator: Array(", ".utf8)))
    try hold(Forwarded.elements([anew]) == elements, "as Forwarded it means something else: \(String(decoding: anew, as: UTF8.self))")
    let honest = Array("192.0.2.7".utf8)
    for lines in [[bytes, honest], [bytes + Array(", ".utf8) + honest], [bytes + Array(",".utf8) + honest]] {
      let seen = ForwardedClient.resolve(peer: peer, Forwarded.elements(xForwardedFor: lines), trusts: trusts)
      try hold(seen.hops == 1 && seen.node.address == NetworkAddress("192.0.2.7"), "a client chooses its address: \(seen)")
    }
  }

  /// In the one plain way.
  static func written(_ element: ForwardedElement) -> [UInt8] {
    var pairs: [[UInt8]] = []
    if let client = element.client { pairs.append(Array("for=".utf8) + quoted(node(client))) }
    if let proxy = element.proxy { pairs.append(Array("by=".utf8) + quoted(node(proxy))) }
    if let host = element.host { pairs.append(Array("host=".utf8) + quoted(host)) }
    if let scheme = element.scheme { pairs.append(Array("proto=".utf8) + quoted(scheme)) }
    return pairs.isEmpty ? [UInt8(ascii: ";")] : Array(pairs.joined(separator: [UInt8(ascii: ";")]))
  }

  private static func quoted(_ text: [UInt8]) -> [UInt8] { [UInt8(ascii: "\"")] + text + [UInt8(ascii: "\"")] }

  private static func node(_ node: ForwardedNode) -> [UInt8] {
    var out: [UInt8]
    switch node.name {
    case .unknown: out = Array("unknown".utf8)
    case .obfuscated(let name): out = name
    case .address(let address):
      let groups = (0..<8).map { UInt16(truncatingIfNeeded: ($0 < 4 ? address.high : address.low) >> UInt64(48 - $0 % 4 * 16)) }
      out =
        address.isV4
        ? Array((0..<4).map { "\(address.low >> UInt64(24 - $0 * 8) & 255)" }.joined(separator: ".").utf8)
        : Array("[\(groups.map { String($0, radix: 16) }.joined(separator: ":"))]".utf8)
    }
    if let port = node.port { out += [UInt8(ascii: ":")] + port }
    return out
  }
}
