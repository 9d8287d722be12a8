import DemoPages
import HTTPMessage
import HTTPServer
import IntercomCore

/// The demo's applications: portal, mail and file store, each on a host of its own, and the panel's feed of steps.
///
/// It holds values only; who serves the sites, on which port and for how long is the composition root's business.
package struct DemoWorkplace: Sendable {
  /// The audience that the file store asks for in a token.
  package static let filesAudience: Identifier = "files"
  /// The demo's users; the password of each is the name.
  package static let users = ["alice", "bob"]

  package let addresses: DemoAddresses
  /// `portal.`, `mail.` and `files.`; Intercom itself and the provider are not among them.
  package let sites: [DemoSite]
  /// Give it to whatever tells its steps; close it when the server stops.
  package let steps: StepFeed

  /// - Parameters:
  ///   - users: the folders of a `DemoFolder` that was seeded.
  ///   - workers: where disk work and signature checks run; nil (tests) leaves them where the request runs.
  ///   - tokens: how the file store verifies what it is given.
  package init(
    addresses: DemoAddresses, users: UserFolders, workers: (any TaskExecutor)?, tokens: BearerAuthentication, steps: StepFeed
  ) {
    self.addresses = addresses
    self.steps = steps
    let pages = SitePages(addresses: addresses)
    let shared: [DemoAsset] = [.themeStyle, .logo, .interfaceScript, .intercomScript]
    let store = FileStore(users: users, workers: workers) { request in
      await tokens.authenticate(request)
    }
    sites = [
      DemoSite(
        host: DemoAddresses.host("portal"),
        routes: [pages.route("/", .portalPage), pages.configuration] + pages.routes("/", shared + [.portalStyle, .portalScript])),
      DemoSite(
        host: DemoAddresses.host("mail"),
        routes: [pages.route("/", .mailPage), pages.configuration, DemoSite.Route(MethodSet([.get]), .exactly("/steps"), steps.endpoint)]
          + pages.routes("/", shared + [.mailStyle, .mailScript, .filesScript, .pickerScript, .stepsScript])),
      DemoSite(
        host: DemoAddresses.host("files"),
        routes: [DemoSite.Route(MethodSet(Method.allCases), .below(""), Self.filesEndpoint(store, pages))]),
    ]
  }

  /// The site of this host, compared byte by byte.
  package func site(_ host: Identifier) -> DemoSite? { sites.first { $0.host == host } }

  /// The store, and for a browser that comes without a token a page that says what it is. Every path belongs to the users' files, so what
  /// the page is made of is served only where a token would be needed anyway.
  private static func filesEndpoint(_ store: FileStore, _ pages: SitePages) -> Endpoint {
    let site = DemoSite(
      host: DemoAddresses.host("files"),
      routes: [pages.route("/", .filesPage)] + pages.routes("/-/", [.themeStyle, .portalStyle, .logo]))
    let answer = store.endpoint
    return { request, body in
      if request.fields.values("authorization").isEmpty, case .found(let page) = site.match(request.method, request.rawPath),
        request.rawPath != Array("/".utf8) || wantsPage(request)
      {
        return try await page(request, body)
      }
      return try await answer(request, body)
    }
  }

  private static func wantsPage(_ request: Request) -> Bool {
    let accept = request.fields.values("accept").map { String(decoding: $0, as: UTF8.self) }
    return accept.contains { $0.contains("text/html") }
  }
}
