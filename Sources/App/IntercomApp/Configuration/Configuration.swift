import ConfigurationYAML
import Gateway
import HTTPMessage
import IntercomCore
import OpenSSL
import Telemetry

/// A configuration that was read and found right: plain values, no file, no text that still could be wrong.
///
/// What each part means to an operator stands in the table of settings (`ConfigurationKeys`) and so in docs/configuration.md.
package struct Configuration: Sendable {
  package var listen: [Listener]
  package var tls: TLS
  /// Proxies that may say who is behind them.
  package var trustedProxies: [TrustedNetwork]
  package var forwardedField: ForwardedField
  /// Scheme and authority; its path is empty.
  package var baseURL: WebURL
  package var provider: Provider
  /// The exact origins of the apps, without the base URL's own.
  package var origins: [WebOrigin]
  package var sessions: Sessions
  /// In the order of the file.
  package var routes: [Route]
  package var admin: Admin
  package var timeouts: Timeouts
  package var limits: Limits
  package var log: Log
  package var compatibility: Compatibility
  /// Trusted besides the system's.
  package var extraAuthorities: ExtraAuthorities?

  /// One entry of `listen`.
  package struct Listener: Sendable, Hashable, CustomStringConvertible {
    package var address: ListenAddress
    package var speaksTLS: Bool
    package var clientCertificates: ClientCertificates
    /// Every connection begins with a PROXY header.
    package var proxyProtocol: Bool

    package var description: String {
      var parts: [String] = speaksTLS ? ["TLS"] : []
      if clientCertificates != .none { parts.append("client certificates \(clientCertificates.rawValue)") }
      if proxyProtocol { parts.append("PROXY header") }
      return parts.isEmpty ? "\(address)" : "\(address) (\(parts.joined(separator: ", ")))"
    }
  }

  package enum ClientCertificates: String, Sendable, CaseIterable { case none, optional, required }

  /// What the listeners that speak TLS have in common.
  package struct TLS: Sendable {
    /// In the order of the file: the first serves clients that name no host or an unknown one.
    package var certificates: [Certificate]
    package var minimumVersion: TLSMinimum
    package var speaksHTTP2: Bool
    /// Whose certificates clients may show.
    package var clientAuthorities: TLSCertificates?
  }

  /// One entry of `tls.certificates`, its files read.
  package struct Certificate: Sendable {
    package var name: String
    package var identity: TLSIdentity
  }

  package enum TLSMinimum: String, Sendable, CaseIterable {
    case tls12 = "1.2"
    case tls13 = "1.3"
  }

  /// The field in which trusted proxies name their clients: one of two, because a proxy that maintains the one passes the other on as the
  /// client wrote it (decision 22).
  package enum ForwardedField: String, Sendable, CaseIterable {
    /// `X-Forwarded-For`
    case xForwarded
    /// [RFC 7239](https://www.rfc-editor.org/rfc/rfc7239)
    case forwarded
  }

  /// The OpenID provider and how Intercom is registered there.
  package struct Provider: Sendable {
    /// Compared byte for byte with `iss`: use its `text`.
    package var issuer: WebURL
    /// Replaces the issuer's scheme and authority for calls from server to server.
    package var internalURL: WebURL?
    package var clientID: Identifier
    package var clientSecret: Secret<String>
    package var clientAuthentication: ClientAuthentication
    package var scopes: [Identifier]
    /// A PEM file of certificate authorities to trust besides the system's.
    package var caFile: String?
    package var tokenExchange: TokenExchangeForm
    package var clockSkew: Duration
  }

  /// [RFC 6749 §2.3.1](https://www.rfc-editor.org/rfc/rfc6749#section-2.3.1)
  package enum ClientAuthentication: String, Sendable, CaseIterable { case basic, post }

  package enum TokenExchangeForm: String, Sendable, CaseIterable {
    case rfc8693
    /// Keycloak's form before its version 26.2: without `subject_token_type`.
    case legacy

    /// For whom exchanged tokens may be besides, where a route does not say: with the legacy form every token of a user who may use the account
    /// console is valid there too, which is everybody unless somebody changed the default roles.
    var usualAudiences: [Identifier] { self == .legacy ? ["account"] : [] }
  }

  package struct Sessions: Sendable {
    package var store: SessionStoreKind
    /// The database file of the store `sqlite`.
    package var path: String
    /// The first seals, all open. Empty only with the memory store: then the process draws one.
    package var keys: [Secret<[UInt8]>]
    package var idle: Duration
    package var absolute: Duration
    /// Nil: by the base URL's scheme (behaviour: "Cookies").
    package var cookieName: String?
    package var sameSite: SameSite
    package var cookieLifetime: CookieLifetime
    /// The claim that `/uuid` answers.
    package var userClaim: Identifier
    /// Of the store `redis`.
    package var redis: Redis?
  }

  package enum SessionStoreKind: String, Sendable, CaseIterable {
    case memory, sqlite, redis

    /// What a file without `sessions.store` gets.
    package static let standard = SessionStoreKind.sqlite
  }

  /// Where the store `redis` is and who asks; its files are read.
  package struct Redis: Sendable {
    package var host: Identifier
    package var port: Int
    package var user: Identifier
    package var password: Secret<String>?
    package var database: Int
    package var speaksTLS: Bool
    /// Nil: the system's; otherwise of `caFile`.
    package var authorities: TLSCertificates?
    package var caFile: String?
    /// Who Intercom is to the server, and the file with the certificate.
    package var identity: TLSIdentity?
    package var chain: String?
    /// The name that the server's certificate must be for, when it is not `host`.
    package var serverName: Identifier?
  }

  package enum CookieLifetime: String, Sendable, CaseIterable {
    /// Until the browser is closed.
    case transient
    /// Until the session can live no longer.
    case persistent
  }

  package enum SameSite: String, Sendable, CaseIterable { case lax, none, strict }

  /// One entry of the map `routes`.
  package struct Route: Sendable {
    /// Letters, digits and `-`: also the prefix of isolated cookies and a metric's label.
    package var name: String
    /// Lower case, without port; nil for the base URL's host.
    package var host: String?
    /// `/`, or `/a/b` without a slash at the end.
    package var path: String
    /// Endpoints of one service; at least one. The first names it to all of them.
    package var upstream: [WebURL]
    package var balance: Balance
    /// Nil: with https the system's authorities are trusted, and no certificate is shown.
    package var upstreamTLS: UpstreamTLS?
    package var credential: Credential
    package var methods: MethodSet
    /// Nil: the top level's.
    package var origins: [WebOrigin]?
    package var stripPrefix: Bool
    package var cookies: CookieMode
    package var csrf: CSRFMode
    /// Protocols to which requests may switch, in lower case.
    package var upgrades: [String]
    /// The audience of bearer tokens that the route accepts; nil for none.
    package var bearer: Identifier?
    package var encodedSlashes: EncodedSlashes
    /// Needs no session.
    package var isPublic: Bool
  }

  /// TLS to the endpoints of a route, its files read.
  package struct UpstreamTLS: Sendable {
    /// The only authorities that are trusted, and the file that they stand in.
    package var authorities: TLSCertificates?
    package var caFile: String?
    /// Who Intercom is to the upstream, and the file with the certificate.
    package var identity: TLSIdentity?
    package var chain: String?
    /// The name or address that the endpoints' certificates are for; nil: the host in their URLs.
    package var serverName: String?

    /// The same while the files hold the same certificates.
    package var fingerprint: [UInt8] {
      let (trusted, own) = (authorities?.fingerprint ?? [], identity?.chain.fingerprint ?? [])
      // Of fixed lengths, but for the first.
      return trusted + [UInt8(authorities == nil ? 0 : 1)] + own
    }
  }

  /// What the upstream gets instead of the client's own credential.
  package enum Credential: Sendable {
    case none
    case accessToken
    case exchange(Exchange)
    case basic(usernameClaim: Identifier, secret: Secret<String>)
    /// Field names and the claims that fill them, in the order of the file.
    case headers([HeaderFromClaim])
    case matrix(Matrix)
  }

  /// The user's own login at a Matrix homeserver, where Intercom is registered as an application service.
  package struct Matrix: Sendable {
    /// What comes before `/_matrix`.
    package var homeserver: WebURL
    /// What stands behind the colon of its user ids.
    package var serverName: Identifier
    package var asToken: Secret<String>
    /// Nil: `sessions.userClaim`.
    package var userClaim: Identifier?
    package var loginType: Identifier
    package var mode: MatrixMode
    /// A PEM file with the only authorities that are trusted towards the homeserver; nil: the system's.
    package var caFile: String?
  }

  package enum MatrixMode: String, Sendable, CaseIterable {
    /// `Authorization: Bearer` with the user's access token.
    case accessToken
    /// `Authorization: MX-Identity` with an OpenID token, which tells who the user is and is good for nothing else.
    case openID
  }

  /// [RFC 8693 §2.1](https://www.rfc-editor.org/rfc/rfc8693#section-2.1)
  package struct Exchange: Sendable, Hashable {
    package var audience: Identifier
    /// Scope tokens with one space between them.
    package var scope: Identifier?
    /// [RFC 8707 §2](https://www.rfc-editor.org/rfc/rfc8707#section-2)
    package var resource: Identifier?
    /// Audiences that the token may have besides; nil: what `provider.tokenExchange` usually gives.
    package var alsoFor: [Identifier]?
  }

  package struct HeaderFromClaim: Sendable, Hashable {
    package var field: String
    package var claim: Identifier
  }

  package enum Balance: String, Sendable, CaseIterable { case roundRobin, leastRequest }
  package enum CookieMode: String, Sendable, CaseIterable { case isolate, pass, drop }
  package enum CSRFMode: String, Sendable, CaseIterable { case `default`, token }
  package enum EncodedSlashes: String, Sendable, CaseIterable { case refuse, pass }

  package struct Admin: Sendable {
    package var listen: ListenAddress
  }

  package struct Timeouts: Sendable {
    package var providerCall: Duration
    package var tokenOperation: Duration
    package var connect: Duration
    package var upstreamHead: Duration
    package var upstreamIdle: Duration
    package var tunnelIdle: Duration
    package var upstreamKept: Duration
    package var upstreamPause: Duration
    package var upstreamLongestPause: Duration
    package var names: Duration
    package var clientHead: Duration
    package var clientIdle: Duration
    package var clientPace: Duration
    package var drain: Duration
  }

  package struct Limits: Sendable {
    package var target: Int
    package var field: Int
    package var head: Int
    package var fields: Int
    package var responseHead: Int
    /// What a client must move within `timeouts.clientPace`, in bytes.
    package var clientPace: Int
    /// Of one loop, those to upstreams included.
    package var connections: Int
    /// Of one loop to one endpoint, as the following ones.
    package var upstreamConnections: Int
    package var upstreamIdle: Int
    package var upstreamFailures: Int
    package var upstreamTimeouts: Int
    /// Requests under way on one connection of HTTP/2.
    package var streams: Int
    /// 0: one per core that the process may use, 16 at most.
    package var loops: Int
    /// 0: chosen by the number of cores.
    package var workers: Int
  }

  package struct Log: Sendable {
    package var level: LogLevel
    /// Nil: standard error alone.
    package var file: String?
    /// In bytes.
    package var fileSize: Int
    package var files: Int
  }

  /// What deployments of the Intercom Service may need.
  package struct Compatibility: Sendable {
    package var originPattern: OriginPattern?
    package var csrfCookie: Bool
  }

  /// A file of certificate authorities, read.
  package struct ExtraAuthorities: Sendable {
    package var file: String
    package var certificates: TLSCertificates
  }
}

extension Configuration {
  /// Registered at the provider as redirect URI.
  package var redirectURI: String { baseURL.text + "/callback" }
  /// Registered at the provider for back-channel logout.
  package var backchannelLogoutURI: String { baseURL.text + "/backchannel-logout" }
  package var isSecure: Bool { baseURL.scheme == .https }
  /// The session cookie's name (behaviour: "Cookies").
  package var cookieName: String { sessions.cookieName ?? (isSecure ? "__Host-intercom" : "intercom") }
}
