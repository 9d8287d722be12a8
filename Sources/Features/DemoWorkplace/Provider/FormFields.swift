import IntercomCore

/// The parameters of a request to the provider: each at most once ([RFC 6749 §3.1](https://www.rfc-editor.org/rfc/rfc6749#section-3.1)).
struct FormFields {
  static let maximumCount = 64
  private let values: [Identifier: String]

  /// Reads `application/x-www-form-urlencoded`. Throws `invalid_request` for a repeated name, a broken escape, bytes that are no UTF-8,
  /// NUL, or more than 64 parameters.
  init(_ bytes: [UInt8]) throws(ProviderFault) {
    var values: [Identifier: String] = [:]
    for pair in bytes.split(separator: UInt8(ascii: "&")) {
      guard values.count < Self.maximumCount else { throw ProviderFault(.invalidRequest, "too many parameters") }
      let halves = pair.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
      guard let first = halves.first, let name = Self.decode(first), let value = Self.decode(halves.dropFirst().first ?? []) else {
        throw ProviderFault(.invalidRequest, "a parameter is not well-formed")
      }
      guard values.updateValue(value, forKey: Identifier(name)) == nil else {
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

  /// A list of words between single spaces, such as `scope` and `prompt`.
  func words(_ name: Identifier) -> [Identifier] {
    (self[name] ?? "").utf8.split(separator: UInt8(ascii: " ")).map { Identifier(bytes: $0) }
  }

  /// Text of a form, with `+` for the space; nil when it is not well-formed.
  static func decode(_ bytes: ArraySlice<UInt8>) -> String? {
    var out: [UInt8] = []
    out.reserveCapacity(bytes.count)
    var rest = bytes
    while let byte = rest.popFirst() {
      switch byte {
      case UInt8(ascii: "+"): out.append(0x20)
      case UInt8(ascii: "%"):
        guard let high = rest.popFirst().flatMap(digit), let low = rest.popFirst().flatMap(digit) else { return nil }
        out.append(high << 4 | low)
      default: out.append(byte)
      }
    }
    guard !out.contains(0) else { return nil }
    return String(validating: out, as: UTF8.self)
  }

  private static func digit(_ byte: UInt8) -> UInt8? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): byte &- UInt8(ascii: "0")
    case UInt8(ascii: "a")...UInt8(ascii: "f"): byte &- UInt8(ascii: "a") &+ 10
    case UInt8(ascii: "A")...UInt8(ascii: "F"): byte &- UInt8(ascii: "A") &+ 10
    default: nil
    }
  }

  /// `name=value&…` with everything escaped but the unreserved characters of RFC 3986 §2.3.
  static func encode(_ pairs: [(String, String)]) -> String {
    pairs.map { "\(encode($0.0))=\(encode($0.1))" }.joined(separator: "&")
  }

  private static func encode(_ text: String) -> String {
    let digits = Array("0123456789ABCDEF".utf8)
    var out: [UInt8] = []
    for byte in text.utf8 {
      switch byte {
      case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"), UInt8(ascii: "a")...UInt8(ascii: "z"),
        UInt8(ascii: "-"), UInt8(ascii: "."), UInt8(ascii: "_"), UInt8(ascii: "~"):
        out.append(byte)
      default: out += [UInt8(ascii: "%"), digits[Int(byte >> 4)], digits[Int(byte & 15)]]
      }
    }
    return String(decoding: out, as: UTF8.self)
  }

  /// The URI with these parameters added to its query.
  static func append(_ pairs: [(String, String)], to uri: String) -> String {
    pairs.isEmpty ? uri : uri + (uri.utf8.contains(UInt8(ascii: "?")) ? "&" : "?") + encode(pairs)
  }
}
