import COpenSSL

/// The hash functions of SHA-2 (FIPS 180-4) that JOSE uses, and SHA-1, which the handshake of WebSocket wants and nothing else may use.
package enum DigestAlgorithm: Sendable, CaseIterable {
  case sha1, sha256, sha384, sha512

  /// Length of the digest in bytes.
  package var length: Int {
    switch self {
    case .sha1: 20
    case .sha256: 32
    case .sha384: 48
    case .sha512: 64
    }
  }

  var handle: OpaquePointer? {
    switch self {
    case .sha1: Fetched.shared.sha1
    case .sha256: Fetched.shared.sha256
    case .sha384: Fetched.shared.sha384
    case .sha512: Fetched.shared.sha512
    }
  }
}

/// Algorithms fetched once: an implicit fetch costs a shared lock on every call (OpenSSL 3.0).
///
/// `@unchecked Sendable`: fetched algorithms are immutable and OpenSSL allows their use from any thread; these are never freed.
struct Fetched: @unchecked Sendable {
  let sha1 = EVP_MD_fetch(nil, "SHA1", nil)
  let sha256 = EVP_MD_fetch(nil, "SHA256", nil)
  let sha384 = EVP_MD_fetch(nil, "SHA384", nil)
  let sha512 = EVP_MD_fetch(nil, "SHA512", nil)
  let aes256GCM = EVP_CIPHER_fetch(nil, "AES-256-GCM", nil)
  static let shared = Fetched()
}

/// The digest of `message`. Ends the process when OpenSSL has no such algorithm or no memory: nothing can be trusted then.
package func digest(_ algorithm: DigestAlgorithm, of message: borrowing Span<UInt8>) -> [UInt8] {
  [UInt8](unsafeUninitializedCapacity: algorithm.length) { out, used in
    let done = message.withUnsafeBufferPointer { input in
      EVP_Digest(input.baseAddress, input.count, out.baseAddress, nil, algorithm.handle, nil)
    }
    precondition(done == 1, "OpenSSL cannot compute a digest")
    used = algorithm.length
  }
}

/// HMAC (RFC 2104). Ends the process when OpenSSL fails, as `digest` does.
package func hmac(_ algorithm: DigestAlgorithm, key: borrowing Span<UInt8>, _ message: borrowing Span<UInt8>) -> [UInt8] {
  [UInt8](unsafeUninitializedCapacity: algorithm.length) { out, used in
    let done = key.withUnsafeBufferPointer { key in
      message.withUnsafeBufferPointer { message in
        intercom_hmac(algorithm.handle, key.baseAddress, CInt(clamping: key.count), message.baseAddress, message.count, out.baseAddress)
      }
    }
    precondition(done == 1, "OpenSSL cannot compute an HMAC")
    used = algorithm.length
  }
}

/// HKDF with SHA-256 (RFC 5869). Fails for more than 255 · 32 bytes.
package func hkdfSHA256(key: [UInt8], salt: [UInt8], info: [UInt8], count: Int) throws(OpenSSLError) -> [UInt8] {
  var out = [UInt8](repeating: 0, count: max(0, count))
  guard intercom_hkdf_sha256(key, key.count, salt, salt.count, info, info.count, &out, out.count) == 1 else { throw OpenSSLError("HKDF") }
  return out
}

/// Compares in a time that depends on the lengths only.
package func constantTimeEqual(_ left: borrowing Span<UInt8>, _ right: borrowing Span<UInt8>) -> Bool {
  guard left.count == right.count else { return false }
  guard left.count > 0 else { return true }
  return left.withUnsafeBufferPointer { left in
    right.withUnsafeBufferPointer { right in CRYPTO_memcmp(left.baseAddress, right.baseAddress, left.count) == 0 }
  }
}
