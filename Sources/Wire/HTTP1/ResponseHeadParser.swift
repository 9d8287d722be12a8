import HTTPMessage

/// Reads the heads of upstreams' answers (RFC 9112 §4–§6) as strictly as those of requests: an answer that two readers could delimit
/// differently is refused, which makes it a 502 and ends the connection.
///
/// One parser per upstream connection; called like `RequestHeadParser`. Interim answers (1xx) are heads of their own: drop `headLength`
/// bytes and parse on.
package struct ResponseHeadParser: Sendable {
  package let limits: HeadLimits
  private var progress = HeadProgress()

  package init(limits: HeadLimits = .response) { self.limits = limits }

  /// Forgets an unfinished head.
  package mutating func reset() { progress = HeadProgress() }

  /// `method` is that of the request being answered: an answer to HEAD has no body. `upgradeAsked`: the request asked for an upgrade, so
  /// 101 is an answer to it.
  package mutating func parse(
    _ bytes: borrowing Span<UInt8>, method: Method, upgradeAsked: Bool = false, into head: inout ResponseHead
  ) -> HeadResult {
    var result = read(bytes, &head)
    if case .incomplete = result { return result }
    progress = HeadProgress()
    if case .complete = result, let refusal = ResponseFields.finish(bytes, &head, method, upgradeAsked) { result = .refused(refusal) }
    return result
  }

  private mutating func read(_ bytes: borrowing Span<UInt8>, _ head: inout ResponseHead) -> HeadResult {
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
        head.headLength = end
        return .complete
      }
      if end &- start > limits.field &+ 2 || end > limits.head || head.fields.count >= limits.fieldCount {
        return judge(bytes, .tooManyFields)
      }
      if field.id != .other, let refusal = ResponseFields.take(bytes, field, &head) { return .refused(refusal) }
      head.fields.append(field)
      progress.lineStart = end
      progress.searched = end
    }
  }

  private mutating func firstLine(_ bytes: borrowing Span<UInt8>, _ head: inout ResponseHead) -> HeadResult? {
    if progress.searched == 0 { head.reset() }
    guard bytes.count > 0 else { return .incomplete }
    guard bytes[0] == UInt8(ascii: "H") else { return .refused(.badStatusLine) }
    let lineFeed = find(ASCII.lf, bytes, 0, bytes.count)
    guard lineFeed < bytes.count else { return partial(bytes) }
    if let excess = excess(0, lineFeed &+ 1) { return .refused(excess) }
    if let refusal = statusLine(bytes, lineFeed, &head) { return .refused(refusal) }
    progress.firstLineDone = true
    progress.lineStart = lineFeed &+ 1
    progress.searched = progress.lineStart
    return nil
  }

  /// `HTTP-version SP status-code SP [ reason-phrase ]` (RFC 9112 §4). The last SP may be missing: some servers leave it out.
  private func statusLine(_ bytes: borrowing Span<UInt8>, _ lineFeed: Int, _ head: inout ResponseHead) -> HeadRefusal? {
    guard lineFeed >= 13, bytes[lineFeed &- 1] == ASCII.cr else { return lineFeed >= 13 ? .badLineEnding : .badStatusLine }
    let end = lineFeed &- 1
    switch load8(bytes, 0) {
    case 0x312e_312f_5054_5448: break
    case 0x302e_312f_5054_5448:
      head.isHTTP10 = true
      head.keepAlive = false
    default: return .badVersion
    }
    guard bytes[8] == ASCII.space else { return .badStatusLine }
    for at in 9..<12 {
      let digit = bytes[at] &- 48
      guard digit < 10 else { return .badStatusLine }
      head.status = head.status &* 10 &+ Int(digit)
    }
    guard (100...599).contains(head.status) else { return .badStatusLine }
    if end == 12 { return nil }
    guard bytes[12] == ASCII.space else { return .badStatusLine }
    var at = 13
    while at < end, bytes[at] >= 0x20 || bytes[at] == ASCII.tab, bytes[at] != 0x7f { at &+= 1 }
    guard at == end else { return .badStatusLine }
    head.reason = ByteRange(13, end)
    return nil
  }

  private func excess(_ start: Int, _ end: Int) -> HeadRefusal? {
    HeadProgress.excess(start, end, line: limits.field &+ 2, head: limits.head, .fieldTooLarge)
  }

  private mutating func partial(_ bytes: borrowing Span<UInt8>) -> HeadResult {
    progress.searched = bytes.count
    if let excess = excess(progress.lineStart, bytes.count &+ 1) { return .refused(excess) }
    return .incomplete
  }

  private mutating func judge(_ bytes: borrowing Span<UInt8>, _ reason: HeadRefusal) -> HeadResult {
    let lineFeed = find(ASCII.lf, bytes, progress.lineStart, bytes.count)
    guard lineFeed < bytes.count else { return partial(bytes) }
    return .refused(excess(progress.lineStart, lineFeed &+ 1) ?? reason)
  }
}

/// What the fields of an answer say about where it ends and whether the connection lives on.
enum ResponseFields {
  @inline(__always)
  static func take(_ bytes: borrowing Span<UInt8>, _ field: HeadField, _ head: inout ResponseHead) -> HeadRefusal? {
    switch field.id {
    case .contentLength:
      // Also two that agree: an upstream that cannot count its fields is not trusted to count its bytes.
      guard head.statedLength == nil else { return .duplicateContentLength }
      guard !head.fields.present.contains(.transferEncoding) else { return .lengthWithTransferEncoding }
      guard !ContentLength.hasLeadingZero(bytes, field.value), case .length(let length) = ContentLength.read(bytes, field.value)
      else { return .badContentLength }
      head.statedLength = length
    case .transferEncoding:
      guard !head.fields.present.contains(.transferEncoding) else { return .duplicateTransferEncoding }
      guard head.statedLength == nil else { return .lengthWithTransferEncoding }
      guard !head.isHTTP10 else { return .transferEncodingInHTTP10 }
      guard equalsFolded(bytes, field.value, "chunked") else { return .unknownTransferCoding }
    default: break
    }
    return nil
  }

  static func finish(_ bytes: borrowing Span<UInt8>, _ head: inout ResponseHead, _ method: Method, _ upgradeAsked: Bool) -> HeadRefusal? {
    if head.fields.present.contains(.connection) {
      var options = ConnectionOptions()
      guard options.read(bytes, &head.fields) else { return .badConnection }
      if options.close { head.keepAlive = false } else if options.keepAlive { head.keepAlive = true }
    }
    let isChunked = head.fields.present.contains(.transferEncoding)
    switch head.status {
    case 100..<200:
      head.isInterim = head.status != 101
      head.isUnaskedSwitch = head.status == 101 && !upgradeAsked
      fallthrough
    case 204:
      // Never a body (RFC 9112 §6.3). One that is announced all the same may follow, so the connection is not used again.
      head.framing = .none
      if isChunked || (head.statedLength ?? 0) > 0 { head.keepAlive = false }
    case 304: head.framing = .none
    default:
      if method == .head {
        head.framing = .none
      } else if isChunked {
        head.framing = .chunked
      } else if let length = head.statedLength {
        head.framing = length == 0 ? .none : .length(length)
      } else {
        head.framing = .untilClose
        head.keepAlive = false
      }
    }
    return nil
  }
}
