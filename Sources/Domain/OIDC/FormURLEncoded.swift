import HTTPMessage

/// `application/x-www-form-urlencoded` as OAuth writes it ([RFC 6749 Appendix B](https://www.rfc-editor.org/rfc/rfc6749#appendix-B)): a space
/// is `%20`, which every reader of forms and of queries understands. Reading is `FormFields`.
package enum FormURLEncoded {
  package static let contentType = "application/x-www-form-urlencoded"

  /// `name=value&…` in order.
  package static func encode(_ pairs: [(name: String, value: String)]) -> String {
    pairs.map { PercentCoding.encode($0.name) + "=" + PercentCoding.encode($0.value) }.joined(separator: "&")
  }

  /// `url` with the pairs added to its query.
  package static func append(_ pairs: [(name: String, value: String)], to url: String) -> String {
    guard !pairs.isEmpty else { return url }
    return url + (url.utf8.contains(UInt8(ascii: "?")) ? "&" : "?") + encode(pairs)
  }
}
