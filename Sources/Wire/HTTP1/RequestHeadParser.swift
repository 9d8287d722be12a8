import HTTPMessage

/// Reads request heads (RFC 9112 §2–§7) from a connection's bytes, strictly: what two implementations could read differently is refused, so
/// that policy, routing and the upstream see one request (S1, S23).
///
/// One parser per connection. `parse` is given all unread bytes of the connection, from the head's first byte on; after `incomplete` it is
/// called again with the same bytes and more behind them. Byte by byte or whole, the result is the same.
package struct RequestHeadParser: Sendable {
  package let limits: HeadLimits
  private var progress: HeadProgress

  package init(limits: HeadLimits = .request) {
    self.limits = limits
    // 64 bytes are more than the longest method, the version and the spaces take.
    progress = HeadProgress(longestFirstLine: limits.target &+ 64, .targetTooLong)
  }

  /// Forgets an unfinished head.
  package mutating func reset() { progress.restart() }

  /// At `complete`, `head.request.headLength` bytes belong to the head; offsets in `head` count from the first byte of `bytes`.
  package mutating func parse(_ bytes: borrowing Span<UInt8>, into head: inout RequestHead) -> HeadResult {
    let result = read(bytes, &head)
    if case .incomplete = result { return result }
    progress.restart()
    return result
  }

  @inline(__always)
  private mutating func read(_ bytes: borrowing Span<UInt8>, _ head: inout RequestHead) -> HeadResult {
    guard progress.resumes(bytes) else { return progress.wait(bytes, limits) }
    if !progress.firstLineDone {
      if progress.searched == 0 { head.reset() }
      if let next = RequestLine.readUsual(bytes, limits, progress.lineStart, &head.request) {
        progress.passFirstLine(next)
      } else if let result = firstLine(bytes, &head) {
        return result
      }
    }
    let result = progress.readFields(bytes, limits, &head.fields, &head.request)
    guard case .complete = result else { return result }
    if let refusal = RequestFields.finish(bytes, &head, headEnd: progress.lineStart) { return .refused(refusal) }
    return .complete
  }

  /// nil when the request line is good and the fields follow.
  private mutating func firstLine(_ bytes: borrowing Span<UInt8>, _ head: inout RequestHead) -> HeadResult? {
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
    guard lineFeed < bytes.count else { return progress.wait(bytes, limits) }
    if let excess = progress.excess(start, lineFeed &+ 1, limits) { return .refused(excess) }
    if let refusal = RequestLine.read(bytes, start, lineFeed, limits.target, &head.request) { return .refused(refusal) }
    progress.passFirstLine(lineFeed &+ 1)
    return nil
  }
}
