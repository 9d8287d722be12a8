import CNGHTTP2

/// Fields for HPACK, pseudo-fields first. One buffer for all, which may be used again. The library writes names in lower case, as HTTP/2
/// demands ([RFC 9113 §8.2](https://www.rfc-editor.org/rfc/rfc9113#section-8.2)).
package struct HTTP2FieldBlock {
  private struct Piece {
    var name: Int
    var nameCount: Int
    var value: Int
    var valueCount: Int
  }
  private var bytes: [UInt8] = []
  private var pieces: [Piece] = []
  private var list: [nghttp2_nv] = []

  package init() {}

  package var count: Int { pieces.count }

  package mutating func removeAll() {
    bytes.removeAll(keepingCapacity: true)
    pieces.removeAll(keepingCapacity: true)
  }

  /// The status of an answer (RFC 9113 §8.3.2); three digits.
  package mutating func append(status: Int) {
    let start = bytes.count
    bytes += ":status".utf8
    for divisor in [100, 10, 1] { bytes.append(UInt8(truncatingIfNeeded: 48 &+ status / divisor % 10)) }
    pieces.append(Piece(name: start, nameCount: 7, value: start &+ 7, valueCount: 3))
  }

  /// Appends a field.
  package mutating func append(_ name: borrowing Span<UInt8>, _ value: borrowing Span<UInt8>) {
    let start = bytes.count
    name.withUnsafeBufferPointer { bytes.append(contentsOf: $0) }
    value.withUnsafeBufferPointer { bytes.append(contentsOf: $0) }
    pieces.append(Piece(name: start, nameCount: name.count, value: start &+ name.count, valueCount: value.count))
  }

  /// Takes a copy of a whole head: `append(name:value:in:)` names fields in it. Gives back where it begins.
  package mutating func adopt(_ head: borrowing Span<UInt8>) -> Int {
    let start = bytes.count
    head.withUnsafeBufferPointer { bytes.append(contentsOf: $0) }
    return start
  }

  /// Appends the field with these ranges of the head that `adopt` put at `start`; nothing when they lie outside of it.
  package mutating func append(name: Range<Int>, value: Range<Int>, in start: Int) {
    guard name.lowerBound >= 0, value.lowerBound >= 0, start &+ max(name.upperBound, value.upperBound) <= bytes.count else { return }
    pieces.append(
      Piece(name: start &+ name.lowerBound, nameCount: name.count, value: start &+ value.lowerBound, valueCount: value.count))
  }

  /// Calls `body` with nghttp2's form of the fields. The library copies them.
  mutating func withFields<R>(_ body: (UnsafePointer<nghttp2_nv>?, Int) -> R) -> R {
    var made = list
    list = []
    made.removeAll(keepingCapacity: true)
    let result = bytes.withUnsafeMutableBufferPointer { memory in
      guard let base = memory.baseAddress else { return body(nil, 0) }
      for piece in pieces {
        made.append(
          nghttp2_nv(
            name: base + piece.name, value: base + piece.value, namelen: piece.nameCount, valuelen: piece.valueCount,
            flags: UInt8(NGHTTP2_NV_FLAG_NONE.rawValue)))
      }
      return made.withUnsafeBufferPointer { body($0.baseAddress, $0.count) }
    }
    list = made
    return result
  }
}
