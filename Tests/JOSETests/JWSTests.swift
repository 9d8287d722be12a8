import Cryptography
import IntercomCore
import JOSE
import OpenSSL
import StrictJSON
import Testing

func keySet(_ members: String...) throws -> JSONWebKeySet {
  try JSONWebKeySet.parse(Array(#"{"keys":[\#(members.joined(separator: ","))]}"#.utf8))
}

@Suite("Tokens of other implementations")
struct JWSVectorTests {
  @Test("the tokens of RFC 7515 A.2 and A.3 verify under the RFC's keys, and not under each other's")
  func rfc7515() throws {
    let rsa = try keySet(Vectors.rfc7515RSAKey)
    let ec = try keySet(Vectors.rfc7515ECKey)
    let rs256 = try UnverifiedJWS.parse(Vectors.rfc7515RS256)
    let es256 = try UnverifiedJWS.parse(Vectors.rfc7515ES256)
    let verified = try rsa.verify(rs256)
    #expect(verified.algorithm == .rs256)
    #expect(verified.claims["iss"]?.identifier == "joe" && verified.claims["exp"]?.int64 == 1_300_819_380)
    #expect(try ec.verify(es256).claims["http://example.com/is_root"] == true)
    #expect(throws: JOSEError.unknownKey) { try rsa.verify(es256) }
    #expect(throws: JOSEError.unknownKey) { try ec.verify(rs256) }
  }

  @Test("the Ed25519 example of RFC 8037 is reproduced bit by bit")
  func rfc8037() throws {
    let secret = try #require(Base64URL.decode(Vectors.rfc8037Secret))
    let key = try SigningKey(ed25519Secret: Secret(secret), keyID: "ed")
    #expect(key.publicJWK["x"]?.string == Vectors.rfc8037Public)
    let token = try key.sign(payload: Array("Example of Ed25519 signing".utf8), header: ["kid": .null, "typ": .null])
    #expect(token == Vectors.rfc8037Token)
    // Signed, but no JSON object: not a token that anything here may use.
    let keys = try JSONWebKeySet.parse(JSONWebKeySet.document([key]))
    #expect(throws: JOSEError.badPayload) { try keys.verify(UnverifiedJWS.parse(token)) }
  }

  @Test("a token of every algorithm, signed by Java, verifies; with one bit changed it does not", arguments: Algorithm.allCases)
  func java(algorithm: Algorithm) throws {
    let keys = try JSONWebKeySet.parse(Array(Vectors.javaKeys.utf8))
    #expect(keys.keys.count == 5 && keys.skipped.isEmpty)
    let token = try #require(Vectors.javaTokens[algorithm.rawValue])
    let parsed = try UnverifiedJWS.parse(token)
    #expect(try keys.verify(parsed).claims["iss"]?.identifier == "joe")
    #expect(throws: JOSEError.algorithmNotAllowed) { try keys.verify(parsed, allowed: Algorithm.all.subtracting([algorithm])) }

    let parts = token.split(separator: ".").map { Array($0.utf8) }
    for part in [1, 2] {
      var bytes = try #require(Base64URL.decode(parts[part]))
      bytes[bytes.count / 2] ^= 1
      var changed = parts
      changed[part] = Base64URL.encodedBytes(bytes)
      let forged = try UnverifiedJWS.parse(Array(changed.joined(separator: [UInt8(ascii: ".")])))
      #expect(throws: JOSEError.badSignature) { try keys.verify(forged) }
    }
  }

  @Test("a PSS signature with another salt length than the digest's is refused")
  func saltLength() throws {
    let keys = try JSONWebKeySet.parse(Array(Vectors.javaKeys.utf8))
    let token = try #require(Vectors.javaTokens["PS256salt20"])
    #expect(throws: JOSEError.badSignature) { try keys.verify(UnverifiedJWS.parse(token)) }
  }

  @Test("what Intercom signs it verifies, with the fields it put into the header", arguments: Algorithm.allCases)
  func roundTrip(algorithm: Algorithm) throws {
    let key = try SigningKey.generate(algorithm, keyID: "k1")
    let keys = try JSONWebKeySet.parse(JSONWebKeySet.document([key]))
    let token = try key.sign(["sub": "e\u{301}", "exp": 5], type: "logout+jwt", header: ["extra": true, "alg": "none"])
    let verified = try keys.verify(UnverifiedJWS.parse(token))
    #expect(verified.keyID == "k1" && verified.hasType("logout+jwt") && !verified.hasType("JWT"))
    #expect(verified.header["extra"] == true && verified.header["alg"]?.string == algorithm.rawValue)
    #expect(verified.claims["sub"]?.identifier == "e\u{301}" && verified.claims["sub"]?.identifier != "\u{e9}")
  }

  @Test("typ is compared as a media type")
  func types() throws {
    let key = try SigningKey.generate(.es256, keyID: "k")
    let keys = try JSONWebKeySet.parse(JSONWebKeySet.document([key]))
    for (type, matches) in [("at+jwt", true), ("application/AT+JWT", true), ("at+jwt ", false), ("jwt", false)] {
      #expect(try keys.verify(UnverifiedJWS.parse(key.sign([:], type: type))).hasType("at+jwt") == matches)
    }
  }

  @Test("at_hash is the left half of the algorithm's hash (OpenID Connect Core A.3)")
  func leftHalfHash() {
    #expect(Algorithm.rs256.leftHalfHash(of: Array("jHkWEdUXMU1BwAsC4vtUsZwnNvTIxEl0z9K3vx5KF0Y".utf8)) == "77QmUPtjPfzWtF2AnpK9RQ")
  }
}

@Suite("Forged tokens (S13)")
struct JWSForgeryTests {
  /// Made once: an RSA key costs a tenth of a second and more.
  private static let made = Result {
    (rsa: try SigningKey.generate(.rs256, keyID: "rsa"), ec: try SigningKey.generate(.es256, keyID: "ec"))
  }
  let rsa: SigningKey
  let ec: SigningKey
  let keys: JSONWebKeySet

  init() throws {
    (rsa, ec) = try Self.made.get()
    keys = try JSONWebKeySet.parse(JSONWebKeySet.document([rsa, ec]))
  }

  private func forge(_ header: String, _ payload: String = #"{"sub":"alice"}"#, signature: [UInt8] = [1, 2, 3]) -> String {
    [Array(header.utf8), Array(payload.utf8), signature].map { Base64URL.encode($0) }.joined(separator: ".")
  }

  @Test(
    "alg none in any spelling, with or without a signature, never verifies",
    arguments: ["none", "None", "NONE", "nOnE", "", "none\\u0000", "rs256", "RS256 ", "HS256", "HS384", "HS512", "RSA1_5", "dir"])
  func algorithmNone(name: String) throws {
    for signature in [[], [UInt8](repeating: 0, count: 64)] {
      let token = try UnverifiedJWS.parse(forge(#"{"alg":"\#(name)","kid":"rsa"}"#, signature: signature))
      #expect(throws: JOSEError.unsupportedAlgorithm) { try keys.verify(token) }
    }
  }

  @Test("algorithm confusion: HS256 with the public key as the secret is refused")
  func publicKeyAsSecret() throws {
    let header: JSONObject = ["alg": "HS256", "kid": "rsa"]
    let input = CompactJWS.signingInput(header: header, payload: Array(#"{"sub":"alice"}"#.utf8))
    for secret in [rsa.publicJWK.serialized, Array((rsa.publicJWK["n"]?.string ?? "").utf8)] {
      let token = CompactJWS.join(input, signature: hmacSHA256(key: secret, input))
      #expect(throws: JOSEError.unsupportedAlgorithm) { try keys.verify(UnverifiedJWS.parse(token)) }
    }
  }

  @Test("an alg that the key was not loaded for is refused, also when the mathematics would work")
  func swappedAlgorithm() throws {
    // The same RSA key, published for RS256 only, must not verify a PS256 or RS512 signature.
    for name in ["PS256", "RS512", "ES256"] {
      let token = try UnverifiedJWS.parse(forge(#"{"alg":"\#(name)","kid":"rsa"}"#))
      #expect(throws: JOSEError.keyDoesNotFit) { try keys.verify(token) }
    }
    let pss = try UnverifiedJWS.parse(try #require(Vectors.javaTokens["PS256"]))
    let java = try StrictJSON.object(Array(Vectors.javaKeys.utf8))
    var key = try #require(java["keys"]?.array?.first?.object)
    key["alg"] = "RS256"
    let bound = try JSONWebKeySet.parse(JSONValue.object(["keys": [.object(key)]]).serialized)
    #expect(throws: JOSEError.unknownKey) { try bound.verify(pss) }
  }

  @Test(
    "a kid that is a path, a query or another spelling finds no key",
    arguments: ["../../rsa", "/etc/passwd", "rsa' OR '1'='1", "RSA", "rsa ", "rsa\\u0000", "rsa\\u0000.pem", "", "r\\u0073a2"])
  func hostileKeyID(kid: String) throws {
    let token = try UnverifiedJWS.parse(forge(#"{"alg":"RS256","kid":"\#(kid)"}"#))
    #expect(throws: JOSEError.unknownKey) { try keys.verify(token) }
  }

  @Test("a key that the token brings along (jwk, jku, x5u, x5c) is not used")
  func embeddedKey() throws {
    let attacker = try SigningKey.generate(.es256, keyID: "ec")
    let extra: JSONObject = [
      "jwk": .object(attacker.publicJWK), "jku": "https://evil.example/jwks", "x5u": "https://evil.example/x", "x5c": ["AAAA"],
    ]
    let token = try attacker.sign(["sub": "alice"], header: extra)
    #expect(throws: JOSEError.badSignature) { try keys.verify(UnverifiedJWS.parse(token)) }
    let honest = try ec.sign(["sub": "alice"], header: extra)
    #expect(try keys.verify(UnverifiedJWS.parse(honest)).claims["sub"] == "alice")
  }

  @Test("without a kid two fitting keys are ambiguous and one is enough")
  func withoutKeyID() throws {
    let token = try UnverifiedJWS.parse(ec.sign(["sub": "alice"], header: ["kid": .null]))
    #expect(try keys.verify(token).keyID == nil)
    let second = try SigningKey.generate(.es256, keyID: "ec2")
    let both = try JSONWebKeySet.parse(JSONWebKeySet.document([ec, second]))
    #expect(throws: JOSEError.ambiguousKey) { try both.verify(token) }
    let none = try JSONWebKeySet.parse(JSONWebKeySet.document([rsa]))
    #expect(throws: JOSEError.unknownKey) { try none.verify(token) }
  }

  @Test(
    "a text that is not exactly three parts of canonical base64url with a strict JSON header is malformed",
    arguments: [
      "", ".", "..", "a.b", "e30.e30", "e30.e30.e30.e30", "e30.e30.e30.e30.e30", "eyJhbGciOiJSUzI1NiJ9.e30.AA==",
      "eyJhbGciOiJSUzI1NiJ9.e30.AB", "eyJhbGciOiJSUzI1NiJ9 .e30.AA", "eyJhbGciOiJSUzI1NiJ9.e30.A+", "eyJhbGciOiJSUzI1NiJ9.e30.AA\n",
      "eyJhbGciOiJSUzI1NiJ9.e30.AA\u{0}", "\u{0}eyJhbGciOiJSUzI1NiJ9.e30.AA", ".e30.AA", "W10.e30.AA", "bnVsbA.e30.AA", "e30.e30.AA",
    ])
  func malformed(text: String) {
    #expect { try UnverifiedJWS.parse(text) } throws: { if case .malformed = $0 as? JOSEError { true } else { false } }
  }

  @Test(
    "a header that two readers could read differently, or of wrong types, is malformed",
    arguments: [
      #"{"alg":"RS256","alg":"none"}"#, #"{"alg":"RS256","\u0061lg":"none"}"#, #"{"alg":"RS256","kid":"a","kid":"b"}"#,
      #"{"alg":"RS256",}"#, "\u{feff}{\"alg\":\"RS256\"}", #"{"alg":"RS256"}x"#, #"{"alg":["RS256"]}"#, #"{"alg":null}"#,
      #"{"alg":"RS256","kid":7}"#, #"{"alg":"RS256","typ":{}}"#, #"{"kid":"rsa"}"#, #"{"ALG":"RS256"}"#,
    ])
  func ambiguousHeader(header: String) {
    #expect { try UnverifiedJWS.parse(forge(header)) } throws: { if case .malformed = $0 as? JOSEError { true } else { false } }
  }

  @Test("crit and b64 are refused whatever they hold")
  func critical() {
    for header in [
      #"{"alg":"RS256","crit":["exp"]}"#, #"{"alg":"RS256","crit":[]}"#, #"{"alg":"RS256","b64":false}"#, #"{"alg":"RS256","b64":true}"#,
      #"{"alg":"RS256","crit":null}"#,
    ] { #expect(throws: JOSEError.criticalHeader) { try UnverifiedJWS.parse(forge(header)) } }
  }

  @Test("ECDSA signatures of r = 0, s = 0, another length, DER form, or with trailing bytes are refused")
  func ellipticSignatures() throws {
    let token = try ec.sign(["sub": "alice"])
    let parts = token.split(separator: ".").map(String.init)
    let good = try #require(Base64URL.decode(parts[2]))
    let zero = [UInt8](repeating: 0, count: 32)
    let r = Array(good[..<32])
    let s = Array(good[32...])
    let der = [UInt8](arrayLiteral: 0x30, 0x44, 2, 32) + r + [2, 32] + s
    let order = hex("ffffffff00000000ffffffffffffffffbce6faada7179e84f3b9cac2fc632551")
    for signature in [
      zero + s, r + zero, zero + zero, good + [0], Array(good.dropLast()), [], der, [0] + r + [0] + s, order + s, r + order, r + r,
      [UInt8](repeating: 0xff, count: 64), good + good,
    ] {
      let forged = [parts[0], parts[1], Base64URL.encode(signature)].joined(separator: ".")
      #expect(throws: JOSEError.badSignature) { try keys.verify(UnverifiedJWS.parse(forged)) }
    }
    #expect(try keys.verify(UnverifiedJWS.parse(token)).claims["sub"] == "alice")
  }

  @Test("RSA and Ed25519 signatures that are empty, cut or prolonged are refused")
  func signatureLengths() throws {
    let ed = try SigningKey.generate(.edDSA, keyID: "ed")
    let all = try JSONWebKeySet.parse(JSONWebKeySet.document([rsa, ed]))
    for key in [rsa, ed] {
      let parts = try key.sign(["sub": "alice"]).split(separator: ".").map(String.init)
      let good = try #require(Base64URL.decode(parts[2]))
      for signature in [[], Array(good.dropLast()), good + [0], [0] + good, [UInt8](repeating: 0, count: good.count)] {
        let forged = [parts[0], parts[1], Base64URL.encode(signature)].joined(separator: ".")
        #expect(throws: JOSEError.badSignature) { try all.verify(UnverifiedJWS.parse(forged)) }
      }
    }
  }

  @Test("a signed payload with duplicate keys, or that is no object, is not read")
  func payloads() throws {
    for payload in [#"{"sub":"alice","sub":"bob"}"#, "[]", "", "null", #"{"sub":"alice"}{}"#] {
      let token = try ec.sign(payload: Array(payload.utf8))
      #expect(throws: JOSEError.badPayload) { try keys.verify(UnverifiedJWS.parse(token)) }
    }
  }

  @Test("a token beyond the limit is not taken apart")
  func size() throws {
    let token = try ec.sign(["sub": "alice"])
    #expect(throws: JOSEError.tooLarge) { try UnverifiedJWS.parse(token, limit: token.utf8.count - 1) }
    _ = try UnverifiedJWS.parse(token, limit: token.utf8.count)
  }
}

@Suite("Random input (S24)")
struct JOSEMutationTests {
  /// Repeatable, so that a finding can be looked at.
  private struct Generator {
    var state: UInt64 = 0x2545_f491_4f6c_dd1d
    mutating func next(below bound: Int) -> Int {
      state ^= state << 13
      state ^= state >> 7
      state ^= state << 17
      return Int(state % UInt64(bound))
    }
  }

  private func mutate(_ bytes: [UInt8], _ random: inout Generator) -> [UInt8] {
    var bytes = bytes
    for _ in 0...random.next(below: 3) where !bytes.isEmpty {
      let index = random.next(below: bytes.count)
      switch random.next(below: 4) {
      case 0: bytes[index] = UInt8(random.next(below: 256))
      case 1: bytes.remove(at: index)
      case 2: bytes.insert(bytes[random.next(below: bytes.count)], at: index)
      default: bytes.removeSubrange(index..<min(bytes.count, index + random.next(below: 20)))
      }
    }
    return bytes
  }

  @Test("no mutated token traps, and none but the original verifies")
  func tokens() throws {
    let keys = try JSONWebKeySet.parse(Array(Vectors.javaKeys.utf8))
    var random = Generator()
    for name in ["ES256", "EdDSA", "PS256"] {
      let original = Array(try #require(Vectors.javaTokens[name]).utf8)
      for _ in 0..<1_500 {
        let changed = mutate(original, &random)
        guard changed != original, let token = try? UnverifiedJWS.parse(changed) else { continue }
        #expect((try? keys.verify(token)) == nil)
      }
    }
  }

  @Test("no mutated key set traps, and every key of it is used or named as skipped")
  func keySets() {
    var random = Generator()
    let original = Array(Vectors.javaKeys.utf8)
    for _ in 0..<1_500 {
      guard let set = try? JSONWebKeySet.parse(mutate(original, &random)) else { continue }
      #expect(set.keys.count + set.skipped.count <= 5)
    }
  }
}
