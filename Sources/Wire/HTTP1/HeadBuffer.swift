import HTTPMessage

/// Bytes that are written into many heads: stored with room behind them, so that copying them needs no care at the end.
public struct HeadPiece: Sendable, ExpressibleByStringLiteral {
  @usableFromInline let padded: [UInt8]
  public let count: Int

  @usableFromInline package init(_ bytes: some Collection<UInt8>) {
    padded = Array(bytes) + [UInt8](repeating: 0, count: HeadBuffer.slack)
    count = bytes.count
  }
  @inlinable public init(stringLiteral text: String) { self.init(text.utf8) }
}

/// Where a head is written: bytes that grow as needed and are used again for the next head.
///
/// Copies go by pieces of up to 64 bytes, every access bounds-checked. What has been written is `storage.span.extracting(first: count)`.
public struct HeadBuffer: Sendable {
  /// Changed by appending alone.
  public var storage: [UInt8]
  public var count = 0
  /// Bytes behind the end that may be written without counting, and those that stand behind a piece.
  @usableFromInline static var slack: Int { 64 }

  /// `capacity` bytes are enough for most heads; more come by doubling.
  package init(capacity: Int = 4096) { storage = [UInt8](repeating: 0, count: max(2 &* Self.slack, capacity)) }

  @inlinable public mutating func removeAll() { count = 0 }

  /// A copy of what has been written.
  package var bytes: [UInt8] { Array(storage[..<count]) }

  /// Drops the last `size` bytes.
  package mutating func removeLast(_ size: Int) { count = max(0, count &- max(0, size)) }

  /// Appends one byte.
  @inlinable public mutating func append(_ byte: UInt8) {
    reserve(1)
    storage[count] = byte
    count &+= 1
  }

  /// Appends text that was prepared once.
  @inlinable public mutating func append(_ piece: HeadPiece) {
    reserve(piece.count)
    var end = count
    var span = storage.mutableSpan
    var target = span.mutableBytes
    target.put(piece, at: &end)
    count = end
  }

  /// Appends all of these bytes.
  package mutating func append(_ bytes: [UInt8]) { append(bytes.span, 0, bytes.count) }

  /// Appends the bytes of a range.
  @inlinable public mutating func append(_ bytes: borrowing Span<UInt8>, _ range: ByteRange) { append(bytes, range.lower, range.upper) }

  /// Appends `bytes[from ..< to]`; nothing when that does not lie in `bytes`.
  @inlinable public mutating func append(_ bytes: borrowing Span<UInt8>, _ from: Int, _ to: Int) {
    guard from < to else { return }
    reserve(to &- from)
    var end = count
    var span = storage.mutableSpan
    var target = span.mutableBytes
    target.put(bytes, from, to, at: &end)
    count = end
  }

  /// Appends a number in decimal digits.
  package mutating func append(decimal value: Int) {
    guard value >= 10 else { return append(48 &+ UInt8(truncatingIfNeeded: max(0, value))) }
    append(decimal: value / 10)
    append(48 &+ UInt8(truncatingIfNeeded: value % 10))
  }

  /// Room for `size` bytes and a whole piece behind them: what `put` wants when many follow one another, so that each need not ask.
  @inlinable @inline(__always) public mutating func reserve(_ size: Int) {
    if count &+ size &+ Self.slack > storage.count { grow(size) }
  }

  @usableFromInline mutating func grow(_ size: Int) {
    let wanted = max(storage.count &* 2, count &+ size &+ Self.slack)
    storage.append(contentsOf: repeatElement(0, count: wanted &- storage.count))
  }
}

/// Copying into the room that `HeadBuffer.reserve` has made. Where there is none, the bounds checks stop the program.
extension MutableRawSpan {
  /// Stores a piece at `end`, which moves behind it.
  @inlinable public mutating func put(_ piece: HeadPiece, at end: inout Int) {
    let source = piece.padded.span
    let size = piece.count
    if size <= 32 {
      copy(source, 0, to: end, SIMD32<UInt8>.self)
    } else {
      var done = 0
      repeat {
        copy(source, done, to: end &+ done, SIMD64<UInt8>.self)
        done &+= 64
      } while done < size
    }
    end &+= size
  }

  /// Stores `bytes[from ..< to]` at `end`, which moves behind them; nothing when that does not lie in `bytes`.
  @inlinable public mutating func put(_ bytes: borrowing Span<UInt8>, _ from: Int, _ to: Int, at end: inout Int) {
    guard from >= 0, from < to, to <= bytes.count else { return }
    var at = from
    while at &+ 64 <= bytes.count {
      // There is room behind the end, so bytes that do not count may be stored too.
      copy(bytes, at, to: end &+ (at &- from), SIMD64<UInt8>.self)
      at &+= 64
      if at >= to { break }
    }
    if at < to { putTail(bytes, at, to, end &+ (at &- from)) }
    end &+= to &- from
  }

  /// At most 63 bytes at the end of their source, by pieces that may overlap.
  @usableFromInline mutating func putTail(_ bytes: borrowing Span<UInt8>, _ from: Int, _ to: Int, _ end: Int) {
    let size = to &- from
    if size >= 32 {
      copy(bytes, from, to: end, SIMD32<UInt8>.self)
      copy(bytes, to &- 32, to: end &+ size &- 32, SIMD32<UInt8>.self)
    } else if size >= 16 {
      copy(bytes, from, to: end, SIMD16<UInt8>.self)
      copy(bytes, to &- 16, to: end &+ size &- 16, SIMD16<UInt8>.self)
    } else if size >= 8 {
      copy(bytes, from, to: end, UInt64.self)
      copy(bytes, to &- 8, to: end &+ size &- 8, UInt64.self)
    } else if size >= 4 {
      copy(bytes, from, to: end, UInt32.self)
      copy(bytes, to &- 4, to: end &+ size &- 4, UInt32.self)
    } else {
      for offset in 0..<size { copy(bytes, from &+ offset, to: end &+ offset, UInt8.self) }
    }
  }

  @inlinable @inline(__always) mutating func copy<Piece: BitwiseCopyable>(
    _ bytes: borrowing Span<UInt8>, _ from: Int, to end: Int, _ piece: Piece.Type
  ) {
    storeBytes(of: bytes.bytes.unsafeLoadUnaligned(fromByteOffset: from, as: piece), toByteOffset: end, as: piece)
  }
}
