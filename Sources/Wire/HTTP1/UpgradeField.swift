import HTTPMessage

/// `Upgrade`: the protocols that a client would rather speak on its connection, or the one to which a server switches
/// ([RFC 9110 §7.8](https://www.rfc-editor.org/rfc/rfc9110#section-7.8)).
package enum UpgradeField {
  private static let mostProtocols = 16

  /// The members of the list in lower case: names of protocols are compared whatever the case of their letters. Empty for what is no list of
  /// `name` and `name/version`.
  package static func protocols(_ value: ByteRange, _ bytes: borrowing Span<UInt8>) -> [[UInt8]] {
    var found: [[UInt8]] = []
    for member in value.bytes(in: bytes).split(separator: ASCII.comma) {
      var name = member.drop(while: isBlank)
      while let last = name.last, isBlank(last) { name.removeLast() }
      if name.isEmpty { continue }
      guard isProtocol(name), found.count < mostProtocols else { return [] }
      found.append(name.map { lowercase($0) })
    }
    return found
  }

  /// Those that the request asks for and that are among `allowed`, which are in lower case.
  package static func asked(
    _ request: borrowing CanonicalRequest, _ bytes: borrowing Span<UInt8>, of allowed: [[UInt8]]
  ) -> [[UInt8]] {
    protocols(request.upgrade, bytes).filter { allowed.contains($0) }
  }

  /// `token` or `token/token`.
  package static func isProtocol(_ name: some Collection<UInt8>) -> Bool {
    let parts = name.split(separator: ASCII.slash, omittingEmptySubsequences: false)
    return parts.count <= 2 && parts.allSatisfy { !$0.isEmpty && $0.allSatisfy(isToken) }
  }
}

extension FieldTable {
  /// The value of the only field of this name (of a field that the engine does not know by number), in lower case; nil when there is none,
  /// or several, or `Connection` names it.
  package func only(_ name: StaticString, in bytes: borrowing Span<UInt8>) -> ByteRange? {
    var found: ByteRange?
    for index in 0..<count where equalsFolded(bytes, self[index].name, name) {
      guard found == nil, !self[index].isNamedByConnection else { return nil }
      found = self[index].value
    }
    return found
  }
}
