import HTTPMessage
import IntercomCore

/// The cookies of a test visitor, kept as a browser keeps them (RFC 6265 §5), except that expiry is only "now" or "never", and Secure cookies
/// are sent to `localhost` and `*.localhost` over http, as browsers do.
package struct CookieJar: Sendable {
  package struct Cookie: Sendable {
    package var name: String
    package var value: String
    package var domain: String
    package var hostOnly: Bool
    package var path: String
    /// The attributes as they came, in lower case, such as `httponly` and `samesite=lax`.
    package var attributes: [String]
  }
  package private(set) var cookies: [Cookie] = []

  package init() {}

  /// Takes every Set-Cookie of an answer.
  package mutating func store(_ answer: HTTPAnswer, from url: LoopbackURL) {
    for line in answer.all("set-cookie") { store(line, from: url) }
  }

  package mutating func store(_ line: String, from url: LoopbackURL) {
    let parts = line.split(separator: ";").map { $0.trimmed }
    guard let pair = parts.first, let equals = pair.firstIndex(of: "=") else { return }
    let attributes = parts.dropFirst().map { $0.lowercased() }
    func attribute(_ name: String) -> String? {
      attributes.last { $0.hasPrefix(name + "=") }.map { String($0.dropFirst(name.count + 1)) }
    }
    let path = parts.dropFirst().last { $0.lowercased().hasPrefix("path=/") }.map { String($0.dropFirst(5)) }
    let domain = attribute("domain").map { $0.hasPrefix(".") ? String($0.dropFirst()) : $0 }
    let cookie = Cookie(
      name: String(pair[..<equals]), value: String(pair[pair.index(after: equals)...]), domain: domain ?? url.host, hostOnly: domain == nil,
      path: path ?? "/", attributes: attributes)
    cookies.removeAll { $0.name == cookie.name && $0.domain == cookie.domain && $0.path == cookie.path }
    let expired = (attribute("max-age").flatMap { Int($0) }).map { $0 <= 0 } ?? (attribute("expires")?.contains("1970") ?? false)
    if !expired { cookies.append(cookie) }
  }

  /// The value for a Cookie field, longest paths first; nil when there is none.
  package func header(for url: LoopbackURL) -> String? {
    let path = String(url.target.prefix { $0 != "?" })
    let matching = cookies.filter { cookie in
      let hostMatches = cookie.domain == url.host || (!cookie.hostOnly && url.host.hasSuffix("." + cookie.domain))
      let folder = cookie.path.hasSuffix("/") ? cookie.path : cookie.path + "/"
      return hostMatches && (path == cookie.path || path.hasPrefix(folder))
    }
    guard !matching.isEmpty else { return nil }
    return matching.sorted { $0.path.utf8.count > $1.path.utf8.count }.map { "\($0.name)=\($0.value)" }.joined(separator: "; ")
  }

  package subscript(_ name: String) -> Cookie? { cookies.last { $0.name == name } }

  package mutating func remove(_ name: String) { cookies.removeAll { $0.name == name } }
}

/// A page's form, read without a browser: enough for the sign-in pages of the demo and of Keycloak.
package struct HTMLForm: Sendable {
  package var action: String
  /// Hidden inputs in order.
  package var hidden: [(String, String)]

  /// The first `<form` of the page that has an action.
  package init?(in page: String) {
    for form in page.tags("form") {
      guard let action = form.tag.attribute("action") else { continue }
      self.action = action
      hidden = form.rest.upTo("</form").tags("input").compactMap { input in
        guard input.tag.attribute("type") == "hidden", let name = input.tag.attribute("name") else { return nil }
        return (name, input.tag.attribute("value") ?? "")
      }
      return
    }
    return nil
  }
}

/// A person with a browser, without the browser: keeps cookies, follows redirects when told, fills in forms.
package actor Visitor {
  package private(set) var jar = CookieJar()
  /// The answers on the way of the last `open` or `submit`, redirects included.
  package private(set) var trail: [(url: LoopbackURL, answer: HTTPAnswer)] = []
  private let client: RawHTTPClient

  package init(timeout: Duration = .seconds(10)) { client = RawHTTPClient(timeout: timeout) }

  /// The cookie of that name is gone, as when a browser drops it.
  package func forget(_ name: String) { jar.remove(name) }

  /// A cookie that somebody else put into this browser, as a `Set-Cookie` of that URL would.
  package func plant(_ line: String, at url: LoopbackURL) { jar.store(line, from: url) }

  /// Where the last answer came from.
  package var location: String { trail.last?.url.description ?? "" }

  /// One request with this visitor's cookies, whose cookies it takes. Redirects are answers.
  @discardableResult
  package func send(
    _ method: String, _ url: LoopbackURL, _ fields: [(String, String)] = [], body: [UInt8]? = nil
  ) async throws -> HTTPAnswer {
    let cookies = jar.header(for: url).map { [("Cookie", $0)] } ?? []
    let answer = try await client.send(method, url, fields: cookies + fields, body: body)
    jar.store(answer, from: url)
    return answer
  }

  /// A request of a page's script, such as `fetch(…, {credentials: "include"})` from `origin`.
  @discardableResult
  package func fetch(
    _ method: String, _ url: String, origin: String? = nil, _ fields: KeyValuePairs<String, String> = [:], body: [UInt8]? = nil
  ) async throws -> HTTPAnswer {
    var all = [("Sec-Fetch-Mode", "cors"), ("Sec-Fetch-Dest", "empty")]
    if let origin { all.append(("Origin", origin)) }
    return try await send(method, LoopbackURL(url), all + fields.map { ($0.key, $0.value) }, body: body)
  }

  /// Opens a page as a top-level navigation (`dest: "iframe"` for a frame) and follows redirects, at most 20.
  @discardableResult
  package func open(_ url: String, dest: String = "document", referer: String? = nil) async throws -> HTTPAnswer {
    trail = []
    return try await navigate("GET", LoopbackURL(url), dest: dest, referer: referer, body: nil)
  }

  /// Fills in and sends the form of the last page.
  @discardableResult
  package func submit(_ values: KeyValuePairs<String, String>) async throws -> HTTPAnswer {
    guard let (url, page) = trail.last, let form = HTMLForm(in: page.text) else {
      throw WaitFailure("no form at \(location)", within: .zero, seen: String((trail.last?.answer.text ?? "").prefix(2_000)))
    }
    let pairs = form.hidden + values.map { ($0.key, $0.value) }
    trail = []
    return try await navigate(
      "POST", url.resolve(form.action), dest: "document", referer: url.description, body: Array(FormText.encode(pairs).utf8))
  }

  private func navigate(_ method: String, _ start: LoopbackURL, dest: String, referer: String?, body: [UInt8]?) async throws -> HTTPAnswer {
    var (method, url, body) = (method, start, body)
    for _ in 0..<20 {
      var fields = [("Accept", "text/html,*/*;q=0.8"), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", dest)]
      if let referer { fields.append(("Referer", referer)) }
      if body != nil { fields.append(("Content-Type", "application/x-www-form-urlencoded")) }
      let answer = try await send(method, url, fields, body: body)
      trail.append((url, answer))
      guard (300..<400).contains(answer.status), let next = answer.field("location") else { return answer }
      url = try url.resolve(next)
      if answer.status != 307, answer.status != 308 { (method, body) = ("GET", nil) }
    }
    throw WaitFailure("more than 20 redirects, the last to \(url)", within: .zero)
  }
}

extension StringProtocol {
  fileprivate var trimmed: String {
    var rest = self[...]
    while rest.first == " " { rest = rest.dropFirst() }
    while rest.last == " " { rest = rest.dropLast() }
    return String(rest)
  }

  /// The text before the first occurrence of `end`, or all of it.
  fileprivate func upTo(_ end: String) -> String { components(separated: end).first ?? String(self) }

  fileprivate func components(separated separator: String) -> [String] {
    String(self).split(separator: separator, omittingEmptySubsequences: false).map(String.init)
  }

  /// Every `<name …>` with what follows it.
  fileprivate func tags(_ name: String) -> [(tag: String, rest: String)] {
    let pieces = components(separated: "<" + name)
    return pieces.indices.dropFirst().compactMap { index in
      let piece = pieces[index]
      guard piece.first?.isWhitespace == true || piece.first == ">", let end = piece.firstIndex(of: ">") else { return nil }
      let rest = piece[piece.index(after: end)...] + pieces[(index + 1)...].map { "<" + name + $0 }.joined()
      return (String(piece[..<end]), String(rest))
    }
  }

  /// The value of ` name="…"` with character references decoded.
  fileprivate func attribute(_ name: String) -> String? {
    let flat = String(map { $0.isWhitespace ? " " : $0 })
    let parts = flat.components(separated: " " + name + "=\"")
    guard parts.count > 1 else { return nil }
    return parts[1].upTo("\"").replacing("&lt;", with: "<").replacing("&gt;", with: ">").replacing("&quot;", with: "\"")
      .replacing("&#39;", with: "'").replacing("&amp;", with: "&")
  }
}
