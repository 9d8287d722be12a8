import HTTPMessage

/// What the scanner found where a field line should be.
enum FieldLine: UInt8 {
  case field
  /// The empty line: `field.end` is behind it.
  case endOfHead
  /// The line's end has not arrived.
  case short
  case emptyName, badName, spaceBeforeColon, obsFold, badLineEnding, badValue

  /// Why a line of this kind is refused.
  var refusal: HeadRefusal {
    switch self {
    case .emptyName: .emptyFieldName
    case .spaceBeforeColon: .spaceBeforeColon
    case .obsFold: .obsFold
    case .badLineEnding: .badLineEnding
    case .badValue: .badFieldValue
    default: .badFieldName
    }
  }

  /// Reads one field line (RFC 9112 §5): `token ":" OWS value OWS CRLF`, nothing else.
  @inline(__always)
  static func scan(_ bytes: borrowing Span<UInt8>, _ start: Int, _ field: inout HeadField) -> FieldLine {
    let count = bytes.count
    var name = Name(.field, end: start)
    if !quickName(bytes, start, &name) {
      name = slowName(bytes, start)
      if case .field = name.line {
      } else {
        field.end = UInt32(truncatingIfNeeded: name.end)
        return name.line
      }
    }
    var at = name.end &+ 1
    if hasBytes(bytes, at, 2), bytes[at] == ASCII.space, bytes[at &+ 1] > ASCII.space {
      at &+= 1
    } else {
      while at < count, isBlank(bytes[at]) { at &+= 1 }
    }
    let valueStart = at
    while true {
      at = skipText(bytes, at)
      if hasBytes(bytes, at, 2), load2(bytes, at) == 0x0a0d { break }
      if at >= count { return .short }
      if bytes[at] == ASCII.tab {
        at &+= 1
        continue
      }
      guard bytes[at] == ASCII.cr else { return bytes[at] == ASCII.lf ? .badLineEnding : .badValue }
      return at &+ 1 < count ? .badLineEnding : .short
    }
    var valueEnd = at
    if isBlank(bytes[at &- 1]) {
      while valueEnd > valueStart, isBlank(bytes[valueEnd &- 1]) { valueEnd &-= 1 }
    }
    field = HeadField(
      start: UInt32(truncatingIfNeeded: start), nameEnd: UInt32(truncatingIfNeeded: name.end),
      valueStart: UInt32(truncatingIfNeeded: valueStart), valueEnd: UInt32(truncatingIfNeeded: valueEnd),
      end: UInt32(truncatingIfNeeded: at &+ 2), id: name.id, isUnusual: name.isUnusual)
    return .field
  }

  private struct Name {
    /// What the line is, as far as its name tells.
    var line: FieldLine
    /// Where its colon stands; of the empty line, its end.
    var end: Int
    var id = FieldID.other
    var isUnusual = false

    init(_ line: FieldLine, end: Int) {
      self.line = line
      self.end = end
    }
  }

  /// Reads a name of up to 15 letters, digits and `-` with its colon, which most are, from two words. false when `slowName` must look.
  @inline(__always)
  private static func quickName(_ bytes: borrowing Span<UInt8>, _ start: Int, _ name: inout Name) -> Bool {
    guard hasBytes(bytes, start, 16) else { return false }
    let colons = ByteWord.all(ASCII.colon)
    let first = load8(bytes, start)
    var marks = ByteWord.zeros(first ^ colons)
    if marks != 0 {
      let mask = ByteWord.before(marks)
      name.end = start &+ ByteWord.index(marks)
      if endsInByte(first & mask, marks) { name.id = KnownNames.find(first & mask, 0) }
      return name.id != .other || mask != 0 && ByteWord.notPlainName(first) & mask == 0
    }
    let second = load8(bytes, start &+ 8)
    marks = ByteWord.zeros(second ^ colons)
    if marks == 0 { return false }
    let mask = ByteWord.before(marks)
    name.end = start &+ 8 &+ ByteWord.index(marks)
    // Of eight bytes the last one stands in the first word.
    if endsInByte(second & mask, marks), first &>> 56 != 0 { name.id = KnownNames.find(first, second & mask) }
    return name.id != .other
      || ByteWord.notPlainName(first) | ByteWord.notPlainName(second) & mask == 0 && FieldFamily.find(first, second & mask) == .other
  }

  /// Whether the byte before the lowest mark is not zero; `word` has zeros from the mark on. True also where no byte is before it.
  @inline(__always) private static func endsInByte(_ word: UInt64, _ marks: UInt64) -> Bool { word >= (marks & (0 &- marks)) &>> 15 }

  /// Reads any name with its colon, or says what stands there instead.
  @inline(never)
  private static func slowName(_ bytes: borrowing Span<UInt8>, _ start: Int) -> Name {
    let count = bytes.count
    guard start < count else { return Name(.short, end: start) }
    if bytes[start] == ASCII.cr { return withoutName(bytes, start) }
    var at = skipPlainName(bytes, start)
    if at >= count { return Name(.short, end: at) }
    var name = Name(.field, end: at)
    if bytes[at] != ASCII.colon {
      if at == start, !isToken(bytes[at]) { return withoutName(bytes, start) }
      while at < count, isToken(bytes[at]) { at &+= 1 }
      if at >= count { return Name(.short, end: at) }
      guard bytes[at] == ASCII.colon else { return Name(isBlank(bytes[at]) ? .spaceBeforeColon : .badName, end: at) }
      name.isUnusual = true
      name.end = at
    }
    guard at > start else { return Name(.emptyName, end: at) }
    if !name.isUnusual { name.id = FieldID.lookup(bytes, start, at &- start) }
    return name
  }

  /// A line that does not begin with a token character: the end of the head, or nothing good.
  private static func withoutName(_ bytes: borrowing Span<UInt8>, _ start: Int) -> Name {
    let first = bytes[start]
    if first == ASCII.cr {
      guard start &+ 1 < bytes.count else { return Name(.short, end: start) }
      return Name(bytes[start &+ 1] == ASCII.lf ? .endOfHead : .badLineEnding, end: start &+ 2)
    }
    if isBlank(first) { return Name(.obsFold, end: start) }
    return Name(first == ASCII.lf ? .badLineEnding : .badName, end: start)
  }
}
