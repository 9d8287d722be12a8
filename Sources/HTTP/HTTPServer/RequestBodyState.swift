import HTTP1
import HTTPMessage

/// Where in its body a request is.
struct RequestBodyState {
  private enum Rest {
    case none
    case length(Int)
    case chunked(ChunkedScanner)
  }
  private var rest: Rest
  /// Bytes as they came, framing included.
  private(set) var received = 0
  private(set) var isBroken = false

  /// `guarded`: names that no trailer may have beyond those that none may ever have.
  init(_ framing: BodyFraming, guarded: @autoclosure () -> FieldNameSet = FieldNameSet()) {
    switch framing {
    case .none, .length(0): rest = .none
    case .length(let length): rest = .length(length)
    case .chunked: rest = .chunked(ChunkedScanner(guarded: guarded()))
    }
  }

  var isDone: Bool {
    if case .none = rest { return true }
    return false
  }

  /// Bytes that are still to come, when known.
  var remaining: Int? {
    switch rest {
    case .none: 0
    case .length(let left): left
    case .chunked: nil
    }
  }

  /// How many of these bytes belong to the body. The rest is the next request, or broken (`isBroken`).
  mutating func scan(_ bytes: borrowing Span<UInt8>) -> Int {
    switch rest {
    case .none: return 0
    case .length(let left):
      let count = min(left, bytes.count)
      rest = left == count ? .none : .length(left &- count)
      received &+= count
      return count
    case .chunked(var scanner):
      rest = .none
      let count = scanner.scan(bytes)
      isBroken = scanner.failure != nil
      if !scanner.isDone { rest = .chunked(scanner) }
      received &+= count
      return count
    }
  }

  /// Like `scan`, and appends the payload to `out`.
  mutating func decode(_ bytes: borrowing Span<UInt8>, into out: inout [UInt8]) -> Int {
    guard case .chunked(var scanner) = rest else {
      let count = scan(bytes)
      out.append(copying: bytes.extracting(0..<count))
      return count
    }
    rest = .none
    let at = scanner.decode(bytes) { out.append(copying: $0) }
    isBroken = scanner.failure != nil
    if !scanner.isDone { rest = .chunked(scanner) }
    received &+= at
    return at
  }
}
