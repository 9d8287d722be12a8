/// One thing that a provider gets wrong, or an attacker in its place.
package enum ProviderLie: Sendable, Hashable {
  /// In the ID token of a login or a refresh.
  case idToken(IDTokenLie)
  /// In the members of the token answer of a login or a refresh.
  case tokens(TokenAnswerLie)
  /// In the answer of a token exchange.
  case exchanged(ExchangedTokenLie)
  /// The answer as a whole, whatever it says.
  case answer(ProviderCall, AnswerLie)
  /// The token endpoint says no, with this status and this error of [RFC 6749 §5.2](https://www.rfc-editor.org/rfc/rfc6749#section-5.2).
  case refuses(ProviderCall, status: Int, error: String)
  case metadata(MetadataLie)
  case keys(KeySetLie)
  /// In the redirect back to the client.
  case authorization(AuthorizationLie)
  /// Userinfo of another person.
  case userInfoSubject
}

/// What a provider is asked, by the endpoint and, at the token endpoint, by the grant.
package enum ProviderCall: String, Sendable, CaseIterable {
  case discovery, keys
  /// The token endpoint, whatever the grant.
  case token
  /// Its three grants.
  case login, refresh, exchange
}

/// Lies of an ID token that is signed with the right key, and forgeries of its signature.
package enum IDTokenLie: String, Sendable, CaseIterable {
  // Whose and for whom.
  case issuer, issuerWithSlash, issuerInCapitals, issuerMissing
  case audience, audienceMissing, audienceEmpty, audienceNotNames, audienceOfSeveral, audienceOfSeveralWithoutParty, authorizedParty
  case subjectMissing, subjectOfSomebodyElse, subjectEmpty, subjectIsNumber, subjectOversized
  /// The same text to the eye: canonically equivalent, other bytes.
  case subjectDecomposed
  /// Another session of the provider.
  case sessionOfSomebodyElse
  // When.
  case expired, expiryMissing, expiryIsText, issuedInTheFuture, issuedLongAgo, issuedMissing, notYetValid
  // For what.
  case nonce, nonceMissing, nonceIsNumber, accessTokenHash, accessTokenHashIsNumber
  /// The claim or the header `typ` of another kind of token.
  case kindOfAccessToken, kindOfLogoutToken, typeOfAccessToken, typeOfLogoutToken
  // Keys.
  case keyIDMissing, keyIDUnknown, keyIDTraversal, keyIDIsNumber, keyForEncryption, keyOfAttackerInHeader, keyURLInHeader
  case certificateURLInHeader, certificateInHeader, critical, unencodedPayload
  // Signatures.
  case algorithmNone, algorithmNoneInMixedCase, algorithmHS256, algorithmHS256WithSecret, algorithmOfAnotherKey, algorithmMissing
  case signature, signatureMissing, signatureZero, signatureDER
  // Read two ways.
  case duplicateClaim, duplicateHeader, claimsTrailingComma, claimsByteOrderMark, claimsUTF16, claimsDeep, claimsArray, claimsInvalidUTF8
  case claimsTwice, claimsHugeNumber
  // Form.
  case encrypted, garbage, oversized, padded
}

/// Lies in the members of a token answer ([RFC 6749 §5.1](https://www.rfc-editor.org/rfc/rfc6749#section-5.1)).
package enum TokenAnswerLie: String, Sendable, CaseIterable {
  case idTokenMissing, idTokenIsNumber, swapped, tokenTypeUnknown, tokenTypeMissing
  case accessTokenMissing, accessTokenEmpty, accessTokenIsNumber, accessTokenWithLineFeed, accessTokenWithSpace, accessTokenOversized
  case expiresInNegative, expiresInText, refreshTokenIsObject
}

/// Lies about an exchanged token ([RFC 8693 §2.2.1](https://www.rfc-editor.org/rfc/rfc8693#section-2.2.1)).
package enum ExchangedTokenLie: String, Sendable, CaseIterable {
  case audience, audienceBroader, audienceMissing, subject, session, issuer, party, expired, issuedTokenType, issuedTokenTypeMissing
  /// The token that was handed in comes back.
  case sameToken
  /// [RFC 8693 §2.2.1](https://www.rfc-editor.org/rfc/rfc8693#section-2.2.1): not an access token.
  case tokenTypeNotApplicable
}

/// Answers that are wrong as bytes or as HTTP, whatever they carry.
package enum AnswerLie: Sendable, Hashable {
  case html, wrongType, typeMissing
  /// 4 MiB, announced, around the right answer.
  case oversized
  /// So many bytes, announced.
  case bytes(Int)
  /// White space without an end.
  case endless
  /// A gzip body of 1 MiB that unfolds to 165 MB.
  case gzipBomb
  /// 307 to a path of another host, `MisbehavingProvider.elsewhere`.
  case redirect
  case duplicateKeys, truncated, empty, array, byteOrderMark, utf16, trailingComma, deep, twice, invalidUTF8
  /// Nothing comes, ever.
  case silence
  /// The right answer, one byte in 50 ms.
  case slowBytes
  /// The connection ends in the middle of an announced body.
  case brokenOff
  /// 70 KiB of header fields.
  case oversizedHead
  /// A page of a proxy with this status.
  case status(Int)

  /// Does it end in a time that a test without a deadline can wait for?
  package var ends: Bool { ![.endless, .silence, .slowBytes].contains(self) }
}

/// Lies of the metadata ([Discovery 1.0 §3](https://openid.net/specs/openid-connect-discovery-1_0.html#ProviderMetadata)).
package enum MetadataLie: String, Sendable, CaseIterable {
  case issuer, issuerWithSlash, issuerInCapitals, issuerMissing
  case authorizationMissing, tokenMissing, keysMissing, tokenIsNumber, tokenIsFile, tokenWithUser, authorizationIsScript, endSessionIsData
  /// A link-local address, where clouds keep a machine's credentials.
  case keysLinkLocal, tokenLinkLocal
  /// http, although the issuer is https: only where it is.
  case tokenPlain, keysPlain, authorizationPlain
}

/// Lies of the key set ([RFC 7517 §5](https://www.rfc-editor.org/rfc/rfc7517#section-5)).
package enum KeySetLie: String, Sendable, CaseIterable {
  case empty, notAList, symmetric, privateHalves, encryption, wrongCurvePoint, smallRSA
  /// The right keys after or before two thousand others.
  case thousandsBefore, thousandsAfter
  /// The right key after fifty of its name.
  case manyOfOneName
  /// A thousand keys, more than 256 KiB.
  case oversized
  /// Keys of the same names, of somebody else.
  case ofSomebodyElse
}

/// Lies of the authorization response ([RFC 6749 §4.1.2](https://www.rfc-editor.org/rfc/rfc6749#section-4.1.2), RFC 9207).
package enum AuthorizationLie: String, Sendable, CaseIterable {
  case issuer, issuerMissing, issuerTwice, issuerEmpty
  case state, stateMissing, stateTwice, stateEmpty, stateOversized
  case code, codeMissing, codeTwice, codeEmpty, codeOversized, codeWithLineFeed, codeAndError
  case errorAccessDenied, errorUnknown, errorServer, errorWithMarkup
}

extension ProviderLie {
  package static let issuer = ProviderLie.idToken(.issuer)
  package static let audience = ProviderLie.idToken(.audience)
  package static let nonce = ProviderLie.idToken(.nonce)
  package static let signature = ProviderLie.idToken(.signature)
  package static let algorithmNone = ProviderLie.idToken(.algorithmNone)
  package static let authorizedParty = ProviderLie.idToken(.authorizedParty)
  package static let expired = ProviderLie.idToken(.expired)
  package static let tokensSwapped = ProviderLie.tokens(.swapped)
  package static let subjectOfSomebodyElse = ProviderLie.idToken(.subjectOfSomebodyElse)
  package static let idTokenMissing = ProviderLie.tokens(.idTokenMissing)
  package static let answerIsHTML = ProviderLie.answer(.token, .html)
  package static let answerIsOversized = ProviderLie.answer(.token, .oversized)
  package static let answerIsTruncated = ProviderLie.answer(.token, .truncated)
  package static let answerIsSlow = ProviderLie.answer(.token, .silence)
  package static let answerHasDuplicateKeys = ProviderLie.answer(.token, .duplicateKeys)
  package static let exchangedAudience = ProviderLie.exchanged(.audience)
  package static let exchangedSubject = ProviderLie.exchanged(.subject)
  package static let exchangedIssuedTokenType = ProviderLie.exchanged(.issuedTokenType)
  package static let discoveryIssuer = ProviderLie.metadata(.issuer)

  /// Each kind of lie, at one place where it shows.
  package static var all: [ProviderLie] {
    let answers: [AnswerLie] = [
      .html, .wrongType, .typeMissing, .oversized, .bytes(1_000), .endless, .gzipBomb, .redirect, .duplicateKeys, .truncated, .empty,
      .array,
      .byteOrderMark, .utf16, .trailingComma, .deep, .twice, .invalidUTF8, .silence, .slowBytes, .brokenOff, .oversizedHead, .status(503),
    ]
    return IDTokenLie.allCases.map { .idToken($0) } + TokenAnswerLie.allCases.map { .tokens($0) }
      + ExchangedTokenLie.allCases.map { .exchanged($0) } + answers.map { .answer(.token, $0) } + MetadataLie.allCases.map { .metadata($0) }
      + KeySetLie.allCases.map { .keys($0) } + AuthorizationLie.allCases.map { .authorization($0) }
      + [.userInfoSubject, .refuses(.token, status: 400, error: "invalid_grant")]
  }
}
