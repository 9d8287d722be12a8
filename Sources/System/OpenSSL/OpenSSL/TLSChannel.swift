import COpenSSL

/// Why a TLS connection did not come about.
package enum TLSFailure: Error, Sendable, Hashable {
  /// The other side's certificate is not acceptable; the text is OpenSSL's (“certificate has expired”, “hostname mismatch”).
  case certificate(String)
  /// The other side speaks no TLS, another version, or broke off.
  case handshake(String)
}

/// One connection's TLS over a non-blocking socket that somebody else owns. Confined to the socket's event loop.
package final class TLSChannel {
  /// How a handshake stands.
  package enum Progress {
    case done
    /// Goes on when the socket is readable or writable.
    case waits
    case failed(TLSFailure)
  }

  /// What `receive` and `send` return when the socket has nothing to give or take: as in `Socket`.
  package static var wouldBlock: Int { -1 }
  /// What they return when the connection is broken, also when it ended without the peer's word for it (a truncation).
  package static var broken: Int { -2 }

  /// The words with which the other side ended the connection, when it broke with an alert: a server of TLS 1.3 refuses a client's certificate only
  /// when the client takes the handshake for done.
  package private(set) var alert: String?
  private let tls: OpaquePointer
  private let socket: UnsafeMutablePointer<intercom_tls_socket>
  /// Kept: the call-backs of its contexts are at work until the connection ends.
  private let context: TLSContext
  /// One record of TLS: what is sent together leaves in one.
  private static let record = 16_384

  /// A listener's side.
  package convenience init(server context: TLSContext, descriptor: Int32) throws(OpenSSLError) {
    try self.init(context, descriptor)
    SSL_set_accept_state(tls)
  }

  /// The calling side. `host` is the name or the address literal that the certificate must be for.
  package convenience init(client context: TLSContext, descriptor: Int32, host: [UInt8], isAddress: Bool) throws(OpenSSLError) {
    try self.init(context, descriptor)
    let name = host.map { CChar(bitPattern: $0) } + [0]
    guard !host.isEmpty, !host.contains(0) else { throw OpenSSLError("TLS host name") }
    if isAddress {
      guard X509_VERIFY_PARAM_set1_ip_asc(SSL_get0_param(tls), name) == 1 else { throw OpenSSLError("TLS host address") }
    } else {
      SSL_set_hostflags(tls, CUnsignedInt(X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS))
      guard SSL_set1_host(tls, name) == 1, intercom_tls_ask_for(tls, name) == 1 else { throw OpenSSLError("TLS host name") }
    }
    SSL_set_connect_state(tls)
  }

  /// What our BIO does. `@unchecked`: made once, never changed.
  private struct Method: @unchecked Sendable {
    let pointer: OpaquePointer?
  }
  private static let method = Method(pointer: intercom_socket_method())

  private init(_ context: TLSContext, _ descriptor: Int32) throws(OpenSSLError) {
    guard let method = Self.method.pointer, let tls = SSL_new(context.contexts[0]) else { throw OpenSSLError("TLS connection") }
    guard let bio = BIO_new(method) else {
      SSL_free(tls)
      throw OpenSSLError("TLS connection")
    }
    let socket = UnsafeMutablePointer<intercom_tls_socket>.allocate(capacity: 1)
    socket.initialize(to: intercom_tls_socket(descriptor: descriptor, is_drained: 0, has_ended: 0))
    BIO_set_data(bio, socket)
    BIO_set_init(bio, 1)
    SSL_set_bio(tls, bio, bio)
    self.tls = tls
    self.socket = socket
    self.context = context
  }

  deinit {
    SSL_free(tls)
    socket.deallocate()
  }

  /// The connection's end stood behind bytes that `receive` has given, and is told next: the socket may have nothing more to say.
  private var isAtEnd = false

  /// Whether the socket was empty when it was read last, and nothing is held back here either: an edge-triggered loop may wait.
  package var isDrained: Bool { socket.pointee.is_drained != 0 && !isAtEnd && SSL_has_pending(tls) == 0 }

  /// Goes on with the handshake.
  package func handshake() -> Progress {
    ERR_clear_error()
    let result = SSL_do_handshake(tls)
    if result == 1 { return .done }
    let kind = SSL_get_error(tls, result)
    if kind == SSL_ERROR_WANT_READ || kind == SSL_ERROR_WANT_WRITE { return .waits }
    if intercom_error_is_missing_certificate(ERR_peek_error()) == 1 {
      ERR_clear_error()
      return .failed(.certificate("none was shown"))
    }
    let verified = SSL_get_verify_result(tls)
    if verified != Int(X509_V_OK) {
      ERR_clear_error()
      return .failed(.certificate(X509_verify_cert_error_string(verified).map { String(cString: $0) } ?? "not acceptable"))
    }
    let reason = OpenSSLError.takeReason()
    return .failed(.handshake(reason.isEmpty || socket.pointee.has_ended != 0 ? "the connection ended" : reason))
  }

  /// What was agreed upon; nil when the client offered nothing.
  package var agreedProtocol: TLSProtocol? {
    var name: UnsafePointer<UInt8>?
    var length: CUnsignedInt = 0
    SSL_get0_alpn_selected(tls, &name, &length)
    guard let name, length > 0 else { return nil }
    return UnsafeBufferPointer(start: name, count: Int(length)).elementsEqual(TLSProtocol.http2.name) ? .http2 : .http11
  }

  /// Bytes received (as many records as fit), 0 at the peer's orderly end, `wouldBlock` or `broken`.
  package func receive(into buffer: UnsafeMutableBufferPointer<UInt8>) -> Int {
    var filled = 0
    while filled == 0 || buffer.count - filled >= Self.record {
      ERR_clear_error()
      var count = 0
      let result = SSL_read_ex(tls, buffer.baseAddress.map { $0 + filled }, buffer.count - filled, &count)
      if result == 1 {
        filled += count
        if isDrained { break }
        continue
      }
      let error = SSL_get_error(tls, result)
      let waits = error == SSL_ERROR_WANT_READ || error == SSL_ERROR_WANT_WRITE
      if !waits {
        if intercom_error_is_alert(ERR_peek_error()) == 1 { alert = OpenSSLError.takeReason() }
        ERR_clear_error()
      }
      isAtEnd = !waits && filled > 0
      if filled > 0 { break }
      if waits { return Self.wouldBlock }
      return error == SSL_ERROR_ZERO_RETURN ? 0 : Self.broken
    }
    return filled
  }

  /// Bytes taken (possibly fewer than given), `wouldBlock` or `broken`. What was not taken must be given again first.
  package func send(_ bytes: borrowing Span<UInt8>) -> Int {
    bytes.withUnsafeBytes { buffer in
      var sent = 0
      while sent < buffer.count {
        ERR_clear_error()
        var count = 0
        let result = SSL_write_ex(tls, buffer.baseAddress.map { $0 + sent }, buffer.count - sent, &count)
        guard result == 1 else {
          switch SSL_get_error(tls, result) {
          case SSL_ERROR_WANT_WRITE, SSL_ERROR_WANT_READ: return sent > 0 ? sent : Self.wouldBlock
          default:
            ERR_clear_error()
            return Self.broken
          }
        }
        sent += count
      }
      return sent
    }
  }

  /// Tells the peer that nothing more follows (close_notify), so that it can tell the end from a truncation. Best effort.
  package func endSending() {
    guard SSL_is_init_finished(tls) == 1 else { return }
    ERR_clear_error()
    _ = SSL_shutdown(tls)
    ERR_clear_error()
  }
}
