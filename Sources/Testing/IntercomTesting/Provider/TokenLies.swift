import Cryptography
import HTTPMessage
import IntercomCore
import JOSE
import StrictJSON

/// Tokens that lie.
extension MisbehavingProvider {
  func idToken(_ token: String, _ lie: IDTokenLie) throws -> String {
    var claims = try UnverifiedJWS.parse(token).unverifiedClaims()
    if change(&claims, lie) { return try key.sign(claims) }
    return try forged(token, claims, lie) ?? (try written(token, claims.serialized, lie))
  }

  // MARK: Claims

  /// False for lies that are not in a claim.
  private func change(_ claims: inout JSONObject, _ lie: IDTokenLie) -> Bool {
    let now = time.wallNow().seconds
    let honest = claims
    switch lie {
    case .issuer: claims["iss"] = "https://evil.example"
    case .issuerWithSlash: claims["iss"] = .string((honest["iss"]?.string ?? "") + "/")
    case .issuerInCapitals: claims["iss"] = .string((honest["iss"]?.string ?? "").uppercased())
    case .issuerMissing: claims["iss"] = nil
    case .audience: claims["aud"] = "somebody-else"
    case .audienceMissing: claims["aud"] = nil
    case .audienceEmpty: claims["aud"] = []
    case .audienceNotNames: claims["aud"] = .array([honest["aud"] ?? .null, 7])
    case .audienceOfSeveral: claims["aud"] = .array([honest["aud"] ?? .null, "somebody-else"])
    case .audienceOfSeveralWithoutParty:
      claims["aud"] = .array([honest["aud"] ?? .null, "somebody-else"])
      claims["azp"] = nil
    case .authorizedParty: claims["azp"] = "somebody-else"
    case .subjectMissing: claims["sub"] = nil
    case .subjectOfSomebodyElse: claims["sub"] = "somebody-else"
    case .subjectEmpty: claims["sub"] = ""
    case .subjectIsNumber: claims["sub"] = 42
    case .subjectOversized: claims["sub"] = .string(String(repeating: "a", count: 2_000))
    case .subjectDecomposed: claims["sub"] = .string((honest["sub"]?.string ?? "").replacing("\u{eb}", with: "e\u{308}"))
    case .sessionOfSomebodyElse: claims["sid"] = "somebody-elses-session"
    case .expired: claims["exp"] = .int64(now - 3_600)
    case .expiryMissing: claims["exp"] = nil
    case .expiryIsText: claims["exp"] = .string("\(now + 300)")
    case .issuedInTheFuture: claims["iat"] = .int64(now + 3_600)
    case .issuedLongAgo: claims["iat"] = .int64(now - 200_000)
    case .issuedMissing: claims["iat"] = nil
    case .notYetValid: claims["nbf"] = .int64(now + 3_600)
    case .nonce: claims["nonce"] = "another"
    case .nonceMissing: claims["nonce"] = nil
    case .nonceIsNumber: claims["nonce"] = 42
    case .accessTokenHash: claims["at_hash"] = .string(key.algorithm.leftHalfHash(of: Array("another token".utf8)))
    case .accessTokenHashIsNumber: claims["at_hash"] = 42
    case .kindOfAccessToken: claims["typ"] = "Bearer"
    case .kindOfLogoutToken: claims["events"] = .object(["http://schemas.openid.net/event/backchannel-logout": .object([:])])
    default: return false
    }
    return true
  }

  // MARK: Headers, keys and signatures

  private func forged(_ token: String, _ claims: JSONObject, _ lie: IDTokenLie) throws -> String? {
    func attacker() throws -> SigningKey { try SigningKey.generate(key.algorithm, keyID: key.keyID) }
    switch lie {
    case .typeOfAccessToken: return try key.sign(claims, type: "at+jwt")
    case .typeOfLogoutToken: return try key.sign(claims, type: "logout+jwt")
    case .keyIDMissing: return try key.sign(claims, header: ["kid": .null])
    case .keyIDUnknown: return try key.sign(claims, header: ["kid": "key-9"])
    case .keyIDTraversal: return try key.sign(claims, header: ["kid": "../../../../dev/null"])
    case .keyIDIsNumber: return try key.sign(claims, header: ["kid": 1])
    case .keyForEncryption: return try encryptionKey.sign(claims)
    case .keyOfAttackerInHeader:
      let attacker = try attacker()
      return try attacker.sign(claims, header: ["jwk": .object(attacker.publicJWK)])
    case .keyURLInHeader: return try attacker().sign(claims, header: ["jku": .string(elsewhere)])
    case .certificateURLInHeader: return try attacker().sign(claims, header: ["x5u": .string(elsewhere)])
    case .certificateInHeader: return try attacker().sign(claims, header: ["x5c": ["MIIB"]])
    case .critical: return try key.sign(claims, header: ["crit": ["urn:example:extension"], "urn:example:extension": true])
    case .unencodedPayload: return try key.sign(claims, header: ["b64": false])
    case .algorithmNone: return CompactJWS.join(input("none", claims.serialized), signature: [])
    case .algorithmNoneInMixedCase: return CompactJWS.join(input("nOnE", claims.serialized), signature: [])
    case .algorithmHS256: return symmetric(key.publicJWK.serialized, claims)
    case .algorithmHS256WithSecret: return symmetric(clientSecret, claims)
    case .algorithmOfAnotherKey: return CompactJWS.join(input("RS256", claims.serialized), signature: [UInt8](repeating: 1, count: 256))
    case .algorithmMissing: return CompactJWS.join(input(nil, claims.serialized), signature: [UInt8](repeating: 1, count: 64))
    case .signature: return try attacker().sign(claims)
    case .signatureMissing: return CompactJWS.join(input(key.algorithm.rawValue, claims.serialized), signature: [])
    case .signatureZero:
      return CompactJWS.join(input(key.algorithm.rawValue, claims.serialized), signature: [UInt8](repeating: 0, count: 64))
    case .signatureDER:
      // SEQUENCE of two INTEGERs, as other uses of ECDSA write it: not JOSE's form.
      let half = [UInt8](repeating: 1, count: 32)
      return CompactJWS.join(
        input(key.algorithm.rawValue, claims.serialized), signature: [0x30, 68, 0x02, 32] + half + [0x02, 32] + half)
    default: return nil
    }
  }

  private func symmetric(_ secret: [UInt8], _ claims: JSONObject) -> String {
    let input = input("HS256", claims.serialized)
    return CompactJWS.join(input, signature: hmacSHA256(key: secret, input))
  }

  private func input(_ algorithm: String?, _ payload: [UInt8]) -> [UInt8] {
    var header: JSONObject = ["kid": .string(key.keyID.description), "typ": "JWT"]
    if let algorithm { header["alg"] = .string(algorithm) }
    return CompactJWS.signingInput(header: header, payload: payload)
  }

  // MARK: The same claims, written so that two readers may see two tokens

  private func written(_ token: String, _ payload: [UInt8], _ lie: IDTokenLie) throws -> String {
    let open = UInt8(ascii: "{")
    switch lie {
    case .duplicateClaim: return try key.sign(payload: Array(#"{"sub":"somebody-else","#.utf8) + payload.dropFirst())
    case .duplicateHeader:
      let header = Array(#"{"alg":"none","alg":"\#(key.algorithm.rawValue)","kid":"\#(key.keyID)"}"#.utf8)
      let input = Base64URL.encodedBytes(header) + [UInt8(ascii: ".")] + Base64URL.encodedBytes(payload)
      return CompactJWS.join(input, signature: [UInt8](repeating: 1, count: 64))
    case .claimsTrailingComma: return try key.sign(payload: payload.dropLast() + Array(",}".utf8))
    case .claimsByteOrderMark: return try key.sign(payload: [0xef, 0xbb, 0xbf] + payload)
    case .claimsUTF16: return try key.sign(payload: payload.flatMap { [$0, 0] })
    case .claimsDeep:
      let depth = 10_000
      let nested = Array(#"{"deep":"#.utf8) + [UInt8](repeating: UInt8(ascii: "["), count: depth)
      return try key.sign(payload: nested + [UInt8](repeating: UInt8(ascii: "]"), count: depth) + Array(",".utf8) + payload.dropFirst())
    case .claimsArray: return try key.sign(payload: Array("[".utf8) + payload + Array("]".utf8))
    case .claimsInvalidUTF8:
      return try key.sign(payload: [open] + Array(#""x":""#.utf8) + [0xff] + Array(#"","#.utf8) + payload.dropFirst())
    case .claimsTwice: return try key.sign(payload: payload + payload)
    case .claimsHugeNumber: return try key.sign(payload: Array(#"{"x":1e999,"#.utf8) + payload.dropFirst())
    case .encrypted: return "eyJhbGciOiJSU0EtT0FFUCIsImVuYyI6IkEyNTZHQ00ifQ.AAAA.AAAA.AAAA.AAAA"
    case .garbage: return "not-a-token"
    case .oversized: return try key.sign(payload: Array(#"{"x":"\#(String(repeating: "a", count: 60_000))","#.utf8) + payload.dropFirst())
    case .padded: return token + "="
    default: return token
    }
  }

  // MARK: Token answers

  func tokens(_ answer: inout JSONObject, _ lie: TokenAnswerLie) throws {
    switch lie {
    case .idTokenMissing: answer["id_token"] = nil
    case .idTokenIsNumber: answer["id_token"] = 7
    case .swapped:
      let (id, access) = (answer["id_token"], answer["access_token"])
      if let id, let access { (answer["id_token"], answer["access_token"]) = (access, id) }
    case .tokenTypeUnknown: answer["token_type"] = "mac"
    case .tokenTypeMissing: answer["token_type"] = nil
    case .accessTokenMissing: answer["access_token"] = nil
    case .accessTokenEmpty: answer["access_token"] = ""
    case .accessTokenIsNumber: answer["access_token"] = 7
    case .accessTokenWithLineFeed: answer["access_token"] = "a\r\nX-Admin: yes"
    case .accessTokenWithSpace: answer["access_token"] = "a token"
    case .accessTokenOversized: answer["access_token"] = .string(String(repeating: "a", count: 70_000))
    case .expiresInNegative: answer["expires_in"] = -1
    case .expiresInText: answer["expires_in"] = "300"
    case .refreshTokenIsObject: answer["refresh_token"] = .object([:])
    }
  }

  func exchanged(_ answer: inout JSONObject, _ lie: ExchangedTokenLie, subjectToken: String?) throws {
    func resign(_ change: (inout JSONObject) -> Void) throws {
      let honest = try UnverifiedJWS.parse(answer["access_token"]?.string ?? "")
      var claims = try honest.unverifiedClaims()
      change(&claims)
      answer["access_token"] = .string(try key.sign(claims, type: honest.type?.description ?? "JWT"))
    }
    let now = time.wallNow().seconds
    switch lie {
    case .audience: try resign { $0["aud"] = "somebody-elses-backend" }
    case .audienceBroader: try resign { $0["aud"] = .array([$0["aud"] ?? .null, "somebody-elses-backend"]) }
    case .audienceMissing: try resign { $0["aud"] = nil }
    case .subject: try resign { $0["sub"] = "somebody-else" }
    case .session: try resign { $0["sid"] = "another-session" }
    case .issuer: try resign { $0["iss"] = "https://evil.example" }
    case .party: try resign { $0["azp"] = "somebody-else" }
    case .expired: try resign { $0["exp"] = .int64(now - 3_600) }
    case .issuedTokenType: answer["issued_token_type"] = "urn:ietf:params:oauth:token-type:refresh_token"
    case .issuedTokenTypeMissing: answer["issued_token_type"] = nil
    case .sameToken: answer["access_token"] = subjectToken.map { .string($0) }
    case .tokenTypeNotApplicable: answer["token_type"] = "N_A"
    }
  }
}
