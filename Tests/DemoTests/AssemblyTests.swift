import DemoWorkplace
import HTTPMessage
import HTTPServer
import IntercomCore
import IntercomTesting
import StrictJSON
import Testing

@Suite struct AssemblyTests {
  /// Nobody is called in these tests.
  private struct NoTransport: HTTPTransport {
    func send(_ request: OutboundRequest, deadline: MonotonicInstant) async throws(TransportError) -> OutboundResponse { throw .cancelled }
  }

  private static func run(_ body: (DemoAssembly) async throws -> Void) async throws {
    let folder = try DemoFolder.make()
    defer { folder.remove() }
    try await body(
      DemoAssembly(
        port: 8008, folder: folder, workers: nil, time: SystemTime(), random: SystemRandom(), transport: NoTransport()))
  }

  private static func send(
    _ demo: DemoAssembly, _ label: String, _ method: HTTPMessage.Method, _ target: String, _ fields: KeyValuePairs<String, String> = [:],
    form: [(String, String)]? = nil
  ) async throws -> Answer {
    let site = try #require(demo.site(DemoAddresses.host(label)))
    let parts = target.split(separator: "?", maxSplits: 1).map(String.init)
    var request = Request(method: method, rawPath: Array(parts[0].utf8), host: site.host, fields: Fields(fields))
    if parts.count > 1 { request.query = Array(parts[1].utf8) }
    var body = ""
    if let form {
      request.fields.append("Content-Type", "application/x-www-form-urlencoded")
      body = form.map { "\($0)=\(PercentCoding.encode($1))" }.joined(separator: "&")
    }
    return try await Answer(site.endpoint(request, RequestBody(bytes: Array(body.utf8))))
  }

  @Test("the provider names itself by its own host, and the store believes the keys that it publishes")
  func metadata() async throws {
    try await Self.run { demo in
      #expect(demo.issuer == "http://id.intercom.localhost:8008")
      let metadata = try await Self.send(demo, "id", .get, "/.well-known/openid-configuration")
      #expect(try StrictJSON.object(metadata.body)["issuer"]?.string == demo.issuer)
      #expect(demo.sites.map(\.host.description).sorted() == ["files", "id", "mail", "portal"].map { "\($0).intercom.localhost" })
      #expect("\(demo.client)".contains(demo.client.secret.reveal()) == false)
    }
  }

  @Test("alice signs in, her token is exchanged, and only the exchanged one opens the file store")
  func wholeWay() async throws {
    try await Self.run { demo in
      let callback = "http://intercom.localhost:8008/callback"
      // RFC 7636, appendix B.
      let verifier = "dBjftJeZ4CVP-mB92K27uhbUJU1p1r_wW1gFWFOEjXk"
      let authorize =
        "/authorize?response_type=code&client_id=intercom&redirect_uri=\(PercentCoding.encode(callback))&scope=openid%20profile&state=s&nonce=n"
        + "&code_challenge=E9Melhoa2OwvFrEMTJguCHaoeK1t8URWbuGJSstw-cM&code_challenge_method=S256"
      let page = try await Self.send(demo, "id", .get, authorize)
      let cookie = try #require(page.field("set-cookie")?.split(separator: ";").first.map(String.init))
      let action = String(try #require(page.text.firstMatch(of: /<form action="([^"]+)" method="post">/)).output.1)
      var form = [("username", "alice"), ("password", "alice")]
      for input in page.text.matches(of: /<input type="hidden" name="([^"]+)" value="([^"]*)">/) {
        form.append((String(input.output.1), String(input.output.2)))
      }
      let path = action.replacing("http://id.intercom.localhost:8008", with: "")
      let signedIn = try await Self.send(demo, "id", .post, path, ["Cookie": cookie, "Origin": demo.issuer], form: form)
      let location = try #require(signedIn.field("location"))
      let code = String(try #require(location.firstMatch(of: /[?&]code=([^&]+)/)).output.1)
      let basic: [(String, String)] = [("client_id", "intercom"), ("client_secret", demo.client.secret.reveal())]
      let tokens = try await Self.send(
        demo, "id", .post, "/token",
        form: basic + [
          ("grant_type", "authorization_code"), ("code", code), ("redirect_uri", callback), ("code_verifier", verifier),
        ])
      let own = try #require(try StrictJSON.object(tokens.body)["access_token"]?.string)
      let exchanged = try await Self.send(
        demo, "id", .post, "/token",
        form: basic + [
          ("grant_type", "urn:ietf:params:oauth:grant-type:token-exchange"), ("subject_token", own),
          ("subject_token_type", "urn:ietf:params:oauth:token-type:access_token"), ("audience", "files"),
        ])
      let forFiles = try #require(try StrictJSON.object(exchanged.body)["access_token"]?.string)

      let refused = try await Self.send(demo, "files", .propfind, "/", ["Depth": "1", "Authorization": "Bearer \(own)"])
      #expect(refused.status == 401 && refused.field("www-authenticate")?.contains("audience") == true)
      let listed = try await Self.send(demo, "files", .propfind, "/", ["Depth": "1", "Authorization": "Bearer \(forFiles)"])
      #expect(listed.status == 207 && listed.text.contains("<D:displayname>alice</D:displayname>"))
      let file = try await Self.send(demo, "files", .get, "/Quarterly%20report.pdf", ["Authorization": "Bearer \(forFiles)"])
      #expect(file.status == 200 && file.text.hasPrefix("%PDF-"))
    }
  }
}
