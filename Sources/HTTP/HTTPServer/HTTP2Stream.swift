import EventLoop
import HTTP1
import HTTP2
import HTTPMessage
import IntercomCore
import Linux
import NGHTTP2

/// A stream of an HTTP/2 connection, which to its exchange is a connection of HTTP/1.1 with one request (docs/decisions/0020): what the client
/// sends is written as HTTP/1.1 into `inbox`, what the exchange answers is taken apart into `outbox`.
final class HTTP2Stream: ByteCarrier {
  let id: Int32
  /// Both know their streams: the connection forgets them when they are over, the exchange is forgotten when it closes.
  private let connection: HTTP2Connection
  private var exchange: Exchange?

  // Client → exchange
  /// The head is whole.
  private(set) var hasHead = false
  private var tunnels = false
  private var inbox: [UInt8] = []
  private var inboxStart = 0
  /// Bytes of the body in `inbox` that the client's windows wait for.
  private var owed = 0
  private var isChunked = false
  private var trailers: [UInt8] = []
  private(set) var hasEnded = false
  private var isGone = false

  // Exchange → client
  private var answer: StreamAnswer?
  private var outbox: [UInt8] = []
  private var outboxStart = 0
  private var outTrailers: HTTP2FieldBlock?
  private var isAnswerWhole = false
  private var hasAnswered = false
  private var isFull = false
  private var isClosed = false
  private var isSent = false
  /// Something happened to it since the connection's last step.
  var isTouched = false

  /// Bytes that have left, how often all had left, and what that says of the client.
  private var moved = 0
  private var drains: UInt32 = 0
  private var pace = Pace()

  /// Bytes of an answer that may wait for the client's window.
  private static let outboxLimit = 32_768

  init(id: Int32, connection: HTTP2Connection) {
    self.id = id
    self.connection = connection
  }

  // MARK: from the client

  func addTrailer(_ name: borrowing Span<UInt8>, _ value: borrowing Span<UInt8>) -> Bool {
    guard name.count > 0, name[0] != UInt8(ascii: ":"), trailers.count <= ChunkedScanner.mostTrailerBytes else { return false }
    trailers.append(copying: name)
    trailers += ": ".utf8
    trailers.append(copying: value)
    trailers += [13, 10]
    return true
  }

  /// The head is whole: the exchange gets it in the connection's next step. False when there can be none.
  func begin(_ request: StreamRequest, endsStream: Bool) -> Bool {
    hasHead = true
    tunnels = request.asksForTunnel
    isChunked = !endsStream && !request.hasStatedLength && !tunnels
    hasEnded = endsStream
    inbox = request.http1
    answer = StreamAnswer(method: request.isHead ? .head : .get, asksForTunnel: tunnels)
    guard let exchange = connection.open(self) else { return false }
    self.exchange = exchange
    return true
  }

  func take(_ bytes: borrowing Span<UInt8>) {
    guard bytes.count > 0 else { return }
    if isClosed { return connection.consume(id, bytes.count) }
    owed &+= bytes.count
    if isChunked {
      inbox += String(bytes.count, radix: 16).utf8
      inbox += [13, 10]
      inbox.append(copying: bytes)
      inbox += [13, 10]
    } else {
      inbox.append(copying: bytes)
    }
  }

  func end() {
    guard !hasEnded else { return }
    hasEnded = true
    guard isChunked else { return }
    inbox += "0\r\n".utf8
    inbox += trailers
    inbox += [13, 10]
  }

  /// The client has reset the stream, or the whole connection is over.
  func abandon() {
    isGone = true
    exchange?.carrierBroke()
  }

  /// Hands on what came in this step, and asks for more of the answer where there is room.
  func settle() {
    if inboxStart < inbox.count || hasEnded { exchange?.carrierHasMore() }
    if isFull, outbox.count &- outboxStart < Self.outboxLimit / 2 {
      isFull = false
      exchange?.carrierHasRoom()
    }
  }

  // MARK: the carrier

  func handshake() -> CarrierHandshake { .done }

  func receive(into buffer: ReceiveBuffer) -> Int {
    if isGone { return Socket.broken }
    guard inboxStart < inbox.count else { return hasEnded && tunnels ? 0 : Socket.wouldBlock }
    let count = buffer.put(inbox.span.extracting(inboxStart...))
    inboxStart &+= count
    if inboxStart == inbox.count {
      inbox.removeAll(keepingCapacity: inbox.count <= 4096)
      inboxStart = 0
      if owed > 0 { connection.consume(id, owed) }
      owed = 0
    }
    return count
  }

  /// After a request the client's END_STREAM ends nothing but its body: a half-closed stream waits for its answer. That of a tunnel ends it.
  var isDrained: Bool { inboxStart == inbox.count && !(hasEnded && tunnels) && !isGone }
  var heldBytes: Int { outbox.count &- outboxStart }

  func send(_ bytes: borrowing Span<UInt8>) -> Int {
    guard !isGone, !isClosed, answer != nil else { return Socket.broken }
    guard heldBytes < Self.outboxLimit else {
      isFull = true
      return Socket.wouldBlock
    }
    // Taken out: no access may last while others are called.
    guard var taker = answer.take() else { return Socket.broken }
    guard taker.take(bytes, connection.answerReader, self) else {
      connection.reset(id, .internalError)
      return Socket.broken
    }
    answer = taker
    connection.resume(self)
    return bytes.count
  }

  func endSending() { finishAnswer(isWhole: true) }

  func close(reset: Bool) {
    guard !isClosed else { return }
    isClosed = true
    if let exchange { connection.keep(peerLines: exchange.peerLines) }
    exchange = nil
    if owed > 0 { connection.consume(id, owed) }
    owed = 0
    guard !isGone else { return }
    finishAnswer(isWhole: !reset)
    if isSent, !hasEnded { connection.reset(id, .noError) }
  }

  /// The exchange is over. An answer that is not whole must not look so (RFC 9113 §8.1).
  private func finishAnswer(isWhole: Bool) {
    guard !isAnswerWhole else { return }
    // A tunnel that breaks is cancelled (RFC 8441 §5).
    guard isWhole, hasAnswered, answer?.endsByClosing == true else { return connection.reset(id, tunnels ? .cancel : .internalError) }
    isAnswerWhole = true
    connection.resume(self)
  }

  // MARK: to the client

  func takeBody(_ room: inout HTTP2Room) -> HTTP2Body? {
    let count = room.append(outbox.span.extracting(outboxStart...))
    outboxStart &+= count
    moved &+= count
    guard outboxStart == outbox.count else { return .piece }
    drains &+= 1
    outbox.removeAll(keepingCapacity: outbox.count <= 4096)
    outboxStart = 0
    guard isAnswerWhole else { return count > 0 ? .piece : .later }
    if let outTrailers { return .lastBeforeTrailers(outTrailers) }
    return .last
  }

  /// Whether the client alone holds the answer up, and for too long.
  func isStuck(_ now: MonotonicInstant, _ settings: ServerSettings) -> Bool {
    pace.isTooSlow(now: now, settings: settings, output: heldBytes > 0 ? (moved, drains) : nil, input: nil)
  }

  /// Our END_STREAM has gone out. A client that still sends is told that nobody reads the rest (RFC 9113 §8.1); of a tunnel that is known when
  /// its other end is over too.
  func answerSent() {
    isSent = true
    if !hasEnded, isClosed || !tunnels { connection.reset(id, .noError) }
  }
}

extension HTTP2Stream: StreamAnswerSink {
  func answerHead(status: Int, _ head: borrowing ResponseHead, _ bytes: borrowing Span<UInt8>, isInterim: Bool, endsStream: Bool) {
    var fields = connection.takeFields()
    fields.append(status: status)
    let start = fields.adopt(bytes)
    for index in 0..<head.fields.count {
      let field = head.fields[index]
      // The connection's own fields have no place here (RFC 9113 §8.2.2); the key's proof was for our side of the upstream.
      if FieldIDSet.hopByHop.contains(field.id) || field.isNamedByConnection { continue }
      if tunnels, StreamAnswer.isProofOfKey(field, bytes) { continue }
      fields.append(name: field.name.lower..<field.name.upper, value: field.value.lower..<field.value.upper, in: start)
    }
    if isInterim {
      connection.submitInterim(id, &fields)
    } else {
      hasAnswered = true
      connection.submitAnswer(id, &fields, hasBody: !endsStream)
    }
    connection.giveBack(fields)
  }

  func answerBody(_ bytes: borrowing Span<UInt8>) { outbox.append(copying: bytes) }

  func answerEnded(trailers lines: [UInt8]) {
    isAnswerWhole = true
    outTrailers = Self.block(lines)
  }

  /// `name: value` lines as fields; nil when there are none.
  private static func block(_ lines: [UInt8]) -> HTTP2FieldBlock? {
    var block = HTTP2FieldBlock()
    for line in lines.split(separator: 10) {
      guard let colon = line.firstIndex(of: UInt8(ascii: ":")) else { continue }
      let value = line[(colon + 1)...].drop { $0 == 0x20 || $0 == 0x09 }.prefix { $0 != 13 }
      block.append(Array(line[..<colon]).span, Array(value).span)
    }
    return block.count == 0 ? nil : block
  }
}
