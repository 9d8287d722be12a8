import Cryptography
import Gateway
import HTTP1
import HTTPMessage
import HTTPServer
import IntercomCore
import Linux
import Matrix
import OIDC
import ReverseProxy
import SessionStoreRedis
import Sessions
import Telemetry

/// Where sessions and pending logins are kept.
package enum SessionStorage: Sendable {
  /// In this process: they end with it.
  case memory
  /// In this file.
  case sqlite(path: String)
  /// In this server, which several processes share.
  case redis(RedisSettings)
  /// In a store of a test's own.
  case given(any SessionStore)
}

/// A Matrix homeserver, and whom to trust to be it.
package struct HomeserverSetup: Sendable {
  package var homeserver: MatrixHomeserver
  /// PEM file of the only authorities trusted towards it; nil for the system's.
  package var authorityFile: String?

  package init(_ homeserver: MatrixHomeserver, authorityFile: String? = nil) {
    self.homeserver = homeserver
    self.authorityFile = authorityFile
  }
}

/// Everything that one Intercom process is to be, as plain values: made from a configuration file or by the demo, read by `Composition`.
package struct Deployment: Sendable {
  package var listen: [ListenerSetup]
  /// Of the listeners' certificates.
  package var certificateTimes = CertificateTimes(nil)
  package var admin: SocketAddress?
  package var base: HTTPURL
  package var origins: [Origin]
  /// Takes further ones.
  package var originPattern: OriginPattern?
  package var client: ClientConfiguration
  /// PEM file of the only authorities trusted towards the provider; nil for the system's.
  package var authorityFile: String?
  /// PEM file of authorities to trust besides the system's towards the provider, where `authorityFile` is nil.
  package var extraAuthorityFile: String?
  package var keys: KeyRing
  package var sessions = SessionSettings()
  package var cookies: OwnCookies
  /// The claim that `/uuid` answers.
  package var userClaim: Identifier = "sub"
  /// Without the own routes.
  package var routes: [Route]
  package var passwords: [Secret<String>] = []
  /// By the index in `MatrixRule`.
  package var homeservers: [HomeserverSetup] = []
  package var endpoints: [EndpointID: Endpoint] = [:]
  package var steps: any StepObserver = NoSteps()
  package var log: StructuredLog
  /// Event loops; 0 means one per core that the process may use, `mostThreads` at most.
  package var loops = 0
  /// Threads for heavy work; 0 means chosen in the same way.
  package var workers = 0
  /// Of each kind, without a setting: a container may be limited in memory and not in processors, on a machine with very many.
  static let mostThreads = 16
  var loopCount: Int { loops > 0 ? loops : min(Threads.processors, Self.mostThreads) }
  var workerCount: Int { workers > 0 ? workers : min(max(2, Threads.processors), Self.mostThreads) }
  /// One call to the provider.
  package var providerCall = Duration.seconds(5)
  /// When the provider's metadata and keys are fetched anew and how long they are trusted; its `callTimeout` is `providerCall`.
  package var providerTiming = ProviderClient.Timing()
  /// One refresh or exchange in all.
  package var tokenOperation = RefreshCoordinator.standardCallLimit
  package var server = ServerSettings()
  package var forwarding = ForwardSettings()
  /// How long the addresses of an upstream's name are used before it is looked up again.
  package var nameLifetime = Duration.seconds(30)
  package var drain = Duration.seconds(30)
  /// The clocks of everything but the event loops, which have their own.
  package var time: any TimeSource = SystemTime()
  package var store = SessionStorage.memory
  /// Carries the calls to the provider; nil for libcurl with `authorityFile`.
  package var transport: (any HTTPTransport)?

  package init(
    listen: [ListenerSetup], admin: SocketAddress?, base: HTTPURL, origins: [Origin], client: ClientConfiguration, keys: KeyRing,
    cookies: OwnCookies, routes: [Route], log: StructuredLog
  ) {
    self.listen = listen
    self.admin = admin
    self.base = base
    self.origins = origins
    self.client = client
    self.keys = keys
    self.cookies = cookies
    self.routes = routes
    self.log = log
  }
}
