import HTTPMessage

// Clients and upstreams send most of their lines again and again, so the lines of a head are first compared with those of the head that was
// read before, on whatever connection. A field is a function of the bytes of its line and of nothing else, and it was found good then: where the
// bytes are the same, from the line's first one to its CRLF, the field is the same too, and only its offsets move. What a field means for the
// request (`HeadFacts.take`) and the limits are looked at in every head.

/// The bytes of the head that was read before. Its fields stand in the table, those behind the ones that have been read of the next one.
struct PreviousHead: Sendable {
  /// The field lines, where they stood in the head; what stands elsewhere is of no meaning.
  private(set) var bytes = HeadBuffer(storage: [])
  /// How many fields it had; 0 when it is of no use.
  private(set) var lines = 0

  /// Longer heads are rare and not kept, so that no loop holds much memory for them.
  private static let longest = 4096

  /// Keeps a complete head of `end` bytes. Those that stand here already are not copied.
  @inline(__always) mutating func keep(_ head: borrowing Span<UInt8>, _ read: RepeatedLines, to end: Int, lines: Int) {
    self.lines = end <= Self.longest ? lines : 0
    if end > Self.longest || read.newFrom >= end { return }
    bytes.count = read.newFrom
    bytes.append(head, read.newFrom, end)
  }

  mutating func forget() { lines = 0 }
}

/// Finds the lines of a head that the one before had too.
struct RepeatedLines {
  /// Bytes before this offset are the previous head's, from the start of the line where they were compared last.
  private var same = 0
  /// From an offset in the previous head to that of the same byte in this one.
  private var shift = 0
  /// The first line that did not stand at the same place of the previous head.
  private(set) var newFrom: Int

  init(newFrom: Int) { self.newFrom = newFrom }

  /// The line at `start` is not in the previous head.
  @inline(__always) mutating func isNew(_ start: Int) { if start < newFrom { newFrom = start } }

  /// Whether the line at `start` is that of `field`, the previous head's field in the same place of the order; if so `field` is made this
  /// head's.
  @inline(__always)
  mutating func take(_ bytes: borrowing Span<UInt8>, _ start: Int, _ previous: borrowing Span<UInt8>, _ field: inout HeadField) -> Bool {
    if start >= same {
      shift = start &- Int(field.start)
      same = start &+ commonPrefix(bytes, start, previous, Int(field.start))
    }
    guard Int(field.end) &+ shift <= same else { return false }
    if shift != 0 { move(&field, start) }
    field.isNamedByConnection = false
    return true
  }

  private mutating func move(_ field: inout HeadField, _ start: Int) {
    isNew(start)
    let shift = UInt32(truncatingIfNeeded: shift)
    field.start &+= shift
    field.nameEnd &+= shift
    field.valueStart &+= shift
    field.valueEnd &+= shift
    field.end &+= shift
  }
}

extension HeadBuffer {
  /// Over these bytes, of which none counts yet.
  fileprivate init(storage: [UInt8]) { self.storage = storage }
}
