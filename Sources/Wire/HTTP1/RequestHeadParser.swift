import HTTPMessage

/// Reads request heads (RFC 9112 §2–§7) from a connection's bytes, strictly: what two implementations could read differently is refused, so
/// that policy, routing and the upstream see one request (S1, S23).
///
/// One parser per connection. `parse` is given all unread bytes of the connection, from the head's first byte on; after `incomplete` it is
/// called again with the same bytes and more behind them. Byte by byte or whole, the result is the same.
package struct RequestHeadParser: Sendable {
  package let limits: HeadLimits
  private var progress = HeadProgress()

  package init(limits: HeadLimits = .request) { self.limits = limits }

  /// Forgets an unfinished head.
  package mutating func reset() { progress = HeadProgress() }

  /// At `complete`, `head.request.headLength` bytes belong to the head; offsets in `head` count from the first byte of `bytes`.
  package mutating func parse(_ bytes: borrowing Span<UInt8>, into head: inout RequestHead) -> HeadResult {
    let result = read(bytes, &head)
    if case .incomplete = result { return result }
    progress = HeadProgress()
    return result
  }

  private mutating func read(_ bytes: borrowing Span<UInt8>, _ head: inout RequestHead) -> HeadResult {
    guard progress.resumes(bytes) else { return partial(bytes) }
    if !progress.firstLineDone {
      if let result = firstLine(bytes, &head) { return result }
    }
    var field = HeadField(
      start: 0, nameEnd: 0, valueStart: 0, valueEnd: 0, end: 0, id: .other, isUnusual: false, isNamedByConnection: false)
    while true {
      let start = progress.lineStart
      let found = scanFieldLine(bytes, start, &field)
      let end = Int(field.end)
      guard found == .field else {
        guard found == .endOfHead else { return found == .short ? partial(bytes) : judge(bytes, found.refusal) }
        if end > limits.head { return .refused(.headTooLarge) }
        if let refusal = RequestFields.finish(bytes, &head, headEnd: end) { return .refused(refusal) }
        return .complete
      }
      if end &- start > limits.field &+ 2 || end > limits.head || head.fields.count >= limits.fieldCount {
        return judge(bytes, .tooManyFields)
      }
      if field.id != .other, let refusal = RequestFields.take(bytes, field, &head) { return .refused(refusal) }
      head.fields.append(field)
      progress.lineStart = end
      progress.searched = end
    }
  }

  /// nil when the request line is good and the fields follow.
  private mutating func firstLine(_ bytes: borrowing Span<UInt8>, _ head: inout RequestHead) -> HeadResult? {
    if progress.searched == 0 { head.reset() }
    guard bytes.count > progress.lineStart else { return .incomplete }
    if progress.lineStart == 0, bytes[0] == ASCII.cr {
      // One empty line before a request is forgiven (RFC 9112 §2.2): old clients send it behind a body.
      guard bytes.count > 1 else { return .incomplete }
      guard bytes[1] == ASCII.lf else { return .refused(.badRequestLine) }
      progress.lineStart = 2
      progress.searched = 2
      guard bytes.count > 2 else { return .incomplete }
    }
    let start = progress.lineStart
    // Seen at once, so that a TLS greeting or noise does not wait for the time-out.
    guard isToken(bytes[start]) else { return .refused(.badRequestLine) }
    let lineFeed = find(ASCII.lf, bytes, start, bytes.count)
    guard lineFeed < bytes.count else { return partial(bytes) }
    if let excess = excess(start, lineFeed &+ 1) { return .refused(excess) }
    if let refusal = RequestLine.read(bytes, start, lineFeed, limits.target, &head.request) { return .refused(refusal) }
    progress.firstLineDone = true
    progress.lineStart = lineFeed &+ 1
    progress.searched = progress.lineStart
    return nil
  }

  private func excess(_ start: Int, _ end: Int) -> HeadRefusal? {
    progress.firstLineDone
      ? HeadProgress.excess(start, end, line: limits.field &+ 2, head: limits.head, .fieldTooLarge)
      // 64 bytes are more than the longest method, the version and the spaces take.
      : HeadProgress.excess(start, end, line: limits.target &+ 64, head: limits.head, .targetTooLong)
  }

  /// The line at `lineStart` has no end yet: wait, unless it is too long already.
  private mutating func partial(_ bytes: borrowing Span<UInt8>) -> HeadResult {
    progress.searched = bytes.count
    if let excess = excess(progress.lineStart, bytes.count &+ 1) { return .refused(excess) }
    return .incomplete
  }

  /// Refuses the line at `lineStart` once it is complete; a limit that was broken before its end comes first.
  private mutating func judge(_ bytes: borrowing Span<UInt8>, _ reason: HeadRefusal) -> HeadResult {
    let lineFeed = find(ASCII.lf, bytes, progress.lineStart, bytes.count)
    guard lineFeed < bytes.count else { return partial(bytes) }
    return .refused(excess(progress.lineStart, lineFeed &+ 1) ?? reason)
  }
}
