import CNGHTTP2

/// Fields for HPACK: names in lower case, pseudo-fields first. One buffer for all.
package struct HTTP2FieldBlock {
  private var bytes: [UInt8] = []
  private var pieces: [(start: Int, name: Int, value: Int)] = []

  package init() {}

  package var count: Int { pieces.count }

  package mutating func removeAll() {
    bytes.removeAll(keepingCapacity: true)
    pieces.removeAll(keepingCapacity: true)
  }

  /// Appends a field; letters of the name become lower case, which HTTP/2 demands ([RFC 9113 §8.2](https://www.rfc-editor.org/rfc/rfc9113#section-8.2)).
  package mutating func append(_ name: borrowing Span<UInt8>, _ value: borrowing Span<UInt8>) {
    pieces.append((bytes.count, name.count, value.count))
    for index in name.indices {
      let byte = name[index]
      bytes.append(byte >= 0x41 && byte <= 0x5a ? byte | 0x20 : byte)
    }
    value.withUnsafeBufferPointer { bytes.append(contentsOf: $0) }
  }

  package mutating func append(_ name: String, _ value: String) {
    let (name, value) = (Array(name.utf8), Array(value.utf8))
    append(name.span, value.span)
  }

  /// Calls `body` with nghttp2's form of the fields. The library copies them.
  mutating func withFields<R>(_ body: (UnsafePointer<nghttp2_nv>?, Int) -> R) -> R {
    let pieces = pieces
    return bytes.withUnsafeMutableBufferPointer { memory in
      let list = pieces.map { piece in
        nghttp2_nv(
          name: memory.baseAddress.map { $0 + piece.start }, value: memory.baseAddress.map { $0 + piece.start + piece.name },
          namelen: piece.name, valuelen: piece.value, flags: UInt8(NGHTTP2_NV_FLAG_NONE.rawValue))
      }
      return list.withUnsafeBufferPointer { body($0.baseAddress, $0.count) }
    }
  }
}
