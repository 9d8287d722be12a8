import Cryptography
import FoundationEssentials
import HTTPMessage
import IntercomCore
import IntercomTesting
import StrictJSON
import Testing

@Suite(
  "In the place of the Intercom Service: the program with its variables alone", .serialized, .enabled(if: RedisServer.isAvailable),
  .timeLimit(.minutes(2)))
struct EnvironmentProcessTests {
  private typealias Place = EnvironmentWorkplace

  @Test("GET / is 200 with a small page, for monitoring, from any origin that is allowed")
  func home() async throws {
    try await Place.run { place in
      let plain = try await RawHTTPClient().get(place.base + "/")
      #expect(plain.status == 200 && plain.text.contains("<p>Hello</p>"))
      let allowed = try await RawHTTPClient().get(place.base + "/", ["Origin": Place.app])
      #expect(allowed.status == 200 && allowed.field("access-control-allow-origin") == Place.app)
    }
  }

  @Test("/silent posts loggedIn and csrftoken to the app that frames it, before and after /login and /callback")
  func silent() async throws {
    try await Place.run { place in
      let visitor = Visitor(timeout: .seconds(20))
      let before = try await visitor.open(place.base + "/silent", dest: "iframe", referer: Place.app + "/")
      let refused = try place.message(before)
      #expect(before.status == 200 && refused["loggedIn"]?.bool == false && refused["reason"]?.string == "login_required")
      #expect(refused["csrftoken"]?.string?.isEmpty == false)
      #expect(before.field("content-security-policy")?.contains("frame-ancestors \(Place.app)") == true)
      try await visitor.open(place.base + "/login")
      #expect(try await visitor.submit(["username": "alice", "password": Place.password]).status == 200)
      let cookie = try #require(await visitor.jar["appSession"])
      #expect(cookie.attributes.contains("httponly") && cookie.attributes.contains("samesite=lax"))
      let after = try await visitor.open(place.base + "/silent", dest: "iframe", referer: Place.app + "/")
      let message = try place.message(after)
      #expect(message["loggedIn"]?.bool == true && message["csrftoken"]?.string?.isEmpty == false)
      #expect(await visitor.jar["_csrf_token"] == nil)
    }
  }

  @Test("/fs/* reaches Nextcloud without its prefix and with a token for NC_AUDIENCE, by every verb of WebDAV, and as encoded as it came")
  func files() async throws {
    try await Place.run { place in
      let visitor = try await place.signIn()
      for method in ["GET", "PROPFIND", "MKCOL", "PUT", "DELETE"] {
        #expect(try await place.fetch(visitor, method, "/fs/dav/a%2Fb%20c.txt?x=1&y=%2F").status == 200)
        let seen = try #require(place.files.requests.last)
        #expect(seen.method.name == method && seen.path == "/remote.php/dav/a%2Fb%20c.txt" && seen.query == "x=1&y=%2F")
        #expect(try place.audiences(seen) == ["ncoidc"])
        #expect(seen.field("cookie") == nil)
      }
      let foreign = try await visitor.fetch("GET", place.base + "/fs/x", origin: "http://mail.apps.localhost.evil.com")
      #expect(foreign.status == 403 && foreign.field("access-control-allow-origin") == nil)
      #expect(try await place.fetch(Visitor(), "GET", "/fs/x").status == 401)
      #expect(place.files.requests.count == 5)
    }
  }

  @Test("/wiki/* reaches XWiki without its prefix and with a token for XWIKI_AUDIENCE")
  func wiki() async throws {
    try await Place.run { place in
      let visitor = try await place.signIn()
      let answer = try await place.fetch(visitor, "GET", "/wiki/rest/news?limit=3")
      #expect(answer.status == 200 && answer.field("access-control-allow-origin") == Place.app)
      let seen = try #require(place.wiki.requests.last)
      #expect(seen.path == "/rest/news" && seen.query == "limit=3")
      #expect(try place.audiences(seen) == ["xwikioidc"])
    }
  }

  @Test("/navigation.json is the portal's for the user of USERNAME_CLAIM, proved by PORTAL_API_KEY; its query is kept")
  func navigation() async throws {
    try await Place.run { place in
      place.portal.answer { _ in .init(200, ["Content-Type": "application/json"], Array(#"{"categories":[]}"#.utf8)) }
      let visitor = try await place.signIn("bob")
      let answer = try await place.fetch(visitor, "GET", "/navigation.json?lang=de_DE&x=%2F")
      #expect(answer.status == 200 && answer.text == #"{"categories":[]}"#)
      let seen = try #require(place.portal.requests.last)
      #expect(seen.path == "/univention/portal/navigation.json" && seen.query == "lang=de_DE&x=%2F")
      #expect(seen.field("authorization") == "Basic " + Base64.encode(Array("Phoenix bob:\(Place.portalKey)".utf8)))
      #expect(try await place.fetch(visitor, "POST", "/navigation.json").status == 405)
      #expect(try await place.fetch(Visitor(), "GET", "/navigation.json").status == 401)
      #expect(place.portal.requests.count == 1)
    }
  }

  @Test(
    "/nob/* reaches the meetings bot with the CSRF token alone, and with the user's OpenID token (live) or access token (test)",
    arguments: ["live", "test"])
  func nordeck(_ mode: String) async throws {
    try await Place.run(changes: ["NORDECK_MODE": mode]) { place in
      let visitor = try await place.signIn()
      let page = try await visitor.open(place.base + "/silent", dest: "iframe", referer: Place.app + "/")
      let token = try #require(try place.message(page)["csrftoken"]?.string)
      for method in ["GET", "POST"] {
        let missing = try await place.fetch(visitor, method, "/nob/v1/meeting")
        #expect(missing.status == 403 && missing.field("access-control-allow-origin") == Place.app)
        let query = try await place.fetch(visitor, method, "/nob/v1/meeting?_csrf_token=\(token)")
        #expect(query.status == 403)
        let answer = try await visitor.fetch(method, place.base + "/nob/v1/meeting?x=1", origin: Place.app, ["X-CSRF-Token": token])
        #expect(answer.status == 200, "\(answer.text)")
        let seen = try #require(place.bot.requests.last)
        #expect(seen.path == "/v1/meeting" && seen.query == "x=1" && seen.method.name == method)
        let field = seen.field("authorization") ?? ""
        if mode == "test" {
          #expect(field.hasPrefix("Bearer ") && place.homeserver.owner(of: String(field.dropFirst(7))) == "@uuid-of-alice:matrix.test")
        } else {
          let json = try #require(Base64.decode(Array(field.dropFirst("MX-Identity ".count).utf8)))
          let given = try StrictJSON.object(json)["access_token"]?.string ?? ""
          #expect(field.hasPrefix("MX-Identity ") && place.homeserver.openIDOwner(of: given) == "@uuid-of-alice:matrix.test")
        }
      }
      #expect(place.bot.requests.count == 2 && place.homeserver.count(.login) == 1)
      try await visitor.open(place.base + "/logout")
      try await waitUntilTrue("the device's logout") { place.homeserver.count(.logout) == 1 }
    }
  }

  @Test("/uuid is the claim of USER_UNIQUE_MAPPER as text; without a session it is 401")
  func uuid() async throws {
    try await Place.run { place in
      let answer = try await place.fetch(place.signIn(), "GET", "/uuid")
      #expect(answer.status == 200 && answer.text == "UUID-of-alice" && answer.field("content-type")?.hasPrefix("text/plain") == true)
      #expect(try await place.fetch(Visitor(), "GET", "/uuid").status == 401)
    }
  }

  @Test("the session cookie stays with the browser, unless ENABLE_SESSION_COOKIE says otherwise", arguments: [true, false])
  func lifetime(_ isTransient: Bool) async throws {
    try await Place.run(changes: ["ENABLE_SESSION_COOKIE": isTransient ? "TRUE" : nil]) { place in
      let cookie = try #require(await place.signIn().jar["appSession"])
      #expect(cookie.attributes.contains { $0.hasPrefix("max-age=") } == !isTransient, "\(cookie.attributes)")
    }
  }

  @Test("/logout ends the session here and at the provider; /backchannel-logout ends it when the provider says so")
  func logout() async throws {
    try await Place.run { place in
      let alice = try await place.signIn()
      #expect(try await place.fetch(alice, "GET", "/fs/x").status == 200)
      try await alice.open(place.base + "/logout")
      #expect(await alice.trail.contains { $0.url.description.hasPrefix(place.issuer) })
      #expect(try await place.fetch(alice, "GET", "/fs/x").status == 401)
      let bob = try await place.signIn("bob")
      #expect(try await place.fetch(bob, "GET", "/fs/x").status == 200)
      let client = RawHTTPClient(timeout: .seconds(20))
      let bogus = try await client.post(place.base + "/backchannel-logout", form: ["logout_token": "x.y.z"])
      #expect(bogus.status == 400 && bogus.field("content-type") == "application/json")
      #expect(try await place.fetch(bob, "GET", "/fs/x").status == 200)
      let token = try place.logoutToken("bob-id")
      #expect(try await client.post(place.base + "/backchannel-logout", form: ["logout_token": token]).status == 200)
      #expect(try await place.fetch(bob, "GET", "/fs/x").status == 401)
    }
  }

  @Test("an existing service's cookie means no session, and its records in the store are neither read nor touched")
  func existing() async throws {
    try await Place.run { place in
      let (key, value) = ("sess:Zm9yZWlnbg", #"{"data":{"id_token":"foreign"},"cookie":{}}"#)
      try await place.redis.command("-a", Place.redisPassword, "SET", key, value)
      for cookie in ["s%3AZm9yZWlnbg.c2lnbmF0dXJl", "Zm9yZWlnbg", String(repeating: "A", count: 43)] {
        let answer = try await RawHTTPClient().get(
          place.base + "/fs/x", ["Origin": Place.app, "Cookie": "appSession=\(cookie); appSession.sig=x"])
        #expect(answer.status == 401, "\(cookie)")
      }
      _ = try await place.signIn()
      let keys = try await place.redis.command("-a", Place.redisPassword, "--no-auth-warning", "KEYS", "*")
      let ours = keys.filter { !$0.isEmpty && $0 != key && !$0.hasPrefix("Warning") }
      #expect(!ours.isEmpty && ours.allSatisfy { $0.hasPrefix("intercom:") }, "\(keys)")
      #expect(try await place.redis.command("-a", Place.redisPassword, "GET", key).contains(value))
    }
  }

  @Test("Redis over TLS by a private authority, with a client certificate and REDIS_SERVERNAME; the log in LOG_FILE too (S33)")
  func certificates() async throws {
    let folder = try TestFolder()
    let authority = try await TestAuthority()
    let files = try await authority.issue("redis", names: "DNS:redis.test")
    let client = try await authority.issue("client", names: "DNS:client")
    for (from, to) in [(client.chain, "client-cert.pem"), (client.key, "client-key.pem")] {
      try FileManager.default.copyItem(atPath: from, toPath: folder.file(to))
    }
    let settings = [
      "tls-port {port}", "tls-cert-file \(files.chain)", "tls-key-file \(files.key)", "tls-ca-cert-file \(authority.path)",
      "tls-auth-clients yes",
    ]
    let log = folder.file("intercom.log")
    let changes: [String: String?] = [
      "REDIS_PASSWORD": nil, "REDIS_SSL": "true", "REDIS_MTLS": "true", "REDIS_MTLS_FOLDER": folder.path, "REDIS_SERVERNAME": "redis.test",
      "NODE_EXTRA_CA_CERTS": authority.path, "LOG_FILE": log, "LOG_LEVEL": "debug",
    ]
    try await Place.run(redisSettings: settings, changes: changes) { place in
      let visitor = try await place.signIn()
      #expect(try await place.fetch(visitor, "GET", "/fs/x").status == 200)
      try await waitUntilTrue("the sign-in in the log file") { (try? TestAuthority.text(log))?.contains(#""event":"signed_in""#) == true }
      #expect(place.intercom.child.output.contains(#""event":"signed_in""#))
    }
  }

  @Test("faulty variables are refused by name, all at once, with exit code 78, and no secret is shown")
  func faults() async throws {
    let intercom = try await IntercomProcess.serve(
      environment: ["INTERCOM_URL": "https://ics.example.org", "ORIGIN_REGEX": ".*", "CLIENT_SECRET": "canary-canary", "SECRET": ""],
      port: try FreePort.next(), untilReady: false)
    #expect(try await intercom.child.waitForExit() == .code(78))
    let output = intercom.child.output
    for name in [
      "CLIENT_ID: missing", "ISSUER_BASE_URL: missing", "SECRET: is empty", "ORIGIN_REGEX: compatibility.originPattern: '.*' takes",
    ] {
      #expect(output.contains(name), "\(name)")
    }
    #expect(!output.contains("canary"))
  }

  @Test("config check shows the configuration that holds, from-env writes it as a file that means the same and starts (S29)")
  func commands() async throws {
    try await Place.run { place in
      let check = try ChildProcess(IntercomProcess.binary, ["config", "check"], environment: place.environment, log: "intercom-check")
      #expect(try await check.waitForExit() == .code(0))
      for line in ["environment: ok", "redirect URI  \(place.base)/callback", "route         fs: /fs -> ", "by pattern"] {
        #expect(check.output.contains(line), "\(line)")
      }
      let folder = try TestFolder()
      let write = try ChildProcess(
        IntercomProcess.binary, ["config", "from-env", "--secrets", folder.path], environment: place.environment, log: "intercom-from-env")
      #expect(try await write.waitForExit() == .code(0))
      for output in [check.output, write.output] {
        for secret in [Place.clientSecret, Place.secret, Place.portalKey, Place.redisPassword] { #expect(!output.contains(secret)) }
      }
      let yaml = write.lines.drop { !$0.hasPrefix("#") }.joined(separator: "\n")
      try Data(yaml.utf8).write(to: URL(filePath: folder.file("intercom.yaml")))
      let again = try ChildProcess(IntercomProcess.binary, ["config", "check", folder.file("intercom.yaml")], log: "intercom-check-file")
      #expect(try await again.waitForExit() == .code(0), "\(again.output)\n\(yaml)")
      let mode = try FileManager.default.attributesOfItem(atPath: folder.file("session-key"))[.posixPermissions] as? Int
      #expect(mode == 0o600)
      let twice = try ChildProcess(
        IntercomProcess.binary, ["config", "from-env", "--secrets", folder.path], environment: place.environment, log: "intercom-from-env")
      #expect(try await twice.waitForExit() == .code(1) && twice.output.contains("File exists"))
    }
  }
}
