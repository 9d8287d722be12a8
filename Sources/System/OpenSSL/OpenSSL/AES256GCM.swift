import COpenSSL

/// AES-256-GCM (NIST SP 800-38D) with a nonce of 12 bytes and a tag of 16 bytes behind the ciphertext.
package enum AES256GCM {
  package static let keyLength = 32
  package static let nonceLength = 12
  package static let tagLength = 16
  /// OpenSSL counts in C ints; nothing of Intercom comes near 1 GiB.
  package static let maximumLength = 1 << 30

  /// Ciphertext and tag. Fails for a key or nonce of another length, and beyond 1 GiB.
  package static func seal(key: [UInt8], nonce: [UInt8], _ plaintext: [UInt8], associatedData: [UInt8]) throws(OpenSSLError) -> [UInt8] {
    guard key.count == keyLength, nonce.count == nonceLength, plaintext.count <= maximumLength, associatedData.count <= maximumLength else {
      throw OpenSSLError("AES-256-GCM: wrong length")
    }
    guard let context = EVP_CIPHER_CTX_new() else { throw OpenSSLError("AES-256-GCM context") }
    defer { EVP_CIPHER_CTX_free(context) }
    var out = [UInt8](repeating: 0, count: plaintext.count + tagLength)
    let done = out.withUnsafeMutableBufferPointer { out -> Bool in
      guard let start = out.baseAddress else { return false }
      var written: CInt = 0
      return EVP_EncryptInit_ex2(context, Fetched.shared.aes256GCM, key, nonce, nil) == 1
        && EVP_EncryptUpdate(context, nil, &written, associatedData, CInt(associatedData.count)) == 1
        && EVP_EncryptUpdate(context, start, &written, plaintext, CInt(plaintext.count)) == 1
        && EVP_EncryptFinal_ex(context, start + plaintext.count, &written) == 1
        && EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_GET_TAG, CInt(tagLength), start + plaintext.count) == 1
    }
    guard done else { throw OpenSSLError("AES-256-GCM seal") }
    return out
  }

  /// The plaintext, or nil for every failure alike: wrong key, nonce, associated data, tag or length.
  package static func open(key: [UInt8], nonce: [UInt8], _ sealed: [UInt8], associatedData: [UInt8]) -> [UInt8]? {
    guard key.count == keyLength, nonce.count == nonceLength, sealed.count >= tagLength, sealed.count <= maximumLength,
      associatedData.count <= maximumLength, let context = EVP_CIPHER_CTX_new()
    else { return nil }
    defer {
      EVP_CIPHER_CTX_free(context)
      ERR_clear_error()
    }
    let length = sealed.count - tagLength
    var tag = Array(sealed[length...])
    var out = [UInt8](repeating: 0, count: length + tagLength)  // never empty, so that its address is never nil
    let done = out.withUnsafeMutableBufferPointer { out -> Bool in
      guard let start = out.baseAddress else { return false }
      var written: CInt = 0
      return EVP_DecryptInit_ex2(context, Fetched.shared.aes256GCM, key, nonce, nil) == 1
        && EVP_DecryptUpdate(context, nil, &written, associatedData, CInt(associatedData.count)) == 1
        && EVP_DecryptUpdate(context, start, &written, sealed, CInt(length)) == 1
        && EVP_CIPHER_CTX_ctrl(context, EVP_CTRL_AEAD_SET_TAG, CInt(tagLength), &tag) == 1
        && EVP_DecryptFinal_ex(context, start + length, &written) == 1
    }
    guard done else { return nil }
    out.removeLast(tagLength)
    return out
  }
}
