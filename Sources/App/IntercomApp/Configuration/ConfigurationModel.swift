import ConfigurationYAML
import HTTPMessage
import IntercomCore

extension ConfigurationDraft {
  /// The configuration, when nothing that it needs is missing. Whether it is right is said by the collected faults.
  ///
  /// - Parameters:
  ///   - tls: nil when a certificate or its key cannot be used.
  ///   - redis: nil when another store is asked for, or something of it cannot be used.
  ///   - upstreams: TLS of each route.
  ///   - compatibility: nil when its expression cannot be used.
  ///   - extra: nil when no further authorities are named, or they cannot be used; whether that is a fault was said.
  func configuration(
    _ tls: Configuration.TLS?, _ redis: Configuration.Redis?, upstreams: [Configuration.UpstreamTLS?],
    _ compatibility: Configuration.Compatibility?, extra: Configuration.ExtraAuthorities?
  ) -> Configuration? {
    guard let baseURL, let tls, let compatibility, let provider = provider.model, redis != nil || sessions.store.value != .redis else {
      return nil
    }
    let models = zip(routes, upstreams).compactMap { $0.model($1) }
    guard models.count == routes.count else { return nil }
    return Configuration(
      listen: listen.value.map(\.model), tls: tls, trustedProxies: trustedProxies.value, forwardedField: forwardedField.value,
      baseURL: baseURL.value, provider: provider,
      origins: origins.value.filter { !$0.text.utf8.elementsEqual(baseURL.value.text.utf8) }, sessions: sessions.model(redis),
      routes: models,
      admin: Configuration.Admin(listen: admin.value), timeouts: timeoutsModel, limits: limitsModel,
      log: Configuration.Log(level: log.level.value, file: log.file?.value, fileSize: log.fileSize.value, files: log.files.value),
      compatibility: compatibility, extraAuthorities: extra)
  }

  private var timeoutsModel: Configuration.Timeouts {
    typealias Keys = ConfigurationKeys.Timeouts
    func value(_ key: DefaultedSetting<Duration>) -> Duration { timeouts[key.setting.name]?.value ?? key.fallback }
    return Configuration.Timeouts(
      providerCall: value(Keys.providerCall), tokenOperation: value(Keys.tokenOperation), connect: value(Keys.connect),
      upstreamHead: value(Keys.upstreamHead), upstreamIdle: value(Keys.upstreamIdle), tunnelIdle: value(Keys.tunnelIdle),
      upstreamKept: value(Keys.upstreamKept),
      upstreamPause: value(Keys.upstreamPause), upstreamLongestPause: value(Keys.upstreamLongestPause), names: value(Keys.names),
      clientHead: value(Keys.clientHead),
      clientIdle: value(Keys.clientIdle), clientPace: value(Keys.clientPace), drain: value(Keys.drain))
  }

  private var limitsModel: Configuration.Limits {
    typealias Keys = ConfigurationKeys.Limits
    func value(_ key: DefaultedSetting<Int>) -> Int { limits[key.setting.name]?.value ?? key.fallback }
    return Configuration.Limits(
      target: value(Keys.target), field: value(Keys.field), head: value(Keys.head), fields: value(Keys.fields),
      responseHead: value(Keys.responseHead), clientPace: value(Keys.clientPace), connections: value(Keys.connections),
      upstreamConnections: value(Keys.upstreamConnections), upstreamIdle: value(Keys.upstreamIdle),
      upstreamFailures: value(Keys.upstreamFailures), upstreamTimeouts: value(Keys.upstreamTimeouts),
      streams: value(Keys.streams), loops: value(Keys.loops), workers: value(Keys.workers))
  }
}

extension ConfigurationDraft.Provider {
  fileprivate var model: Configuration.Provider? {
    guard let issuer, let clientID, let clientSecret else { return nil }
    return Configuration.Provider(
      issuer: issuer.value, internalURL: internalURL?.value, clientID: clientID.value, clientSecret: clientSecret.value,
      clientAuthentication: clientAuthentication.value, scopes: scopes.value, caFile: caFile?.value, tokenExchange: tokenExchange.value,
      clockSkew: clockSkew.value)
  }
}

extension ConfigurationDraft.Sessions {
  fileprivate func model(_ redis: Configuration.Redis?) -> Configuration.Sessions {
    Configuration.Sessions(
      store: store.value, path: path.value, keys: keys?.value ?? [], idle: idle.value, absolute: absolute.value,
      cookieName: cookieName?.value,
      sameSite: sameSite.value, cookieLifetime: cookieLifetime.value, userClaim: userClaim.value, redis: redis)
  }
}

extension ConfigurationDraft.Route {
  /// The paths whose backends are known to use encoded slashes in file and page names (behaviour: "Requests and paths").
  private static let slashPaths = ["/fs", "/wiki"]

  fileprivate func model(_ tls: Configuration.UpstreamTLS?) -> Configuration.Route? {
    guard let path, let upstream, let credential else { return nil }
    let slashes = encodedSlashes?.value ?? (Self.slashPaths.contains(path.value) ? .pass : .refuse)
    return Configuration.Route(
      name: name.value, host: host?.value, path: path.value, upstream: upstream.value, balance: balance.value,
      upstreamTLS: tls, credential: credential.value, methods: methods.value, origins: origins?.value,
      stripPrefix: stripPrefix.value, cookies: cookies.value, csrf: csrf.value, upgrades: upgrades.value, bearer: bearer?.value,
      encodedSlashes: slashes, isPublic: isPublic.value)
  }
}
