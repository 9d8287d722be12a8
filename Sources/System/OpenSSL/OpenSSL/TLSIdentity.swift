import COpenSSL
import Glibc

/// A list of certificates that somebody is to be measured by: a private authority, or the authorities of client certificates.
///
/// `@unchecked`: immutable after `init`; OpenSSL counts references atomically.
package final class TLSCertificates: @unchecked Sendable {
  let stack: OpaquePointer

  /// All certificates of a PEM text, in its order. Throws when there is none or one cannot be read.
  package init(pem: [UInt8]) throws(OpenSSLError) {
    guard let list = intercom_certificates_new() else { throw OpenSSLError("certificates") }
    do { try Self.read(pem, into: list) } catch {
      intercom_certificates_free(list)
      throw error
    }
    stack = list
  }

  deinit { intercom_certificates_free(stack) }

  private static func read(_ pem: [UInt8], into list: OpaquePointer) throws(OpenSSLError) {
    guard let bio = BIO_new_mem_buf(pem, CInt(clamping: pem.count)) else { throw OpenSSLError("certificates") }
    defer { BIO_free(bio) }
    while let certificate = intercom_read_certificate(bio) {
      guard intercom_certificates_add(list, certificate) > 0 else {
        X509_free(certificate)
        throw OpenSSLError("certificates")
      }
    }
    // What ends the list well is the text's end: "no start line". Anything else is a certificate that cannot be read.
    let last = ERR_peek_last_error()
    guard last == 0 || intercom_error_is_end_of_pem(last) == 1 else { throw OpenSSLError("certificates") }
    ERR_clear_error()
    guard intercom_certificates_count(list) > 0 else { throw OpenSSLError("no certificate in this file") }
  }
}

/// What the first certificate of a list says of itself.
package struct TLSCertificateFacts: Sendable, Hashable {
  /// The hosts and addresses that it is for (subject alternative names, RFC 9525).
  package let names: [String]
  /// When it begins to be good and when it ceases to be, in seconds since 1970.
  package let notBefore: Int64
  package let notAfter: Int64
}

extension TLSCertificates {
  /// How many there are.
  package var count: Int { Int(intercom_certificates_count(stack)) }

  /// The same for the same certificates in the same order (SHA-256 of each).
  package var fingerprint: [UInt8] {
    (0..<intercom_certificates_count(stack)).flatMap { index -> [UInt8] in
      var digest = [UInt8](repeating: 0, count: 32)
      var length = CUnsignedInt(0)
      return X509_digest(intercom_certificate_at(stack, index), EVP_sha256(), &digest, &length) == 1 ? digest : []
    }
  }

  /// Of the first one; nil when its times cannot be read.
  package var facts: TLSCertificateFacts? {
    guard let own = intercom_certificate_at(stack, 0) else { return nil }
    var (begin, end) = (CLongLong(0), CLongLong(0))
    defer { ERR_clear_error() }
    guard intercom_certificate_time(own, 0, &begin) == 1, intercom_certificate_time(own, 1, &end) == 1 else { return nil }
    return TLSCertificateFacts(names: Self.names(own), notBefore: Int64(begin), notAfter: Int64(end))
  }

  private static func names(_ certificate: OpaquePointer) -> [String] {
    guard let all = intercom_certificate_names(certificate) else { return [] }
    defer { intercom_names_free(all) }
    return (0..<intercom_names_count(all)).compactMap { index in
      var bytes: UnsafePointer<UInt8>?
      var length: CInt = 0
      let type = intercom_name_at(all, index, &bytes, &length)
      guard type >= 0, length > 0, let bytes else { return nil }
      let name = Array(UnsafeBufferPointer(start: bytes, count: Int(length)))
      return type == GEN_IPADD ? address(name) : String(decoding: name, as: UTF8.self)
    }
  }

  private static func address(_ bytes: [UInt8]) -> String? {
    var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
    guard bytes.count == 4 || bytes.count == 16,
      inet_ntop(bytes.count == 4 ? AF_INET : AF_INET6, bytes, &text, socklen_t(text.count)) != nil
    else { return nil }
    return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
  }
}

/// A private key.
///
/// `@unchecked`: immutable after `init`; OpenSSL counts references atomically.
package final class TLSPrivateKey: @unchecked Sendable {
  let pointer: OpaquePointer

  /// The first private key of a PEM text, without a passphrase. Throws when there is none.
  package init(pem: [UInt8]) throws(OpenSSLError) {
    guard let bio = BIO_new_mem_buf(pem, CInt(clamping: pem.count)) else { throw OpenSSLError("private key") }
    defer { BIO_free(bio) }
    guard let key = intercom_read_private_key(bio) else { throw OpenSSLError("no private key without a passphrase in this file") }
    pointer = key
  }

  deinit { EVP_PKEY_free(pointer) }
}

/// Who a side of a TLS connection is: its certificate, the chain behind it and the private key.
///
/// `@unchecked`: immutable after `init`; OpenSSL counts references atomically.
package final class TLSIdentity: @unchecked Sendable {
  /// The own certificate first.
  package let chain: TLSCertificates
  let key: TLSPrivateKey

  /// Throws when the key is not the first certificate's.
  package init(chain: TLSCertificates, key: TLSPrivateKey) throws(OpenSSLError) {
    guard let own = intercom_certificate_at(chain.stack, 0), X509_check_private_key(own, key.pointer) == 1 else {
      throw OpenSSLError("the private key does not belong to the first certificate")
    }
    self.chain = chain
    self.key = key
  }

  /// - Parameters:
  ///   - chain: PEM, the own certificate first.
  ///   - key: PEM, without a passphrase.
  ///
  /// Throws when one cannot be read or the key is not the certificate's.
  package convenience init(chain pem: [UInt8], key keyPEM: [UInt8]) throws(OpenSSLError) {
    try self.init(chain: TLSCertificates(pem: pem), key: TLSPrivateKey(pem: keyPEM))
  }

  private var own: OpaquePointer? { intercom_certificate_at(chain.stack, 0) }

  /// Whether this certificate is for that host ([RFC 9525](https://www.rfc-editor.org/rfc/rfc9525)): subject alternative names alone.
  package func serves(host: [UInt8]) -> Bool {
    guard let own, !host.isEmpty else { return false }
    let flags = UInt32(X509_CHECK_FLAG_NEVER_CHECK_SUBJECT | X509_CHECK_FLAG_NO_PARTIAL_WILDCARDS)
    let matches = host.withUnsafeBufferPointer { name in
      name.withMemoryRebound(to: CChar.self) { X509_check_host(own, $0.baseAddress, $0.count, flags, nil) == 1 }
    }
    ERR_clear_error()
    return matches
  }

  /// The same for an address literal, without brackets.
  package func serves(address: String) -> Bool {
    guard let own else { return false }
    defer { ERR_clear_error() }
    return X509_check_ip_asc(own, address, 0) == 1
  }
}
