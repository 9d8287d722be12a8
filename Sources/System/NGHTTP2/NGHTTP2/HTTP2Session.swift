import CNGHTTP2

/// Bounds of one connection of HTTP/2. Numbers are counts, bytes or per second.
package struct HTTP2Limits: Sendable {
  /// Streams that a client may have open at once.
  package var streams: UInt32 = 100
  /// The sum of all names, values and 32 bytes for each field (RFC 9113 §6.5.2): told to the client; nghttp2 itself ends at 64 KiB.
  package var fieldList: UInt32 = 32 << 10
  /// Bytes of a body that may be on their way to us, for each stream and for all of a connection. What came counts against the stream until
  /// somebody has taken it, against the connection not at all: streams that wait hold no others up.
  package var streamWindow: UInt32 = 256 << 10
  package var connectionWindow: Int32 = 1 << 20
  /// Resets of streams, by the client (CVE-2023-44487) and those that its mistakes make us send (CVE-2025-8671): so many at once, so many per
  /// second afterwards.
  package var resetBurst: UInt64 = 100
  package var resetsPerSecond: UInt64 = 33
  /// CONTINUATION frames behind one HEADERS frame (CVE-2024-28182).
  package var continuations = 8
  /// Frames in one second that neither open a stream nor carry a body (SETTINGS, PING, PRIORITY, WINDOW_UPDATE, RST_STREAM, empty DATA),
  /// refused streams included: the library does not bound them. Unknown types are not among them: skipping them costs less than the TLS below.
  package var controlFramesPerSecond = 1_000

  package init() {}
}

/// What a session tells its owner. All calls come within `receive` or `takeOutput`.
package protocol HTTP2SessionOwner: AnyObject {
  func streamBegan(_ stream: Int32)
  /// A field of a head or of trailers. A code resets the stream with it.
  func field(_ stream: Int32, _ name: borrowing Span<UInt8>, _ value: borrowing Span<UInt8>) -> HTTP2ErrorCode?
  /// A head or a trailer section is whole; `endsStream`: nothing follows.
  func headEnded(_ stream: Int32, isTrailer: Bool, endsStream: Bool)
  /// Bytes of a body; they count against the windows until `consume`.
  func data(_ stream: Int32, _ bytes: borrowing Span<UInt8>)
  func bodyEnded(_ stream: Int32)
  /// Our END_STREAM has gone out; the client's may still be to come.
  func answerSent(_ stream: Int32)
  /// The client has seen what was sent before `announceEnd`.
  func announcementSeen()
  /// Puts bytes of the answer's body into `room`. Nil resets the stream.
  func takeBody(_ stream: Int32, _ room: inout HTTP2Room) -> HTTP2Body?
  /// The stream is over: well with code 0, else with the code of its RST_STREAM (RFC 9113 §7).
  func streamClosed(_ stream: Int32, code: UInt32)
}

/// Room for bytes of a body in the frame that is being made.
package struct HTTP2Room {
  private let memory: UnsafeMutableBufferPointer<UInt8>
  package private(set) var count = 0

  fileprivate init(_ memory: UnsafeMutableBufferPointer<UInt8>) { self.memory = memory }

  /// Appends as many of these bytes as fit and says how many.
  package mutating func append(_ bytes: borrowing Span<UInt8>) -> Int {
    let taken = min(bytes.count, memory.count - count)
    let at = count
    bytes.withUnsafeBufferPointer { bytes in _ = memory[at...].update(fromContentsOf: bytes[..<taken]) }
    count += taken
    return taken
  }
}

/// What of a body there is to be sent.
package enum HTTP2Body {
  /// What was put into the room; more may follow.
  case piece
  /// What was put there is the end. With trailers the stream ends behind these.
  case last
  case lastBeforeTrailers(HTTP2FieldBlock)
  /// Nothing yet: `resume` when there is.
  case later
}

/// The server's side of one HTTP/2 connection ([RFC 9113](https://www.rfc-editor.org/rfc/rfc9113)): bytes in, calls of the owner, bytes out.
/// No socket. Confined to whoever owns it.
package final class HTTP2Session {
  /// Why a connection cannot go on.
  package enum Failure: Error, Sendable, Hashable {
    /// The client broke the protocol; a GOAWAY may wait in the output.
    case protocolError
    /// The client floods us with frames that cost us and bring nothing.
    case flooded
  }

  private var session: OpaquePointer?
  /// Who has the session; it lets go of it in the end.
  private let owner: any HTTP2SessionOwner
  private let limits: HTTP2Limits
  private var controlFrames = 0
  /// Bytes given out and requests taken in the same second: who gets much may send many WINDOW_UPDATEs.
  private var given = 0
  private var requests = 0
  private var countedSince: Int64 = 0
  private var isFlooded = false
  /// Resets that the client may still cause, and when that was counted.
  private var resetsLeft: UInt64
  private var resetsCountedAt: Int64 = 0

  /// Fails when memory is short.
  package init?(owner: any HTTP2SessionOwner, limits: HTTP2Limits) {
    self.owner = owner
    self.limits = limits
    resetsLeft = limits.resetBurst
    var callbacks: OpaquePointer?
    var option: OpaquePointer?
    guard nghttp2_session_callbacks_new(&callbacks) == 0, nghttp2_option_new(&option) == 0 else { return nil }
    defer {
      nghttp2_session_callbacks_del(callbacks)
      nghttp2_option_del(option)
    }
    Self.set(option, limits)
    Self.set(callbacks)
    guard nghttp2_session_server_new2(&session, callbacks, Unmanaged.passUnretained(self).toOpaque(), option) == 0 else { return nil }
    let settings = [
      nghttp2_settings_entry(settings_id: Int32(NGHTTP2_SETTINGS_MAX_CONCURRENT_STREAMS.rawValue), value: limits.streams),
      nghttp2_settings_entry(settings_id: Int32(NGHTTP2_SETTINGS_INITIAL_WINDOW_SIZE.rawValue), value: limits.streamWindow),
      nghttp2_settings_entry(settings_id: Int32(NGHTTP2_SETTINGS_MAX_HEADER_LIST_SIZE.rawValue), value: limits.fieldList),
      // RFC 8441: WebSocket over a stream.
      nghttp2_settings_entry(settings_id: Int32(NGHTTP2_SETTINGS_ENABLE_CONNECT_PROTOCOL.rawValue), value: 1),
    ]
    let none = UInt8(NGHTTP2_FLAG_NONE.rawValue)
    nghttp2_submit_settings(session, none, settings, settings.count)
    nghttp2_session_set_local_window_size(session, none, 0, limits.connectionWindow)
  }

  deinit { nghttp2_session_del(session) }

  // MARK: bytes

  /// Takes what has come. `now` in nanoseconds of any clock that does not jump. Throws when the connection must end; look at the output first.
  package func receive(_ bytes: borrowing Span<UInt8>, now: Int64) throws(Failure) {
    if now &- countedSince > 1_000_000_000 {
      countedSince = now
      controlFrames = 0
      given = 0
      requests = 0
      let seconds = UInt64(max(1, min(3600, (now &- resetsCountedAt) / 1_000_000_000)))
      resetsLeft = min(limits.resetBurst, resetsLeft &+ seconds &* limits.resetsPerSecond)
      resetsCountedAt = now
    }
    let result = bytes.withUnsafeBytes { buffer in
      nghttp2_session_mem_recv(session, buffer.baseAddress?.assumingMemoryBound(to: UInt8.self), buffer.count)
    }
    if isFlooded || Self.floods.contains(result) { throw .flooded }
    if result < 0 { throw .protocolError }
  }

  private static let floods = [NGHTTP2_ERR_FLOODED, NGHTTP2_ERR_TOO_MANY_CONTINUATIONS, NGHTTP2_ERR_TOO_MANY_SETTINGS].map {
    Int($0.rawValue)
  }

  /// Appends what is to be sent, up to about `limit` bytes. True when there may be more.
  package func takeOutput(into out: inout [UInt8], limit: Int) throws(Failure) -> Bool {
    while out.count < limit {
      var piece: UnsafePointer<UInt8>?
      let count = nghttp2_session_mem_send(session, &piece)
      if count < 0 { throw .protocolError }
      if isFlooded { throw .flooded }
      guard count > 0, let piece else { return false }
      out.append(contentsOf: UnsafeBufferPointer(start: piece, count: count))
      given &+= count
    }
    return true
  }

  /// Nothing more will be read or written: the connection can close.
  package var isOver: Bool { nghttp2_session_want_read(session) == 0 && nghttp2_session_want_write(session) == 0 }

  // MARK: streams

  /// The owner has done with so many bytes of a body: the client may send as many more on this stream.
  package func consume(_ stream: Int32, _ count: Int) { nghttp2_session_consume_stream(session, stream, count) }

  /// An interim answer (1xx).
  package func submitInterim(_ stream: Int32, _ fields: inout HTTP2FieldBlock) {
    _ = fields.withFields { nghttp2_submit_headers(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), stream, nil, $0, $1, nil) }
  }

  /// The answer's head. Its body, when there is one, is asked for by `takeBody`.
  package func submitAnswer(_ stream: Int32, _ fields: inout HTTP2FieldBlock, hasBody: Bool) {
    var provider = nghttp2_data_provider()
    provider.read_callback = { session, stream, out, length, flags, _, user in
      guard let me = HTTP2Session.from(user), let out, let flags else { return Int(NGHTTP2_ERR_CALLBACK_FAILURE.rawValue) }
      return me.read(stream, UnsafeMutableBufferPointer(start: out, count: length), flags)
    }
    _ = fields.withFields { list, count in
      hasBody
        ? nghttp2_submit_response(session, stream, list, count, &provider) : nghttp2_submit_response(session, stream, list, count, nil)
    }
  }

  /// More of the body can be had, after `later`.
  package func resume(_ stream: Int32) { nghttp2_session_resume_data(session, stream) }

  /// Ends a stream with RST_STREAM. `code` as in RFC 9113 §7.
  package func reset(_ stream: Int32, code: HTTP2ErrorCode) {
    nghttp2_submit_rst_stream(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), stream, code.rawValue)
  }

  /// Tells the client that the end is near, without refusing what is on its way: a GOAWAY that names no stream, and a PING whose answer says
  /// that it was seen (RFC 9113 §6.8).
  package func announceEnd() {
    nghttp2_submit_shutdown_notice(session)
  }

  /// Tells the client to begin no more streams (GOAWAY, RFC 9113 §6.8): those up to the last one that came are answered.
  package func goAway(_ code: HTTP2ErrorCode) {
    nghttp2_submit_goaway(
      session, UInt8(NGHTTP2_FLAG_NONE.rawValue), nghttp2_session_get_last_proc_stream_id(session), code.rawValue, nil, 0)
  }

  /// GOAWAY and nothing else any more.
  package func terminate(_ code: HTTP2ErrorCode) { nghttp2_session_terminate_session(session, code.rawValue) }

  private func read(_ stream: Int32, _ out: UnsafeMutableBufferPointer<UInt8>, _ flags: UnsafeMutablePointer<UInt32>) -> Int {
    var room = HTTP2Room(out)
    switch owner.takeBody(stream, &room) {
    case .piece: return room.count
    case .last:
      flags.pointee |= UInt32(NGHTTP2_DATA_FLAG_EOF.rawValue)
      return room.count
    case .lastBeforeTrailers(var trailers):
      flags.pointee |= UInt32(NGHTTP2_DATA_FLAG_EOF.rawValue) | UInt32(NGHTTP2_DATA_FLAG_NO_END_STREAM.rawValue)
      _ = trailers.withFields { nghttp2_submit_trailer(session, stream, $0, $1) }
      return room.count
    case .later: return Int(NGHTTP2_ERR_DEFERRED.rawValue)
    case nil: return Int(NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue)
    }
  }

  // MARK: what the library calls

  private static func from(_ user: UnsafeMutableRawPointer?) -> HTTP2Session? {
    user.map { Unmanaged<HTTP2Session>.fromOpaque($0).takeUnretainedValue() }
  }

  private static func set(_ option: OpaquePointer?, _ limits: HTTP2Limits) {
    // Windows open when the upstream has taken the bytes, not when they came.
    nghttp2_option_set_no_auto_window_update(option, 1)
    nghttp2_option_set_max_outbound_ack(option, 100)
    nghttp2_option_set_max_settings(option, 32)
    nghttp2_option_set_max_send_header_block_length(option, 128 << 10)
    nghttp2_option_set_max_deflate_dynamic_table_size(option, 4096)
    nghttp2_option_set_stream_reset_rate_limit(option, limits.resetBurst, limits.resetsPerSecond)
    nghttp2_option_set_max_continuations(option, limits.continuations)
    nghttp2_option_set_no_closed_streams(option, 1)
  }

  private static func set(_ callbacks: OpaquePointer?) {
    nghttp2_session_callbacks_set_on_begin_headers_callback(callbacks) { _, frame, user in
      if let me = HTTP2Session.from(user), let frame { me.headersBegan(frame) }
      return 0
    }
    nghttp2_session_callbacks_set_on_header_callback(callbacks) { _, frame, name, nameLength, value, valueLength, _, user in
      guard let me = HTTP2Session.from(user), let frame else { return 0 }
      let name = UnsafeBufferPointer(start: name, count: nameLength)
      let value = UnsafeBufferPointer(start: value, count: valueLength)
      guard let code = me.owner.field(frame.pointee.hd.stream_id, name.span, value.span) else { return 0 }
      me.reset(frame.pointee.hd.stream_id, code: code)
      return NGHTTP2_ERR_TEMPORAL_CALLBACK_FAILURE.rawValue
    }
    nghttp2_session_callbacks_set_on_data_chunk_recv_callback(callbacks) { session, _, stream, bytes, count, user in
      nghttp2_session_consume_connection(session, count)
      HTTP2Session.from(user)?.owner.data(stream, UnsafeBufferPointer(start: bytes, count: count).span)
      return 0
    }
    nghttp2_session_callbacks_set_on_begin_frame_callback(callbacks) { _, head, user in
      guard let me = HTTP2Session.from(user), let head else { return 0 }
      switch UInt32(head.pointee.type) {
      case NGHTTP2_HEADERS.rawValue, NGHTTP2_DATA.rawValue, NGHTTP2_CONTINUATION.rawValue: return 0
      default: return me.count()
      }
    }
    nghttp2_session_callbacks_set_on_frame_send_callback(callbacks) { _, frame, user in
      if let me = HTTP2Session.from(user), let frame { me.frameSent(frame) }
      return 0
    }
    nghttp2_session_callbacks_set_on_frame_recv_callback(callbacks) { _, frame, user in
      guard let me = HTTP2Session.from(user), let frame else { return 0 }
      return me.frameEnded(frame)
    }
    nghttp2_session_callbacks_set_on_stream_close_callback(callbacks) { _, stream, code, user in
      HTTP2Session.from(user)?.owner.streamClosed(stream, code: code)
      return 0
    }
  }

  private func headersBegan(_ frame: UnsafePointer<nghttp2_frame>) {
    guard frame.pointee.hd.type == UInt8(NGHTTP2_HEADERS.rawValue), frame.pointee.headers.cat == NGHTTP2_HCAT_REQUEST else { return }
    requests &+= 1
    owner.streamBegan(frame.pointee.hd.stream_id)
  }

  private func frameEnded(_ frame: UnsafePointer<nghttp2_frame>) -> CInt {
    let head = frame.pointee.hd
    let endsStream = head.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0
    switch UInt32(head.type) {
    case NGHTTP2_HEADERS.rawValue:
      owner.headEnded(head.stream_id, isTrailer: frame.pointee.headers.cat != NGHTTP2_HCAT_REQUEST, endsStream: endsStream)
    case NGHTTP2_DATA.rawValue:
      if endsStream { owner.bodyEnded(head.stream_id) } else if head.length <= frame.pointee.data.padlen { return count() }
    case NGHTTP2_PING.rawValue:
      if head.flags & UInt8(NGHTTP2_FLAG_ACK.rawValue) != 0 { owner.announcementSeen() }
    default: break
    }
    return 0
  }

  private func frameSent(_ frame: UnsafePointer<nghttp2_frame>) {
    let head = frame.pointee.hd
    switch UInt32(head.type) {
    case NGHTTP2_HEADERS.rawValue, NGHTTP2_DATA.rawValue:
      if head.flags & UInt8(NGHTTP2_FLAG_END_STREAM.rawValue) != 0 { owner.answerSent(head.stream_id) }
    case NGHTTP2_GOAWAY.rawValue:
      // Not before: PING would overtake it.
      if frame.pointee.goaway.last_stream_id == Int32.max { nghttp2_submit_ping(session, UInt8(NGHTTP2_FLAG_NONE.rawValue), nil) }
    case NGHTTP2_RST_STREAM.rawValue: count(resetWith: HTTP2ErrorCode(rawValue: frame.pointee.rst_stream.error_code))
    default: break
    }
  }

  /// A client that makes us reset streams costs what one costs that resets them itself.
  private func count(resetWith code: HTTP2ErrorCode?) {
    switch code {
    case .noError, .cancel, .internalError: break
    case .refusedStream: _ = count()
    default: if resetsLeft > 0 { resetsLeft &-= 1 } else { isFlooded = true }
    }
  }

  private func count() -> CInt {
    controlFrames &+= 1
    guard controlFrames > limits.controlFramesPerSecond &+ given / 1024 &+ 4 &* requests else { return 0 }
    isFlooded = true
    return NGHTTP2_ERR_CALLBACK_FAILURE.rawValue
  }
}

/// RFC 9113 §7
package enum HTTP2ErrorCode: UInt32, Sendable {
  case noError = 0x0
  case protocolError = 0x1
  case internalError = 0x2
  case streamClosed = 0x5
  case refusedStream = 0x7
  case cancel = 0x8
  case enhanceYourCalm = 0xb
}
