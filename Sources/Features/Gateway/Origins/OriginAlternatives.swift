extension OriginPattern {
  /// Alternatives of the whole expression that take no origin by themselves, as written, and what to write instead: `example\.org` of
  /// `https://mail\.example\.org|example\.org`.
  package func idleAlternatives() -> [(text: String, fault: OriginPatternFault)] {
    let texts = OriginAlternatives.split(Array(expression.utf8)[...]).map { String(decoding: $0, as: UTF8.self) }
    guard texts.count > 1 else { return [] }
    return texts.compactMap { text in
      if text.isEmpty { return (text, OriginPatternFault("takes no origin", "remove the '|' beside it")) }
      // As a part of an expression that can be used it can be read, and is no larger than it.
      guard let parsed = try? OriginExpression.parse(text), let automaton = try? OriginAutomaton(parsed),
        OriginHosts(automaton, allowsHTTP: allowsHTTP).example == nil
      else { return nil }
      return (text, Self.takesNone(parsed, text, allowsHTTP))
    }
  }
}

enum OriginAlternatives {
  /// The parts between the `|` that stand in no group and no set. A group around the whole does not count as one.
  static func split(_ expression: ArraySlice<UInt8>) -> [ArraySlice<UInt8>] {
    var parts: [ArraySlice<UInt8>] = []
    var (begin, at, depth) = (expression.startIndex, expression.startIndex, 0)
    var isInSet = false
    while at < expression.endIndex {
      switch expression[at] {
      case UInt8(ascii: "\\"): at += 1
      case UInt8(ascii: "["): isInSet = true
      case UInt8(ascii: "]"): isInSet = false
      case UInt8(ascii: "(") where !isInSet: depth += 1
      case UInt8(ascii: ")") where !isInSet: depth -= 1
      case UInt8(ascii: "|") where !isInSet && depth == 0:
        parts.append(expression[begin..<at])
        begin = at + 1
      default: break
      }
      at += 1
    }
    parts.append(expression[begin...])
    if parts.count == 1, let inner = insideOfGroup(expression) { return split(inner) }
    return parts
  }

  /// What `^(…)$` holds, when one group is all there is.
  private static func insideOfGroup(_ expression: ArraySlice<UInt8>) -> ArraySlice<UInt8>? {
    var inner = expression
    if inner.first == UInt8(ascii: "^") { inner.removeFirst() }
    if inner.last == UInt8(ascii: "$") { inner.removeLast() }
    guard inner.first == UInt8(ascii: "("), inner.last == UInt8(ascii: ")") else { return nil }
    var (at, depth) = (inner.startIndex, 0)
    var isInSet = false
    while at < inner.endIndex {
      switch inner[at] {
      case UInt8(ascii: "\\"): at += 1
      case UInt8(ascii: "["): isInSet = true
      case UInt8(ascii: "]"): isInSet = false
      case UInt8(ascii: "(") where !isInSet: depth += 1
      case UInt8(ascii: ")") where !isInSet:
        depth -= 1
        if depth == 0, at != inner.endIndex - 1 { return nil }
      default: break
      }
      at += 1
    }
    inner = inner.dropFirst().dropLast()
    return inner.starts(with: "?:".utf8) ? inner.dropFirst(2) : inner
  }
}
