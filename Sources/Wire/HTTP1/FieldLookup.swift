import HTTPMessage

/// The names of `FieldID` in a table where each has a place of its own, found by one multiplication of its words.
enum KnownNames {
  /// Up to 32 bytes in lower case as little-endian words, zeros behind them.
  struct Words {
    var first: UInt64 = 0
    var second: UInt64 = 0
    var third: UInt64 = 0
    var fourth: UInt64 = 0
  }

  struct Entry {
    var name = Words()
    var id = FieldID.other
  }

  static let entries: [Entry] = {
    var entries = [Entry](repeating: Entry(), count: 128)
    for id in FieldID.allCases where id != .other && !FieldFamily.ids.contains(id) {
      let bytes = id.name.utf8.map(lowercase) + [UInt8](repeating: 0, count: 32 - id.name.utf8.count)
      let name = Words(
        first: load8(bytes.span, 0), second: load8(bytes.span, 8), third: load8(bytes.span, 16), fourth: load8(bytes.span, 24))
      let place = place(name.first &+ name.second &+ name.third &+ name.fourth)
      precondition(entries[place].id == .other, "two names have one place: another factor is needed")
      entries[place] = Entry(name: name, id: id)
    }
    return entries
  }()

  /// The factor was found by trying: it gives all names places of their own.
  @inline(__always) private static func place(_ sum: UInt64) -> Int { Int(truncatingIfNeeded: (sum &* 0xff4a_fe5e_ca71_273d) &>> 57) }

  /// Letters in lower case. Exact: a byte becomes a letter only if it is that letter, and `-` only if it is that; no other byte does.
  @inline(__always) private static func fold(_ word: UInt64) -> UInt64 { word | (word & 0x4040_4040_4040_4040) &>> 1 }

  /// The id of a name of up to 15 bytes: two words with zeros behind the name, whose own last byte is not zero. Whatever is found is made of
  /// letters and `-`; what is not found may be anything.
  @inline(__always) static func find(_ first: UInt64, _ second: UInt64) -> FieldID {
    let first = fold(first)
    let second = fold(second)
    let place = place(first &+ second)
    return entries[place].name.first == first && entries[place].name.second == second ? entries[place].id : .other
  }

  /// The same for up to 32 bytes.
  static func find(_ first: UInt64, _ second: UInt64, _ third: UInt64, _ fourth: UInt64) -> FieldID {
    let name = Words(first: fold(first), second: fold(second), third: fold(third), fourth: fold(fourth))
    let entry = entries[place(name.first &+ name.second &+ name.third &+ name.fourth)]
    guard entry.name.first == name.first, entry.name.second == name.second, entry.name.third == name.third, entry.name.fourth == name.fourth
    else { return .other }
    return entry.id
  }
}

/// Names with a common beginning that are treated alike, known and unknown ones.
enum FieldFamily {
  static let ids: FieldIDSet = [.secFetchOther, .xForwardedOther, .xOriginalOther, .accessControlOther]

  /// The family of a name of token characters whose first two words are these, zeros behind the name.
  @inline(__always) static func find(_ first: UInt64, _ second: UInt64) -> FieldID {
    let folded = second | 0x2020_2020_2020_2020
    switch first | 0x2020_2020_2020_2020 {
    case 0x6374_6566_2d63_6573:  // sec-fetc h-
      return folded & 0xffff == 0x2d68 && second &>> 16 != 0 ? .secFetchOther : .other
    case 0x7261_7772_6f66_2d78:  // x-forwar ded-
      return folded & 0xffff_ffff == 0x2d64_6564 && second &>> 32 != 0 ? .xForwardedOther : .other
    case 0x6e69_6769_726f_2d78:  // x-origin al-
      return folded & 0xff_ffff == 0x2d_6c61 && second &>> 24 != 0 ? .xOriginalOther : .other
    case 0x632d_7373_6563_6361:  // access-c ontrol-
      return folded & 0xff_ffff_ffff_ffff == 0x2d_6c6f_7274_6e6f && second &>> 56 != 0 ? .accessControlOther : .other
    default: return .other
    }
  }
}

extension FieldID {
  /// The id of the name of `length` bytes at `start`, whatever the case of its letters.
  ///
  /// The bytes must be token characters (RFC 9110 §5.6.2): of those only letters share a folded form, so folding never confuses two names.
  package static func lookup(_ bytes: borrowing Span<UInt8>, _ start: Int, _ length: Int) -> FieldID {
    guard length > 1, hasBytes(bytes, start, length), bytes[start &+ length &- 1] != 0 else { return .other }
    if length < 8 {
      var word: UInt64 = 0
      for at in (start..<start &+ length).reversed() { word = word &<< 8 | UInt64(bytes[at]) }
      return KnownNames.find(word, 0)
    }
    let first = load8(bytes, start)
    // What stands behind the last whole word.
    let rest = length & 7 == 0 ? 0 : load8(bytes, start &+ length &- 8) &>> UInt64(64 &- 8 &* (length & 7))
    if length < 16 {
      let id = KnownNames.find(first, rest)
      return id == .other ? FieldFamily.find(first, rest) : id
    }
    let second = load8(bytes, start &+ 8)
    var id = FieldID.other
    if length < 24 {
      id = KnownNames.find(first, second, rest, 0)
    } else if length <= 32 {
      id = KnownNames.find(first, second, load8(bytes, start &+ 16), length == 32 ? load8(bytes, start &+ 24) : rest)
    }
    return id == .other ? FieldFamily.find(first, second) : id
  }
}
