import HTTPMessage

/// Where a head is written: bytes that grow as needed and are used again for the next head, one per loop.
///
/// Copies go by words of eight bytes, every access bounds-checked. What has been written is `storage.span.extracting(first: count)`.
package struct HeadBuffer: Sendable {
  package private(set) var storage: [UInt8]
  package private(set) var count = 0

  /// `capacity` bytes are enough for most heads; more come by doubling.
  package init(capacity: Int = 4096) { storage = [UInt8](repeating: 0, count: max(64, capacity)) }

  package mutating func removeAll() { count = 0 }

  /// A copy of what has been written.
  package var bytes: [UInt8] { Array(storage[..<count]) }

  /// Drops the last `size` bytes.
  package mutating func removeLast(_ size: Int) { count = max(0, count &- max(0, size)) }

  package mutating func append(_ byte: UInt8) {
    reserve(1)
    storage[count] = byte
    count &+= 1
  }

  package mutating func append(_ bytes: [UInt8]) { append(bytes.span, 0, bytes.count) }

  package mutating func append(_ bytes: borrowing Span<UInt8>, _ range: ByteRange) { append(bytes, range.lower, range.upper) }

  /// Appends `bytes[from ..< to]`; nothing when that does not lie in `bytes`.
  package mutating func append(_ bytes: borrowing Span<UInt8>, _ from: Int, _ to: Int) {
    guard from >= 0, from < to, to <= bytes.count else { return }
    let size = to &- from
    reserve(size)
    let end = count
    var span = storage.mutableSpan
    var raw = span.mutableBytes
    var done = 0
    while done &+ 8 <= size {
      raw.storeBytes(of: load8(bytes, from &+ done), toByteOffset: end &+ done, as: UInt64.self)
      done &+= 8
    }
    if done < size {
      if from &+ done &+ 8 <= bytes.count {
        // `reserve` left room behind the end, so the last word may be stored whole.
        raw.storeBytes(of: load8(bytes, from &+ done), toByteOffset: end &+ done, as: UInt64.self)
      } else {
        while done < size {
          raw.storeBytes(of: bytes[from &+ done], toByteOffset: end &+ done, as: UInt8.self)
          done &+= 1
        }
      }
    }
    count = end &+ size
  }

  /// Appends a number in decimal digits.
  package mutating func append(decimal value: Int) {
    guard value >= 10 else { return append(48 &+ UInt8(truncatingIfNeeded: max(0, value))) }
    append(decimal: value / 10)
    append(48 &+ UInt8(truncatingIfNeeded: value % 10))
  }

  /// Room for `size` bytes and a whole word behind them.
  @inline(__always) private mutating func reserve(_ size: Int) {
    if count &+ size &+ 8 > storage.count { grow(size) }
  }

  private mutating func grow(_ size: Int) {
    let wanted = max(storage.count &* 2, count &+ size &+ 8)
    storage.append(contentsOf: repeatElement(0, count: wanted &- storage.count))
  }
}
