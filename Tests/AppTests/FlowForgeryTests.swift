import Cryptography
import HTTPMessage
import IntercomCore
import IntercomTesting
import JOSE
import StrictJSON
import Testing

@Suite("Flow: forged requests", .serialized)
struct FlowForgeryTests {
  /// What a page that is not allowed can make a victim's browser send, cookies included: from another site (Sec-Fetch-Site `cross-site`), and
  /// from a sibling (`same-site`), for which SameSite holds nothing back.
  struct Forgery: Sendable, CustomStringConvertible {
    var description: String
    var method: String
    var fields: [(String, String)]
    var body: [UInt8]?
    /// Where such a request is allowed all the same, because it only reads: the address bar of the tab itself.
    var isTopLevelGet = false
  }

  static func forgeries(from site: String, origin: String) -> [Forgery] {
    let fetch = [("Sec-Fetch-Site", site), ("Sec-Fetch-Mode", "no-cors"), ("Sec-Fetch-Dest", "empty")]
    let form = [("Sec-Fetch-Site", site), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "document"), ("Accept", "text/html")]
    let frame = [("Sec-Fetch-Site", site), ("Sec-Fetch-Mode", "navigate"), ("Sec-Fetch-Dest", "iframe"), ("Accept", "text/html")]
    let from = [("Origin", origin)]
    var all = [
      Forgery(
        description: "a form", method: "POST", fields: form + from + [("Content-Type", "application/x-www-form-urlencoded")],
        body: Array("a=b".utf8)),
      Forgery(
        description: "a form without an Origin", method: "POST", fields: form + [("Content-Type", "application/x-www-form-urlencoded")],
        body: Array("a=b".utf8)),
      Forgery(description: "a form into a frame", method: "POST", fields: frame + from, body: []),
      Forgery(description: "a form of a sandboxed page", method: "POST", fields: form + [("Origin", "null")], body: []),
      Forgery(description: "a POST without a body", method: "POST", fields: fetch + from, body: []),
      Forgery(description: "a POST without a body, Origin, or Fetch Metadata", method: "POST", fields: [], body: []),
      Forgery(
        description: "a text/plain body", method: "POST", fields: fetch + from + [("Content-Type", "text/plain")],
        body: Array("{\"a\":1}".utf8)),
      Forgery(
        description: "a multipart body", method: "POST", fields: form + from + [("Content-Type", "multipart/form-data; boundary=x")],
        body: Array("--x\r\nContent-Disposition: form-data; name=\"f\"; filename=\"a\"\r\n\r\nb\r\n--x--\r\n".utf8)),
      Forgery(
        description: "a beacon", method: "POST", fields: fetch + from + [("Content-Type", "application/json")], body: Array("{}".utf8)),
      Forgery(description: "a script without CORS", method: "GET", fields: fetch),
      Forgery(description: "a script with CORS", method: "GET", fields: [("Sec-Fetch-Site", site), ("Sec-Fetch-Mode", "cors")] + from),
      Forgery(
        description: "an image", method: "GET",
        fields: [("Sec-Fetch-Site", site), ("Sec-Fetch-Mode", "no-cors"), ("Sec-Fetch-Dest", "image")]),
      Forgery(description: "an image of an old browser", method: "GET", fields: [("Accept", "image/*,*/*")]),
      Forgery(description: "a frame", method: "GET", fields: frame),
      Forgery(description: "a HEAD", method: "HEAD", fields: fetch),
      Forgery(description: "an overridden method", method: "POST", fields: form + from + [("X-HTTP-Method-Override", "GET")], body: []),
      Forgery(description: "a wrong proof", method: "POST", fields: form + [("X-CSRF-Token", String(repeating: "A", count: 43))], body: []),
      Forgery(description: "a link", method: "GET", fields: form, isTopLevelGet: true),
    ]
    for method in ["PUT", "DELETE", "PATCH", "MOVE", "PROPFIND"] {
      all.append(Forgery(description: "a \(method)", method: method, fields: fetch + from, body: method == "PUT" ? [] : nil))
      all.append(Forgery(description: "a \(method) without an Origin", method: method, fields: fetch, body: nil))
    }
    return all
  }

  @Test(
    "Request forgery from a sibling or another site: by form, empty, text/plain or multipart POST, image or frame, on every route (S21, S35)",
    arguments: ["same-site", "cross-site"])
  func everyRoute(_ site: String) async throws {
    try await FlowFixture.run { flow in
      let cookie = try #require(await flow.signedIn().jar["intercom"]?.value)
      let origin = site == "same-site" ? "http://evil.localhost:\(flow.upstream.port)" : "https://evil.example"
      flow.upstream.forget()
      for door in flow.guardedDoors {
        for forgery in Self.forgeries(from: site, origin: origin) where door.methods.contains(forgery.method) {
          let cookies = [("Cookie", "intercom=\(cookie)")]
          let answer = try await flow.client.send(
            forgery.method, flow.url(door.target), fields: cookies + forgery.fields, body: forgery.body)
          if forgery.isTopLevelGet, door.route.csrf == .anyProof {
            #expect(answer.status != 401, "\(door): \(forgery)")
          } else {
            #expect(answer.status == 403, "\(door): \(forgery) is \(answer.status)")
            #expect(answer.field("access-control-allow-origin") == nil && answer.variesByOrigin, "\(door): \(forgery)")
          }
        }
      }
      #expect(flow.upstream.requests.allSatisfy { $0.method == .get && $0.body.isEmpty })
    }
  }

  @Test(
    "Login and logout forgery: no request of another page signs out, changes the session, or is answered with its message (S21, S35)",
    arguments: ["same-site", "cross-site"])
  func ownEndpoints(_ site: String) async throws {
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      let cookie = try #require(await visitor.jar["intercom"]?.value)
      let origin = site == "same-site" ? "http://evil.localhost:\(flow.upstream.port)" : "https://evil.example"
      for door in flow.doors {
        guard case .own(let name) = door.kind else { continue }
        for forgery in Self.forgeries(from: site, origin: origin) {
          if name == "logout", forgery.isTopLevelGet { continue }
          let cookies = [("Cookie", "intercom=\(cookie)")]
          let answer = try await flow.client.send(
            forgery.method, flow.url(door.target), fields: cookies + forgery.fields, body: forgery.body)
          #expect(!answer.all("set-cookie").contains { $0.hasPrefix("intercom=") }, "\(door): \(forgery)")
          #expect(answer.field("access-control-allow-origin") == nil, "\(door): \(forgery)")
          if forgery.fields.contains(where: { $0.0 == "Origin" }), !door.route.ignoresOrigin, name != "home" {
            #expect(answer.status == 403, "\(door): \(forgery) is \(answer.status)")
          }
        }
      }
      #expect(flow.codeCalls == 1)
      #expect(try await flow.isAlive(visitor))
    }
  }

  /// Everything that Intercom or its provider gives out, by name.
  private func everyToken(_ flow: FlowFixture, _ visitor: Visitor) async throws -> [String: String] {
    var tokens: [String: String] = [:]
    for route in ["own", "fs", "fs2"] {
      _ = try await flow.fetch(visitor, "GET", "/\(route)/kind")
      let bearer = flow.upstream.requests.last?.field("authorization") ?? ""
      tokens[route == "own" ? "access token" : "exchanged token \(route)"] = String(bearer.dropFirst(7))
    }
    tokens["session"] = await visitor.jar["intercom"]?.value
    tokens["login binding"] = await visitor.jar["intercom-login"]?.value
    tokens["CSRF token"] = try await flow.csrfToken(visitor)
    let other = Visitor()
    let callback = try await flow.authorize(other, flow.begin(other)).target
    tokens["state"] = FormText.value("state", in: String(callback.drop { $0 != "?" }.dropFirst()))
    tokens["code"] = FormText.value("code", in: String(callback.drop { $0 != "?" }.dropFirst()))
    let second = try await flow.signedIn()
    let logout = try await flow.send(second, "GET", "/logout?returnTo=%2Fplain%2Fbye", FlowFixture.navigation).field("location") ?? ""
    let query = String(logout.drop { $0 != "?" }.dropFirst())
    tokens["sign-out state"] = FormText.value("state", in: query)
    tokens["id token"] = FormText.value("id_token_hint", in: query)
    tokens["logout token"] = try flow.logoutToken(subject: "bob-id")
    let answer = try #require(flow.tokenCalls("authorization_code").first)
    let fields = try FormFields(parsing: answer.body)
    tokens["code verifier"] = fields.single("code_verifier")
    return tokens
  }

  @Test("Token confusion: each kind of token that Intercom or the provider gives out is refused in every place of another kind (S32, S14)")
  func confusion() async throws {
    try await FlowFixture.run { flow in
      let visitor = try await flow.signedIn()
      let cookie = try #require(await visitor.jar["intercom"]?.value)
      let tokens = try await everyToken(flow, visitor)
      #expect(tokens.count == 12 && tokens.values.allSatisfy { $0.utf8.count > 20 }, "\(tokens.keys.sorted())")
      flow.upstream.forget()
      for (kind, token) in tokens {
        let escaped = FormText.escape(token)
        if kind != "session" {
          #expect(try await flow.ask("GET", "/plain/x", cookie: token).status == 401, "\(kind) as session cookie")
        }
        #expect(
          try await flow.ask("GET", "/plain/x", cookie: nil, [("Origin", flow.app), ("Authorization", "Bearer \(token)")]).status == 401,
          "\(kind) as bearer")
        if kind != "CSRF token" {
          #expect(
            try await flow.ask("GET", "/nob/x", cookie: cookie, [("Origin", flow.app), ("X-CSRF-Token", token)]).status == 403,
            "\(kind) as proof")
        }
        if kind != "logout token" {
          #expect(
            try await flow.client.post(flow.base + "/backchannel-logout", form: ["logout_token": token]).status == 400,
            "\(kind) as logout token")
        }
        if kind != "sign-out state" {
          #expect(try await flow.client.get(flow.base + "/?state=" + escaped).status == 200, "\(kind) as sign-out state")
        }
        // In the callback: as state with a code, and as code with a state that is not this browser's.
        let login = [("Cookie", "intercom-login=\(token)")] + FlowFixture.navigation
        for query in ["state=\(escaped)&code=x", "state=\(FormText.escape(tokens["state"] ?? ""))&code=\(escaped)"] {
          let target = "/callback?\(query)&iss=\(FormText.escape(flow.issuer))"
          #expect(
            try await flow.client.send("GET", flow.url(target), fields: login).status == 400, "\(kind) at the callback: \(query.prefix(10))"
          )
        }
      }
      #expect(flow.upstream.requests.isEmpty)
      #expect(flow.codeCalls == 2)
      #expect(try await flow.isAlive(visitor))
    }
  }
}
