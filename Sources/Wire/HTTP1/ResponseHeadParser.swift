import HTTPMessage

/// Reads the heads of upstreams' answers (RFC 9112 §4–§6) as strictly as those of requests: an answer that two readers could delimit
/// differently is refused, which makes it a 502 and ends the connection.
///
/// One parser per upstream connection; called like `RequestHeadParser`. Interim answers (1xx) are heads of their own: drop `headLength`
/// bytes and parse on.
package struct ResponseHeadParser: Sendable {
  package let limits: HeadLimits
  private var progress: HeadProgress

  package init(limits: HeadLimits = .response) {
    self.limits = limits
    progress = HeadProgress(longestFirstLine: limits.field &+ 2, .fieldTooLarge)
  }

  /// Forgets an unfinished head.
  package mutating func reset() { progress.restart() }

  /// `method` is that of the request being answered: an answer to HEAD has no body. `upgradeAsked`: the request asked for an upgrade, so
  /// 101 is an answer to it.
  package mutating func parse(
    _ bytes: borrowing Span<UInt8>, method: Method, upgradeAsked: Bool = false, into head: inout ResponseHead
  ) -> HeadResult {
    let result = read(bytes, &head)
    if case .incomplete = result { return result }
    if case .complete = result {
      head.headLength = progress.lineStart
      progress.restart()
      guard let refusal = ResponseFields.finish(bytes, &head, method, upgradeAsked) else { return .complete }
      return .refused(refusal)
    }
    progress.restart()
    return result
  }

  @inline(__always)
  private mutating func read(_ bytes: borrowing Span<UInt8>, _ head: inout ResponseHead) -> HeadResult {
    guard progress.resumes(bytes) else { return progress.wait(bytes, limits) }
    if !progress.firstLineDone, let result = firstLine(bytes, &head) { return result }
    return progress.readFields(bytes, limits, &head.fields, &head.lengths)
  }

  private mutating func firstLine(_ bytes: borrowing Span<UInt8>, _ head: inout ResponseHead) -> HeadResult? {
    if progress.searched == 0 { head.reset() }
    guard bytes.count > 0 else { return .incomplete }
    guard bytes[0] == UInt8(ascii: "H") else { return .refused(.badStatusLine) }
    let lineFeed = find(ASCII.lf, bytes, 0, bytes.count)
    guard lineFeed < bytes.count else { return progress.wait(bytes, limits) }
    if let excess = progress.excess(0, lineFeed &+ 1, limits) { return .refused(excess) }
    if let refusal = statusLine(bytes, lineFeed, &head) { return .refused(refusal) }
    progress.passFirstLine(lineFeed &+ 1)
    return nil
  }

  /// `HTTP-version SP status-code SP [ reason-phrase ]` (RFC 9112 §4). The last SP may be missing: some servers leave it out.
  private func statusLine(_ bytes: borrowing Span<UInt8>, _ lineFeed: Int, _ head: inout ResponseHead) -> HeadRefusal? {
    guard lineFeed >= 13, bytes[lineFeed &- 1] == ASCII.cr else { return lineFeed >= 13 ? .badLineEnding : .badStatusLine }
    let end = lineFeed &- 1
    switch load8(bytes, 0) {
    case 0x312e_312f_5054_5448: break
    case 0x302e_312f_5054_5448:
      head.lengths.isHTTP10 = true
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
}

extension ResponseLengths: HeadFacts {
  var hostLength: Int? { nil }

  @inline(__always)
  mutating func take(_ bytes: borrowing Span<UInt8>, _ field: HeadField, _ present: FieldIDSet, hostLength: Int?) -> HeadRefusal? {
    switch field.id {
    case .contentLength:
      // Also two that agree: an upstream that cannot count its fields is not trusted to count its bytes.
      guard stated == nil else { return .duplicateContentLength }
      guard !present.contains(.transferEncoding) else { return .lengthWithTransferEncoding }
      guard !ContentLength.hasLeadingZero(bytes, field.value), case .length(let length) = ContentLength.read(bytes, field.value)
      else { return .badContentLength }
      stated = length
    case .transferEncoding:
      guard !present.contains(.transferEncoding) else { return .duplicateTransferEncoding }
      guard stated == nil else { return .lengthWithTransferEncoding }
      guard !isHTTP10 else { return .transferEncodingInHTTP10 }
      guard equalsFolded(bytes, field.value, "chunked") else { return .unknownTransferCoding }
    default: break
    }
    return nil
  }
}

/// What the fields of an answer say about where it ends and whether the connection lives on.
enum ResponseFields {
  static func finish(_ bytes: borrowing Span<UInt8>, _ head: inout ResponseHead, _ method: Method, _ upgradeAsked: Bool) -> HeadRefusal? {
    guard let keepAlive = ConnectionOptions.keepAlive(bytes, &head.fields, otherwise: head.keepAlive) else { return .badConnection }
    head.keepAlive = keepAlive
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
