import IntercomTesting

/// What a provider, or somebody in its place, gets wrong at a login.
enum LoginLies {
  static let signatures: [LoginLie] = [
    LoginLie("signs with `alg: none`", .idToken(.algorithmNone), "alg is none, for a shared secret, or unknown"),
    LoginLie("signs with `alg: nOnE`", .idToken(.algorithmNoneInMixedCase), "alg is none, for a shared secret, or unknown"),
    LoginLie("gives no `alg`", .idToken(.algorithmMissing), "not a signed token"),
    LoginLie(
      "signs with HS256 and its public key as the secret", .idToken(.algorithmHS256), "alg is none, for a shared secret, or unknown"),
    LoginLie(
      "signs with HS256 and the client's secret", .idToken(.algorithmHS256WithSecret), "alg is none, for a shared secret, or unknown"),
    LoginLie("says RS256 where the key is for ES256", .idToken(.algorithmOfAnotherKey), "the key is not for this alg"),
    LoginLie("signs with a key of the same name that it does not publish", .idToken(.signature), "the signature is wrong"),
    LoginLie("leaves the signature out", .idToken(.signatureMissing), "the signature is wrong"),
    LoginLie("signs with zeros (r = s = 0)", .idToken(.signatureZero), "the signature is wrong"),
    LoginLie("signs in DER instead of r and s", .idToken(.signatureDER), "the signature is wrong"),
    LoginLie("signs with a key that it publishes for encryption", .idToken(.keyForEncryption), "no key has the name"),
    LoginLie("names no key where two fit", .idToken(.keyIDMissing), "no key is named and several fit"),
    LoginLie("names a key that nobody knows", .idToken(.keyIDUnknown), "no key has the name"),
    LoginLie("names a key `../../../../dev/null`", .idToken(.keyIDTraversal), "no key has the name"),
    LoginLie("names its key by a number", .idToken(.keyIDIsNumber), "not a signed token"),
    LoginLie("puts the attacker's key into the header (`jwk`)", .idToken(.keyOfAttackerInHeader), "the signature is wrong"),
    LoginLie("puts a URL of keys into the header (`jku`)", .idToken(.keyURLInHeader), "the signature is wrong"),
    LoginLie("puts a URL of certificates into the header (`x5u`)", .idToken(.certificateURLInHeader), "the signature is wrong"),
    LoginLie("puts certificates into the header (`x5c`)", .idToken(.certificateInHeader), "the signature is wrong"),
    LoginLie("demands an extension (`crit`)", .idToken(.critical), "the header demands an extension"),
    LoginLie("demands an unencoded payload (`b64`)", .idToken(.unencodedPayload), "the header demands an extension"),
  ]

  static let claims: [LoginLie] = [
    LoginLie("names another issuer", .idToken(.issuer), "iss is another issuer"),
    LoginLie("names its issuer with a slash more", .idToken(.issuerWithSlash), "iss is another issuer"),
    LoginLie("names its issuer in capitals", .idToken(.issuerInCapitals), "iss is another issuer"),
    LoginLie("leaves `iss` out", .idToken(.issuerMissing), "iss is missing"),
    LoginLie("gives the token of another client", .idToken(.audience), "aud does not name this client"),
    LoginLie("leaves `aud` out", .idToken(.audienceMissing), "aud is missing"),
    LoginLie("gives an empty `aud`", .idToken(.audienceEmpty), "aud does not name this client"),
    LoginLie("lists a number in `aud`", .idToken(.audienceNotNames), "aud is not a list of names"),
    LoginLie("names several audiences and no `azp`", .idToken(.audienceOfSeveralWithoutParty), "several audiences and no azp"),
    LoginLie("gives a token that was issued to another client (`azp`)", .idToken(.authorizedParty), "azp is another client"),
    LoginLie("leaves `sub` out", .idToken(.subjectMissing), "sub is missing"),
    LoginLie("gives an empty `sub`", .idToken(.subjectEmpty), "sub is not a name"),
    LoginLie("gives a number as `sub`", .idToken(.subjectIsNumber), "sub is not a name"),
    LoginLie("gives a `sub` of 2,000 bytes", .idToken(.subjectOversized), "sub is not a name"),
    LoginLie("gives a token that has expired", .idToken(.expired), "expired"),
    LoginLie("leaves `exp` out", .idToken(.expiryMissing), "exp is missing"),
    LoginLie("gives `exp` as text", .idToken(.expiryIsText), "exp is not a time"),
    LoginLie("gives a token from the future", .idToken(.issuedInTheFuture), "iat is in the future"),
    LoginLie("gives a token of the day before yesterday", .idToken(.issuedLongAgo), "iat is long past"),
    LoginLie("leaves `iat` out", .idToken(.issuedMissing), "iat is missing"),
    LoginLie("gives a token that is not valid yet (`nbf`)", .idToken(.notYetValid), "not valid yet"),
    LoginLie("gives the token of another login (`nonce`)", .idToken(.nonce), "nonce is not that of the login"),
    LoginLie("leaves `nonce` out", .idToken(.nonceMissing), "nonce is not that of the login"),
    LoginLie("gives a number as `nonce`", .idToken(.nonceIsNumber), "nonce is not a string"),
    LoginLie("gives somebody's access token with it (`at_hash`)", .idToken(.accessTokenHash), "at_hash is not that of the access token"),
    LoginLie("gives a number as `at_hash`", .idToken(.accessTokenHashIsNumber), "at_hash is not that of the access token"),
    LoginLie("gives an access token as ID token (claim `typ`)", .idToken(.kindOfAccessToken), "the claim typ is not that of an id_token"),
    LoginLie("gives an access token as ID token (header `typ`)", .idToken(.typeOfAccessToken), "typ is not that of an id_token"),
    LoginLie("gives a logout token as ID token (claim `events`)", .idToken(.kindOfLogoutToken), "an event token is no id_token"),
    LoginLie("gives a logout token as ID token (header `typ`)", .idToken(.typeOfLogoutToken), "typ is not that of an id_token"),
  ]

  static let spelling: [LoginLie] = [
    LoginLie("writes `sub` twice", .idToken(.duplicateClaim), "the claims are not sound JSON"),
    LoginLie("writes `alg` twice in the header", .idToken(.duplicateHeader), "not a signed token"),
    LoginLie("ends the claims with a comma", .idToken(.claimsTrailingComma), "the claims are not sound JSON"),
    LoginLie("begins the claims with a byte-order mark", .idToken(.claimsByteOrderMark), "the claims are not sound JSON"),
    LoginLie("writes the claims in UTF-16", .idToken(.claimsUTF16), "the claims are not sound JSON"),
    LoginLie("nests arrays 10,000 deep in the claims", .idToken(.claimsDeep), "the claims are not sound JSON"),
    LoginLie("puts the claims into a list", .idToken(.claimsArray), "the claims are not sound JSON"),
    LoginLie("writes bytes that are no UTF-8", .idToken(.claimsInvalidUTF8), "the claims are not sound JSON"),
    LoginLie("writes the claims twice", .idToken(.claimsTwice), "the claims are not sound JSON"),
    LoginLie("writes a number that no double holds", .idToken(.claimsHugeNumber), "the claims are not sound JSON"),
    LoginLie("pads base64", .idToken(.padded), "not a signed token"),
    LoginLie("gives a token of five parts (encrypted)", .idToken(.encrypted), "not a signed token"),
    LoginLie("gives text that is no token", .idToken(.garbage), "not a signed token"),
    LoginLie("gives a token of 80 KB", .idToken(.oversized), "id_token is not a token") { $0.reason = "invalid_token_response" },
  ]

  private static func answer(
    _ says: String, _ lie: ProviderLie, _ cause: String, _ change: (inout LoginLie) -> Void = { _ in }
  ) -> LoginLie {
    LoginLie(says, lie, cause) {
      $0.reason = "invalid_token_response"
      change(&$0)
    }
  }

  private static func absent(_ says: String, _ lie: AnswerLie, _ cause: String, reason: String = "provider_unavailable") -> LoginLie {
    answer(says, .answer(.login, lie), cause) { ($0.status, $0.reason) = (503, reason) }
  }

  static let tokenAnswers: [LoginLie] = [
    answer("leaves `id_token` out", .tokens(.idTokenMissing), "id_token is missing"),
    answer("gives a number as `id_token`", .tokens(.idTokenIsNumber), "id_token is not a token"),
    LoginLie("swaps `id_token` and `access_token`", .tokens(.swapped), "typ is not that of an id_token"),
    answer("gives a `token_type` other than Bearer", .tokens(.tokenTypeUnknown), "token_type is not Bearer"),
    answer("leaves `token_type` out", .tokens(.tokenTypeMissing), "token_type is not Bearer"),
    answer("leaves `access_token` out", .tokens(.accessTokenMissing), "access_token is missing"),
    answer("gives an empty `access_token`", .tokens(.accessTokenEmpty), "access_token is not a token"),
    answer("gives a number as `access_token`", .tokens(.accessTokenIsNumber), "access_token is not a token"),
    answer("puts a line end into `access_token`", .tokens(.accessTokenWithLineFeed), "access_token is not a token"),
    answer("puts a space into `access_token`", .tokens(.accessTokenWithSpace), "access_token is not a token"),
    answer("gives an `access_token` of 70 KB", .tokens(.accessTokenOversized), "access_token is not a token"),
    answer("gives a negative `expires_in`", .tokens(.expiresInNegative), "expires_in is not a number of seconds"),
    answer("gives text as `expires_in`", .tokens(.expiresInText), "expires_in is not a number of seconds"),
    answer("gives an object as `refresh_token`", .tokens(.refreshTokenIsObject), "refresh_token is not a token"),
    answer("answers with a page", .answer(.login, .html), "is not application/json"),
    answer("calls its JSON text/plain", .answer(.login, .wrongType), "is not application/json"),
    answer("gives no media type", .answer(.login, .typeMissing), "is not application/json"),
    answer("answers 4 MiB", .answer(.login, .oversized), "the answer is too large"),
    answer("answers without an end", .answer(.login, .endless), "the answer is too large"),
    answer("answers a gzip bomb that nobody asked for", .answer(.login, .gzipBomb), "the answer is too large"),
    answer("answers 70 KiB of header fields", .answer(.login, .oversizedHead), "the answer is too large"),
    answer("redirects to another host", .answer(.login, .redirect), "the provider answered 307"),
    answer("writes members twice", .answer(.login, .duplicateKeys), "not sound JSON: duplicateKey"),
    answer("cuts the JSON off", .answer(.login, .truncated), "not sound JSON"),
    answer("answers nothing", .answer(.login, .empty), "not sound JSON"),
    answer("puts the answer into a list", .answer(.login, .array), "not sound JSON: wrongTopLevel"),
    answer("begins with a byte-order mark", .answer(.login, .byteOrderMark), "not sound JSON"),
    answer("answers in UTF-16", .answer(.login, .utf16), "not sound JSON"),
    answer("ends with a comma", .answer(.login, .trailingComma), "not sound JSON"),
    answer("nests arrays 10,000 deep", .answer(.login, .deep), "not sound JSON: tooDeep"),
    answer("answers twice", .answer(.login, .twice), "not sound JSON"),
    answer("writes bytes that are no UTF-8", .answer(.login, .invalidUTF8), "not sound JSON: notUTF8"),
    answer("answers 204", .answer(.login, .status(204)), "the provider answered 204"),
    answer("answers 403 with a page", .answer(.login, .status(403)), "the provider answered 403 without an OAuth error"),
    answer("answers 404 with a page", .answer(.login, .status(404)), "the provider answered 404 without an OAuth error"),
    absent("answers 408", .status(408), "the provider answered 408"),
    absent("answers 429", .status(429), "the provider answered 429"),
    absent("answers 500", .status(500), "the provider answered 500"),
    absent("answers 503", .status(503), "the provider answered 503"),
    absent("breaks off", .brokenOff, "the answer broke off"),
    absent("never answers", .silence, "no answer in time", reason: "timeout"),
    absent("answers one byte in 50 ms", .slowBytes, "no answer in time", reason: "timeout"),
    answer("refuses the code", .refuses(.login, status: 400, error: "invalid_grant"), "400 invalid_grant") {
      ($0.status, $0.reason) = (400, "code_refused")
    },
    answer("does not accept the client", .refuses(.login, status: 401, error: "invalid_client"), "401 invalid_client") {
      $0.reason = "client_refused"
    },
    answer("has trouble of its own", .refuses(.login, status: 400, error: "temporarily_unavailable"), "temporarily_unavailable") {
      ($0.status, $0.reason) = (503, "provider_unavailable")
    },
    answer("says an error that nobody knows", .refuses(.login, status: 400, error: "out_of_cheese"), "400 out_of_cheese"),
  ]

  /// On the way through the browser: nothing was asked at the token endpoint.
  private static func callback(
    _ says: String, _ lie: AuthorizationLie, _ cause: String, status: Int = 400, reason: String = "invalid_response", open: Bool = true,
    silentStatus: Int = 200
  ) -> LoginLie {
    LoginLie(says, .authorization(lie), cause) {
      ($0.status, $0.reason, $0.codes, $0.usesUp, $0.silentStatus) = (status, reason, 0, !open, silentStatus)
    }
  }

  static let authorization: [LoginLie] = [
    callback("answers in the name of another issuer (`iss`)", .issuer, "iss names another issuer", reason: "issuer_mismatch", open: false),
    callback("leaves `iss` out, which it announced", .issuerMissing, "iss is missing", reason: "issuer_mismatch", open: false),
    callback("gives two `iss`", .issuerTwice, "iss is there more than once"),
    callback("gives an empty `iss`", .issuerEmpty, "iss is empty"),
    callback("gives the `state` of another login", .state, "used already or is not known", reason: "login_unknown", silentStatus: 400),
    callback("leaves `state` out", .stateMissing, "state is missing", silentStatus: 400),
    callback("gives two `state`", .stateTwice, "state is there more than once", silentStatus: 400),
    callback("gives an empty `state`", .stateEmpty, "state is empty", silentStatus: 400),
    callback("gives a `state` of 600 bytes", .stateOversized, "state is too large", silentStatus: 400),
    callback("leaves `code` out", .codeMissing, "neither code nor error is there"),
    callback("gives two codes", .codeTwice, "code is there more than once"), callback("gives an empty code", .codeEmpty, "code is empty"),
    callback("gives a code of 4,500 bytes", .codeOversized, "code is too large"),
    callback("puts a line end into the code", .codeWithLineFeed, "code has forbidden bytes"),
    callback("gives a code and an error", .codeAndError, "code and error are both there"),
    LoginLie("gives a code of nobody", .authorization(.code), "400 invalid_grant") { ($0.status, $0.reason) = (400, "code_refused") },
    callback("denies access", .errorAccessDenied, "denied access", reason: "access_denied", open: false),
    callback("says an error that nobody knows", .errorUnknown, "out_of_cheese", status: 502, reason: "authorization_failed", open: false),
    callback(
      "says that it has trouble", .errorServer, "a failure of its own", status: 503, reason: "provider_unavailable", open: false),
    callback(
      "says an error that is a script", .errorWithMarkup, "ended the login", status: 502, reason: "authorization_failed", open: false),
  ]
}
