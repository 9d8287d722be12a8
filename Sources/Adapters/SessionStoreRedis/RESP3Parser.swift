import IntercomCore

/// Why what a server sends cannot be read on: the connection is of no more use.
package enum RESP3Error: Error, Sendable, Equatable {
  /// A type, a length or a line end that the protocol does not know.
  case malformed
  /// Longer, deeper or more numerous than any answer that is asked for.
  case tooLarge
}

/// Takes Redis' answers out of a stream of bytes, in pieces of any size; how they are cut makes no difference.
package struct RESP3Parser: Sendable {
  /// Bounds of one answer. A server is no stranger, but what is wrong with it must not take this process along.
  package struct Limits: Sendable {
    /// One blob.
    package var blob = 4 << 20
    /// All of one answer.
    package var total = 16 << 20
    /// A line: lengths, simple strings, errors.
    package var line = 4096
    /// Elements of all aggregates of one answer.
    package var elements = 131_072
    package var depth = 8

    package init() {}
  }

  private struct Aggregate {
    let kind: UInt8
    var missing: Int
    var elements: [RESP3Value] = []
  }

  private let limits: Limits
  private var buffer: [UInt8] = []
  private var at = 0
  /// Where the search for the end of the line at `at` goes on.
  private var searched = 0
  private var open: [Aggregate] = []
  private var size = 0
  private var elements = 0

  package init(limits: Limits = Limits()) { self.limits = limits }

  /// More of what the server sent.
  package mutating func append(_ bytes: borrowing Span<UInt8>) {
    if at > 0, at == buffer.count || at > 65_536 {
      buffer.removeFirst(at)
      searched -= at
      at = 0
    }
    buffer.append(copying: bytes)
  }

  /// The next answer that is whole, or nil while it is not.
  package mutating func next() throws(RESP3Error) -> RESP3Value? {
    while let piece = try piece() {
      if let value = try close(piece) {
        size = 0
        elements = 0
        if case .some(let whole) = value { return whole }
      }
    }
    return nil
  }

  /// A value that has no parts; or nil within `some` when an aggregate was opened or an attribute has ended.
  private enum Piece {
    case value(RESP3Value)
    case opened
  }

  private mutating func piece() throws(RESP3Error) -> Piece? {
    guard let (kind, line) = try peekLine() else { return nil }
    let next = at + line.count + 3
    switch kind {
    case UInt8(ascii: "$"), UInt8(ascii: "="), UInt8(ascii: "!"):
      return try blob(kind, line, from: next)
    case UInt8(ascii: "*"), UInt8(ascii: "~"), UInt8(ascii: ">"), UInt8(ascii: "%"), UInt8(ascii: "|"):
      return try aggregate(kind, line, next)
    default: break
    }
    let text = Array(line)
    try take(until: next)
    switch kind {
    case UInt8(ascii: "+"): return .value(.bytes(text))
    case UInt8(ascii: "-"): return .value(.error(text))
    case UInt8(ascii: ":"):
      guard let number = Int64(String(decoding: text, as: UTF8.self)) else { throw .malformed }
      return .value(.integer(number))
    case UInt8(ascii: "_"):
      guard text.isEmpty else { throw .malformed }
      return .value(.null)
    case UInt8(ascii: "#"), UInt8(ascii: ","), UInt8(ascii: "("): return .value(.other(text))
    default: throw .malformed
    }
  }

  /// The line that begins at `at`, less its first byte and its end.
  private mutating func peekLine() throws(RESP3Error) -> (kind: UInt8, line: ArraySlice<UInt8>)? {
    guard at < buffer.count else { return nil }
    var index = max(searched, at + 1)
    while index + 1 < buffer.count {
      if buffer[index] == 13 {
        guard buffer[index + 1] == 10 else { throw .malformed }
        searched = at
        return (buffer[at], buffer[(at + 1)..<index])
      }
      index += 1
      if index - at > limits.line { throw .tooLarge }
    }
    searched = index
    return nil
  }

  private mutating func blob(_ kind: UInt8, _ line: ArraySlice<UInt8>, from start: Int) throws(RESP3Error) -> Piece? {
    // What version 2 of the protocol writes for null.
    if line.elementsEqual("-1".utf8) {
      try take(until: start)
      return .value(.null)
    }
    guard let length = decimal(line) else { throw .malformed }
    guard length <= UInt64(limits.blob) else { throw .tooLarge }
    let end = start + Int(length)
    guard end + 2 <= buffer.count else { return nil }
    guard buffer[end] == 13, buffer[end + 1] == 10 else { throw .malformed }
    var text = buffer[start..<end]
    // A verbatim string begins with three letters for its format and a colon.
    if kind == UInt8(ascii: "=") {
      guard text.count >= 4 else { throw .malformed }
      text = text.dropFirst(4)
    }
    let value: RESP3Value = kind == UInt8(ascii: "!") ? .error(Array(text)) : .bytes(Array(text))
    try take(until: end + 2)
    return .value(value)
  }

  private mutating func aggregate(_ kind: UInt8, _ line: ArraySlice<UInt8>, _ next: Int) throws(RESP3Error) -> Piece {
    // What version 2 of the protocol writes for null, of arrays alone.
    let isNull = kind == UInt8(ascii: "*") && line.elementsEqual("-1".utf8)
    let count = isNull ? 0 : decimal(line)
    guard let count else { throw .malformed }
    guard count <= UInt64(limits.elements), open.count < limits.depth else { throw .tooLarge }
    try take(until: next)
    if isNull { return .value(.null) }
    let isPairs = kind == UInt8(ascii: "%") || kind == UInt8(ascii: "|")
    open.append(Aggregate(kind: kind, missing: Int(count) * (isPairs ? 2 : 1)))
    return .opened
  }

  private mutating func take(until end: Int) throws(RESP3Error) {
    size += end - at
    elements += 1
    guard size <= limits.total, elements <= limits.elements else { throw .tooLarge }
    at = end
    searched = end
  }

  /// Puts a value where it belongs. Gives a value when it was the whole answer; nil within `some` for an attribute, which is no answer.
  private mutating func close(_ piece: Piece) throws(RESP3Error) -> RESP3Value?? {
    var value: RESP3Value?
    if case .value(let plain) = piece { value = plain }
    while true {
      if let done = value {
        guard var last = open.popLast() else { return .some(.some(done)) }
        last.elements.append(done)
        last.missing -= 1
        open.append(last)
      }
      guard let last = open.last, last.missing == 0 else { return nil }
      open.removeLast()
      switch last.kind {
      case UInt8(ascii: "%"): value = .map(last.elements)
      case UInt8(ascii: ">"):
        guard open.isEmpty else { throw .malformed }
        value = .push(last.elements)
      case UInt8(ascii: "|"):
        // Said about the value that follows; nothing here wants to know it.
        if open.isEmpty { return .some(nil) }
        value = nil
      default: value = .array(last.elements)
      }
    }
  }
}
