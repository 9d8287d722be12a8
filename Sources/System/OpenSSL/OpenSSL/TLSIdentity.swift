import COpenSSL

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

/// Who a side of a TLS connection is: its certificate, the chain behind it and the private key.
///
/// `@unchecked`: immutable after `init`; OpenSSL counts references atomically.
package final class TLSIdentity: @unchecked Sendable {
  let chain: TLSCertificates
  let key: OpaquePointer

  /// - Parameters:
  ///   - chain: PEM, the own certificate first.
  ///   - key: PEM, without a passphrase.
  ///
  /// Throws when one cannot be read or the key is not the certificate's.
  package init(chain pem: [UInt8], key keyPEM: [UInt8]) throws(OpenSSLError) {
    chain = try TLSCertificates(pem: pem)
    guard let bio = BIO_new_mem_buf(keyPEM, CInt(clamping: keyPEM.count)) else { throw OpenSSLError("private key") }
    defer { BIO_free(bio) }
    guard let key = intercom_read_private_key(bio) else { throw OpenSSLError("no private key without a passphrase in this file") }
    guard let own = intercom_certificate_at(chain.stack, 0), X509_check_private_key(own, key) == 1 else {
      EVP_PKEY_free(key)
      throw OpenSSLError("the private key does not belong to the first certificate")
    }
    self.key = key
  }

  deinit { EVP_PKEY_free(key) }

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
}
