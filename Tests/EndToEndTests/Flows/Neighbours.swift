import Cryptography
import FoundationEssentials
import IntercomCore
import IntercomTesting
import StrictJSON

/// Keycloak's administrator, by the admin API of the realm.
struct KeycloakAdmin: Sendable {
  let services: Services
  private let client = RawHTTPClient(timeout: .seconds(20))

  init(_ services: Services) { self.services = services }

  /// One call below the realm; an answer that is not 2xx is an error.
  @discardableResult
  func call(_ method: String, _ path: String, _ body: JSONValue? = nil) async throws -> HTTPAnswer {
    let server = try LoopbackURL(services.issuer).origin
    let grant = try await client.post(
      server + "/realms/master/protocol/openid-connect/token",
      form: ["grant_type": "password", "client_id": "admin-cli", "username": "admin", "password": "admin"])
    let token = try StrictJSON.object(grant.body)["access_token"]?.string ?? ""
    let answer = try await client.send(
      method, LoopbackURL("\(server)/admin/realms/workplace\(path)"),
      fields: [("Authorization", "Bearer \(token)"), ("Content-Type", "application/json")], body: body?.serialized)
    guard (200..<300).contains(answer.status) else {
      throw WaitFailure("\(method) \(path): \(answer.status)", within: .zero, seen: answer.text)
    }
    return answer
  }

  /// The id of a user, which is the `sub` of his tokens. It also imports a person of the directory who never signed in.
  func id(of user: String) async throws -> String {
    let found = try await call("GET", "/users?exact=true&username=\(FormText.escape(user))")
    guard let id = try StrictJSON.parse(found.body).array?.first?.object?["id"]?.string else {
      throw WaitFailure("no user \(user)", within: .zero, seen: found.text)
    }
    return id
  }

  /// What the button "Log out all sessions" of a user does.
  func endSessions(of user: String) async throws { try await call("POST", "/users/\(id(of: user))/logout") }

  /// What "Sign out" beside one session does; `sid` is the session's id in tokens.
  func endSession(sid: String, isOffline: Bool = false) async throws {
    try await call("DELETE", "/sessions/\(FormText.escape(sid))" + (isOffline ? "?isOffline=true" : ""))
  }

  /// What "Sync all users" of the directory does: who is no longer there is no longer a user.
  func synchronize() async throws {
    let found = try await call("GET", "/components?name=directory&type=org.keycloak.storage.UserStorageProvider")
    guard let id = try StrictJSON.parse(found.body).array?.first?.object?["id"]?.string else {
      throw WaitFailure("no federated directory", within: .zero, seen: found.text)
    }
    try await call("POST", "/user-storage/\(id)/sync?action=triggerFullSync")
  }
}

/// The directory, changed by the tools of its own package as an administrator does.
struct Directory: Sendable {
  private let url: String

  init(_ services: Services) { url = services.ldapURL }

  /// A new person, whose password is the name. Each test makes its own.
  func addPerson(_ purpose: String) async throws -> String {
    let name = "\(purpose)-\(UUID().uuidString.prefix(8).lowercased())"
    try await run(
      "ldapadd",
      """
      dn: \(distinguishedName(name))
      objectClass: inetOrgPerson
      uid: \(name)
      cn: \(purpose)
      sn: Passing
      mail: \(name)@example.test
      userPassword: \(name)
      """)
    return name
  }

  /// Sets one attribute of a person.
  func set(_ attribute: String, _ value: String, of name: String) async throws {
    try await run("ldapmodify", "dn: \(distinguishedName(name))\nchangetype: modify\nreplace: \(attribute)\n\(attribute): \(value)")
  }

  func remove(_ name: String) async throws { try await run("ldapmodify", "dn: \(distinguishedName(name))\nchangetype: delete") }

  private func distinguishedName(_ name: String) -> String { "uid=\(name),ou=people,dc=intercom,dc=test" }

  private func run(_ tool: String, _ ldif: String) async throws {
    let folder = PackageRoot.build + "/test-logs"
    try FileManager.default.createDirectory(atPath: folder, withIntermediateDirectories: true)
    let file = "\(folder)/\(UUID().uuidString).ldif"
    try Data((ldif + "\n").utf8).write(to: URL(filePath: file))
    defer { try? FileManager.default.removeItem(atPath: file) }
    let child = try ChildProcess(tool, ["-x", "-H", url, "-D", "cn=admin,dc=intercom,dc=test", "-w", "admin", "-f", file])
    let exit = try await child.waitForExit()
    guard exit == .code(0) else { throw WaitFailure("\(tool) ended with \(exit)", within: .zero, seen: child.outputTail) }
  }
}

/// One of the two applications whose users Keycloak signs in by SAML (services/saml/httpd.conf.template).
enum SAMLApplication: String, Sendable, CaseIterable {
  /// Keycloak sends the browser along when a session ends elsewhere.
  case wiki
  /// Keycloak calls it when a session ends elsewhere.
  case notes

  func url(_ services: Services) -> String { "\(services.samlURL)/\(rawValue)/" }

  /// Opens the application and signs in at Keycloak when it asks. Returns the page of the application.
  func signIn(_ visitor: Visitor, _ services: Services, as name: String) async throws -> String {
    var answer = try await visitor.open(url(services))
    if answer.text.contains("name=\"username\"") { answer = try await visitor.submit(["username": name, "password": name]) }
    // The page by which Keycloak posts its answer: script sends it in a browser.
    if answer.text.contains("SAMLResponse") { answer = try await visitor.submit([:]) }
    guard answer.status == 200, answer.text.contains("<strong id=\"person\">\(name)</strong>") else {
      throw WaitFailure("no page of \(rawValue) for \(name) but \(answer.status)", within: .zero, seen: String(answer.text.prefix(2_000)))
    }
    return answer.text
  }

  /// Does the application let the visitor in without asking Keycloak?
  func knows(_ visitor: Visitor, _ services: Services) async throws -> Bool {
    let answer = try await visitor.send("GET", LoopbackURL(url(services)))
    guard [200, 303].contains(answer.status) else { throw WaitFailure("\(rawValue) answers \(answer.status)", within: .zero) }
    return answer.status == 200
  }

  /// The application's own sign-out, which begins SAML single logout.
  func signOut(_ visitor: Visitor, _ services: Services) async throws {
    let answer = try await visitor.open(url(services) + "saml/logout?ReturnTo=/\(rawValue)/signed-out")
    guard answer.status == 200, answer.text.contains("id=\"signed-out\"") else {
      throw WaitFailure("not signed out at \(rawValue)", within: .zero, seen: await visitor.way + String(answer.text.prefix(2_000)))
    }
  }
}

extension Visitor {
  /// The addresses of the last navigation, without their queries.
  var way: String { trail.map { "\($0.answer.status) \($0.url.description.prefix { $0 != "?" })\n" }.joined() }
}

/// A session of Intercom, by the cookie that a browser had at a time: asked again after the browser itself may have dropped it.
struct SessionProbe: Sendable {
  let place: Workplace
  let cookie: String
  /// Path and origin of a route that needs the session.
  let path: String
  private let client = RawHTTPClient(timeout: .seconds(20))

  init(_ visitor: Visitor, _ place: Workplace, path: String = "/own/") async throws {
    guard let cookie = await visitor.jar["intercom"] else { throw WaitFailure("no session cookie", within: .zero) }
    self.place = place
    self.path = path
    self.cookie = "\(cookie.name)=\(cookie.value)"
  }

  func status() async throws -> Int {
    let fields: KeyValuePairs = ["Cookie": cookie, "Origin": place.mail, "Sec-Fetch-Mode": "cors", "Sec-Fetch-Dest": "empty"]
    return try await client.send("GET", place.base + path, fields).status
  }

  var isLive: Bool {
    get async throws {
      let status = try await status()
      guard [200, 401].contains(status) else { throw WaitFailure("the route answers \(status)", within: .zero) }
      return status == 200
    }
  }

  /// Waits for 401, at most ten seconds.
  func waitForEnd(_ what: String) async throws {
    try await waitUntilTrue("401 after \(what)", pause: .milliseconds(2)) { try await !isLive }
  }
}

/// A workplace with its neighbours, and a backend that notes what it is sent.
struct Neighbourhood: Sendable {
  let place: Workplace
  let backend: RecordingServer
  let admin: KeycloakAdmin
  var services: Services { place.services }

  /// Like `Workplace.run`, with the route `/own` whose backend gets the session's access token, and `/named` whose backend gets claims.
  static func run(
    client: String = "intercom", scopes: String = "openid", _ story: @escaping @Sendable (Neighbourhood) async throws -> Void
  ) async throws {
    let backend = try RecordingServer()
    try await backend.start()
    let routes = """
        own: {path: /own, upstream: "http://127.0.0.1:\(backend.port)", credential: accessToken}
        named:
          path: /named
          upstream: http://127.0.0.1:\(backend.port)
          credential: {headers: {X-User: preferred_username, X-Name: name}}

      """
    do {
      try await Workplace.run(client: client, scopes: scopes, routes: routes) { place in
        try await story(Neighbourhood(place: place, backend: backend, admin: KeycloakAdmin(place.services)))
      }
    } catch {
      await backend.stop()
      throw error
    }
    await backend.stop()
  }

  /// A new browser.
  func visitor() -> Visitor { Visitor(timeout: .seconds(20)) }

  /// Signs in at Intercom, by Keycloak's form when Keycloak asks.
  func signIn(_ visitor: Visitor, as name: String, password: String? = nil) async throws -> SessionProbe {
    let answer = try await visitor.open("\(place.base)/login?returnTo=\(FormText.escape(place.mail + "/"))", referer: place.mail + "/")
    if answer.text.contains("name=\"username\"") { try await visitor.submit(["username": name, "password": password ?? name]) }
    let location = await visitor.location
    guard location == place.mail + "/" else { throw WaitFailure("\(name) is not signed in but at \(location)", within: .zero) }
    return try await liveProbe(visitor)
  }

  /// Signs in at Intercom by the hidden frame of the mail page: Keycloak's session alone, nobody types.
  func signInSilently(_ visitor: Visitor) async throws -> SessionProbe {
    let answer = try await visitor.open(place.base + "/silent", dest: "iframe", referer: place.mail + "/")
    guard answer.status == 200, answer.text.contains("\"loggedIn\":true") else {
      throw WaitFailure("no silent sign-in: \(answer.status)", within: .zero, seen: await visitor.way + answer.text)
    }
    return try await liveProbe(visitor)
  }

  private func liveProbe(_ visitor: Visitor) async throws -> SessionProbe {
    let probe = try await SessionProbe(visitor, place)
    guard try await probe.isLive else { throw WaitFailure("the new session is not live", within: .zero) }
    return probe
  }

  /// The claims of the access token that the backend gets for a session now.
  func accessTokenClaims(_ probe: SessionProbe) async throws -> JSONObject {
    backend.forget()
    _ = try await probe.status()
    let token = backend.requests.last?.field("authorization")?.split(separator: " ").last ?? ""
    let parts = token.split(separator: ".")
    guard parts.count == 3, let payload = Base64URL.decode(Array(parts[1].utf8)) else {
      throw WaitFailure("no access token", within: .zero)
    }
    return try StrictJSON.object(payload)
  }

  /// The id of the session at Keycloak.
  func sid(_ probe: SessionProbe) async throws -> String {
    guard let sid = try await accessTokenClaims(probe)["sid"]?.string else { throw WaitFailure("no sid", within: .zero) }
    return sid
  }
}
