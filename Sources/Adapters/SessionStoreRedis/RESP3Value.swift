/// A value of Redis' protocol, version 3 ([RESP3](https://github.com/redis/redis-specifications/blob/master/protocol/RESP3.md)).
package indirect enum RESP3Value: Sendable, Equatable {
  /// A blob, a simple or a verbatim string: a reader need not care which the server chose.
  case bytes([UInt8])
  /// The server refused one command: `ERR …`, `NOSCRIPT …`. Other commands of the same pipeline are not concerned.
  case error([UInt8])
  case integer(Int64)
  case null
  /// An array or a set.
  case array([RESP3Value])
  /// Keys and values, alternating.
  case map([RESP3Value])
  /// Told without having been asked: the answer to no command.
  case push([RESP3Value])
  /// A double or a big number as it was written, or a boolean as `t` or `f`.
  case other([UInt8])

  package var bytes: [UInt8]? {
    if case .bytes(let bytes) = self { return bytes }
    return nil
  }

  package var integer: Int64? {
    if case .integer(let number) = self { return number }
    return nil
  }

  package var elements: [RESP3Value]? {
    switch self {
    case .array(let elements), .push(let elements), .map(let elements): elements
    default: nil
    }
  }

  /// What a map, or an array of pairs as version 2 writes it, has under this name.
  func field(_ name: StaticString) -> RESP3Value? {
    guard let elements else { return nil }
    let wanted = Array(name.description.utf8)
    return stride(from: 0, to: elements.count - elements.count % 2, by: 2).first { elements[$0].bytes == wanted }.map { elements[$0 + 1] }
  }

  /// A blob that is a decimal number, or a number.
  package var number: UInt64? {
    switch self {
    case .integer(let number): UInt64(exactly: number)
    case .bytes(let digits): decimal(digits)
    default: nil
    }
  }

  /// The word before the first space of an error: what a program may look at. Nil for other values.
  package var errorCode: String? {
    guard case .error(let text) = self else { return nil }
    return String(decoding: text.prefix { $0 != UInt8(ascii: " ") }.prefix(32), as: UTF8.self)
  }
}

/// Decimal digits only; nil for anything else and for what is too large.
func decimal(_ digits: some Collection<UInt8>) -> UInt64? {
  guard !digits.isEmpty, digits.count <= 20 else { return nil }
  var value: UInt64 = 0
  for digit in digits {
    guard digit &- 48 < 10 else { return nil }
    let (tens, high) = value.multipliedReportingOverflow(by: 10)
    let (sum, carry) = tens.addingReportingOverflow(UInt64(digit &- 48))
    guard !high, !carry else { return nil }
    value = sum
  }
  return value
}
