import ConfigurationYAML
import HTTPMessage
import IntercomCore
import Telemetry

/// What could be read of a configuration, with places. Parts that are missing or faulty are nil, so that checks across settings still find
/// all that is wrong in one run.
struct ConfigurationDraft {
  struct Provider {
    let issuer: Located<WebURL>?
    let internalURL: Located<WebURL>?
    let clientID: Located<Identifier>?
    let clientSecret: Located<Secret<String>>?
    let clientAuthentication: Located<Configuration.ClientAuthentication>
    let scopes: Located<[Identifier]>
    let caFile: Located<String>?
    let tokenExchange: Located<Configuration.TokenExchangeForm>
    let clockSkew: Located<Duration>
  }

  struct Sessions {
    let place: ConfigurationPlace
    let store: Located<Configuration.SessionStoreKind>
    let path: Located<String>
    let keys: Located<[Secret<[UInt8]>]>?
    /// Also true when what was written is faulty.
    let hasKeys: Bool
    let idle: Located<Duration>
    let absolute: Located<Duration>
    let cookieName: Located<String>?
    let sameSite: Located<Configuration.SameSite>
    let cookieLifetime: Located<Configuration.CookieLifetime>
    let userClaim: Located<Identifier>
    let redis: Redis
  }

  struct Route {
    let name: Located<String>
    let host: Located<String>?
    /// Also true when what was written is faulty.
    let hasHost: Bool
    /// Nil when missing or faulty; `/` when only a host is written.
    let path: Located<String>?
    let upstream: Located<[WebURL]>?
    let balance: Located<Configuration.Balance>
    let upstreamTLS: Located<UpstreamTLSDraft>?
    let credential: Located<Configuration.Credential>?
    let methods: Located<MethodSet>
    let origins: Located<[WebOrigin]>?
    let stripPrefix: Located<Bool>
    let cookies: Located<Configuration.CookieMode>
    let csrf: Located<Configuration.CSRFMode>
    let upgrades: Located<[String]>
    let bearer: Located<Identifier>?
    let encodedSlashes: Located<Configuration.EncodedSlashes>?
    let isPublic: Located<Bool>
  }

  let listen: Located<[Listener]>
  let tls: TLS
  let trustedProxies: Located<[TrustedNetwork]>
  let forwardedField: Located<Configuration.ForwardedField>
  let baseURL: Located<WebURL>?
  let origins: Located<[WebOrigin]>
  let provider: Provider
  let sessions: Sessions
  let routes: [Route]
  let routesPlace: ConfigurationPlace
  var admin: Located<ListenAddress>
  /// Of `admin`, with the place that says it: another one may say the port.
  var adminAddress: Located<AddressLiteral>
  /// By name.
  let timeouts: [String: Located<Duration>]
  let limits: [String: Located<Int>]
  let log: Log
  let compatibility: Compatibility
  let extraAuthorities: Located<String>?

  struct Log {
    let level: Located<LogLevel>
    let file: Located<String>?
    let fileSize: Located<Int>
    let files: Located<Int>
  }
}

extension ConfigurationDraft {
  /// Asks the reader for every setting; faults are collected there.
  init(_ reader: ConfigurationReader) {
    let top = reader.top
    listen = top[ConfigurationKeys.Top.listen]
    tls = TLS(top.section("tls"))
    trustedProxies = top[ConfigurationKeys.Top.trustedProxies]
    forwardedField = top[ConfigurationKeys.Top.forwardedField]
    baseURL = top[ConfigurationKeys.Top.baseURL]
    origins = top[ConfigurationKeys.Top.origins]
    provider = Provider(top.section("provider"))
    sessions = Sessions(top.section("sessions"))
    routes = top.named("routes").map { Route($0.name, $0.section) }
    routesPlace = top.place
    admin = top.section("admin")[ConfigurationKeys.Admin.listen]
    adminAddress = Located(admin.value.address, admin.place, admin.path, isWritten: admin.isWritten)
    timeouts = Self.numbers(ConfigurationKeys.Timeouts.all, top.section("timeouts"))
    limits = Self.numbers(ConfigurationKeys.Limits.all, top.section("limits"))
    log = Log(top.section("log"))
    compatibility = Compatibility(top.section(ConfigurationKeys.Compatibility.section))
    extraAuthorities = top[ConfigurationKeys.Top.extraAuthorities]
  }

  private static func numbers<Number>(
    _ settings: [DefaultedSetting<Number>], _ section: ConfigurationSection
  ) -> [String: Located<Number>] {
    Dictionary(settings.map { ($0.setting.name, section[$0]) }) { first, _ in first }
  }
}

extension ConfigurationDraft.Log {
  init(_ section: ConfigurationSection) {
    typealias Keys = ConfigurationKeys.Log
    level = section[Keys.level]
    file = section[Keys.file]
    fileSize = section[Keys.fileSize]
    files = section[Keys.files]
  }
}

extension ConfigurationDraft.Provider {
  init(_ section: ConfigurationSection) {
    typealias Keys = ConfigurationKeys.Provider
    issuer = section[Keys.issuer]
    internalURL = section[Keys.internalURL]
    clientID = section[Keys.clientID]
    clientSecret = section[Keys.clientSecret]
    clientAuthentication = section[Keys.clientAuthentication]
    scopes = section[Keys.scopes]
    caFile = section[Keys.caFile]
    tokenExchange = section[Keys.tokenExchange]
    clockSkew = section[Keys.clockSkew]
  }
}

extension ConfigurationDraft.Sessions {
  init(_ section: ConfigurationSection) {
    typealias Keys = ConfigurationKeys.Sessions
    place = section.place
    store = section[Keys.store]
    path = section[Keys.path]
    hasKeys = section.has(Keys.keys.name) || section.has(Keys.keys.name + "File")
    keys = section[Keys.keys]
    idle = section[Keys.idle]
    absolute = section[Keys.absolute]
    cookieName = section[Keys.cookieName]
    sameSite = section[Keys.sameSite]
    cookieLifetime = section[Keys.cookieLifetime]
    userClaim = section[Keys.userClaim]
    redis = ConfigurationDraft.Redis(section.section("redis"))
  }
}

extension ConfigurationDraft.Route {
  init(_ name: Located<String>, _ section: ConfigurationSection) {
    typealias Keys = ConfigurationKeys.Route
    self.name = name
    host = section[Keys.host]
    hasHost = section.has(Keys.host.name)
    path = Self.path(section, hasHost: hasHost)
    upstream = section[Keys.upstream]
    balance = section[Keys.balance]
    upstreamTLS = section[Keys.upstreamTLS]
    credential = section[Keys.credential]
    methods = section[Keys.methods]
    origins = section[Keys.origins]
    stripPrefix = section[Keys.stripPrefix]
    cookies = section[Keys.cookies]
    csrf = section[Keys.csrf]
    upgrades = section[Keys.upgrades]
    bearer = section[Keys.bearer]
    encodedSlashes = section[Keys.encodedSlashes]
    isPublic = section[Keys.isPublic]
  }

  /// With a host of its own a route may take every path.
  private static func path(_ section: ConfigurationSection, hasHost: Bool) -> Located<String>? {
    let key = ConfigurationKeys.Route.path
    if let written = section[key] { return written }
    guard !section.has(key.name), section.isReadable else { return nil }
    if hasHost { return Located("/", section.place, section.path + ".path", isWritten: false) }
    section.reader.add(ConfigurationFault(section.place, section.path + ".path", "missing", "write 'path: \(key.example)', or a 'host'"))
    return nil
  }
}
