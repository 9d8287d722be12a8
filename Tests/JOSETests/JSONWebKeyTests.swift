import Cryptography
import IntercomCore
import JOSE
import StrictJSON
import Testing

@Suite("JWK Sets")
struct JSONWebKeyTests {
  let rsa: JSONObject
  let ec: JSONObject
  let okp: JSONObject

  init() throws {
    let keys = try StrictJSON.object(Array(Vectors.javaKeys.utf8))["keys"]?.array ?? []
    rsa = try #require(keys.first?.object)
    ec = try #require(keys.dropFirst().first?.object)
    okp = try #require(keys.last?.object)
  }

  private func refusal(_ jwk: JSONObject, allowed: Set<Algorithm> = Algorithm.all) -> JSONWebKey.Refusal? {
    do throws(JSONWebKey.Refusal) {
      _ = try JSONWebKey(.object(jwk), allowed: allowed)
      return nil
    } catch { return error }
  }

  private func changed(_ jwk: JSONObject, _ members: JSONObject) -> JSONObject {
    var jwk = jwk
    for member in members.members { jwk[member.key] = member.value.isNull ? nil : member.value }
    return jwk
  }

  @Test("the algorithms of a key are settled when it is loaded")
  func algorithms() throws {
    #expect(try JSONWebKey(.object(rsa), allowed: Algorithm.all).algorithms == [.rs256, .rs384, .rs512, .ps256, .ps384, .ps512])
    #expect(try JSONWebKey(.object(rsa), allowed: [.rs256, .es256]).algorithms == [.rs256])
    #expect(try JSONWebKey(.object(changed(rsa, ["alg": "PS384"])), allowed: Algorithm.all).algorithms == [.ps384])
    #expect(try JSONWebKey(.object(ec), allowed: Algorithm.all).algorithms == [.es256])
    #expect(try JSONWebKey(.object(okp), allowed: Algorithm.all).algorithms == [.edDSA])
    #expect(refusal(ec, allowed: [.rs256]) == .algorithmNotAllowed)
    for name: JSONValue in ["ES256", "HS256", "none", "RSA-OAEP", "rs256", ""] {
      #expect(refusal(changed(rsa, ["alg": name])) == .unsupportedAlgorithm)
    }
    #expect(refusal(changed(ec, ["alg": "ES384"])) == .unsupportedAlgorithm)
  }

  @Test("a key that is for encryption is not used for signatures")
  func use() {
    #expect(refusal(changed(rsa, ["use": "sig", "key_ops": ["verify"]])) == nil)
    #expect(refusal(changed(rsa, ["use": "enc"])) == .notForSignatures)
    #expect(refusal(changed(rsa, ["use": "SIG"])) == .notForSignatures)
    #expect(refusal(changed(rsa, ["key_ops": ["encrypt", "wrapKey"]])) == .notForSignatures)
    #expect(refusal(changed(rsa, ["key_ops": []])) == .notForSignatures)
    #expect(refusal(changed(rsa, ["key_ops": ["sign"]])) == .notForSignatures)
    #expect(refusal(changed(rsa, ["use": "sig", "key_ops": ["encrypt"]])) == .notForSignatures)
  }

  @Test("symmetric keys, unknown types and unknown curves are not used")
  func types() {
    #expect(refusal(["kty": "oct", "k": "AAAA"]) == .unsupportedType)
    #expect(refusal(changed(ec, ["crv": "secp256k1"])) == .unsupportedType)
    #expect(refusal(changed(okp, ["crv": "X25519"])) == .unsupportedType)
    #expect(refusal(changed(okp, ["kty": "EC"])) == .unsupportedType)
    #expect(refusal(changed(rsa, ["kty": .null])) == .unsupportedType)
    #expect(refusal([:]) == .unsupportedType)
  }

  @Test("members of the wrong JSON type lose the key")
  func memberTypes() {
    for jwk in [
      changed(rsa, ["kid": 1]), changed(rsa, ["use": ["sig"]]), changed(rsa, ["alg": 5]), changed(rsa, ["key_ops": "verify"]),
    ] { #expect(refusal(jwk) == .badMember) }
    #expect(throws: JSONWebKey.Refusal.notAnObject) { try JSONWebKey("key", allowed: Algorithm.all) }
  }

  @Test("numbers out of range are refused: short and huge moduli, even ones, exponents 1, even and long")
  func rsaNumbers() throws {
    func modulus(_ bits: Int, last: UInt8 = 0xff) -> JSONValue {
      var bytes = [UInt8](repeating: 0xff, count: bits / 8)
      bytes[bytes.count - 1] = last
      return .string(Base64URL.encode(bytes))
    }
    for members: JSONObject in [
      ["n": modulus(1024)], ["n": modulus(2040)], ["n": modulus(8200)], ["n": modulus(2048, last: 0xfe)], ["n": ""], ["n": .null], ["n": 5],
      ["e": ""], ["e": "AQ"], ["e": "Ag"], ["e": "AAAA"], ["e": "AQAA"], ["e": "AQAAAAAAAAAB"], ["e": .null], ["n": "====", "e": "AQAB"],
    ] { #expect(refusal(changed(rsa, members)) == .badNumbers, "\(members)") }
    // A leading zero octet is a known flaw of some providers (RFC 7518 §6.3.1.1) and does no harm: the length is counted without it.
    let n = try #require(Base64URL.decode(rsa["n"]?.string ?? ""))
    #expect(refusal(changed(rsa, ["n": .string(Base64URL.encode([0] + n))])) == nil)
  }

  @Test("points that are not on the curve, infinity, and coordinates of another length are refused")
  func points() throws {
    let x = try #require(Base64URL.decode(ec["x"]?.string ?? ""))
    var other = x
    other[31] ^= 1
    let zero = [UInt8](repeating: 0, count: 32)
    for (member, bytes) in [("x", other), ("y", x), ("x", zero), ("x", [0] + x), ("x", Array(x.dropLast())), ("x", [])] {
      #expect(refusal(changed(ec, [Identifier(member): .string(Base64URL.encode(bytes))])) == .badNumbers)
    }
    #expect(refusal(changed(ec, ["x": .string(Base64URL.encode(zero)), "y": .string(Base64URL.encode(zero))])) == .badNumbers)
    #expect(refusal(changed(ec, ["crv": "P-384"])) == .badNumbers)
    #expect(refusal(changed(okp, ["x": "AAAA"])) == .badNumbers)
  }

  @Test("a published private key is not trusted")
  func privateKey() { #expect(refusal(changed(ec, ["d": "jpsQnnGQmL-YBIffH1136cspYG6-0iY7X1fCE9-E9LI"])) == .privateKeyPublished) }

  @Test("one bad key loses only itself, and says why")
  func oneBadKey() throws {
    let set = try keySet(
      "{}", String(decoding: rsa.serialized, as: UTF8.self), "7",
      String(decoding: changed(ec, ["use": "enc"]).serialized, as: UTF8.self),
      String(decoding: ec.serialized, as: UTF8.self))
    #expect(set.keys.count == 2)
    #expect(set.skipped.map(\.index) == [0, 2, 3])
    #expect(set.skipped.map(\.reason) == [.unsupportedType, .notAnObject, .notForSignatures])
    #expect(try set.verify(UnverifiedJWS.parse(try #require(Vectors.javaTokens["ES256"]))).claims["iss"] == "joe")
  }

  @Test(
    "a document that is no JWK Set is refused as a whole",
    arguments: [
      "", "[]", "{}", #"{"keys":{}}"#, #"{"keys":null}"#, #"{"keys":[],"keys":[]}"#, #"{"keys":[]}x"#, "<html>",
      #"{"keys":[{"kid":"a","kid":"b"}]}"#,
    ])
  func badDocument(text: String) { #expect(throws: JOSEError.badKeySet) { try JSONWebKeySet.parse(Array(text.utf8)) } }

  @Test("the size of the document, the number of keys, and of keys with one kid are limited")
  func limits() throws {
    var limits = JSONWebKeySet.Limits()
    limits.bytes = 100
    #expect(throws: JOSEError.tooLarge) { try JSONWebKeySet.parse(Array(Vectors.javaKeys.utf8), limits: limits) }
    let text = String(decoding: changed(okp, ["kid": "a"]).serialized, as: UTF8.self)
    let twins = try JSONWebKeySet.parse(Array(#"{"keys":[\#(Array(repeating: text, count: 6).joined(separator: ","))]}"#.utf8))
    #expect(twins.keys.count == 4 && twins.skipped.map(\.reason) == [.tooMany, .tooMany])
    let bare = String(decoding: okp.serialized, as: UTF8.self)
    let many = try JSONWebKeySet.parse(Array(#"{"keys":[\#(Array(repeating: bare, count: 120).joined(separator: ","))]}"#.utf8))
    #expect(many.keys.count == 100 && many.skipped.count == 20)
  }

  @Test("two keys with one kid: the one that fits the alg is taken, and of two that fit both are tried")
  func duplicateKeyIDs() throws {
    let first = try SigningKey.generate(.es256, keyID: "same")
    let second = try SigningKey.generate(.es256, keyID: "same")
    let third = try SigningKey.generate(.edDSA, keyID: "same")
    let foreign = try SigningKey.generate(.es256, keyID: "same")
    let set = try JSONWebKeySet.parse(JSONWebKeySet.document([first, second, third]))
    for key in [first, second, third] { #expect(try set.verify(UnverifiedJWS.parse(key.sign(["sub": "a"]))).claims["sub"] == "a") }
    #expect(throws: JOSEError.badSignature) { try set.verify(UnverifiedJWS.parse(foreign.sign(["sub": "a"]))) }
  }
}
