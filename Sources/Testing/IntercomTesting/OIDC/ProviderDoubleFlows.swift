import HTTPMessage
import IntercomCore
import JOSE
import OIDC
import StrictJSON

extension ProviderDouble {
  /// Runs a login whose id_token has these changes; the nonce is right unless changed. `sign` may forge the token.
  package func login(
    _ changes: JSONObject = [:], answer: JSONObject = [:], options: LoginOptions = LoginOptions(),
    party given: RelyingParty? = nil, sign: ((JSONObject) throws -> String)? = nil
  ) async throws -> LoginResult {
    let party: RelyingParty
    if let given { party = given } else { party = try await relyingParty() }
    let request = try party.beginLogin(options)
    var all: JSONObject = ["nonce": .string(request.pending.nonce.reveal())]
    for member in changes.members { all[member.key] = member.value }
    let claims = claims(all)
    let token = try sign.map { try $0(claims) } ?? key.sign(claims)
    var members: JSONObject = ["id_token": .string(token)]
    for member in answer.members { members[member.key] = member.value }
    tokenEndpointAnswers(Self.tokenAnswer(members))
    let query = FormURLEncoded.encode([("code", "code-1"), ("state", request.pending.state.reveal()), ("iss", Self.issuer)])
    return try await party.finishLogin(request.pending, query: Array(query.utf8))
  }
}

/// The error that an operation throws, nil when it throws none or another type.
package func oidcError<Value>(_ operation: () async throws -> Value) async -> OIDCError? {
  do {
    _ = try await operation()
    return nil
  } catch { return error as? OIDCError }
}
