import HTTPMessage
import IntercomCore

/// An `HTTPURL` with its spelling kept: issuers and redirect URIs are compared and sent byte for byte as they are written.
package struct EndpointURL: Sendable, Hashable {
  package let text: Identifier
  /// `http` or `https`.
  package let scheme: Identifier
  /// Scheme, host and port as written: `https://id.example:8443`.
  package let origin: Identifier

  /// What `HTTPURL` reads, with the scheme in lower case and at most 2048 bytes; nil for anything else.
  package init?(_ text: String) {
    let bytes = Array(text.utf8)
    guard bytes.count <= 2_048, HTTPURL(bytes: bytes) != nil else { return nil }
    let scheme = bytes.starts(with: "https://".utf8) ? "https" : "http"
    guard bytes.starts(with: "\(scheme)://".utf8) else { return nil }
    let start = scheme.utf8.count + 3
    let end = bytes[start...].firstIndex { $0 == UInt8(ascii: "/") || $0 == UInt8(ascii: "?") } ?? bytes.count
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
