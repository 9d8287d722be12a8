import ConfigurationYAML
import Cryptography
import IntercomCore
import Telemetry

/// Puts a configuration together from the variables of an Intercom Service (docs/migrating-from-ics.md says what each of them means).
///
/// What it makes is read and checked like a file. Only what a file cannot know is looked at here.
struct ServiceEnvironment {
  private let environment: [String: String]
  /// `INTERCOM_CFG_…` may say what a variable does not.
  private let laidOver: LaidOver
  private(set) var tree = ConfigurationTree()
  private(set) var faults: [ConfigurationFault] = []
  /// Settings whose absence is among the faults already, told by the variable that is missing.
  private(set) var missing: Set<String> = []

  /// 7 days, the default of `sessions.absolute`, in seconds.
  private static let usualAbsolute = 604_800

  init(_ environment: [String: String]) {
    self.environment = environment
    laidOver = LaidOver(environment)
    listeners()
    baseURL()
    provider()
    origins()
    sessions()
    redis()
    routes()
    log()
    withoutEffect()
  }

  // MARK: Reading

  /// What is set and not empty, without white space around it.
  func value(_ name: String) -> String? {
    guard let text = environment[name].map({ trimmed($0[...]) }) else { return nil }
    return text.isEmpty ? nil : text
  }

  /// The value of a secret: white space may be part of it, but for a line end behind it.
  private func secretValue(_ name: String) -> String? {
    guard value(name) != nil, var text = environment[name] else { return nil }
    if text.hasSuffix("\n") || text.hasSuffix("\r\n") { text.removeLast() }
    return text
  }

  /// A URL without the slash at its end, which many write and nobody means.
  func url(_ name: String) -> String? {
    guard var text = value(name) else { return nil }
    while text.hasSuffix("/") { text.removeLast() }
    return text.isEmpty ? "/" : text
  }

  /// A boolean in any case.
  mutating func flag(_ name: String, _ standard: Bool) -> Bool {
    guard let text = value(name) else { return standard }
    switch text.lowercased() {
    case "true": return true
    case "false": return false
    default:
      refuse(name, "expected true or false, found \(quoted(text))", "set \(name)=true or \(name)=false")
      return standard
    }
  }

  mutating func refuse(_ name: String, _ problem: String, _ remedy: String) {
    faults.append(ConfigurationFault(.variable(name), "", problem, remedy))
  }

  mutating func warn(_ name: String, _ problem: String, _ remedy: String) {
    faults.append(ConfigurationFault(.variable(name), "", problem, remedy, severity: .warning))
  }

  /// Refuses that nothing sets this setting, unless `INTERCOM_CFG_…` sets it or what it is part of: then what it says is looked at later.
  private mutating func miss(_ name: String, _ setting: [String], isSecret: Bool = false, _ problem: String, _ remedy: String) {
    let wholes = setting.indices.dropFirst().map { Array(setting[..<$0]) }
    guard laidOver.variable(setting, isSecret: isSecret) == nil, !wholes.contains(where: { laidOver.variable($0) != nil }) else { return }
    refuse(name, problem, remedy)
    missing.insert(setting.joined(separator: "."))
  }

  /// A variable that must be there when nothing is laid over its setting. `also`: what makes it necessary.
  private mutating func required(
    _ name: String, _ setting: String..., isSecret: Bool = false, example: String, since also: String? = nil
  ) -> String? {
    if let text = isSecret ? secretValue(name) : value(name) { return text }
    let what = environment[name] == nil ? "missing" : "is empty"
    miss(name, setting, isSecret: isSecret, what + (also.map { ", while \($0) is set" } ?? ""), "set \(name)=\(example)")
    return nil
  }

  // MARK: Listener, base URL, provider

  private mutating func listeners() {
    var port = value("PORT") ?? "8008"
    if wholeNumber(port).map({ !(1...65_535).contains($0) }) ?? true {
      refuse("PORT", "\(quoted(port)) is no port", "set PORT=8008")
      port = "8008"
    }
    var host = value("HOST") ?? "0.0.0.0"
    if host.contains(":"), !host.hasPrefix("[") { host = "[\(host)]" }
    tree.set("listen", to: "\(host):\(port)", from: value("HOST") == nil ? "PORT" : "HOST")
  }

  private mutating func baseURL() {
    let (base, intercom) = (url("BASE_URL"), url("INTERCOM_URL"))
    if let base, let intercom, !base.utf8.elementsEqual(intercom.utf8) {
      warn(
        "BASE_URL", "differs from INTERCOM_URL: browsers can reach Intercom at one address only; BASE_URL counts",
        "set both to the address that Keycloak's client has in its redirect URI")
    }
    guard let found = base ?? intercom else {
      return miss(
        "INTERCOM_URL", ["baseURL"], "missing, and BASE_URL too", "set INTERCOM_URL=https://intercom.example.org, as browsers reach it")
    }
    tree.set("baseURL", to: found, from: base == nil ? "INTERCOM_URL" : "BASE_URL")
  }

  private mutating func provider() {
    if let issuer = url("ISSUER_BASE_URL") {
      tree.set("provider", "issuer", to: issuer, from: "ISSUER_BASE_URL")
      if value("KEYCLOAK_URL") != nil, let other = keycloakIssuer(), !other.utf8.elementsEqual(issuer.utf8) {
        warn("KEYCLOAK_URL", "no effect: ISSUER_BASE_URL names the issuer, and another one", "unset KEYCLOAK_URL and REALM_NAME")
      }
    } else if let issuer = keycloakIssuer() {
      tree.set("provider", "issuer", to: issuer, from: "KEYCLOAK_URL")
      if let base = keycloak?.base, keycloak?.hasAuth == true, !issuer.contains("@") {
        warn("KEYCLOAK_URL", "ends with /auth, which is added to it anyway: the issuer is \(quoted(issuer))", "set KEYCLOAK_URL=\(base)")
      }
    } else if value("KEYCLOAK_URL") == nil {
      miss(
        "ISSUER_BASE_URL", Self.issuer, "missing, and KEYCLOAK_URL with REALM_NAME too",
        "set ISSUER_BASE_URL=https://id.example.org/realms/main")
    } else {
      miss(
        "REALM_NAME", Self.issuer, "missing, while KEYCLOAK_URL is set", "set REALM_NAME, or ISSUER_BASE_URL instead of both")
    }
    if let id = required("CLIENT_ID", "provider", "clientID", example: "intercom") {
      tree.set("provider", "clientID", to: id, from: "CLIENT_ID")
    }
    if let secret = required(
      "CLIENT_SECRET", "provider", "clientSecret", isSecret: true, example: "<the secret of Keycloak's client>")
    {
      tree.set("provider", "clientSecret", toSecret: Secret(secret), file: "client-secret", from: "CLIENT_SECRET", note: "CLIENT_SECRET")
    }
    let isStandard = flag("TOKEN_EXCHANGE_V2", false)
    tree.set("provider", "tokenExchange", to: isStandard ? "rfc8693" : "legacy", from: "TOKEN_EXCHANGE_V2")
    if !isStandard {
      warn(
        "TOKEN_EXCHANGE_V2", "Keycloak's own form of token exchange is deprecated, and its tokens are good for more than the backend",
        "switch on 'Standard token exchange' at the client (Keycloak 26.2) and set TOKEN_EXCHANGE_V2=true")
    }
    if let file = value(Self.extraAuthorities) { tree.set("extraAuthorities", toFile: file, from: Self.extraAuthorities) }
  }

  private static let issuer = ["provider", "issuer"]
  /// What Node only warns of, when it cannot be read, is no fault here either.
  static let extraAuthorities = "NODE_EXTRA_CA_CERTS"

  /// `KEYCLOAK_URL` without the `/auth` that old versions of Keycloak have at its end.
  private var keycloak: (base: String, hasAuth: Bool)? {
    guard let text = url("KEYCLOAK_URL") else { return nil }
    return text.hasSuffix("/auth") ? (String(text.dropLast("/auth".count)), true) : (text, false)
  }

  private func keycloakIssuer() -> String? {
    guard let keycloak, let realm = value("REALM_NAME") else { return nil }
    return "\(keycloak.base)/auth/realms/\(realm)"
  }

  // MARK: Origins

  private mutating func origins() {
    var seen: [String] = []
    let list = laidOver.variable(["origins"])
    for name in ["NC_ORIGIN", "OX_ORIGIN"] {
      guard let origin = url(name), !seen.contains(where: { $0.utf8.elementsEqual(origin.utf8) }) else { continue }
      seen.append(origin)
      tree.add("origins", item: origin, from: name)
      if let list, !list.value.split(separator: ",").contains(where: { trimmed($0).utf8.elementsEqual(origin.utf8) }) {
        warn(name, "no effect: \(list.name) is set, and \(origin) is not in it", "add it there, or unset \(name)")
      }
    }
    let pattern = laidOver.variable(["compatibility", "originPattern"])
    if let expression = value("ORIGIN_REGEX") {
      tree.set("compatibility", "originPattern", to: expression, from: "ORIGIN_REGEX")
    } else if pattern != nil {
      return
    } else if let expression = environment["ORIGIN_REGEX"] {
      refuse(
        "ORIGIN_REGEX", "is empty\(expression.isEmpty ? "" : " but for white space"): it would take every origin",
        "set ORIGIN_REGEX=https://([a-z0-9-]+\\.)*example\\.org, or unset it and list the apps in INTERCOM_CFG_ORIGINS")
    } else if seen.isEmpty, list == nil {
      warn(
        "ORIGIN_REGEX", "missing: no app may call Intercom",
        "list them: INTERCOM_CFG_ORIGINS=https://mail.example.org,https://files.example.org")
    }
  }

  // MARK: Sessions

  private mutating func sessions() {
    tree.set("sessions", "store", to: "redis", from: "REDIS_HOST")
    secret()
    let idle = seconds("SESSION_ROLLING_DURATION", 86_400, 60...2_592_000)
    tree.set("sessions", "idle", to: "\(idle)s", from: "SESSION_ROLLING_DURATION")
    if idle > Self.usualAbsolute {
      tree.set("sessions", "absolute", to: "\(idle)s", from: "SESSION_ROLLING_DURATION")
    }
    let isTransient = flag("ENABLE_SESSION_COOKIE", false)
    tree.set("sessions", "cookieLifetime", to: isTransient ? "transient" : "persistent", from: "ENABLE_SESSION_COOKIE")
    if let name = value("SESSION_COOKIE_NAME") { tree.set("sessions", "cookieName", to: name, from: "SESSION_COOKIE_NAME") }
    tree.set("sessions", "userClaim", to: value("USER_UNIQUE_MAPPER") ?? "entryuuid", from: "USER_UNIQUE_MAPPER")
  }

  /// Every replica derives the same key from the same secret.
  private mutating func secret() {
    let make = "<32 bytes or more, such as from: openssl rand -hex 32>"
    guard let secret = secretValue("SECRET") else {
      return miss(
        "SECRET", ["sessions", "keys"], isSecret: true,
        environment["SECRET"] == nil ? "missing: it seals sessions" : "is empty: it seals sessions", "set SECRET=\(make)")
    }
    if secret.utf8.count < 32 {
      warn("SECRET", "shorter than 32 bytes: who can read the store may guess it", "set SECRET=\(make); all users sign in again")
    }
    guard let key = try? Self.sealingKey(secret) else { return refuse("SECRET", "no key can be derived from it", "set SECRET=\(make)") }
    tree.set(
      "sessions", "keys", toSecret: Secret(Base64URL.encode(key)), file: Self.keyFile, isList: true, from: "SECRET",
      note: "derived from SECRET")
  }

  /// The key of `sessions.keys` that a deployment with this `SECRET` has.
  static func sealingKey(_ secret: String) throws(CryptographyError) -> [UInt8] {
    try hkdfSHA256(key: Array(secret.utf8), info: Array("intercom SECRET: sealing key".utf8))
  }

  /// The file in which `config from-env` keeps it.
  static let keyFile = "session-key"

  private mutating func seconds(_ name: String, _ standard: Int, _ range: ClosedRange<Int>) -> Int {
    guard let text = value(name) else { return standard }
    guard let number = wholeNumber(text), range.contains(number) else {
      refuse(
        name, "\(quoted(text)) is no number of seconds from \(range.lowerBound) to \(range.upperBound)", "set \(name)=\(standard)")
      return standard
    }
    return number
  }

  private mutating func redis() {
    tree.set("sessions", "redis", "host", to: value("REDIS_HOST") ?? "redis-intercom", from: "REDIS_HOST")
    if let port = value("REDIS_PORT") { tree.set("sessions", "redis", "port", toLiteral: port, from: "REDIS_PORT") }
    if let user = value("REDIS_USER") { tree.set("sessions", "redis", "user", to: user, from: "REDIS_USER") }
    if let password = secretValue("REDIS_PASSWORD") {
      tree.set(
        "sessions", "redis", "password", toSecret: Secret(password), file: "redis-password", from: "REDIS_PASSWORD", note: "REDIS_PASSWORD")
    }
    let (tls, mutual) = (flag("REDIS_SSL", false), flag("REDIS_MTLS", false))
    if mutual, !tls { warn("REDIS_MTLS", "client certificates need TLS, so TLS is spoken", "set REDIS_SSL=true beside it") }
    if tls || mutual { tree.set("sessions", "redis", "tls", toLiteral: "true", from: tls ? "REDIS_SSL" : "REDIS_MTLS") }
    if mutual {
      let folder = value("REDIS_MTLS_FOLDER") ?? Self.certificateFolder
      tree.set("sessions", "redis", "chain", toFile: folder + "/client-cert.pem", from: "REDIS_MTLS")
      tree.set("sessions", "redis", "key", toFile: folder + "/client-key.pem", from: "REDIS_MTLS")
    } else if value("REDIS_MTLS_FOLDER") != nil {
      warn("REDIS_MTLS_FOLDER", "no effect without REDIS_MTLS", "set REDIS_MTLS=true, or unset it")
    }
    if let name = value("REDIS_SERVERNAME") {
      if tls || mutual {
        tree.set("sessions", "redis", "serverName", to: name, from: "REDIS_SERVERNAME")
      } else {
        warn("REDIS_SERVERNAME", "no effect without TLS", "set REDIS_SSL=true, or unset it")
      }
    }
  }

  /// Where `client-cert.pem` and `client-key.pem` are mounted.
  static let certificateFolder = "/etc/intercom/redis"

  // MARK: Routes

  private mutating func routes() {
    exchanging("fs", "/fs", methods: "webdav", "NC", "ncoidc")
    exchanging("wiki", "/wiki", methods: "plain", "XWIKI", "xwikioidc")
    nordeck()
    navigation()
    if !["NC_URL", "XWIKI_URL", "NORDECK_URL", "PORTAL_URL"].contains(where: { value($0) != nil }) {
      warn(
        "NC_URL", "missing, and XWIKI_URL, NORDECK_URL and PORTAL_URL too: Intercom only signs users in and out",
        "set the URLs of the backends")
    }
  }

  /// Whether a backend is there. What is switched off needs nothing.
  private mutating func backend(_ switchName: String?, _ urlName: String, _ route: String) -> String? {
    let isOn = switchName.map { flag($0, true) } ?? true
    if let url = url(urlName) { return isOn ? url : nil }
    if let switchName, isOn, value(switchName) != nil {
      miss(
        urlName, ["routes", route, "upstream"], "missing, while \(switchName) is true", "set \(urlName), or \(switchName)=false")
    }
    return nil
  }

  private mutating func exchanging(_ route: String, _ path: String, methods: String, _ prefix: String, _ audience: String) {
    guard let url = backend("\(prefix)_ENABLED", "\(prefix)_URL", route) else { return }
    tree.set("routes", route, "path", to: path, from: "\(prefix)_URL")
    tree.set("routes", route, "upstream", to: url, from: "\(prefix)_URL")
    tree.set(
      "routes", route, "credential", "exchange", "audience", to: value("\(prefix)_AUDIENCE") ?? audience, from: "\(prefix)_AUDIENCE")
    tree.set("routes", route, "methods", to: methods, from: "\(prefix)_URL")
    tree.set("routes", route, "stripPrefix", toLiteral: "true", from: "\(prefix)_URL")
    tree.set("routes", route, "encodedSlashes", to: "pass", from: "\(prefix)_URL")
  }

  private mutating func navigation() {
    guard let url = backend(nil, "PORTAL_URL", "navigation") else { return }
    tree.set("routes", "navigation", "path", to: "/navigation.json", from: "PORTAL_URL")
    tree.set("routes", "navigation", "upstream", to: url + "/univention/portal/navigation.json", from: "PORTAL_URL")
    tree.set(
      "routes", "navigation", "credential", "basic", "usernameClaim", to: value("USERNAME_CLAIM") ?? "phoenixusername",
      from: "USERNAME_CLAIM")
    let (name, example) = ("PORTAL_API_KEY", "<the secret shared with the portal>")
    if let key = required(
      name, "routes", "navigation", "credential", "basic", "secret", isSecret: true, example: example, since: "PORTAL_URL")
    {
      tree.set(
        "routes", "navigation", "credential", "basic", "secret", toSecret: Secret(key), file: "portal-api-key", from: "PORTAL_API_KEY",
        note: "PORTAL_API_KEY")
    }
    tree.set("routes", "navigation", "methods", to: "read", from: "PORTAL_URL")
    tree.set("routes", "navigation", "stripPrefix", toLiteral: "true", from: "PORTAL_URL")
  }

  /// The meetings bot, for whom Intercom signs the user in at the homeserver.
  private mutating func nordeck() {
    let isOn = flag("MATRIX_ENABLED", true)
    guard isOn, let url = url("NORDECK_URL") else {
      if isOn, value("MATRIX_ENABLED") != nil {
        warn("MATRIX_ENABLED", "no effect without NORDECK_URL: there is no route /nob", "set NORDECK_URL, or MATRIX_ENABLED=false")
      }
      return
    }
    tree.set("routes", "nob", "path", to: "/nob", from: "NORDECK_URL")
    tree.set("routes", "nob", "upstream", to: url, from: "NORDECK_URL")
    matrixServer()
    if let type = value("MATRIX_LOGIN_TYPE") {
      tree.set("routes", "nob", "credential", "matrix", "loginType", to: type, from: "MATRIX_LOGIN_TYPE")
    }
    tree.set("routes", "nob", "credential", "matrix", "mode", to: nordeckMode(), from: "NORDECK_MODE")
    tree.set("routes", "nob", "methods", to: "plain", from: "NORDECK_URL")
    tree.set("routes", "nob", "stripPrefix", toLiteral: "true", from: "NORDECK_URL")
    tree.set("routes", "nob", "csrf", to: "token", from: "NORDECK_URL")
  }

  private mutating func matrixServer() {
    let (route, kind, reason) = ("nob", "matrix", "NORDECK_URL")
    let homeserver = required(
      "MATRIX_URL", "routes", route, "credential", kind, "homeserver", example: "https://matrix.example.org", since: reason)
    if homeserver != nil, let url = url("MATRIX_URL") {
      tree.set("routes", route, "credential", kind, "homeserver", to: url, from: "MATRIX_URL")
    }
    if let name = required(
      "MATRIX_SERVER_NAME", "routes", route, "credential", kind, "serverName", example: "example.org", since: reason)
    {
      tree.set("routes", route, "credential", kind, "serverName", to: name, from: "MATRIX_SERVER_NAME")
    }
    if let token = required(
      "MATRIX_AS_SECRET", "routes", route, "credential", kind, "asToken", isSecret: true,
      example: "<the as_token of the application service>", since: reason)
    {
      tree.set(
        "routes", route, "credential", kind, "asToken", toSecret: Secret(token), file: "matrix-as-token", from: "MATRIX_AS_SECRET",
        note: "MATRIX_AS_SECRET")
    }
  }

  private mutating func nordeckMode() -> String {
    switch value("NORDECK_MODE")?.lowercased() {
    case "live": break
    case "test":
      warn(
        "NORDECK_MODE", "the bot gets the user's access token, with which it can do all that the user can at the homeserver",
        "set NORDECK_MODE=live when the bot takes OpenID tokens")
      return "accessToken"
    case nil: warn("NORDECK_MODE", "missing: the bot gets an OpenID token, as with live", "set NORDECK_MODE=live or NORDECK_MODE=test")
    case let text?: refuse("NORDECK_MODE", "expected live or test, found \(quoted(text))", "set NORDECK_MODE=live or NORDECK_MODE=test")
    }
    return "openID"
  }

  // MARK: Log

  /// The names of the log libraries that such services use, beside our own.
  private static let levels = [
    "warn": "warning", "http": "debug", "verbose": "debug", "silly": "trace", "notice": "info", "fatal": "error", "crit": "error",
    "critical": "error", "emerg": "error", "alert": "error", "silent": "error", "off": "error",
  ]

  private mutating func log() {
    if let text = value("LOG_LEVEL") {
      let level = text.lowercased()
      tree.set("log", "level", to: Self.levels[level] ?? level, from: "LOG_LEVEL")
      if ["silent", "off"].contains(level) {
        warn("LOG_LEVEL", "there is no such level here: errors are written", "set LOG_LEVEL=error")
      }
    }
    if let file = value("LOG_FILE") { tree.set("log", "file", toFile: file, from: "LOG_FILE") }
  }

  private mutating func withoutEffect() {
    for name in ["PROXY", "OX_AUDIENCE"] where value(name) != nil {
      warn(name, "accepted without effect", "unset it when nothing else reads it")
    }
  }
}
