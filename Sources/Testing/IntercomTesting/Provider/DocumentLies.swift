import Cryptography
import HTTPMessage
import HTTPServer
import IntercomCore
import JOSE
import StrictJSON

/// Metadata, key sets and authorization responses that lie.
extension MisbehavingProvider {
  func metadata(_ document: inout JSONObject, _ lie: MetadataLie) {
    func plain(_ name: Identifier) {
      document[name] = .string((document[name]?.string ?? "").replacing("https:", with: "http:").replacing("id.", with: "plain."))
    }
    let issuer = document["issuer"]?.string ?? ""
    switch lie {
    case .issuer: document["issuer"] = "https://evil.example"
    case .issuerWithSlash: document["issuer"] = .string(issuer + "/")
    case .issuerInCapitals: document["issuer"] = .string(issuer.uppercased())
    case .issuerMissing: document["issuer"] = nil
    case .authorizationMissing: document["authorization_endpoint"] = nil
    case .tokenMissing: document["token_endpoint"] = nil
    case .keysMissing: document["jwks_uri"] = nil
    case .tokenIsNumber: document["token_endpoint"] = 7
    case .tokenIsFile: document["token_endpoint"] = "file:///etc/passwd"
    case .tokenWithUser: document["token_endpoint"] = "https://user:password@id.example/token"
    case .authorizationIsScript: document["authorization_endpoint"] = "javascript:alert(1)"
    case .endSessionIsData: document["end_session_endpoint"] = "data:text/html,x"
    case .keysLinkLocal: document["jwks_uri"] = "http://169.254.169.254/latest/meta-data/"
    case .tokenLinkLocal: document["token_endpoint"] = "http://2852039166/token"
    case .tokenPlain: plain("token_endpoint")
    case .keysPlain: plain("jwks_uri")
    case .authorizationPlain: plain("authorization_endpoint")
    }
  }

  func keys(_ document: inout JSONObject, _ lie: KeySetLie) throws {
    let honest = document["keys"]?.array ?? []
    func each(_ change: (inout JSONObject) -> Void) -> JSONValue {
      .array(
        honest.map { value in
          guard var key = value.object else { return value }
          change(&key)
          return .object(key)
        })
    }
    /// Small keys that cannot be used, so that two thousand stay below the limit of bytes.
    func others(_ count: Int) -> [JSONValue] { (0..<count).map { .object(["kty": "oct", "kid": .string("junk-\($0)")]) } }
    switch lie {
    case .empty: document["keys"] = []
    case .notAList: document["keys"] = .object([:])
    case .symmetric: document["keys"] = [.object(["kty": "oct", "kid": "key-1", "alg": "HS256", "k": "c2VjcmV0"])]
    case .privateHalves: document["keys"] = each { $0["d"] = $0["x"] }
    case .encryption: document["keys"] = each { $0["use"] = "enc" }
    case .wrongCurvePoint: document["keys"] = each { $0["y"] = $0["x"] }
    case .smallRSA:
      let modulus = Base64URL.encode([0xc1] + [UInt8](repeating: 0x35, count: 63))
      document["keys"] = [.object(["kty": "RSA", "kid": "key-1", "alg": "RS256", "e": "AQAB", "n": .string(modulus)])]
    case .thousandsBefore: document["keys"] = .array(others(2_000) + honest)
    case .thousandsAfter: document["keys"] = .array(honest + others(2_000))
    case .manyOfOneName:
      let twin = try SigningKey.generate(key.algorithm, keyID: key.keyID)
      document["keys"] = .array([JSONValue](repeating: .object(twin.publicJWK), count: 50) + honest)
    case .oversized:
      document["keys"] = .array(honest + [JSONValue](repeating: .object(key.publicJWK), count: 2_000))
    case .ofSomebodyElse:
      document["keys"] = .array(
        try ["key-1", "key-2"].map { .object(try SigningKey.generate(key.algorithm, keyID: $0).publicJWK) })
    }
  }

  // MARK: The way back through the browser

  func authorization(_ honest: Response, _ lie: AuthorizationLie) -> Response {
    guard let location = honest.fields.single("location"), let mark = location.firstIndex(of: "?") else { return honest }
    var parts = location[location.index(after: mark)...].split(separator: "&", omittingEmptySubsequences: false).map(String.init)
    func set(_ name: String, _ value: String?) {
      parts.removeAll { $0.hasPrefix(name + "=") }
      if let value { parts.append("\(name)=\(value)") }
    }
    func error(_ word: String) {
      set("code", nil)
      set("error", word)
    }
    switch lie {
    case .issuer: set("iss", "https%3A%2F%2Fevil.example")
    case .issuerMissing: set("iss", nil)
    case .issuerTwice: parts.append("iss=https%3A%2F%2Fevil.example")
    case .issuerEmpty: set("iss", "")
    case .state: set("state", String(repeating: "A", count: 43))
    case .stateMissing: set("state", nil)
    case .stateTwice: parts.append("state=another")
    case .stateEmpty: set("state", "")
    case .stateOversized: set("state", String(repeating: "A", count: 600))
    case .code: set("code", "a-code-of-nobody")
    case .codeMissing: set("code", nil)
    case .codeTwice: parts.append("code=another")
    case .codeEmpty: set("code", "")
    case .codeOversized: set("code", String(repeating: "A", count: 4_500))
    case .codeWithLineFeed: set("code", "a%0d%0aX-Admin%3A%20yes")
    case .codeAndError: parts.append("error=login_required")
    case .errorAccessDenied: error("access_denied")
    case .errorUnknown: error("out_of_cheese")
    case .errorServer: error("server_error")
    case .errorWithMarkup: error("%3Cscript%3Ealert(1)%3C%2Fscript%3E")
    }
    var response = honest
    response.fields.set("Location", location[...mark] + parts.joined(separator: "&"))
    return response
  }
}
