/// A variable by which a deployment of the Intercom Service is set up.
struct ServiceVariable: Sendable {
  let name: String
  /// The setting that it stands for, as in docs/configuration.md; nil for one that stands for none or for several.
  var setting: String?
  /// Names that every environment may hold do not tell that a deployment of the Intercom Service was meant.
  var isTelling = true
}

/// All of them, in the order of docs/migrating-from-ics.md.
enum ServiceVariables {
  static let all: [ServiceVariable] = [
    .init(name: "INTERCOM_URL", setting: "baseURL"), .init(name: "BASE_URL", isTelling: false),
    .init(name: "HOST", isTelling: false), .init(name: "PORT", setting: "listen", isTelling: false),
    .init(name: "ISSUER_BASE_URL", setting: "provider.issuer"), .init(name: "KEYCLOAK_URL"), .init(name: "REALM_NAME"),
    .init(name: "CLIENT_ID", setting: "provider.clientID", isTelling: false),
    .init(name: "CLIENT_SECRET", setting: "provider.clientSecret", isTelling: false),
    .init(name: "SECRET", setting: "sessions.keys", isTelling: false),
    .init(name: "TOKEN_EXCHANGE_V2", setting: "provider.tokenExchange"),
    .init(name: "ORIGIN_REGEX", setting: "compatibility.originPattern"), .init(name: "NC_ORIGIN"), .init(name: "OX_ORIGIN"),
    .init(name: "ENABLE_SESSION_COOKIE", setting: "sessions.cookieLifetime"),
    .init(name: "SESSION_ROLLING_DURATION", setting: "sessions.idle"),
    .init(name: "SESSION_COOKIE_NAME", setting: "sessions.cookieName"), .init(name: "USER_UNIQUE_MAPPER", setting: "sessions.userClaim"),
    .init(name: "USERNAME_CLAIM"), .init(name: "REDIS_HOST", setting: "sessions.redis.host"),
    .init(name: "REDIS_PORT", setting: "sessions.redis.port"), .init(name: "REDIS_USER", setting: "sessions.redis.user"),
    .init(name: "REDIS_PASSWORD", setting: "sessions.redis.password"), .init(name: "REDIS_SSL", setting: "sessions.redis.tls"),
    .init(name: "REDIS_MTLS"), .init(name: "REDIS_MTLS_FOLDER"),
    .init(name: "REDIS_SERVERNAME", setting: "sessions.redis.serverName"),
    .init(name: "NODE_EXTRA_CA_CERTS", setting: "extraAuthorities", isTelling: false),
    .init(name: "NC_ENABLED"), .init(name: "NC_URL", setting: "routes.fs.upstream"), .init(name: "NC_AUDIENCE"),
    .init(name: "XWIKI_ENABLED"), .init(name: "XWIKI_URL", setting: "routes.wiki.upstream"), .init(name: "XWIKI_AUDIENCE"),
    .init(name: "MATRIX_ENABLED"), .init(name: "MATRIX_URL"), .init(name: "MATRIX_SERVER_NAME"), .init(name: "MATRIX_AS_SECRET"),
    .init(name: "MATRIX_LOGIN_TYPE"), .init(name: "NORDECK_URL", setting: "routes.nob.upstream"), .init(name: "NORDECK_MODE"),
    .init(name: "PORTAL_URL", setting: "routes.navigation.upstream"), .init(name: "PORTAL_API_KEY"),
    .init(name: "LOG_LEVEL", setting: "log.level", isTelling: false), .init(name: "LOG_FILE", setting: "log.file", isTelling: false),
    .init(name: "PROXY", isTelling: false), .init(name: "OX_AUDIENCE"),
  ]

  /// By the paths of settings.
  static let names: [String: String] = Dictionary(all.compactMap { one in one.setting.map { ($0, one.name) } }) { first, _ in first }

  /// Those that are set and tell that they were meant for an Intercom Service.
  static func found(in environment: [String: String]) -> [String] {
    all.filter { $0.isTelling && environment[$0.name] != nil }.map(\.name)
  }
}
