/// `application/x-www-form-urlencoded` as OAuth uses it ([RFC 6749 Appendix B](https://www.rfc-editor.org/rfc/rfc6749#appendix-B)).
package enum FormURLEncoded {
  package static let contentType = "application/x-www-form-urlencoded"

  package struct Pair: Sendable, Equatable {
    package var name: [UInt8]
    package var value: [UInt8]
  }

  /// Why a text is no form that can be trusted.
  package enum Failure: Error, Sendable, Equatable {
    case tooManyFields
    /// A broken escape or bytes that are no UTF-8 after decoding.
    case malformed
  }

  /// Every byte but unreserved ones escaped (a space is `%20`, which every reader of forms and of queries understands).
  package static func encode(_ text: String) -> String {
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

  /// `name=value&…` in order.
  package static func encode(_ pairs: [(name: String, value: String)]) -> String {
    pairs.map { encode($0.name) + "=" + encode($0.value) }.joined(separator: "&")
  }

  /// `url` with the pairs added to its query.
  package static func append(_ pairs: [(name: String, value: String)], to url: String) -> String {
    guard !pairs.isEmpty else { return url }
    return url + (url.utf8.contains(UInt8(ascii: "?")) ? "&" : "?") + encode(pairs)
  }

  /// All fields in order, repeated ones too; empty pieces between `&` are skipped.
  package static func parse(_ bytes: some Collection<UInt8>, maximumFields: Int = 64) throws(Failure) -> [Pair] {
    var pairs: [Pair] = []
    for piece in bytes.split(separator: UInt8(ascii: "&")) {
      guard pairs.count < maximumFields else { throw .tooManyFields }
      let halves = piece.split(separator: UInt8(ascii: "="), maxSplits: 1, omittingEmptySubsequences: false)
      let name = try decode(halves[0])
      let value = halves.count > 1 ? try decode(halves[1]) : []
      pairs.append(Pair(name: name, value: value))
    }
    return pairs
  }

  private static func decode(_ bytes: some Collection<UInt8>) throws(Failure) -> [UInt8] {
    var out: [UInt8] = []
    out.reserveCapacity(bytes.count)
    var rest = bytes[...]
    while let byte = rest.popFirst() {
      switch byte {
      case UInt8(ascii: "+"): out.append(32)
      case UInt8(ascii: "%"):
        guard let high = rest.popFirst().flatMap(nibble), let low = rest.popFirst().flatMap(nibble) else { throw .malformed }
        out.append(high << 4 | low)
      default: out.append(byte)
      }
    }
    guard String(validating: out, as: UTF8.self) != nil else { throw .malformed }
    return out
  }

  private static func nibble(_ byte: UInt8) -> UInt8? {
    switch byte {
    case UInt8(ascii: "0")...UInt8(ascii: "9"): byte - 48
    case UInt8(ascii: "a")...UInt8(ascii: "f"): byte - 87
    case UInt8(ascii: "A")...UInt8(ascii: "F"): byte - 55
    default: nil
    }
  }
}

/// A form or query whose fields may each stand there once.
struct UniqueFields {
  private let pairs: [FormURLEncoded.Pair]

  init(_ bytes: some Collection<UInt8>) throws(FormURLEncoded.Failure) { pairs = try FormURLEncoded.parse(bytes) }

  enum Field {
    case absent
    case once(String)
    case repeated
  }

  func field(_ name: String) -> Field {
    let found = pairs.filter { $0.name.elementsEqual(name.utf8) }
    guard let first = found.first else { return .absent }
    return found.count == 1 ? .once(String(decoding: first.value, as: UTF8.self)) : .repeated
  }
}
