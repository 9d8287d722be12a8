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
  /// Of the host in its Host field, when it is known.
  private(set) var hostLength: Int?

  /// Longer heads are rare and not kept, so that no loop holds much memory for them.
  private static let longest = 4096

  /// Credentials are never kept, and no time tells how much of one was the same.
  static let secret: FieldIDSet = [.cookie, .setCookie, .authorization, .proxyAuthorization, .csrfToken]

  /// Keeps a complete head of `end` bytes. Those that stand here already are not copied.
  @inline(__always)
  mutating func keep(_ head: borrowing Span<UInt8>, _ end: Int, _ fields: borrowing FieldTable, _ read: RepeatedLines, hostLength: Int?) {
    self.hostLength = hostLength
    lines = end <= Self.longest ? fields.count : 0
    if end > Self.longest || read.newFrom >= end { return }
    var from = read.newFrom
    for index in read.firstNew..<fields.count where Self.secret.contains(fields[index].id) && Int(fields[index].start) >= from {
      bytes.count = from
      bytes.append(head, from, Int(fields[index].start))
      from = Int(fields[index].end)
    }
    bytes.count = from
    bytes.append(head, from, end)
  }

  mutating func forget() { lines = 0 }
}

/// Finds the lines of a head that the one before had too.
struct RepeatedLines {
  /// Bytes before this offset are the previous head's, from the start of the line where they were compared last. Lines that were not the
  /// same end behind it.
  private var same = 0
  /// From an offset in the previous head to that of the same byte in this one.
  private var shift = 0
  /// The first line that did not stand at the same place of the previous head.
  private(set) var newFrom: Int
  /// Its place in the order.
  private(set) var firstNew = 0

  init(newFrom: Int) { self.newFrom = newFrom }

  /// The line at `start` does not stand there in the previous head.
  @inline(__always) mutating func isNew(_ start: Int, _ index: Int) {
    if start < newFrom { (newFrom, firstNew) = (start, index) }
  }

  /// Whether the line at `start` is that of `field`, the previous head's field in the same place of the order.
  @inline(__always)
  mutating func has(_ bytes: borrowing Span<UInt8>, _ start: Int, _ previous: borrowing Span<UInt8>, _ field: HeadField) -> Bool {
    if PreviousHead.secret.contains(field.id) {
      same = 0
      return false
    }
    if start >= same {
      shift = start &- Int(field.start)
      same = start &+ commonPrefix(bytes, start, previous, Int(field.start))
    }
    return Int(field.end) &+ shift <= same
  }

  /// Makes the field this head's.
  @inline(__always) mutating func take(_ field: inout HeadField, _ index: Int) {
    field.isNamedByConnection = false
    if shift != 0 { move(&field, index) }
  }

  private mutating func move(_ field: inout HeadField, _ index: Int) {
    let shift = UInt32(truncatingIfNeeded: shift)
    field.start &+= shift
    field.nameEnd &+= shift
    field.valueStart &+= shift
    field.valueEnd &+= shift
    field.end &+= shift
    isNew(Int(field.start), index)
  }
}

extension HeadBuffer {
  /// Over these bytes, of which none counts yet.
  fileprivate init(storage: [UInt8]) { self.storage = storage }
}
