import OpenSSL

/// What a server of WebSocket proves that it has read the client's key by: base64 of the SHA-1 of the key and a fixed text
/// ([RFC 6455 §4.2.2](https://www.rfc-editor.org/rfc/rfc6455#section-4.2.2)). No secret is protected by it.
package func webSocketAccept(key: [UInt8]) -> [UInt8] {
  let text = key + Array("258EAFA5-E914-47DA-95CA-C5AB0DC85B11".utf8)
  return Array(Base64.encode(digest(.sha1, of: text.span)).utf8)
}

/// SHA-256 (FIPS 180-4): 32 bytes.
package func sha256(_ message: [UInt8]) -> [UInt8] { digest(.sha256, of: message.span) }
/// SHA-256 (FIPS 180-4): 32 bytes.
package func sha256(_ message: borrowing Span<UInt8>) -> [UInt8] { digest(.sha256, of: message) }
/// SHA-384 (FIPS 180-4): 48 bytes.
package func sha384(_ message: [UInt8]) -> [UInt8] { digest(.sha384, of: message.span) }
/// SHA-384 (FIPS 180-4): 48 bytes.
package func sha384(_ message: borrowing Span<UInt8>) -> [UInt8] { digest(.sha384, of: message) }
/// SHA-512 (FIPS 180-4): 64 bytes.
package func sha512(_ message: [UInt8]) -> [UInt8] { digest(.sha512, of: message.span) }
/// SHA-512 (FIPS 180-4): 64 bytes.
package func sha512(_ message: borrowing Span<UInt8>) -> [UInt8] { digest(.sha512, of: message) }

/// HMAC-SHA256 (RFC 2104): 32 bytes. An empty key is legal for HMAC, so keys are measured where they come from.
package func hmacSHA256(key: [UInt8], _ message: [UInt8]) -> [UInt8] { hmac(.sha256, key: key.span, message.span) }
/// HMAC-SHA256 (RFC 2104): 32 bytes.
package func hmacSHA256(key: borrowing Span<UInt8>, _ message: borrowing Span<UInt8>) -> [UInt8] { hmac(.sha256, key: key, message) }

/// HKDF with SHA-256, extract and expand ([RFC 5869 §2](https://www.rfc-editor.org/rfc/rfc5869#section-2)).
///
/// Throws `outputTooLong` for more than 8,160 bytes.
package func hkdfSHA256(key: [UInt8], salt: [UInt8] = [], info: [UInt8], count: Int = 32) throws(CryptographyError) -> [UInt8] {
  guard count > 0, count <= 255 * 32 else { throw .outputTooLong }
  do { return try OpenSSL.hkdfSHA256(key: key, salt: salt, info: info, count: count) } catch { throw .library(error.description) }
}

/// Compares secrets, hashes, tokens and cookies: the time depends on the lengths only, never on where they differ.
package func constantTimeEqual(_ left: [UInt8], _ right: [UInt8]) -> Bool { OpenSSL.constantTimeEqual(left.span, right.span) }
/// Compares in a time that depends on the lengths only.
package func constantTimeEqual(_ left: borrowing Span<UInt8>, _ right: borrowing Span<UInt8>) -> Bool {
  OpenSSL.constantTimeEqual(left, right)
}
