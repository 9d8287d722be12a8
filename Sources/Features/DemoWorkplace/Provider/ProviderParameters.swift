import HTTPMessage
import IntercomCore

/// The parameters of a request to the provider: each at most once ([RFC 6749 §3.1](https://www.rfc-editor.org/rfc/rfc6749#section-3.1)).
struct ProviderParameters {
  private let values: [Identifier: String]

  /// Reads a form or a query. Throws `invalid_request` for a repeated name, a broken escape, bytes that are no UTF-8, NUL, or more than 64
  /// parameters.
  init(_ bytes: [UInt8]) throws(ProviderFault) {
    let form: FormFields
    do { form = try FormFields(parsing: bytes) } catch { throw ProviderFault(.invalidRequest, "the parameters are not well-formed") }
    var values: [Identifier: String] = [:]
    for field in form.all {
      guard !field.value.contains(0), let value = String(validating: field.value, as: UTF8.self) else {
        throw ProviderFault(.invalidRequest, "a parameter is not well-formed")
      }
      guard values.updateValue(value, forKey: Identifier(bytes: field.name)) == nil else {
        throw ProviderFault(.invalidRequest, "a parameter is repeated")
      }
    }
    self.values = values
  }

  /// nil when absent or empty: "parameters sent without a value MUST be treated as if they were omitted".
  subscript(name: Identifier) -> String? {
    guard let value = values[name], !value.isEmpty else { return nil }
    return value
  }

  func identifier(_ name: Identifier) -> Identifier? { self[name].map { Identifier($0) } }

  /// A list of words between spaces, such as `scope` and `prompt`.
  func words(_ name: Identifier) -> [Identifier] {
    (self[name] ?? "").utf8.split(separator: UInt8(ascii: " ")).map { Identifier(bytes: $0) }
  }

  /// The URI with these parameters added to its query; a space is `%20`, which readers of forms and of queries both understand.
  static func append(_ pairs: [(String, String)], to uri: String) -> String {
    let query = pairs.map { "\(PercentCoding.encode($0.0))=\(PercentCoding.encode($0.1))" }.joined(separator: "&")
    return pairs.isEmpty ? uri : uri + (uri.utf8.contains(UInt8(ascii: "?")) ? "&" : "?") + query
  }
}
