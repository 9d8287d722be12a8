import ConfigurationYAML
import Cryptography
import Gateway
import HTTP1
import HTTPMessage
import HTTPServer
import IntercomCore
import Linux
import Matrix
import OIDC
import OpenSSL
import Policy
import ReverseProxy
import SessionStoreRedis
import Sessions
import Telemetry

/// A checked configuration that nevertheless cannot be run: a fault of the checks, told in plain words.
package struct DeploymentError: Error, CustomStringConvertible {
  package let description: String
}

/// What routes name by an index, because a route is compared and shown.
private struct RouteSecrets {
  /// `sessions.userClaim`
  let userClaim: Identifier
  var passwords: [Secret<String>] = []
  var homeservers: [HomeserverSetup] = []
}

extension Deployment {
  /// What a configuration file asks for.
  package init(_ configuration: Configuration, log: StructuredLog, random: any RandomSource) throws {
    guard let base = HTTPURL(configuration.baseURL.text) else { throw DeploymentError(description: "baseURL is not usable") }
    let origins = try configuration.origins.map { try Self.origin($0) }
    let keys = configuration.sessions.keys.isEmpty ? [Secret(random.bytes(32))] : configuration.sessions.keys
    let cookies = OwnCookies(
      isSecure: base.isSecure, name: configuration.sessions.cookieName,
      sameSite: Self.sameSite(configuration.sessions.sameSite), isPersistent: configuration.sessions.cookieLifetime == .persistent,
      sharesCSRFToken: configuration.compatibility.csrfCookie)
    var secrets = RouteSecrets(userClaim: configuration.sessions.userClaim)
    let extra = configuration.extraAuthorities?.certificates
    // Only where it is needed: reading all authorities of the system takes as long as the rest of the start.
    let needsSystem = configuration.routes.contains { $0.upstreamTLS == nil && $0.upstream.contains { $0.scheme == .https } }
    let systemTLS =
      needsSystem ? UpstreamTLS(try TLSContext(client: nil, besidesSystem: extra), fingerprint: extra?.fingerprint ?? []) : nil
    let allowed = AllowedOrigins(origins, pattern: configuration.compatibility.originPattern)
    let routes = try configuration.routes.map {
      try Self.route($0, base, allowed, configuration.timeouts, configuration.provider.tokenExchange, systemTLS, extra, &secrets)
    }
    self.init(
      listen: try Self.listeners(of: configuration), admin: try Self.address(configuration.admin.listen), base: base,
      origins: origins, client: try Self.client(configuration), keys: try KeyRing(keys, random: random), cookies: cookies, routes: routes,
      log: log)
    passwords = secrets.passwords
    homeservers = secrets.homeservers
    switch configuration.sessions.store {
    case .memory: break
    case .sqlite: store = .sqlite(path: configuration.sessions.path)
    case .redis: store = .redis(try Self.redis(configuration.sessions.redis, extra))
    }
    originPattern = configuration.compatibility.originPattern
    extraAuthorityFile = configuration.extraAuthorities?.file
    authorityFile = configuration.provider.caFile
    userClaim = configuration.sessions.userClaim
    sessions = SessionSettings(idle: configuration.sessions.idle, absolute: configuration.sessions.absolute)
    loops = configuration.limits.loops
    workers = configuration.limits.workers
    drain = configuration.timeouts.drain
    server.headLimits = HeadLimits(
      target: configuration.limits.target, field: configuration.limits.field, head: configuration.limits.head,
      fieldCount: configuration.limits.fields)
    forwarding.answerLimits = HeadLimits(
      field: configuration.limits.responseHead, head: configuration.limits.responseHead, fieldCount: configuration.limits.fields)
    forwarding.connections = configuration.limits.upstreamConnections
    forwarding.idleConnections = configuration.limits.upstreamIdle
    forwarding.pooledTime = configuration.timeouts.upstreamKept
    forwarding.health.failures = configuration.limits.upstreamFailures
    forwarding.health.timeouts = configuration.limits.upstreamTimeouts
    forwarding.health.firstPause = configuration.timeouts.upstreamPause
    forwarding.health.longestPause = configuration.timeouts.upstreamLongestPause
    nameLifetime = configuration.timeouts.names
    providerCall = configuration.timeouts.providerCall
    tokenOperation = configuration.timeouts.tokenOperation
    server.headTime = configuration.timeouts.clientHead
    server.idleTime = configuration.timeouts.clientIdle
    server.paceWindow = configuration.timeouts.clientPace
    server.paceBytes = configuration.limits.clientPace
    server.maximumConnections = configuration.limits.connections
    server.http2.streams = UInt32(clamping: configuration.limits.streams)
    server.http2.fieldList = UInt32(clamping: configuration.limits.head)
    server.log = log
    server.proxies = TrustedProxies(
      configuration.trustedProxies.map(\.block), field: configuration.forwardedField == .forwarded ? .forwarded : .xForwardedFor)
    certificateTimes = CertificateTimes(configuration.tls)
  }

  private static func redis(_ redis: Configuration.Redis?, _ extra: TLSCertificates?) throws -> RedisSettings {
    guard let redis else { throw DeploymentError(description: "sessions.redis is missing") }
    let tls = redis.speaksTLS ? try TLSContext(client: redis.authorities, besidesSystem: extra, identity: redis.identity) : nil
    var settings = RedisSettings(
      host: redis.host.description, port: redis.port, user: redis.user.description, password: redis.password, database: redis.database,
      tls: tls, serverName: redis.serverName?.description)
    settings.showsCertificate = redis.identity != nil
    return settings
  }

  private static func client(_ configuration: Configuration) throws -> ClientConfiguration {
    let provider = configuration.provider
    var client = try ClientConfiguration(
      issuer: provider.issuer.text, clientID: provider.clientID.description, clientSecret: provider.clientSecret,
      redirectURI: configuration.redirectURI, internalURL: provider.internalURL?.text)
    client.authentication = provider.clientAuthentication == .basic ? .basic : .post
    client.scopes = provider.scopes.map(\.description)
    client.exchangeStyle = provider.tokenExchange == .rfc8693 ? .standard : .keycloakLegacy
    client.clockSkew = provider.clockSkew
    return client
  }

  private static func route(
    _ route: Configuration.Route, _ base: HTTPURL, _ shared: AllowedOrigins, _ timeouts: Configuration.Timeouts,
    _ form: Configuration.TokenExchangeForm, _ systemTLS: UpstreamTLS?, _ extra: TLSCertificates?, _ secrets: inout RouteSecrets
  ) throws -> Route {
    let endpoints = route.upstream.compactMap { HTTPURL($0.text).flatMap(UpstreamEndpoint.init) }
    guard let path = RoutePath(route.path), let upstream = endpoints.first, endpoints.count == route.upstream.count else {
      throw DeploymentError(description: "routes.\(route.name): path or upstream is not usable")
    }
    let own: [Origin]? = try route.origins.map { list in try list.map { try origin($0) } }
    var allowed = [base.origin] + (own ?? shared.listed)
    let hostOrigin = route.host.flatMap { Self.hostOrigin($0, base) }
    if let hostOrigin { allowed.append(hostOrigin) }
    var made = Route(
      name: route.name, path: path, kind: .proxy(upstream), methods: route.methods,
      cors: CORSPolicy(origins: allowed, pattern: own == nil ? shared.pattern : nil))
    made.otherEndpoints = Array(endpoints.dropFirst())
    made.balance = route.balance == .leastRequest ? .leastRequest : .roundRobin
    if upstream.scheme == .https {
      made.upstreamTLS = try route.upstreamTLS.map { try Self.upstreamTLS($0, extra) } ?? systemTLS
    }
    made.host = route.host.map { Identifier($0) }
    made.hostOrigin = hostOrigin
    made.isPublic = route.isPublic
    made.bearer = route.bearer
    made.stripPrefix = route.stripPrefix
    made.cookies = cookieMode(route.cookies)
    made.csrf = route.csrf == .token ? .token : .anyProof
    made.passesEncodedSlashes = route.encodedSlashes == .pass
    made.timeouts = UpstreamTimeouts(
      connect: timeouts.connect, head: timeouts.upstreamHead, idle: timeouts.upstreamIdle, tunnel: timeouts.tunnelIdle)
    made.upgrades = route.upgrades.map { Array($0.utf8) }
    made.credential = credential(route.credential, form, &secrets)
    return made
  }

  private static func credential(
    _ credential: Configuration.Credential, _ form: Configuration.TokenExchangeForm, _ secrets: inout RouteSecrets
  ) -> CredentialRule {
    switch credential {
    case .none: return .none
    case .accessToken: return .accessToken
    case .exchange(let exchange):
      return .exchange(
        ExchangeTarget(
          audience: exchange.audience, scope: exchange.scope, resource: exchange.resource,
          alsoFor: Set(exchange.alsoFor ?? form.usualAudiences)))
    case .basic(let claim, let secret):
      secrets.passwords.append(secret)
      return .basic(usernameClaim: claim, passwordIndex: secrets.passwords.count - 1)
    case .headers(let headers): return .headers(headers.map { ClaimHeader(field: $0.field, claim: $0.claim) })
    case .matrix(let matrix):
      let homeserver = MatrixHomeserver(
        address: matrix.homeserver.text, serverName: matrix.serverName, asToken: matrix.asToken, loginType: matrix.loginType)
      secrets.homeservers.append(HomeserverSetup(homeserver, authorityFile: matrix.caFile))
      return .matrix(
        MatrixRule(
          userClaim: matrix.userClaim ?? secrets.userClaim, homeserverIndex: secrets.homeservers.count - 1,
          mode: matrix.mode == .openID ? .openID : .accessToken))
    }
  }

  private static func upstreamTLS(_ tls: Configuration.UpstreamTLS, _ extra: TLSCertificates?) throws -> UpstreamTLS {
    UpstreamTLS(
      try TLSContext(client: tls.authorities, besidesSystem: extra, identity: tls.identity),
      serverName: tls.serverName.map { Identifier($0) },
      fingerprint: tls.fingerprint)
  }

  /// A host route's own origin: the base URL's scheme and port with its host.
  static func hostOrigin(_ host: String, _ base: HTTPURL) -> Origin? {
    let port = base.port == base.scheme.defaultPort ? "" : ":\(base.port)"
    return HTTPURL("\(base.scheme.rawValue)://\(host)\(port)/")?.origin
  }

  private static func cookieMode(_ mode: Configuration.CookieMode) -> CookieMode {
    switch mode {
    case .isolate: .isolate
    case .pass: .pass
    case .drop: .drop
    }
  }

  private static func origin(_ origin: WebOrigin) throws -> Origin {
    guard let made = Origin(serialized: origin.text) else { throw DeploymentError(description: "the origin \(origin.text) is not usable") }
    return made
  }

  private static func sameSite(_ value: Configuration.SameSite) -> OwnCookies.SameSite {
    switch value {
    case .lax: .lax
    case .none: .none
    case .strict: .strict
    }
  }

  static func address(_ address: ListenAddress) throws -> SocketAddress {
    guard let ip = Linux.IPAddress(address.address.text), let port = UInt16(exactly: address.port) else {
      throw DeploymentError(description: "the address \(address) is not usable")
    }
    return SocketAddress(ip, port: port)
  }
}
