import ConfigurationYAML
import HTTPMessage
import IntercomCore
import Telemetry

/// Every setting of the configuration file, declared once: it is read, checked and documented from here.
enum ConfigurationKeys {
  enum Top {
    static let listen = DefaultedSetting<[ConfigurationDraft.Listener]>(
      "listen", .list(of: .listener, 1...16, mapsAlone: true), default: [.standard],
      """
      Where the main listener is reached: addresses with ports, or maps with the keys below. One may stand without a list. Port 0 lets the \
      kernel choose.
      """)
    static let baseURL = Setting<WebURL>(
      "baseURL", .baseURL, required: true, example: "https://intercom.example.org",
      """
      Where browsers reach Intercom. Redirects, cookies and the redirect URI come only from here, never from a request. http is meant for \
      this machine (localhost); elsewhere it is reported, because everybody on the way can read the session cookie.
      """)
    static let origins = DefaultedSetting<[WebOrigin]>(
      "origins", .list(of: .origin, 0...256), default: [],
      """
      Exact origins of the apps that may call Intercom from script, embed `/silent` and be returned to after sign-in. The base URL's own \
      origin always counts as allowed.
      """)
    static let trustedProxies = DefaultedSetting<[TrustedNetwork]>(
      "trustedProxies", .list(of: .network, 0...256), default: [],
      """
      Addresses, or blocks of them, of the proxies in front of Intercom. Only what they say of their clients counts, by a PROXY header or by \
      `forwardedField`; what anybody else sends is replaced by its own address.
      """)
    static let forwardedField = DefaultedSetting<Configuration.ForwardedField>(
      "forwardedField", .choice, default: .xForwarded,
      """
      The field in which the trusted proxies name their clients: `xForwarded` (X-Forwarded-For) or `forwarded` (RFC 7239). The other one is \
      dropped: a proxy that writes one passes the other on as the client wrote it.
      """)
    static let extraAuthorities = Setting<String>(
      "extraAuthorities", .file, absence: "the system's authorities alone",
      """
      PEM file of certificate authorities to trust besides the system's: towards the provider, upstreams and Redis, wherever no `caFile` is \
      named.
      """)
    static let rows =
      [listen.row(in: "")] + Listener.rows + [
        baseURL.row(in: ""), origins.row(in: ""), trustedProxies.row(in: ""), forwardedField.row(in: ""), extraAuthorities.row(in: ""),
      ]
  }

  enum Provider {
    static let issuer = Setting<WebURL>(
      "issuer", .url, required: true, example: "https://id.example.org/realms/main",
      "The OpenID provider's issuer, byte for byte as its metadata and tokens name it (a final slash counts).")
    static let internalURL = Setting<WebURL>(
      "internalURL", .url, absence: "the issuer's address",
      "Base URL that replaces the issuer's for calls from server to server. The check of the issuer stays as it is.")
    static let clientID = Setting<Identifier>(
      "clientID", .identifier("text"), required: true, example: "intercom", "The client as which Intercom is registered.")
    static let clientSecret = Setting<Secret<String>>(
      "clientSecret", .secret(), required: true, example: "{fromFile: /run/secrets/client-secret}", "The client's secret.")
    static let clientAuthentication = DefaultedSetting<Configuration.ClientAuthentication>(
      "clientAuthentication", .choice, default: .basic, "How the client proves itself: `client_secret_basic` or `client_secret_post`.")
    static let scopes = DefaultedSetting<[Identifier]>(
      "scopes", .list(of: .scope, 1...32), default: ["openid"],
      "Scopes to ask for; `openid` must be among them. `offline_access` is reported: offline sessions outlive single logout.")
    static let caFile = Setting<String>(
      "caFile", .file, absence: "the system's authorities", "PEM file of certificate authorities to trust for the provider.")
    static let tokenExchange = DefaultedSetting<Configuration.TokenExchangeForm>(
      "tokenExchange", .choice, default: .rfc8693,
      "Form of token exchange: the standard's, or Keycloak's from before it. docs/token-exchange.md tells what each needs at Keycloak.")
    static let clockSkew = DefaultedSetting<Duration>(
      "clockSkew", .duration(.zero ... .seconds(300)), default: .seconds(60), "How far the provider's clock may be off.")
    static let rows = [
      issuer.row(in: "provider"), internalURL.row(in: "provider"), clientID.row(in: "provider"), clientSecret.row(in: "provider"),
      clientAuthentication.row(in: "provider"), scopes.row(in: "provider"), caFile.row(in: "provider"), tokenExchange.row(in: "provider"),
      clockSkew.row(in: "provider"),
    ]
  }

  enum Sessions {
    static let store = DefaultedSetting<Configuration.SessionStoreKind>(
      "store", .choice, default: .standard,
      """
      Where sessions live: `sqlite` in one file of this machine, for one instance; `redis` in a server that several instances share; \
      `memory` ends them with the process.
      """)
    static let path = DefaultedSetting<String>(
      "path", .file, default: "/var/lib/intercom/sessions.db",
      """
      The database of `store: sqlite`, on a local disk. Its folder must exist and be writable for the user that runs Intercom; the file is \
      made, with `-wal` and `.lock` beside it. One process has it at a time.
      """)
    static let keys = Setting<[Secret<[UInt8]>]>(
      "keys", .list(of: .sealingKey, 1...8), absence: "required unless `store` is `memory`; then drawn at the start",
      example: "[{fromFile: /run/secrets/session-key}]",
      "Keys that seal stored sessions: the first seals, all open. Rotate by putting a new one in front.")
    static let idle = DefaultedSetting<Duration>(
      "idle", .duration(.seconds(60) ... .seconds(30 * 86_400)), default: .seconds(86_400),
      "A session that is not used for so long ends.")
    static let absolute = DefaultedSetting<Duration>(
      "absolute", .duration(.seconds(60) ... .seconds(90 * 86_400)), default: .seconds(7 * 86_400),
      "A session ends after so long, used or not.")
    static let cookieName = Setting<String>(
      "cookieName", .cookieName, absence: "`__Host-intercom`, with an http base URL `intercom`", "The session cookie's name.")
    static let sameSite = DefaultedSetting<Configuration.SameSite>(
      "sameSite", .choice, default: .lax, "The session cookie's SameSite attribute; `none` needs an https base URL.")
    static let cookieLifetime = DefaultedSetting<Configuration.CookieLifetime>(
      "cookieLifetime", .choice, default: .transient,
      """
      How long browsers keep the session cookie: `transient` until they are closed (many restore it with their tabs), `persistent` for \
      `absolute`. Either way the session itself ends by `idle` and `absolute`.
      """)
    static let userClaim = DefaultedSetting<Identifier>(
      "userClaim", .identifier("claim"), default: "sub", "The claim of the id_token that `/uuid` answers.")
    static let rows =
      [
        store.row(in: "sessions"), path.row(in: "sessions"), keys.row(in: "sessions"), idle.row(in: "sessions"),
        absolute.row(in: "sessions"),
        cookieName.row(in: "sessions"), sameSite.row(in: "sessions"), cookieLifetime.row(in: "sessions"), userClaim.row(in: "sessions"),
      ] + Redis.rows
  }

  enum Route {
    static let host = Setting<String>(
      "host", .routeHost, absence: "the base URL's host",
      "The host of the route, without port. Such a route takes no request of other hosts.")
    static let path = Setting<String>(
      "path", .routePath, absence: "required; with `host`: `/`", example: "/fs",
      "The path prefix: it takes itself and everything below. The longest prefix wins. Intercom's own paths cannot be taken.")
    static let upstream = Setting<[WebURL]>(
      "upstream", .list(of: .url, 1...16), required: true, example: "http://127.0.0.1:9000",
      """
      Where requests go: one URL, or a list of endpoints that are the same service, with the same path. The path comes before the request's; \
      `Host` is the first URL's, whichever endpoint gets the request. The certificate of an https endpoint must be valid for the URL's host; \
      this cannot be switched off.
      """)
    static let balance = DefaultedSetting<Configuration.Balance>(
      "balance", .choice, default: .roundRobin,
      """
      How requests are shared among several endpoints: `roundRobin` (in turn) or `leastRequest` (the one with the fewest requests under way). \
      Each event loop counts for itself.
      """)
    static let upstreamTLS = Setting<UpstreamTLSDraft>(
      "upstreamTLS", .upstreamTLS, absence: "the system's authorities, no client certificate",
      "For https upstreams: whom to trust and who to be.")
    static let credential = Setting<Configuration.Credential>(
      "credential", .credential, required: true, example: "{exchange: {audience: files}}",
      """
      What the upstream gets instead of the client's own credential: nothing (`none`), the session's access token (`accessToken`), or one \
      of the maps below.
      """)
    static let methods = DefaultedSetting<MethodSet>(
      "methods", .methods, default: .plain,
      """
      Allowed methods: `read` (GET, HEAD, OPTIONS), `plain` (these and POST, PUT, PATCH, DELETE), `webdav` (these and all of WebDAV), or a \
      list. TRACE and CONNECT are never allowed.
      """)
    static let origins = Setting<[WebOrigin]>(
      "origins", .list(of: .origin, 0...256), absence: "the top level's `origins`",
      "Origins that may call this route, instead of the top level's.")
    static let stripPrefix = DefaultedSetting<Bool>(
      "stripPrefix", .boolean, default: false, "Remove `path` before the request goes to the upstream.")
    static let cookies = DefaultedSetting<Configuration.CookieMode>(
      "cookies", .choice, default: .isolate,
      """
      The upstream's cookies: `isolate` (the browser keeps them under the route's name, no other upstream sees them), `pass`, `drop`. \
      Intercom's own cookies never go upstream.
      """)
    static let csrf = DefaultedSetting<Configuration.CSRFMode>(
      "csrf", .choice, default: .default,
      """
      Proof against forged requests: `default` (the token, an allowed Origin, or a same-origin read), or `token` (the token for every \
      method, GET too).
      """
    )
    static let upgrades = DefaultedSetting<[String]>(
      "upgrades", .list(of: .upgradeProtocol, 0...8), default: [],
      """
      Protocols to which requests may switch (`Upgrade`), usually `websocket`; also over HTTP/2 (RFC 8441). The connection becomes a tunnel that \
      ends with its session. On a route with sessions the handshake needs an allowed Origin.
      """)
    static let bearer = Setting<Identifier>(
      "bearer", .identifier("audience"), absence: "bearer tokens are not accepted",
      "Accept access tokens (JWT) for this audience from clients that send no session cookie, in place of a session.")
    static let encodedSlashes = Setting<Configuration.EncodedSlashes>(
      "encodedSlashes", .choice, absence: "`pass` for the paths `/fs` and `/wiki`, else `refuse`",
      "Whether `%2F` may stand in a request's path.")
    static let isPublic = DefaultedSetting<Bool>(
      "public", .boolean, default: false, "Let everybody in, without a session. Only with `credential: none`.")
    static let rows: [SettingRow] = {
      let section = "routes.*"
      return [
        host.row(in: section), path.row(in: section), upstream.row(in: section), balance.row(in: section), upstreamTLS.row(in: section),
      ] + UpstreamTLS.rows + [credential.row(in: section)] + Credential.rows + [
        methods.row(in: section), origins.row(in: section), stripPrefix.row(in: section), cookies.row(in: section), csrf.row(in: section),
        upgrades.row(in: section), bearer.row(in: section), encodedSlashes.row(in: section), isPublic.row(in: section),
      ]
    }()
  }

  enum UpstreamTLS {
    static let caFile = Setting<String>(
      "caFile", .file, absence: "the system's authorities",
      "PEM file of the certificate authorities to trust for this route's upstreams, instead of the system's.")
    static let chain = Setting<String>(
      "chain", .file, absence: "no client certificate",
      "PEM file: the certificate that Intercom shows to upstreams that ask for one, then those between it and its authority. Needs `key`.")
    static let key = Setting<String>("key", .file, "PEM file of its private key, without a passphrase.")
    static let serverName = Setting<String>(
      "serverName", .routeHost, absence: "the host of each endpoint's URL",
      "The name that the upstreams' certificates are for, where the URL names another: an address, or a name of the cluster's own.")
    static let rows = [caFile, chain, key, serverName].map { $0.row(in: "routes.*.upstreamTLS") }
  }

  enum Credential {
    static let exchange = Setting<Configuration.Credential>("exchange", .exchange, "An access token exchanged for this backend (RFC 8693).")
    static let basic = Setting<Configuration.Credential>(
      "basic", .basic, "Basic authentication: a claim as user name, a shared secret as password.")
    static let headers = Setting<Configuration.Credential>(
      "headers", .headers, "Claims as header fields; the client's own fields of these names are removed.")
    static let matrix = Setting<Configuration.Credential>(
      "matrix", .matrix,
      """
      The user's own login at a Matrix homeserver, for backends such as a meetings bot. One device for each session, logged out with it. The \
      account must exist: Intercom makes none.
      """)
    static let rows: [SettingRow] = {
      let section = "routes.*.credential"
      return [exchange.row(in: section)] + Exchange.rows + [basic.row(in: section)] + Basic.rows + [
        headers.row(in: section), matrix.row(in: section),
      ] + Matrix.rows
    }()
  }

  enum Exchange {
    static let audience = Setting<Identifier>(
      "audience", .identifier("audience"), required: true, example: "files", "The backend's audience.")
    static let scope = Setting<Identifier>("scope", .scopes, "Scopes of the new token, with spaces between them.")
    static let resource = Setting<Identifier>("resource", .resource, "The backend's URI (RFC 8707).")
    static let alsoFor = Setting<[Identifier]>(
      "alsoFor", .list(of: .identifier("audience"), 0...16), absence: "`[account]` with `tokenExchange: legacy`, else none",
      """
      Audiences that the new token may have besides, because the provider cannot leave them out: the backend could use the token there too. \
      A token for any other audience is refused.
      """)
    static let rows = [
      audience.row(in: "routes.*.credential.exchange"), scope.row(in: "routes.*.credential.exchange"),
      resource.row(in: "routes.*.credential.exchange"), alsoFor.row(in: "routes.*.credential.exchange"),
    ]
  }

  enum Basic {
    static let usernameClaim = Setting<Identifier>(
      "usernameClaim", .identifier("claim"), required: true, example: "preferred_username", "The claim that becomes the user name.")
    static let secret = Setting<Secret<String>>(
      "secret", .secret(), required: true, example: "{fromFile: /run/secrets/portal-key}", "The password shared with the backend.")
    static let rows = [usernameClaim.row(in: "routes.*.credential.basic"), secret.row(in: "routes.*.credential.basic")]
  }

  enum Admin {
    static let listen = DefaultedSetting<ListenAddress>(
      "listen", .listenAddress, default: ListenAddress(address: .v4([127, 0, 0, 1]), port: 8009),
      """
      Address of `/livez`, `/readyz` and `/metrics`. Not for browsers: keep it away from users. The variables `ADMIN_HOST` and \
      `ADMIN_PORT` stand over its parts.
      """
    )
    static let rows = [listen.row(in: "admin")]
  }

  enum Log {
    static let level = DefaultedSetting<LogLevel>(
      "level", .logLevel, default: .info,
      "The least level that is written (JSON lines on standard error). Secrets are never written, at no level.")
    static let file = Setting<String>(
      "file", .file, absence: "standard error alone",
      "Where the lines go besides standard error. A full file gets `.1` behind its name, the one before it `.2`, and so on.")
    static let fileSize = DefaultedSetting<Int>(
      "fileSize", .size(64 << 10...1 << 30), default: 10 << 20, "The file is full when the next line would not fit.")
    static let files = DefaultedSetting<Int>("files", .integer(1...100), default: 3, "So many files are kept, the one written to included.")
    static let rows = [level.row(in: "log"), file.row(in: "log"), fileSize.row(in: "log"), files.row(in: "log")]
  }

  /// All rows in the order of the documentation.
  static let rows: [SettingRow] =
    Top.rows + TLS.rows + Provider.rows + Sessions.rows + Route.rows + Compatibility.rows + Admin.rows + Timeouts.rows + Limits.rows
    + Log.rows
}
