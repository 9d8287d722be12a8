import Cryptography
import IntercomCore
import Testing

func hex(_ text: String) -> [UInt8] {
  let digits = text.utf8.compactMap { UInt8(String(UnicodeScalar($0)), radix: 16) }
  return stride(from: 0, to: digits.count - 1, by: 2).map { digits[$0] << 4 | digits[$0 + 1] }
}

@Suite("Hashes and base64")
struct HashTests {
  @Test("SHA-2 gives the digests of FIPS 180-4 for \"abc\"")
  func sha2() {
    let abc = Array("abc".utf8)
    #expect(sha256(abc) == hex("ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"))
    let overSpan = sha256(abc.span)
    #expect(overSpan == sha256(abc))
    #expect(sha256([]) == hex("e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"))
    #expect(
      sha384(abc) == hex("cb00753f45a35e8bb5a03d699ac65007272c32ab0eded1631a8b605a43ff5bed8086072ba1e7cc2358baeca134c825a7"))
    #expect(
      sha512(abc)
        == hex(
          "ddaf35a193617abacc417349ae20413112e6fa4e89a97ea20a9eeee64b55d39a2192992a274fc1a836ba3c23a3feebbd454d4423643ce80e2a9ac94fa54ca49f"
        ))
  }

  @Test("HMAC-SHA256 gives the values of RFC 4231 §4.3 and, with an empty key, never reuses the key before")
  func hmacVectors() {
    #expect(
      hmacSHA256(key: Array("Jefe".utf8), Array("what do ya want for nothing?".utf8))
        == hex("5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843"))
    #expect(hmacSHA256(key: [], []) == hex("b613679a0814d9ec772f95d778c35fc5ff1697c493715653c6c712144292c5ad"))
    let key = Array("Jefe".utf8)
    let overSpan = hmacSHA256(key: key.span, key.span)
    #expect(overSpan == hmacSHA256(key: key, key))
  }

  @Test("HKDF gives the values of RFC 5869 A.1 and A.3, and refuses lengths it cannot give")
  func hkdfVectors() throws {
    let key = [UInt8](repeating: 0x0b, count: 22)
    #expect(
      try hkdfSHA256(key: key, salt: hex("000102030405060708090a0b0c"), info: hex("f0f1f2f3f4f5f6f7f8f9"), count: 42)
        == hex("3cb25f25faacd57a90434f64d0362f2a2d2d0a90cf1a5a4c5db02d56ecc4c5bf34007208d5b887185865"))
    #expect(
      try hkdfSHA256(key: key, info: [], count: 42)
        == hex("8da4e775a563c18f715f802a063c5a31b8a11f5c5ee1879ec3454e5f3c738d2d9d201395faa4b61a96c8"))
    #expect(throws: CryptographyError.outputTooLong) { try hkdfSHA256(key: key, info: [], count: 8161) }
    #expect(throws: CryptographyError.outputTooLong) { try hkdfSHA256(key: key, info: [], count: 0) }
  }

  @Test(
    "base64 has the vectors of RFC 4648 §10 in both alphabets",
    arguments: [
      ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="), ("foobar", "Zm9vYmFy"),
    ])
  func base64(plain: String, encoded: String) {
    #expect(Base64.encode(Array(plain.utf8)) == encoded)
    #expect(Base64.decode(encoded) == Array(plain.utf8))
    let bare = String(encoded.prefix { $0 != "=" })
    #expect(Base64URL.encode(Array(plain.utf8)) == bare)
    #expect(Base64URL.decode(bare) == Array(plain.utf8))
  }

  @Test(
    "base64url refuses a second spelling of the same bytes",
    arguments: ["Zg==", "Zg=", "Zh", "Zm9", "Z", "Zm9vY", "Zm9v\n", " Zm9v", "Zm+v", "Zm/v", "Zm9v\u{0}", "Zm9vé", "Zm9v="])
  func base64URLRefusals(text: String) { #expect(Base64URL.decode(text) == nil) }

  @Test(
    "base64 refuses wrong padding, left-over bits and the other alphabet",
    arguments: ["Zg", "Zg=", "Zh==", "Zm9=", "====", "=", "Z===", "Zg==Zg==", "Z=g=", "Zm-v", "Zm9v====", "Zm9v=\n=="])
  func base64Refusals(text: String) { #expect(Base64.decode(text) == nil) }

  @Test("base64url round-trips every byte value at every length")
  func base64RoundTrip() {
    for length in 0..<70 {
      let bytes = (0..<length).map { UInt8(truncatingIfNeeded: $0 &* 37 &+ length) }
      #expect(Base64URL.decode(Base64URL.encode(bytes)) == bytes)
      #expect(Base64.decode(Base64.encode(bytes)) == bytes)
    }
  }

  @Test("constant-time comparison sees a difference at any place and in length (S34)")
  func constantTime() {
    let bytes = Array("0123456789".utf8)
    #expect(constantTimeEqual(bytes, bytes))
    #expect(constantTimeEqual([UInt8](), []))
    for index in bytes.indices {
      var other = bytes
      other[index] ^= 1
      #expect(!constantTimeEqual(bytes, other))
    }
    #expect(!constantTimeEqual(bytes, Array(bytes.dropLast())))
    let shorter = Array(bytes.dropLast())
    let overSpan = constantTimeEqual(bytes.span, shorter.span)
    #expect(!overSpan)
  }
}

@Suite("AEAD and key ring")
struct KeyRingTests {
  let a = Secret([UInt8](repeating: 1, count: 32))
  let b = Secret([UInt8](repeating: 2, count: 48))
  let context = Array("session:1".utf8)

  @Test("AES-256-GCM gives test case 16 of the GCM specification")
  func gcmVector() throws {
    let key = hex("feffe9928665731c6d6a8f9467308308feffe9928665731c6d6a8f9467308308")
    let nonce = hex("cafebabefacedbaddecaf888")
    let plain = hex(
      "d9313225f88406e5a55909c5aff5269a86a7a9531534f7da2e4c303d8a318a721c3c0c95956809532fcf0e2449a6b525b16aedf5aa0de657ba637b39")
    let data = hex("feedfacedeadbeeffeedfacedeadbeefabaddad2")
    let sealed = try AEAD.seal(plain, key: key, nonce: nonce, associatedData: data)
    #expect(sealed.suffix(16) == hex("76fc6ece0f4e1768cddf8853bb2d551b")[...])
    #expect(sealed.prefix(4) == hex("522dc1f0")[...])
    #expect(AEAD.open(sealed, key: key, nonce: nonce, associatedData: data) == plain)
    #expect(throws: CryptographyError.wrongLength) { try AEAD.seal(plain, key: nonce, nonce: nonce, associatedData: data) }
    #expect(AEAD.open(sealed, key: [], nonce: nonce, associatedData: data) == nil)
    #expect(AEAD.open([1, 2, 3], key: key, nonce: nonce, associatedData: data) == nil)
  }

  @Test("what a ring seals it opens, an empty value too, and never twice the same bytes")
  func roundTrip() throws {
    let ring = try KeyRing([a])
    for plain in [[], [0], [UInt8](repeating: 7, count: 10_000)] {
      let sealed = try ring.seal(plain, context: context)
      #expect(sealed.count == plain.count + KeyRing.overhead)
      #expect(ring.open(sealed, context: context) == plain)
      #expect(try ring.seal(plain, context: context) != sealed)
    }
    let bare = try ring.seal([1], context: [])
    #expect(ring.open(bare, context: []) == [1])
  }

  @Test("rotation: a new key in front seals, the old one still opens until it is dropped")
  func rotation() throws {
    let old = try KeyRing([a])
    let both = try KeyRing([b, a])
    let new = try KeyRing([b])
    let before = try old.seal([1, 2, 3], context: context)
    let after = try both.seal([1, 2, 3], context: context)
    #expect(both.open(before, context: context) == [1, 2, 3])
    #expect(both.open(after, context: context) == [1, 2, 3])
    #expect(new.open(after, context: context) == [1, 2, 3])
    #expect(new.open(before, context: context) == nil)
    #expect(old.open(after, context: context) == nil)
  }

  @Test("any changed byte, any cut, another context: each is the same nil (S20)")
  func tampering() throws {
    let ring = try KeyRing([a, b])
    let sealed = try ring.seal(Array("secret".utf8), context: context)
    for index in sealed.indices {
      var changed = sealed
      changed[index] ^= 0x40
      #expect(ring.open(changed, context: context) == nil)
      #expect(ring.open(Array(sealed[..<index]), context: context) == nil)
    }
    #expect(ring.open(sealed + [0], context: context) == nil)
    #expect(ring.open(sealed, context: Array("session:2".utf8)) == nil)
    #expect(ring.open(sealed, context: []) == nil)
  }

  @Test("a ring needs keys of at least 32 bytes")
  func weakKeys() {
    #expect(throws: CryptographyError.noKeys) { try KeyRing([]) }
    #expect(throws: CryptographyError.keyTooShort) { try KeyRing([a, Secret([UInt8](repeating: 1, count: 31))]) }
  }

  @Test("subkeys are stable, differ by purpose and key, and are not the key")
  func subkeys() throws {
    let ring = try KeyRing([a, b])
    let again = try KeyRing([a])
    let csrf = try ring.subkeys("csrf").map { $0.reveal() }
    #expect(csrf.count == 2 && csrf[0] != csrf[1])
    #expect(try again.subkeys("csrf")[0].reveal() == csrf[0])
    #expect(try ring.subkey("other", of: ring.keys[0]).reveal() != csrf[0])
    #expect(csrf[0].count == 32 && csrf[0] != a.reveal())
    #expect(!"\(ring)".contains("1, 1, 1"))
  }
}
