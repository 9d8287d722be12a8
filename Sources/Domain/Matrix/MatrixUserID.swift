import IntercomCore

/// `@localpart:server`: the Matrix account of a person whom a claim names.
///
/// Of the claim only upper-case ASCII letters are changed. What the grammar does not allow
/// ([Matrix, User identifiers](https://spec.matrix.org/v1.11/appendices/#user-identifiers)) is refused, never mapped or cut: two people would
/// become one, or somebody another one.
package struct MatrixUserID: Hashable, Sendable {
  /// Why a claim names no account.
  package enum Fault: Error, Sendable, Equatable {
    case empty
    /// Something else than a–z, 0–9 and `._=-/+`.
    case character
    /// The whole id would have more than 255 bytes.
    case tooLong
  }

  /// What stands between `@` and `:`.
  package let localpart: Identifier
  package let serverName: Identifier

  package init(claim: String, serverName: Identifier) throws(Fault) {
    let localpart = claim.utf8.map { $0 &- 65 < 26 ? $0 | 0x20 : $0 }
    guard !localpart.isEmpty else { throw .empty }
    guard localpart.count + serverName.bytes.count + 2 <= Self.maximumBytes else { throw .tooLong }
    guard localpart.allSatisfy(Self.isAllowed) else { throw .character }
    self.localpart = Identifier(bytes: localpart)
    self.serverName = serverName
  }

  /// The whole id.
  package var text: Identifier {
    Identifier(bytes: [UInt8(ascii: "@")] + localpart.bytes + [UInt8(ascii: ":")] + serverName.bytes)
  }

  private static let maximumBytes = 255
  private static let marks = Array("._=-/+".utf8)

  private static func isAllowed(_ byte: UInt8) -> Bool { byte &- 97 < 26 || byte &- 48 < 10 || marks.contains(byte) }
}
