import IntercomCore

/// An absolute http or https URL without user information and fragment, as endpoints, issuers and redirect URIs must be.
package struct EndpointURL: Sendable, Hashable {
  package let text: Identifier
  /// `http` or `https`.
  package let scheme: Identifier
  /// Scheme, host and port as written: `https://id.example:8443`.
  package let origin: Identifier

  /// Printable ASCII of RFC 3986 only, at most 2048 bytes; nil for anything else.
  package init?(_ text: String) {
    let bytes = Array(text.utf8)
    guard bytes.count <= 2_048, bytes.allSatisfy({ $0 > 0x20 && $0 < 0x7f && !"\"<>\\^`{|}#".utf8.contains($0) }) else { return nil }
    let scheme: String
    if bytes.starts(with: "https://".utf8) {
      scheme = "https"
    } else if bytes.starts(with: "http://".utf8) {
      scheme = "http"
    } else {
      return nil
    }
    let start = scheme.utf8.count + 3
    let end = bytes[start...].firstIndex { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "?") } ?? bytes.count
    let authority = bytes[start..<end]
    guard let first = authority.first, first != UInt8(ascii: ":"), authority.allSatisfy(Self.isAuthorityByte) else { return nil }
    self.text = Identifier(text)
    self.scheme = Identifier(scheme)
    origin = Identifier(bytes: bytes[..<end])
  }

  package var isSecure: Bool { scheme == "https" }
  package var string: String { text.description }
  package var hasQuery: Bool { text.bytes.contains(UInt8(ascii: "?")) }

  /// Without a slash at the end.
  package var base: Identifier { text.bytes.last == UInt8(ascii: "/") ? Identifier(bytes: text.bytes.dropLast()) : text }

  /// What follows the origin.
  package var pathAndQuery: Identifier { Identifier(bytes: text.bytes.dropFirst(origin.bytes.count)) }

  private static func isAuthorityByte(_ byte: UInt8) -> Bool {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"): true
    default: ".-_:[]".utf8.contains(byte)
    }
  }
}

/// Where calls from server to server go when the provider is reached inside under another address than browsers use.
///
/// Only the address changes: the issuer in metadata and tokens is compared with the configured one as ever.
struct BackChannel: Sendable {
  let issuer: EndpointURL
  let internalURL: EndpointURL?

  /// The endpoint as it is called: the issuer's part of the URL, or at least its origin, replaced by the internal one.
  func address(of endpoint: EndpointURL) -> String {
    guard let internalURL else { return endpoint.string }
    let issuerBase = issuer.base.bytes
    let rest = endpoint.text.bytes.dropFirst(issuerBase.count)
    if endpoint.text.bytes.starts(with: issuerBase), rest.isEmpty || rest.first == UInt8(ascii: "/") || rest.first == UInt8(ascii: "?") {
      return String(decoding: internalURL.base.bytes + rest, as: UTF8.self)
    }
    if endpoint.origin == issuer.origin {
      return String(decoding: internalURL.origin.bytes + endpoint.pathAndQuery.bytes, as: UTF8.self)
    }
    return endpoint.string
  }

  /// May this endpoint be called? https, or http when the issuer is http too, or when it is the internal origin that was configured.
  func permits(_ endpoint: EndpointURL) -> Bool {
    endpoint.isSecure || !issuer.isSecure || endpoint.origin == internalURL?.origin
  }
}
