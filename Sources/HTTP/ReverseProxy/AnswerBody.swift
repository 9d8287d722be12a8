import EventLoop
import HTTP1

/// Where in its body an upstream's answer is: plain numbers; the scanner of a chunked body is its owner's.
struct AnswerBody {
  /// Bytes that are still to come; for bodies of unknown length 1 before the end.
  private var left: Int
  let isChunked: Bool
  /// The upstream's end is the body's.
  let endsByClosing: Bool
  private(set) var isBroken = false

  init(_ framing: ResponseFraming) {
    switch framing {
    case .none: (left, isChunked, endsByClosing) = (0, false, false)
    case .length(let length): (left, isChunked, endsByClosing) = (length, false, false)
    case .chunked: (left, isChunked, endsByClosing) = (1, true, false)
    case .untilClose: (left, isChunked, endsByClosing) = (1, false, true)
    }
  }

  var isDone: Bool { left == 0 }
  /// How many bytes follow that nobody has to look at, `.max` when the upstream's end is the body's; nil for a chunked body.
  var unseenRest: Int? { isChunked ? nil : endsByClosing ? .max : left }

  /// How many of this many bytes belong to a body that is not chunked. More than that on the connection is surplus.
  mutating func take(_ count: Int) -> Int {
    if endsByClosing { return count }
    let taken = min(left, count)
    left &-= taken
    return taken
  }

  /// The scanner has seen all bytes that came, perhaps the end or a fault. Those of a broken body up to the fault may be sent on.
  mutating func scanned(isDone: Bool, isBroken: Bool) {
    self.isBroken = isBroken
    if isDone { left = 0 }
  }
}
