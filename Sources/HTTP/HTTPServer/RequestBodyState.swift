import HTTP1
import HTTPMessage

/// Where in its body a request is: plain numbers, so that a request without a chunked body allocates, copies and counts no reference. The
/// scanner of a chunked body is its owner's.
struct RequestBodyState {
  /// Bytes that are still to come; 1 for a chunked body before its end, whose length nobody knows.
  private var left: Int
  let isChunked: Bool
  /// Bytes as they came, framing included.
  private(set) var received = 0
  private(set) var isBroken = false

  init(_ framing: BodyFraming) {
    switch framing {
    case .none: (left, isChunked) = (0, false)
    case .length(let length): (left, isChunked) = (length, false)
    case .chunked: (left, isChunked) = (1, true)
    }
  }

  var isDone: Bool { left == 0 }

  /// Bytes that are still to come, when known.
  var remaining: Int? { isChunked && left != 0 ? nil : left }

  /// How many of this many bytes belong to a body of known length. The rest is the next request.
  mutating func take(_ count: Int) -> Int {
    let taken = min(left, count)
    left &-= taken
    received &+= taken
    return taken
  }

  /// The scanner of a chunked body found this many bytes of it, and its end or a fault.
  mutating func scanned(_ count: Int, isDone: Bool, isBroken: Bool) {
    received &+= count
    self.isBroken = isBroken
    if isDone { left = 0 }
  }
}
