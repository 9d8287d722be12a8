import HTTPMessage

/// One field line of a head, as offsets into the head's bytes.
public struct HeadField: Sendable, Hashable {
  /// The line begins with its name.
  public var start: UInt32 = 0
  public var nameEnd: UInt32 = 0
  /// The value without optional white space around it.
  public var valueStart: UInt32 = 0
  public var valueEnd: UInt32 = 0
  /// Behind the line's CRLF.
  public var end: UInt32 = 0
  public var id: FieldID = .other
  /// The name holds a token character that is neither letter, digit nor `-`. Some upstreams read `_` (and worse) as `-`, so such a name can
  /// shadow another (S4): see `FieldTwin`.
  public var isUnusual: Bool = false
  /// A `Connection` field of this head names this field: it ends here (RFC 9110 §7.6.1).
  public var isNamedByConnection: Bool = false

  @inlinable public var name: ByteRange { ByteRange(Int(start), Int(nameEnd)) }
  @inlinable public var value: ByteRange { ByteRange(Int(valueStart), Int(valueEnd)) }
  /// The whole line, its CRLF included.
  @inlinable public var line: ByteRange { ByteRange(Int(start), Int(end)) }
}

/// The field lines of one head, in order. Its storage is used again for the next head: nothing is allocated per message.
public struct FieldTable: Sendable {
  /// The first `count` are fields of this head, those behind of the one before.
  @usableFromInline var slots = [HeadField](repeating: HeadField(), count: 32)
  public internal(set) var count = 0
  /// The known names that occur.
  public internal(set) var present = FieldIDSet()
  /// At least one field is named by `Connection`.
  public private(set) var hasNamedByConnection = false
  /// A `Connection` field says something else than `keep-alive`.
  var hasConnectionOptions = false
  /// `Connection` names `upgrade`.
  package internal(set) var hasUpgradeOption = false
  /// Whose fields stand in `slots` from `count` on.
  var previous = PreviousHead()
  /// The head was read to its end.
  var isComplete = false

  package init() {}

  @inlinable public subscript(index: Int) -> HeadField {
    precondition(index < count)
    return slots[index]
  }

  /// The first field of that name.
  @inlinable public func first(_ id: FieldID) -> HeadField? {
    guard present.contains(id) else { return nil }
    for index in 0..<count where slots[index].id == id { return slots[index] }
    return nil
  }

  /// Makes room for one more field at least.
  @inline(__always) mutating func reserve() {
    if count == slots.count { slots += [HeadField](repeating: HeadField(), count: count) }
  }

  /// For the next head.
  mutating func removeAll() {
    // Fields of an unfinished head have overwritten those of the one before.
    if !isComplete { previous.forget() }
    isComplete = false
    count = 0
    present = FieldIDSet()
    hasNamedByConnection = false
    hasConnectionOptions = false
    hasUpgradeOption = false
  }

  /// Marks every field of this name (which is of token characters), whatever the case of its letters.
  mutating func markNamedByConnection(_ name: ByteRange, in bytes: borrowing Span<UInt8>) {
    guard name.upper <= bytes.count else { return }
    search: for index in 0..<count {
      let candidate = slots[index].name
      guard candidate.count == name.count, candidate.upper <= bytes.count else { continue }
      for offset in 0..<name.count
      where lowercase(bytes[candidate.lower &+ offset]) != lowercase(bytes[name.lower &+ offset]) {
        continue search
      }
      slots[index].isNamedByConnection = true
      hasNamedByConnection = true
    }
  }
}
