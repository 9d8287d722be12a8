import HTTPMessage

/// How far a head that arrives in pieces has been read. A line is judged when its LF is there, and no byte is searched twice for it, so
/// byte by byte costs no more than a whole head, and answers the same.
struct HeadProgress: Sendable {
  /// The first line that is not judged yet.
  var lineStart = 0
  /// There is no LF in `lineStart ..< searched`.
  var searched = 0
  var firstLineDone = false
  /// Bytes of the first line with its CRLF, and why a longer one is refused.
  private let longestFirstLine: Int
  private let firstLineRefusal: HeadRefusal

  init(longestFirstLine: Int, _ firstLineRefusal: HeadRefusal) {
    self.longestFirstLine = longestFirstLine
    self.firstLineRefusal = firstLineRefusal
  }

  /// For the next head.
  @inline(__always) mutating func restart() {
    lineStart = 0
    searched = 0
    firstLineDone = false
  }

  /// Whether a line that was incomplete has its LF now.
  @inline(__always) mutating func resumes(_ bytes: borrowing Span<UInt8>) -> Bool {
    searched <= lineStart || findsLineEnd(bytes)
  }

  private mutating func findsLineEnd(_ bytes: borrowing Span<UInt8>) -> Bool {
    guard searched <= bytes.count else {
      restart()
      return true
    }
    let found = find(ASCII.lf, bytes, searched, bytes.count)
    if found < bytes.count {
      searched = lineStart
      return true
    }
    searched = found
    return false
  }

  /// The first line is good and ends before `next`.
  @inline(__always) mutating func passFirstLine(_ next: Int) {
    firstLineDone = true
    lineStart = next
    searched = next
  }

  /// Reads the field lines from `lineStart` on into `fields`. At `complete`, `lineStart` is behind the empty line.
  @inline(__always)
  mutating func readFields<Facts: HeadFacts>(
    _ bytes: borrowing Span<UInt8>, _ limits: HeadLimits, _ fields: inout FieldTable, _ facts: inout Facts
  ) -> HeadResult {
    // Taken out meanwhile: a second owner would make a copy of it when it changes.
    var previous = PreviousHead()
    swap(&previous, &fields.previous)
    // Of a head that came in pieces all is new.
    var repeated = RepeatedLines(newFrom: fields.count == 0 ? .max : 0)
    let result = readLines(bytes, limits, &fields, &facts, &repeated, previous)
    if case .complete = result {
      previous.keep(bytes, lineStart, fields, repeated, hostLength: facts.hostLength)
      fields.isComplete = true
    }
    swap(&previous, &fields.previous)
    return result
  }

  @inline(__always)
  private mutating func readLines<Facts: HeadFacts>(
    _ bytes: borrowing Span<UInt8>, _ limits: HeadLimits, _ fields: inout FieldTable, _ facts: inout Facts,
    _ repeated: inout RepeatedLines, _ previous: borrowing PreviousHead
  ) -> HeadResult {
    var start = lineStart
    var count = fields.count
    var present = fields.present
    var hasOptions = fields.hasConnectionOptions
    // Lines of so few bytes break no limit.
    let isSmall = bytes.count <= min(limits.field, limits.head)
    while true {
      fields.reserve()
      var slots = fields.slots.mutableSpan
      while count < slots.count {
        let isRepeated = count < previous.lines && repeated.has(bytes, start, previous.bytes.storage.span, slots[count])
        if isRepeated {
          repeated.take(&slots[count], count)
        } else {
          var field = HeadField()
          var found = FieldLine.endOfHead
          if hasBytes(bytes, start, 2), load2(bytes, start) == 0x0a0d {
            field.end = UInt32(truncatingIfNeeded: start &+ 2)
          } else {
            found = FieldLine.scan(bytes, start, &field)
          }
          guard case .field = found else {
            fields.count = count
            fields.present = present
            fields.hasConnectionOptions = hasOptions
            lineStart = start
            guard found == .endOfHead else { return found == .short ? wait(bytes, limits) : refuse(bytes, limits, found.refusal) }
            if Int(field.end) > limits.head { return .refused(.headTooLarge) }
            lineStart = Int(field.end)
            return .complete
          }
          slots[count] = field
          repeated.isNew(start, count)
        }
        let field = slots[count]
        let end = Int(field.end)
        if count >= limits.fieldCount || !isSmall && (end &- start > limits.field &+ 2 || end > limits.head) {
          lineStart = start
          return refuse(bytes, limits, .tooManyFields)
        }
        if case .other = field.id {
        } else {
          if let refusal = facts.take(bytes, field, present, hostLength: isRepeated ? previous.hostLength : nil) {
            return .refused(refusal)
          }
          if case .connection = field.id, !ConnectionOptions.isKeepAlive(bytes, field.value) { hasOptions = true }
        }
        present.insert(field.id)
        count &+= 1
        start = end
      }
      fields.count = count
    }
  }

  /// The line at `lineStart` has no end yet: wait, unless it is too long already.
  mutating func wait(_ bytes: borrowing Span<UInt8>, _ limits: HeadLimits) -> HeadResult {
    searched = bytes.count
    if let excess = excess(lineStart, bytes.count &+ 1, limits) { return .refused(excess) }
    return .incomplete
  }

  /// Refuses the line at `lineStart` once it is complete; a limit that was broken before its end comes first.
  mutating func refuse(_ bytes: borrowing Span<UInt8>, _ limits: HeadLimits, _ reason: HeadRefusal) -> HeadResult {
    let lineFeed = find(ASCII.lf, bytes, lineStart, bytes.count)
    guard lineFeed < bytes.count else { return wait(bytes, limits) }
    return .refused(excess(lineStart, lineFeed &+ 1, limits) ?? reason)
  }

  /// The limit that a line which began at `start` breaks when it ends at or behind `end`. The one that is met first counts.
  func excess(_ start: Int, _ end: Int, _ limits: HeadLimits) -> HeadRefusal? {
    let lineEnd = start &+ (firstLineDone ? limits.field &+ 2 : longestFirstLine)
    if end <= min(lineEnd, limits.head) { return nil }
    return lineEnd <= limits.head ? (firstLineDone ? .fieldTooLarge : firstLineRefusal) : .headTooLarge
  }
}

/// What the known fields of a head say. Each is taken as it is read.
protocol HeadFacts {
  /// Takes one field, before it is added to those that are `present`; nil when it is good. `hostLength`: of the host in this field, when it
  /// is Host and known to be good.
  mutating func take(_ bytes: borrowing Span<UInt8>, _ field: HeadField, _ present: FieldIDSet, hostLength: Int?) -> HeadRefusal?

  /// Of the host in the Host field, when that was read.
  var hostLength: Int? { get }
}
