import IntercomCore
import StrictJSON

/// The keys of a provider ([RFC 7517 §5](https://www.rfc-editor.org/rfc/rfc7517#section-5)): one bad key loses only itself.
package struct JSONWebKeySet: Sendable {
  /// How much a document may demand; the defaults are far above what providers publish (Keycloak: two keys, 3 KiB).
  package struct Limits: Sendable {
    /// Bytes of the document.
    package var bytes = 262_144
    /// Keys that are looked at; checking a point of P-521 takes a millisecond.
    package var keys = 100
    /// Keys with the same `kid` and a common algorithm, each of which is tried: some providers reuse a `kid` while they rotate.
    package var keysOfOneID = 4
    package init() {}
  }

  /// A key that is not used, and why.
  package struct SkippedKey: Sendable, Hashable {
    /// Its place in `keys`.
    package let index: Int
    package let reason: JSONWebKey.Refusal
  }

  package let keys: [JSONWebKey]
  package let skipped: [SkippedKey]

  package init(keys: [JSONWebKey]) {
    self.keys = keys
    skipped = []
  }

  private init(keys: [JSONWebKey], skipped: [SkippedKey]) {
    self.keys = keys
    self.skipped = skipped
  }

  /// Reads a JWK Set. Throws `tooLarge` or `badKeySet` when the document as a whole cannot be read; a set without a usable key is legal.
  package static func parse(
    _ bytes: [UInt8], allowed: Set<Algorithm> = Algorithm.all, limits: Limits = Limits()
  ) throws(JOSEError) -> JSONWebKeySet {
    let document: JSONObject
    do { document = try StrictJSON.object(bytes, limit: StrictJSON.Limit(bytes: limits.bytes)) } catch {
      throw error == .tooLarge ? .tooLarge : .badKeySet
    }
    guard case .array(let members)? = document["keys"] else { throw .badKeySet }
    var keys: [JSONWebKey] = []
    var skipped: [SkippedKey] = []
    for (index, member) in members.enumerated() {
      do throws(JSONWebKey.Refusal) {
        guard index < limits.keys else { throw .tooMany }
        let key = try JSONWebKey(member, allowed: allowed)
        let twins = keys.count { $0.keyID == key.keyID && key.keyID != nil && !$0.algorithms.isDisjoint(with: key.algorithms) }
        guard twins < limits.keysOfOneID else { throw .tooMany }
        keys.append(key)
      } catch {
        skipped.append(SkippedKey(index: index, reason: error))
      }
    }
    return JSONWebKeySet(keys: keys, skipped: skipped)
  }

  /// The keys that may have signed: those with the token's `kid` that are for its `alg`; without a `kid` the only one that is for its
  /// `alg`.
  private func candidates(_ algorithm: Algorithm, _ keyID: Identifier?) throws(JOSEError) -> [JSONWebKey] {
    guard let keyID else {
      let fitting = keys.filter { $0.algorithms.contains(algorithm) }
      guard !fitting.isEmpty else { throw .unknownKey }
      guard fitting.count == 1 else { throw .ambiguousKey }
      return fitting
    }
    let named = keys.filter { $0.keyID == keyID }
    guard !named.isEmpty else { throw .unknownKey }
    let fitting = named.filter { $0.algorithms.contains(algorithm) }
    guard !fitting.isEmpty else { throw .keyDoesNotFit }
    return fitting
  }

  /// Checks the signature and gives the token as a type that says so ([RFC 7515 §5.2](https://www.rfc-editor.org/rfc/rfc7515#section-5.2)).
  ///
  /// It costs 0.02 to 0.8 ms of CPU: never call it on an event loop. `unknownKey` is the one failure that fetching the keys anew may heal.
  package func verify(_ token: UnverifiedJWS, allowed: Set<Algorithm> = Algorithm.all) throws(JOSEError) -> VerifiedJWS {
    guard let algorithm = token.algorithm else { throw .unsupportedAlgorithm }
    guard allowed.contains(algorithm) else { throw .algorithmNotAllowed }
    let candidates = try candidates(algorithm, token.keyID)
    guard candidates.contains(where: { $0.verifies(algorithm, token.signingInput, signature: token.signature) }) else {
      throw .badSignature
    }
    return try VerifiedJWS(token, algorithm)
  }
}
