import Cryptography
import CurlTransport
import DemoWorkplace
import Gateway
import HTTPMessage
import HTTPServer
import IntercomCore
import Linux
import OIDC
import ReverseProxy
import Sessions
import Telemetry
import Workers

/// The demo: provider, apps and file store as host routes of one Intercom, in one process on one port of the loopback interface.
struct DemoDeployment {
  let deployment: Deployment
  let folder: DemoFolder
  let assembly: DemoAssembly
  private let transport: CurlTransport
  private let workers: Workers

  /// - Parameters:
  ///   - port: the one port of everything.
  ///   - admin: where the admin listener goes.
  init(port: UInt16, admin: SocketAddress, log: StructuredLog) throws {
    let (time, random) = (SystemTime(), SystemRandom())
    workers = try Workers(name: "demo", threads: 2)
    transport = try CurlTransport()
    folder = try DemoFolder.make()
    assembly = try DemoAssembly(
      port: Int(port), folder: folder, workers: workers, time: time, random: random, transport: transport)
    let addresses = assembly.workplace.addresses
    guard let base = HTTPURL(addresses.intercom), let files = HTTPURL(addresses.site("files")), let upstream = UpstreamEndpoint(files),
      let fs = RoutePath("/fs")
    else { throw DeploymentError(description: "the demo's own addresses are not usable") }
    let origins = ["mail", "portal"].compactMap { Origin(serialized: addresses.site($0)) }
    let cors = CORSPolicy(origins: [base.origin] + origins)
    var route = Route(name: "fs", path: fs, kind: .proxy(upstream), methods: .webdav, cors: cors)
    route.credential = .exchange(ExchangeTarget(audience: DemoWorkplace.filesAudience))
    route.stripPrefix = true
    route.passesEncodedSlashes = true
    var client = try ClientConfiguration(
      issuer: assembly.issuer, clientID: assembly.client.id.description, clientSecret: assembly.client.secret,
      redirectURI: base.origin.description + "/callback")
    client.scopes = ["openid", "profile", "email"]
    var deployment = Deployment(
      listen: [ListenerSetup(SocketAddress(.loopbackV4, port: port))],
      admin: admin, base: base, origins: origins, client: client,
      keys: try KeyRing([Secret(random.bytes(32))], random: random), cookies: OwnCookies(isSecure: false),
      routes: [route] + Self.siteRoutes(assembly, base, apps: origins), log: log)
    deployment.endpoints = Dictionary(assembly.sites.map { (Self.endpoint($0), $0.endpoint) }) { first, _ in first }
    deployment.steps = assembly.workplace.steps
    deployment.drain = .seconds(2)
    self.deployment = deployment
  }

  private static func endpoint(_ site: DemoSite) -> EndpointID { EndpointID("demo:\(site.host)") }

  /// Each site as a host route under an explicit public rule: it decides itself who may see what.
  private static func siteRoutes(_ assembly: DemoAssembly, _ base: HTTPURL, apps: [Origin]) -> [Route] {
    assembly.sites.compactMap { site in
      guard let origin = Deployment.hostOrigin(site.host.description, base), let path = RoutePath("/") else { return nil }
      var route = Route(
        name: String(site.host.description.prefix { $0 != "." }), path: path, kind: .own(endpoint(site)),
        methods: MethodSet(Method.allCases).subtracting(MethodSet([.trace, .connect, .other])),
        // What an app asks of Intercom arrives at the file store with the app's Origin.
        cors: CORSPolicy(origins: [base.origin, origin] + apps))
      route.host = site.host
      route.hostOrigin = origin
      route.isPublic = true
      route.passesEncodedSlashes = true
      return route
    }
  }

  /// Ends open streams, so that the listeners can drain.
  func close() { assembly.workplace.steps.close() }

  /// Takes the files away and ends the demo's own threads.
  func remove() {
    folder.remove()
    transport.stop()
    workers.stop()
  }
}
