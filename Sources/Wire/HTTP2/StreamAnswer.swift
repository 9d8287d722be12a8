import HTTP1
import HTTPMessage
import IntercomCore

/// Receives an answer piece by piece in HTTP/2's terms.
package protocol StreamAnswerSink: AnyObject {
  /// A head: names as they were written, without what belongs to a connection of HTTP/1.1. `isInterim`: another follows.
  func answerHead(status: Int, _ head: borrowing ResponseHead, _ bytes: borrowing Span<UInt8>, isInterim: Bool, endsStream: Bool)
  func answerBody(_ bytes: borrowing Span<UInt8>)
  /// The answer is whole. `trailers`: lines with CRLF, empty when there are none.
  func answerEnded(trailers: [UInt8])
}

/// The reader of all answers of a connection's streams: one after the other, for each head comes whole.
package final class StreamAnswerReader {
  fileprivate var parser = ResponseHeadParser()
  fileprivate var head = ResponseHead()
  package init() {}
}

/// Takes an answer of HTTP/1.1, as Intercom writes it, apart for a stream of HTTP/2: the other half of `StreamRequestHead`.
package struct StreamAnswer: Sendable {
  private enum Rest {
    case head
    case length(Int)
    case chunked(ChunkedScanner)
    case untilClose
    case done
  }
  private var rest = Rest.head
  private var partial: [UInt8] = []
  private let method: Method
  private let asksForTunnel: Bool

  /// - Parameters:
  ///   - method: of the request, as the client sent it.
  ///   - asksForTunnel: 101 is an answer to it.
  package init(method: Method, asksForTunnel: Bool) {
    self.method = method
    self.asksForTunnel = asksForTunnel
  }

  /// The end of the connection would be the end of the body.
  package var endsByClosing: Bool {
    if case .untilClose = rest { return true }
    return false
  }
  package var isDone: Bool {
    if case .done = rest { return true }
    return false
  }

  /// Sec-WebSocket-Accept: for the key that this side of the upstream made.
  package static func isProofOfKey(_ field: HeadField, _ bytes: borrowing Span<UInt8>) -> Bool {
    equalsFolded(bytes, field.name, "sec-websocket-accept")
  }

  /// Takes everything. False when this is no answer: Intercom's own mistake, the stream must be reset.
  package mutating func take(_ bytes: borrowing Span<UInt8>, _ reader: StreamAnswerReader, _ sink: some StreamAnswerSink) -> Bool {
    guard partial.isEmpty else {
      partial.append(copying: bytes)
      let all = partial
      partial = []
      return takeAll(all.span, reader, sink)
    }
    return takeAll(bytes, reader, sink)
  }

  private mutating func takeAll(_ bytes: borrowing Span<UInt8>, _ reader: StreamAnswerReader, _ sink: some StreamAnswerSink) -> Bool {
    var at = 0
    while at < bytes.count {
      let left = bytes.extracting(at...)
      switch rest {
      case .head:
        guard let used = takeHead(left, reader, sink) else { return false }
        if used == 0 {
          partial = [UInt8](copying: left)
          return true
        }
        at &+= used
      case .length(let expected):
        let count = min(expected, left.count)
        rest = expected == count ? .done : .length(expected &- count)
        sink.answerBody(left.extracting(0..<count))
        if expected == count { sink.answerEnded(trailers: []) }
        at &+= count
      case .chunked(var scanner):
        rest = .done
        let used = scanner.decode(left) { sink.answerBody($0) }
        if scanner.failure != nil { return false }
        if scanner.isDone { sink.answerEnded(trailers: scanner.trailerLines) } else { rest = .chunked(scanner) }
        at &+= used
      case .untilClose:
        sink.answerBody(left)
        return true
      case .done:
        // A head that is refused has no method yet, and so the refusal of a HEAD has a body, which no stream may see.
        return method == .head
      }
    }
    return true
  }

  /// Bytes used, 0 when the head is not whole, nil when it is no head.
  private mutating func takeHead(_ bytes: borrowing Span<UInt8>, _ reader: StreamAnswerReader, _ sink: some StreamAnswerSink) -> Int? {
    switch reader.parser.parse(bytes, method: method, upgradeAsked: asksForTunnel, into: &reader.head) {
    case .incomplete:
      reader.parser.reset()
      return 0
    case .refused: return nil
    case .complete: break
    }
    if reader.head.isInterim {
      sink.answerHead(status: reader.head.status, reader.head, bytes, isInterim: true, endsStream: false)
      return reader.head.headLength
    }
    if reader.head.status == 101 {
      // RFC 8441 §5: a tunnel that stands is 200.
      guard asksForTunnel else { return nil }
      rest = .untilClose
      sink.answerHead(status: 200, reader.head, bytes, isInterim: false, endsStream: false)
      return reader.head.headLength
    }
    let length = reader.head.headLength
    switch reader.head.framing {
    case .none, .length(0): rest = .done
    case .length(let count): rest = .length(count)
    case .chunked: rest = .chunked(ChunkedScanner(keepsTrailers: true))
    case .untilClose: rest = .untilClose
    }
    // Every 2xx would look like a tunnel that stands.
    let isMistaken = asksForTunnel && reader.head.status / 100 == 2
    sink.answerHead(status: isMistaken ? 502 : reader.head.status, reader.head, bytes, isInterim: false, endsStream: isDone)
    if isDone { sink.answerEnded(trailers: []) }
    return length
  }
}
