import HTTPMessage
import HTTPServer
import IntercomTesting

/// A provider, or a broken proxy before it, that answers with what it was sent: the client secret, codes, tokens, the PKCE verifier.
enum HostileEcho: CaseIterable {
  case serverErrorPage, sentence, shortSentence, errorWord, redirect, contentType, fieldNames, duplicateKeys, tokenType, unauthorized,
    notJSON

  /// Everything of the request that is confidential, decoded.
  private func confided(_ request: SeenRequest) -> String {
    let form = (try? FormFields(parsing: request.body))?.all.map {
      String(decoding: $0.name, as: UTF8.self) + "=" + String(decoding: $0.value, as: UTF8.self)
    }
    return (form ?? []).joined(separator: " ") + " " + CanaryWorkplace.clientSecret + " " + (request.field("authorization") ?? "")
  }

  func answer(_ request: SeenRequest) -> Response {
    let all = confided(request)
    let json: Fields = ["Content-Type": "application/json"]
    func object(_ pairs: KeyValuePairs<String, String>) -> [UInt8] {
      var out = Array("{".utf8)
      for (name, value) in pairs {
        if out.count > 1 { out.append(UInt8(ascii: ",")) }
        Problem.appendString(name, to: &out)
        out.append(UInt8(ascii: ":"))
        Problem.appendString(value, to: &out)
      }
      return out + [UInt8(ascii: "}")]
    }
    let secret = CanaryWorkplace.clientSecret
    switch self {
    case .serverErrorPage: return Response(500, ["Content-Type": "text/html"], Array(all.utf8))
    case .sentence: return Response(400, json, object(["error": "invalid_request", "error_description": all]))
    // Short words: what is cut at length would pass them.
    case .shortSentence:
      let pieces = stride(from: 0, to: 40, by: 20).map { String(all.dropFirst($0).prefix(20)) }.joined(separator: " ")
      return Response(400, json, object(["error": "invalid_scope", "error_description": "got \(String(secret.suffix(20))) and \(pieces)"]))
    case .errorWord:
      return Response(
        400, json, object(["error": String(secret.utf8.filter { $0 > 0x20 && $0 < 0x7f }.map { Character(Unicode.Scalar($0)) })]))
    case .redirect: return Response(302, ["Location": "http://evil.example/?\(FormText.escape(all))"])
    case .contentType: return Response(200, ["Content-Type": "text/\(FormText.escape(secret))"], object(["access_token": all]))
    case .fieldNames: return Response(200, json, object([all: "x"]))
    case .duplicateKeys: return Response(200, json, Array(object([all: "x", secret: "y"]).dropLast()) + Array(",\"x\":1,\"x\":2}".utf8))
    case .tokenType:
      return Response(200, json, object(["token_type": all, "access_token": secret, "issued_token_type": all, "id_token": all]))
    case .unauthorized:
      return Response(
        401, ["Content-Type": "application/json", "WWW-Authenticate": "Basic realm=\"\(FormText.escape(all))\""],
        object(["error": "invalid_client", "error_description": all]))
    case .notJSON: return Response(200, json, Array(all.utf8))
    }
  }
}
