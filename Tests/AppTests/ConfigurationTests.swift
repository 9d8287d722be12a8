import ConfigurationYAML
import HTTPMessage
import IntercomCore
import Testing

@testable import IntercomApp

/// What a test's configuration files look like.
enum ConfigurationFixture {
  static let minimal = """
    baseURL: https://intercom.example.org
    provider:
      issuer: https://id.example.org
      clientID: intercom
      clientSecret: 0123456789abcdef0123456789abcdef
    routes:
      fs: {path: /fs, upstream: "http://127.0.0.1:9001", credential: none}

    """

  /// - Parameter open: files that everybody may read.
  ///
  /// Names the memory store where neither text nor environment names one: what the default needs is the matter of few tests.
  static func read(
    _ text: String, _ environment: [String: String] = [:], files: [String: String] = [:], open: Set<String> = [],
    foresee: @escaping ForeseeStore = { _ in nil }, time: any TimeSource = SystemTime()
  ) -> ConfigurationReading {
    var environment = environment
    if !text.contains("store:"), environment["INTERCOM_CFG_SESSIONS__STORE"] == nil {
      environment["INTERCOM_CFG_SESSIONS__STORE"] = "memory"
    }
    let readFile: ReadConfigurationFile = { (name: String) throws(ConfigurationFileError) -> ConfigurationFile in
      guard let content = files[name] else { throw ConfigurationFileError("No such file or directory") }
      return ConfigurationFile(Array(content.utf8), isReadableByOthers: open.contains(name))
    }
    return ConfigurationLoader(environment: environment, readFile: readFile, foresee: foresee, time: time).read(
      Array(text.utf8), file: "c.yaml")
  }

  static func errors(_ text: String, _ environment: [String: String] = [:], files: [String: String] = [:]) -> [String] {
    read(text, environment, files: files).errors.map(\.description)
  }

  static func warnings(_ text: String, _ environment: [String: String] = [:], files: [String: String] = [:]) -> [String] {
    read(text, environment, files: files).warnings.map(\.description)
  }

  /// The minimal file with one more route (or other settings of the one it has).
  static func route(_ settings: String) -> String {
    minimal.replacing("fs: {path: /fs, upstream: \"http://127.0.0.1:9001\", credential: none}", with: settings)
  }
}

@Suite("Configuration")
struct ConfigurationTests {
  private typealias Fixture = ConfigurationFixture

  @Test("a small file is enough, the rest are the defaults of behaviour.md")
  func defaults() throws {
    let reading = Fixture.read(Fixture.minimal)
    #expect(reading.errors.isEmpty)
    #expect(reading.warnings.isEmpty)
    let configuration = try #require(reading.configuration)
    #expect(configuration.listen.map(\.description) == ["127.0.0.1:8008"])
    #expect(configuration.admin.listen.description == "127.0.0.1:8009")
    #expect(configuration.sessions.store == .memory)
    #expect(configuration.sessions.idle == .seconds(24 * 3600))
    #expect(configuration.sessions.absolute == .seconds(7 * 24 * 3600))
    #expect(configuration.cookieName == "__Host-intercom")
    #expect(configuration.provider.scopes == ["openid"])
    let times = configuration.timeouts
    #expect(
      [times.providerCall, times.tokenOperation, times.connect, times.upstreamHead] == [
        .seconds(5), .seconds(8), .seconds(2), .seconds(60),
      ])
    #expect(
      [times.upstreamIdle, times.clientHead, times.clientIdle, times.clientPace, times.drain] == [
        .seconds(60), .seconds(10), .seconds(60), .seconds(20), .seconds(30),
      ])
    let limits = configuration.limits
    #expect(
      [limits.target, limits.field, limits.head, limits.fields, limits.responseHead, limits.clientPace] == [
        8192, 16384, 32768, 128, 65536, 4096,
      ])
    let route = try #require(configuration.routes.first)
    #expect(route.name == "fs" && route.path == "/fs" && route.upstream.map(\.port) == [9001] && route.methods == .plain)
    #expect(route.encodedSlashes == .pass && route.cookies == .isolate && route.csrf == .default && !route.stripPrefix && !route.isPublic)
  }

  @Test("everything that is wrong with a file is shown at once, in its order")
  func allAtOnce() {
    let text = """
      listen: 8008
      baseUrl: https://intercom.example.org
      provider:
        issuer: id.example.org
        clientId: intercom
        clientSecret:
        scopes: [profile]
      origins: [https://mail.example.org/, "*"]
      sessions: {store: redis, idle: 8d, sameSite: relaxed}
      routes:
        Files: {path: /fs/, upstream: https://x, credential: token}
        login: {path: /login, upstream: "http://x", credential: none, methods: [GET, propfind]}
        wiki: http://wiki
      timeouts: {connect: 2}
      limits: {fields: 4096}
      """
    #expect(
      Fixture.errors(text) == [
        "c.yaml:1:1: baseURL: missing; write 'baseURL: https://intercom.example.org'",
        "c.yaml:1:9: listen: '8008' has no address; write 127.0.0.1:8008 for this machine alone, 0.0.0.0:8008 for all",
        "c.yaml:2:1: baseUrl: unknown key; did you mean 'baseURL'?",
        "c.yaml:3:1: provider.clientID: missing; write 'clientID: intercom'",
        "c.yaml:4:11: provider.issuer: 'id.example.org' is no http or https URL; write https://host/path",
        "c.yaml:5:3: provider.clientId: unknown key; did you mean 'clientID'?",
        "c.yaml:6:16: provider.clientSecret: has no value; write one, or remove the key",
        "c.yaml:7:11: provider.scopes: 'openid' is not among the scopes; write scopes: [openid]",
        "c.yaml:8:11: origins[0]: 'https://mail.example.org/' is not how browsers write an origin; write https://mail.example.org",
        "c.yaml:8:38: origins[1]: '*' holds a '*'; list every origin by its full name",
        "c.yaml:9:1: sessions.keys: missing: stored sessions are sealed; write keys: [{fromFile: …}] with a key made by: openssl rand -base64 32 | tr '+/' '-_'",
        "c.yaml:9:1: sessions.redis.host: missing: where is the server?; write redis: {host: redis.example.org}",
        "c.yaml:9:32: sessions.idle: idle (8d) is longer than absolute (7d); write an idle time that is at most the absolute one",
        "c.yaml:9:46: sessions.sameSite: 'relaxed' is none of lax, none, strict; write one of them",
        "c.yaml:11:3: routes.Files: the name of a route is used in cookies and metrics; write 1 to 32 small letters, digits and '-'",
        "c.yaml:11:17: routes.Files.path: '/fs/' ends with '/'; write /fs: it stands for itself and everything below",
        "c.yaml:11:56: routes.Files.credential: not a kind of credential; write none, accessToken, {exchange: …}, {basic: …}, {headers: …} or {matrix: …}",
        "c.yaml:12:17: routes.login.path: /login is Intercom's own; choose another prefix, or give the route a 'host' of its own",
        "c.yaml:12:80: routes.login.methods[1]: 'propfind' is no method that a route can allow; did you mean PROPFIND?",
        "c.yaml:13:9: routes.wiki: expected a map, found a single value; write its keys below it, indented",
        "c.yaml:14:21: timeouts.connect: expected a time with its unit, found '2'; write 500ms, 5s, 10m, 24h or 7d",
        "c.yaml:15:18: limits.fields: 4096 is out of range; write a number from 16 to 1024",
      ])
  }

  @Test(
    "a contradiction is found where it was written",
    arguments: [
      (
        "sessions: {store: sqlite}\n",
        [
          "c.yaml:8:1: sessions.keys: missing: stored sessions are sealed; write keys: [{fromFile: …}] with a key made by: openssl rand -base64 32 | tr '+/' '-_'"
        ]
      ),
      (
        "sessions: {keys: [c2hvcnQ]}\n",
        ["c.yaml:8:19: sessions.keys[0]: the key has 5 bytes, fewer than 32; make one with: openssl rand -base64 32 | tr '+/' '-_'"]
      ),
      (
        "sessions: {keys: [AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA]}\n",
        ["c.yaml:8:19: sessions.keys[0]: the key repeats the same few bytes; make one with: openssl rand -base64 32 | tr '+/' '-_'"]
      ),
      (
        "sessions: {keys: ['not+base64/url']}\n",
        ["c.yaml:8:19: sessions.keys[0]: the key is not base64url; make one with: openssl rand -base64 32 | tr '+/' '-_'"]
      ),
      (
        "sessions: {cookieName: a~b}\n",
        ["c.yaml:8:24: sessions.cookieName: 'a~b' is no cookie name; write letters, digits, '-' and '_', at most 64"]
      ),
      (
        "timeouts: {tokenOperation: 3s}\n",
        [
          "c.yaml:8:28: timeouts.tokenOperation: one provider call (5s) may take longer than a whole token operation (3s); write a tokenOperation of at least 5s"
        ]
      ),
      (
        "limits: {field: 64KiB}\n",
        ["c.yaml:8:17: limits.field: field (64KiB) is larger than the whole head (32KiB); write limits in which it fits"]
      ),
      (
        "admin: {listen: 127.0.0.1:8008}\n",
        ["c.yaml:8:17: admin.listen: 127.0.0.1:8008 is the main listener's address too; choose another port, such as 8009"]
      ),
      ("log: {level: verbose}\n", ["c.yaml:8:14: log.level: 'verbose' is none of trace, debug, info, warning, error; write one of them"]),
      ("admin: {}\nadmin: {}\n", ["c.yaml:9:1: the key 'admin' stands here a second time, first at line 8; keep one of the two"]),
    ])
  func contradictions(addition: String, expected: [String]) { #expect(Fixture.errors(Fixture.minimal + addition) == expected) }

  @Test(
    "a route that cannot work is refused with its place",
    arguments: [
      (
        "a: {path: /a, upstream: \"http://127.0.0.1:8008\", credential: none}",
        ["c.yaml:7:27: routes.a.upstream: this is Intercom's own listener: requests would go in circles; write the address of the backend"]
      ),
      (
        "a: {path: /, upstream: \"http://x\", credential: none}",
        [
          "c.yaml:7:13: routes.a.path: '/' would take Intercom's own paths; write a prefix such as /app, or give the route a 'host' of its own"
        ]
      ),
      (
        "a: {path: /a, upstream: [\"http://x/b\", \"http://y/c\"], credential: none}",
        [
          "c.yaml:7:27: routes.a.upstream: http://x/b and http://y/c differ in more than host and port; write the same scheme and path for all endpoints"
        ]
      ),
      (
        "a: {path: /a, upstream: [\"http://x\", \"http://x:80/\"], credential: none}",
        ["c.yaml:7:27: routes.a.upstream: the endpoint http://x stands in the list twice; keep one"]
      ),
      (
        "a: {path: /a, upstream: [\"http://x\", \"http://y\"], balance: random, credential: none}",
        ["c.yaml:7:62: routes.a.balance: 'random' is none of roundRobin, leastRequest; write one of them"]
      ),
      ("a: {upstream: \"http://x\", credential: none}", ["c.yaml:7:3: routes.a.path: missing; write 'path: /fs', or a 'host'"]),
      (
        "a: {path: fs, upstream: \"http://x\", credential: none}",
        ["c.yaml:7:13: routes.a.path: 'fs' does not begin with '/'; write a path such as /fs"]
      ),
      (
        "a: {path: /a%2fb, upstream: \"http://x\", credential: none}",
        [
          "c.yaml:7:13: routes.a.path: '/a%2fb' holds an empty or dot segment, an escape or a character that would need one; write segments of letters, digits, '-', '.', '_' and '~'"
        ]
      ),
      (
        "a: {path: /a/../b, upstream: \"http://x\", credential: none}",
        [
          "c.yaml:7:13: routes.a.path: '/a/../b' holds an empty or dot segment, an escape or a character that would need one; write segments of letters, digits, '-', '.', '_' and '~'"
        ]
      ),
      (
        "a: {path: /a, upstream: \"http://x\"}",
        ["c.yaml:7:3: routes.a.credential: missing; write 'credential: {exchange: {audience: files}}'"]
      ),
      (
        "a: {path: /a, upstream: \"http://x\", credential: {}}",
        ["c.yaml:7:51: routes.a.credential: an empty map; write none, accessToken, {exchange: …}, {basic: …}, {headers: …} or {matrix: …}"]
      ),
      (
        "a: {path: /a, upstream: \"http://x\", credential: {exchange: {}}}",
        ["c.yaml:7:62: routes.a.credential.exchange.audience: missing; write 'audience: files'"]
      ),
      (
        "a: {path: /a, upstream: \"http://x\", credential: {exchange: {audience: x, scope: 'a  b'}}}",
        [
          "c.yaml:7:83: routes.a.credential.exchange.scope: 'a  b' holds two spaces in a row, or a scope twice; write words with one space between them"
        ]
      ),
      (
        "a: {path: /a, upstream: \"http://x\", credential: {exchange: {audience: x, scope: 'a \\b'}}}",
        [
          "c.yaml:7:83: routes.a.credential.exchange.scope: 'a \\b' holds characters that no scope may have; write words with one space between them"
        ]
      ),
      (
        "a: {path: /a, upstream: \"http://x\", credential: {exchange: {audience: x, resource: /files}}}",
        [
          "c.yaml:7:86: routes.a.credential.exchange.resource: '/files' is no absolute URI; write one such as https://files.example.org or urn:example:files"
        ]
      ),
      (
        "a: {path: /a, upstream: \"http://x\", credential: {exchange: {audience: x, resource: 'https://f/#a'}}}",
        [
          "c.yaml:7:86: routes.a.credential.exchange.resource: 'https://f/#a' has a fragment; remove the '#' and what follows"
        ]
      ),
      (
        "a: {path: /a, upstream: \"http://x\", credential: {exchange: {audience: x, resource: 'https://u:p@f/'}}}",
        [
          "c.yaml:7:86: routes.a.credential.exchange.resource: a URI with '@' (user information); write it without user and password"
        ]
      ),
      (
        "a: {path: /a, upstream: \"http://x\", credential: {exchange: {audience: x, resource: 'https://f/%g'}}}",
        [
          "c.yaml:7:86: routes.a.credential.exchange.resource: 'https://f/%g' holds characters that no URI has, or is longer than 2048; write them with percent escapes"
        ]
      ),
      (
        "a: {path: /a, upstream: \"http://x\", credential: {exchange: {audience: x, alsoFor: [y, y]}}}",
        [
          "c.yaml:7:89: routes.a.credential.exchange.alsoFor[1]: stands in the list twice; keep one"
        ]
      ),
      (
        "a: {path: /a, upstream: \"http://x\", credential: {exchange: {audience: x}, headers: {X-A: b}}}",
        ["c.yaml:7:51: routes.a.credential: exchange and headers at once; keep one: a request carries one credential"]
      ),
      (
        "a: {path: /a, upstream: \"http://x\", credential: {exchnage: {audience: x}}}",
        ["c.yaml:7:52: routes.a.credential.exchnage: unknown key; did you mean 'exchange'?"]
      ),
      (
        "a: {path: /a, upstream: \"http://x\", credential: {headers: {Host: sub}}}",
        [
          "c.yaml:7:62: routes.a.credential.headers.Host: Host is set by Intercom or by the connection; choose another name, such as X-Remote-User"
        ]
      ),
      (
        "a: {path: /a, upstream: \"http://x\", credential: {headers: {X_User: sub}}}",
        ["c.yaml:7:62: routes.a.credential.headers.X_User: 'X_User' holds '_', which many servers read as '-'; write '-'"]
      ),
      (
        "a: {path: /a, upstream: \"http://x\", credential: {headers: {X-User: sub, x-user: sub}}}",
        ["c.yaml:7:75: routes.a.credential.headers.x-user: x-user stands here twice (case does not count); keep one"]
      ),
      (
        "a: {path: /a, upstream: \"http://x\", credential: accessToken, public: true}",
        [
          "c.yaml:7:51: routes.a.credential: a public route has no user whose credential could be sent; write 'credential: none', or remove 'public'"
        ]
      ),
      (
        "a: {path: /a, upstream: \"http://x\", credential: none, methods: TRACE}",
        ["c.yaml:7:66: routes.a.methods: TRACE is never allowed; remove it"]
      ),
      (
        "a: {path: /a, upstream: \"http://x\", credential: none, methods: webdaw}",
        ["c.yaml:7:66: routes.a.methods: 'webdaw' is neither one of read, plain, webdav nor a method; did you mean webdav?"]
      ),
      (
        "a: {host: \"files.example.org:8443\", upstream: \"http://x\", credential: none}",
        ["c.yaml:7:13: routes.a.host: 'files.example.org:8443' has a port; write files.example.org: routes do not look at ports"]
      ),
      (
        "a: {path: /a, upstream: \"http://x\", credential: none}\n  b: {path: /a, host: intercom.example.org, upstream: \"http://y\", credential: none}",
        ["c.yaml:8:13: routes.b.path: the route 'a' has the same host and path; choose another path for one of them"]
      ),
      (
        "a: {path: /a, upstream: \"http://x\", credential: none, origins: [\"null\"]}",
        ["c.yaml:7:67: routes.a.origins[0]: the origin 'null' belongs to everybody; write https://host"]
      ),
    ])
  func routes(settings: String, expected: [String]) {
    #expect(Fixture.errors(Fixture.route(settings)) == expected)
  }

  @Test("every path of Intercom's own is refused as a route", arguments: RouteChecks.ownSegments)
  func ownPaths(segment: String) {
    #expect(Fixture.errors(Fixture.route("a: {path: /\(segment), upstream: \"http://x\", credential: none}")).count == 1)
    #expect(Fixture.errors(Fixture.route("a: {path: /\(segment)/below, upstream: \"http://x\", credential: none}")).count == 1)
    #expect(Fixture.errors(Fixture.route("a: {host: x.example.org, path: /\(segment), upstream: \"http://x\", credential: none}")) == [])
  }

  @Test("nested prefixes and the same path on two hosts are no doubles")
  func noDoubles() {
    let text = """
      a: {path: /a, upstream: "http://x", credential: none}
        b: {path: /a/b, upstream: "http://x", credential: none}
        c: {path: /a, host: c.example.org, upstream: "http://x", credential: none}
        d: {host: d.example.org, upstream: "http://x", credential: none}
      """
    #expect(Fixture.errors(Fixture.route(text)) == [])
  }

  @Test("http is for this machine; elsewhere it is said loudly")
  func http() {
    let local = Fixture.minimal.replacing("https://intercom.example.org", with: "http://intercom.localhost:8008")
    #expect(Fixture.read(local).configuration?.cookieName == "intercom")
    #expect(Fixture.warnings(local) == [])
    let open = Fixture.minimal.replacing("https://intercom.example.org", with: "http://intercom.example.org")
    #expect(
      Fixture.warnings(open) == [
        "c.yaml:1:10: warning: baseURL: http on the network: whoever is on the way can read session cookies and take sessions over; write https://intercom.example.org"
      ])
    #expect(Fixture.errors(local + "sessions: {sameSite: none}\n").count == 1)
    #expect(Fixture.errors(local + "sessions: {cookieName: __Host-x}\n").count == 1)
  }

  @Test(
    "what is allowed but weak is reported",
    arguments: [
      (
        "provider:\n", "sessions: {cookieName: plain}\nprovider:\n",
        "c.yaml:2:24: warning: sessions.cookieName: without the prefix __Host- a sibling domain can set this cookie; write __Host-plain"
      ),
      (
        "clientID: intercom\n", "clientID: intercom\n  scopes: [openid, offline_access]\n",
        "c.yaml:5:11: warning: provider.scopes: with offline_access sessions outlive single logout; remove it unless that is meant"
      ),
      (
        "0123456789abcdef0123456789abcdef", "short",
        "c.yaml:5:17: warning: provider.clientSecret: the secret is short: it can be guessed; let the provider make a new one, of 32 characters or more"
      ),
      (
        "https://id.example.org", "http://id.example.org",
        "c.yaml:3:11: warning: provider.issuer: http on the network: whoever is on the way can read the client secret and forge tokens; write https://id.example.org"
      ),
      (
        "credential: none", "credential: none, public: true",
        "c.yaml:7:80: warning: routes.fs.public: everybody may change things behind this route; write 'methods: read' unless that is meant"
      ),
      (
        "baseURL:", "admin: {listen: \"0.0.0.0:8009\"}\nbaseURL:",
        "c.yaml:1:17: warning: admin.listen: metrics and health can be read by everybody who reaches 0.0.0.0:8009; write 127.0.0.1, or keep the port from users"
      ),
      (
        "provider:\n", "origins: [\"http://mail.example.org\"]\nprovider:\n",
        "c.yaml:2:10: warning: origins: the origin http://mail.example.org is http: whoever is on the way can act as this app; serve the app by https"
      ),
    ])
  func weak(part: String, replacement: String, expected: String) {
    let text = Fixture.minimal.replacing(part, with: replacement)
    #expect(Fixture.errors(text) == [])
    #expect(Fixture.warnings(text) == [expected])
  }

  @Test("the environment stands over the file")
  func environment() throws {
    let reading = Fixture.read(
      Fixture.minimal,
      [
        "INTERCOM_CFG_LISTEN": "127.0.0.1:9008,[::1]:9008", "INTERCOM_CFG_ROUTES__FS__CREDENTIAL__EXCHANGE__AUDIENCE": "files",
        "INTERCOM_CFG_PROVIDER__CLIENT_SECRET_FILE": "/run/secret", "INTERCOM_CFG_ROUTES__WIKI__PATH": "/wiki",
        "INTERCOM_CFG_ROUTES__WIKI__UPSTREAM": "http://wiki:80", "INTERCOM_CFG_ROUTES__WIKI__CREDENTIAL": "accessToken", "ADMIN_PORT": "9",
      ], files: ["/run/secret": "from a file that is long enough\n"])
    // `credential: none` in the file is no map, so the level below it cannot be set.
    #expect(
      reading.errors.map(\.description) == [
        "INTERCOM_CFG_ROUTES__FS__CREDENTIAL__EXCHANGE__AUDIENCE: unknown setting; no setting has this name: remove the variable, or see docs/configuration.md"
      ])
    let text = Fixture.minimal.replacing("credential: none", with: "credential: {exchange: {audience: x}}")
    let configuration = try #require(
      Fixture.read(
        text,
        [
          "INTERCOM_CFG_ROUTES__FS__CREDENTIAL__EXCHANGE__AUDIENCE": "files", "ADMIN_PORT": "9",
          "INTERCOM_CFG_LISTEN": "127.0.0.1:9008,[::1]:9008",
        ]
      ).configuration)
    guard case .exchange(let exchange)? = configuration.routes.first?.credential else {
      Issue.record("no exchange")
      return
    }
    #expect(exchange == Configuration.Exchange(audience: "files"))
    #expect(configuration.admin.listen.description == "127.0.0.1:9")
    #expect(configuration.listen.map(\.description) == ["127.0.0.1:9008", "[::1]:9008"])
  }

  @Test("an exchange's scope, resource and further audiences are taken as written, and a token for two routes is reported")
  func exchange() throws {
    let text = Fixture.minimal.replacing(
      "credential: none",
      with:
        "credential: {exchange: {audience: files, scope: openid calendar:read, resource: 'urn:example:files?v=1', alsoFor: [account, wiki]}}"
    )
    let reading = Fixture.read(
      text + "  wiki: {path: /wiki, upstream: \"http://wiki\", credential: {exchange: {audience: wiki, alsoFor: []}}}\n")
    let credentials = try #require(reading.configuration).routes.map(\.credential)
    guard case .exchange(let files)? = credentials.first, case .exchange(let wiki)? = credentials.last else {
      Issue.record("no exchange")
      return
    }
    #expect(
      files
        == Configuration.Exchange(
          audience: "files", scope: "openid calendar:read", resource: "urn:example:files?v=1", alsoFor: ["account", "wiki"]))
    #expect(wiki == Configuration.Exchange(audience: "wiki", alsoFor: []))
    let warnings = reading.warnings.map(\.description).filter { $0.contains("alsoFor") }
    #expect(warnings.count == 1)
    #expect(warnings.first?.contains("could use its tokens at the route 'wiki' too; remove wiki from alsoFor unless that is meant") == true)
  }

  @Test("ADMIN_HOST and ADMIN_PORT stand over the parts of the file's address, and are named when they are wrong")
  func adminVariables() {
    let text = Fixture.minimal + "admin: {listen: 127.0.0.2:9}\n"
    #expect(Fixture.read(text, ["ADMIN_PORT": "10"]).configuration?.admin.listen.description == "127.0.0.2:10")
    #expect(Fixture.read(text, ["ADMIN_HOST": "127.0.0.3"]).configuration?.admin.listen.description == "127.0.0.3:9")
    #expect(
      Fixture.errors(text, ["ADMIN_HOST": "localhost", "ADMIN_PORT": "x"]) == [
        "ADMIN_HOST: admin.listen: 'localhost' is no address; write 127.0.0.1 or 0.0.0.0",
        "ADMIN_PORT: admin.listen: 'x' is no port; write a number from 1 to 65535",
      ])
  }

  @Test("a fault inside a list of the file names its position")
  func listPosition() {
    #expect(
      Fixture.errors(Fixture.minimal + "origins: [https://a.example, &b https://b.example]\n") == [
        "c.yaml:8:30: origins[1]: an anchor (&name); remove it; anchors and aliases are not supported"
      ])
  }

  @Test("variables of an Intercom Service beside a file are reported, not obeyed")
  func serviceVariables() {
    #expect(
      Fixture.warnings(Fixture.minimal, ["ORIGIN_REGEX": ".*", "KEYCLOAK_URL": "x", "PORT": "1"]) == [
        "KEYCLOAK_URL: warning: ignored, since a configuration file is given (KEYCLOAK_URL, ORIGIN_REGEX); write the setting into the file, or as INTERCOM_CFG_<SECTION>__<KEY>"
      ])
  }

  @Test("a certificate file that is missing or none is refused")
  func authorities() {
    let text = Fixture.minimal.replacing("clientID: intercom\n", with: "clientID: intercom\n  caFile: /ca.pem\n")
    #expect(Fixture.errors(text).first?.hasPrefix("c.yaml:5:11: provider.caFile: cannot read '/ca.pem'") == true)
    #expect(
      Fixture.errors(text, files: ["/ca.pem": "hello"]).first?.hasPrefix("c.yaml:5:11: provider.caFile: '/ca.pem' holds no certificate")
        == true)
    #expect(Fixture.errors(text, files: ["/ca.pem": "-----BEGIN CERTIFICATE-----\n"]) == [])
  }
}
