import EventLoop
import HTTP1

/// Where in its body an upstream's answer is.
struct AnswerBody {
  private enum Rest {
    case done
    case length(Int)
    case chunked(ChunkedScanner)
    case untilClose
  }
  private var rest: Rest
  private(set) var isBroken = false

  /// `guarded`: names that no trailer may have beyond those that none may ever have.
  init(_ framing: ResponseFraming, guarded: @autoclosure () -> FieldNameSet = FieldNameSet()) {
    switch framing {
    case .none, .length(0): rest = .done
    case .length(let length): rest = .length(length)
    case .chunked: rest = .chunked(ChunkedScanner(guarded: guarded()))
    case .untilClose: rest = .untilClose
    }
  }

  var isDone: Bool {
    if case .done = rest { return true }
    return false
  }
  /// The upstream's end is the body's.
  var endsByClosing: Bool {
    if case .untilClose = rest { return true }
    return false
  }

  /// How many of these bytes belong to the body. More than that on the connection is surplus; fewer of a broken one may be sent on.
  mutating func scan(_ bytes: borrowing Span<UInt8>) -> Int {
    switch rest {
    case .done: return 0
    case .untilClose: return bytes.count
    case .length(let left):
      let count = min(left, bytes.count)
      rest = left == count ? .done : .length(left &- count)
      return count
    case .chunked(var scanner):
      // Taken out, so that the scanner's storage is not copied.
      rest = .done
      let count = scanner.scan(bytes)
      isBroken = scanner.failure != nil
      if !scanner.isDone { rest = .chunked(scanner) }
      return count
    }
  }

  /// Like `scan` for a chunked body, and appends the payload to `out`: for clients that do not know chunks.
  mutating func decode(_ bytes: borrowing Span<UInt8>, into out: inout [UInt8]) -> Int {
    guard case .chunked(var scanner) = rest else { return 0 }
    rest = .done
    let at = scanner.decode(bytes) { out.append(copying: $0) }
    isBroken = scanner.failure != nil
    if !scanner.isDone { rest = .chunked(scanner) }
    return at
  }
}
