import HTTPMessage

/// One field line of a head, as offsets into the head's bytes.
public struct HeadField: Sendable, Hashable {
  /// The line begins with its name.
  public var start: UInt32
  public var nameEnd: UInt32
  /// The value without optional white space around it.
  public var valueStart: UInt32
  public var valueEnd: UInt32
  /// Behind the line's CRLF.
  public var end: UInt32
  public var id: FieldID
  /// The name holds a token character that is neither letter, digit nor `-`. Some upstreams read `_` (and worse) as `-`, so such a name can
  /// shadow another (S4): see `FieldTwin`.
  public var isUnusual: Bool
  /// A `Connection` field of this head names this field: it ends here (RFC 9110 §7.6.1).
  public var isNamedByConnection: Bool

  @inlinable public var name: ByteRange { ByteRange(Int(start), Int(nameEnd)) }
  @inlinable public var value: ByteRange { ByteRange(Int(valueStart), Int(valueEnd)) }
  /// The whole line, its CRLF included.
  @inlinable public var line: ByteRange { ByteRange(Int(start), Int(end)) }
}

/// The field lines of one head, in order. Its storage is used again for the next head: nothing is allocated per message.
public struct FieldTable: Sendable {
  @usableFromInline var fields: [HeadField] = []
  /// The known names that occur.
  public private(set) var present = FieldIDSet()
  /// At least one field is named by `Connection`.
  public private(set) var hasNamedByConnection = false

  package init() { fields.reserveCapacity(32) }

  @inlinable public var count: Int { fields.count }
  @inlinable public subscript(index: Int) -> HeadField { fields[index] }

  /// The first field of that name.
  @inlinable public func first(_ id: FieldID) -> HeadField? {
    guard present.contains(id) else { return nil }
    for index in 0..<fields.count where fields[index].id == id { return fields[index] }
    return nil
  }

  @inline(__always) mutating func append(_ field: HeadField) {
    fields.append(field)
    present.insert(field.id)
  }

  mutating func removeAll() {
    fields.removeAll(keepingCapacity: true)
    present = FieldIDSet()
    hasNamedByConnection = false
  }

  /// Marks every field of this name (which is of token characters), whatever the case of its letters.
  mutating func markNamedByConnection(_ name: ByteRange, in bytes: borrowing Span<UInt8>) {
    guard name.upper <= bytes.count else { return }
    search: for index in 0..<fields.count {
      let candidate = fields[index].name
      guard candidate.count == name.count, candidate.upper <= bytes.count else { continue }
      for offset in 0..<name.count
      where lowercase(bytes[candidate.lower &+ offset]) != lowercase(bytes[name.lower &+ offset]) {
        continue search
      }
      fields[index].isNamedByConnection = true
      hasNamedByConnection = true
    }
  }
}

/// What the scanner found where a field line should be.
enum FieldLine: UInt8 {
  case field
  /// The empty line: `field.end` is behind it.
  case endOfHead
  /// The line's end has not arrived.
  case short
  case emptyName, badName, spaceBeforeColon, obsFold, badLineEnding, badValue

  /// Why a line of this kind is refused; nil where it is none of the refused ones.
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
}

/// Reads one field line (RFC 9112 §5): `token ":" OWS value OWS CRLF`, nothing else.
@inline(__always)
func scanFieldLine(_ bytes: borrowing Span<UInt8>, _ start: Int, _ field: inout HeadField) -> FieldLine {
  let count = bytes.count
  var at = skipPlainName(bytes, start, count)
  if at >= count { return .short }
  var unusual = false
  if bytes[at] != ASCII.colon {
    if at == start, !isToken(bytes[at]) { return lineWithoutName(bytes, start, &field) }
    while at < count, isToken(bytes[at]) { at &+= 1 }
    if at >= count { return .short }
    guard bytes[at] == ASCII.colon else { return isBlank(bytes[at]) ? .spaceBeforeColon : .badName }
    unusual = true
  }
  guard at > start else { return .emptyName }
  let nameEnd = at
  at &+= 1
  while at < count, isBlank(bytes[at]) { at &+= 1 }
  let valueStart = at
  while true {
    at = skipText(bytes, at, below: 0x20)
    guard at < count, bytes[at] == ASCII.tab else { break }
    at &+= 1
  }
  if at >= count { return .short }
  guard bytes[at] == ASCII.cr else { return bytes[at] == ASCII.lf ? .badLineEnding : .badValue }
  guard at &+ 1 < count else { return .short }
  guard bytes[at &+ 1] == ASCII.lf else { return .badLineEnding }
  var valueEnd = at
  while valueEnd > valueStart, isBlank(bytes[valueEnd &- 1]) { valueEnd &-= 1 }
  field = HeadField(
    start: UInt32(truncatingIfNeeded: start), nameEnd: UInt32(truncatingIfNeeded: nameEnd),
    valueStart: UInt32(truncatingIfNeeded: valueStart), valueEnd: UInt32(truncatingIfNeeded: valueEnd),
    end: UInt32(truncatingIfNeeded: at &+ 2), id: unusual ? .other : FieldID.lookup(bytes, start, nameEnd &- start),
    isUnusual: unusual, isNamedByConnection: false)
  return .field
}

/// A line that does not begin with a token character: the end of the head, or nothing good.
private func lineWithoutName(_ bytes: borrowing Span<UInt8>, _ start: Int, _ field: inout HeadField) -> FieldLine {
  let first = bytes[start]
  if first == ASCII.cr {
    guard start &+ 1 < bytes.count else { return .short }
    guard bytes[start &+ 1] == ASCII.lf else { return .badLineEnding }
    field.end = UInt32(truncatingIfNeeded: start &+ 2)
    return .endOfHead
  }
  if isBlank(first) { return .obsFold }
  if first == ASCII.lf { return .badLineEnding }
  return .badName
}
