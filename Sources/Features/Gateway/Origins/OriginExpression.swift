/// Why a text is no expression for origins, and what to write instead.
package struct OriginPatternFault: Error, Sendable, Hashable {
  package let problem: String
  package let remedy: String

  init(_ problem: String, _ remedy: String) {
    self.problem = problem
    self.remedy = remedy
  }
}

/// A set of ASCII bytes.
struct ASCIISet: Sendable, Hashable {
  private var low: UInt64 = 0
  private var high: UInt64 = 0

  init() {}
  init(_ text: String) { for byte in text.utf8 { insert(byte) } }
  init(_ bytes: ClosedRange<UInt8>) { for byte in bytes { insert(byte) } }

  static let digits = ASCIISet(UInt8(ascii: "0")...UInt8(ascii: "9"))
  static let words = ASCIISet("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789_")
  /// What a `.` takes.
  static let anything = ASCIISet(0x20...0x7E)

  mutating func insert(_ byte: UInt8) {
    if byte < 64 { low |= 1 << UInt64(byte) } else if byte < 128 { high |= 1 << UInt64(byte - 64) }
  }

  mutating func formUnion(_ other: ASCIISet) {
    low |= other.low
    high |= other.high
  }

  func contains(_ byte: UInt8) -> Bool {
    byte < 64 ? low & 1 << UInt64(byte) != 0 : byte < 128 && high & 1 << UInt64(byte - 64) != 0
  }

  /// Of the visible bytes.
  var inverted: ASCIISet {
    var result = ASCIISet()
    for byte in UInt8(0x20)...0x7E where !contains(byte) { result.insert(byte) }
    return result
  }

  var bytes: [UInt8] { (UInt8(0)..<128).filter(contains) }
  /// The only one in it.
  var single: UInt8? { low.nonzeroBitCount + high.nonzeroBitCount == 1 ? bytes.first : nil }
}

/// A regular expression as origins need it. What may call back (look-around, references) is not part of it, so it can be run in linear time.
indirect enum OriginExpression: Sendable {
  case byte(ASCIISet)
  case sequence([OriginExpression])
  case choice([OriginExpression])
  /// Nil: any number.
  case repeated(OriginExpression, Int, Int?)

  /// Reads the expression of a whole origin. Anchors at its beginning and end say what holds anyway.
  static func parse(_ text: String) throws(OriginPatternFault) -> OriginExpression {
    let bytes = Array(text.utf8)
    guard !bytes.isEmpty else {
      throw OriginPatternFault("is empty: it would take every origin", #"write one such as https://[a-z0-9-]+\.example\.org"#)
    }
    guard bytes.count <= 1024, bytes.allSatisfy({ (0x21...0x7E).contains($0) }) else {
      throw OriginPatternFault(
        "holds a space, a line end or a letter outside ASCII, or is longer than 1024 bytes", "write the letters of origins alone")
    }
    var parser = OriginExpressionParser(bytes)
    return try parser.whole()
  }
}

private struct OriginExpressionParser {
  private let bytes: [UInt8]
  private var at = 0
  private var depth = 0

  init(_ bytes: [UInt8]) { self.bytes = bytes }

  private var next: UInt8? { at < bytes.count ? bytes[at] : nil }

  private func fault(_ problem: String, _ remedy: String) -> OriginPatternFault {
    OriginPatternFault("\(problem) (character \(at + 1))", remedy)
  }

  mutating func whole() throws(OriginPatternFault) -> OriginExpression {
    let result = try choice()
    guard at == bytes.count else { throw fault("a ')' without its '('", #"remove it, or write \) for the character"#) }
    return result
  }

  private mutating func choice() throws(OriginPatternFault) -> OriginExpression {
    var branches = [try sequence()]
    while next == UInt8(ascii: "|") {
      at += 1
      branches.append(try sequence())
    }
    return branches.count == 1 ? branches[0] : .choice(branches)
  }

  private mutating func sequence() throws(OriginPatternFault) -> OriginExpression {
    var parts: [OriginExpression] = []
    let begin = at
    while let byte = next, byte != UInt8(ascii: "|"), byte != UInt8(ascii: ")") {
      if byte == UInt8(ascii: "^") || byte == UInt8(ascii: "$") {
        try anchor(byte, isFirst: at == begin)
        continue
      }
      parts.append(try quantified())
    }
    return .sequence(parts)
  }

  /// They may stand where they change nothing.
  private mutating func anchor(_ byte: UInt8, isFirst: Bool) throws(OriginPatternFault) {
    let following = at + 1 < bytes.count ? bytes[at + 1] : nil
    let isIdle = byte == UInt8(ascii: "^") ? isFirst : following == nil || following == UInt8(ascii: "|")
    guard depth == 0, isIdle else {
      throw fault("a '\(Character(Unicode.Scalar(byte)))' inside", "remove it: the expression is always compared with the whole origin")
    }
    at += 1
  }

  private mutating func quantified() throws(OriginPatternFault) -> OriginExpression {
    let isDot = next == UInt8(ascii: ".")
    let atom = try atom()
    guard let (least, most) = try quantifier() else {
      // Written for a dot by everybody who forgets the backslash; taken for any character it would let lookalikes in.
      return isDot ? .byte(ASCIISet(".")) : atom
    }
    if next == UInt8(ascii: "?") { at += 1 }  // which way is tried first makes no difference to a whole match
    if let more = next, "*+{?".utf8.contains(more) { throw fault("nothing that could be repeated", "keep one of the two signs") }
    return .repeated(atom, least, most)
  }

  private mutating func quantifier() throws(OriginPatternFault) -> (Int, Int?)? {
    switch next {
    case UInt8(ascii: "*"):
      at += 1
      return (0, nil)
    case UInt8(ascii: "+"):
      at += 1
      return (1, nil)
    case UInt8(ascii: "?"):
      at += 1
      return (0, 1)
    case UInt8(ascii: "{"): return try counts()
    default: return nil
    }
  }

  private mutating func counts() throws(OriginPatternFault) -> (Int, Int?) {
    let wrong = fault("no count of repetitions", #"write {2}, {2,} or {2,5} with numbers up to 63, or \{ for the character"#)
    at += 1
    guard let least = number() else { throw wrong }
    var most: Int? = least
    if next == UInt8(ascii: ",") {
      at += 1
      most = number()
      if most == nil, next != UInt8(ascii: "}") { throw wrong }
    }
    guard next == UInt8(ascii: "}"), least <= 63, most ?? least <= 63, least <= most ?? least else { throw wrong }
    at += 1
    return (least, most)
  }

  private mutating func number() -> Int? {
    var value: Int?
    while let byte = next, byte &- 48 < 10, value ?? 0 < 100 {
      value = (value ?? 0) * 10 + Int(byte &- 48)
      at += 1
    }
    return value
  }

  private mutating func atom() throws(OriginPatternFault) -> OriginExpression {
    guard let byte = next else { throw fault("ends too early", "complete it") }
    at += 1
    switch byte {
    case UInt8(ascii: "("): return try group()
    case UInt8(ascii: "["): return .byte(try set())
    case UInt8(ascii: "."): return .byte(.anything)
    case UInt8(ascii: "\\"): return .byte(try escape())
    case UInt8(ascii: "*"), UInt8(ascii: "+"), UInt8(ascii: "?"), UInt8(ascii: "{"):
      at -= 1
      throw fault("nothing that could be repeated", "write what is to be repeated before it, or a backslash for the character")
    default: return .byte(ASCIISet(byte...byte))
    }
  }

  private mutating func group() throws(OriginPatternFault) -> OriginExpression {
    if next == UInt8(ascii: "?") {
      guard at + 1 < bytes.count, bytes[at + 1] == UInt8(ascii: ":") else {
        throw fault("a '(?' of a kind that is not supported", "write ( ) or (?: ); look-around and names of groups are not part of this")
      }
      at += 2
    }
    guard depth < 16 else { throw fault("groups within more than 16 groups", "write it more simply, or list the origins") }
    depth += 1
    let inner = try choice()
    depth -= 1
    guard next == UInt8(ascii: ")") else { throw fault("a '(' without its ')'", "close it") }
    at += 1
    return inner
  }

  /// Behind the backslash.
  private mutating func escape() throws(OriginPatternFault) -> ASCIISet {
    guard let byte = next else { throw fault("ends with a backslash", "write what it is for") }
    at += 1
    switch byte {
    case UInt8(ascii: "d"): return .digits
    case UInt8(ascii: "w"): return .words
    case _ where byte &- 48 < 10 || (byte | 0x20) &- 97 < 26:
      at -= 1
      throw fault(
        "an escape that is not supported: \\\(Character(Unicode.Scalar(byte)))", #"write \d, \w, or a backslash before a sign such as \."#)
    default: return ASCIISet(byte...byte)
    }
  }

  /// Behind the `[`.
  private mutating func set() throws(OriginPatternFault) -> ASCIISet {
    var result = ASCIISet()
    let isInverted = next == UInt8(ascii: "^")
    if isInverted { at += 1 }
    while let byte = next, byte != UInt8(ascii: "]") {
      at += 1
      var first = ASCIISet(byte...byte)
      if byte == UInt8(ascii: "\\") { first = try escape() }
      guard next == UInt8(ascii: "-"), at + 1 < bytes.count, bytes[at + 1] != UInt8(ascii: "]"), let low = first.single else {
        result.formUnion(first)
        continue
      }
      at += 1
      let end = bytes[at]
      at += 1
      guard end != UInt8(ascii: "\\"), low <= end else { throw fault("a range in [ ] that runs backwards", "write the lower end first") }
      result.formUnion(ASCIISet(low...end))
    }
    guard next == UInt8(ascii: "]") else { throw fault("a '[' without its ']'", "close it") }
    at += 1
    guard result != ASCIISet() else { throw fault("an empty [ ]", "write the characters in it") }
    return isInverted ? result.inverted : result
  }
}

// MARK: Questions

extension OriginExpression {
  /// Whether nothing at all is one of its texts.
  var takesNothing: Bool {
    switch self {
    case .byte: false
    case .sequence(let parts): parts.allSatisfy(\.takesNothing)
    case .choice(let branches): branches.contains(where: \.takesNothing)
    case .repeated(let inner, let least, _): least == 0 || inner.takesNothing
    }
  }

  /// What its texts can end with.
  var lastBytes: ASCIISet {
    var result = ASCIISet()
    switch self {
    case .byte(let set): return set
    case .choice(let branches): for branch in branches { result.formUnion(branch.lastBytes) }
    case .repeated(let inner, _, let most): if most != 0 { result = inner.lastBytes }
    case .sequence(let parts):
      for part in parts.reversed() {
        result.formUnion(part.lastBytes)
        if !part.takesNothing { break }
      }
    }
    return result
  }

  /// The same for a browser's RegExp, with both ends tied to the text's, and https demanded where http does not count.
  func browserForm(allowsHTTP: Bool) -> String { (allowsHTTP ? "^(?:" : "^(?=https:)(?:") + inner + ")$" }

  private var inner: String {
    switch self {
    case .byte(let set):
      if let byte = set.single { return Self.hex(byte) }
      return "[" + set.bytes.map(Self.hex).joined() + "]"
    case .sequence(let parts): return parts.map(\.inner).joined()
    case .choice(let branches): return "(?:" + branches.map(\.inner).joined(separator: "|") + ")"
    case .repeated(let inner, let least, let most): return "(?:\(inner.inner)){\(least),\(most.map(String.init) ?? "")}"
    }
  }

  /// Letters and digits as they are, the rest by its number.
  private static func hex(_ byte: UInt8) -> String {
    if byte &- 48 < 10 || (byte | 0x20) &- 97 < 26 { return String(Character(Unicode.Scalar(byte))) }
    return "\\x" + (byte < 16 ? "0" : "") + String(byte, radix: 16)
  }
}
