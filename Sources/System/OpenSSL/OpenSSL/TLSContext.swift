import COpenSSL
import Glibc

/// What both sides of TLS agree to speak inside (ALPN, [RFC 7301](https://www.rfc-editor.org/rfc/rfc7301)).
package enum TLSProtocol: Sendable, Hashable {
  case http11
  case http2

  /// As the handshake has it, without its length.
  var name: [UInt8] { self == .http2 ? Array("h2".utf8) : Array("http/1.1".utf8) }
  /// With its length before it.
  var offer: [UInt8] { [UInt8(name.count)] + name }
}

/// The oldest version of TLS that a listener speaks.
package enum TLSVersion: Sendable, Hashable {
  case tls12
  case tls13
}

/// How a listener asks its clients for certificates.
package struct TLSClientCertificates: Sendable {
  package let authorities: TLSCertificates
  /// Without: a client may come without one, but none that cannot be verified.
  package let isRequired: Bool

  package init(authorities: TLSCertificates, isRequired: Bool) {
    self.authorities = authorities
    self.isRequired = isRequired
  }
}

/// One side's settings, shared by its connections.
///
/// `@unchecked`: immutable after `init`; OpenSSL's own locks guard what it changes (the reference counts, the tickets' keys).
package final class TLSContext: @unchecked Sendable {
  /// The context of each identity; the first serves clients that name no host or an unknown one.
  let contexts: [OpaquePointer]
  private let names: ServerNames?
  let isServer: Bool

  /// A listener's side: several identities are told apart by the host that the client names (SNI). TLS 1.2 and 1.3, forward secrecy and
  /// AEAD only ([RFC 9325](https://www.rfc-editor.org/rfc/rfc9325)).
  ///
  /// - Parameters:
  ///   - identities: not empty.
  ///   - protocols: in our order of preference. A client that offers others only is refused; one that offers none gets HTTP/1.1.
  package init(
    server identities: [TLSIdentity], protocols: [TLSProtocol], minimum: TLSVersion = .tls12, clients: TLSClientCertificates? = nil
  ) throws(OpenSSLError) {
    guard !identities.isEmpty else { throw OpenSSLError("a TLS listener without a certificate") }
    let names = ServerNames(protocols: protocols)
    var made: [OpaquePointer] = []
    do throws(OpenSSLError) {
      for identity in identities {
        let context = try Self.context(TLS_server_method(), identity)
        made.append(context)
        if minimum == .tls13, intercom_tls_only_1_3(context) != 1 { throw OpenSSLError("TLS 1.3") }
        try Self.set(context, names, clients)
      }
    } catch {
      for context in made { SSL_CTX_free(context) }
      throw error
    }
    names.candidates = zip(identities, made).map { ($0, $1) }
    contexts = made
    self.names = names
    isServer = true
  }

  /// The calling side: the other's certificate is always verified.
  ///
  /// - Parameters:
  ///   - authorities: the only ones that are trusted, roots or not; nil takes those of the system.
  ///   - extra: trusted besides the system's, where `authorities` is nil.
  ///   - identity: shown when the other side asks for one.
  ///   - protocols: offered, in this order.
  package init(
    client authorities: TLSCertificates?, besidesSystem extra: TLSCertificates? = nil, identity: TLSIdentity? = nil,
    protocols: [TLSProtocol] = [.http11]
  ) throws(OpenSSLError) {
    let context = try Self.context(TLS_client_method(), identity)
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nil)
    let trustsSystem = authorities != nil || SSL_CTX_set_default_verify_paths(context) == 1
    let named = authorities ?? extra
    let trusts = trustsSystem && named.map { intercom_tls_trust(context, $0.stack) == 1 } ?? true
    let offer = protocols.flatMap { $0.offer }
    guard trusts, SSL_CTX_set_alpn_protos(context, offer, CUnsignedInt(offer.count)) == 0 else {
      SSL_CTX_free(context)
      throw OpenSSLError("TLS authorities")
    }
    // An authority that is named is trusted as such, also when its own issuer is not in the list: as libcurl does for the provider's.
    if named != nil { X509_VERIFY_PARAM_set_flags(SSL_CTX_get0_param(context), CUnsignedLong(X509_V_FLAG_PARTIAL_CHAIN)) }
    contexts = [context]
    names = nil
    isServer = false
  }

  deinit { for context in contexts { SSL_CTX_free(context) } }

  private static func context(_ method: OpaquePointer?, _ identity: TLSIdentity?) throws(OpenSSLError) -> OpaquePointer {
    guard let context = SSL_CTX_new(method) else { throw OpenSSLError("TLS context") }
    guard intercom_tls_defaults(context) == 1,
      identity.map({ intercom_tls_use_identity(context, $0.chain.stack, $0.key.pointer) == 1 }) ?? true
    else {
      SSL_CTX_free(context)
      throw OpenSSLError("TLS certificate and key")
    }
    return context
  }

  private static func set(_ context: OpaquePointer, _ names: ServerNames, _ clients: TLSClientCertificates?) throws(OpenSSLError) {
    let argument = Unmanaged.passUnretained(names).toOpaque()
    intercom_tls_on_server_name(context, { tls, _, argument in ServerNames.from(argument)?.choose(tls) ?? SSL_TLSEXT_ERR_NOACK }, argument)
    SSL_CTX_set_alpn_select_cb(
      context,
      { _, out, outLength, offered, length, argument in
        guard let out, let outLength, let offered, let names = ServerNames.from(argument) else { return SSL_TLSEXT_ERR_ALERT_FATAL }
        return names.select(UnsafeBufferPointer(start: offered, count: Int(length)), out, outLength)
      }, argument)
    guard let clients else { return intercom_tls_tickets(context, 1, 7200) }
    // A ticket would let a client in whose certificate has been revoked or replaced meanwhile.
    intercom_tls_tickets(context, 0, 0)
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER | (clients.isRequired ? SSL_VERIFY_FAIL_IF_NO_PEER_CERT : 0), nil)
    guard intercom_tls_trust(context, clients.authorities.stack) == 1,
      intercom_tls_announce_authorities(context, clients.authorities.stack) == 1
    else { throw OpenSSLError("authorities of client certificates") }
  }
}

/// What the call-backs of a listener's contexts ask. Lives as long as they do; does not change once `TLSContext.init` has returned.
private final class ServerNames {
  var candidates: [(identity: TLSIdentity, context: OpaquePointer)] = []
  /// Each with its length before it.
  private let offers: [[UInt8]]

  init(protocols: [TLSProtocol]) { offers = protocols.map { $0.offer } }

  static func from(_ argument: UnsafeMutableRawPointer?) -> ServerNames? {
    argument.map { Unmanaged<ServerNames>.fromOpaque($0).takeUnretainedValue() }
  }

  /// Takes the first identity that serves the named host ([RFC 6066 §3](https://www.rfc-editor.org/rfc/rfc6066#section-3)).
  func choose(_ tls: OpaquePointer?) -> CInt {
    guard candidates.count > 1, let text = SSL_get_servername(tls, TLSEXT_NAMETYPE_host_name) else { return SSL_TLSEXT_ERR_OK }
    let host = Array(UnsafeRawBufferPointer(start: text, count: strlen(text)))
    if let found = candidates.first(where: { $0.identity.serves(host: host) }) { SSL_set_SSL_CTX(tls, found.context) }
    return SSL_TLSEXT_ERR_OK
  }

  /// Takes our first protocol that the client offers. `out` points into the client's offer, which OpenSSL keeps.
  func select(
    _ offered: UnsafeBufferPointer<UInt8>, _ out: UnsafeMutablePointer<UnsafePointer<UInt8>?>, _ outLength: UnsafeMutablePointer<UInt8>
  ) -> CInt {
    for offer in offers {
      var at = 0
      while at < offered.count {
        let end = at + 1 + Int(offered[at])
        guard end <= offered.count else { break }
        if offered[at..<end].elementsEqual(offer), let start = offered.baseAddress {
          out.pointee = start + at + 1
          outLength.pointee = offered[at]
          return SSL_TLSEXT_ERR_OK
        }
        at = end
      }
    }
    return SSL_TLSEXT_ERR_ALERT_FATAL
  }
}
