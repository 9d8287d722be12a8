import ConfigurationYAML
import HTTPMessage
import IntercomCore
import StrictJSON

/// What `intercom config check` prints. It is made from the checked model only, whose secrets print themselves redacted.
package struct ConfigurationReport {
  private let file: String
  private let reading: ConfigurationReading

  package init(_ file: String, _ reading: ConfigurationReading) {
    self.file = file
    self.reading = reading
  }

  /// All faults, or `FILE: ok` with what will hold, and the warnings.
  package var text: String {
    var lines = reading.errors.map(\.description)
    if let configuration = reading.configuration { lines += ["\(file): ok"] + Self.summary(configuration) }
    lines += reading.warnings.map(\.description)
    if !reading.errors.isEmpty { lines.append("\(file): \(Self.count(reading.errors.count, "fault"))") }
    return lines.joined(separator: "\n") + "\n"
  }

  private static func count(_ number: Int, _ noun: String) -> String { "\(number) \(noun)\(number == 1 ? "" : "s")" }

  /// One line per subject. What is not named has its default (docs/configuration.md).
  static func summary(_ configuration: Configuration) -> [String] {
    let provider = configuration.provider
    let origins = configuration.origins.map(\.text)
    var lines: [(String, String)] = [
      ("listen", configuration.listen.map(\.description).joined(separator: ", ")),
      ("base URL", configuration.baseURL.text),
      ("provider", providerSummary(configuration)),
      (
        "client",
        "\(provider.clientID), secret \(provider.clientSecret), \(provider.clientAuthentication.rawValue), "
          + "scopes \(provider.scopes.map(\.description).joined(separator: " "))"
      ),
      ("exchange", provider.tokenExchange == .legacy ? "Keycloak's legacy form" : "RFC 8693"),
      ("redirect URI", "\(configuration.redirectURI) (register it at the provider)"),
      ("back-channel", "\(configuration.backchannelLogoutURI) (register it at the provider)"),
      ("origins", origins.isEmpty ? "none but the base URL's" : origins.joined(separator: ", ")),
    ]
    lines += originSummary(configuration) + sessionsSummary(configuration)
    lines.append(("admin", configuration.admin.listen.description))
    if let extra = configuration.extraAuthorities {
      lines.append(("trust", "\(extra.file) besides the system's authorities, wherever no other file is named"))
    }
    if configuration.log.level != .info || configuration.log.file != nil { lines.append(("log", logSummary(configuration.log))) }
    if let internalURL = provider.internalURL { lines.insert(("called at", internalURL.text), at: 3) }
    lines += certificates(configuration.tls) + proxies(configuration) + numbers(configuration)
    lines += configuration.routes.map { ("route", summary($0, configuration)) }
    return lines.map { name, value in "  " + name + String(repeating: " ", count: max(1, 14 - name.count)) + value }
  }

  private static func providerSummary(_ configuration: Configuration) -> String {
    let provider = configuration.provider
    var parts = [provider.issuer.text]
    if (provider.internalURL ?? provider.issuer).scheme == .https {
      parts.append("TLS verified by \(provider.caFile ?? systemAuthorities(configuration))")
    }
    if provider.clockSkew != ConfigurationKeys.Provider.clockSkew.fallback {
      parts.append("clock off by \(showDuration(provider.clockSkew)) at most")
    }
    return parts.joined(separator: ", ")
  }

  private static func systemAuthorities(_ configuration: Configuration) -> String {
    "the system's authorities" + (configuration.extraAuthorities.map { " and those of \($0.file)" } ?? "")
  }

  private static func originSummary(_ configuration: Configuration) -> [(String, String)] {
    var lines: [(String, String)] = []
    if let pattern = configuration.compatibility.originPattern {
      let sources = pattern.frameSources?.joined(separator: " ") ?? "'none' of them"
      lines.append(("by pattern", "\(pattern.expression), such as \(pattern.example); may frame /silent: \(sources)"))
    }
    if configuration.compatibility.csrfCookie { lines.append(("CSRF", "also the cookie _csrf_token and the query field")) }
    return lines
  }

  /// Time-outs and limits that are not their defaults.
  private static func numbers(_ configuration: Configuration) -> [(String, String)] {
    let object = configuration.object
    func changed<Value>(_ section: Identifier, _ settings: [DefaultedSetting<Value>]) -> String {
      settings.compactMap { key -> String? in
        guard let value = object[section]?.object?[Identifier(key.setting.name)] else { return nil }
        let shown = value.string ?? value.int64.map { "\($0)" } ?? ""
        let usual = (key.fallback as? Int).map { "\($0)" } ?? key.setting.shape.show(key.fallback)
        return shown == usual ? nil : "\(key.setting.name) \(shown)"
      }.joined(separator: ", ")
    }
    let rows = [
      ("time-outs", changed("timeouts", ConfigurationKeys.Timeouts.all)), ("limits", changed("limits", ConfigurationKeys.Limits.all)),
    ]
    return rows.filter { !$0.1.isEmpty }
  }

  private static func logSummary(_ log: Configuration.Log) -> String {
    var parts = [log.level.name]
    if let file = log.file { parts.append("also in \(file), \(count(log.files, "file")) of \(showSize(log.fileSize))") }
    return parts.joined(separator: ", ")
  }

  private static func certificates(_ tls: Configuration.TLS) -> [(String, String)] {
    guard !tls.certificates.isEmpty else { return [] }
    let rows = tls.certificates.map { certificate in
      let facts = certificate.identity.chain.facts
      let names = facts?.names.joined(separator: " ") ?? ""
      return (
        "certificate",
        "\(certificate.name): \(names.isEmpty ? "no names" : names); expires \(facts.map { HTTPDate.format(WallInstant(seconds: $0.notAfter)) } ?? "?")"
      )
    }
    let authorities =
      tls.clientAuthorities.map { "; clients' certificates of \($0.count == 1 ? "one authority" : "\($0.count) authorities")" } ?? ""
    return rows + [
      ("TLS", "\(tls.minimumVersion.rawValue) and later, \(tls.speaksHTTP2 ? "HTTP/2 and HTTP/1.1" : "HTTP/1.1")\(authorities)")
    ]
  }

  private static func proxies(_ configuration: Configuration) -> [(String, String)] {
    guard !configuration.trustedProxies.isEmpty else { return [] }
    let field = configuration.forwardedField == .xForwarded ? "X-Forwarded-For" : "Forwarded"
    return [("behind", "\(configuration.trustedProxies.map(\.description).joined(separator: ", ")), which name clients in \(field)")]
  }

  private static func sessionsSummary(_ configuration: Configuration) -> [(String, String)] {
    let sessions = configuration.sessions
    let parts = [
      store(sessions), sessions.keys.isEmpty ? "a key drawn at the start" : count(sessions.keys.count, "key"),
      "idle \(showDuration(sessions.idle))", "absolute \(showDuration(sessions.absolute))",
    ]
    let life = sessions.cookieLifetime == .transient ? "until the browser is closed" : "kept for \(showDuration(sessions.absolute))"
    var lines = [
      ("sessions", parts.joined(separator: ", ")),
      ("cookie", "\(configuration.cookieName), SameSite \(sessions.sameSite.rawValue), \(life)"),
      ("user claim", "\(sessions.userClaim), which /uuid answers"),
    ]
    if let redis = sessions.redis { lines.insert(("redis", summary(redis, configuration)), at: 1) }
    return lines
  }

  private static func store(_ sessions: Configuration.Sessions) -> String {
    switch sessions.store {
    case .memory, .redis: sessions.store.rawValue
    case .sqlite: "sqlite \(sessions.path)"
    }
  }

  private static func summary(_ redis: Configuration.Redis, _ configuration: Configuration) -> String {
    var parts = ["\(redis.host):\(redis.port)\(redis.speaksTLS ? " (TLS)" : "") as \(redis.user)"]
    parts.append(redis.password.map { "password \($0)" } ?? "no password")
    if redis.database != 0 { parts.append("database \(redis.database)") }
    if redis.speaksTLS {
      parts.append("TLS verified by \(redis.caFile ?? systemAuthorities(configuration))")
      if let name = redis.serverName { parts.append("for \(name)") }
      if let chain = redis.chain { parts.append("showing \(chain)") }
    }
    return parts.joined(separator: ", ")
  }

  private static func summary(_ route: Configuration.Route, _ configuration: Configuration) -> String {
    var parts = [
      "\(route.name): \(route.host ?? "")\(route.path) -> \(route.upstream.map(\.text).joined(separator: " "))",
      credential(route.credential, configuration), ConfigurationKeys.Route.methods.setting.shape.show(route.methods),
    ]
    if route.upstream.count > 1 { parts.append(route.balance.rawValue) }
    if route.upstream.contains(where: { $0.scheme == .https }) { parts.append(summary(route.upstreamTLS, configuration)) }
    if route.stripPrefix { parts.append("prefix removed") }
    if route.encodedSlashes == .pass { parts.append("encoded slashes pass") }
    if route.cookies != .isolate { parts.append("cookies \(route.cookies.rawValue)") }
    if route.csrf != .default { parts.append("CSRF \(route.csrf.rawValue)") }
    if !route.upgrades.isEmpty { parts.append("upgrades to \(route.upgrades.joined(separator: " "))") }
    if let bearer = route.bearer { parts.append("bearer for \(bearer)") }
    if let origins = route.origins { parts.append("origins " + origins.map(\.text).joined(separator: " ")) }
    if route.isPublic { parts.append("public") }
    return parts.joined(separator: "; ")
  }

  private static func credential(_ credential: Configuration.Credential, _ configuration: Configuration) -> String {
    guard case .matrix(var matrix) = credential else { return ConfigurationKeys.Route.credential.shape.show(credential) }
    matrix.userClaim = matrix.userClaim ?? configuration.sessions.userClaim
    var text = ConfigurationKeys.Route.credential.shape.show(.matrix(matrix)) + ", login \(matrix.loginType)"
    if matrix.homeserver.scheme == .https { text += ", TLS verified by \(matrix.caFile ?? systemAuthorities(configuration))" }
    return text
  }

  private static func summary(_ tls: Configuration.UpstreamTLS?, _ configuration: Configuration) -> String {
    var text = "TLS verified by \(tls?.caFile ?? systemAuthorities(configuration))"
    if let name = tls?.serverName { text += " for \(name)" }
    if let chain = tls?.chain { text += ", showing \(chain)" }
    return text
  }

  /// The same for programs: `configuration` is there when nothing is wrong.
  package var json: [UInt8] {
    let faults = (reading.errors + reading.warnings).sorted().map(Self.object)
    var object: JSONObject = ["file": .string(file), "ok": .bool(reading.errors.isEmpty), "faults": .array(faults)]
    if let configuration = reading.configuration { object["configuration"] = .object(configuration.object) }
    return object.serialized + [UInt8(ascii: "\n")]
  }

  private static func object(_ fault: ConfigurationFault) -> JSONValue {
    var object: JSONObject = [
      "severity": .string(fault.severity.rawValue), "path": .string(fault.path), "problem": .string(fault.problem),
      "remedy": .string(fault.remedy),
    ]
    if let place = fault.place.lineAndColumn {
      object["line"] = .int64(Int64(place.line))
      object["column"] = .int64(Int64(place.column))
    } else {
      object["variable"] = .string(fault.place.description)
    }
    return .object(object)
  }
}
