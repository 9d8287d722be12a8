import ConfigurationYAML
import Gateway
import HTTPMessage
import IntercomCore
import OpenSSL
import StrictJSON

/// The whole configuration for programs, as `intercom config check --format json` prints it: nested and named as the settings are, defaults
/// included. Times are written as in the file, sizes in bytes; what nobody wrote and has no default is null. Secrets are `<redacted>`.
extension Configuration {
  var object: JSONObject {
    [
      "listen": .array(listen.map { .object($0.object) }), "tls": .object(tlsObject), "trustedProxies": Self.list(trustedProxies),
      "forwardedField": .string(forwardedField.rawValue), "baseURL": .string(baseURL.text), "origins": Self.list(origins.map(\.text)),
      "extraAuthorities": Self.text(extraAuthorities?.file), "provider": .object(provider.object), "sessions": .object(sessionsObject),
      "routes": .object(Self.named(routes.map { ($0.name, .object(routeObject($0))) })),
      "compatibility": [
        "originPattern": Self.text(compatibility.originPattern?.expression), "csrfCookie": .bool(compatibility.csrfCookie),
      ],
      "admin": ["listen": .string(admin.listen.description)], "timeouts": .object(Self.properties(timeouts)),
      "limits": .object(Self.properties(limits)),
      "log": [
        "level": .string(log.level.name), "file": Self.text(log.file), "fileSize": Self.number(log.fileSize),
        "files": Self.number(log.files),
      ],
      "derived": .object(derived),
    ]
  }

  /// What follows from the settings and must be known elsewhere.
  private var derived: JSONObject {
    [
      "redirectURI": .string(redirectURI), "backchannelLogoutURI": .string(backchannelLogoutURI),
      "patternExample": Self.text(compatibility.originPattern?.example),
      "frameSources": Self.list(compatibility.originPattern?.frameSources),
    ]
  }

  // MARK: Values

  fileprivate static func text(_ value: (some CustomStringConvertible)?) -> JSONValue { value.map { .string($0.description) } ?? .null }
  fileprivate static func list(_ values: [some CustomStringConvertible]?) -> JSONValue {
    values.map { .array($0.map { .string($0.description) }) } ?? .null
  }
  fileprivate static func number(_ value: Int) -> JSONValue { .int64(Int64(value)) }
  fileprivate static func named(_ members: [(String, JSONValue)]) -> JSONObject {
    var object = JSONObject()
    for (name, value) in members { object[Identifier(name)] = value }
    return object
  }

  /// Durations and whole numbers, named as the properties are.
  private static func properties(_ values: Any) -> JSONObject {
    named(
      Mirror(reflecting: values).children.compactMap { label, value in
        switch (label, value) {
        case (let label?, let time as Duration): (label, .string(showDuration(time)))
        case (let label?, let value as Int): (label, number(value))
        default: nil
        }
      })
  }

  // MARK: Sections

  private var tlsObject: JSONObject {
    let certificates = tls.certificates.map { certificate -> (String, JSONValue) in
      let facts = certificate.identity.chain.facts
      let expiry = facts.map { HTTPDate.format(WallInstant(seconds: $0.notAfter)) }
      return (certificate.name, ["names": Self.list(facts?.names), "expires": Self.text(expiry)])
    }
    return [
      "certificates": .object(Self.named(certificates)), "minimumVersion": .string(tls.minimumVersion.rawValue),
      "http2": .bool(tls.speaksHTTP2), "clientAuthorities": tls.clientAuthorities.map { Self.number($0.count) } ?? .null,
    ]
  }

  private var sessionsObject: JSONObject {
    [
      "store": .string(sessions.store.rawValue), "path": sessions.store == .sqlite ? .string(sessions.path) : .null,
      "keys": Self.list(sessions.keys), "idle": .string(showDuration(sessions.idle)), "absolute": .string(showDuration(sessions.absolute)),
      "cookieName": .string(cookieName), "sameSite": .string(sessions.sameSite.rawValue),
      "cookieLifetime": .string(sessions.cookieLifetime.rawValue), "userClaim": .string(sessions.userClaim.description),
      "redis": sessions.redis.map { .object($0.object) } ?? .null,
    ]
  }

  private func routeObject(_ route: Route) -> JSONObject {
    [
      "host": Self.text(route.host), "path": .string(route.path), "upstream": Self.list(route.upstream.map(\.text)),
      "balance": .string(route.balance.rawValue), "upstreamTLS": route.upstreamTLS.map { .object($0.object) } ?? .null,
      "credential": credentialObject(route.credential), "methods": Self.list(route.methods.methods.map(\.name)),
      "origins": Self.list(route.origins?.map(\.text)), "stripPrefix": .bool(route.stripPrefix), "cookies": .string(route.cookies.rawValue),
      "csrf": .string(route.csrf.rawValue), "upgrades": Self.list(route.upgrades), "bearer": Self.text(route.bearer),
      "encodedSlashes": .string(route.encodedSlashes.rawValue), "public": .bool(route.isPublic),
    ]
  }

  private func credentialObject(_ credential: Credential) -> JSONValue {
    switch credential {
    case .none: return "none"
    case .accessToken: return "accessToken"
    case .exchange(let exchange):
      return [
        "exchange": [
          "audience": Self.text(exchange.audience), "scope": Self.text(exchange.scope), "resource": Self.text(exchange.resource),
          "alsoFor": Self.list(exchange.alsoFor ?? provider.tokenExchange.usualAudiences),
        ]
      ]
    case .basic(let claim, let secret): return ["basic": ["usernameClaim": Self.text(claim), "secret": .string(secret.description)]]
    case .headers(let headers):
      return ["headers": .object(Self.named(headers.map { ($0.field, Self.text($0.claim)) }))]
    case .matrix(let matrix):
      return [
        "matrix": [
          "homeserver": .string(matrix.homeserver.text), "serverName": Self.text(matrix.serverName),
          "asToken": .string(matrix.asToken.description), "userClaim": Self.text(matrix.userClaim ?? sessions.userClaim),
          "loginType": Self.text(matrix.loginType), "mode": .string(matrix.mode.rawValue), "caFile": Self.text(matrix.caFile),
        ]
      ]
    }
  }
}

extension Configuration.Listener {
  fileprivate var object: JSONObject {
    [
      "address": .string(address.description), "tls": .bool(speaksTLS), "clientCertificates": .string(clientCertificates.rawValue),
      "proxyProtocol": .bool(proxyProtocol),
    ]
  }
}

extension Configuration.Provider {
  fileprivate var object: JSONObject {
    [
      "issuer": .string(issuer.text), "internalURL": Configuration.text(internalURL?.text), "clientID": Configuration.text(clientID),
      "clientSecret": .string(clientSecret.description), "clientAuthentication": .string(clientAuthentication.rawValue),
      "scopes": Configuration.list(scopes), "caFile": Configuration.text(caFile), "tokenExchange": .string(tokenExchange.rawValue),
      "clockSkew": .string(showDuration(clockSkew)),
    ]
  }
}

extension Configuration.Redis {
  fileprivate var object: JSONObject {
    [
      "host": Configuration.text(host), "port": Configuration.number(port), "user": Configuration.text(user),
      "password": Configuration.text(password), "database": Configuration.number(database), "tls": .bool(speaksTLS),
      "caFile": Configuration.text(caFile), "chain": Configuration.text(chain), "serverName": Configuration.text(serverName),
    ]
  }
}

extension Configuration.UpstreamTLS {
  fileprivate var object: JSONObject {
    ["caFile": Configuration.text(caFile), "chain": Configuration.text(chain), "serverName": Configuration.text(serverName)]
  }
}
