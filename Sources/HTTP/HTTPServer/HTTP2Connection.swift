import Cryptography
import EventLoop
import HTTP1
import HTTP2
import HTTPMessage
import IntercomCore
import Linux
import NGHTTP2

/// A client's connection of HTTP/2: frames in, one exchange for each stream, frames out. All streams that have something leave in one write.
///
/// `package`, because Swift 6.3.1 makes an endlessly recursive stub of the inherited initialiser for an internal class here.
package final class HTTP2Connection: TCPConnection, HTTP2SessionOwner {
  let server: ServerLoop
  private let peer: SocketAddress
  private var session: HTTP2Session?
  private var streams: [Int32: HTTP2Stream] = [:]
  /// Streams that something happened to since the last step.
  private var touched: [HTTP2Stream] = []
  private var isStepping = false
  /// How far the end is: announced, or said to be here (RFC 9113 §6.8).
  private enum Goodbye {
    case none
    case announced
    case said
  }
  private var goodbye = Goodbye.none
  /// Since when a head has been coming; there is one at a time.
  private var headSince: MonotonicInstant?
  private var pace = Pace()
  /// The head that comes at the moment, the reader of answers, and fields for an answer: one for all streams.
  private var requestHead: StreamRequestHead
  let answerReader = StreamAnswerReader()
  private var fields: HTTP2FieldBlock?
  /// The stream that was asked for last: most calls in a row are for one.
  private var last: HTTP2Stream?
  /// What the forwarder makes of the peer, once for all streams.
  private var peerLines: [UInt8] = []
  private var output: [UInt8] = []

  /// Bytes that may wait for a slow client's socket before frames are made for it.
  private static let outputLimit = 262_144
  /// How long a client has to see that the end is near before it is here, and to close when it is.
  private static let farewell = Duration.seconds(1)

  init(descriptor: Int32, carrier: any ByteCarrier, peer: SocketAddress, server: ServerLoop) {
    self.server = server
    self.peer = peer
    requestHead = StreamRequestHead(limit: server.settings.headLimits.head)
    super.init(descriptor: descriptor, loop: server.loop, carrier: carrier)
    session = HTTP2Session(owner: self, limits: server.settings.http2)
  }

  /// Puts the connection to work in the place of the one that agreed upon HTTP/2.
  func open(inPlaceOf source: EventSource) {
    start(inPlaceOf: source)
    server.connections += 1
    setDeadline(afterNanoseconds: server.times.idle)
    if session == nil { return close() }
    continueSoon()
  }

  // MARK: bytes

  package override func onData(_ bytes: borrowing Span<UInt8>) {
    guard let session else { return close() }
    isStepping = true
    do throws(HTTP2Session.Failure) { try session.receive(bytes, now: loop.now.nanoseconds) } catch {
      isStepping = false
      return fail(error)
    }
    settle()
    isStepping = false
    flush()
  }

  package override func onDrained() { flush() }
  package override func afterTurn() {
    settle()
    flush()
  }

  /// What happened to streams is handed on here, never within a call of the library.
  private func settle() {
    while !touched.isEmpty {
      let now = touched
      touched = []
      for stream in now {
        stream.isTouched = false
        stream.settle()
      }
    }
  }

  private func flush() {
    guard let session, !isClosing else { return }
    repeat {
      guard pendingBytes < Self.outputLimit else { return }
      output.removeAll(keepingCapacity: true)
      let hasMore: Bool
      do throws(HTTP2Session.Failure) { hasMore = try session.takeOutput(into: &output, limit: 65_536) } catch { return fail(error) }
      let bytes = output
      send(bytes.span)
      settle()
      if isClosed { return }
      if !hasMore, output.isEmpty { break }
    } while true
    if output.capacity > 262_144 { output = [] }
    if session.isOver { closeWhenSent(lingering: true) }
  }

  private func fail(_ failure: HTTP2Session.Failure) {
    session?.terminate(failure == .flooded ? .enhanceYourCalm : .protocolError)
    output.removeAll(keepingCapacity: true)
    _ = try? session?.takeOutput(into: &output, limit: 65_536)
    let bytes = output
    send(bytes.span)
    if !isClosing { closeWhenSent(lingering: true) }
    endStreams()
  }

  package override func onClosed() {
    server.connections -= 1
    endStreams()
    session = nil
  }

  private func endStreams() {
    let all = streams.values
    streams = [:]
    touched = []
    last = nil
    for stream in all { stream.abandon() }
  }

  // MARK: time

  package override func onTimeOut() {
    if goodbye == .announced { return sayGoodbye() }
    guard !streams.isEmpty || pendingBytes > 0 else { return goodbye == .none ? announceEnd() : close() }
    // A head that trickles, and a client that does not read what waits for the whole connection.
    if let headSince, headSince.duration(to: loop.now) >= server.settings.headTime { return fail(.protocolError) }
    var pace = self.pace
    let isSlow = pace.isTooSlow(
      now: loop.now, settings: server.settings, output: pendingBytes > 0 ? (acknowledgedBytes, drains) : nil, input: nil)
    self.pace = pace
    if isSlow { return abort() }
    for stream in streams.values where stream.isStuck(loop.now, server.settings) { session?.reset(stream.id, code: .cancel) }
    setDeadline(afterNanoseconds: server.times.paceCheck)
    flush()
  }

  /// The server drains: streams that are on their way are still answered, then no more.
  func endSoon() { if goodbye == .none { announceEnd() } }

  private func announceEnd() {
    goodbye = .announced
    session?.announceEnd()
    setDeadline(after: Self.farewell)
    flush()
  }

  private func sayGoodbye() {
    guard goodbye == .announced else { return }
    goodbye = .said
    session?.goAway(.noError)
    if streams.isEmpty { setDeadline(after: Self.farewell) } else { setDeadline(afterNanoseconds: server.times.paceCheck) }
    flushSoon()
  }

  // MARK: for streams

  func open(_ stream: HTTP2Stream) -> Exchange? {
    let exchange = server.makeExchange(descriptor: -1, peer: peer, carrier: stream)
    exchange.peerLines = peerLines
    do { try exchange.open() } catch { return nil }
    return exchange
  }

  func keep(peerLines lines: [UInt8]) { if peerLines.isEmpty { peerLines = lines } }

  func takeFields() -> HTTP2FieldBlock {
    var block = fields.take() ?? HTTP2FieldBlock()
    block.removeAll()
    return block
  }
  func giveBack(_ block: HTTP2FieldBlock) { fields = block }

  func consume(_ stream: Int32, _ count: Int) {
    session?.consume(stream, count)
    flushSoon()
  }

  func resume(_ stream: HTTP2Stream) {
    session?.resume(stream.id)
    flushSoon()
  }

  func submitInterim(_ stream: Int32, _ fields: inout HTTP2FieldBlock) {
    session?.submitInterim(stream, &fields)
    flushSoon()
  }

  func submitAnswer(_ stream: Int32, _ fields: inout HTTP2FieldBlock, hasBody: Bool) {
    session?.submitAnswer(stream, &fields, hasBody: hasBody)
    flushSoon()
  }

  func reset(_ stream: Int32, _ code: HTTP2ErrorCode) {
    session?.reset(stream, code: code)
    flushSoon()
  }

  /// Streams answer one after the other in a turn: what they have leaves together at its end.
  private func flushSoon() { if !isStepping { continueSoon() } }

  /// The key of a WebSocket's handshake with the upstream: sixteen random bytes in base64 (RFC 6455 §4.1).
  func webSocketKey() -> [UInt8] { Array(Base64.encode(server.settings.random.bytes(16)).utf8) }

  // MARK: what the session tells

  package func streamBegan(_ stream: Int32) {
    let isFirst = streams.isEmpty
    let new = HTTP2Stream(id: stream, connection: self)
    streams[stream] = new
    last = new
    requestHead.restart()
    headSince = loop.now
    // Not for each: who opens streams all the time would never be looked at.
    if isFirst, goodbye != .announced { setDeadline(afterNanoseconds: server.times.paceCheck) }
  }

  package func field(_ stream: Int32, _ name: borrowing Span<UInt8>, _ value: borrowing Span<UInt8>) -> HTTP2ErrorCode? {
    guard let found = find(stream) else { return .cancel }
    guard !found.hasHead else { return found.addTrailer(name, value) ? nil : .protocolError }
    switch requestHead.add(name, value) {
    case .taken: return nil
    case .malformed: return .protocolError
    case .excessive: return .enhanceYourCalm
    }
  }

  package func headEnded(_ stream: Int32, isTrailer: Bool, endsStream: Bool) {
    headSince = nil
    guard let found = find(stream) else { return }
    if isTrailer {
      if endsStream { found.end() }
    } else {
      guard let request = requestHead.request(endsStream: endsStream, webSocketKey: webSocketKey) else {
        return session?.reset(stream, code: .protocolError) ?? ()
      }
      guard found.begin(request, endsStream: endsStream) else {
        return session?.reset(stream, code: .internalError) ?? ()
      }
    }
    touch(found)
  }

  private func find(_ stream: Int32) -> HTTP2Stream? {
    if let last, last.id == stream { return last }
    last = streams[stream]
    return last
  }

  private func touch(_ stream: HTTP2Stream) {
    guard !stream.isTouched else { return }
    stream.isTouched = true
    touched.append(stream)
  }

  package func data(_ stream: Int32, _ bytes: borrowing Span<UInt8>) {
    guard let found = find(stream) else { return session?.consume(stream, bytes.count) ?? () }
    found.take(bytes)
    touch(found)
  }

  package func bodyEnded(_ stream: Int32) {
    guard let found = find(stream) else { return }
    found.end()
    touch(found)
  }

  package func takeBody(_ stream: Int32, _ room: inout HTTP2Room) -> HTTP2Body? {
    guard let found = find(stream) else { return nil }
    let body = found.takeBody(&room)
    touch(found)
    return body
  }

  package func answerSent(_ stream: Int32) { find(stream)?.answerSent() }

  package func announcementSeen() { sayGoodbye() }

  package func streamClosed(_ stream: Int32, code: UInt32) {
    guard let found = streams.removeValue(forKey: stream) else { return }
    last = nil
    headSince = nil
    found.abandon()
    guard streams.isEmpty else { return }
    switch goodbye {
    case .none: setDeadline(afterNanoseconds: server.times.idle)
    case .announced: break
    case .said: setDeadline(after: Self.farewell)
    }
  }
}
