import IntercomCore

/// Why a token or a key set was refused. Holds no part of either.
package enum JOSEError: Error, Sendable, Equatable, CustomStringConvertible {
  /// More bytes than the limit.
  case tooLarge
  /// Not three base64url parts with a JSON header: what was wrong.
  case malformed(String)
  /// The header demands an extension (`crit`, `b64`) that would change what is verified.
  case criticalHeader
  /// `alg` is `none`, an HMAC algorithm, or unknown.
  case unsupportedAlgorithm
  /// `alg` is known but not among those allowed here.
  case algorithmNotAllowed
  /// No key of the set has the token's `kid`, or, without one, no key fits `alg`: the keys may have been rotated.
  case unknownKey
  /// The key that `kid` names is not for this `alg`.
  case keyDoesNotFit
  /// No `kid`, and more than one key fits ([OpenID Connect Core §10.1](https://openid.net/specs/openid-connect-core-1_0.html#Signing)).
  case ambiguousKey
  case badSignature
  /// The payload is signed but is no JSON object that may be read.
  case badPayload
  /// The document is no JWK Set.
  case badKeySet
  /// A key could not be made or cannot sign.
  case signing(String)

  /// A sentence for the log; free of what it is about.
  package var description: String {
    switch self {
    case .tooLarge: "too large"
    case .malformed(let what): "not a signed token: \(what)"
    case .criticalHeader: "the header demands an extension"
    case .unsupportedAlgorithm: "alg is none, for a shared secret, or unknown"
    case .algorithmNotAllowed: "alg is not allowed here"
    case .unknownKey: "no key has the name that the token gives"
    case .keyDoesNotFit: "the key is not for this alg"
    case .ambiguousKey: "no key is named and several fit"
    case .badSignature: "the signature is wrong"
    case .badPayload: "the claims are not sound JSON"
    case .badKeySet: "not a set of keys"
    case .signing(let what): "the key cannot sign: \(what)"
    }
  }

  /// Tokens and key sets are the provider's; only a failing signature of our own is ours. Where a client hands in the token (logout tokens,
  /// bearer tokens), the caller knows better.
  package var faultOrigin: FaultOrigin { if case .signing = self { .gateway } else { .provider } }
}
