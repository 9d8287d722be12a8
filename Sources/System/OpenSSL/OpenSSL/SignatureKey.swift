import COpenSSL

/// The NIST curves of RFC 7518 §6.2.1.1.
package enum EllipticCurve: Sendable, CaseIterable {
  case p256, p384, p521

  /// Length of a coordinate, and of r and s, in bytes.
  package var coordinateLength: Int {
    switch self {
    case .p256: 32
    case .p384: 48
    case .p521: 66
    }
  }
}

/// How a signature is made: the key must fit.
package enum SignatureScheme: Sendable, Hashable {
  /// RSASSA-PKCS1-v1_5 ([RFC 8017 §8.2](https://www.rfc-editor.org/rfc/rfc8017#section-8.2)).
  case rsaPKCS1(DigestAlgorithm)
  /// RSASSA-PSS with MGF1 of the same hash and a salt as long as the digest
  /// ([RFC 7518 §3.5](https://www.rfc-editor.org/rfc/rfc7518#section-3.5)).
  case rsaPSS(DigestAlgorithm)
  /// ECDSA; the signature is r ‖ s of fixed length ([RFC 7518 §3.4](https://www.rfc-editor.org/rfc/rfc7518#section-3.4)).
  case ecdsa(EllipticCurve, DigestAlgorithm)
  /// Ed25519 ([RFC 8032](https://www.rfc-editor.org/rfc/rfc8032)).
  case ed25519

  var digest: OpaquePointer? {
    switch self {
    case .rsaPKCS1(let digest), .rsaPSS(let digest), .ecdsa(_, let digest): digest.handle
    case .ed25519: nil
    }
  }
}

/// A public key, or a key pair, for signatures.
///
/// `@unchecked Sendable`: an EVP_PKEY is counted by reference, is never changed after it was made, and OpenSSL allows signing and verifying
/// with one key from many threads.
package final class SignatureKey: @unchecked Sendable {
  package enum Kind: Sendable, Hashable {
    case rsa(bits: Int)
    case ec(EllipticCurve)
    case ed25519
  }

  /// The numbers of a public key, big-endian.
  package enum PublicNumbers: Sendable, Hashable {
    case rsa(n: [UInt8], e: [UInt8])
    case ec(EllipticCurve, x: [UInt8], y: [UInt8])
    case ed25519(x: [UInt8])
  }

  private let key: OpaquePointer
  package let kind: Kind
  package let canSign: Bool

  private init(owning key: OpaquePointer, _ kind: Kind, canSign: Bool) {
    self.key = key
    self.kind = kind
    self.canSign = canSign
  }

  deinit { EVP_PKEY_free(key) }

  /// A new key pair. RSA of 2048 to 8192 bits.
  package static func generate(_ kind: Kind) throws(OpenSSLError) -> SignatureKey {
    let made: OpaquePointer?
    switch kind {
    case .rsa(let bits): made = (2048...8192).contains(bits) ? intercom_rsa_generate(CUnsignedInt(bits)) : nil
    case .ec(let curve): made = intercom_ec_generate(CInt(curve.coordinateLength))
    case .ed25519: made = intercom_ed25519_generate()
    }
    guard let made else { throw OpenSSLError("key generation") }
    return SignatureKey(owning: made, kind, canSign: true)
  }

  /// A public key from its numbers. Refused: RSA outside 2048 to 8192 bits, an even modulus, an exponent that is even, below 3 or above 64
  /// bits; coordinates of another length than the curve's; points that are not on the curve.
  package convenience init(public numbers: PublicNumbers) throws(OpenSSLError) {
    let made: OpaquePointer?
    var kind = Kind.ed25519
    switch numbers {
    case .rsa(let n, let e):
      let n = Array(n.drop { $0 == 0 })
      let e = Array(e.drop { $0 == 0 })
      let bits = n.count * 8 - (n.first?.leadingZeroBitCount ?? 0)
      guard (2048...8192).contains(bits), let last = n.last, last & 1 == 1, e.count <= 8, let low = e.last, low & 1 == 1, e != [1] else {
        throw OpenSSLError("RSA key out of range")
      }
      kind = .rsa(bits: bits)
      made = intercom_rsa_public(n, n.count, e, e.count)
    case .ec(let curve, let x, let y):
      guard x.count == curve.coordinateLength, y.count == curve.coordinateLength else {
        throw OpenSSLError("EC coordinate of wrong length")
      }
      kind = .ec(curve)
      let point = [4] + x + y  // SEC 1 §2.3.3, not compressed
      made = intercom_ec_public(CInt(curve.coordinateLength), point, point.count)
    case .ed25519(let x):
      guard x.count == 32 else { throw OpenSSLError("Ed25519 key of wrong length") }
      made = EVP_PKEY_new_raw_public_key(EVP_PKEY_ED25519, nil, x, x.count)
    }
    guard let made else { throw OpenSSLError("public key") }
    self.init(owning: made, kind, canSign: false)
  }

  /// An Ed25519 key pair from its 32 secret bytes (RFC 8032 §5.1.5).
  package convenience init(ed25519Secret secret: [UInt8]) throws(OpenSSLError) {
    guard secret.count == 32, let made = EVP_PKEY_new_raw_private_key(EVP_PKEY_ED25519, nil, secret, secret.count) else {
      throw OpenSSLError("Ed25519 secret")
    }
    self.init(owning: made, .ed25519, canSign: true)
  }

  /// The numbers of the public half.
  package func publicNumbers() throws(OpenSSLError) -> PublicNumbers {
    switch kind {
    case .rsa(let bits):
      let n = try number(length: (bits + 7) / 8, intercom_rsa_n)
      let e = try number(length: 8, intercom_rsa_e)
      return .rsa(n: n, e: Array(e.drop { $0 == 0 }))
    case .ec(let curve):
      let length = curve.coordinateLength
      return .ec(curve, x: try number(length: length, intercom_ec_x), y: try number(length: length, intercom_ec_y))
    case .ed25519:
      var out = [UInt8](repeating: 0, count: 32)
      var length = out.count
      guard EVP_PKEY_get_raw_public_key(key, &out, &length) == 1, length == 32 else { throw OpenSSLError("Ed25519 public key") }
      return .ed25519(x: out)
    }
  }

  private func number(
    length: Int, _ read: (OpaquePointer?, UnsafeMutablePointer<UInt8>?, CInt) -> CInt
  ) throws(OpenSSLError) -> [UInt8] {
    var out = [UInt8](repeating: 0, count: length)
    guard read(key, &out, CInt(length)) == 1 else { throw OpenSSLError("number of a key") }
    return out
  }

  /// The scheme belongs to this kind of key.
  package func fits(_ scheme: SignatureScheme) -> Bool {
    switch (kind, scheme) {
    case (.rsa, .rsaPKCS1), (.rsa, .rsaPSS), (.ed25519, .ed25519): true
    case (.ec(let own), .ecdsa(let asked, _)): own == asked
    default: false
    }
  }

  /// True only for a valid signature; a malformed one, or a scheme that does not fit the key, is false.
  package func verify(_ scheme: SignatureScheme, _ message: [UInt8], signature: [UInt8]) -> Bool {
    guard fits(scheme) else { return false }
    var signature = signature
    if case .ecdsa(let curve, _) = scheme {
      guard let der = Self.der(signature, curve) else { return false }
      signature = der
    }
    ERR_clear_error()
    guard let context = EVP_MD_CTX_new() else { return false }
    defer {
      EVP_MD_CTX_free(context)
      ERR_clear_error()
    }
    var keyContext: OpaquePointer?
    guard EVP_DigestVerifyInit(context, &keyContext, scheme.digest, nil, key) == 1, Self.configure(keyContext, scheme) else { return false }
    // 0 is a wrong signature, below 0 a malformed one: only 1 is success.
    return EVP_DigestVerify(context, signature, signature.count, message, message.count) == 1
  }

  /// A signature. Fails without a private key or when the scheme does not fit.
  package func sign(_ scheme: SignatureScheme, _ message: [UInt8]) throws(OpenSSLError) -> [UInt8] {
    guard canSign, fits(scheme), let context = EVP_MD_CTX_new() else { throw OpenSSLError("the key cannot sign so") }
    defer { EVP_MD_CTX_free(context) }
    var keyContext: OpaquePointer?
    guard EVP_DigestSignInit(context, &keyContext, scheme.digest, nil, key) == 1, Self.configure(keyContext, scheme) else {
      throw OpenSSLError("sign")
    }
    var length = Int(EVP_PKEY_get_size(key))
    var out = [UInt8](repeating: 0, count: length)
    guard EVP_DigestSign(context, &out, &length, message, message.count) == 1, length <= out.count else { throw OpenSSLError("sign") }
    out.removeLast(out.count - length)
    guard case .ecdsa(let curve, _) = scheme else { return out }
    var raw = [UInt8](repeating: 0, count: 2 * curve.coordinateLength)
    guard intercom_ecdsa_from_der(out, out.count, CInt(curve.coordinateLength), &raw) == raw.count else { throw OpenSSLError("sign") }
    return raw
  }

  private static func configure(_ context: OpaquePointer?, _ scheme: SignatureScheme) -> Bool {
    guard case .rsaPSS = scheme else { return true }
    return EVP_PKEY_CTX_set_rsa_padding(context, RSA_PKCS1_PSS_PADDING) == 1
      && EVP_PKEY_CTX_set_rsa_pss_saltlen(context, RSA_PSS_SALTLEN_DIGEST) == 1
  }

  /// r ‖ s as DER; nil for another length and for r = 0 or s = 0.
  private static func der(_ raw: [UInt8], _ curve: EllipticCurve) -> [UInt8]? {
    guard raw.count == 2 * curve.coordinateLength else { return nil }
    var out = [UInt8](repeating: 0, count: raw.count + 16)
    let length = Int(intercom_ecdsa_to_der(raw, CInt(curve.coordinateLength), &out, CInt(out.count)))
    guard length > 0, length <= out.count else { return nil }
    return Array(out[..<length])
  }
}
