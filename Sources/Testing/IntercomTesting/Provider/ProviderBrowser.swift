import Cryptography
import HTTPMessage
import HTTPServer
import IntercomCore

/// A browser in front of an endpoint, for one origin: keeps cookies, fills in the sign-in form, stops where a redirect leaves the origin.
package actor ProviderBrowser {
  private let endpoint: Endpoint
  private let origin: String
  package private(set) var cookies: [String: String] = [:]

  package init(_ endpoint: @escaping Endpoint, origin: String) {
    self.endpoint = endpoint
    self.origin = origin
  }

  package func setCookie(_ name: String, _ value: String?) { cookies[name] = value }

  /// One request; cookies are sent and taken.
  package func send(_ method: Method, _ url: String, form: [(String, String)]? = nil, fields: Fields = Fields()) async throws -> Response {
    let absolute = url.hasPrefix("/") ? origin + url : url
    guard let target = SplitURL(absolute) else { throw TransportError.badURL }
    var fields = fields
    if !cookies.isEmpty {
      fields.append("Cookie", cookies.sorted { $0.key < $1.key }.map { "\($0.key)=\($0.value)" }.joined(separator: "; "))
    }
    if form != nil { fields.append("Content-Type", "application/x-www-form-urlencoded") }
    let body = Array(SplitURL.encode(form ?? []).utf8)
    let response = try await endpoint(target.request(method, fields, body: body), RequestBody(bytes: body))
    for line in response.fields.values("set-cookie") { store(String(decoding: line, as: UTF8.self)) }
    return response
  }

  private func store(_ line: String) {
    let pair = line.prefix { $0 != ";" }
    guard let equals = pair.firstIndex(of: "=") else { return }
    let dropped = line.contains("Max-Age=0")
    cookies[String(pair[..<equals])] = dropped ? nil : String(pair[pair.index(after: equals)...])
  }

  /// Opens an authorization URL and signs in on the page that it shows; gives where the provider sends the browser at the end.
  package func signIn(_ authorizationURL: String, _ username: String, _ password: String) async throws -> SplitURL? {
    var response = try await send(.get, authorizationURL)
    if response.status == 200 {
      let page = String(decoding: try await response.collectedBody(), as: UTF8.self)
      guard let form = HTMLForm(in: page) else { return nil }
      response = try await send(.post, form.action, form: form.hidden + [("username", username), ("password", password)])
    }
    return response.fields.single("location").flatMap { SplitURL($0) }
  }
}

/// A PKCE pair ([RFC 7636 Appendix B](https://www.rfc-editor.org/rfc/rfc7636#appendix-B)).
package enum PKCEExample {
  package static let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
  package static let challenge = "E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM"
}
